//! Who processes are: the calls that tell and change ids, groups and capabilities.

use std::ffi::CString;
use std::sync::Arc;

use rustix::io::Errno;
use stagecraft_protocol::ownership::Override;

use super::caller::Caller;
use super::credentials::{Change, Credentials, Kind, capability};
use super::{Handled, Supervisor};
use crate::system::limits;
use crate::system::notification::Reply;

/// Most groups of a process (`NGROUPS_MAX`).
const GROUPS_LIMIT: u32 = 65_536;

/// Versions of capget(2) and capset(2), and how many words each set has in them.
const CAPABILITY_VERSIONS: [(u32, usize); 3] =
    [(0x2008_0522, 2), (0x2007_1026, 2), (0x1998_0330, 1)];

const DONE: Handled = Ok(Reply::Value(0));

fn words(numbers: &[u32]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_ne_bytes())
        .collect()
}

impl Supervisor {
    /// Who a caller is.
    pub(super) fn who(&self, caller: &Caller<'_>) -> Arc<Credentials> {
        let who = self.credentials.of(caller.thread());
        let is_settled = !who.awaits_set_ids && !who.is_changed_by_execution();
        if is_settled && who.user.effective == 0 {
            return who;
        }
        self.settle_execution(caller, &who, is_settled)
            .unwrap_or(who)
    }

    /// No call tells that an execution succeeded: at the next call of a process that one may change, it is looked
    /// at whether there was one. A process that is not root may have executed a program with set-id bits.
    fn settle_execution(
        &self,
        caller: &Caller<'_>,
        who: &Credentials,
        is_settled: bool,
    ) -> Option<Arc<Credentials>> {
        let thread = caller.thread();
        let program = CString::new(format!("/proc/{thread}/exe")).ok()?;
        let (user, group) = self
            .records
            .look_up(&program, true)
            .map_or((None, None), |seen| set_ids(&seen));
        if is_settled && user.is_none() && group.is_none() {
            return None;
        }
        let execution = execution(thread)?;
        if who.decided_execution == execution {
            return None;
        }
        let mut new = who.clone();
        new.execute(user, group);
        new.decided_execution = execution;
        self.credentials.set(thread, new.clone()).ok()?;
        Some(Arc::new(new))
    }

    /// execve(2): the kernel does it. Root's calls are not looked at for set-id bits of its program but after this
    /// said so: nearly every program has none.
    pub(super) fn execute(&self, caller: &Caller<'_>) -> Handled {
        let who = self.who(caller);
        if who.user.effective != 0 {
            return Ok(Reply::Continue);
        }
        let [first, second, ..] = caller.arguments();
        let target = match caller.call() {
            libc::SYS_execveat => caller.target(caller.int(0), second, caller.int(4))?,
            _ => caller.target(libc::AT_FDCWD, first, 0)?,
        };
        let seen = self.records.look_up(&target.path, target.follow);
        let ids = seen.map_or((None, None), |seen| set_ids(&seen));
        let mut new = Credentials::clone(&who);
        new.awaits_set_ids = ids != (None, None);
        if new.awaits_set_ids != who.awaits_set_ids {
            new.decided_execution = execution(caller.thread()).unwrap_or(0);
            caller.check()?;
            self.credentials.set(caller.thread(), new)?;
        }
        Ok(Reply::Continue)
    }

    pub(super) fn tell_identity(&self, caller: &Caller<'_>) -> Handled {
        let who = self.who(caller);
        let value = |id: u32| Ok(Reply::Value(i64::from(id)));
        match caller.call() {
            libc::SYS_getuid => value(who.user.real),
            libc::SYS_geteuid => value(who.user.effective),
            libc::SYS_getgid => value(who.group.real),
            libc::SYS_getegid => value(who.group.effective),
            libc::SYS_getgroups => tell_groups(caller, &who.groups),
            call => {
                let ids = if call == libc::SYS_getresuid {
                    who.user
                } else {
                    who.group
                };
                let three = [ids.real, ids.effective, ids.saved];
                for (address, id) in caller.arguments().into_iter().zip(three) {
                    caller.give(address, &id.to_ne_bytes())?;
                }
                DONE
            }
        }
    }

    pub(super) fn change_identity(&self, caller: &Caller<'_>) -> Handled {
        let old = self.who(caller);
        let mut who = Credentials::clone(&old);
        let [one, two, three] = [0, 1, 2].map(|position| caller.unsigned(position));
        let (kind, change) = match caller.call() {
            libc::SYS_setuid => (Kind::User, Change::One(one)),
            libc::SYS_setgid => (Kind::Group, Change::One(one)),
            libc::SYS_setreuid => (Kind::User, Change::Two(one, two)),
            libc::SYS_setregid => (Kind::Group, Change::Two(one, two)),
            libc::SYS_setresuid => (Kind::User, Change::Three([one, two, three])),
            libc::SYS_setresgid => (Kind::Group, Change::Three([one, two, three])),
            libc::SYS_setfsuid => (Kind::User, Change::File(one)),
            libc::SYS_setfsgid => (Kind::Group, Change::File(one)),
            _ => {
                who.set_groups(read_groups(caller)?)?;
                return self.become_who(caller, &old, who);
            }
        };
        if change == Change::One(u32::MAX) {
            return Err(Errno::INVAL);
        }
        who.change(kind, change)?;
        self.become_who(caller, &old, who)?;
        // These two tell the id before, whether it changes or not.
        Ok(Reply::Value(match caller.call() {
            libc::SYS_setfsuid => i64::from(old.user.file),
            libc::SYS_setfsgid => i64::from(old.group.file),
            _ => 0,
        }))
    }

