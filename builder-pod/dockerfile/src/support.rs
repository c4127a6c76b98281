//! What parses but is not carried out yet: refused with its place, never ignored.
//!
//! Invariant: it is asked instruction by instruction, so that stages which are not built may have anything.

use crate::ast::{Instruction, Kind, RunInstruction, Span};
use crate::diagnostic::{Code, Diagnostic};
use crate::git_reference::GitReference;
use crate::options::{Network, Security};

/// What of an instruction is not supported yet.
#[must_use]
pub fn check(instruction: &Instruction) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut refuse = |what: &str, span: Span| {
        let message = format!("{what} is not supported yet");
        found.push(Diagnostic::error(Code::NotSupported, span, message).within(&instruction.text));
    };
    match &instruction.kind {
        Kind::Run(run) => {
            run_flags(run, &mut refuse);
            let script = instruction.heredocs.first();
            if let Some(script) = script.filter(|_| run.is_document)
                && script.content.starts_with("#!")
            {
                refuse("a here-document of RUN that begins with #!", script.span);
            }
        }
        Kind::Add(add) => {
            for source in &add.sources {
                if let Some(what) = transport(&source.value) {
                    refuse(what, source.span);
                }
            }
        }
        _ => {}
    }
    found
}

/// A flag that asks for what is done anyway is none to refuse.
fn run_flags(run: &RunInstruction, refuse: &mut impl FnMut(&str, Span)) {
    let options = &run.options;
    for flag in &run.flags {
        let is_done = match flag.name.as_str() {
            "network" => options.network == Network::Default,
            "security" => options.security == Security::Sandbox,
            _ => false,
        };
        if !is_done {
            refuse(&format!("RUN --{}", flag.name), flag.span);
        }
    }
}

/// The way to reach a git repository that a source of ADD asks for, where it is one that is not there.
#[must_use]
pub fn transport(source: &str) -> Option<&'static str> {
    let git = GitReference::parse(source).ok()??;
    match git.remote.split_once("://") {
        _ if git.is_like_a_path => None,
        Some((scheme, _)) if scheme.starts_with("http") => None,
        Some(("git", _)) => Some("ADD of a repository by git://"),
        _ => Some("ADD of a repository by ssh"),
    }
}
