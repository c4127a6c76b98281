//! The calls of a `RUN` that the supervisor answers.

use libc::{c_long, sock_filter};

use super::number;
use super::program::{Action, Rule, Test, always, assemble, when};

/// Answered whatever the arguments are.
const ALWAYS: &[c_long] = &[
    // Who a process is.
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    libc::SYS_capget,
    libc::SYS_capset,
    libc::SYS_execve,
    libc::SYS_execveat,
    // What files are.
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    number::FCHMODAT2,
    // What files let their user do.
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_truncate,
    // What makes files, besides opens.
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_symlinkat,
    libc::SYS_openat2,
    libc::SYS_bind,
    // Extended attributes: the name is a pointer, so a filter cannot tell ours.
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_fgetxattr,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_flistxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    number::SETXATTRAT,
    number::GETXATTRAT,
    number::LISTXATTRAT,
    number::REMOVEXATTRAT,
];

/// Calls that newer architectures do not have.
#[cfg(target_arch = "x86_64")]
const ALWAYS_OLD: &[c_long] = &[
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_chmod,
    libc::SYS_mkdir,
    libc::SYS_mknod,
    libc::SYS_symlink,
    libc::SYS_creat,
    libc::SYS_access,
    libc::SYS_unlink,
    libc::SYS_rmdir,
    libc::SYS_rename,
    libc::SYS_link,
];
#[cfg(not(target_arch = "x86_64"))]
const ALWAYS_OLD: &[c_long] = &[];

/// O_CREAT, the bit of O_TMPFILE that is not O_DIRECTORY, and those of opens to write.
const CHANGES: u32 =
    (libc::O_CREAT | (libc::O_TMPFILE & !libc::O_DIRECTORY) | libc::O_WRONLY | libc::O_RDWR) as u32;

/// What a record can tell of an inode; a call that asks for nothing of it is the kernel's alone.
const RECORDED: u32 = libc::STATX_TYPE | libc::STATX_MODE | libc::STATX_UID | libc::STATX_GID;

const fn option(value: i32) -> [(u32, Test); 1] {
    [(0, Test::Is(value as u32))]
}

const SET_DUMPABLE: [(u32, Test); 1] = option(libc::PR_SET_DUMPABLE);
const GET_KEEP_CAPABILITIES: [(u32, Test); 1] = option(libc::PR_GET_KEEPCAPS);
const SET_KEEP_CAPABILITIES: [(u32, Test); 1] = option(libc::PR_SET_KEEPCAPS);
const READ_BOUNDING: [(u32, Test); 1] = option(libc::PR_CAPBSET_READ);
const DROP_BOUNDING: [(u32, Test); 1] = option(libc::PR_CAPBSET_DROP);
const GET_SECURE_BITS: [(u32, Test); 1] = option(libc::PR_GET_SECUREBITS);
const SET_SECURE_BITS: [(u32, Test); 1] = option(libc::PR_SET_SECUREBITS);
const AMBIENT: [(u32, Test); 1] = option(libc::PR_CAP_AMBIENT);

/// Answered for some arguments.
const SOMETIMES: &[Rule] = &[
    when(
        libc::SYS_openat,
        &[(2, Test::HasAny(CHANGES))],
        Action::Notify,
    ),
    when(
        libc::SYS_statx,
        &[(3, Test::HasAny(RECORDED))],
        Action::Notify,
    ),
    when(libc::SYS_prctl, &SET_DUMPABLE, Action::Notify),
    when(libc::SYS_prctl, &GET_KEEP_CAPABILITIES, Action::Notify),
    when(libc::SYS_prctl, &SET_KEEP_CAPABILITIES, Action::Notify),
    when(libc::SYS_prctl, &READ_BOUNDING, Action::Notify),
    when(libc::SYS_prctl, &DROP_BOUNDING, Action::Notify),
    when(libc::SYS_prctl, &GET_SECURE_BITS, Action::Notify),
    when(libc::SYS_prctl, &SET_SECURE_BITS, Action::Notify),
    when(libc::SYS_prctl, &AMBIENT, Action::Notify),
    // Limits of others, and the limit that carries a process's identity.
    when(
        libc::SYS_prlimit64,
        &[(0, Test::HasAny(u32::MAX))],
        Action::Notify,
    ),
    when(
        libc::SYS_prlimit64,
        &[(1, Test::Is(libc::RLIMIT_RTTIME))],
        Action::Notify,
    ),
    when(
        libc::SYS_getsockopt,
        &[
            (1, Test::Is(libc::SOL_SOCKET as u32)),
            (2, Test::Is(libc::SO_PEERCRED as u32)),
        ],
        Action::Notify,
    ),
    // Rings would carry out any of these calls past the filter.
    always(libc::SYS_io_uring_setup, Action::Fail(libc::ENOSYS)),
    always(libc::SYS_io_uring_enter, Action::Fail(libc::ENOSYS)),
    always(libc::SYS_io_uring_register, Action::Fail(libc::ENOSYS)),
];