    fn become_who(&self, caller: &Caller<'_>, old: &Credentials, new: Credentials) -> Handled {
        let mut new = new;
        if *old != new {
            if new.is_changed_by_execution() {
                new.decided_execution = execution(caller.thread()).unwrap_or(0);
            }
            caller.check()?;
            self.credentials.set(caller.thread(), new)?;
        }
        DONE
    }

    /// capget(2): a header with a version and a process; rows of effective, permitted and inheritable words.
    pub(super) fn tell_capabilities(&self, caller: &Caller<'_>) -> Handled {
        let [header, data, ..] = caller.arguments();
        let Some(count) = set_words(caller, header)? else {
            return if data == 0 { DONE } else { Err(Errno::INVAL) };
        };
        if data == 0 {
            return DONE;
        }
        let process = caller.memory().read_u32(header + 4)?;
        let who = match process {
            0 => self.who(caller),
            process => {
                limits::real_time_limits(process)?;
                self.credentials.of(process)
            }
        };
        let sets = who.capabilities;
        let rows: Vec<u32> = (0..count)
            .flat_map(|row| {
                [sets.effective, sets.permitted, sets.inheritable].map(|set| half(set, row))
            })
            .collect();
        caller.give(data, &words(&rows))?;
        DONE
    }

    pub(super) fn change_capabilities(&self, caller: &Caller<'_>) -> Handled {
        let [header, data, ..] = caller.arguments();
        let count = set_words(caller, header)?.ok_or(Errno::INVAL)?;
        let mut sets = [0_u64; 3];
        for row in 0..count {
            for (position, set) in sets.iter_mut().enumerate() {
                let offset = (row * 12 + position * 4) as u64;
                let word = caller.memory().read_u32(data + offset)?;
                *set |= u64::from(word) << (32 * row);
            }
        }
        let [effective, permitted, inheritable] = sets;
        let old = self.who(caller);
        let mut who = Credentials::clone(&old);
        who.set_capabilities(permitted, effective, inheritable)?;
        self.become_who(caller, &old, who)
    }

    /// The options of prctl(2) that the filter names.
    pub(super) fn control_process(&self, caller: &Caller<'_>) -> Handled {
        let (option, argument) = (caller.int(0), caller.arguments()[1]);
        if option == libc::PR_SET_DUMPABLE {
            return match argument {
                // Carried out, the process's memory could not be read for its answers.
                0 => DONE,
                _ => Ok(Reply::Continue),
            };
        }
        let old = self.who(caller);
        let mut who = Credentials::clone(&old);
        let bit = u32::try_from(argument)
            .ok()
            .and_then(|shift| 1_u64.checked_shl(shift));
        match option {
            libc::PR_GET_KEEPCAPS => return Ok(Reply::Value(i64::from(who.keeps_capabilities))),
            libc::PR_SET_KEEPCAPS => match argument {
                0 | 1 => who.keeps_capabilities = argument == 1,
                _ => return Err(Errno::INVAL),
            },
            libc::PR_GET_SECUREBITS => return Ok(Reply::Value(i64::from(who.secure_bits))),
            libc::PR_SET_SECUREBITS if who.can(capability::SETPCAP) => {
                who.secure_bits = caller.unsigned(1);
            }
            libc::PR_CAPBSET_READ => {
                let bit = bit
                    .filter(|_| argument <= LAST_CAPABILITY)
                    .ok_or(Errno::INVAL)?;
                return Ok(Reply::Value(i64::from(
                    who.capabilities.bounding & bit != 0,
                )));
            }
            libc::PR_CAPBSET_DROP if who.can(capability::SETPCAP) => {
                let bit = bit
                    .filter(|_| argument <= LAST_CAPABILITY)
                    .ok_or(Errno::INVAL)?;
                who.capabilities.bounding &= !bit;
            }
            libc::PR_CAP_AMBIENT => return self.control_ambient(caller, &old, who),
            _ => return Err(Errno::PERM),
        }
        self.become_who(caller, &old, who)
    }

