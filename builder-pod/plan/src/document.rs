//! A plan as JSON for other programs: everything the text says, and what is wrong with the file.
//!
//! Invariant: members are added, never renamed or taken away, while [`DOCUMENT_VERSION`] stays. The page
//! `docs/using/plan.md` names each.

use serde_json::{Value, json};
use stagecraft_dockerfile::{Diagnostic, Severity};

use crate::plan::BuildPlan;

/// Version of the document's shape.
pub const DOCUMENT_VERSION: u32 = 1;

impl BuildPlan {
    /// The document. `diagnostics` are those of the file, warnings among them; with an error among them the plan is
    /// only what was understood.
    #[must_use]
    pub fn document(&self, diagnostics: &[Diagnostic]) -> Value {
        // Writing cannot fail: every key is a text.
        let mut document = serde_json::to_value(self).unwrap_or_default();
        if let Value::Object(members) = &mut document {
            members.insert("version".to_owned(), json!(DOCUMENT_VERSION));
            members.insert("rounds".to_owned(), json!(self.rounds()));
            let is_complete = !diagnostics.iter().any(Diagnostic::is_error);
            members.insert("complete".to_owned(), json!(is_complete));
            let diagnostics: Vec<Value> = diagnostics.iter().map(diagnostic).collect();
            members.insert("diagnostics".to_owned(), json!(diagnostics));
        }
        document
    }
}

fn diagnostic(found: &Diagnostic) -> Value {
    json!({
        "code": found.code.number(),
        "severity": match found.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        "message": found.message,
        "help": found.help,
        "line": found.span.line,
        "column": found.span.column,
        "start": found.span.start,
        "end": found.span.end,
        "stage": found.stage,
        "instruction": found.instruction,
    })
}
