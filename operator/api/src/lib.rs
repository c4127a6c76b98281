//! The ImageBuild object.
