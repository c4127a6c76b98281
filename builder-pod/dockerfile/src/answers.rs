//! Answers questions about the frontend, one JSON object each, so that other implementations can be compared with
//! it. Member `table` says what is asked; `tests/oracle` has the same questions answered by BuildKit:
//!
//! ```text
//! lexer  {input, env: ["NAME=value"], escape?} -> {result, unset: [names that are not set]}
//! words  {input, env, escape?}                 -> {result: [words]}
//! ignore {patterns, path}                      -> {ignored}
//! ignore {file}                                -> {patterns}
//! glob   {pattern, path}                       -> {match}
//! gitref {ref}                                 -> {is_git, git: {Remote, ShortName, …}}
//! parser {dockerfile}                          -> {dump, lines, escape, heredocs, warnings}
//! ```
//!
//! `{"error": …}` stands where the input is wrong; members that are empty are left out.
//!
//! Invariant: where BuildKit, moby's patternmatcher or Go's `filepath.Match` has an error, so has the answer.

use serde_json::{Map, Value, json};

use crate::git_reference::{GitReference, GitReferenceError};
use crate::ignore::{self, IgnoreFile};
use crate::{expand, expand_words, glob, tree};

type Answer = Result<Value, String>;

/// The answer to a question, which is the text of a JSON object.
#[must_use]
pub fn answer(question: &str) -> Value {
    try_answer(question).unwrap_or_else(|error| json!({ "error": error }))
}

fn try_answer(question: &str) -> Answer {
    let question = serde_json::from_str(question).map_err(|e| e.to_string())?;
    let question = Question(question);
    match question.text("table") {
        "lexer" => lexer(&question),
        "words" => words(&question),
        "ignore" => ignore(&question),
        "glob" => glob::matches(question.text("pattern"), question.text("path"))
            .map(|matched| json!({ "match": matched }))
            .map_err(|e| e.to_string()),
        "gitref" => git_reference(question.text("ref")).map_err(|e| e.to_string()),
        "parser" => tree::read(question.text("dockerfile"))
            .map(parser)
            .map_err(|e| e.to_string()),
        other => Err(format!("no table is called {other:?}")),
    }
}

struct Question(Map<String, Value>);

impl Question {
    fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn texts(&self, name: &str) -> impl DoubleEndedIterator<Item = &str> {
        let list = self.0.get(name).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str)
    }

    fn escape(&self) -> Result<char, String> {
        match self.text("escape") {
            "" | "\\" => Ok('\\'),
            "`" => Ok('`'),
            other => Err(format!(
                "the escape character {other:?} is neither \\ nor `"
            )),
        }
    }

    /// The value of a variable: the last one that is given.
    fn variable(&self, name: &str) -> Option<String> {
        self.texts("env").rev().find_map(|setting| {
            let (set, value) = setting.split_once('=').unwrap_or((setting, ""));
            (set == name).then(|| value.to_owned())
        })
    }
}

fn lexer(question: &Question) -> Answer {
    let lookup = |name: &str| question.variable(name);
    let expansion = expand(question.text("input"), question.escape()?, &lookup);
    let mut expansion = expansion.map_err(|e| e.to_string())?;
    expansion.unset.sort();
    let mut answer = json!({ "result": expansion.text });
    add(&mut answer, "unset", json!(expansion.unset));
    Ok(answer)
}

fn words(question: &Question) -> Answer {
    let lookup = |name: &str| question.variable(name);
    let words = expand_words(question.text("input"), question.escape()?, &lookup);
    let (words, _) = words.map_err(|e| e.to_string())?;
    Ok(json!({ "result": words }))
}

fn ignore(question: &Question) -> Answer {
    if question.0.contains_key("file") {
        let patterns = ignore::read(question.text("file"));
        return Ok(json!({ "patterns": patterns.map_err(|e| e.to_string())? }));
    }
    let ignored = IgnoreFile::from_patterns(question.texts("patterns"))
        .and_then(|file| file.ignores(question.text("path")));
    Ok(json!({ "ignored": ignored.map_err(|e| e.to_string())? }))
}

fn git_reference(text: &str) -> Result<Value, GitReferenceError> {
    let Some(reference) = GitReference::parse(text)? else {
        return Ok(json!({ "is_git": false }));
    };
    let mut git = json!({});
    for (name, value) in [
        ("Remote", json!(reference.remote)),
        ("ShortName", json!(reference.short_name)),
        ("Ref", json!(reference.revision)),
        ("Checksum", json!(reference.checksum)),
        ("SubDir", json!(reference.directory)),
        ("MTime", json!(reference.times)),
        ("KeepGitDir", json!(reference.keep_git_directory)),
        ("Submodules", json!(reference.submodules)),
    ] {
        add(&mut git, name, value);
    }
    for (name, is_so) in [
        ("IndistinguishableFromLocal", reference.is_like_a_path),
        ("UnencryptedTCP", reference.is_unencrypted),
        ("FetchByCommit", reference.fetch_by_commit),
    ] {
        add(
            &mut git,
            name,
            if is_so { json!(true) } else { Value::Null },
        );
    }
    Ok(json!({ "is_git": true, "git": git }))
}

fn parser(tree: tree::Tree) -> Value {
    let heredocs: Vec<Value> = tree
        .heredocs
        .into_iter()
        .map(|document| {
            json!({
                "name": document.name,
                "fd": document.descriptor,
                "content": document.content,
                "expand": document.expand,
                "chomp": document.strips_tabs,
                "line": document.line,
            })
        })
        .collect();
    let mut answer = json!({ "dump": tree.dump, "escape": tree.escape });
    add(&mut answer, "lines", json!(tree.lines));
    add(&mut answer, "heredocs", json!(heredocs));
    add(&mut answer, "warnings", json!(tree.warnings));
    answer
}

/// Adds a member that says something.
fn add(answer: &mut Value, name: &str, value: Value) {
    let is_empty = match &value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    };
    if !is_empty {
        answer[name] = value;
    }
}