    fn control_ambient(
        &self,
        caller: &Caller<'_>,
        old: &Credentials,
        mut who: Credentials,
    ) -> Handled {
        let [_, operation, capability, ..] = caller.arguments();
        let sets = &mut who.capabilities;
        let bit = if capability <= LAST_CAPABILITY {
            1 << capability
        } else {
            0
        };
        match i32::try_from(operation) {
            Ok(libc::PR_CAP_AMBIENT_CLEAR_ALL) => sets.ambient = 0,
            _ if bit == 0 => return Err(Errno::INVAL),
            Ok(libc::PR_CAP_AMBIENT_IS_SET) => {
                return Ok(Reply::Value(i64::from(sets.ambient & bit != 0)));
            }
            Ok(libc::PR_CAP_AMBIENT_RAISE) => {
                if sets.permitted & sets.inheritable & bit == 0 {
                    return Err(Errno::PERM);
                }
                sets.ambient |= bit;
            }
            Ok(libc::PR_CAP_AMBIENT_LOWER) => sets.ambient &= !bit,
            _ => return Err(Errno::INVAL),
        }
        self.become_who(caller, old, who)
    }

    /// prlimit(2): the runner's own limits are none of a step's, and the rest the kernel does.
    pub(super) fn limit(&self, caller: &Caller<'_>) -> Handled {
        let names_other = caller.call() == libc::SYS_prlimit64 && caller.unsigned(0) != 0;
        if names_other && is_of_runner(caller.unsigned(0)) {
            return Err(Errno::PERM);
        }
        if caller.call() == libc::SYS_prlimit64 && caller.unsigned(1) != libc::RLIMIT_RTTIME {
            return Ok(Reply::Continue);
        }
        Self::carrying_limit(caller)
    }

    /// The limit that carries the identity: it seems endless, and cannot be changed.
    fn carrying_limit(caller: &Caller<'_>) -> Handled {
        let [first, second, third, fourth, ..] = caller.arguments();
        let old = match caller.call() {
            libc::SYS_prlimit64 if third == 0 && fourth == 0 => return Ok(Reply::Continue),
            libc::SYS_prlimit64 => fourth,
            libc::SYS_setrlimit => 0,
            _ => second,
        };
        let process = if caller.call() == libc::SYS_prlimit64 {
            first
        } else {
            0
        };
        let process = match u32::try_from(process) {
            Ok(0) | Err(_) => caller.thread(),
            Ok(process) => process,
        };
        let hard = limits::real_time_limits(process)?.hard;
        if old != 0 {
            caller.give(old, &[hard.to_ne_bytes(), hard.to_ne_bytes()].concat())?;
        }
        DONE
    }
}

/// Whether a thread is one of this process.
fn is_of_runner(thread: u32) -> bool {
    std::fs::exists(format!("/proc/self/task/{thread}")).unwrap_or(true)
}

/// Number of the last capability that the kernel knows (`CAP_CHECKPOINT_RESTORE`).
const LAST_CAPABILITY: u64 = 40;

#[allow(
    clippy::cast_possible_truncation,
    reason = "one half after the other is what is wanted"
)]
const fn half(set: u64, row: usize) -> u32 {
    (set >> (32 * row)) as u32
}

/// How many words a set has in the version that a header names; writes the best version to one with another.
fn set_words(caller: &Caller<'_>, header: u64) -> Result<Option<usize>, Errno> {
    let version = caller.memory().read_u32(header)?;
    let known = CAPABILITY_VERSIONS
        .iter()
        .find(|(known, _)| *known == version);
    if known.is_none() {
        caller.give(header, &CAPABILITY_VERSIONS[0].0.to_ne_bytes())?;
    }
    Ok(known.map(|(_, count)| *count))
}

fn tell_groups(caller: &Caller<'_>, groups: &[u32]) -> Handled {
    let (size, address) = (caller.int(0), caller.arguments()[1]);
    let count = groups.len();
    match usize::try_from(size) {
        Ok(0) => {}
        Ok(size) if size >= count => caller.give(address, &words(groups))?,
        _ => return Err(Errno::INVAL),
    }
    Ok(Reply::Value(i64::try_from(count).unwrap_or(0)))
}

fn read_groups(caller: &Caller<'_>) -> Result<Vec<u32>, Errno> {
    let (size, address) = (caller.unsigned(0), caller.arguments()[1]);
    if size > GROUPS_LIMIT {
        return Err(Errno::INVAL);
    }
    let mut bytes = vec![0; size as usize * 4];
    if size > 0 {
        caller.memory().read(address, &mut bytes)?;
    }
    let numbers = bytes
        .chunks_exact(4)
        .map(|chunk| chunk.try_into().map_or(0, u32::from_ne_bytes));
    Ok(numbers.collect())
}

/// The ids that executing a program gives.
fn set_ids(seen: &Override) -> (Option<u32>, Option<u32>) {
    let executes_as_group = seen.mode & libc::S_IXGRP != 0;
    (
        (seen.mode & libc::S_ISUID != 0).then_some(seen.uid),
        (seen.mode & libc::S_ISGID != 0 && executes_as_group).then_some(seen.gid),
    )
}

/// What tells one execution of a process from the next: where its stack starts, which is random. It stays the
/// same over fork.
fn execution(thread: u32) -> Option<u64> {
    const STACK_START: usize = 28;
    let text = std::fs::read_to_string(format!("/proc/{thread}/stat")).ok()?;
    // The second field is the name in parentheses, which may hold anything.
    let rest = &text[text.rfind(')')? + 1..];
    rest.split_whitespace().nth(STACK_START - 3)?.parse().ok()
}
