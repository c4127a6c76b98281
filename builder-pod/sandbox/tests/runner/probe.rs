//! Calls made inside a step, of which no shell command tells enough.

use std::ffi::CStr;
use std::process::ExitCode;

/// Runs the named check.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    match arguments.first().map(String::as_str) {
        Some("identity") => identity(),
        Some("threads") => threads(),
        Some("raised") => raised(),
        Some("reach") => runner_is_out_of_reach(),
        Some("attributes") => attributes(),
        Some("unnamed") => unnamed(),
        Some("socket") => socket(),
        Some("peer") => peer(),
        Some("statx") => extended_status(),
        other => panic!("no check is named {other:?}"),
    }
    ExitCode::SUCCESS
}

/// Asserts that a call succeeds.
fn done(result: i32) {
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Asserts that a call fails with an error.
fn fails(result: i64, error: i32) {
    let found = std::io::Error::last_os_error().raw_os_error();
    assert_eq!((result, found), (-1, Some(error)));
}

fn ids() -> [u32; 6] {
    let mut ids = [0; 6];
    let [a, b, c, d, e, f] = &mut ids;
    // SAFETY: all pointers are of live numbers.
    unsafe {
        done(libc::getresuid(a, b, c));
        done(libc::getresgid(d, e, f));
    }
    ids
}

/// Drops root as a daemon does, finds no way back, and hands the identity down to children.
fn identity() {
    // SAFETY: the calls take numbers and arrays of the lengths given.
    unsafe {
        let groups = [7, 8];
        done(libc::setgroups(2, groups.as_ptr()));
        done(libc::setresgid(20, 20, 20));
        done(libc::setresuid(libc::uid_t::MAX, 10, 0));
        assert_eq!(ids(), [0, 10, 0, 20, 20, 20]);
        // The saved id is the way back, once more.
        done(libc::seteuid(0));
        done(libc::setresuid(10, 10, 10));
        fails(libc::setuid(0).into(), libc::EPERM);
        fails(libc::setgroups(0, std::ptr::null()).into(), libc::EPERM);
        let child = libc::fork();
        if child == 0 {
            let own = ids() == [10, 10, 10, 20, 20, 20];
            let grandchild = libc::fork();
            if grandchild == 0 {
                let mut found = [0; 8];
                let count = libc::getgroups(8, found.as_mut_ptr());
                let right = count == 2 && found[..2] == groups && libc::getuid() == 10;
                libc::_exit(i32::from(!right));
            }
            let mut status = 0;
            libc::waitpid(grandchild, &raw mut status, 0);
            libc::_exit(i32::from(!own || status != 0));
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        assert_eq!(status, 0);
    }
    std::fs::write("/made-by-10", "").unwrap();
}

/// A change of identity counts for every thread, as the C library makes it.
fn threads() {
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let waiting = std::thread::spawn(move || {
        let _ = receiver.recv();
        ids()
    });
    // SAFETY: takes a number.
    done(unsafe { libc::setuid(33) });
    sender.send(()).unwrap();
    assert_eq!(waiting.join().unwrap()[..3], [33, 33, 33]);
}

/// A program with set-id bits is its owner until it drops that, and what it starts stays dropped.
fn raised() {
    assert_eq!(ids(), [1000, 77, 77, 1000, 78, 78]);
    std::fs::write("/place/raised", "").unwrap();
    // SAFETY: takes numbers.
    unsafe {
        done(libc::setregid(1000, 1000));
        done(libc::setreuid(1000, 1000));
        fails(libc::seteuid(77).into(), libc::EPERM);
    }
    assert_eq!(ids(), [1000; 6]);
    std::fs::write("/place/dropped", "").unwrap();
}

/// Nothing of the runner can be traced, read or opened.
fn runner_is_out_of_reach() {
    // SAFETY: asks to trace another process.
    let traced = unsafe { libc::ptrace(libc::PTRACE_ATTACH, 1, 0, 0) };
    fails(traced, libc::EPERM);
    for file in ["mem", "environ", "maps", "fd/0", "cwd", "exe"] {
        let path = format!("/proc/1/{file}");
        let opened = std::fs::File::open(&path);
        assert!(opened.is_err(), "{path} was opened");
    }
    // The machine's root may list the numbers, and can do nothing with them.
    for entry in std::fs::read_dir("/proc/1/fd").into_iter().flatten() {
        assert!(std::fs::read_link(entry.unwrap().path()).is_err());
    }
    let mut byte = 0_u8;
    let ours = libc::iovec {
        iov_base: (&raw mut byte).cast(),
        iov_len: 1,
    };
    let theirs = libc::iovec {
        iov_base: 0x1000 as *mut libc::c_void,
        iov_len: 1,
    };
    // SAFETY: one live byte is the target.
    let read = unsafe { libc::process_vm_readv(1, &raw const ours, 1, &raw const theirs, 1, 0) };
    fails(read as i64, libc::EPERM);
}

fn attributes() {
    let path = c"/attributed";
    std::fs::write("/attributed", "").unwrap();
    std::os::unix::fs::chown("/attributed", Some(5), Some(6)).unwrap();
    let set = |name: &CStr, value: &[u8]| {
        // SAFETY: path and name end with a zero byte, and the value has the length given.
        unsafe {
            libc::setxattr(
                path.as_ptr(),
                name.as_ptr(),
                value.as_ptr().cast(),
                value.len(),
                0,
            )
        }
    };
    done(set(c"user.own", b"1"));
    let capability = &[1, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    done(set(c"security.capability", capability));
    fails(
        set(c"user.stagecraft.override", b"0:0:100644:0").into(),
        libc::EPERM,
    );
    let mut names = [0_u8; 256];
    // SAFETY: the buffer has the length given.
    let length = unsafe { libc::listxattr(path.as_ptr(), names.as_mut_ptr().cast(), names.len()) };
    let mut listed: Vec<_> = names[..usize::try_from(length).unwrap()]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .collect();
    listed.sort_unstable();
    assert_eq!(listed, [&b"security.capability"[..], b"user.own"]);
    // SAFETY: asks for the length alone.
    let length = |name: &CStr| unsafe {
        libc::getxattr(path.as_ptr(), name.as_ptr(), std::ptr::null_mut(), 0) as i64
    };
    assert_eq!(length(c"security.capability"), 20);
    fails(length(c"user.stagecraft.override"), libc::ENODATA);
    // A change of owner takes file capabilities away.
    std::os::unix::fs::chown("/attributed", Some(7), None).unwrap();
    fails(length(c"security.capability"), libc::ENODATA);
    // Even one to the owner that it has, which needs no record.
    std::os::unix::fs::chown("/attributed", Some(0), Some(0)).unwrap();
    done(set(c"security.capability", capability));
    std::os::unix::fs::chown("/attributed", Some(0), Some(0)).unwrap();
    fails(length(c"security.capability"), libc::ENODATA);
}

/// A file that gets its name after it was made belongs to who made it.
fn unnamed() {
    // SAFETY: numbers and strings that end with a zero byte.
    unsafe {
        done(libc::setegid(44));
        done(libc::seteuid(44));
        let file = libc::open(c"/".as_ptr(), libc::O_TMPFILE | libc::O_RDWR, 0o640);
        assert!(file >= 0, "{}", std::io::Error::last_os_error());
        let own = std::ffi::CString::new(format!("/proc/self/fd/{file}")).unwrap();
        let (here, flags) = (libc::AT_FDCWD, libc::AT_SYMLINK_FOLLOW);
        done(libc::linkat(
            here,
            own.as_ptr(),
            here,
            c"/named".as_ptr(),
            flags,
        ));
        let mut status = std::mem::zeroed::<libc::stat>();
        done(libc::fstat(file, &raw mut status));
        assert_eq!((status.st_uid, status.st_mode), (44, libc::S_IFREG | 0o640));
    }
}

/// A socket file belongs to who bound it.
fn socket() {
    // SAFETY: takes numbers.
    unsafe {
        done(libc::setegid(55));
        done(libc::seteuid(55));
    }
    let _listener = std::os::unix::net::UnixListener::bind("/tmp-socket").unwrap();
    let status = std::fs::symlink_metadata("/tmp-socket").unwrap();
    use std::os::unix::fs::MetadataExt;
    assert_eq!((status.uid(), status.gid()), (55, 55));
}

/// A server learns who connected to it.
fn peer() {
    use std::os::fd::AsRawFd;
    let listener = std::os::unix::net::UnixListener::bind("/tmp-peer").unwrap();
    // SAFETY: the child makes calls only and ends; the pointers are of live locals.
    unsafe {
        let client = libc::fork();
        if client == 0 {
            let dropped = libc::setgid(66) == 0 && libc::setuid(66) == 0;
            let _connection = std::os::unix::net::UnixStream::connect("/tmp-peer");
            libc::pause();
            libc::_exit(i32::from(!dropped));
        }
        let (connection, _) = listener.accept().unwrap();
        let mut found = libc::ucred {
            pid: 0,
            uid: 1,
            gid: 1,
        };
        let mut length = size_of::<libc::ucred>() as libc::socklen_t;
        done(libc::getsockopt(
            connection.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut found).cast(),
            &raw mut length,
        ));
        assert_eq!(
            (found.pid, found.uid, found.gid, length),
            (client, 66, 66, 12)
        );
    }
}

fn extended_status() {
    std::fs::write("/extended", "abc").unwrap();
    std::os::unix::fs::chown("/extended", Some(70_000), Some(80_000)).unwrap();
    // SAFETY: the structure is plain integers, the path ends with a zero byte.
    unsafe {
        let mut status = std::mem::zeroed::<libc::statx>();
        let mask = libc::STATX_BASIC_STATS | libc::STATX_BTIME;
        done(libc::statx(
            libc::AT_FDCWD,
            c"/extended".as_ptr(),
            0,
            mask,
            &raw mut status,
        ));
        assert_eq!(
            (status.stx_uid, status.stx_gid, status.stx_size),
            (70_000, 80_000, 3)
        );
        assert_eq!(status.stx_mask & mask, mask);
        assert_ne!(status.stx_ino, 0);
    }
}
