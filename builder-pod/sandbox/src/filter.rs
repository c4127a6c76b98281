//! Which calls of a `RUN` are answered by the supervisor, and which local mode denies.
//!
//! Invariant: a call that is not named here is the kernel's alone and costs nothing (the kernel keeps a bitmap
//! of calls that a filter always allows).
//! It knows calls and their arguments, not what the answers are.

mod denied;
mod notified;
mod program;

pub(crate) use denied::denying;
pub(crate) use notified::{Special, notifying};

/// The filter of the self-test: one harmless call notifies.
pub(crate) fn testing() -> Vec<libc::sock_filter> {
    program::assemble(&[program::always(libc::SYS_getppid, program::Action::Notify)])
}

/// Calls whose numbers are the same on every architecture and newer than the C library's names.
pub(crate) mod number {
    use libc::c_long;

    pub(crate) const SETXATTRAT: c_long = 463;
    pub(crate) const GETXATTRAT: c_long = 464;
    pub(crate) const LISTXATTRAT: c_long = 465;
    pub(crate) const REMOVEXATTRAT: c_long = 466;
    pub(crate) const FCHMODAT2: c_long = 452;
}
