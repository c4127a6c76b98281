//! What a container runtime's default profile refuses to a process without capabilities. Local mode has no
//! runtime, so it installs the refusals itself: a build must not work there and fail in a pod.

use libc::{c_long, sock_filter};

use super::program::{Action, Test, always, assemble, when};

const DENIED: &[c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_move_pages,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_madvise,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];

#[cfg(target_arch = "x86_64")]
const DENIED_OLD: &[c_long] = &[
    libc::SYS_ioperm,
    libc::SYS_iopl,
    libc::SYS_uselib,
    libc::SYS_ustat,
    libc::SYS_sysfs,
    libc::SYS__sysctl,
];
#[cfg(not(target_arch = "x86_64"))]
const DENIED_OLD: &[c_long] = &[];

/// Every flag of clone(2) that makes a namespace.
const NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;

/// The filter of local mode.
pub(crate) fn denying() -> Vec<sock_filter> {
    let denied = Action::Fail(libc::EPERM);
    let mut rules: Vec<_> = DENIED
        .iter()
        .chain(DENIED_OLD)
        .map(|call| always(*call, denied))
        .collect();
    rules.extend([
        when(libc::SYS_clone, &[(0, Test::HasAny(NAMESPACES))], denied),
        // Its flags are in memory, where no filter sees them; callers fall back to clone.
        always(libc::SYS_clone3, Action::Fail(libc::ENOSYS)),
        when(
            libc::SYS_socket,
            &[(0, Test::Is(libc::AF_VSOCK as u32))],
            denied,
        ),
    ]);
    assemble(&rules)
}

#[cfg(test)]
mod tests {
    use super::super::program::tests::judge;
    use super::*;

    #[test]
    fn namespaces_are_denied_and_threads_are_not() {
        let code = denying();
        let clone = |flags: i32| judge(&code, libc::SYS_clone, [flags as u64, 0, 0, 0, 0, 0]);
        assert_eq!(
            clone(libc::CLONE_NEWUSER | libc::SIGCHLD),
            Action::Fail(libc::EPERM)
        );
        assert_eq!(clone(libc::CLONE_VM | libc::CLONE_THREAD), Action::Allow);
        assert_eq!(
            judge(&code, libc::SYS_chroot, [0; 6]),
            Action::Fail(libc::EPERM)
        );
        assert_eq!(
            judge(&code, libc::SYS_clone3, [0; 6]),
            Action::Fail(libc::ENOSYS)
        );
        assert_eq!(judge(&code, libc::SYS_ptrace, [0; 6]), Action::Allow);
    }
}
