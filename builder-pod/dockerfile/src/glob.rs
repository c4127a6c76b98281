//! Wildcards of COPY and ADD: Go's `filepath.Match`.
//!
//! `*` any characters but `/`, `?` one of them, `[a-z]` and `[^a-z]` classes (which may match `/`), backslash
//! escapes.
//!
//! Invariant: matching never takes more than the product of both lengths.

/// A pattern that cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pattern is malformed")]
pub struct PatternError;

/// A pattern to match many names with.
#[derive(Clone, Debug)]
pub struct Glob {
    chunks: Vec<Chunk>,
}

/// What stands between stars. Go reads it only when it comes to it.
#[derive(Clone, Debug)]
struct Chunk {
    after_star: bool,
    tokens: Result<Vec<Token>, PatternError>,
}

#[derive(Clone, Debug)]
enum Token {
    /// One byte of a character that is meant plainly.
    Literal(u8),
    Any,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn parse(pattern: &str) -> Result<Self, PatternError> {
        let glob = Self::read(pattern);
        match glob
            .chunks
            .iter()
            .find_map(|chunk| chunk.tokens.as_ref().err())
        {
            Some(error) => Err(*error),
            None => Ok(glob),
        }
    }

    fn read(pattern: &str) -> Self {
        let mut chunks = Vec::new();
        let mut rest = pattern;
        while !rest.is_empty() {
            let stars = rest.trim_start_matches('*');
            let (chunk, behind) = stars.split_at(chunk_length(stars));
            chunks.push(Chunk {
                after_star: stars.len() < rest.len(),
                tokens: tokens(chunk),
            });
            rest = behind;
        }
        Self { chunks }
    }

    /// Whether it matches the whole name.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.match_bytes(name.as_bytes()).unwrap_or_default()
    }

    fn match_bytes(&self, mut name: &[u8]) -> Result<bool, PatternError> {
        for (number, chunk) in self.chunks.iter().enumerate() {
            let tokens = chunk.tokens.as_ref().map_err(|error| *error)?;
            let is_last = number + 1 == self.chunks.len();
            if chunk.after_star && tokens.is_empty() {
                return Ok(!name.contains(&b'/'));
            }
            // The star takes as little as it can, byte by byte.
            let most = match chunk.after_star {
                true => name
                    .iter()
                    .position(|byte| *byte == b'/')
                    .unwrap_or(name.len()),
                false => 0,
            };
            let rest = (0..=most).find_map(|taken| {
                let rest = match_chunk(tokens, &name[taken..])?;
                (!is_last || rest.is_empty()).then_some(rest)
            });
            match rest {
                Some(rest) => name = rest,
                None => return Ok(false),
            }
        }
        Ok(name.is_empty())
    }
}

/// Whether the pattern matches the whole name.
///
/// # Errors
/// When a part of the pattern is malformed that had to be looked at.
pub fn matches(pattern: &str, name: &str) -> Result<bool, PatternError> {
    Glob::read(pattern).match_bytes(name.as_bytes())
}

/// Whether a path has a wildcard. A backslash alone is none: it only takes the meaning of what follows it.
#[must_use]
pub fn has_wildcard(path: &str) -> bool {
    let mut characters = path.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => _ = characters.next(),
            '*' | '?' | '[' => return true,
            _ => {}
        }
    }
    false
}

/// The bytes up to the next star outside of a class.
fn chunk_length(pattern: &str) -> usize {
    let mut in_class = false;
    let mut bytes = pattern.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => _ = bytes.next(),
            b'[' => in_class = true,
            b']' => in_class = false,
            b'*' if !in_class => return at,
            _ => {}
        }
    }
    pattern.len()
}

fn tokens(chunk: &str) -> Result<Vec<Token>, PatternError> {
    let mut tokens = Vec::new();
    let mut rest = chunk;
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        let plain = match first {
            '?' => {
                tokens.push(Token::Any);
                continue;
            }
            '[' => {
                tokens.push(class(&mut rest)?);
                continue;
            }
            '\\' => {
                let escaped = rest.chars().next().ok_or(PatternError)?;
                rest = &rest[escaped.len_utf8()..];
                escaped
            }
            plain => plain,
        };
        let mut buffer = [0; 4];
        tokens.extend(plain.encode_utf8(&mut buffer).bytes().map(Token::Literal));
    }
    Ok(tokens)
}

