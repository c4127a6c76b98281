//! One finding of a rule.

use super::Rule;
use crate::ast::Span;

/// What a rule found, where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// What is doubtful.
    pub message: String,
    /// Where: on the line that the rule is about, which is the instruction's first one.
    pub span: Span,
    /// The way out.
    pub help: Option<String>,
}

impl Finding {
    /// A finding about an instruction, at a part of it. A part on a later line counts as the whole instruction:
    /// the line of a finding is the instruction's.
    #[must_use]
    pub fn at(rule: Rule, instruction: Span, part: Span, message: impl Into<String>) -> Self {
        let is_within = part.line == instruction.line && part.end > part.start;
        Self {
            rule,
            message: message.into(),
            span: if is_within { part } else { instruction },
            help: None,
        }
    }

    /// With the way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With the way out, if there is one.
    #[must_use]
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    /// `file:line:column: warning[RULE]: message`.
    #[must_use]
    pub fn compact(&self, file: &str) -> String {
        let Span { line, column, .. } = self.span;
        let help = match &self.help {
            Some(help) => format!("; {help}"),
            None => String::new(),
        };
        format!(
            "{file}:{line}:{column}: warning[{}]: {}{help}",
            self.rule.name(),
            self.message
        )
    }
}
