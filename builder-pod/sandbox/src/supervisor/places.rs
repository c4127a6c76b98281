//! What stands in the root for one step alone: such a place answers as a mount point does.
//!
//! It cannot be removed or moved, nothing is linked or moved into or out of it, and one that is read-only refuses
//! writes: programs that would see the difference copy instead, as they do at a real mount.
//!
//! Invariant: a step that gets round this (by changing a call's memory after it was looked at) gains only what it may
//! do anyway in its own root.

use std::ffi::CStr;

use rustix::io::Errno;
use stagecraft_protocol::runner::MountPoint;

use super::Supervisor;
use super::caller::{Caller, Target, parent};
use super::permission::{WRITE, Wish, is_checked_of_all, locate, wishes};

/// The places of a step.
#[derive(Debug, Default)]
pub(super) struct Places {
    points: Vec<MountPoint>,
}

impl Places {
    pub(super) const fn new(points: Vec<MountPoint>) -> Self {
        Self { points }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// The place that a path is in: the deepest.
    fn of(&self, path: &CStr) -> Option<&MountPoint> {
        let bytes = path.to_bytes();
        let holds = |point: &&MountPoint| is_or_holds(point.path.as_bytes(), bytes);
        self.points
            .iter()
            .filter(holds)
            .max_by_key(|point| point.path.len())
    }

    /// Whether something stands right there.
    fn is_at(&self, path: &CStr) -> bool {
        self.points
            .iter()
            .any(|point| point.path.as_bytes() == path.to_bytes())
    }

    /// Whether something stands below a path.
    fn is_below(&self, path: &CStr) -> bool {
        self.points
            .iter()
            .any(|point| is_or_holds(path.to_bytes(), point.path.as_bytes()))
    }

    fn is_read_only(&self, path: &CStr) -> bool {
        self.of(path).is_some_and(|point| point.read_only)
    }
}

/// Whether `path` is `directory` or stands in it.
fn is_or_holds(directory: &[u8], path: &[u8]) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

impl Supervisor {
    /// Fails with what the kernel would say at a mount point.
    pub(super) fn check_places(&self, caller: &Caller<'_>) -> Result<(), Errno> {
        let call = caller.call();
        let may_matter = is_checked_of_all(call) || call == libc::SYS_utimensat;
        if self.places.is_empty() || !may_matter {
            return Ok(());
        }
        let renames = is_rename(call);
        // The places that names leave and come to.
        let (mut from, mut to) = (None, None);
        let wishes = wishes(caller)?;
        if renames {
            self.check_border(&wishes)?;
        }
        for wish in wishes {
            match wish {
                Wish::Access(target, want) if want & WRITE != 0 => {
                    self.refuse_read_only(&target)?
                }
                Wish::Access(target, _) if is_link(call) => {
                    from = locate(&target.path, target.follow).or(from);
                }
                Wish::Touch(target, _) => self.refuse_read_only(&target)?,
                Wish::Access(..) => {}
                Wish::Enter(target) => to = self.check_new(&target)?.or(to),
                Wish::Leave(target) => {
                    let left = self.check_old(&target, renames)?;
                    from = from.or(left);
                }
            }
        }
        let (Some(from), Some(to)) = (from, to) else {
            return Ok(());
        };
        let place = |path: &CStr| self.places.of(path).map(|point| point.path.as_str());
        if place(&from) == place(&to) {
            Ok(())
        } else {
            Err(Errno::XDEV)
        }
    }

    /// Fails where what a path leads to stands in a place that cannot be written.
    pub(super) fn refuse_read_only(&self, target: &Target) -> Result<(), Errno> {
        if self.places.is_empty() {
            return Ok(());
        }
        match locate(&target.path, target.follow) {
            Some(path) if self.places.is_read_only(&path) => Err(Errno::ROFS),
            _ => Ok(()),
        }
    }

    /// That a name would cross a border comes before everything else: who is told so copies.
    fn check_border(&self, wishes: &[Wish]) -> Result<(), Errno> {
        let mut places = wishes.iter().filter_map(|wish| match wish {
            Wish::Leave(target) => {
                let directory = locate(&parent(&target.path), true)?;
                Some(self.places.of(&directory).map(|point| &point.path))
            }
            _ => None,
        });
        match (places.next(), places.next()) {
            (Some(from), Some(to)) if from != to => Err(Errno::XDEV),
            _ => Ok(()),
        }
    }

    /// A new name: gives the directory that it comes to.
    fn check_new(&self, target: &Target) -> Result<Option<std::ffi::CString>, Errno> {
        let Some(directory) = locate(&parent(&target.path), true) else {
            return Ok(None);
        };
        // That a name is taken comes first.
        let is_taken = locate(&target.path, false).is_some();
        if self.places.is_read_only(&directory) && !is_taken {
            return Err(Errno::ROFS);
        }
        Ok(Some(directory))
    }

    /// A name that goes: gives what it is the name of.
    fn check_old(
        &self,
        target: &Target,
        renames: bool,
    ) -> Result<Option<std::ffi::CString>, Errno> {
        let Some(path) = locate(&target.path, false) else {
            return Ok(None);
        };
        if self.places.is_at(&path) {
            return Err(Errno::BUSY);
        }
        if self.places.is_read_only(&path) {
            return Err(Errno::ROFS);
        }
        // A directory that leads to a place stays where it is: who moves it by copying finds the place busy.
        if renames && self.places.is_below(&path) {
            return Err(Errno::XDEV);
        }
        Ok(Some(path))
    }
}

fn is_rename(call: libc::c_long) -> bool {
    #[cfg(target_arch = "x86_64")]
    if call == libc::SYS_rename {
        return true;
    }
    matches!(call, libc::SYS_renameat | libc::SYS_renameat2)
}

fn is_link(call: libc::c_long) -> bool {
    #[cfg(target_arch = "x86_64")]
    if call == libc::SYS_link {
        return true;
    }
    call == libc::SYS_linkat
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_place_counts_and_a_name_that_only_begins_alike_is_in_none() {
        let point = |path: &str, read_only| MountPoint {
            path: path.to_owned(),
            read_only,
        };
        let places = Places::new(vec![point("/src", true), point("/src/out", false)]);
        assert!(places.is_read_only(c"/src/a") && places.is_read_only(c"/src"));
        assert!(!places.is_read_only(c"/src/out/a") && !places.is_read_only(c"/src/out"));
        assert!(places.of(c"/srcs").is_none() && places.of(c"/").is_none());
        assert!(places.is_at(c"/src/out") && !places.is_at(c"/src/outer"));
        assert!(places.is_below(c"/src") && !places.is_below(c"/src/out/x"));
    }
}
