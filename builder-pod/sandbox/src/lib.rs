//! The runner: executes `RUN` steps for an engine, as a root that the kernel does not know of.
//!
//! [`runner_main`] is a runner's whole life; [`Listener`] (a pod) and [`launch_local`] are the engine's side.
//! [`keep_memory_low`] is here because it needs unsafe code, which no other crate may have.
//! Invariant: nothing here knows images, stages or caches.
//! Invariant: a process of a `RUN` can neither trace the runner nor reach its memory or its descriptors.

mod channel;
mod connect;
mod filter;
mod runner;
mod supervisor;
mod system;

pub use channel::{Channel, ChannelError};
pub use connect::{Listener, LocalOptions, LocalRunner, SandboxError, launch_local};
pub use runner::runner_main;
pub use system::allocator::keep_memory_low;
