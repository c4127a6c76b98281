//! `check=skip=…;error=…;experimental=…`: which rules are on, and whether a finding is an error.
//!
//! Invariant: what BuildKit understands is understood alike, down to what it does not trim.

use std::collections::BTreeSet;

use super::Rule;

/// The build argument that says what a `check` directive says, and wins over it, even when it is empty.
pub const CHECK_ARGUMENT: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// What is wrong with check options.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// A part is not `name=value`.
    #[error("the check option {0:?} has no value; the form is name=value")]
    NoValue(String),
    /// A name that is none of the three.
    #[error("there is no check option {0:?}; there are skip, error and experimental")]
    Unknown(String),
    /// `error=` is no boolean.
    #[error("the check option error is true or false, not {0:?}")]
    NoBoolean(String),
}

/// A set of rules by name. Names that no rule has are kept: they may be another version's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// None.
    #[default]
    None,
    /// These.
    Some(BTreeSet<String>),
    /// `all`.
    All,
}

impl Names {
    fn parse(value: &str) -> Self {
        if value == "all" {
            return Self::All;
        }
        Self::Some(
            value
                .split(',')
                .map(|name| name.trim().to_owned())
                .collect(),
        )
    }

    /// Whether a rule is among them.
    #[must_use]
    pub fn has(&self, rule: Rule) -> bool {
        match self {
            Self::None => false,
            Self::Some(names) => names.contains(rule.name()),
            Self::All => true,
        }
    }

    /// Both together.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::None, names) | (names, Self::None) => names.clone(),
            (Self::Some(left), Self::Some(right)) => {
                Self::Some(left.union(right).cloned().collect())
            }
        }
    }
}

/// Which rules are on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckOptions {
    /// Rules that are off.
    pub skip: Names,
    /// Experimental rules that are on.
    pub experimental: Names,
    /// Whether any finding makes the build fail.
    pub error: bool,
}

impl CheckOptions {
    /// Reads options. Of an option that is there twice the last counts, but `all` stays.
    ///
    /// # Errors
    /// What is wrong with the first part that is wrong.
    pub fn parse(text: &str) -> Result<Self, CheckError> {
        let mut options = Self::default();
        if text.trim().is_empty() {
            return Ok(options);
        }
        // A third `;` is part of the third value.
        for part in text.trim().splitn(3, ';') {
            let Some((name, value)) = part.split_once('=') else {
                return Err(CheckError::NoValue(part.to_owned()));
            };
            let value = value.trim();
            match name.trim() {
                "skip" => replace(&mut options.skip, Names::parse(value)),
                "experimental" => replace(&mut options.experimental, Names::parse(value)),
                "error" => {
                    options.error =
                        boolean(value).ok_or_else(|| CheckError::NoBoolean(value.to_owned()))?;
                }
                other => return Err(CheckError::Unknown(other.to_owned())),
            }
        }
        Ok(options)
    }

    /// What the comments above an instruction say: the first that is a well-formed `check=…`, up to its first blank.
    #[must_use]
    pub fn of_comments(comments: &[String]) -> Option<Self> {
        let mut checks = comments.iter().filter_map(|comment| {
            let (name, value) = comment.split_once('=')?;
            name.trim_end()
                .eq_ignore_ascii_case("check")
                .then(|| value.trim())
        });
        let value = checks.find(|value| !value.is_empty())?;
        Self::parse(value.split(' ').next().unwrap_or(value)).ok()
    }
}

fn replace(names: &mut Names, new: Names) {
    if *names != Names::All {
        *names = new;
    }
}

/// A boolean as Go's `strconv.ParseBool` has it.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_in_buildkit() {
        let read = CheckOptions::parse(" skip = UndefinedVar , Other ; error = T ").unwrap();
        assert!(read.skip.has(Rule::UndefinedVar) && !read.skip.has(Rule::StageNameCasing));
        assert!(read.error);
        let all = CheckOptions::parse("skip=all;skip=UndefinedVar").unwrap();
        assert_eq!(all.skip, Names::All);
        assert_eq!(CheckOptions::parse(""), Ok(CheckOptions::default()));
        for (wrong, error) in [
            ("skip", CheckError::NoValue("skip".into())),
            ("a=b", CheckError::Unknown("a".into())),
            ("SKIP=all", CheckError::Unknown("SKIP".into())),
            ("error=yes", CheckError::NoBoolean("yes".into())),
            (
                "skip=A;skip=B;error=1;skip=C",
                CheckError::NoBoolean("1;skip=C".into()),
            ),
        ] {
            assert_eq!(CheckOptions::parse(wrong), Err(error), "{wrong}");
        }
    }

    #[test]
    fn the_first_check_comment_counts_up_to_its_first_blank() {
        let of = |comments: &[&str]| {
            let comments: Vec<String> = comments.iter().map(|c| (*c).to_owned()).collect();
            CheckOptions::of_comments(&comments)
        };
        let read = of(&["why", "Check = skip=UndefinedVar, x", "check=skip=all"]).unwrap();
        assert!(read.skip.has(Rule::UndefinedVar) && read.skip != Names::All);
        assert_eq!(of(&["# check=skip=all"]), None);
        assert_eq!(of(&["check=what"]), None);
        assert_eq!(of(&[]), None);
    }
}
