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
    let mut refuse = |what: &str, span: Span, way_out: Option<&str>| {
        let message = format!("{what} is not supported yet");
        let mut diagnostic = Diagnostic::error(Code::NotSupported, span, message);
        diagnostic.help = way_out.map(str::to_owned);
        found.push(diagnostic.within(&instruction.text));
    };
    match &instruction.kind {
        Kind::Run(run) => run_flags(run, &mut refuse),
        Kind::Add(add) => {
            for source in &add.sources {
                if let Some(what) = transport(&source.value) {
                    refuse(what, source.span, None);
                }
            }
        }
        _ => {}
    }
    found
}

/// A flag that asks for what is done anyway is none to refuse.
fn run_flags(run: &RunInstruction, refuse: &mut impl FnMut(&str, Span, Option<&str>)) {
    let options = &run.options;
    for flag in &run.flags {
        let (what, way_out) = match flag.name.as_str() {
            "network" if options.network == Network::Host => (
                "RUN --network=host",
                "a step has the network of its pod: leave the flag out, or take --network=none",
            ),
            "security" if options.security == Security::Insecure => (
                "RUN --security=insecure",
                "a step never has more rights than its pod, which has none: leave the flag out",
            ),
            "device" => (
                "RUN --device",
                "no device of the machine is in a build's pod: do in the running container what needs one",
            ),
            _ => continue,
        };
        refuse(what, flag.span, Some(way_out));
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
