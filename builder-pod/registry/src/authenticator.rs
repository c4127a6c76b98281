//! Shows a host who we are: Basic, or tokens from its token server (distribution's "token authentication
//! specification" and "OAuth2 token authentication").
//!
//! Invariant: one fetch per token, however many requests wait for it; a token that was refused is never used again.
//! Invariant: credentials go to the host they are for, or to the token server it names over TLS.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use oci_client::secrets::RegistryAuth;
use oci_client::token_cache::{RegistryToken, RegistryTokenType};
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Deserialize;

use crate::challenge::{self, Challenge};
use crate::credentials::Credential;
use crate::exchange::{failure, read_limited, send};
use crate::guard::Guard;
use crate::retry::Attempts;
use crate::{Credentials, HostError, RetryPolicy};

/// Largest answer of a token server, in bytes.
const TOKEN_LIMIT: u64 = 1024 * 1024;
/// Lifetime of a token whose server does not say, from the specification.
const DEFAULT_LIFETIME: u64 = 60;

/// What a request needs access to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scopes(Vec<(String, &'static str)>);

impl Scopes {
    pub(crate) fn pull(repository: &str) -> Self {
        Self(vec![(repository.to_owned(), "pull")])
    }

    pub(crate) fn push(repository: &str) -> Self {
        Self(vec![(repository.to_owned(), "pull,push")])
    }

    /// Push to one repository what another has.
    pub(crate) fn mount(to: &str, from: &str) -> Self {
        Self(vec![
            (to.to_owned(), "pull,push"),
            (from.to_owned(), "pull"),
        ])
    }

    /// The repository whose credentials are used.
    fn repository(&self) -> &str {
        self.0.first().map_or("", |(repository, _)| repository)
    }

    fn texts(&self) -> Vec<String> {
        let text = |(name, actions): &(String, &str)| format!("repository:{name}:{actions}");
        self.0.iter().map(text).collect()
    }
}

/// What is put on a request.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Authorization {
    Basic { user: String, password: String },
    Bearer(String),
}

impl Authorization {
    /// The header's value; none if a secret has characters that headers cannot have.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let text = match self {
            Self::Basic { user, password } => {
                format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
            }
            Self::Bearer(token) => format!("Bearer {token}"),
        };
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// The same for the OCI client's token cache.
    pub(crate) fn oci(&self) -> RegistryTokenType {
        match self {
            Self::Basic { user, password } => {
                RegistryTokenType::Basic(user.clone(), password.clone())
            }
            Self::Bearer(token) => RegistryTokenType::Bearer(RegistryToken::Token {
                token: token.clone(),
            }),
        }
    }

    /// What the OCI client must have stored to look into its token cache at all.
    pub(crate) const OCI_CACHE_ONLY: RegistryAuth = RegistryAuth::Anonymous;
}

struct Token {
    value: String,
    fresh_until: Instant,
}

type TokenSlot = Arc<tokio::sync::Mutex<Option<Token>>>;

/// Who we are to one host.
pub(crate) struct Authenticator {
    host: String,
    plain_http: bool,
    guard: Guard,
    retry: RetryPolicy,
    http: reqwest::Client,
    credentials: Arc<Credentials>,
    challenge: Mutex<Option<Challenge>>,
    tokens: Mutex<HashMap<String, TokenSlot>>,
}

impl Authenticator {
    pub(crate) fn new(
        host: String,
        plain_http: bool,
        guard: Guard,
        retry: RetryPolicy,
        http: reqwest::Client,
        credentials: Arc<Credentials>,
    ) -> Self {
        Self {
            host,
            plain_http,
            guard,
            retry,
            http,
            credentials,
            challenge: Mutex::default(),
            tokens: Mutex::default(),
        }
    }

    /// Whether there are credentials for what a request needs.
    pub(crate) fn has_credentials(&self, scopes: &Scopes) -> bool {
        self.credential(scopes).is_some()
    }

    fn credential(&self, scopes: &Scopes) -> Option<&Credential> {
        self.credentials.find(&self.host, scopes.repository())
    }

    /// What the host wants to see, as far as it has said so yet.
    pub(crate) async fn authorization(
        &self,
        scopes: &Scopes,
    ) -> Result<Option<Authorization>, HostError> {
        let known = self
            .challenge
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        match known {
            Some(challenge) => self.answer(&challenge, scopes, None).await,
            None => Ok(None),
        }
    }

    /// What to try after the host refused `refused` with these headers; none if there is nothing better.
    pub(crate) async fn renew(
        &self,
        headers: &HeaderMap,
        scopes: &Scopes,
        refused: Option<&Authorization>,
    ) -> Result<Option<Authorization>, HostError> {
        let Some(challenge) = challenge::preferred(headers) else {
            return Ok(None);
        };
        let remembered = challenge.without_scope();
        *self
            .challenge
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(remembered);
        let answer = self.answer(&challenge, scopes, refused).await?;
        Ok(answer.filter(|answer| Some(answer) != refused))
    }

    async fn answer(
        &self,
        challenge: &Challenge,
        scopes: &Scopes,
        refused: Option<&Authorization>,
    ) -> Result<Option<Authorization>, HostError> {
        match (challenge, self.credential(scopes)) {
            (_, Some(Credential::AccessToken(token))) => {
                Ok(Some(Authorization::Bearer(token.clone())))
            }
            (Challenge::Basic, Some(Credential::Password { user, password })) => {
                Ok(Some(Authorization::Basic {
                    user: user.clone(),
                    password: password.clone(),
                }))
            }
            (Challenge::Basic, _) => Ok(None),
            (
                Challenge::Bearer {
                    realm,
                    service,
                    scope,
                },
                credential,
            ) => {
                let mut wanted = scopes.texts();
                // A refusal says what is lacking; behind proxies that rename repositories it is another scope.
                wanted.extend(
                    scope
                        .iter()
                        .filter(|scope| !covered(scopes, scope))
                        .cloned(),
                );
                let request = TokenRequest {
                    realm,
                    service: service.as_deref(),
                    wanted,
                    credential,
                };
                self.token(scopes, request, refused).await.map(Some)
            }
        }
    }

