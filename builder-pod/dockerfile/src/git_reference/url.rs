//! URLs as Go's `net/url` reads and writes them: what one is taken for decides what is fetched.

use core::net::Ipv6Addr;

/// A URL in parts.
#[derive(Clone, Debug, Default)]
pub(super) struct Url {
    /// In small letters.
    pub(super) scheme: String,
    /// Decoded; a path from a URL need not be text.
    pub(super) path: Vec<u8>,
    /// As written.
    pub(super) query: String,
    /// Decoded.
    pub(super) fragment: String,
    user: Option<(Vec<u8>, Option<Vec<u8>>)>,
    host: Vec<u8>,
    written_path: String,
    /// What follows the scheme where no slash does.
    opaque: String,
    /// Whether a question mark has nothing behind it.
    ends_in_question: bool,
    /// Whether there is a scheme, but no place for a host.
    omits_host: bool,
}

/// Where a character stands decides whether it is escaped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Path,
    Host,
    Zone,
    User,
    Query,
    Fragment,
}

impl Url {
    /// `None` when it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (before, fragment) = text.split_once('#').unwrap_or((text, ""));
        let mut url = Self::without_fragment(before)?;
        let fragment = unescape(fragment, Part::Fragment)?;
        url.fragment = text_of(&fragment);
        Some(url)
    }

    fn without_fragment(text: &str) -> Option<Self> {
        if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
            return None;
        }
        let (scheme, mut rest) = scheme(text)?;
        let mut url = Self {
            scheme: scheme.to_ascii_lowercase(),
            ..Self::default()
        };
        match rest.split_once('?') {
            Some((before, "")) => {
                rest = before;
                url.ends_in_question = true;
            }
            Some((before, query)) => {
                rest = before;
                query.clone_into(&mut url.query);
            }
            None => {}
        }
        if !rest.starts_with('/') {
            if !url.scheme.is_empty() {
                rest.clone_into(&mut url.opaque);
                return Some(url);
            }
            let first = rest.split('/').next().unwrap_or_default();
            if first.contains(':') {
                return None;
            }
        }
        let has_authority = !url.scheme.is_empty() || !rest.starts_with("///");
        match rest.strip_prefix("//").filter(|_| has_authority) {
            Some(authority) => {
                let end = authority.find('/').unwrap_or(authority.len());
                url.take_authority(&authority[..end])?;
                rest = &authority[end..];
            }
            None => url.omits_host = !url.scheme.is_empty() && rest.starts_with('/'),
        }
        url.path = unescape(rest, Part::Path)?;
        rest.clone_into(&mut url.written_path);
        Some(url)
    }

    fn take_authority(&mut self, authority: &str) -> Option<()> {
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        self.host = parse_host(&self.scheme, host)?;
        let Some(user) = user else {
            return Some(());
        };
        let is_valid = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
        if !user.chars().all(is_valid) {
            return None;
        }
        self.user = Some(match user.split_once(':') {
            Some((name, password)) => (
                unescape(name, Part::User)?,
                Some(unescape(password, Part::User)?),
            ),
            None => (unescape(user, Part::User)?, None),
        });
        Some(())
    }

    /// It as text, without query and fragment.
    pub(super) fn without_query(&self) -> String {
        let mut text = String::new();
        if !self.scheme.is_empty() {
            text.push_str(&self.scheme);
            text.push(':');
        }
        if self.opaque.is_empty() {
            let has_host = !self.host.is_empty() || self.user.is_some();
            if !self.scheme.is_empty() || has_host {
                if has_host || !(self.omits_host || self.path.is_empty()) {
                    text.push_str("//");
                }
                if let Some((name, password)) = &self.user {
                    text.push_str(&escape(name, Part::User));
                    if let Some(password) = password {
                        text.push(':');
                        text.push_str(&escape(password, Part::User));
                    }
                    text.push('@');
                }
                text.push_str(&escape(&self.host, Part::Host));
            }
            let path = self.escaped_path();
            if !path.is_empty() && !path.starts_with('/') && !self.host.is_empty() {
                text.push('/');
            }
            text.push_str(&path);
        } else {
            text.push_str(&self.opaque);
        }
        if self.ends_in_question {
            text.push('?');
        }
        text
    }

    /// The path as written where that is a valid way to write it.
    fn escaped_path(&self) -> String {
        let is_valid =
            |byte: u8| b"!$&'()*+,;=:@[]%".contains(&byte) || !is_escaped(byte, Part::Path);
        if !self.written_path.is_empty() && self.written_path.bytes().all(is_valid) {
            return self.written_path.clone();
        }
        escape(&self.path, Part::Path)
    }
}

