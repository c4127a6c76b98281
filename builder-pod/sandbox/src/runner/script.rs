//! The script of a step: a file that is there while the step runs.
//!
//! Invariant: it stands on the runtime's memory file system, so nothing of it can be in a layer.

use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use stagecraft_protocol::runner::{SCRIPT_DIRECTORY, Script};

use super::clean;

/// Everyone may read and execute it.
const MODE: u32 = 0o755;

/// A script that was put in its place; it is gone when this is dropped.
pub(super) struct Placed;

/// Why a script cannot be put in its place, for people.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScriptError {
    #[error("the here-document {0:?} cannot be a file: its name leads out of {SCRIPT_DIRECTORY}")]
    Name(String),
    #[error("cannot write the script {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl Placed {
    /// Writes the script. Nothing of an earlier step runs any more, so nothing can stand in its way.
    pub(super) fn new(script: &Script) -> Result<Self, ScriptError> {
        let name = Path::new(&script.name);
        let is_plain = |part| matches!(part, Component::Normal(_));
        if script.name.is_empty() || !name.components().all(is_plain) {
            return Err(ScriptError::Name(script.name.clone()));
        }
        let placed = Self;
        let path = Path::new(SCRIPT_DIRECTORY).join(name);
        write(&path, &script.content).map_err(|source| ScriptError::Write { path, source })?;
        Ok(placed)
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        // What cannot be removed is in memory, and gone with the runner.
        let _ = clean::empty(SCRIPT_DIRECTORY);
        let _ = std::fs::remove_dir(SCRIPT_DIRECTORY);
    }
}

fn write(path: &Path, content: &str) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    let parent = path.parent().unwrap_or(path);
    builder.recursive(true).mode(MODE).create(parent)?;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(MODE).open(path)?;
    std::io::Write::write_all(&mut file, content.as_bytes())
}
