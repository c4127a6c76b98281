//! The text files of the workspace, read once.

use std::path::Path;

use anyhow::Context;

use super::rust;

/// Folders that hold no source of ours.
const SKIPPED: [&str; 3] = [".git", "target", "node_modules"];

/// Every text file of the workspace, in order of path.
#[derive(Default)]
pub(super) struct Tree {
    pub(super) files: Vec<File>,
}

/// One text file.
pub(super) struct File {
    /// Path relative to the root, with `/`.
    pub(super) path: String,
    /// Its content.
    pub(super) text: String,
    /// For Rust: the content with comments and literals blanked, line by line the same.
    pub(super) code: Option<String>,
}

impl Tree {
    /// Reads all files below `root` that are UTF-8.
    pub(super) fn read(root: &Path) -> anyhow::Result<Self> {
        let mut tree = Self::default();
        tree.add_folder(root, "")?;
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    /// A tree of these (path, content) pairs.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let files = files
            .iter()
            .map(|(path, text)| File::new((*path).to_owned(), (*text).to_owned()));
        Self {
            files: files.collect(),
        }
    }

    /// The Rust files among them.
    pub(super) fn rust_files(&self) -> impl Iterator<Item = (&File, &str)> {
        self.files
            .iter()
            .filter_map(|file| file.code.as_deref().map(|code| (file, code)))
    }

    fn add_folder(&mut self, folder: &Path, prefix: &str) -> anyhow::Result<()> {
        let entries = std::fs::read_dir(folder)
            .with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot list {}", folder.display()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            let kind = entry
                .file_type()
                .with_context(|| format!("cannot look at {path}"))?;
            if kind.is_dir() {
                if !SKIPPED.contains(&name.as_str()) {
                    self.add_folder(&entry.path(), &format!("{path}/"))?;
                }
            } else if kind.is_file() {
                let bytes = match std::fs::read(entry.path()) {
                    Ok(bytes) => bytes,
                    // An editor's temporary file may be gone by now.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error).with_context(|| format!("cannot read {path}")),
                };
                if let Ok(text) = String::from_utf8(bytes) {
                    self.files.push(File::new(path, text));
                }
            }
        }
        Ok(())
    }
}

impl File {
    fn new(path: String, text: String) -> Self {
        let code = path.ends_with(".rs").then(|| rust::blank(&text));
        Self { path, text, code }
    }

    /// Whether the file holds tests only.
    pub(super) fn is_test(&self) -> bool {
        let mut parts = self.path.rsplit('/');
        let name = parts.next().unwrap_or_default();
        name == "tests.rs" || name.ends_with("_tests.rs") || parts.any(|part| part == "tests")
    }
}
