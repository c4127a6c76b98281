//! The types of conditions on an ImageBuild.
//!
//! Invariant: `Ready`, `Reconciling` and `Stalled` mean what kstatus says they mean, and no other type is used.

use std::fmt;

/// The type of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConditionType {
    /// The image of the current spec was pushed (or, for `mode: Plan`, planned).
    Ready,
    /// Work is under way or waits for something; absent when nothing will happen without a change.
    Reconciling,
    /// It failed and nothing will happen without a change; absent otherwise.
    Stalled,
}

impl ConditionType {
    /// Every type, in the order in which they stand in `status.conditions`.
    pub const ALL: [Self; 3] = [Self::Ready, Self::Reconciling, Self::Stalled];

    /// The name, as it stands in `type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
        }
    }
}

impl fmt::Display for ConditionType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
