//! The harness of the end-to-end tests: a namespace for each test, builds in it, and eyes that are not ours.
//!
//! The suites in `tests/` need a cluster with the product installed; `cargo xtask test cluster` sees to both.
//!
//! Invariant: without a cluster every test fails and says what is missing; none passes by being skipped.
//! Invariant: a test waits for conditions with a deadline and never for time to pass; when one fails, it shows the
//! objects, events and logs of its namespace.

pub mod build;
pub mod cluster;
pub mod example;
pub mod image;
pub mod namespace;
pub mod pod;
pub mod supplies;
pub mod wait;

pub use build::Build;
pub use cluster::Cluster;
pub use image::Image;
pub use namespace::{Namespace, in_namespace};
pub use supplies::Supplies;
