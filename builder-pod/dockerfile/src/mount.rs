//! `RUN --mount`: its keys as written, and what they say once variables are expanded.
//!
//! BuildKit reads a mount twice: while parsing only its commas and quotes, everything else when the instruction's
//! turn comes, so that a mount of a stage that is not built may say anything. The two steps are
//! [`MountFlag::parse`] and [`MountFlag::resolve`].
//!
//! Invariant: every key that BuildKit knows is either in the typed mount or an error; none is dropped unseen.
//! It must not know stages, nor where relative targets lead.

use crate::ast::{Flag, Span, Spanned};
use crate::csv;
use crate::diagnostic::{Code, Diagnostic};
use crate::go_values;
use crate::suggest::nearest;

/// Every key of a mount, with its other spellings.
const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "env",
];

const TYPES: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];

/// One `--mount`, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountFlag {
    /// Its fields in order.
    pub fields: Vec<MountField>,
    /// The whole flag.
    pub span: Span,
}

/// `key=value` or a key alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountField {
    /// The key in lower case; it may be none that exists.
    pub key: String,
    /// What stands behind `=`, not expanded.
    pub value: Option<String>,
    /// Its place; that of the whole flag where quotes or escapes hide it.
    pub span: Span,
}

/// A mount whose variables are expanded and whose keys were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountKind,
    /// Where, as written: absolute, or relative to the working directory; empty where nothing was said.
    pub target: String,
    /// The whole flag.
    pub span: Span,
}

/// What a mount mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// Files of the context, a stage or an image.
    Bind {
        /// The stage or image; the context if there is none.
        from: Option<String>,
        /// The path inside it; empty for all of it.
        source: String,
        /// Whether it cannot be written. What is written otherwise is thrown away.
        read_only: bool,
    },
    /// A directory that outlives the build.
    Cache {
        /// Its name; the cleaned target where nothing was said.
        id: Option<String>,
        /// Who may use it at the same time.
        sharing: CacheSharing,
        /// The stage or image that it starts as; empty if there is none.
        from: Option<String>,
        /// The path inside that.
        source: String,
        /// Whether it cannot be written.
        read_only: bool,
        /// Mode and owner of the directory when it is made.
        access: Access,
    },
    /// A directory in memory.
    Tmpfs {
        /// Its limit in bytes; 0 for none.
        size: u64,
        /// Whether it cannot be written.
        read_only: bool,
    },
    /// A secret of the request.
    Secret {
        /// Its name (`id`, or `source`).
        id: Option<String>,
        /// The environment variable that holds it; then no file does unless there is a target.
        environment: Option<String>,
        /// Whether the build fails without it.
        required: bool,
        /// Mode and owner of the file.
        access: Access,
    },
    /// The socket of an SSH agent.
    Ssh {
        /// Its name; `default` where nothing was said.
        id: Option<String>,
        /// Whether the build fails without it.
        required: bool,
        /// Mode and owner of the socket.
        access: Access,
    },
}

/// Who may use a cache at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum CacheSharing {
    /// Everyone.
    #[default]
    Shared,
    /// Everyone gets one of his own.
    Private,
    /// One after the other.
    Locked,
}

/// Mode and owner that a mount asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// `mode`, written in octal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// `uid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// `gid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
}

impl Access {
    /// Whether nothing was asked for.
    #[must_use]
    pub const fn is_default(&self) -> bool {
        self.mode.is_none() && self.uid.is_none() && self.gid.is_none()
    }
}

