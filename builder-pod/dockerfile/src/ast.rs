//! The typed form of a Dockerfile.
//!
//! Invariant: words stand as written, with their quotes and variables; expanding them is the caller's business.
//! Invariant: every node that a message may be about has its place.
//! It must not know which of it is carried out: see [`crate::support`].

use crate::options::{CopyOptions, RunOptions};

/// A place in the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// Byte after the last one.
    pub end: usize,
    /// Line of `start`, from 1.
    pub line: u32,
    /// Column of `start` in characters, from 1.
    pub column: u32,
}

/// A value with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub span: Span,
}

/// A whole Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// The escape character: backslash, or backtick where the directive says so.
    pub escape: char,
    /// The image that a `syntax` directive names; reported, never executed.
    pub syntax: Option<Spanned<String>>,
    /// What a `check` directive says, `skip=all;error=true` for example.
    pub check: Option<Spanned<String>>,
    /// `ARG` instructions before the first `FROM`.
    pub arguments: Vec<Instruction>,
    /// The stages in order.
    pub stages: Vec<Stage>,
}

/// A stage: a `FROM` and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Its `FROM`.
    pub from: From,
    /// The instructions after it.
    pub instructions: Vec<Instruction>,
}

/// `FROM [--platform=P] IMAGE [AS NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct From {
    /// The image or stage, not expanded.
    pub image: Spanned<String>,
    /// The stage's name as written.
    pub name: Option<Spanned<String>>,
    /// The value of `--platform`, not expanded.
    pub platform: Option<Spanned<String>>,
    /// The whole instruction.
    pub span: Span,
    /// The whole instruction on one line.
    pub text: String,
    /// As [`Instruction::comments`].
    pub comments: Vec<String>,
    /// As [`Instruction::last_line`].
    pub last_line: u32,
}

/// One instruction other than `FROM`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What it says.
    pub kind: Kind,
    /// Its place.
    pub span: Span,
    /// It on one line, as progress and messages show it.
    pub text: String,
    /// Its here-documents.
    pub heredocs: Vec<Heredoc>,
    /// What the comments above it say, up to the instruction before or a comment without text; directives are
    /// none. `check=…` in one is about this instruction: see the lint.
    pub comments: Vec<String>,
    /// The line on which its text ends, from 1; its here-documents stand below.
    pub last_line: u32,
}

/// What an instruction says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `ADD`. It is kept aside, as is `COPY`: an instruction that has so much to say would make all of them large.
    Add(Box<CopyInstruction>),
    /// `ARG`.
    Arg(Vec<ArgDeclaration>),
    /// `CMD`.
    Cmd(Command),
    /// `COPY`.
    Copy(Box<CopyInstruction>),
    /// `ENTRYPOINT`.
    Entrypoint(Command),
    /// `ENV`: names and values, neither expanded nor unquoted.
    Env(Vec<(Spanned<String>, Spanned<String>)>),
    /// `EXPOSE`: ports, not expanded.
    Expose(Vec<Spanned<String>>),
    /// `HEALTHCHECK`.
    Healthcheck(Healthcheck),
    /// `LABEL`: names and values, neither expanded nor unquoted.
    Label(Vec<(Spanned<String>, Spanned<String>)>),
    /// `MAINTAINER`.
    Maintainer(Spanned<String>),
    /// `ONBUILD`.
    OnBuild(Trigger),
    /// `RUN`.
    Run(RunInstruction),
    /// `SHELL`.
    Shell(Vec<String>),
    /// `STOPSIGNAL`, not expanded.
    StopSignal(Spanned<String>),
    /// `USER`, not expanded.
    User(Spanned<String>),
    /// `VOLUME`: paths, not expanded.
    Volume(Vec<Spanned<String>>),
    /// `WORKDIR`, not expanded.
    WorkDirectory(Spanned<String>),
}

/// The instruction that an `ONBUILD` puts off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// It as written.
    pub text: Spanned<String>,
    /// What it says; nothing where it is too wrong to mean something. A stage that begins with this one fails then.
    pub kind: Option<Box<Kind>>,
}

/// One name of an `ARG`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgDeclaration {
    /// The name, not expanded.
    pub name: Spanned<String>,
    /// The default, neither expanded nor unquoted.
    pub default: Option<Spanned<String>>,
}

/// A command in one of its two forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Text for the shell.
    Shell(String),
    /// Program and arguments.
    Exec(Vec<String>),
}

/// `RUN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunInstruction {
    /// Its flags as written.
    pub flags: Vec<Flag>,
    /// What they say.
    pub options: RunOptions,
    /// What it runs.
    pub command: Command,
    /// Whether that is nothing but the word of a here-document: then its content is what runs.
    pub is_document: bool,
}

/// `COPY` or `ADD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyInstruction {
    /// Its flags as written.
    pub flags: Vec<Flag>,
    /// What they say.
    pub options: CopyOptions,
    /// The sources but for here-documents, not expanded.
    pub sources: Vec<Spanned<String>>,
    /// The sources that are here-documents, in order.
    pub documents: Vec<Heredoc>,
    /// The destination, not expanded.
    pub destination: Spanned<String>,
}

/// `--name[=value]` before an instruction's arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// Without the dashes.
    pub name: String,
    /// What stands behind `=`, quotes and escapes processed.
    pub value: Option<String>,
    /// Its place.
    pub span: Span,
}

/// `HEALTHCHECK`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Healthcheck {
    /// What is tested.
    pub test: HealthcheckTest,
    /// `--interval`, nanoseconds; 0 inherits.
    pub interval: i64,
    /// `--timeout`, nanoseconds; 0 inherits.
    pub timeout: i64,
    /// `--start-period`, nanoseconds; 0 inherits.
    pub start_period: i64,
    /// `--start-interval`, nanoseconds; 0 inherits.
    pub start_interval: i64,
    /// `--retries`; 0 inherits.
    pub retries: i64,
}

/// What a health check tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthcheckTest {
    /// `NONE`: no check, not even the base image's.
    None,
    /// `CMD`.
    Command(Command),
}

/// A here-document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// Its word without quotes.
    pub name: String,
    /// Its content, leading tabs removed where it says so.
    pub content: String,
    /// Its content with every tab.
    pub written: String,
    /// Whether variables in it are expanded.
    pub expand: bool,
    /// Place of its word.
    pub span: Span,
}

impl CopyInstruction {
    /// The value of a flag that takes one.
    #[must_use]
    pub fn flag(&self, name: &str) -> Option<&Flag> {
        self.flags.iter().find(|flag| flag.name == name)
    }
}

impl Kind {
    /// The instruction's keyword.
    #[must_use]
    pub const fn keyword(&self) -> &'static str {
        match self {
            Self::Add(_) => "ADD",
            Self::Arg(_) => "ARG",
            Self::Cmd(_) => "CMD",
            Self::Copy(_) => "COPY",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Env(_) => "ENV",
            Self::Expose(_) => "EXPOSE",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::Label(_) => "LABEL",
            Self::Maintainer(_) => "MAINTAINER",
            Self::OnBuild(_) => "ONBUILD",
            Self::Run(_) => "RUN",
            Self::Shell(_) => "SHELL",
            Self::StopSignal(_) => "STOPSIGNAL",
            Self::User(_) => "USER",
            Self::Volume(_) => "VOLUME",
            Self::WorkDirectory(_) => "WORKDIR",
        }
    }
}
