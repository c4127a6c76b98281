//! The documented maxima. The apiserver enforces them, and they keep the cost of its rules within bounds.

/// Characters of all inline files of a source together: 256 KiB.
pub const INLINE_SOURCE_LIMIT: u32 = 256 * 1024;
/// Characters of an inline Dockerfile: 128 KiB.
pub const INLINE_DOCKERFILE_LIMIT: u32 = 128 * 1024;
/// Files of an inline source.
pub const INLINE_FILES_LIMIT: u32 = 256;
/// Keys of a ConfigMap source that are given a path.
pub const CONFIG_MAP_ITEMS_LIMIT: u32 = 256;
/// Characters of a path inside a source.
pub const PATH_LIMIT: u32 = 512;
/// Characters of a URL.
pub const URL_LIMIT: u32 = 2048;
/// Characters of the name of an object, and of a host name.
pub const NAME_LIMIT: u32 = 253;
/// Build arguments.
pub const BUILD_ARGS_LIMIT: u32 = 128;
/// Characters of a build argument's value.
pub const BUILD_ARG_VALUE_LIMIT: u32 = 16 * 1024;
/// Images of an output.
pub const IMAGES_LIMIT: u32 = 16;
/// Characters of an image reference.
pub const REFERENCE_LIMIT: u32 = 512;
/// Labels of an image.
pub const LABELS_LIMIT: u32 = 64;
/// Secrets for RUN steps.
pub const SECRETS_LIMIT: u32 = 32;
/// SSH keys for RUN steps.
pub const SSH_LIMIT: u32 = 8;
/// Characters of the id of a secret or key.
pub const ID_LIMIT: u32 = 128;
/// Registry secrets.
pub const REGISTRY_SECRETS_LIMIT: u32 = 16;
/// Registries that settings are given for.
pub const REGISTRIES_LIMIT: u32 = 32;
/// Mirrors of a registry.
pub const MIRRORS_LIMIT: u32 = 8;
/// Labels of a node selector.
pub const NODE_SELECTOR_LIMIT: u32 = 32;
/// Tolerations.
pub const TOLERATIONS_LIMIT: u32 = 32;
/// RUN steps at a time, and runners of a pod.
pub const PARALLEL_STAGES_LIMIT: i32 = 8;
/// Retries of a run.
pub const RETRIES_LIMIT: i32 = 10;
/// Stages in the status; a plan with more shows its first ones.
pub const STATUS_STAGES_LIMIT: usize = 64;
/// Base images in the status.
pub const STATUS_BASE_IMAGES_LIMIT: usize = 128;
/// Lines of the log in `status.failure`.
pub const STATUS_LOG_TAIL_LIMIT: usize = 20;
/// Characters of such a line.
pub const STATUS_LOG_LINE_LIMIT: usize = 500;
/// Characters of a message in the status.
pub const STATUS_MESSAGE_LIMIT: usize = 2048;
