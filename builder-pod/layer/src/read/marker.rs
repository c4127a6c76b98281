//! Names that mark what is removed (OCI image-spec, "Layer", section "Whiteouts").

use crate::tree::{join_paths, name_of, parent_of};

/// What an entry's name means.
pub(super) enum Marker {
    /// A file like any other.
    None,
    /// This path of lower layers is gone.
    Whiteout(Vec<u8>),
    /// What lower layers have in this directory is gone.
    Opaque(Vec<u8>),
    /// AUFS bookkeeping, and whatever stands below a mark: nothing a layer could mean.
    Leftover,
}

const WHITEOUT_PREFIX: &[u8] = b".wh.";

/// Whether `path` is a mark instead of a file.
pub(super) fn marker(path: &[u8]) -> Marker {
    let parent = parent_of(path);
    if parent
        .split(|byte| *byte == b'/')
        .any(|part| part.starts_with(WHITEOUT_PREFIX))
    {
        return Marker::Leftover;
    }
    match name_of(path).strip_prefix(WHITEOUT_PREFIX) {
        None => Marker::None,
        Some(b".wh..opq") => Marker::Opaque(parent.to_vec()),
        Some(name) if name.starts_with(WHITEOUT_PREFIX) => Marker::Leftover,
        // Would name the directory itself, or its parent.
        Some(b"" | b"." | b"..") => Marker::Leftover,
        Some(name) => Marker::Whiteout(join_paths(parent, name)),
    }
}

/// Whether a file of this name would be taken for a whiteout.
#[must_use]
pub fn is_whiteout_name(name: &[u8]) -> bool {
    name.starts_with(WHITEOUT_PREFIX)
}
