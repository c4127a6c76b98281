//! The forms of a check's result: text, JSON, annotations of GitHub, SARIF.
//!
//! Invariant: everything that was found is in every form, in the order of the file.

use std::fmt::Write as _;

use serde_json::{Value, json};
use stagecraft_dockerfile::lint::{Finding, Rule};
use stagecraft_dockerfile::{Code, Colours, Diagnostic, Excerpt, Span, render_with};

use super::{Check, Checked};

/// An error or a finding.
enum Item<'a> {
    Error(&'a Diagnostic),
    Finding(&'a Finding),
}

impl<'a> Item<'a> {
    /// All of a check, in the order of the file.
    fn all(checked: &'a Checked) -> Vec<Self> {
        let errors = checked.errors.iter().map(Item::Error);
        let findings = checked.report.findings.iter().map(Item::Finding);
        let mut items: Vec<Self> = errors.chain(findings).collect();
        items.sort_by_key(|item| (item.span().line, item.span().start));
        items
    }

    fn span(&self) -> Span {
        match self {
            Item::Error(error) => error.span,
            Item::Finding(finding) => finding.span,
        }
    }

    /// A code or the name of a rule.
    fn id(&self) -> String {
        match self {
            Item::Error(error) => error.code.number(),
            Item::Finding(finding) => finding.rule.name().to_owned(),
        }
    }

    /// As GitHub and SARIF call it.
    fn level(&self) -> &'static str {
        match self {
            Item::Error(_) => "error",
            Item::Finding(_) => "warning",
        }
    }

    fn message(&self) -> &'a str {
        match self {
            Item::Error(error) => &error.message,
            Item::Finding(finding) => &finding.message,
        }
    }

    fn help(&self) -> Option<&'a str> {
        match self {
            Item::Error(error) => error.help.as_deref(),
            Item::Finding(finding) => finding.help.as_deref(),
        }
    }

    fn excerpt(&self) -> Excerpt<'a> {
        match *self {
            Item::Error(error) => error.into(),
            Item::Finding(finding) => finding.into(),
        }
    }

    /// The column after the last character that is meant, on the line where it starts.
    fn end_column(&self, text: &str) -> u32 {
        let Span {
            start, end, column, ..
        } = self.span();
        let part = text.get(start..end).unwrap_or_default();
        let line = part.lines().next().unwrap_or_default();
        let length = u32::try_from(line.chars().count()).unwrap_or(u32::MAX);
        column.saturating_add(length)
    }
}

/// Excerpts for people, one after the other.
#[must_use]
pub fn text(asked: &Check, checked: &Checked, colours: Colours) -> String {
    let mut out = String::new();
    for item in Item::all(checked) {
        let file = &asked.inputs.file;
        let _ = writeln!(
            out,
            "{}\n",
            render_with(item.excerpt(), &asked.text, file, colours)
        );
    }
    out
}

/// How many there are, in words.
#[must_use]
pub fn summary(checked: &Checked) -> String {
    let count = |number: usize, what: &str| match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    };
    let errors = count(checked.errors.len(), "error");
    format!(
        "{errors}, {}",
        count(checked.report.findings.len(), "warning")
    )
}

/// One object: `{"errors": […], "warnings": […], "unknownImages": […]}`.
#[must_use]
pub fn json(asked: &Check, checked: &Checked) -> String {
    let place = |item: &Item<'_>| {
        json!({
            "line": item.span().line,
            "column": item.span().column,
            "endColumn": item.end_column(&asked.text),
            "message": item.message(),
            "help": item.help(),
        })
    };
    let with = |mut value: Value, more: Value| {
        if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
            value.extend(more);
        }
        value
    };
    let errors = checked.errors.iter().map(|error| {
        let more = json!({
            "code": error.code.number(),
            "stage": error.stage,
            "instruction": error.instruction,
            "url": page(error.code),
        });
        with(place(&Item::Error(error)), more)
    });
    let warnings = checked.report.findings.iter().map(|finding| {
        let more = json!({ "rule": finding.rule.name(), "url": finding.rule.page() });
        with(place(&Item::Finding(finding)), more)
    });
    let unknown = checked.unknown.iter();
    let object = json!({
        "file": asked.inputs.file,
        "errors": errors.collect::<Vec<_>>(),
        "warnings": warnings.collect::<Vec<_>>(),
        "unknownImages": unknown.map(|(image, cause)| json!({"image": image, "cause": cause})).collect::<Vec<_>>(),
    });
    format!("{object:#}\n")
}

/// Where a code is explained, in the repository's documentation.
fn page(code: Code) -> String {
    format!(
        "docs/reference/diagnostics.md#{}",
        code.number().to_lowercase()
    )
}

/// Workflow commands, one a line, which GitHub shows at the lines of a change.
#[must_use]
pub fn github(asked: &Check, checked: &Checked) -> String {
    let mut out = String::new();
    for item in Item::all(checked) {
        let Span { line, column, .. } = item.span();
        let message = match item.help() {
            Some(help) => format!("{}\n{help}", item.message()),
            None => item.message().to_owned(),
        };
        let _ = writeln!(
            out,
            "::{} file={},line={line},col={column},endColumn={},title={}::{}",
            item.level(),
            property(&asked.inputs.file),
            item.end_column(&asked.text),
            property(&item.id()),
            data(&message)
        );
    }
    out
}

/// The text of a workflow command.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// The value of a property of a workflow command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// A log in the Static Analysis Results Interchange Format, version 2.1.0.
#[must_use]
pub fn sarif(asked: &Check, checked: &Checked) -> String {
    let mut rules: Vec<Value> = Rule::ALL.into_iter().map(rule).collect();
    let codes = Code::ALL.into_iter().map(|code| {
        json!({
            "id": code.number(),
            "shortDescription": {"text": code.title()},
            "help": {"text": page(code)},
            "defaultConfiguration": {"level": "error"},
        })
    });
    rules.extend(codes);
    let results: Vec<Value> = Item::all(checked)
        .iter()
        .map(|item| result(asked, item, &rules))
        .collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "stagecraft-builder",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    format!("{log:#}\n")
}

fn rule(rule: Rule) -> Value {
    json!({
        "id": rule.name(),
        "shortDescription": {"text": rule.summary()},
        "help": {"text": rule.page()},
        "defaultConfiguration": {
            "level": "warning",
            "enabled": !rule.is_experimental() && !rule.is_strict(),
        },
    })
}

fn result(asked: &Check, item: &Item<'_>, rules: &[Value]) -> Value {
    let id = item.id();
    let index = rules.iter().position(|rule| rule["id"] == id.as_str());
    let Span { line, column, .. } = item.span();
    let message = match item.help() {
        Some(help) => format!("{}: {help}", item.message()),
        None => item.message().to_owned(),
    };
    json!({
        "ruleId": id,
        "ruleIndex": index,
        "level": item.level(),
        "message": {"text": message},
        "locations": [{"physicalLocation": {
            "artifactLocation": {"uri": uri(&asked.inputs.file)},
            "region": {
                // A finding about the whole file is at its first line.
                "startLine": line.max(1),
                "startColumn": column.max(1),
                "endColumn": item.end_column(&asked.text).max(1),
            },
        }}],
    })
}

/// A path as a relative URI reference: every byte but the unreserved ones and `/` is escaped.
fn uri(path: &str) -> String {
    let mut uri = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

#[cfg(test)]
mod tests;
