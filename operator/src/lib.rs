//! The operator: turns ImageBuild objects into build pods.
