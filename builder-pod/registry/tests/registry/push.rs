//! Writing.

use stagecraft_image::{Digest, media_type};
use stagecraft_registry::{BlobSource, ErrorKind, Pushed, Registry};

use crate::fake::{Fake, Image, amd64, chain, client, once_each};
use crate::server::Answer;

fn bytes(image: &Image) -> BlobSource {
    BlobSource::Bytes(image.layer.clone().into())
}

#[tokio::test]
async fn what_is_pushed_can_be_resolved() {
    let fake = Fake::start().await;
    let image = Image::new("linux/amd64", false);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("layer");
    std::fs::write(&path, &image.layer).unwrap();
    let (client, to) = (client(&[&fake]), fake.reference("team/app:v1"));
    let layer = image.layer_descriptor();
    let pushed = client
        .push_blob(&to, layer, BlobSource::File(path.clone()), &[])
        .await;
    assert_eq!(pushed.unwrap(), Pushed::Uploaded);
    let again = client
        .push_blob(&to, layer, BlobSource::File(path), &[])
        .await;
    assert_eq!(again.unwrap(), Pushed::Existed);
    let config = BlobSource::Bytes(image.config.clone().into());
    client
        .push_blob(&to, &image.manifest.config, config, &[])
        .await
        .unwrap();
    let digest = client
        .push_manifest(&to, media_type::OCI_MANIFEST, image.bytes.clone())
        .await
        .unwrap();
    assert_eq!(digest, Digest::of(&image.bytes));
    assert_eq!(
        client.resolve(&to, &amd64()).await.unwrap().manifest,
        image.manifest
    );
    let asked = fake.server.asked();
    let put = asked.iter().find(|asked| asked.method == "PUT").unwrap();
    assert_eq!(put.header("content-length"), Some("100000"));
    assert_eq!(
        put.header("transfer-encoding"),
        None,
        "the length is sent, not chunks"
    );
}

#[tokio::test]
async fn a_blob_is_mounted_from_another_repository() {
    let (fake, image) = Fake::with_image(|_| None).await;
    fake.store.lock().unwrap().mounts = true;
    let (client, to) = (client(&[&fake]), fake.reference("team/app:v1"));
    let from = [
        "other.io/library/app".parse().unwrap(),
        fake.reference("library/app"),
    ];
    let layer = image.layer_descriptor();
    let pushed = client
        .push_blob(&to, layer, bytes(&image), &from)
        .await
        .unwrap();
    assert_eq!(pushed, Pushed::Mounted);
    assert_eq!(fake.server.count("PUT", ""), 0);
    assert_eq!(
        fake.server.count("POST", ""),
        1,
        "another registry is no candidate"
    );
    let there = client.ensure_blob(&to, layer, &from).await.unwrap();
    assert_eq!(there, Some(Pushed::Existed));
}

#[tokio::test]
async fn a_refused_mount_becomes_the_upload() {
    let (fake, image) = Fake::with_image(|_| None).await;
    let (client, to) = (client(&[&fake]), fake.reference("team/app:v1"));
    let from = [
        fake.reference("library/app"),
        fake.reference("library/base"),
    ];
    let layer = image.layer_descriptor();
    let pushed = client
        .push_blob(&to, layer, bytes(&image), &from)
        .await
        .unwrap();
    assert_eq!(pushed, Pushed::Uploaded);
    let trace: Vec<String> = fake
        .server
        .asked()
        .iter()
        .map(|asked| {
            format!(
                "{} {}",
                asked.method,
                asked.path.rsplit('/').next().unwrap()
            )
        })
        .filter(|line| !line.starts_with("HEAD"))
        .collect();
    assert_eq!(trace, ["POST ", "POST ", "DELETE 1", "PUT 2"]);
}

