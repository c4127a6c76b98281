//! Stamps: what a cached product was made from, as one digest in a file beside it.

use std::fs;
use std::path::Path;

use anyhow::Context;
use sha2::{Digest, Sha256};

/// Collects everything that a product depends on.
#[derive(Default)]
pub(crate) struct Stamp {
    hasher: Sha256,
}

impl Stamp {
    /// Adds a text, such as a version or a flag.
    pub(crate) fn text(mut self, text: &str) -> Self {
        self.hasher.update((text.len() as u64).to_le_bytes());
        self.hasher.update(text);
        self
    }

    /// Adds a file, or every file below a directory, with names relative to it.
    pub(crate) fn tree(mut self, path: &Path) -> anyhow::Result<Self> {
        if path.is_file() {
            let content =
                fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            self.hasher.update((content.len() as u64).to_le_bytes());
            self.hasher.update(content);
            return Ok(self);
        }
        let mut entries = fs::read_dir(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .with_context(|| format!("cannot list {}", path.display()))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            self = self.text(&entry.file_name().to_string_lossy());
            self = self.tree(&entry.path())?;
        }
        Ok(self)
    }

    /// The digest of all that was added.
    pub(crate) fn finish(self) -> String {
        hexadecimal(&self.hasher.finalize())
    }
}

/// Whether the product that `file` belongs to was made from what `stamp` says.
pub(crate) fn is_current(file: &Path, stamp: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|found| found == stamp)
}

/// Notes that the product that `file` belongs to was made from what `stamp` says.
pub(crate) fn set(file: &Path, stamp: &str) -> anyhow::Result<()> {
    fs::write(file, stamp).with_context(|| format!("cannot write {}", file.display()))
}

/// Lower-case hexadecimal digits of `bytes`.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_tells_where_one_text_ends_and_the_next_begins() {
        let one = Stamp::default().text("ab").text("c").finish();
        let other = Stamp::default().text("a").text("bc").finish();
        assert_ne!(one, other);
    }

    #[test]
    fn a_product_without_a_stamp_file_is_not_current() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("stamp");
        assert!(!is_current(&file, "x"));
        set(&file, "x").unwrap();
        assert!(is_current(&file, "x"));
        assert!(!is_current(&file, "y"));
    }
}
