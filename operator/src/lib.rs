//! The operator: turns ImageBuild objects into build pods.

pub mod cli;
mod config;
mod events;
mod health;
mod leader;
mod metrics;
mod names;
mod quantity;
mod queue;
pub mod rbac;
mod reconcile;
mod status;
mod wiring;

#[cfg(test)]
mod tests;
