//! What parses but is not carried out yet: refused with its place, never ignored.
//!
//! Invariant: it is asked instruction by instruction, so that stages which are not built may have anything.

use crate::ast::{CopyInstruction, Instruction, Kind, RunInstruction, Span};
use crate::diagnostic::{Code, Diagnostic};
use crate::options::{Network, Security};

/// What of an instruction is not supported yet.
#[must_use]
pub fn check(instruction: &Instruction) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut refuse = |what: &str, span: Span| {
        let message = format!("{what} is not supported yet");
        found.push(Diagnostic::error(Code::NotSupported, span, message).within(&instruction.text));
    };
    for heredoc in &instruction.heredocs {
        refuse("a here-document", heredoc.span);
    }
    match &instruction.kind {
        Kind::Run(run) => run_flags(run, &mut refuse),
        Kind::Copy(copy) => copy_flags(copy, "COPY", &mut refuse),
        Kind::Add(add) => {
            copy_flags(add, "ADD", &mut refuse);
            for source in add.sources.iter().filter(|source| is_remote(&source.value)) {
                refuse("ADD of a URL or git repository", source.span);
            }
        }
        Kind::OnBuild(trigger) => refuse("ONBUILD", trigger.text.span),
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

fn copy_flags(copy: &CopyInstruction, keyword: &str, refuse: &mut impl FnMut(&str, Span)) {
    let options = &copy.options;
    for flag in &copy.flags {
        let is_done = match flag.name.as_str() {
            "from" | "chown" | "chmod" => true,
            "link" => !options.link,
            "parents" => !options.parents,
            "keep-git-dir" => options.keep_git_directory == Some(false),
            _ => false,
        };
        if !is_done {
            refuse(&format!("{keyword} --{}", flag.name), flag.span);
        }
    }
}

/// Whether a source of ADD is fetched rather than copied.
fn is_remote(source: &str) -> bool {
    let scheme = ["http://", "https://", "git://", "ssh://", "git@"];
    scheme.iter().any(|prefix| source.starts_with(prefix))
}