#[cfg(target_arch = "x86_64")]
const SOMETIMES_OLD: &[Rule] = &[
    when(
        libc::SYS_open,
        &[(1, Test::HasAny(CHANGES))],
        Action::Notify,
    ),
    when(
        libc::SYS_getrlimit,
        &[(0, Test::Is(libc::RLIMIT_RTTIME))],
        Action::Notify,
    ),
    when(
        libc::SYS_setrlimit,
        &[(0, Test::Is(libc::RLIMIT_RTTIME))],
        Action::Notify,
    ),
];
#[cfg(not(target_arch = "x86_64"))]
const SOMETIMES_OLD: &[Rule] = &[];

/// Answered in steps that start as another user than root, who may not do everything.
const CHECKED: &[c_long] = &[
    libc::SYS_openat,
    libc::SYS_statx,
    libc::SYS_utimensat,
    libc::SYS_chdir,
];

#[cfg(target_arch = "x86_64")]
const CHECKED_OLD: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
];
#[cfg(not(target_arch = "x86_64"))]
const CHECKED_OLD: &[c_long] = &[];

/// Answered in steps with mounts, some of which may be read-only.
const TOUCHING: &[c_long] = &[libc::SYS_utimensat];

/// Families of sockets that lead out of the machine, or to the programs of other steps.
const NETWORKS: [[(u32, Test); 1]; 6] = [
    family(libc::AF_INET),
    family(libc::AF_INET6),
    family(libc::AF_PACKET),
    family(libc::AF_VSOCK),
    family(libc::AF_TIPC),
    family(libc::AF_XDP),
];

const fn family(number: i32) -> [(u32, Test); 1] {
    [(0, Test::Is(number as u32))]
}

/// What is special about a step.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Special {
    /// It starts as another user than root.
    pub(crate) checks_permissions: bool,
    /// Something in its root is to behave as if it were mounted.
    pub(crate) has_mounts: bool,
    /// It has no network. Sockets that are handed to it could only come from outside of the build.
    pub(crate) without_network: bool,
}

/// The filter of a step.
pub(crate) fn notifying(special: Special) -> Vec<sock_filter> {
    let Special {
        checks_permissions,
        has_mounts,
        without_network,
    } = special;
    let mut rules = Vec::new();
    if without_network {
        let unreachable = Action::Fail(libc::ENETUNREACH);
        rules.extend(
            NETWORKS
                .iter()
                .map(|family| when(libc::SYS_socket, family, unreachable)),
        );
    }
    if has_mounts {
        rules.extend(TOUCHING.iter().map(|call| always(*call, Action::Notify)));
    }
    if checks_permissions {
        rules.extend(
            CHECKED
                .iter()
                .chain(CHECKED_OLD)
                .map(|call| always(*call, Action::Notify)),
        );
    }
    rules.extend(
        ALWAYS
            .iter()
            .chain(ALWAYS_OLD)
            .map(|call| always(*call, Action::Notify)),
    );
    rules.extend(SOMETIMES.iter().chain(SOMETIMES_OLD));
    assemble(&rules)
}

