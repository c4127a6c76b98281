//! The client against registries in this process: ordinary ones and hostile ones.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test that meets the unexpected fails"
)]

mod auth;
mod download;
mod fake;
mod hosts;
mod pull;
mod push;
mod server;
mod web;
