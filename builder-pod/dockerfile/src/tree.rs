//! A Dockerfile as the tree that BuildKit's parser makes of it, for comparison with other parsers.
//!
//! Invariant: an error is given exactly where that parser gives one.
//! It must not know what instructions mean: [`crate::parse`] does.

use std::fmt::Write as _;

use crate::lines;
use crate::place::Places;
use crate::syntax::{Head, Node, SyntaxError, lower};

/// Why there is no tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The file has no instruction.
    #[error("the file has no instruction")]
    Empty,
    /// Lines, directives or here-documents are wrong.
    #[error("line {line}: {message}")]
    Lines {
        /// Line, from 1.
        line: u32,
        /// What is wrong.
        message: String,
    },
    /// An instruction is wrong.
    #[error("line {line}: the instruction cannot be read")]
    Instruction {
        /// Line, from 1.
        line: u32,
        /// What is wrong.
        source: SyntaxError,
    },
}

/// The tree with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// It in brackets, in the form of BuildKit's `Node.Dump`.
    pub dump: String,
    /// First and last line of each instruction, here-documents included.
    pub lines: Vec<(u32, u32)>,
    /// The escape character.
    pub escape: char,
    /// The here-documents in order.
    pub heredocs: Vec<Document>,
    /// Warnings, each with the line that it is about.
    pub warnings: Vec<(String, u32)>,
}

/// A here-document as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its word without quotes.
    pub name: String,
    /// The number before its word, 0 where there is none.
    pub descriptor: u64,
    /// Its body, tabs and line breaks as they are.
    pub content: String,
    /// Whether variables in it are expanded.
    pub expand: bool,
    /// Whether tabs at the start of its lines are to be removed.
    pub strips_tabs: bool,
    /// The line on which its instruction starts.
    pub line: u32,
}

/// Reads a Dockerfile.
///
/// # Errors
/// Where BuildKit's parser has one.
pub fn read(text: &str) -> Result<Tree, TreeError> {
    let places = Places::new(text);
    let lines = lines::split(&places);
    if let Some(wrong) = lines.diagnostics.iter().find(|d| d.is_error()) {
        return Err(TreeError::Lines {
            line: wrong.span.line,
            message: wrong.message.clone(),
        });
    }
    if lines.logical.is_empty() {
        return Err(TreeError::Empty);
    }
    let mut tree = Tree {
        dump: String::new(),
        lines: Vec::new(),
        escape: lines.escape,
        heredocs: Vec::new(),
        warnings: Vec::new(),
    };
    for logical in &lines.logical {
        let line = logical.first_line;
        let node = Node::parse(&logical.text, lines.escape)
            .map_err(|source| TreeError::Instruction { line, source })?;
        tree.dump.push('(');
        write_node(&node, &mut tree.dump);
        tree.dump.push_str(")\n");
        tree.lines.push((line, logical.end_line));
        tree.heredocs
            .extend(logical.documents.iter().map(|(word, body)| Document {
                name: word.name.clone(),
                descriptor: word.descriptor,
                content: text.get(body.clone()).unwrap_or_default().to_owned(),
                expand: !word.quoted,
                strips_tabs: word.strips_tabs,
                line,
            }));
        if logical.has_empty_line {
            let (indent, text) = (&logical.indent, &logical.text);
            let short = format!("Empty continuation line found in: {indent}{text}");
            tree.warnings.push((short, logical.last_line));
        }
    }
    tree.dump.truncate(tree.dump.trim_end().len());
    Ok(tree)
}

fn write_node(node: &Node, out: &mut String) {
    for head in &node.around {
        write_head(head, out);
        out.push_str(" (");
    }
    write_head(&node.head, out);
    for (number, word) in node.words.iter().enumerate() {
        // Nothing stands before the first word of a line without a keyword.
        if number > 0 || !node.head.keyword.is_empty() || !node.head.flags.is_empty() {
            out.push(' ');
        }
        quote(word, out);
    }
    out.extend(node.around.iter().map(|_| ')'));
}

fn write_head(head: &Head, out: &mut String) {
    out.push_str(&lower(&head.keyword));
    for (number, flag) in head.flags.iter().enumerate() {
        out.push_str(if number == 0 { " [" } else { " " });
        quote(flag, out);
    }
    if !head.flags.is_empty() {
        out.push(']');
    }
}

/// A text as Go writes it in quotes.
fn quote(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        let escaped = match character {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\u{7}' => "\\a",
            '\u{8}' => "\\b",
            '\u{c}' => "\\f",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\u{b}' => "\\v",
            _ => "",
        };
        let code = u32::from(character);
        // Writing to a text cannot fail.
        _ = match character {
            _ if !escaped.is_empty() => out.write_str(escaped),
            _ if is_printable(character) => out.write_char(character),
            _ if code < 0x80 => write!(out, "\\x{code:02x}"),
            _ if code < 0x1_0000 => write!(out, "\\u{code:04x}"),
            _ => write!(out, "\\U{code:08x}"),
        };
    }
    out.push('"');
}

/// Whether Go prints it as it is. So does the standard library, but for marks, which it leaves alone behind
/// another character.
fn is_printable(character: char) -> bool {
    if character.is_ascii() {
        return matches!(character, ' '..='~');
    }
    let mut behind_another = String::from("x");
    behind_another.push(character);
    behind_another.escape_debug().count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_becomes_a_tree() {
        let tree =
            read("FROM a AS b\nRUN --x=1 y \\\n\n z <<E\n\tw\nE\nONBUILD copy a b\n").unwrap();
        assert_eq!(
            tree.dump,
            "(from \"a\" \"AS\" \"b\")\n(run [\"--x=1\"] \"y  z <<E\")\n(onbuild (copy \"a\" \"b\"))"
        );
        assert_eq!(tree.lines, [(1, 1), (2, 6), (7, 7)]);
        assert_eq!(tree.heredocs[0].content, "\tw\n");
        assert_eq!(tree.warnings[0].1, 4);
    }

    #[test]
    fn words_are_quoted_as_in_go() {
        let mut out = String::new();
        quote(
            "a\"\\\n\u{7f}\u{1}é\u{a0}\u{301}\u{ad}\u{e000}\u{e0001}😀",
            &mut out,
        );
        assert_eq!(
            out,
            "\"a\\\"\\\\\\n\\x7f\\x01é\\u00a0\u{301}\\u00ad\\ue000\\U000e0001😀\""
        );
    }

    #[test]
    fn what_has_no_tree_is_an_error() {
        for wrong in [
            "",
            "# c\n",
            "RUN [1]",
            "ENV a",
            "ENV a=b c",
            "RUN <<E",
            "# escape=x\nRUN a",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
