//! Makes images of any size for measurements, without holding one in memory.
//!
//! Invariant: the same arguments give the same bytes; half of every file can be compressed.

use std::io::{self, Read};
use std::path::Path;

use anyhow::Context;
use serde_json::json;

use crate::oci::Store;

/// Layers of every image.
const LAYERS: u64 = 8;
/// Bytes that repeat within a file, but for the number that each repetition begins with.
const PATTERN: usize = 64 * 1024;

/// What an image has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Bytes of its files.
    pub(crate) bytes: u64,
    /// Number of its files.
    pub(crate) files: u64,
}

/// Writes an image of this shape as a layout in `directory`, with `program` as `/bin/busybox` in its first layer.
pub(crate) fn write(directory: &Path, shape: Shape, program: &Path) -> anyhow::Result<()> {
    let blobs = directory.with_extension("blobs");
    let store = Store::open(&blobs)?;
    let mut first = tar::Builder::new(Vec::new());
    first
        .append_path_with_name(program, "bin/busybox")
        .with_context(|| format!("cannot read {}", program.display()))?;
    let first = first.into_inner().context("cannot write an archive")?;
    let mut layers = vec![store.add_layer(first.as_slice(), 1, "busybox")?];
    for number in 0..LAYERS {
        let archive = Archive::new(number, shape.files / LAYERS, shape.bytes / shape.files);
        layers.push(store.add_layer(archive, 1, "generated")?);
    }
    let config = json!({"Env": ["PATH=/bin"]});
    store.write_image(directory, &layers, &config, "1970-01-01T00:00:00Z")?;
    // The layout has links of its own to what it needs.
    std::fs::remove_dir_all(&blobs).context("cannot remove the blobs")
}

/// An uncompressed layer that is made while it is read.
struct Archive {
    layer: u64,
    files: u64,
    size: u64,
    /// Files whose header was given.
    begun: u64,
    /// What is to be given next, from `given` on.
    piece: Vec<u8>,
    given: usize,
    /// Bytes of the current file, with padding, that are not in `piece` yet.
    left: u64,
    pattern: Vec<u8>,
    ended: bool,
}

impl Archive {
    fn new(layer: u64, files: u64, size: u64) -> Self {
        // A linear congruence is random enough to be incompressible.
        let mut state = layer.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut pattern = vec![b'='; PATTERN];
        for byte in pattern.iter_mut().take(PATTERN / 2) {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *byte = state.to_be_bytes()[0];
        }
        Self {
            layer,
            files,
            size,
            begun: 0,
            piece: Vec::with_capacity(PATTERN),
            given: 0,
            left: 0,
            pattern,
            ended: false,
        }
    }

    fn refill(&mut self) -> io::Result<()> {
        self.given = 0;
        self.piece.clear();
        if self.left > 0 {
            let length = usize::try_from(self.left).map_or(PATTERN, |left| left.min(PATTERN));
            self.piece.extend_from_slice(&self.pattern[..length]);
            let stamp = (self.begun << 32 ^ self.left).to_le_bytes();
            let stamped = length.min(stamp.len());
            self.piece[..stamped].copy_from_slice(&stamp[..stamped]);
            self.left -= length as u64;
        } else if self.begun < self.files {
            let mut header = tar::Header::new_ustar();
            header.set_path(format!(
                "data/{}/{}/{}",
                self.layer,
                self.begun / 100,
                self.begun
            ))?;
            header.set_size(self.size);
            header.set_mode(0o644);
            header.set_cksum();
            self.piece.extend_from_slice(header.as_bytes());
            self.left = self.size.next_multiple_of(512);
            self.begun += 1;
        } else if !self.ended {
            self.ended = true;
            self.piece.resize(1024, 0);
        }
        Ok(())
    }
}

impl Read for Archive {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.piece.len() {
            self.refill()?;
        }
        let length = buffer.len().min(self.piece.len() - self.given);
        buffer[..length].copy_from_slice(&self.piece[self.given..self.given + length]);
        self.given += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_layer_has_its_files_and_is_half_compressible() {
        let mut bytes = Vec::new();
        Archive::new(3, 5, 100_000).read_to_end(&mut bytes).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let sizes: Vec<u64> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().size())
            .collect();
        assert_eq!(sizes, [100_000; 5]);
    }
}
