//! `WWW-Authenticate`: how a registry wants to be shown credentials (RFC 9110 section 11.6.1; distribution's "token
//! authentication specification").

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// A scheme a registry accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User and password with every request.
    Basic,
    /// A token from a token server.
    Bearer {
        /// Address of the token server.
        realm: String,
        /// What the token server calls the registry.
        service: Option<String>,
        /// What access the request that was refused needs.
        scope: Option<String>,
    },
}

impl Challenge {
    /// What holds for other requests to the same host too.
    pub(crate) fn without_scope(&self) -> Self {
        let mut challenge = self.clone();
        if let Self::Bearer { scope, .. } = &mut challenge {
            *scope = None;
        }
        challenge
    }
}

/// The challenge to answer among those of an answer: a token rather than a password.
pub(crate) fn preferred(headers: &HeaderMap) -> Option<Challenge> {
    let challenges: Vec<Challenge> = headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(parse)
        .collect();
    let is_bearer = |challenge: &&Challenge| matches!(challenge, Challenge::Bearer { .. });
    challenges
        .iter()
        .find(is_bearer)
        .or_else(|| challenges.first())
        .cloned()
}

/// The known challenges of one header; others, and malformed rests, are skipped.
fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges = Vec::new();
    let mut rest = header.trim_start_matches([',', ' ']);
    while !rest.is_empty() {
        let (scheme, after) = token(rest);
        if scheme.is_empty() {
            break;
        }
        let (parameters, after) = parameters(after);
        let parameter = |name: &str| {
            parameters
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, v)| v.clone())
        };
        if scheme.eq_ignore_ascii_case("basic") {
            challenges.push(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = parameter("realm")
        {
            challenges.push(Challenge::Bearer {
                realm,
                service: parameter("service"),
                scope: parameter("scope").filter(|scope| !scope.is_empty()),
            });
        }
        if after.len() == rest.len() {
            break;
        }
        rest = after;
    }
    challenges
}

/// A run of token characters and what follows it.
fn token(text: &str) -> (&str, &str) {
    let is_token = |character: char| {
        character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character)
    };
    text.split_at(
        text.find(|character| !is_token(character))
            .unwrap_or(text.len()),
    )
}

/// `name=value` pairs up to the next scheme, and the rest from there.
fn parameters(text: &str) -> (Vec<(String, String)>, &str) {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([',', ' ', '\t']);
        let (name, after) = token(rest);
        let Some(after) = after.trim_start().strip_prefix('=') else {
            return (found, rest);
        };
        if name.is_empty() {
            return (found, "");
        }
        let Some((value, after)) = value(after.trim_start()) else {
            return (found, "");
        };
        found.push((name.to_owned(), value));
        rest = after;
    }
}

/// A token or quoted string.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = token(text);
        return Some((value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        }
    }

    #[test]
    fn challenges_are_read() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/debian:pull""#;
        let cases = [
            (
                hub,
                vec![bearer(
                    "https://auth.docker.io/token",
                    Some("registry.docker.io"),
                    Some("repository:library/debian:pull"),
                )],
            ),
            ("Basic realm=\"x\"", vec![Challenge::Basic]),
            ("basic", vec![Challenge::Basic]),
            (
                r#"Negotiate, Basic realm="a, b=c \"q\"", bearer realm=https-ish , service=s"#,
                vec![Challenge::Basic, bearer("https-ish", Some("s"), None)],
            ),
            (r#"Bearer service="s""#, vec![]),
            (r#"Bearer realm="open"#, vec![]),
            (
                r#"Bearer realm="r",scope="""#,
                vec![bearer("r", None, None)],
            ),
            ("", vec![]),
            ("=,=", vec![]),
            ("Digest realm=\"x\", nonce=abc", vec![]),
        ];
        for (header, expected) in cases {
            assert_eq!(parse(header), expected, "{header}");
        }
    }

    #[test]
    fn a_token_is_preferred_to_a_password() {
        let mut headers = HeaderMap::new();
        headers.append(WWW_AUTHENTICATE, "Basic realm=\"x\"".parse().unwrap());
        headers.append(WWW_AUTHENTICATE, "Bearer realm=\"y\"".parse().unwrap());
        assert_eq!(preferred(&headers), Some(bearer("y", None, None)));
        assert_eq!(preferred(&HeaderMap::new()), None);
    }
}
