//! The CRD: one plain file for people who use no Helm, and the chart's copy.
//!
//! Invariant: the chart's copy is a template, so that upgrades reach it, and is kept when the release goes, because
//! every ImageBuild would go with it.

use super::Generated;

/// Both files; none as long as the operator prints no CRD.
pub(super) fn files() -> anyhow::Result<Vec<Generated>> {
    Ok(Vec::new())
}
