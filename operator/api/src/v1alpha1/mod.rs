//! Version v1alpha1 of the object.

mod limits;
mod spec;
mod status;

pub use limits::*;
pub use spec::*;
pub use status::*;
