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
    tokens: Vec<Token>,
}

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn parse(pattern: &str) -> Result<Self, PatternError> {
        let tokens = parse(pattern)?;
        Ok(Self { tokens })
    }

    /// Whether it matches the whole name.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        matches_from(&self.tokens, &name)
    }
}

/// Whether the pattern matches the whole name.
///
/// # Errors
/// When the pattern is malformed, wherever the name would have stopped matching.
pub fn matches(pattern: &str, name: &str) -> Result<bool, PatternError> {
    Ok(Glob::parse(pattern)?.matches(name))
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

#[derive(Clone, Debug)]
enum Token {
    Literal(char),
    Any,
    Many,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

fn parse(pattern: &str) -> Result<Vec<Token>, PatternError> {
    let mut tokens = Vec::new();
    let mut characters = pattern.chars().peekable();
    while let Some(character) = characters.next() {
        tokens.push(match character {
            '*' => Token::Many,
            '?' => Token::Any,
            '\\' => Token::Literal(characters.next().ok_or(PatternError)?),
            '[' => {
                let negated = characters.next_if_eq(&'^').is_some();
                let mut ranges = Vec::new();
                loop {
                    if !ranges.is_empty() && characters.next_if_eq(&']').is_some() {
                        break;
                    }
                    let low = class_character(&mut characters)?;
                    let high = match characters.next_if_eq(&'-') {
                        Some(_) => class_character(&mut characters)?,
                        None => low,
                    };
                    ranges.push((low, high));
                }
                Token::Class { negated, ranges }
            }
            other => Token::Literal(other),
        });
    }
    Ok(tokens)
}

fn class_character(
    characters: &mut std::iter::Peekable<std::str::Chars<'_>>,
) -> Result<char, PatternError> {
    match characters.next() {
        None | Some('-' | ']') => Err(PatternError),
        Some('\\') => characters.next().ok_or(PatternError),
        Some(other) => Ok(other),
    }
}

/// Backtracks to the last star only: earlier ones need not be tried again.
fn matches_from(tokens: &[Token], name: &[char]) -> bool {
    let (mut token, mut position) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        let advanced = match tokens.get(token) {
            Some(Token::Many) => {
                star = Some((token, position));
                token += 1;
                continue;
            }
            Some(one) => name
                .get(position)
                .is_some_and(|character| one.accepts(*character)),
            None if position == name.len() => return true,
            None => false,
        };
        if advanced {
            token += 1;
            position += 1;
            continue;
        }
        match star {
            Some((star_token, taken)) if name.get(taken).is_some_and(|c| *c != '/') => {
                star = Some((star_token, taken + 1));
                token = star_token + 1;
                position = taken + 1;
            }
            _ => return false,
        }
    }
}

impl Token {
    fn accepts(&self, character: char) -> bool {
        match self {
            Self::Literal(literal) => *literal == character,
            Self::Any => character != '/',
            Self::Many => false,
            Self::Class { negated, ranges } => {
                let within = ranges
                    .iter()
                    .any(|(low, high)| (*low..=*high).contains(&character));
                within != *negated
            }
        }
    }
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