/// The scheme and what follows its colon; `None` when the colon has nothing before it.
fn scheme(text: &str) -> Option<(&str, &str)> {
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return None,
            b':' => return Some((&text[..at], &text[at + 1..])),
            _ => break,
        }
    }
    Some(("", text))
}

fn parse_host(scheme: &str, host: &str) -> Option<Vec<u8>> {
    match host.rfind('[') {
        Some(0) => {
            let close = host.rfind(']')?;
            let port = &host[close + 1..];
            if !is_port(port) {
                return None;
            }
            let name = &host[1..close];
            let name = match name.find("%25") {
                Some(zone) => {
                    let mut whole = unescape(&name[..zone], Part::Host)?;
                    whole.extend(unescape(&name[zone..], Part::Zone)?);
                    whole
                }
                None => unescape(name, Part::Host)?,
            };
            let address = std::str::from_utf8(&name).ok()?;
            let address = match address.split_once('%') {
                Some((_, "")) => return None,
                Some((address, _)) => address,
                None => address,
            };
            address.parse::<Ipv6Addr>().ok()?;
            let port = unescape(port, Part::Host)?;
            return Some([b"[", name.as_slice(), b"]", port.as_slice()].concat());
        }
        Some(_) => return None,
        None => {}
    }
    // Other schemes may have a list of hosts with ports.
    let colon = match scheme {
        "http" | "https" => host.find(':'),
        _ => host.rfind(':'),
    };
    if !colon.is_none_or(|colon| is_port(&host[colon..])) {
        return None;
    }
    unescape(host, Part::Host)
}

/// Nothing, or a colon and digits.
fn is_port(port: &str) -> bool {
    let digits = port.strip_prefix(':');
    port.is_empty() || digits.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether a byte is escaped where it stands.
fn is_escaped(byte: u8, part: Part) -> bool {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => false,
        b'!' | b'\'' | b'(' | b')' | b'*' | b'[' | b']' | b'<' | b'>' | b'"'
            if matches!(part, Part::Host | Part::Zone) =>
        {
            false
        }
        b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'?' | b'@' => match part {
            Part::Path => byte == b'?',
            Part::Host | Part::Zone => matches!(byte, b'/' | b'?' | b'@'),
            Part::User => matches!(byte, b'@' | b'/' | b'?' | b':'),
            Part::Query => true,
            Part::Fragment => false,
        },
        b'!' | b'(' | b')' | b'*' => part != Part::Fragment,
        _ => true,
    }
}

fn escape(bytes: &[u8], part: Part) -> String {
    let mut text = String::new();
    for byte in bytes {
        if is_escaped(*byte, part) {
            text.push_str(&format!("%{byte:02X}"));
        } else {
            text.push(char::from(*byte));
        }
    }
    text
}

/// The bytes that an escaped text stands for; `None` when an escape is none, or may not stand there.
pub(super) fn unescape(text: &str, part: Part) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let code = u8::try_from(digit()? * 16 + digit()?).ok()?;
                let may_stand = match part {
                    // In a host only what is not ASCII is escaped, and the mark of a zone.
                    Part::Host => code >= 0x80 || code == b'%',
                    Part::Zone => code == b'%' || code == b' ' || !is_escaped(code, Part::Host),
                    _ => true,
                };
                if !may_stand {
                    return None;
                }
                bytes.push(code);
            }
            b'+' if part == Part::Query => bytes.push(b' '),
            plain => {
                let is_host = matches!(part, Part::Host | Part::Zone);
                if is_host && plain < 0x80 && is_escaped(plain, part) {
                    return None;
                }
                bytes.push(plain);
            }
        }
    }
    Some(bytes)
}

/// The bytes as text; each that is none becomes U+FFFD.
fn text_of(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '\u{fffd}'));
    }
    text
}

/// The pairs of a query, and whether all of it could be read.
pub(super) fn query(text: &str) -> (Vec<(String, String)>, bool) {
    /// Go reads no more than these.
    const LIMIT: usize = 10_000;
    if text.matches('&').count() >= LIMIT {
        return (Vec::new(), false);
    }
    let (mut pairs, mut is_whole) = (Vec::new(), true);
    for setting in text.split('&').filter(|setting| !setting.is_empty()) {
        let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
        let decoded = (unescape(name, Part::Query), unescape(value, Part::Query));
        match decoded {
            (Some(name), Some(value)) if !setting.contains(';') => {
                pairs.push((text_of(&name), text_of(&value)));
            }
            _ => is_whole = false,
        }
    }
    (pairs, is_whole)
}
