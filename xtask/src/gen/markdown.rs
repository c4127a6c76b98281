//! Text in Markdown tables.

/// The text on one line, with what a table would take for its own escaped.
pub(super) fn cell(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines.join(" ").replace('|', "\\|").replace('<', "&lt;")
}
