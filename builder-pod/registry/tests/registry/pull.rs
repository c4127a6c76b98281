//! Resolving and reading.

use std::io::Read;

use futures::StreamExt;
use stagecraft_image::{Descriptor, Digest, Index, Reference, media_type};
use stagecraft_registry::{ErrorKind, Registry, RegistryClient, RegistryError};

use crate::fake::{Fake, Image, amd64, chain, client, describe, once_each};
use crate::server::Answer;

async fn read(
    client: &RegistryClient,
    reference: &Reference,
    descriptor: &Descriptor,
) -> Result<Vec<u8>, RegistryError> {
    let mut stream = client.open_blob(reference, descriptor).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk?);
        assert!(
            bytes.len() as u64 <= descriptor.size,
            "never more than announced"
        );
    }
    Ok(bytes)
}

fn index(fake: &Fake, platforms: &[&str]) -> Vec<Image> {
    let images: Vec<Image> = platforms
        .iter()
        .map(|platform| Image::new(platform, false))
        .collect();
    let mut store = fake.store.lock().unwrap();
    let manifests = platforms.iter().zip(&images).map(|(platform, image)| {
        store.add(
            "library/app",
            platform.split('/').next_back().unwrap(),
            image,
        );
        Descriptor {
            platform: Some(platform.parse().unwrap()),
            ..describe(media_type::OCI_MANIFEST, &image.bytes)
        }
    });
    let index = Index {
        schema_version: 2,
        media_type: Some(media_type::OCI_INDEX.to_owned()),
        artifact_type: None,
        manifests: manifests.collect(),
        annotations: std::collections::BTreeMap::new(),
    };
    let bytes = serde_json::to_vec(&index).unwrap();
    store.add_manifest("library/app", "1", media_type::OCI_INDEX, &bytes);
    images
}

#[tokio::test]
async fn an_index_gives_the_manifest_of_the_platform() {
    let fake = Fake::start().await;
    let images = index(&fake, &["linux/arm64", "linux/amd64"]);
    let reference = fake.reference("library/app:1");
    let image = client(&[&fake])
        .resolve(&reference, &amd64())
        .await
        .unwrap();
    assert_eq!(image.digest, Digest::of(&images[1].bytes));
    assert_eq!(image.manifest, images[1].manifest);
    assert_eq!(image.config_bytes, images[1].config);
    assert_eq!(image.config.platform(), amd64());
    assert_eq!(image.reference, reference);
    assert_eq!(
        fake.server.count("GET", "/manifests/1"),
        1,
        "a tag is looked up once"
    );
}