#[tokio::test]
async fn a_blob_that_is_nowhere_is_reported_as_such_and_nothing_stays_open() {
    let (fake, image) = Fake::with_image(|_| None).await;
    let to = fake.reference("team/app:v1");
    let from = [fake.reference("library/app")];
    let there = client(&[&fake])
        .ensure_blob(&to, image.layer_descriptor(), &from)
        .await
        .unwrap();
    assert_eq!(there, None);
    assert_eq!(fake.server.count("DELETE", "/uploads/"), 1);
}

#[tokio::test]
async fn an_upload_that_fails_for_the_moment_is_started_again() {
    for (method, faults) in [
        (
            "POST",
            vec![
                Answer::new(429).header("Retry-After", "0"),
                Answer::new(502),
            ],
        ),
        ("PUT", vec![Answer::new(503), Answer::new(500)]),
    ] {
        let fake = Fake::start_with(once_each(method, "/uploads/", faults)).await;
        let image = Image::new("linux/amd64", false);
        let to = fake.reference("team/app:v1");
        let pushed = client(&[&fake])
            .push_blob(&to, image.layer_descriptor(), bytes(&image), &[])
            .await;
        assert_eq!(pushed.unwrap(), Pushed::Uploaded);
        assert_eq!(fake.server.count(method, "/uploads/"), 3);
    }
}

#[tokio::test]
async fn a_registry_that_rejects_a_blob_is_quoted() {
    let body = r#"{"errors":[{"code":"SIZE_INVALID","message":"quota of team exceeded"}]}"#;
    let faults = vec![Answer::new(413).body(body)];
    let fake = Fake::start_with(once_each("PUT", "/uploads/", faults)).await;
    let image = Image::new("linux/amd64", false);
    let to = fake.reference("team/app:v1");
    let error = client(&[&fake])
        .push_blob(&to, image.layer_descriptor(), bytes(&image), &[])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(
        chain(&error).ends_with("(it says: quota of team exceeded)"),
        "{}",
        chain(&error)
    );
    assert_eq!(fake.server.count("PUT", ""), 1);
}

#[tokio::test]
async fn a_file_that_is_not_what_its_descriptor_says_is_not_sent() {
    let fake = Fake::start().await;
    let image = Image::new("linux/amd64", false);
    let to = fake.reference("team/app:v1");
    let client = client(&[&fake]);
    let short = BlobSource::Bytes(vec![7; 10].into());
    let error = client
        .push_blob(&to, image.layer_descriptor(), short, &[])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Local);
    let missing = BlobSource::File("/nonexistent/layer".into());
    let error = client
        .push_blob(&to, image.layer_descriptor(), missing, &[])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Local);
    assert!(
        chain(&error).contains("/nonexistent/layer"),
        "{}",
        chain(&error)
    );
    assert_eq!(fake.server.count("POST", ""), 0);
}

#[tokio::test]
async fn a_manifest_that_arrives_as_another_is_an_error() {
    let lie = Answer::new(201).header("Docker-Content-Digest", Digest::of(b"x").to_string());
    let fake = Fake::start_with(once_each("PUT", "/manifests/", vec![lie])).await;
    let to = fake.reference("team/app:v1");
    let error = client(&[&fake])
        .push_manifest(&to, media_type::OCI_MANIFEST, b"{}".to_vec())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DigestMismatch);
}

#[tokio::test]
async fn a_manifest_is_pushed_by_digest_where_there_is_no_tag() {
    let fake = Fake::start().await;
    let digest = Digest::of(b"{}");
    let to = fake.reference(&format!("team/app@{digest}"));
    let client = client(&[&fake]);
    client
        .push_manifest(&to, media_type::OCI_MANIFEST, b"{}".to_vec())
        .await
        .unwrap();
    assert_eq!(fake.server.count("PUT", &format!("/manifests/{digest}")), 1);
    let error = client
        .push_manifest(&to, media_type::OCI_MANIFEST, b"[]".to_vec())
        .await
        .unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::DigestMismatch,
        "not under another's digest"
    );
}
