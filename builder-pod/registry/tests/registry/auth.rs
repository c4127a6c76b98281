//! Showing who we are.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use stagecraft_registry::{
    BlobSource, ClientSettings, Credentials, ErrorKind, Pushed, Registry, RegistryClient,
};

use crate::fake::{Fake, Image, amd64, chain, settings};
use crate::server::{Answer, Asked, Server};

/// `Basic` with joe's password.
const JOE: &str = "Basic am9lOnMzY3JldA==";

fn credentials(host: &str, entry: &str) -> Credentials {
    let config = format!(r#"{{"auths":{{"{host}":{entry}}}}}"#);
    Credentials::from_docker_config(config.as_bytes()).unwrap()
}

fn joe(host: &str) -> Credentials {
    credentials(host, r#"{"username":"joe","password":"s3cret"}"#)
}

fn client_with(fake: &Fake, credentials: Credentials) -> RegistryClient {
    RegistryClient::new(ClientSettings {
        credentials,
        ..settings(&[fake])
    })
    .unwrap()
}

fn basic_only(asked: &Asked) -> Option<Answer> {
    let refused = Answer::new(401).header("WWW-Authenticate", "Basic realm=\"here\"");
    (asked.header("authorization") != Some(JOE)).then_some(refused)
}

#[tokio::test]
async fn a_password_is_shown_to_a_registry_that_asks_for_it() {
    let (fake, image) = Fake::with_image(basic_only).await;
    let client = client_with(&fake, joe(&fake.server.address));
    let reference = fake.reference("library/app:1");
    client.resolve(&reference, &amd64()).await.unwrap();
    let stream = client
        .open_blob(&reference, image.layer_descriptor())
        .await
        .unwrap();
    assert!(stream.all(|chunk| async move { chunk.is_ok() }).await);
    let to = fake.reference("team/app:1");
    let source = BlobSource::Bytes(image.layer.clone().into());
    let pushed = client
        .push_blob(&to, image.layer_descriptor(), source, &[])
        .await
        .unwrap();
    assert_eq!(pushed, Pushed::Uploaded);
    let refused = fake
        .server
        .asked()
        .iter()
        .filter(|asked| basic_only(asked).is_some())
        .count();
    assert_eq!(
        refused, 1,
        "once the registry has asked, everything is authorised at once"
    );
}

#[tokio::test]
async fn a_blob_may_be_what_is_asked_for_first() {
    let (fake, image) = Fake::with_image(basic_only).await;
    let client = client_with(&fake, joe(&fake.server.address));
    let reference = fake.reference("library/app:1");
    let stream = client
        .open_blob(&reference, image.layer_descriptor())
        .await
        .unwrap();
    assert!(stream.all(|chunk| async move { chunk.is_ok() }).await);
}

#[tokio::test]
async fn missing_and_wrong_credentials_are_told_apart_and_never_shown() {
    let (fake, image) = Fake::with_image(basic_only).await;
    let host = &fake.server.address;
    let wrong = credentials(host, r#"{"username":"joe","password":"t0psecret"}"#);
    let reference = fake.reference("library/app:1");
    let cases = [
        (
            Credentials::default(),
            format!("name a secret with credentials for {host} in spec.registrySecrets"),
        ),
        (
            wrong,
            format!("the credentials given for {host} do not suffice"),
        ),
    ];
    for (credentials, expected) in cases {
        let client = client_with(&fake, credentials);
        let resolved = client.resolve(&reference, &amd64()).await.unwrap_err();
        let opened = client
            .open_blob(&reference, image.layer_descriptor())
            .await
            .unwrap_err();
        for error in [resolved, opened] {
            assert_eq!(error.kind(), ErrorKind::Unauthorized);
            assert!(!error.is_transient());
            assert!(chain(&error).contains(&expected), "{}", chain(&error));
            assert!(!format!("{error:?}").contains("t0psecret"), "{error:?}");
        }
    }
}

/// A registry with its token server: tokens are `token-1`, `token-2`, …; only the latest one is good.
struct WithTokens {
    fake: Fake,
    image: Image,
    tokens: Arc<Server>,
    revoked: Arc<AtomicUsize>,
    /// Revoke the token of the next upload while it is on its way.
    revoke_at_upload: Arc<AtomicBool>,
}

async fn with_tokens(
    token_answer: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static,
) -> WithTokens {
    let issued = Arc::new(AtomicUsize::new(0));
    let revoked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&issued);
    let tokens = Arc::new(
        Server::start(move |asked| {
            let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
            token_answer(asked, number)
        })
        .await,
    );
    let realm = format!("http://{}/token", tokens.address);
    let revoke_at_upload = Arc::new(AtomicBool::new(false));
    let (bad_until, revoke) = (Arc::clone(&revoked), Arc::clone(&revoke_at_upload));
    let fault = move |asked: &Asked| {
        let number = asked.header("authorization").and_then(|header| {
            header
                .strip_prefix("Bearer token-")
                .and_then(|number| number.parse::<usize>().ok())
        });
        if asked.method == "PUT" && revoke.swap(false, Ordering::SeqCst) {
            bad_until.store(number.unwrap(), Ordering::SeqCst);
        }
        let good = number.is_some_and(|number| number > bad_until.load(Ordering::SeqCst));
        let challenge = format!(r#"Bearer realm="{realm}",service="fake.io",scope="""#);
        (!good).then(|| Answer::new(401).header("WWW-Authenticate", challenge))
    };
    let (fake, image) = Fake::with_image(fault).await;
    WithTokens {
        fake,
        image,
        tokens,
        revoked,
        revoke_at_upload,
    }
}

fn token(number: usize) -> Answer {
    Answer::new(200).body(format!(r#"{{"token":"token-{number}","expires_in":300}}"#))
}

#[tokio::test]
async fn a_token_is_fetched_once_for_many_and_again_when_it_is_refused() {
    let parts = with_tokens(|_, number| token(number)).await;
    let client = client_with(&parts.fake, joe(&parts.fake.server.address));
    let reference = parts.fake.reference("library/app:1");
    let read = || async {
        let descriptor = parts.image.layer_descriptor();
        let stream = client.open_blob(&reference, descriptor).await.unwrap();
        stream.all(|chunk| async move { chunk.is_ok() }).await
    };
    client.resolve(&reference, &amd64()).await.unwrap();
    let all = futures::future::join_all((0..8).map(|_| read())).await;
    assert!(all.into_iter().all(|read| read));
    assert_eq!(parts.tokens.asked().len(), 1);
    let asked = &parts.tokens.asked()[0];
    assert_eq!(asked.header("authorization"), Some(JOE));
    assert_eq!(
        asked.query,
        "service=fake.io&scope=repository%3Alibrary%2Fapp%3Apull"
    );

    parts.revoked.store(1, Ordering::SeqCst);
    let all = futures::future::join_all((0..4).map(|_| read())).await;
    assert!(all.into_iter().all(|read| read));
    client.resolve(&reference, &amd64()).await.unwrap();
    assert_eq!(parts.tokens.asked().len(), 2, "one more for all of them");
}

#[tokio::test]
async fn a_mount_asks_for_access_to_both_repositories() {
    let parts = with_tokens(|_, number| token(number)).await;
    parts.fake.store.lock().unwrap().mounts = true;
    let client = client_with(&parts.fake, joe(&parts.fake.server.address));
    let source = BlobSource::Bytes(parts.image.layer.clone().into());
    let to = parts.fake.reference("team/app:1");
    let from = [parts.fake.reference("library/app")];
    let pushed = client
        .push_blob(&to, parts.image.layer_descriptor(), source, &from)
        .await
        .unwrap();
    assert_eq!(pushed, Pushed::Mounted);
    let queries: Vec<String> = parts
        .tokens
        .asked()
        .into_iter()
        .map(|asked| asked.query)
        .collect();
    assert_eq!(
        queries,
        [
            "service=fake.io&scope=repository%3Ateam%2Fapp%3Apull%2Cpush",
            "service=fake.io&scope=repository%3Ateam%2Fapp%3Apull%2Cpush&scope=repository%3Alibrary%2Fapp%3Apull",
        ]
    );
}

#[tokio::test]
async fn an_upload_whose_token_ends_is_sent_again_with_another() {
    let parts = with_tokens(|_, number| token(number)).await;
    let client = client_with(&parts.fake, joe(&parts.fake.server.address));
    parts.revoke_at_upload.store(true, Ordering::SeqCst);
    let source = BlobSource::Bytes(parts.image.layer.clone().into());
    let to = parts.fake.reference("team/app:1");
    let pushed = client
        .push_blob(&to, parts.image.layer_descriptor(), source, &[])
        .await;
    assert_eq!(pushed.unwrap(), Pushed::Uploaded);
    assert_eq!(parts.fake.server.count("PUT", "/uploads/"), 2);
    assert_eq!(parts.tokens.asked().len(), 2);
}

#[tokio::test]
async fn an_identity_token_is_changed_for_an_access_token() {
    let parts = with_tokens(|_, number| {
        Answer::new(200).body(format!(r#"{{"access_token":"token-{number}"}}"#))
    })
    .await;
    let host = &parts.fake.server.address;
    let client = client_with(
        &parts.fake,
        credentials(host, r#"{"identitytoken":"re fresh"}"#),
    );
    client
        .resolve(&parts.fake.reference("library/app:1"), &amd64())
        .await
        .unwrap();
    let asked = &parts.tokens.asked()[0];
    assert_eq!(asked.method, "POST");
    assert_eq!(
        asked.header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    assert_eq!(
        String::from_utf8(asked.body.clone()).unwrap(),
        "grant_type=refresh_token&service=fake.io&client_id=stagecraft\
         &scope=repository%3Alibrary%2Fapp%3Apull&refresh_token=re+fresh"
    );
}

#[tokio::test]
async fn a_token_server_that_stumbles_is_asked_again_and_one_that_refuses_is_not() {
    let parts = with_tokens(|_, number| match number {
        1 => Answer::new(503),
        2 => Answer::new(429).header("Retry-After", "0"),
        number => token(number),
    })
    .await;
    let client = client_with(&parts.fake, Credentials::default());
    client
        .resolve(&parts.fake.reference("library/app:1"), &amd64())
        .await
        .unwrap();
    assert_eq!(parts.tokens.asked().len(), 3);
    assert_eq!(
        parts.tokens.asked()[0].header("authorization"),
        None,
        "nobody asks anonymously"
    );

    let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}"#;
    let parts = with_tokens(move |_, _| Answer::new(401).body(body)).await;
    let client = client_with(&parts.fake, joe(&parts.fake.server.address));
    let reference = parts.fake.reference("library/app:1");
    let error = client.resolve(&reference, &amd64()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(
        chain(&error).ends_with("(it says: incorrect username or password)"),
        "{}",
        chain(&error)
    );
    assert_eq!(parts.tokens.asked().len(), 1);
}

#[tokio::test]
async fn credentials_do_not_travel_in_the_clear_to_the_token_server_of_a_tls_registry() {
    let asked = Arc::new(Mutex::new(0));
    let tokens = Server::start(|_| token(1)).await;
    let realm = format!("http://{}/token", tokens.address);
    let counter = Arc::clone(&asked);
    let server = Server::start_tls(move |_| {
        *counter.lock().unwrap() += 1;
        Answer::new(401).header("WWW-Authenticate", format!(r#"Bearer realm="{realm}""#))
    })
    .await;
    let host = stagecraft_registry::HostSettings {
        host: server.address.clone(),
        ca_certificates_pem: Some(include_bytes!("../fixtures/tls/ca.pem").to_vec()),
        ..Default::default()
    };
    let settings = ClientSettings {
        hosts: vec![host],
        credentials: joe(&server.address),
        ..ClientSettings::default()
    };
    let client = RegistryClient::new(settings).unwrap();
    let reference = format!("{}/a", server.address).parse().unwrap();
    let error = client.resolve(&reference, &amd64()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(*asked.lock().unwrap(), 1);
    assert!(tokens.asked().is_empty());
}
