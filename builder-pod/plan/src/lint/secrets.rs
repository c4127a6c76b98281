//! What looks like a secret: by its name, or by its value.

/// Words that make a name a secret's, each a whole part between underscores.
const SECRET: [&str; 10] = [
    "apikey",
    "auth",
    "credential",
    "credentials",
    "key",
    "passwd",
    "password",
    "pword",
    "secret",
    "token",
];

/// Words that say it is not the secret itself.
const HARMLESS: [&str; 3] = ["file", "public", "version"];

/// Beginnings of tokens that their issuers made recognisable, with the shortest length of a whole one.
const PREFIXES: [(&str, usize); 12] = [
    ("-----BEGIN ", 20),
    ("AKIA", 20),
    ("ASIA", 20),
    ("AIza", 39),
    ("dckr_pat_", 20),
    ("ghp_", 40),
    ("gho_", 40),
    ("github_pat_", 40),
    ("glpat-", 20),
    ("npm_", 40),
    ("pypi-", 40),
    ("xoxb-", 24),
];

/// Whether a variable of this name holds a secret, as BuildKit judges names.
pub(super) fn is_secret_name(name: &str) -> bool {
    let lower = name.to_lowercase();
    let has = |words: &[&str]| lower.split('_').any(|part| words.contains(&part));
    has(&SECRET) && !has(&HARMLESS)
}

/// Whether a value is a token of a well-known form or a private key.
pub(super) fn is_secret_value(value: &str) -> bool {
    let value = value.trim_matches(['"', '\'']);
    let has_form =
        |(prefix, length): &(&str, usize)| value.starts_with(prefix) && value.len() >= *length;
    if value.starts_with("-----BEGIN ") {
        return value.contains("PRIVATE KEY");
    }
    PREFIXES.iter().any(has_form) || has_password(value)
}

/// Whether it is a URL with a password in it.
fn has_password(value: &str) -> bool {
    let Some((_, rest)) = value.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority
        .rsplit_once('@')
        .and_then(|(user, _)| user.split_once(':'))
        .is_some_and(|(_, password)| !password.is_empty() && !password.contains('$'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_well_known_forms_are_secrets_and_the_like_of_them_is_not() {
        let token = |prefix: &str| format!("{prefix}{}", "a1".repeat(20));
        for secret in [
            token("ghp_"),
            token("glpat-"),
            "AKIAABCDEFGHIJKLMNOP".to_owned(),
            "\"-----BEGIN OPENSSH PRIVATE KEY-----\"".to_owned(),
            "https://me:hunter2@example.com/x".to_owned(),
        ] {
            assert!(is_secret_value(&secret), "{secret}");
        }
        for harmless in [
            "",
            "ghp_short",
            "AKIA",
            "-----BEGIN CERTIFICATE----- and more text",
            "https://example.com:8080/a@b:c",
            "https://me@example.com",
            "https://me:$PASSWORD@example.com",
            "postgres",
        ] {
            assert!(!is_secret_value(harmless), "{harmless}");
        }
    }
}
