//! What parses but is not carried out yet: refused with its place, never ignored.
//!
//! Invariant: it is asked instruction by instruction, so that stages which are not built may have anything.

use crate::ast::{CopyInstruction, Instruction, Kind, Span};
use crate::diagnostic::{Code, Diagnostic};

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
        Kind::Run(run) => {
            for flag in &run.flags {
                refuse(&format!("RUN --{}", flag.name), flag.span);
            }
        }
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

fn copy_flags(copy: &CopyInstruction, keyword: &str, refuse: &mut impl FnMut(&str, Span)) {
    for flag in &copy.flags {
        let off = flag
            .value
            .as_deref()
            .is_some_and(|value| value.eq_ignore_ascii_case("false"));
        let name = flag.name.as_str();
        // `--link=false` asks for what is done anyway.
        let is_done = matches!(name, "from" | "chown" | "chmod")
            || (off && matches!(name, "link" | "parents" | "keep-git-dir"));
        if !is_done {
            refuse(&format!("{keyword} --{name}"), flag.span);
        }
    }
}

/// Whether a source of ADD is fetched rather than copied.
fn is_remote(source: &str) -> bool {
    let scheme = ["http://", "https://", "git://", "ssh://", "git@"];
    scheme.iter().any(|prefix| source.starts_with(prefix))
}
