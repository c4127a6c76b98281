//! Which host is asked: mirrors, redirections, certificates, addresses that are refused.

use futures::TryStreamExt;
use stagecraft_image::Digest;
use stagecraft_registry::{
    BlobSource, ClientSettings, Credentials, ErrorKind, HostSettings, Mirror, Pushed, Registry,
    RegistryClient, RegistryError,
};

use crate::fake::{Fake, Image, amd64, chain, client, impatient, plain, settings};
use crate::server::{Answer, Asked, Server, nobody};

const CA: &[u8] = include_bytes!("../fixtures/tls/ca.pem");

async fn read(
    client: &RegistryClient,
    fake: &Fake,
    image: &Image,
) -> Result<Vec<u8>, RegistryError> {
    let reference = fake.reference("library/app:1");
    let stream = client
        .open_blob(&reference, image.layer_descriptor())
        .await?;
    let chunks: Vec<_> = stream.try_collect().await?;
    Ok(chunks.concat())
}

fn mirrored(fake: &Fake, mirrors: &[&str]) -> RegistryClient {
    let mirrors: Vec<Mirror> = mirrors
        .iter()
        .map(|mirror| mirror.parse().unwrap())
        .collect();
    let hosts = vec![HostSettings {
        mirrors,
        ..plain(&fake.server.address)
    }];
    RegistryClient::new(ClientSettings {
        hosts,
        ..settings(&[])
    })
    .unwrap()
}

#[tokio::test]
async fn a_mirror_is_asked_first_and_serves_everything() {
    let (fake, image) = Fake::with_image(|_| None).await;
    let mirror = Fake::start().await;
    mirror
        .store
        .lock()
        .unwrap()
        .add("proxy/hub/library/app", "1", &image);
    let client = mirrored(
        &fake,
        &[&format!("http://{}/proxy/hub", mirror.server.address)],
    );
    client
        .resolve(&fake.reference("library/app:1"), &amd64())
        .await
        .unwrap();
    assert_eq!(read(&client, &fake, &image).await.unwrap(), image.layer);
    assert!(fake.server.asked().is_empty());
    let namespace = format!("ns={}", fake.server.address.replace(':', "%3A"));
    for asked in mirror.server.asked() {
        assert_eq!(asked.query.replace(':', "%3A"), namespace, "{}", asked.path);
    }
}

#[tokio::test]
async fn mirrors_that_are_down_empty_or_wrong_are_passed_over() {
    let (fake, image) = Fake::with_image(|_| None).await;
    let empty = Fake::start().await;
    let (wrong, _) = Fake::with_image(|asked| {
        asked
            .path
            .contains("/blobs/")
            .then(|| Answer::new(200).body(vec![0; 200_000]))
    })
    .await;
    let down = nobody().await;
    let mirrors = [
        format!("http://{down}"),
        format!("http://{}", empty.server.address),
        format!("http://{}", wrong.server.address),
    ];
    let client = mirrored(&fake, &[&mirrors[0], &mirrors[1], &mirrors[2]]);
    let resolved = client
        .resolve(&fake.reference("library/app:1"), &amd64())
        .await
        .unwrap();
    assert_eq!(resolved.digest, Digest::of(&image.bytes));
    assert_eq!(read(&client, &fake, &image).await.unwrap(), image.layer);
    assert!(empty.server.count("GET", "") > 0);
    assert!(fake.server.count("GET", "/blobs/") > 0);
}

#[tokio::test]
async fn a_blob_that_a_mirror_breaks_off_is_finished_from_the_registry() {
    let (fake, image) = Fake::with_image(|_| None).await;
    let layer = image.layer.clone();
    let mirror = Fake::start_with(move |asked| {
        let first = Answer {
            cut_after: Some(30_000),
            ..Answer::new(200).body(layer.clone())
        };
        Some(if asked.header("range").is_none() {
            first
        } else {
            Answer::new(404)
        })
    })
    .await;
    let client = mirrored(&fake, &[&format!("http://{}", mirror.server.address)]);
    assert_eq!(read(&client, &fake, &image).await.unwrap(), image.layer);
    let asked = fake.server.asked();
    assert_eq!(
        asked.iter().map(|a| a.header("range")).collect::<Vec<_>>(),
        [Some("bytes=30000-")]
    );
}

#[tokio::test]
async fn a_mirror_is_never_written_to() {
    let (fake, image) = Fake::with_image(|_| None).await;
    let mirror = Fake::start().await;
    let client = mirrored(&fake, &[&format!("http://{}", mirror.server.address)]);
    let to = fake.reference("team/app:1");
    let source = BlobSource::Bytes(image.layer.clone().into());
    let pushed = client
        .push_blob(&to, image.layer_descriptor(), source, &[])
        .await
        .unwrap();
    assert_eq!(pushed, Pushed::Uploaded);
    assert!(mirror.server.asked().is_empty());
}