#[tokio::test]
async fn a_missing_platform_is_named_with_those_that_are_there() {
    let fake = Fake::start().await;
    index(&fake, &["linux/arm64", "linux/s390x"]);
    let error = client(&[&fake])
        .resolve(&fake.reference("library/app:1"), &amd64())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(!error.is_transient());
    assert!(
        chain(&error).ends_with(
            "not there for platform linux/amd64; it is there for linux/arm64, linux/s390x"
        ),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn a_docker_schema_2_manifest_is_read_by_tag_and_by_digest() {
    let fake = Fake::start().await;
    let image = Image::new("linux/amd64", true);
    fake.store.lock().unwrap().add("team/app", "v1", &image);
    let client = client(&[&fake]);
    let by_tag = client
        .resolve(&fake.reference("team/app:v1"), &amd64())
        .await
        .unwrap();
    let pinned = by_tag.reference.with_digest(by_tag.digest.clone());
    let by_digest = client.resolve(&pinned, &amd64()).await.unwrap();
    assert_eq!(by_tag.digest, Digest::of(&image.bytes));
    assert_eq!(by_tag.manifest, by_digest.manifest);
    let layer = read(&client, &pinned, image.layer_descriptor())
        .await
        .unwrap();
    assert_eq!(layer, image.layer);
}

#[tokio::test]
async fn an_unknown_tag_is_not_found_and_says_where_and_what() {
    let fake = Fake::start().await;
    let reference = fake.reference("library/app:2");
    let error = client(&[&fake])
        .resolve(&reference, &amd64())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let host = &fake.server.address;
    assert_eq!(
        chain(&error),
        format!(
            "cannot resolve {host}/library/app:2: {host} does not have library/app:2 (it says: manifest unknown)"
        )
    );
}

#[tokio::test]
async fn a_manifest_with_another_digest_is_refused() {
    let other = Image::new("linux/arm64", false).bytes;
    let fault = move |asked: &crate::server::Asked| {
        asked
            .path
            .contains("/manifests/")
            .then(|| Answer::new(200).body(other.clone()))
    };
    let (fake, image) = Fake::with_image(fault).await;
    let reference = fake
        .reference("library/app:1")
        .with_digest(Digest::of(&image.bytes));
    let error = client(&[&fake])
        .resolve(&reference, &amd64())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DigestMismatch);
    assert!(
        chain(&error).contains(&Digest::of(&image.bytes).to_string()),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn a_manifest_that_differs_from_its_own_header_is_refused() {
    let lie = Answer::new(200)
        .header("Docker-Content-Digest", Digest::of(b"x").to_string())
        .body("{}");
    let (fake, _) = Fake::with_image(once_each("GET", "/manifests/", vec![lie])).await;
    let error = client(&[&fake])
        .resolve(&fake.reference("library/app:1"), &amd64())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DigestMismatch);
}

#[tokio::test]
async fn a_manifest_without_end_is_cut_off() {
    let endless = Answer {
        without_length: true,
        ..Answer::new(200).body(vec![b' '; 5 << 20])
    };
    let (fake, _) = Fake::with_image(once_each("GET", "/manifests/", vec![endless])).await;
    let error = client(&[&fake])
        .resolve(&fake.reference("library/app:1"), &amd64())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

#[tokio::test]
async fn what_is_no_image_is_refused_with_what_it_is() {
    let fake = Fake::start().await;
    let mut chart = Image::new("linux/amd64", false);
    chart.manifest.config.media_type = "application/vnd.cncf.helm.config.v1+json".to_owned();
    chart.bytes = serde_json::to_vec(&chart.manifest).unwrap();
    let mut short = Image::new("linux/amd64", false);
    short.manifest.layers.clear();
    short.bytes = serde_json::to_vec(&short.manifest).unwrap();
    fake.store
        .lock()
        .unwrap()
        .add("library/app", "chart", &chart);
    fake.store
        .lock()
        .unwrap()
        .add("library/app", "short", &short);
    fake.store
        .lock()
        .unwrap()
        .add_manifest("library/app", "page", "text/html", b"<html>");
    for (tag, expected) in [
        (
            "chart",
            "its configuration is of type `application/vnd.cncf.helm.config.v1+json`",
        ),
        ("short", "its manifest has 0 layers, its configuration 1"),
        ("page", "the manifest is malformed"),
    ] {
        let reference = fake.reference(&format!("library/app:{tag}"));
        let error = client(&[&fake])
            .resolve(&reference, &amd64())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{tag}");
        assert!(chain(&error).contains(expected), "{}", chain(&error));
    }
}

#[tokio::test]
async fn a_blob_with_another_digest_ends_in_an_error_that_names_both() {
    let wrong = vec![8; 100_000];
    let answer = Answer::new(200).body(wrong.clone());
    let (fake, image) = Fake::with_image(once_each("GET", "/blobs/", vec![answer])).await;
    let reference = fake.reference("library/app:1");
    let error = read(&client(&[&fake]), &reference, image.layer_descriptor())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DigestMismatch);
    for digest in [Digest::of(&wrong), Digest::of(&image.layer)] {
        assert!(
            chain(&error).contains(&digest.to_string()),
            "{}",
            chain(&error)
        );
    }
}

#[tokio::test]
async fn a_blob_with_more_bytes_than_announced_is_cut_off() {
    for without_length in [false, true] {
        let long = Answer {
            without_length,
            ..Answer::new(200).body(vec![7; 5_000_000])
        };
        let (fake, image) = Fake::with_image(once_each("GET", "/blobs/", vec![long])).await;
        let reference = fake.reference("library/app:1");
        let error = read(&client(&[&fake]), &reference, image.layer_descriptor())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }
}

#[tokio::test]
async fn a_lost_connection_is_resumed_where_it_broke() {
    let layer = Image::new("linux/amd64", false).layer;
    let broken = |body: &[u8], cut, status| Answer {
        cut_after: Some(cut),
        ..Answer::new(status).body(body)
    };
    let faults = vec![
        broken(&layer, 40_000, 200),
        broken(&layer[40_000..], 20_000, 206),
    ];
    let (fake, image) = Fake::with_image(once_each("GET", "/blobs/", faults)).await;
    let reference = fake.reference("library/app:1");
    let bytes = read(&client(&[&fake]), &reference, image.layer_descriptor())
        .await
        .unwrap();
    assert_eq!(bytes, image.layer);
    let asked = fake.server.asked();
    let ranges: Vec<Option<&str>> = asked.iter().map(|asked| asked.header("range")).collect();
    assert_eq!(ranges, [None, Some("bytes=40000-"), Some("bytes=60000-")]);
}

#[tokio::test]
async fn a_host_that_starts_over_instead_of_resuming_is_followed() {
    let layer = Image::new("linux/amd64", false).layer;
    let faults = vec![
        Answer {
            cut_after: Some(70_000),
            ..Answer::new(200).body(layer.clone())
        },
        Answer::new(200).body(layer),
    ];
    let (fake, image) = Fake::with_image(once_each("GET", "/blobs/", faults)).await;
    let reference = fake.reference("library/app:1");
    let bytes = read(&client(&[&fake]), &reference, image.layer_descriptor())
        .await
        .unwrap();
    assert_eq!(bytes, image.layer);
}

#[tokio::test]
async fn a_connection_that_is_always_lost_is_given_up() {
    let fault = |asked: &crate::server::Asked| {
        let answer = Answer {
            cut_after: Some(0),
            ..Answer::new(200).body(vec![7; 100_000])
        };
        asked.path.contains("/blobs/").then_some(answer)
    };
    let (fake, image) = Fake::with_image(fault).await;
    let reference = fake.reference("library/app:1");
    let error = read(&client(&[&fake]), &reference, image.layer_descriptor())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.is_transient());
    assert_eq!(fake.server.count("GET", "/blobs/"), 4);
}

#[tokio::test]
async fn a_host_that_breaks_off_behind_every_few_bytes_is_given_up() {
    let layer = Image::new("linux/amd64", false).layer;
    let fault = move |asked: &crate::server::Asked| {
        let range = asked.header("range");
        let from = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
        let from: usize = from.map_or(0, |from| from.parse().unwrap());
        let answer = Answer {
            cut_after: Some(10),
            ..Answer::new(if from == 0 { 200 } else { 206 }).body(&layer[from..])
        };
        asked.path.contains("/blobs/").then_some(answer)
    };
    let (fake, image) = Fake::with_image(fault).await;
    let reference = fake.reference("library/app:1");
    let error = read(&client(&[&fake]), &reference, image.layer_descriptor())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert_eq!(fake.server.count("GET", "/blobs/"), 4);
}

#[tokio::test]
async fn a_registry_that_limits_or_stumbles_is_asked_again() {
    for path in ["/manifests/", "/blobs/"] {
        let faults = vec![
            Answer::new(429)
                .header("Retry-After", "0")
                .body("slow down"),
            Answer::new(503),
            Answer::new(500).body(vec![0xff, 0xfe]),
        ];
        let (fake, image) = Fake::with_image(once_each("GET", path, faults)).await;
        let resolved = client(&[&fake])
            .resolve(&fake.reference("library/app:1"), &amd64())
            .await;
        assert_eq!(resolved.unwrap().digest, Digest::of(&image.bytes));
        assert_eq!(fake.server.count("GET", path), 4);
    }
}

#[tokio::test]
async fn a_registry_that_wants_us_back_much_later_is_not_waited_for() {
    let limited = Answer::new(429)
        .header("Retry-After", "21600")
        .body("toomanyrequests");
    let (fake, _) = Fake::with_image(once_each("GET", "/manifests/", vec![limited])).await;
    let error = client(&[&fake])
        .resolve(&fake.reference("library/app:1"), &amd64())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    assert!(error.is_transient());
    assert!(
        chain(&error).ends_with("(it says: toomanyrequests)"),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn blocking_code_reads_the_same_bytes() {
    let (fake, image) = Fake::with_image(|_| None).await;
    let reference = fake.reference("library/app:1");
    let stream = client(&[&fake])
        .open_blob(&reference, image.layer_descriptor())
        .await
        .unwrap();
    let mut reader = stream.into_reader(tokio::runtime::Handle::current());
    let bytes = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map(|_| bytes)
    });
    assert_eq!(bytes.await.unwrap().unwrap(), image.layer);
}

#[tokio::test]
async fn an_empty_blob_is_a_blob() {
    let (fake, _) = Fake::with_image(|_| None).await;
    let empty = describe(media_type::OCI_LAYER, b"");
    fake.store
        .lock()
        .unwrap()
        .blobs
        .insert(format!("library/app@{}", empty.digest), Vec::new());
    let bytes = read(&client(&[&fake]), &fake.reference("library/app:1"), &empty)
        .await
        .unwrap();
    assert!(bytes.is_empty());
}
