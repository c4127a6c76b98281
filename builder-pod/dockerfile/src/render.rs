//! Renders a diagnostic or a finding with an excerpt of the file.
//!
//! Invariant: only this module knows the crate that draws excerpts.
//! It must not know where the text goes: whoever does says whether it may have colours.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::ast::Span;
use crate::diagnostic::{Diagnostic, Severity};
use crate::lint::Finding;

/// Whether a text has colours (ANSI escapes).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colours {
    /// None: for files, logs and pipes.
    #[default]
    Never,
    /// For a terminal.
    Always,
}

/// What is shown: of a [`Diagnostic`] or of a [`Finding`].
#[derive(Clone, Debug)]
pub struct Excerpt<'a> {
    severity: Severity,
    id: String,
    message: &'a str,
    span: Span,
    help: Option<&'a str>,
}

impl<'a> From<&'a Diagnostic> for Excerpt<'a> {
    fn from(diagnostic: &'a Diagnostic) -> Self {
        Self {
            severity: diagnostic.severity,
            id: diagnostic.code.number(),
            message: &diagnostic.message,
            span: diagnostic.span,
            help: diagnostic.help.as_deref(),
        }
    }
}

impl<'a> From<&'a Finding> for Excerpt<'a> {
    fn from(finding: &'a Finding) -> Self {
        Self {
            severity: Severity::Warning,
            id: finding.rule.name().to_owned(),
            message: &finding.message,
            span: finding.span,
            help: finding.help.as_deref(),
        }
    }
}

/// The text for people, without colours: message, place, excerpt, help.
#[must_use]
pub fn render<'a>(what: impl Into<Excerpt<'a>>, text: &str, file: &str) -> String {
    render_with(what, text, file, Colours::Never)
}

/// The text for people: message, place, excerpt, help.
#[must_use]
pub fn render_with<'a>(
    what: impl Into<Excerpt<'a>>,
    text: &str,
    file: &str,
    colours: Colours,
) -> String {
    let what = what.into();
    let level = match what.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let end = what.span.end.min(text.len());
    let start = what.span.start.min(end);
    // Only the first line of a long instruction is underlined.
    let end = text
        .get(start..end)
        .and_then(|t| t.find('\n'))
        .map_or(end, |at| start + at);
    let snippet = Snippet::source(text)
        .path(file)
        .annotation(AnnotationKind::Primary.span(start..end));
    let mut group: Group<'_> = level
        .primary_title(what.message)
        .id(what.id.as_str())
        .element(snippet);
    if let Some(help) = what.help {
        group = group.element(Level::HELP.message(help));
    }
    let renderer = match colours {
        Colours::Never => Renderer::plain(),
        Colours::Always => Renderer::styled(),
    };
    renderer.render(&[group])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::Rule;
    use crate::{Code, Diagnostic};

    const FILE: &str = "FROM a\nCOPPY x y\n";

    fn wrong() -> Diagnostic {
        let span = crate::place::Places::new(FILE).span(7, 12);
        Diagnostic::error(Code::UnknownInstruction, span, "unknown instruction COPPY")
            .help("did you mean COPY?")
    }

    #[test]
    fn the_place_is_shown_and_underlined() {
        let text = render(&wrong(), FILE, "Dockerfile");
        assert!(text.contains("--> Dockerfile:2:1"), "{text}");
        assert!(text.contains("^^^^^"), "{text}");
        assert!(text.contains("did you mean COPY?"), "{text}");
    }

    #[test]
    fn a_finding_is_a_warning_with_its_rules_name() {
        let span = wrong().span;
        let finding = Finding::at(Rule::UndefinedVar, span, span, "the variable X is not set");
        let text = render(&finding, FILE, "Dockerfile");
        assert!(text.starts_with("warning[UndefinedVar]: the"), "{text}");
    }

    #[test]
    fn colours_are_there_only_if_asked_for() {
        assert!(!render(&wrong(), FILE, "Dockerfile").contains('\u{1b}'));
        let text = render_with(&wrong(), FILE, "Dockerfile", Colours::Always);
        assert!(text.contains('\u{1b}'), "{text:?}");
    }
}
