//! The arguments of a runner.

use std::path::PathBuf;

/// Where a runner runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a container of its own; its `/` is the root file system of its chain.
    Pod,
    /// On this machine, in namespaces that it makes.
    Local {
        /// The directory that becomes its `/`.
        root: PathBuf,
    },
}

/// What a runner is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arguments {
    /// Which of the build's runners it is, from 0.
    pub(super) index: u32,
    pub(super) place: Place,
}

/// Why arguments cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ArgumentsError {
    #[error("unknown argument {0}")]
    Unknown(String),
    #[error("{0} needs a value")]
    NoValue(&'static str),
    #[error("--index must be a number, not {0}")]
    Index(String),
    #[error("--index is missing")]
    NoIndex,
    #[error("--local and --root go together")]
    HalfLocal,
}

impl Arguments {
    pub(super) fn parse(arguments: &[String]) -> Result<Self, ArgumentsError> {
        let (mut index, mut root, mut is_local) = (None, None, false);
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--index" => {
                    let text = arguments.next().ok_or(ArgumentsError::NoValue("--index"))?;
                    let number = text
                        .parse()
                        .map_err(|_| ArgumentsError::Index(text.clone()))?;
                    index = Some(number);
                }
                "--root" => {
                    let path = arguments.next().ok_or(ArgumentsError::NoValue("--root"))?;
                    root = Some(PathBuf::from(path));
                }
                "--local" => is_local = true,
                other => return Err(ArgumentsError::Unknown(other.to_owned())),
            }
        }
        let place = match (is_local, root) {
            (false, None) => Place::Pod,
            (true, Some(root)) => Place::Local { root },
            _ => return Err(ArgumentsError::HalfLocal),
        };
        Ok(Self {
            index: index.ok_or(ArgumentsError::NoIndex)?,
            place,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_runner_has_an_index_and_a_local_one_a_root() {
        let parse = |text: &str| {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            Arguments::parse(&words)
        };
        assert_eq!(
            parse("--index 3"),
            Ok(Arguments {
                index: 3,
                place: Place::Pod
            })
        );
        let local = Place::Local { root: "/r".into() };
        assert_eq!(
            parse("--local --index 0 --root /r"),
            Ok(Arguments {
                index: 0,
                place: local
            })
        );
        assert_eq!(parse("--local --index 0"), Err(ArgumentsError::HalfLocal));
        assert_eq!(
            parse("--index x"),
            Err(ArgumentsError::Index("x".to_owned()))
        );
        assert_eq!(parse(""), Err(ArgumentsError::NoIndex));
        assert_eq!(
            parse("--index 1 --x"),
            Err(ArgumentsError::Unknown("--x".to_owned()))
        );
    }
}