impl MountFlag {
    /// Splits a flag's value; `written` is the flag in the file and gives the places of its fields.
    pub(crate) fn parse(
        flag: &Flag,
        place: impl Fn(&str, usize) -> Option<(Span, usize)>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Self> {
        let value = flag.value.as_deref().unwrap_or_default();
        let fields = match csv::fields(value) {
            Ok(fields) => fields,
            Err(problem) => {
                let message = format!("--mount={value} cannot be read: {problem}");
                diagnostics.push(
                    Diagnostic::error(Code::BadFlag, flag.span, message)
                        .help("it is a list of key=value separated by commas, type=cache,target=/var/cache/apt for example"),
                );
                return None;
            }
        };
        let mut searched = 0;
        let mut parsed = Vec::new();
        for written in fields {
            let found = place(&written, searched);
            searched = found.map_or(searched, |(_, end)| end);
            let (key, value) = match written.split_once('=') {
                Some((key, value)) => (key, Some(value.to_owned())),
                None => (written.as_str(), None),
            };
            parsed.push(MountField {
                key: key.to_lowercase(),
                value,
                span: found.map_or(flag.span, |(span, _)| span),
            });
        }
        let mount = Self {
            fields: parsed,
            span: flag.span,
        };
        if let Some(from) = mount.last_from().filter(|from| has_variable(from)) {
            let message = format!("the mount's from={} cannot have a variable", from.value);
            diagnostics.push(
                Diagnostic::error(Code::BadFlag, from.span, message)
                    .help("name a stage that begins with it: FROM $IMAGE AS name, then from=name"),
            );
            return None;
        }
        Some(mount)
    }

    fn last_from(&self) -> Option<Spanned<&str>> {
        let field = self.fields.iter().rfind(|field| field.key == "from")?;
        Some(Spanned {
            value: field.value.as_deref()?,
            span: field.span,
        })
    }

    /// The stage or image that `from` names, with its place.
    #[must_use]
    pub fn from(&self) -> Option<Spanned<&str>> {
        self.last_from().filter(|from| !from.value.is_empty())
    }

    /// What the mount says, its values expanded by `expand`, which reports what it cannot expand.
    ///
    /// # Errors
    /// What is wrong with it, in the order of its fields.
    pub fn resolve(
        &self,
        expand: &mut dyn FnMut(&Spanned<String>) -> Option<String>,
    ) -> Result<Mount, Vec<Diagnostic>> {
        let mut keys = Keys::default();
        let mut wrong = Vec::new();
        for field in &self.fields {
            let value = match &field.value {
                None => None,
                Some(value) => {
                    let word = Spanned {
                        value: value.clone(),
                        span: field.span,
                    };
                    match expand(&word) {
                        Some(value) => Some(value),
                        None => continue,
                    }
                }
            };
            if let Err(Problem { message, help }) = keys.set(&field.key, value) {
                let mut diagnostic = Diagnostic::error(Code::BadFlag, field.span, message);
                diagnostic.help = help;
                wrong.push(diagnostic);
            }
        }
        if wrong.is_empty()
            && let Err(Problem { message, help }) = keys.check()
        {
            let mut diagnostic = Diagnostic::error(Code::BadFlag, self.span, message);
            diagnostic.help = help;
            wrong.push(diagnostic);
        }
        if wrong.is_empty() {
            Ok(keys.mount(self.span))
        } else {
            Err(wrong)
        }
    }
}

/// A `$` at the end is none.
fn has_variable(from: &Spanned<&str>) -> bool {
    from.value
        .find('$')
        .is_some_and(|at| at + 1 != from.value.len())
}

/// What is wrong with a mount, and the way out.
struct Problem {
    message: String,
    help: Option<String>,
}

impl Problem {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
        }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// The keys read so far; a later one replaces an earlier one.
#[derive(Default)]
struct Keys {
    kind: Kind,
    from: Option<String>,
    source: String,
    target: String,
    read_only: Option<bool>,
    size: u64,
    id: Option<String>,
    sharing: Option<CacheSharing>,
    required: bool,
    environment: Option<String>,
    access: Access,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Cache => "cache",
            Self::Tmpfs => "tmpfs",
            Self::Secret => "secret",
            Self::Ssh => "ssh",
        }
    }
}

impl Keys {
    fn set(&mut self, key: &str, value: Option<String>) -> Result<(), Problem> {
        let Some(value) = value else {
            return self.set_alone(key);
        };
        match key {
            "type" => self.kind = kind(&value)?,
            "from" => self.from = Some(value).filter(|from| !from.is_empty()),
            "source" | "src" => self.source = value,
            "target" | "dst" | "destination" => self.target = value,
            "readonly" | "ro" => self.read_only = Some(boolean(key, &value)?),
            "readwrite" | "rw" => self.read_only = Some(!boolean(key, &value)?),
            "required" => {
                self.only_for(key, &[Kind::Secret, Kind::Ssh])?;
                self.required = boolean(key, &value)?;
            }
            "size" => {
                self.only_for(key, &[Kind::Tmpfs])?;
                self.size = go_values::bytes(&value).ok_or_else(|| {
                    Problem::new(format!("size={value} is no amount of memory"))
                        .help("it is a number of bytes or has a unit: 64m or 1g for example")
                })?;
            }
            "id" => self.id = Some(value).filter(|id| !id.is_empty()),
            "sharing" => self.sharing = Some(sharing(&value)?),
            "mode" => {
                self.access.mode = Some(go_values::octal(&value).ok_or_else(|| {
                    Problem::new(format!("mode={value} is no mode"))
                        .help("a mode is written in octal, 0700 for example")
                })?);
            }
            "uid" => self.access.uid = Some(number(key, &value)?),
            "gid" => self.access.gid = Some(number(key, &value)?),
            "env" => self.environment = Some(value),
            _ => return Err(unknown(key)),
        }
        Ok(())
    }

    /// A key without a value.
    fn set_alone(&mut self, key: &str) -> Result<(), Problem> {
        match key {
            "readonly" | "ro" => self.read_only = Some(true),
            "readwrite" | "rw" => self.read_only = Some(false),
            "required" => {
                self.only_for(key, &[Kind::Secret, Kind::Ssh])?;
                self.required = true;
            }
            _ if KEYS.contains(&key) => {
                return Err(Problem::new(format!(
                    "the key {key} of a mount needs a value: {key}=…"
                )));
            }
            _ => return Err(unknown(key)),
        }
        Ok(())
    }

