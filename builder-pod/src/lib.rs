//! The engine: plans, builds and pushes an image.
//!
//! `cli` turns flags or a request file into a `BuildRequest`; `engine` takes it from there:
//! `context` -> (parse, plan) -> `execute` (with `copy`, `remote`, `rootfs`, `runners`, `store`) -> `export`.
//! Invariant: the engine never executes a build's code; that is the runner's part (crate `stagecraft-sandbox`).

pub mod agents;
pub mod caches;
pub mod cli;
pub mod context;
pub mod copy;
pub mod diagnostics;
pub mod diff;
pub mod engine;
pub mod execute;
pub mod export;
pub mod failure;
mod limits;
pub mod lint;
pub mod progress;
pub mod remote;
pub mod rootfs;
pub mod runners;
pub mod secrets;
pub mod store;
pub mod times;
pub mod trace;
