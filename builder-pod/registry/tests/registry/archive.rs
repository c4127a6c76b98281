//! Archives over HTTP.

use stagecraft_image::Digest;
use stagecraft_registry::{ArchiveSettings, ContextError, ErrorKind, fetch_archive_with};

use crate::fake::{chain, impatient};
use crate::server::{Answer, Asked, Server};

const ARCHIVE: &[u8] = b"not really an archive";

fn settings() -> ArchiveSettings {
    ArchiveSettings {
        retry: impatient(),
        size_limit: 1000,
        ..ArchiveSettings::default()
    }
}

/// What stands in the file after a fetch that succeeds.
async fn fetch(url: &str, sha256: &str) -> Result<Vec<u8>, ContextError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("archive");
    let size = fetch_archive_with(&settings(), url, sha256, &path).await?;
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(bytes.len() as u64, size);
    Ok(bytes)
}

async fn serve(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> (Server, String) {
    let server = Server::start(answer).await;
    let url = format!("http://joe:s3cret@{}/a.tar.gz?x=1", server.address);
    (server, url)
}

#[tokio::test]
async fn an_archive_with_the_right_digest_is_fetched() {
    let (server, url) = serve(|_| Answer::new(200).body(ARCHIVE)).await;
    let sha256 = Digest::of(ARCHIVE);
    assert_eq!(fetch(&url, &sha256.hex()).await.unwrap(), ARCHIVE);
    assert_eq!(fetch(&url, &sha256.to_string()).await.unwrap(), ARCHIVE);
    assert_eq!(
        server.asked()[0].header("authorization"),
        Some("Basic am9lOnMzY3JldA==")
    );
}

#[tokio::test]
async fn another_digest_is_an_error_that_says_both() {
    let (_server, url) = serve(|_| Answer::new(200).body(ARCHIVE)).await;
    let (expected, found) = (Digest::of(b"other"), Digest::of(ARCHIVE));
    let error = fetch(&url, &expected.hex()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DigestMismatch);
    assert!(!error.is_transient());
    assert_eq!(
        error.to_string(),
        format!(
            "the archive has sha256 {}, not {}",
            found.hex(),
            expected.hex()
        )
    );
}

#[tokio::test]
async fn an_archive_that_is_too_large_is_cut_off() {
    for without_length in [false, true] {
        let (_server, url) = serve(move |_| Answer {
            without_length,
            ..Answer::new(200).body(vec![0; 1001])
        })
        .await;
        let error = fetch(&url, &Digest::of(b"").hex()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }
}

#[tokio::test]
async fn a_fetch_that_breaks_off_or_stumbles_is_started_again() {
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let (_server, url) =
        serve(
            move |_| match tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
                0 => Answer {
                    cut_after: Some(5),
                    ..Answer::new(200).body(ARCHIVE)
                },
                1 => Answer::new(503),
                _ => Answer::new(200).body(ARCHIVE),
            },
        )
        .await;
    assert_eq!(
        fetch(&url, &Digest::of(ARCHIVE).hex()).await.unwrap(),
        ARCHIVE
    );
}

#[tokio::test]
async fn a_server_that_does_not_have_it_is_named_without_the_password() {
    let (server, url) = serve(|_| Answer::new(404).body("<html>")).await;
    let error = fetch(&url, &Digest::of(b"").hex()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let host = &server.address;
    assert_eq!(
        chain(&error),
        format!("cannot fetch the archive: {host} does not have the archive")
    );
    assert!(!format!("{error:?}").contains("s3cret"));
}

#[tokio::test]
async fn redirections_lead_to_http_only_and_end_some_day() {
    let (elsewhere, target) = serve(|_| Answer::new(200).body(ARCHIVE)).await;
    let target = target.replace("joe:s3cret@", "");
    let sha256 = Digest::of(ARCHIVE).hex();
    let (_server, url) = serve(move |_| Answer::new(302).header("Location", &target)).await;
    assert_eq!(fetch(&url, &sha256).await.unwrap(), ARCHIVE);
    assert_eq!(elsewhere.asked()[0].header("authorization"), None);
    for (location, kind) in [
        // No HTTP address at all: the redirection itself is the answer.
        ("file:///etc/passwd", ErrorKind::Protocol),
        ("ftp://h/x", ErrorKind::Refused),
        ("http://169.254.169.254/latest", ErrorKind::Refused),
        ("/again", ErrorKind::Refused),
    ] {
        let (_server, url) = serve(move |_| Answer::new(302).header("Location", location)).await;
        let error = fetch(&url, &sha256).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{location}: {}", chain(&error));
    }
}

#[tokio::test]
async fn addresses_and_checksums_that_are_none_are_refused() {
    let sha256 = Digest::of(b"").hex();
    for url in ["", "x.tar.gz", "file:///etc/passwd", "ftp://h/x"] {
        let error = fetch(url, &sha256).await.unwrap_err();
        assert!(matches!(error, ContextError::Url), "{url}: {error:?}");
    }
    let error = fetch("http://169.254.169.254/latest", &sha256)
        .await
        .unwrap_err();
    assert!(
        chain(&error).contains("a link-local address"),
        "{}",
        chain(&error)
    );
    let error = fetch("http://h/x", "abc").await.unwrap_err();
    assert!(matches!(error, ContextError::Checksum(_)), "{error:?}");
}