#[tokio::test]
async fn an_image_that_no_mirror_has_does_not_exist_where_the_registry_cannot_be_reached() {
    let empty = Fake::start().await;
    let down = nobody().await;
    for (mirrors, kind) in [
        (
            vec![format!("http://{}", empty.server.address)],
            ErrorKind::NotFound,
        ),
        (
            vec![format!("http://{}", nobody().await)],
            ErrorKind::Unreachable,
        ),
    ] {
        let hosts = vec![HostSettings {
            mirrors: mirrors
                .iter()
                .map(|mirror| mirror.parse().unwrap())
                .collect(),
            ..plain(&down)
        }];
        let client = RegistryClient::new(ClientSettings {
            hosts,
            ..settings(&[])
        })
        .unwrap();
        let reference = format!("{down}/library/app:1").parse().unwrap();
        let error = client.resolve(&reference, &amd64()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert_eq!(error.is_transient(), kind == ErrorKind::Unreachable);
    }
}

#[tokio::test]
async fn the_error_of_the_registry_itself_is_the_answer() {
    let fake = Fake::start().await;
    let client = mirrored(&fake, &[&format!("http://{}", nobody().await)]);
    let error = client
        .resolve(&fake.reference("library/app:1"), &amd64())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

/// A registry that wants a password, and sends whoever has it elsewhere.
async fn redirecting(path: &'static str, elsewhere: String) -> (Fake, Image, RegistryClient) {
    let fault = move |asked: &Asked| {
        if asked.header("authorization").is_none() {
            return Some(Answer::new(401).header("WWW-Authenticate", "Basic realm=\"x\""));
        }
        let moved = || Answer::new(307).header("Location", format!("http://{elsewhere}/moved"));
        (asked.method == "GET" && asked.path.contains(path)).then(moved)
    };
    let (fake, image) = Fake::with_image(fault).await;
    let config = format!(
        r#"{{"auths":{{"{}":{{"username":"joe","password":"s3cret"}}}}}}"#,
        fake.server.address
    );
    let credentials = Credentials::from_docker_config(config.as_bytes()).unwrap();
    let settings = ClientSettings {
        credentials,
        ..settings(&[&fake])
    };
    (fake, image, RegistryClient::new(settings).unwrap())
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirection_to_another_host() {
    let image = Image::new("linux/amd64", false);
    for (path, body) in [
        ("/blobs/", image.layer.clone()),
        ("/manifests/", image.bytes.clone()),
    ] {
        let elsewhere = Server::start(move |_| Answer::new(200).body(body.clone())).await;
        let (fake, image, client) = redirecting(path, elsewhere.address.clone()).await;
        if path == "/blobs/" {
            assert_eq!(read(&client, &fake, &image).await.unwrap(), image.layer);
        } else {
            client
                .resolve(&fake.reference("library/app:1"), &amd64())
                .await
                .unwrap();
        }
        let asked = elsewhere.asked();
        assert_eq!(asked.len(), 1, "{path}");
        assert_eq!(asked[0].header("authorization"), None, "{path}");
    }
}

#[tokio::test]
async fn a_redirection_that_leads_to_itself_is_given_up() {
    for path in ["/blobs/", "/manifests/"] {
        let fault = move |asked: &Asked| {
            let again = || Answer::new(307).header("Location", asked.path.clone());
            (asked.method == "GET" && asked.path.contains(path)).then(again)
        };
        let (fake, image) = Fake::with_image(fault).await;
        let client = RegistryClient::new(settings(&[&fake])).unwrap();
        let error = if path == "/blobs/" {
            read(&client, &fake, &image).await.unwrap_err()
        } else {
            let reference = fake.reference("library/app:1");
            client.resolve(&reference, &amd64()).await.unwrap_err()
        };
        let text = chain(&error);
        assert!(text.contains("redirect"), "{path}: {text}");
        let asked = fake.server.asked().len();
        assert!(asked <= 60, "{path}: asked {asked} times");
    }
}

#[tokio::test]
async fn a_host_that_is_redirected_to_cannot_ask_for_credentials() {
    let thief = Server::start(|_| Answer::new(200).body(r#"{"token":"x"}"#)).await;
    let challenge = format!("Bearer realm=\"http://{}/token\"", thief.address);
    let elsewhere =
        Server::start(move |_| Answer::new(401).header("WWW-Authenticate", &challenge)).await;
    let (fake, _, client) = redirecting("/manifests/", elsewhere.address.clone()).await;
    let error = client
        .resolve(&fake.reference("library/app:1"), &amd64())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert_eq!(elsewhere.asked().len(), 1);
    assert!(thief.asked().is_empty());
}

#[tokio::test]
async fn credentials_do_not_go_to_where_an_upload_is_sent() {
    let storage = Server::start(|_| Answer::new(201)).await;
    let location = format!("http://{}/store?signature=x", storage.address);
    let fault = move |asked: &Asked| match (asked.header("authorization"), asked.method.as_str()) {
        (None, _) => Some(Answer::new(401).header("WWW-Authenticate", "Basic realm=\"x\"")),
        (_, "POST") => Some(Answer::new(202).header("Location", &location)),
        _ => None,
    };
    let fake = Fake::start_with(fault).await;
    let image = Image::new("linux/amd64", false);
    let config = format!(
        r#"{{"auths":{{"{}":{{"auth":"am9lOnM="}}}}}}"#,
        fake.server.address
    );
    let credentials = Credentials::from_docker_config(config.as_bytes()).unwrap();
    let settings = ClientSettings {
        credentials,
        ..settings(&[&fake])
    };
    let client = RegistryClient::new(settings).unwrap();
    let source = BlobSource::Bytes(image.layer.clone().into());
    let to = fake.reference("team/app:1");
    client
        .push_blob(&to, image.layer_descriptor(), source, &[])
        .await
        .unwrap();
    let asked = storage.asked();
    assert_eq!(asked[0].header("authorization"), None);
    assert_eq!(asked[0].body, image.layer);
    assert!(
        asked[0].query.starts_with("signature=x&digest=sha256%3A"),
        "{}",
        asked[0].query
    );
}

#[tokio::test]
async fn a_registry_on_this_machine_is_refused_where_a_build_could_answer() {
    let (fake, image) = Fake::with_image(|_| None).await;
    let port = fake.server.address.rsplit(':').next().unwrap();
    for host in [fake.server.address.clone(), format!("localhost:{port}")] {
        let settings = ClientSettings {
            hosts: vec![plain(&host)],
            refuse_loopback: true,
            retry: impatient(),
            ..ClientSettings::default()
        };
        let client = RegistryClient::new(settings).unwrap();
        let reference = format!("{host}/library/app:1").parse().unwrap();
        let layer = image.layer_descriptor();
        let source = BlobSource::Bytes(image.layer.clone().into());
        let errors = [
            client.resolve(&reference, &amd64()).await.unwrap_err(),
            client.open_blob(&reference, layer).await.unwrap_err(),
            client
                .push_blob(&reference, layer, source, &[])
                .await
                .unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Refused, "{}", chain(&error));
            assert!(
                chain(&error).contains("an address of this machine"),
                "{}",
                chain(&error)
            );
        }
    }
    assert!(fake.server.asked().is_empty());
}

#[tokio::test]
async fn a_host_where_nobody_listens_is_unreachable_and_worth_another_try() {
    let host = nobody().await;
    let settings = ClientSettings {
        hosts: vec![plain(&host)],
        ..settings(&[])
    };
    let client = RegistryClient::new(settings).unwrap();
    let reference = format!("{host}/a").parse().unwrap();
    let error = client.resolve(&reference, &amd64()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.is_transient());
    assert!(
        chain(&error).contains("Connection refused"),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn a_certificate_is_trusted_if_its_ca_is_given_for_the_host() {
    let fake = Fake::start_tls().await;
    let image = Image::new("linux/amd64", false);
    fake.store.lock().unwrap().add("library/app", "1", &image);
    let reference = fake.reference("library/app:1");

    let stranger = RegistryClient::new(ClientSettings::default()).unwrap();
    let host = &fake.server.address;
    let resolved = stranger.resolve(&reference, &amd64()).await.unwrap_err();
    let opened = stranger
        .open_blob(&reference, image.layer_descriptor())
        .await
        .unwrap_err();
    for error in [resolved, opened] {
        assert_eq!(
            error.kind(),
            ErrorKind::UntrustedCertificate,
            "{}",
            chain(&error)
        );
        assert!(!error.is_transient());
        let way_out = format!(
            "the certificate of {host} is not trusted; give its CA in spec.registries[].caBundle"
        );
        assert!(chain(&error).contains(&way_out), "{}", chain(&error));
    }

    let trusting = HostSettings {
        host: host.clone(),
        ca_certificates_pem: Some(CA.to_vec()),
        ..HostSettings::default()
    };
    let settings = ClientSettings {
        hosts: vec![trusting],
        ..ClientSettings::default()
    };
    let client = RegistryClient::new(settings).unwrap();
    client.resolve(&reference, &amd64()).await.unwrap();
    assert_eq!(read(&client, &fake, &image).await.unwrap(), image.layer);
}

#[tokio::test]
async fn a_plain_registry_that_is_spoken_to_in_tls_is_recognised() {
    let fake = Fake::start().await;
    let settings = ClientSettings {
        retry: impatient(),
        ..ClientSettings::default()
    };
    let client = RegistryClient::new(settings).unwrap();
    let error = client
        .resolve(&fake.reference("a:1"), &amd64())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(!error.is_transient());
    assert!(
        chain(&error).contains("set spec.registries[].plainHTTP"),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn every_request_says_who_is_asking() {
    let (fake, image) = Fake::with_image(|_| None).await;
    let client = client(&[&fake]);
    client
        .resolve(&fake.reference("library/app:1"), &amd64())
        .await
        .unwrap();
    read(&client, &fake, &image).await.unwrap();
    for asked in fake.server.asked() {
        let agent = asked.header("user-agent").unwrap();
        assert!(
            agent.starts_with("stagecraft/"),
            "{agent} for {}",
            asked.path
        );
    }
}
