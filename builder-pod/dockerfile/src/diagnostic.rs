//! What is wrong or doubtful in a Dockerfile: code, place, cause, way out.
//!
//! Invariant: a code never changes its number nor its meaning; new ones are added at the end.

use crate::ast::Span;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The file cannot be built.
    Error,
    /// It can, but probably not as meant.
    Warning,
}

/// Stable codes; [`Code::title`] says what each is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the text of each is in `Code::title`")]
pub enum Code {
    EmptyFile,
    LineTooLong,
    UnknownInstruction,
    Directive,
    MissingArgument,
    BadFlag,
    BadJson,
    BadName,
    NoFrom,
    FromForm,
    StageName,
    Heredoc,
    BadWord,
    BadValue,
    NotSupported,
    UnknownStage,
    ForwardStage,
    CircularStage,
    UnknownTarget,
    EmptyContinuation,
    UndefinedVariable,
    UnusedArgument,
    BadReference,
    Trigger,
}

impl Code {
    /// Every code, in the order of their numbers.
    pub const ALL: [Self; 24] = [
        Self::EmptyFile,
        Self::LineTooLong,
        Self::UnknownInstruction,
        Self::Directive,
        Self::MissingArgument,
        Self::BadFlag,
        Self::BadJson,
        Self::BadName,
        Self::NoFrom,
        Self::FromForm,
        Self::StageName,
        Self::Heredoc,
        Self::BadWord,
        Self::BadValue,
        Self::NotSupported,
        Self::UnknownStage,
        Self::ForwardStage,
        Self::CircularStage,
        Self::UnknownTarget,
        Self::EmptyContinuation,
        Self::UndefinedVariable,
        Self::UnusedArgument,
        Self::BadReference,
        Self::Trigger,
    ];

    /// `SC` and four digits.
    #[must_use]
    pub fn number(self) -> String {
        format!("SC{:04}", 1001 + self as u32)
    }

    /// Whether a lint rule says the same of a warning, under a name by which it can be silenced.
    #[must_use]
    pub const fn is_ruled(self) -> bool {
        matches!(self, Self::EmptyContinuation | Self::UndefinedVariable)
    }

    /// What it is about, in a few words.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::EmptyFile => "the file has no instruction",
            Self::LineTooLong => "a line is too long",
            Self::UnknownInstruction => "an instruction does not exist",
            Self::Directive => "a parser directive is wrong",
            Self::MissingArgument => "an instruction has too few or too many arguments",
            Self::BadFlag => "a flag does not exist or has a wrong value",
            Self::BadJson => "a JSON array has something else than strings",
            Self::BadName => "a name is empty or not valid",
            Self::NoFrom => "an instruction stands before the first FROM",
            Self::FromForm => "FROM has another form than FROM image [AS name]",
            Self::StageName => "a stage's name is not valid",
            Self::Heredoc => "a here-document does not end",
            Self::BadWord => "quotes or a substitution do not end or are malformed",
            Self::BadValue => "a value is out of its range",
            Self::NotSupported => "a feature is not supported yet",
            Self::UnknownStage => "a stage does not exist",
            Self::ForwardStage => "a stage is used before it is defined",
            Self::CircularStage => "stages depend on each other in a circle",
            Self::UnknownTarget => "the target stage does not exist",
            Self::EmptyContinuation => "an empty line inside a continued instruction",
            Self::UndefinedVariable => "a variable is used that nothing sets",
            Self::UnusedArgument => "a build argument is given that no ARG declares",
            Self::BadReference => "an image name is not valid",
            Self::Trigger => "an instruction cannot stand behind ONBUILD",
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Its code.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// Where.
    pub span: Span,
    /// The way out, or more of the cause.
    pub help: Option<String>,
    /// The stage it is in: its name, or its index as text.
    pub stage: Option<String>,
    /// The instruction it is in, on one line.
    pub instruction: Option<String>,
}

impl Diagnostic {
    /// An error.
    #[must_use]
    pub fn error(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            span,
            help: None,
            stage: None,
            instruction: None,
        }
    }

    /// A warning.
    #[must_use]
    pub fn warning(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, span, message)
        }
    }

    /// With the way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With the instruction it is in.
    #[must_use]
    pub fn within(mut self, instruction: &str) -> Self {
        self.instruction = Some(instruction.to_owned());
        self
    }

    /// Whether the file cannot be built.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Message and help as one text.
    #[must_use]
    pub fn full_message(&self) -> String {
        match &self.help {
            Some(help) => format!("{}; {help}", self.message),
            None => self.message.clone(),
        }
    }

    /// `file:line:column: error[CODE]: message`.
    #[must_use]
    pub fn compact(&self, file: &str) -> String {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let Span { line, column, .. } = self.span;
        format!(
            "{file}:{line}:{column}: {severity}[{}]: {}",
            self.code.number(),
            self.full_message()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_number_of_its_own() {
        let numbers: Vec<String> = Code::ALL.iter().map(|code| code.number()).collect();
        assert_eq!(numbers.first().map(String::as_str), Some("SC1001"));
        assert_eq!(numbers.last().map(String::as_str), Some("SC1024"));
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    }
}