#[cfg(test)]
mod tests {
    use super::super::program::tests::judge;
    use super::*;

    #[test]
    fn without_a_network_only_sockets_of_the_machine_are_left() {
        let code = notifying(Special {
            without_network: true,
            ..Special::default()
        });
        let socket = |family: i32| judge(&code, libc::SYS_socket, [family as u64, 1, 0, 0, 0, 0]);
        for family in [libc::AF_INET, libc::AF_INET6, libc::AF_PACKET] {
            assert_eq!(socket(family), Action::Fail(libc::ENETUNREACH));
        }
        assert_eq!(socket(libc::AF_UNIX), Action::Allow);
        assert_eq!(socket(libc::AF_NETLINK), Action::Allow);
        let usual = notifying(Special::default());
        let with_network = judge(
            &usual,
            libc::SYS_socket,
            [libc::AF_INET as u64, 1, 0, 0, 0, 0],
        );
        assert_eq!(with_network, Action::Allow);
    }

    #[test]
    fn opens_are_answered_when_they_may_change_something() {
        let code = notifying(Special::default());
        let open = |flags: i32| judge(&code, libc::SYS_openat, [0, 0, flags as u64, 0, 0, 0]);
        assert_eq!(open(libc::O_RDONLY), Action::Allow);
        assert_eq!(open(libc::O_DIRECTORY), Action::Allow);
        assert_eq!(open(libc::O_CREAT | libc::O_WRONLY), Action::Notify);
        assert_eq!(open(libc::O_RDWR), Action::Notify);
        assert_eq!(open(libc::O_TMPFILE | libc::O_RDWR), Action::Notify);
        assert_eq!(judge(&code, libc::SYS_read, [0; 6]), Action::Allow);
        assert_eq!(
            judge(&code, libc::SYS_io_uring_setup, [0; 6]),
            Action::Fail(libc::ENOSYS)
        );
    }

    #[test]
    fn only_a_statx_of_what_is_recorded_is_answered() {
        let asks = |checks, mask: u32| {
            judge(
                &notifying(Special {
                    checks_permissions: checks,
                    ..Special::default()
                }),
                libc::SYS_statx,
                [0, 0, 0, mask.into(), 0, 0],
            )
        };
        assert_eq!(asks(false, libc::STATX_SIZE), Action::Allow);
        assert_eq!(
            asks(false, libc::STATX_SIZE | libc::STATX_UID),
            Action::Notify
        );
        // Of another user it is asked whether the path can be searched.
        assert_eq!(asks(true, libc::STATX_SIZE), Action::Notify);
    }

    #[test]
    fn every_open_is_answered_when_permissions_are_checked() {
        let code = notifying(Special {
            checks_permissions: true,
            ..Special::default()
        });
        assert_eq!(judge(&code, libc::SYS_openat, [0; 6]), Action::Notify);
        assert_eq!(judge(&code, libc::SYS_chdir, [0; 6]), Action::Notify);
        assert_eq!(
            judge(&notifying(Special::default()), libc::SYS_chdir, [0; 6]),
            Action::Allow
        );
    }

    #[test]
    fn only_the_options_that_matter_are_answered() {
        let code = notifying(Special::default());
        let option = |first: i32| judge(&code, libc::SYS_prctl, [first as u64, 0, 0, 0, 0, 0]);
        assert_eq!(option(libc::PR_SET_NAME), Action::Allow);
        assert_eq!(option(libc::PR_SET_DUMPABLE), Action::Notify);
        let socket = |level: i32, name: i32| {
            judge(
                &code,
                libc::SYS_getsockopt,
                [0, level as u64, name as u64, 0, 0, 0],
            )
        };
        assert_eq!(socket(libc::SOL_SOCKET, libc::SO_PEERCRED), Action::Notify);
        assert_eq!(socket(libc::SOL_SOCKET, libc::SO_ERROR), Action::Allow);
        assert_eq!(socket(libc::SOL_TCP, libc::SO_PEERCRED), Action::Allow);
    }
}
