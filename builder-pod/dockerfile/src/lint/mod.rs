//! What is allowed but probably not meant: rules, how they are silenced, and those that need the text alone.
//!
//! BuildKit's rules have BuildKit's names, conditions and lines (0.34.2), so that a file that is clean there is clean
//! here and a `# check=skip=…` means the same. Rules of our own are marked as such: [`Rule::is_own`].
//!
//! Invariant: a finding never says that the file cannot be built; that is a [`crate::Diagnostic`].
//! It must not know stages' dependencies, values of variables or images: rules that do are in the crate of the plan.

mod finding;
mod linter;
mod options;
mod rule;
mod text;

pub use finding::Finding;
pub use linter::{Filter, Linter};
pub use options::{CHECK_ARGUMENT, CheckError, CheckOptions, Names};
pub use rule::Rule;
pub use text::{keyword, text_rules};
