//! Who a process is to the build: ids, groups and capabilities, and the rules by which they change
//! (credentials(7), capabilities(7)).
//!
//! Identity follows fork although no call tells of a fork: a process carries the number of its credentials in
//! its soft `RLIMIT_RTTIME`, which children inherit and which needs no privilege to change.

mod table;

pub(super) use table::CredentialTable;

/// An id that stays as it is.
pub(super) const KEEP: u32 = u32::MAX;

/// The capabilities that container runtimes give to root by default: what a `RUN` has elsewhere.
const DEFAULT_CAPABILITIES: u64 = 0xa804_25fb;

/// Bits of capability sets.
pub(super) mod capability {
    pub(in crate::supervisor) const CHOWN: u64 = 1 << 0;
    pub(in crate::supervisor) const DAC_OVERRIDE: u64 = 1 << 1;
    pub(in crate::supervisor) const FOWNER: u64 = 1 << 3;
    pub(in crate::supervisor) const FSETID: u64 = 1 << 4;
    pub(in crate::supervisor) const SETGID: u64 = 1 << 6;
    pub(in crate::supervisor) const SETUID: u64 = 1 << 7;
    pub(in crate::supervisor) const SETPCAP: u64 = 1 << 8;
    pub(in crate::supervisor) const MKNOD: u64 = 1 << 27;
    pub(in crate::supervisor) const SETFCAP: u64 = 1 << 31;
    /// Those that follow the file system uid: CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID,
    /// LINUX_IMMUTABLE, MKNOD and MAC_OVERRIDE.
    pub(in crate::supervisor) const FILES: u64 = 0b1_1111 | 1 << 9 | 1 << 27 | 1 << 32;
}

/// Bits of `PR_SET_SECUREBITS`.
mod secure_bit {
    pub(super) const NO_ROOT: u32 = 1;
    pub(super) const NO_SETUID_FIXUP: u32 = 1 << 2;
    pub(super) const KEEP_CAPABILITIES: u32 = 1 << 4;
}

/// The caller may not do this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotPermitted;

impl From<NotPermitted> for rustix::io::Errno {
    fn from(_: NotPermitted) -> Self {
        Self::PERM
    }
}

/// The four ids of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ids {
    pub(super) real: u32,
    pub(super) effective: u32,
    pub(super) saved: u32,
    /// The one that files are made and checked with.
    pub(super) file: u32,
}

impl Ids {
    const fn all(id: u32) -> Self {
        Self {
            real: id,
            effective: id,
            saved: id,
            file: id,
        }
    }

    const fn includes(self, id: u32) -> bool {
        self.real == id || self.effective == id || self.saved == id
    }

    const fn has_root(self) -> bool {
        self.includes(0)
    }

    /// setuid(2), setgid(2).
    fn set(&mut self, privileged: bool, id: u32) -> Result<(), NotPermitted> {
        if privileged {
            self.real = id;
            self.saved = id;
        } else if id != self.real && id != self.saved {
            return Err(NotPermitted);
        }
        self.effective = id;
        self.file = id;
        Ok(())
    }

    /// setreuid(2), setregid(2).
    fn set_two(&mut self, privileged: bool, real: u32, effective: u32) -> Result<(), NotPermitted> {
        let old = *self;
        let real_fits = real == KEEP || real == old.real || real == old.effective;
        let effective_fits = effective == KEEP || old.includes(effective);
        if !(privileged || real_fits && effective_fits) {
            return Err(NotPermitted);
        }
        if real != KEEP {
            self.real = real;
        }
        if effective != KEEP {
            self.effective = effective;
        }
        if real != KEEP || (effective != KEEP && effective != old.real) {
            self.saved = self.effective;
        }
        self.file = self.effective;
        Ok(())
    }

    /// setresuid(2), setresgid(2).
    fn set_three(&mut self, privileged: bool, ids: [u32; 3]) -> Result<(), NotPermitted> {
        let old = *self;
        if !privileged && !ids.iter().all(|id| *id == KEEP || old.includes(*id)) {
            return Err(NotPermitted);
        }
        for (place, id) in [&mut self.real, &mut self.effective, &mut self.saved]
            .into_iter()
            .zip(ids)
        {
            if id != KEEP {
                *place = id;
            }
        }
        self.file = self.effective;
        Ok(())
    }

    /// setfsuid(2), setfsgid(2).
    fn set_file(&mut self, privileged: bool, id: u32) {
        if id != KEEP && (privileged || self.includes(id) || self.file == id) {
            self.file = id;
        }
    }
}

/// Which ids a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    User,
    Group,
}

/// A change of ids of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// setuid(2), setgid(2).
    One(u32),
    /// setreuid(2), setregid(2): real and effective.
    Two(u32, u32),
    /// setresuid(2), setresgid(2): real, effective and saved.
    Three([u32; 3]),
    /// setfsuid(2), setfsgid(2).
    File(u32),
}

/// The five sets of capabilities(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Capabilities {
    pub(super) permitted: u64,
    pub(super) effective: u64,
    pub(super) inheritable: u64,
    pub(super) bounding: u64,
    pub(super) ambient: u64,
}

/// Who a process is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Credentials {
    pub(super) user: Ids,
    pub(super) group: Ids,
    pub(super) groups: Vec<u32>,
    pub(super) capabilities: Capabilities,
    /// `PR_SET_KEEPCAPS`.
    pub(super) keeps_capabilities: bool,
    /// `PR_SET_SECUREBITS`.
    pub(super) secure_bits: u32,
    /// What tells the execution apart that these credentials hold in, where the next one may change them.
    pub(super) decided_execution: u64,
    /// Whether the next execution is of a program with set-id bits.
    pub(super) awaits_set_ids: bool,
}

