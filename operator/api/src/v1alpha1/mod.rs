//! Version v1alpha1 of the object.

mod limits;
mod mounts;
mod spec;
mod status;

pub use limits::*;
pub use mounts::*;
pub use spec::*;
pub use status::*;
