//! The engine in local mode, from the command line to the image: no cluster, no registry, no privileges.
//!
//! RUN steps use a static busybox of the machine as their whole base image.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it must be"
)]
mod contexts;
mod copies;
mod diff;
mod errors;
mod git;
mod harness;
mod hostile;
mod images;
mod mounts;
mod outputs;
mod platforms;
mod remote;
mod runs;
mod targets;
