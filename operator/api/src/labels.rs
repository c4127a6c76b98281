//! Names of the labels and annotations that people and the operator put on objects.

/// Annotation of an ImageBuild: any new value starts a run, though nothing else has changed.
pub const REQUESTED_AT: &str = "stagecraft.dev/requestedAt";

/// Label of what belongs to an ImageBuild: the object's name, when it fits a label value.
pub const BUILD: &str = "stagecraft.dev/build";

/// Label of what belongs to an ImageBuild: the object's uid.
pub const BUILD_UID: &str = "stagecraft.dev/build-uid";

/// Label of what belongs to a run: its number.
pub const RUN: &str = "stagecraft.dev/run";

/// Label of what belongs to an attempt: its number within the run.
pub const ATTEMPT: &str = "stagecraft.dev/attempt";

/// Label that says which program made an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Value of [`MANAGED_BY`].
pub const MANAGED_BY_VALUE: &str = "stagecraft";

/// Label that says what part of a larger thing an object is.
pub const COMPONENT: &str = "app.kubernetes.io/component";

/// Value of [`COMPONENT`] on what belongs to an attempt.
pub const COMPONENT_VALUE: &str = "build";