/// A class behind its opening bracket.
fn class(rest: &mut &str) -> Result<Token, PatternError> {
    let negated = rest.strip_prefix('^');
    *rest = negated.unwrap_or(rest);
    let mut ranges = Vec::new();
    loop {
        if let Some(behind) = rest.strip_prefix(']').filter(|_| !ranges.is_empty()) {
            *rest = behind;
            let negated = negated.is_some();
            return Ok(Token::Class { negated, ranges });
        }
        let low = class_character(rest)?;
        let high = match rest.strip_prefix('-') {
            Some(behind) => {
                *rest = behind;
                class_character(rest)?
            }
            None => low,
        };
        ranges.push((low, high));
    }
}

/// One end of a range, something behind it.
fn class_character(rest: &mut &str) -> Result<char, PatternError> {
    let mut characters = rest.chars();
    let character = match characters.next() {
        None | Some('-' | ']') => None,
        Some('\\') => characters.next(),
        other => other,
    };
    *rest = characters.as_str();
    character.filter(|_| !rest.is_empty()).ok_or(PatternError)
}

/// What is left of the name behind the chunk; `None` when it does not begin with it.
fn match_chunk<'a>(tokens: &[Token], mut name: &'a [u8]) -> Option<&'a [u8]> {
    for token in tokens {
        let (first, behind) = name.split_first()?;
        name = match token {
            Token::Literal(byte) if byte == first => behind,
            Token::Literal(_) => return None,
            Token::Any if *first == b'/' => return None,
            Token::Any => &name[character(name).1..],
            Token::Class { negated, ranges } => {
                let (character, length) = character(name);
                let mut ranges = ranges.iter();
                let within = ranges.any(|(low, high)| (*low..=*high).contains(&character));
                if within == *negated {
                    return None;
                }
                &name[length..]
            }
        };
    }
    Some(name)
}

/// The first character and its length. A star may stop inside of one, whose bytes then stand each for U+FFFD.
fn character(name: &[u8]) -> (char, usize) {
    let longest = name.get(..4).unwrap_or(name);
    let first = longest.utf8_chunks().next();
    let valid = first.and_then(|chunk| chunk.valid().chars().next());
    valid.map_or(('\u{fffd}', 1), |valid| (valid, valid.len_utf8()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, name, expected) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "ab/c", false),
            ("a*b*c*d", "aXbXcXXd", true),
            ("a*/b", "abc/b", true),
            ("ab[c]", "abc", true),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a???b", "abcb", false),
            ("a[^a][^a][^a]b", "a☺b", false),
            ("*x", "xxx", true),
            ("[[]a", "[a", true),
            ("[\\]a]", "]", true),
            ("[\\-x]", "-", true),
            ("a?b", "a/b", false),
            ("a*b", "a/b", false),
            ("a[^b]c", "a/c", true),
            ("", "", true),
            ("*", "", true),
            (
                "a*a*a*a*a*a*a*b",
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                false,
            ),
        ] {
            assert_eq!(matches(pattern, name), Ok(expected), "{pattern} {name}");
        }
        // What is not looked at may be wrong.
        assert_eq!(matches("x*[", "a"), Ok(false));
        assert_eq!(matches("a*[", "ab"), Err(PatternError));
        assert!(Glob::parse("x*[").is_err());
        // A star takes bytes, so that the rest of a character can count as several.
        assert_eq!(matches("*??", "€"), Ok(true));
        for wrong in [
            "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[", "[^", "[^bc", "a[", "\\",
        ] {
            assert_eq!(matches(wrong, "ab"), Err(PatternError), "{wrong}");
        }
    }

    #[test]
    fn a_backslash_alone_is_no_wildcard() {
        for (path, expected) in [
            ("a", false),
            ("a\\*", false),
            ("\\[a].txt", false),
            ("[[]a", true),
            ("a\\\\*", true),
            ("a?", true),
        ] {
            assert_eq!(has_wildcard(path), expected, "{path}");
        }
    }
}
