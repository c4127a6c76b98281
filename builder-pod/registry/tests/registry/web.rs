//! Questions to hosts that are no registries.

use stagecraft_registry::{
    BasicCredentials, DownloadError, ErrorKind, HttpSettings, WebClient, WebRequest,
};

use crate::fake::chain;
use crate::server::{Answer, Server};

fn credentials() -> BasicCredentials {
    BasicCredentials {
        user: "joe".to_owned(),
        password: "s3cret".to_owned(),
    }
}

/// Asks with a body and credentials, and gives where the answer came from and what it is.
async fn ask(url: &str, body: Option<&str>) -> Result<(String, Vec<u8>), DownloadError> {
    let credentials = credentials();
    let client = WebClient::new(&HttpSettings::default(), url)?;
    let request = WebRequest {
        url,
        headers: &[("Git-Protocol", "version=2")],
        body: body.map(|body| body.to_owned().into()),
        credentials: Some(&credentials),
    };
    let mut answer = client.ask(&request).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok((answer.url().to_owned(), bytes))
}

#[tokio::test]
async fn a_question_has_its_headers_body_and_credentials() {
    let server = Server::start(|_| Answer::new(200).body("answer")).await;
    let url = format!("http://{}/x?y", server.address);
    assert_eq!(ask(&url, None).await.unwrap().1, b"answer");
    assert_eq!(ask(&url, Some("body")).await.unwrap().1, b"answer");
    let asked = server.asked();
    assert_eq!(
        (asked[0].method.as_str(), asked[1].method.as_str()),
        ("GET", "POST")
    );
    assert_eq!(asked[1].body, b"body");
    for asked in asked {
        assert_eq!(asked.header("git-protocol"), Some("version=2"));
        assert_eq!(
            asked.header("authorization"),
            Some("Basic am9lOnMzY3JldA==")
        );
    }
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirection_to_another_host() {
    let elsewhere = Server::start(|_| Answer::new(200).body("moved")).await;
    let target = format!("http://{}/new", elsewhere.address);
    let location = target.clone();
    let server = Server::start(move |_| Answer::new(302).header("Location", &location)).await;
    let url = format!("http://{}/x", server.address);
    assert_eq!(ask(&url, None).await.unwrap(), (target, b"moved".to_vec()));
    assert_eq!(elsewhere.asked()[0].header("authorization"), None);
}

#[tokio::test]
async fn refusals_are_told_without_the_password() {
    let server = Server::start(|_| Answer::new(401)).await;
    let error = ask(&format!("http://{}/x", server.address), None)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(!format!("{} {error:?} {:?}", chain(&error), credentials()).contains("s3cret"));
    let settings = HttpSettings {
        refuse_loopback: true,
        ..HttpSettings::default()
    };
    for url in [
        format!("http://{}/x", server.address),
        "http://localhost/x".to_owned(),
    ] {
        let client = WebClient::new(&settings, &url).unwrap();
        let request = WebRequest {
            url: &url,
            headers: &[],
            body: None,
            credentials: None,
        };
        let error = client.ask(&request).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Refused, "{}", chain(&error));
    }
    assert!(matches!(
        WebClient::new(&settings, "ftp://h/x"),
        Err(DownloadError::Url)
    ));
}
