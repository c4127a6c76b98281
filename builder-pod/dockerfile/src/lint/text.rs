//! Rules that need the text alone: they look at every stage, needed or not.

use std::collections::BTreeSet;

use super::{Finding, Linter, Rule};
use crate::ast::{Dockerfile, From, Instruction, Kind, Span};
use crate::diagnostic::{Code, Diagnostic};
use crate::place::Places;

/// Names that mean something else where a stage's name may stand.
const RESERVED: [&str; 2] = ["context", "scratch"];

/// The keyword of an instruction on one line, as written.
#[must_use]
pub fn keyword(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}

/// Applies the rules. `parsed` are the diagnostics of parsing.
pub fn text_rules(text: &str, dockerfile: &Dockerfile, parsed: &[Diagnostic], linter: &mut Linter) {
    empty_continuations(text, dockerfile, parsed, linter);
    for instruction in &dockerfile.arguments {
        description_of_arguments(instruction, linter);
    }
    for stage in &dockerfile.stages {
        from(&stage.from, linter);
        for instruction in &stage.instructions {
            description_of_arguments(instruction, linter);
            maintainer(instruction, linter);
        }
    }
    stage_names(dockerfile, linter);
    casing(dockerfile, linter);
}

/// One finding for each instruction, on the line where its text ends.
fn empty_continuations(
    text: &str,
    dockerfile: &Dockerfile,
    parsed: &[Diagnostic],
    linter: &mut Linter,
) {
    let empty: Vec<u32> = parsed
        .iter()
        .filter(|one| one.code == Code::EmptyContinuation)
        .map(|one| one.span.line)
        .collect();
    if empty.is_empty() {
        return;
    }
    let places = Places::new(text);
    let instructions = dockerfile.arguments.iter();
    let mut ranges: Vec<(u32, u32)> = instructions
        .map(|one| (one.span.line, one.last_line))
        .collect();
    for stage in &dockerfile.stages {
        ranges.push((stage.from.span.line, stage.from.last_line));
        let instructions = stage.instructions.iter();
        ranges.extend(instructions.map(|one| (one.span.line, one.last_line)));
    }
    for (first, last) in ranges {
        let Some(line) = empty.iter().find(|line| (first..=last).contains(line)) else {
            continue;
        };
        let message = format!("the instruction goes on behind an empty line, line {line}");
        linter.report(
            Finding {
                rule: Rule::NoEmptyContinuation,
                message,
                span: places.line(last),
                help: None,
            }
            .help("remove the empty line, or make it a comment"),
        );
    }
}

fn from(from: &From, linter: &mut Linter) {
    let Some(name) = &from.name else { return };
    let lower = name.value.to_lowercase();
    if name.value != lower {
        let message = format!("the stage's name {} has capital letters", name.value);
        let finding = Finding::at(Rule::StageNameCasing, from.span, name.span, message)
            .help(format!("write {lower}"));
        linter.report_at(&from.comments, finding);
    }
    let keyword = keyword(&from.text);
    let words: Vec<&str> = from.text.split(' ').collect();
    let written = words.len().checked_sub(2).and_then(|at| words.get(at));
    let written = written.copied().unwrap_or_default();
    let wanted = match keyword {
        "FROM" => "AS",
        "from" => "as",
        // The keyword itself is what is wrong.
        _ => written,
    };
    if written != wanted {
        let message = format!("{written} is not written as {keyword} is");
        let finding = Finding::at(Rule::FromAsCasing, from.span, from.span, message)
            .help(format!("write {wanted}"));
        linter.report_at(&from.comments, finding);
    }
    let name = lower.as_str();
    description("FROM", &[name], from.span, &from.comments, linter);
}

fn description_of_arguments(instruction: &Instruction, linter: &mut Linter) {
    let Kind::Arg(declarations) = &instruction.kind else {
        return;
    };
    let names: Vec<&str> = declarations
        .iter()
        .map(|one| one.name.value.as_str())
        .collect();
    description(
        "ARG",
        &names,
        instruction.span,
        &instruction.comments,
        linter,
    );
}

/// The last comment above an ARG or a named FROM describes it, and begins with its name.
fn description(
    keyword: &str,
    names: &[&str],
    span: Span,
    comments: &[String],
    linter: &mut Linter,
) {
    let (Some(comment), Some(first)) = (comments.last(), names.first()) else {
        return;
    };
    let begins_with = comment.split(' ').next().unwrap_or_default();
    if names.contains(&begins_with) {
        return;
    }
    let message = format!("the comment above {keyword} {first} does not begin with {first}");
    let rule = Rule::InvalidDefinitionDescription;
    let finding = Finding::at(rule, span, span, message).help(format!(
        "write `# {first} …` if it describes it, or part the two by a line with # alone"
    ));
    linter.report_at(comments, finding);
}

fn maintainer(instruction: &Instruction, linter: &mut Linter) {
    let Kind::Maintainer(name) = &instruction.kind else {
        return;
    };
    let rule = Rule::MaintainerDeprecated;
    let message = "MAINTAINER is deprecated: other tools do not read it";
    let finding = Finding::at(rule, instruction.span, instruction.span, message).help(format!(
        "write LABEL org.opencontainers.image.authors={:?}",
        name.value
    ));
    linter.report_at(&instruction.comments, finding);
}

/// Names are compared as they are used: in any case.
fn stage_names(dockerfile: &Dockerfile, linter: &mut Linter) {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for stage in &dockerfile.stages {
        let from = &stage.from;
        let Some(name) = &from.name else { continue };
        let lower = name.value.to_lowercase();
        if RESERVED.contains(&lower.as_str()) {
            let message = format!("{lower} means something else where a stage can be named");
            let finding = Finding::at(Rule::ReservedStageName, from.span, name.span, message)
                .help("give the stage another name");
            linter.report(finding);
        }
        if !seen.insert(lower.clone()) {
            let message = format!("there is another stage called {lower} above");
            let finding = Finding::at(Rule::DuplicateStageName, from.span, name.span, message)
                .help("--from and a target mean the last stage of a name: give each its own");
            linter.report(finding);
        }
    }
}

/// Whether a keyword is written in one case, and if so whether in small letters.
fn case_of(keyword: &str) -> Option<bool> {
    let is_lower = keyword == keyword.to_lowercase();
    (is_lower || keyword == keyword.to_uppercase()).then_some(is_lower)
}

/// The case of most instructions counts, capitals if there are as many of both. `ARG` before the first `FROM` is
/// not looked at.
fn casing(dockerfile: &Dockerfile, linter: &mut Linter) {
    let mut written: Vec<(&str, Span)> = Vec::new();
    for stage in &dockerfile.stages {
        written.push((keyword(&stage.from.text), stage.from.span));
        let instructions = stage.instructions.iter();
        written.extend(instructions.map(|one| (keyword(&one.text), one.span)));
    }
    let count = |lower: bool| {
        let cases = written.iter().filter_map(|(word, _)| case_of(word));
        cases.filter(|is_lower| *is_lower == lower).count()
    };
    let wants_lower = count(true) > count(false);
    for (word, span) in written {
        let wanted = if wants_lower {
            word.to_lowercase()
        } else {
            word.to_uppercase()
        };
        if word == wanted {
            continue;
        }
        let keyword = Span {
            end: span.start + word.len(),
            ..span
        };
        let message = format!("{word} is not written as most instructions of the file are");
        let rule = Rule::ConsistentInstructionCasing;
        linter.report(Finding::at(rule, span, keyword, message).help(format!("write {wanted}")));
    }
}
