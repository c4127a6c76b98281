//! The Dockerfile frontend: text in, typed instructions and diagnostics out.
//!
//! Invariant: parsing never stops at the first error and does no I/O.
//! Invariant: every node keeps the place it came from.
//! It must not know images, stages' dependencies or what the engine supports beyond [`support`].

pub mod answers;
mod ast;
mod csv;
mod diagnostic;
mod flags;
pub mod git_reference;
pub mod glob;
mod go_values;
mod healthcheck;
mod heredoc;
pub mod ignore;
mod instruction;
mod json;
mod lines;
pub mod lint;
mod mount;
mod options;
mod parse;
mod pattern;
mod place;
mod redact;
mod render;
mod suggest;
pub mod support;
mod syntax;
pub mod tree;
mod trigger;
mod words;

pub use ast::{
    ArgDeclaration, Command, CopyInstruction, Dockerfile, Flag, From, Healthcheck, HealthcheckTest,
    Heredoc, Instruction, Kind, RunInstruction, Span, Spanned, Stage, Trigger,
};
pub use diagnostic::{Code, Diagnostic, Severity};
pub use mount::{Access, CacheSharing, Mount, MountField, MountFlag, MountKind};
pub use options::{CopyOptions, Device, Network, RunOptions, Security};
pub use parse::parse;
pub use redact::without_passwords;
pub use render::{Colours, Excerpt, render, render_with};
pub use suggest::nearest;
pub use trigger::parse_trigger;
pub use words::{Expansion, Lookup, WordError, expand, expand_document, expand_words, split_words};