    /// Keys that count only behind the type they belong to.
    fn only_for(&self, key: &str, kinds: &[Kind]) -> Result<(), Problem> {
        if kinds.contains(&self.kind) {
            return Ok(());
        }
        let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        Err(Problem::new(format!(
            "the key {key} is not for a mount of type {}",
            self.kind.name()
        ))
        .help(format!(
            "it belongs to type={}, and stands behind it",
            names.join(" or type=")
        )))
    }

    /// What only all keys together show.
    fn check(&self) -> Result<(), Problem> {
        let name = self.kind.name();
        if matches!(self.kind, Kind::Bind | Kind::Tmpfs) {
            let Access { mode, uid, gid } = self.access;
            let given = [("mode", mode), ("uid", uid), ("gid", gid)];
            if let Some((key, _)) = given.iter().find(|(_, value)| value.is_some()) {
                return Err(Problem::new(format!(
                    "the key {key} is not for a mount of type {name}"
                ))
                .help("mode and owner can be set for type=cache, secret and ssh"));
            }
        }
        if self.kind == Kind::Secret {
            if self.from.is_some() {
                return Err(
                    Problem::new("a secret is not mounted from a stage or image")
                        .help("leave from out: id names the secret"),
                );
            }
            if self.source.is_empty() && self.target.is_empty() && self.id.is_none() {
                return Err(Problem::new("the secret has no name").help("name it with id=…"));
            }
            if !self.source.is_empty() && self.id.is_some() {
                return Err(Problem::new("the secret has both id and source")
                    .help("source is another word for id: leave one out"));
            }
        }
        if self.sharing.is_some() && self.kind != Kind::Cache {
            return Err(
                Problem::new(format!("the key sharing is not for a mount of type {name}"))
                    .help("it belongs to type=cache"),
            );
        }
        if self.kind == Kind::Ssh && !self.source.is_empty() {
            return Err(Problem::new("an ssh mount has no source").help("id names the agent"));
        }
        Ok(())
    }

    fn mount(self, span: Span) -> Mount {
        let read_only = self.read_only.unwrap_or(self.kind == Kind::Bind);
        let kind = match self.kind {
            Kind::Bind => MountKind::Bind {
                from: self.from,
                source: self.source,
                read_only,
            },
            Kind::Cache => MountKind::Cache {
                id: self.id,
                sharing: self.sharing.unwrap_or_default(),
                from: self.from,
                source: self.source,
                read_only,
                access: self.access,
            },
            Kind::Tmpfs => MountKind::Tmpfs {
                size: self.size,
                read_only,
            },
            Kind::Secret => MountKind::Secret {
                id: Some(self.source)
                    .filter(|source| !source.is_empty())
                    .or(self.id),
                environment: self.environment,
                required: self.required,
                access: self.access,
            },
            Kind::Ssh => MountKind::Ssh {
                id: self.id,
                required: self.required,
                access: self.access,
            },
        };
        Mount {
            kind,
            target: self.target,
            span,
        }
    }
}

fn kind(value: &str) -> Result<Kind, Problem> {
    Ok(match value.to_lowercase().as_str() {
        "bind" => Kind::Bind,
        "cache" => Kind::Cache,
        "tmpfs" => Kind::Tmpfs,
        "secret" => Kind::Secret,
        "ssh" => Kind::Ssh,
        _ => {
            return Err(one_of(
                &format!("a mount has no type {value:?}"),
                value,
                &TYPES,
            ));
        }
    })
}

fn sharing(value: &str) -> Result<CacheSharing, Problem> {
    Ok(match value.to_lowercase().as_str() {
        "shared" => CacheSharing::Shared,
        "private" => CacheSharing::Private,
        "locked" => CacheSharing::Locked,
        _ => {
            let names = ["shared", "private", "locked"];
            let message = format!("a cache cannot be shared as {value:?}");
            return Err(one_of(&message, value, &names));
        }
    })
}

/// A value that is none of a few.
fn one_of(message: &str, value: &str, names: &[&str]) -> Problem {
    Problem::new(message).help(match nearest(value, names.iter().copied()) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("it is one of {}", names.join(", ")),
    })
}

fn unknown(key: &str) -> Problem {
    let problem = Problem::new(format!("a mount has no key {key}"));
    match nearest(key, KEYS) {
        Some(meant) => problem.help(format!("did you mean {meant}?")),
        None => problem.help(format!("the keys are {}", KEYS.join(", "))),
    }
}

fn boolean(key: &str, value: &str) -> Result<bool, Problem> {
    go_values::boolean(value)
        .ok_or_else(|| Problem::new(format!("{key} is true or false, not {value:?}")))
}

fn number(key: &str, value: &str) -> Result<u32, Problem> {
    go_values::decimal(value).ok_or_else(|| {
        Problem::new(format!("{key}={value} is no number")).help(format!(
            "names are not looked up here: write the {key} as a number"
        ))
    })
}

#[cfg(test)]
mod tests;
