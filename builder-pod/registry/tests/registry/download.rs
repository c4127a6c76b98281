//! Files over HTTP.

use stagecraft_image::Digest;
use stagecraft_registry::{DownloadError, DownloadSettings, Downloaded, ErrorKind, download};

use crate::fake::{chain, impatient};
use crate::server::{Answer, Asked, Server};

const ARCHIVE: &[u8] = b"not really an archive";

fn settings() -> DownloadSettings {
    DownloadSettings {
        retry: impatient(),
        size_limit: 1000,
        ..DownloadSettings::default()
    }
}

/// What stands in the file after a fetch that succeeds.
async fn fetch(url: &str, expected: &Digest) -> Result<Vec<u8>, DownloadError> {
    fetch_any(url, Some(expected)).await.map(|(bytes, _)| bytes)
}

async fn fetch_any(
    url: &str,
    expected: Option<&Digest>,
) -> Result<(Vec<u8>, Downloaded), DownloadError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let downloaded = download(&settings(), url, expected, &path).await?;
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(bytes.len() as u64, downloaded.size);
    assert_eq!(Digest::of(&bytes), downloaded.digest);
    Ok((bytes, downloaded))
}

async fn serve(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> (Server, String) {
    let server = Server::start(answer).await;
    let url = format!("http://joe:s3cret@{}/a.tar.gz?x=1", server.address);
    (server, url)
}

#[tokio::test]
async fn an_archive_with_the_right_digest_is_fetched() {
    let (server, url) = serve(|_| Answer::new(200).body(ARCHIVE)).await;
    assert_eq!(fetch(&url, &Digest::of(ARCHIVE)).await.unwrap(), ARCHIVE);
    assert_eq!(
        server.asked()[0].header("authorization"),
        Some("Basic am9lOnMzY3JldA==")
    );
}

#[tokio::test]
async fn another_digest_is_an_error_that_says_both() {
    let (_server, url) = serve(|_| Answer::new(200).body(ARCHIVE)).await;
    let (expected, found) = (Digest::of(b"other"), Digest::of(ARCHIVE));
    let error = fetch(&url, &expected).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DigestMismatch);
    assert!(!error.is_transient());
    assert_eq!(
        error.to_string(),
        format!("it has sha256 {}, not {}", found.hex(), expected.hex())
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
        let error = fetch(&url, &Digest::of(b"")).await.unwrap_err();
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
    assert_eq!(fetch(&url, &Digest::of(ARCHIVE)).await.unwrap(), ARCHIVE);
}

#[tokio::test]
async fn a_server_that_does_not_have_it_is_named_without_the_password() {
    let (server, url) = serve(|_| Answer::new(404).body("<html>")).await;
    let error = fetch(&url, &Digest::of(b"")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let host = &server.address;
    assert_eq!(chain(&error), format!("{host} does not have /a.tar.gz"));
    assert!(!format!("{error:?}").contains("s3cret"));
}

#[tokio::test]
async fn redirections_lead_to_http_only_and_end_some_day() {
    let (elsewhere, target) = serve(|_| Answer::new(200).body(ARCHIVE)).await;
    let target = target.replace("joe:s3cret@", "");
    let sha256 = Digest::of(ARCHIVE);
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
async fn addresses_that_are_none_are_refused() {
    let sha256 = Digest::of(b"");
    for url in ["", "x.tar.gz", "file:///etc/passwd", "ftp://h/x"] {
        let error = fetch(url, &sha256).await.unwrap_err();
        assert!(matches!(error, DownloadError::Url), "{url}: {error:?}");
    }
    let error = fetch("http://169.254.169.254/latest", &sha256)
        .await
        .unwrap_err();
    assert!(
        chain(&error).contains("a link-local address"),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn what_the_server_says_of_a_file_is_kept() {
    let (_server, url) = serve(|_| {
        Answer::new(200)
            .header("Last-Modified", "Tue, 15 Nov 1994 12:45:26 GMT")
            .body(ARCHIVE)
    })
    .await;
    let (bytes, downloaded) = fetch_any(&url, None).await.unwrap();
    assert_eq!(bytes, ARCHIVE);
    assert_eq!(
        downloaded.last_modified.as_deref(),
        Some("Tue, 15 Nov 1994 12:45:26 GMT")
    );
}

#[tokio::test]
async fn a_machine_of_its_own_is_refused_where_a_step_could_answer() {
    let (server, url) = serve(|_| Answer::new(200).body(ARCHIVE)).await;
    let mut settings = settings();
    settings.http.refuse_loopback = true;
    let port = server.address.rsplit(':').next().unwrap();
    for url in [url, format!("http://localhost:{port}/x")] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let error = download(&settings, &url, None, &path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{}", chain(&error));
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_server_that_never_ends_is_cut_off_in_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx";
            stream.write_all(head).await.unwrap();
            open.push(stream);
        }
    });
    let settings = DownloadSettings {
        time_limit: std::time::Duration::from_millis(50),
        ..settings()
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let url = format!("http://{address}/x");
    let error = download(&settings, &url, None, &path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{}", chain(&error));
    assert!(error.is_transient());
}
