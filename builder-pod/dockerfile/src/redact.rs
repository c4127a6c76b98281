//! Instructions without the passwords that stand in their URLs: what is shown and what is kept of them.
//!
//! Invariant: nothing else of a text changes.

/// What stands in place of a user and a password.
const REDACTED: &str = "xxxxx:xxxxx@";

/// The text with user and password of every http and https URL in it replaced.
#[must_use]
pub fn without_passwords(text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + "://".len());
        redacted.push_str(before);
        rest = after;
        let scheme = before[..at].to_ascii_lowercase();
        if !(scheme.ends_with("http") || scheme.ends_with("https")) {
            continue;
        }
        let is_end = |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'' | ',');
        let end = rest.find(is_end).unwrap_or(rest.len());
        if let Some(user) = rest[..end].rfind('@') {
            redacted.push_str(REDACTED);
            rest = &rest[user + 1..];
        }
    }
    redacted + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_passwords_of_urls_are_replaced_and_nothing_else() {
        for (text, expected) in [
            (
                "ADD https://joe:s3cret@h/x@y /x",
                "ADD https://xxxxx:xxxxx@h/x@y /x",
            ),
            (
                r#"ADD ["HTTP://t0ken@h", "http://a@b@h/"]"#,
                r#"ADD ["HTTP://xxxxx:xxxxx@h", "http://xxxxx:xxxxx@h/"]"#,
            ),
            (
                "ADD ssh://git@h/a.git git@h:b",
                "ADD ssh://git@h/a.git git@h:b",
            ),
            (
                "ADD https://h/x?mail=a@b c@d",
                "ADD https://h/x?mail=a@b c@d",
            ),
            ("https://", "https://"),
            ("", ""),
        ] {
            assert_eq!(without_passwords(text), expected);
        }
    }
}
