//! What must hold for every input, one module per fuzz target. The fuzzer feeds them what it finds; a test of crate
//! `plan` feeds them the committed corpus, so that what was once found stays found.
//!
//! Errors are fine; panics, and answers that contradict each other, are bugs. The fuzzer runs with a time limit for
//! each input, so that none may take much longer than its length asks for.

pub mod expand;
pub mod ignore;
pub mod parse;
pub mod plan;
pub mod reference;