    /// The token for these scopes, fetched if there is none that is fresh and was not refused.
    async fn token(
        &self,
        scopes: &Scopes,
        request: TokenRequest<'_>,
        refused: Option<&Authorization>,
    ) -> Result<Authorization, HostError> {
        let slot = {
            let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(tokens.entry(scopes.texts().join(" ")).or_default())
        };
        let mut slot = slot.lock().await;
        if let Some(token) = slot.as_ref() {
            let authorization = Authorization::Bearer(token.value.clone());
            if token.fresh_until > Instant::now() && Some(&authorization) != refused {
                return Ok(authorization);
            }
        }
        *slot = None;
        let token = self.fetch(scopes, &request).await?;
        let authorization = Authorization::Bearer(token.value.clone());
        *slot = Some(token);
        Ok(authorization)
    }

    async fn fetch(&self, scopes: &Scopes, request: &TokenRequest<'_>) -> Result<Token, HostError> {
        let realm = self.realm(request)?;
        let server = realm.host_str().unwrap_or_default().to_owned();
        let what = format!("a token for {}", scopes.repository());
        let mut attempts = Attempts::new(self.retry);
        loop {
            let error = match send(&server, request.build(&self.http, realm.clone())).await {
                Ok(response) if response.status().is_success() => {
                    let body = read_limited(&server, response, TOKEN_LIMIT, &what).await?;
                    return self.parse(&body);
                }
                Ok(response) => {
                    failure(&self.host, response, &what, request.credential.is_some()).await
                }
                Err(error) => error,
            };
            attempts.pause_after(error).await?;
        }
    }

    /// The token server's address, if credentials may go there.
    fn realm(&self, request: &TokenRequest<'_>) -> Result<Url, HostError> {
        let realm = Url::parse(request.realm).map_err(|_| HostError::Protocol {
            host: self.host.clone(),
            what: "the realm of its challenge is no URL".to_owned(),
        })?;
        self.guard
            .check_url(&realm)
            .map_err(|refused| HostError::Address {
                host: request.realm.to_owned(),
                address: refused.address,
                why: refused.why,
            })?;
        if realm.scheme() != "https" && !self.plain_http && request.credential.is_some() {
            let realm = realm.host_str().unwrap_or_default().to_owned();
            return Err(HostError::PlainRealm {
                host: self.host.clone(),
                realm,
            });
        }
        Ok(realm)
    }

    fn parse(&self, body: &[u8]) -> Result<Token, HostError> {
        let malformed = || HostError::Protocol {
            host: self.host.clone(),
            what: "its token server's answer has no token".to_owned(),
        };
        let answer: TokenAnswer = serde_json::from_slice(body).map_err(|_| malformed())?;
        let given = |token: Option<String>| token.filter(|token| !token.is_empty());
        let value = given(answer.token)
            .or(given(answer.access_token))
            .ok_or_else(malformed)?;
        let lifetime = answer.expires_in.unwrap_or(DEFAULT_LIFETIME);
        // Some time is lost on the way; a request must not start with a token that ends under it.
        let fresh = Duration::from_secs(lifetime.min(24 * 60 * 60) * 9 / 10);
        Ok(Token {
            value,
            fresh_until: Instant::now() + fresh,
        })
    }
}

/// Whether the scopes already ask for what a challenge names.
fn covered(scopes: &Scopes, scope: &str) -> bool {
    scopes.0.iter().any(|(repository, actions)| {
        let prefix = format!("repository:{repository}:");
        scope.strip_prefix(&prefix).is_some_and(|wanted| {
            wanted
                .split(',')
                .all(|action| actions.split(',').any(|own| own == action))
        })
    })
}

struct TokenRequest<'a> {
    realm: &'a str,
    service: Option<&'a str>,
    wanted: Vec<String>,
    credential: Option<&'a Credential>,
}

impl TokenRequest<'_> {
    fn build(&self, http: &reqwest::Client, mut realm: Url) -> reqwest::RequestBuilder {
        if let Some(Credential::IdentityToken(token)) = self.credential {
            // A form is encoded as a query is.
            let mut form = realm.clone();
            form.set_query(None);
            form.query_pairs_mut()
                .append_pair("grant_type", "refresh_token")
                .append_pair("service", self.service.unwrap_or_default())
                .append_pair("client_id", "stagecraft")
                .append_pair("scope", &self.wanted.join(" "))
                .append_pair("refresh_token", token);
            return http
                .post(realm)
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form.query().unwrap_or_default().to_owned());
        }
        {
            let mut query = realm.query_pairs_mut();
            if let Some(service) = self.service {
                query.append_pair("service", service);
            }
            for scope in &self.wanted {
                query.append_pair("scope", scope);
            }
        }
        let request = http.get(realm);
        match self.credential {
            Some(Credential::Password { user, password }) => {
                request.basic_auth(user, Some(password))
            }
            _ => request,
        }
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_covered_by_one_that_allows_as_much() {
        let scopes = Scopes::mount("a", "b");
        for (scope, expected) in [
            ("repository:a:pull", true),
            ("repository:a:push,pull", true),
            ("repository:b:pull", true),
            ("repository:b:push", false),
            ("repository:ab:pull", false),
            ("registry:catalog:*", false),
        ] {
            assert_eq!(covered(&scopes, scope), expected, "{scope}");
        }
    }
}
