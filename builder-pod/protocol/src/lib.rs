//! What operator, engine and runner say to each other. Values and their text forms only.
//!
//! Invariant: this crate does no I/O, reads no clock and no environment.
//! Invariant: no value here can hold a secret; credentials travel as mounted files.

pub mod failure;
pub mod ownership;
pub mod progress;
pub mod report;
pub mod request;
pub mod runner;
pub mod verdict;

/// Version of every wire format in this crate. Engine and operator refuse another one.
pub const PROTOCOL_VERSION: u32 = 1;
