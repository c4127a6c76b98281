//! Renders a diagnostic with an excerpt of the file.
//!
//! Invariant: only this module knows the crate that draws excerpts; the text has no colours.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::diagnostic::{Diagnostic, Severity};

/// The diagnostic as text for people: message, place, excerpt, help.
#[must_use]
pub fn render(diagnostic: &Diagnostic, text: &str, file: &str) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let number = diagnostic.code.number();
    let end = diagnostic.span.end.min(text.len());
    let start = diagnostic.span.start.min(end);
    // Only the first line of a long instruction is underlined.
    let end = text
        .get(start..end)
        .and_then(|t| t.find('\n'))
        .map_or(end, |at| start + at);
    let snippet = Snippet::source(text)
        .path(file)
        .annotation(AnnotationKind::Primary.span(start..end));
    let mut group: Group<'_> = level
        .primary_title(diagnostic.message.as_str())
        .id(number.as_str())
        .element(snippet);
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    Renderer::plain().render(&[group])
}

#[cfg(test)]
mod tests {
    use crate::{Code, Diagnostic};

    #[test]
    fn the_place_is_shown_and_underlined() {
        let file = "FROM a\nCOPPY x y\n";
        let span = crate::place::Places::new(file).span(7, 12);
        let wrong = Diagnostic::error(Code::UnknownInstruction, span, "unknown instruction COPPY")
            .help("did you mean COPY?");
        let text = super::render(&wrong, file, "Dockerfile");
        assert!(text.contains("--> Dockerfile:2:1"), "{text}");
        assert!(text.contains("^^^^^"), "{text}");
        assert!(text.contains("did you mean COPY?"), "{text}");
    }
}