impl Credentials {
    /// A process that starts with these ids; root has the capabilities of a container's root.
    pub(crate) fn new(uid: u32, gid: u32, mut groups: Vec<u32>) -> Self {
        groups.sort_unstable();
        let held = if uid == 0 { DEFAULT_CAPABILITIES } else { 0 };
        let capabilities = Capabilities {
            permitted: held,
            effective: held,
            inheritable: 0,
            bounding: DEFAULT_CAPABILITIES,
            ambient: 0,
        };
        Self {
            user: Ids::all(uid),
            group: Ids::all(gid),
            groups,
            capabilities,
            keeps_capabilities: false,
            secure_bits: 0,
            decided_execution: 0,
            awaits_set_ids: false,
        }
    }

    /// Whether it acts as root.
    pub(super) const fn is_root(&self) -> bool {
        self.user.effective == 0
    }

    /// Whether it has a capability in effect.
    pub(super) const fn can(&self, capability: u64) -> bool {
        self.capabilities.effective & capability == capability
    }

    /// Whether files that it makes are root's.
    pub(super) const fn makes_files_of_root(&self) -> bool {
        self.user.file == 0 && self.group.file == 0
    }

    pub(super) fn is_in_group(&self, gid: u32) -> bool {
        self.group.file == gid || self.groups.contains(&gid)
    }

    /// Changes ids, and the capabilities that follow from them.
    pub(super) fn change(&mut self, kind: Kind, change: Change) -> Result<(), NotPermitted> {
        let (privilege, ids) = match kind {
            Kind::User => (capability::SETUID, &mut self.user),
            Kind::Group => (capability::SETGID, &mut self.group),
        };
        let privileged = self.capabilities.effective & privilege != 0;
        let old = *ids;
        match change {
            Change::One(id) => ids.set(privileged, id)?,
            Change::Two(real, effective) => ids.set_two(privileged, real, effective)?,
            Change::Three(three) => ids.set_three(privileged, three)?,
            Change::File(id) => ids.set_file(privileged, id),
        }
        if kind == Kind::User && self.secure_bits & secure_bit::NO_SETUID_FIXUP == 0 {
            match change {
                Change::File(_) => self.follow_file_user(old.file),
                _ => self.follow_users(old),
            }
        }
        Ok(())
    }

    fn follow_users(&mut self, old: Ids) {
        let sets = &mut self.capabilities;
        if old.has_root() && !self.user.has_root() {
            if !self.keeps_capabilities {
                sets.permitted = 0;
                sets.effective = 0;
            }
            sets.ambient = 0;
        }
        if old.effective == 0 && self.user.effective != 0 {
            sets.effective = 0;
        }
        if old.effective != 0 && self.user.effective == 0 {
            sets.effective = sets.permitted;
        }
    }

    fn follow_file_user(&mut self, old: u32) {
        let sets = &mut self.capabilities;
        if old == 0 && self.user.file != 0 {
            sets.effective &= !capability::FILES;
        }
        if old != 0 && self.user.file == 0 {
            sets.effective |= sets.permitted & capability::FILES;
        }
    }

    /// setgroups(2).
    pub(super) fn set_groups(&mut self, mut groups: Vec<u32>) -> Result<(), NotPermitted> {
        if !self.can(capability::SETGID) {
            return Err(NotPermitted);
        }
        // The kernel keeps them sorted, and tells them so.
        groups.sort_unstable();
        self.groups = groups;
        Ok(())
    }

    /// capset(2).
    pub(super) fn set_capabilities(
        &mut self,
        permitted: u64,
        effective: u64,
        inheritable: u64,
    ) -> Result<(), NotPermitted> {
        let may_widen = self.can(capability::SETPCAP);
        let sets = &mut self.capabilities;
        let within = |set: u64, limit: u64| set & !limit == 0;
        let inheritable_limit = if may_widen {
            sets.bounding
        } else {
            sets.permitted
        };
        if !within(permitted, sets.permitted)
            || !within(effective, permitted)
            || !within(inheritable, sets.inheritable | inheritable_limit)
        {
            return Err(NotPermitted);
        }
        sets.permitted = permitted;
        sets.effective = effective;
        sets.inheritable = inheritable;
        sets.ambient &= permitted & inheritable;
        Ok(())
    }

    /// What execve(2) makes of it; a program with set-id bits gives it other effective ids.
    pub(super) fn execute(&mut self, user: Option<u32>, group: Option<u32>) {
        if let Some(id) = user {
            self.user.effective = id;
        }
        if let Some(id) = group {
            self.group.effective = id;
        }
        for ids in [&mut self.user, &mut self.group] {
            ids.saved = ids.effective;
            ids.file = ids.effective;
        }
        let sets = &mut self.capabilities;
        if user.is_some() || group.is_some() {
            sets.ambient = 0;
        }
        let (real, effective) = (self.user.real == 0, self.user.effective == 0);
        if self.secure_bits & secure_bit::NO_ROOT == 0 && (real || effective) {
            sets.permitted = sets.inheritable | sets.bounding;
            sets.effective = if effective {
                sets.permitted
            } else {
                sets.ambient
            };
        } else {
            sets.permitted = sets.ambient;
            sets.effective = sets.ambient;
        }
        self.keeps_capabilities = false;
        self.secure_bits &= !secure_bit::KEEP_CAPABILITIES;
        self.awaits_set_ids = false;
    }

    /// Whether executing a program without set-id bits changes it.
    pub(super) fn is_changed_by_execution(&self) -> bool {
        let mut then = self.clone();
        then.execute(None, None);
        then != *self
    }
}

#[cfg(test)]
mod tests;
