//! The ImageBuild object: its fields, its conditions and reasons, and the names that the operator marks objects with.
//!
//! Invariant: a field stands here only if it works.
//! Invariant: this crate knows no other crate of the workspace; the operator checks that its reasons agree with the
//! builder's.

pub mod conditions;
pub mod definition;
pub mod labels;
pub mod reasons;
pub mod v1alpha1;

pub use conditions::ConditionType;
pub use definition::custom_resource_definition;
pub use reasons::Reason;
