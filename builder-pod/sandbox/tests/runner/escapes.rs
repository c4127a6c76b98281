//! What a step may try to get out of its root file system, to reach the runner or to be believed more than it is.
//! Every attempt fails, and each row names what stops it.

use std::ffi::{CStr, CString};
use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::process::ExitCode;

use libc::{c_int, c_long};
use stagecraft_protocol::runner::Ending;

use crate::harness::{Sandbox, request};

/// Who tries.
#[derive(Clone, Copy)]
enum As {
    Root,
    User,
}

/// The attempt's name, who tries, what stops it, and the attempt itself: whether it succeeded.
type Attempt = (&'static str, As, &'static str, fn() -> bool);

const UNREACHABLE: &str = "the runner is not dumpable, and a step has no capability to trace";
const DENIED: &str = "the runtime's profile, which local mode installs itself";
const FOREIGN: &str = "the filter knows no calls of other architectures";
const MOUNTS: &str = "what the supervisor changes must be on a mount of the step";

#[rustfmt::skip]
const ATTEMPTS: &[Attempt] = &[
    ("read_the_runners_memory", As::Root, UNREACHABLE, || opens("/proc/1/mem")),
    ("read_its_maps", As::Root, UNREACHABLE, || opens("/proc/1/maps")),
    ("read_its_environment", As::Root, UNREACHABLE, || opens("/proc/1/environ")),
    ("read_its_program", As::Root, UNREACHABLE, || opens("/proc/1/exe")),
    ("enter_its_root", As::Root, UNREACHABLE, || std::env::set_current_dir("/proc/1/root").is_ok()),
    ("enter_its_directory", As::Root, UNREACHABLE, || std::env::set_current_dir("/proc/1/cwd").is_ok()),
    ("use_its_descriptors", As::Root, UNREACHABLE, use_its_descriptors),
    ("trace_it", As::Root, UNREACHABLE, || call(libc::SYS_ptrace, [libc::PTRACE_ATTACH as c_long, 1, 0, 0, 0, 0])),
    ("seize_it", As::Root, UNREACHABLE, || call(libc::SYS_ptrace, [0x4206, 1, 0, 0, 0, 0])),
    ("write_its_memory", As::Root, UNREACHABLE, write_its_memory),
    ("take_its_descriptor", As::Root, DENIED, take_its_descriptor),
    ("compare_with_it", As::Root, DENIED, || call(libc::SYS_kcmp, [1, 1, 0, 0, 0, 0])),
    ("enter_its_namespaces", As::Root, DENIED, || call(libc::SYS_setns, [0, 0, 0, 0, 0, 0])),
    ("own_its_program", As::Root, MOUNTS, || changes_program(c"/proc/1/exe")),
    ("own_its_program_by_a_link", As::Root, MOUNTS, || links_to_program("/proc/1/exe")),
    ("own_it_as_oneself", As::Root, MOUNTS, || links_to_program("/proc/self/exe")),
    ("be_given_its_memory", As::Root, "the supervisor opens only what it makes itself", be_given_its_memory),
    ("limit_it", As::Root, "limits of the runner are refused", || limit(1)),
    ("limit_it_by_a_thread", As::Root, "limits of the runner are refused", || (2..20).any(limit)),
    ("order_it_to_end", As::Root, "a signal counts only from outside, by its sender and its code", order_it_to_end),
    ("make_namespaces", As::Root, DENIED, || call(libc::SYS_unshare, [c_long::from(libc::CLONE_NEWUSER), 0, 0, 0, 0, 0])),
    ("clone_into_namespaces", As::Root, DENIED, || call(libc::SYS_clone, [c_long::from(libc::CLONE_NEWUSER | libc::SIGCHLD), 0, 0, 0, 0, 0])),
    ("clone_with_hidden_flags", As::Root, DENIED, || call(libc::SYS_clone3, [0, 0, 0, 0, 0, 0]) || errno() != libc::ENOSYS),
    ("change_the_root", As::Root, DENIED, || call(libc::SYS_chroot, [c"/".as_ptr() as c_long, 0, 0, 0, 0, 0])),
    ("unmount", As::Root, DENIED, || call(libc::SYS_umount2, [c"/proc".as_ptr() as c_long, 2, 0, 0, 0, 0])),
    ("mount", As::Root, DENIED, || call(libc::SYS_mount, [0, c"/tmp".as_ptr() as c_long, c"tmpfs".as_ptr() as c_long, 0, 0, 0])),
    ("open_by_handle", As::Root, DENIED, open_by_handle),
    ("reach_keys", As::Root, DENIED, || call(libc::SYS_keyctl, [0, -3, 0, 0, 0, 0])),
    ("load_programs_into_the_kernel", As::Root, DENIED, || call(libc::SYS_bpf, [0, 0, 0, 0, 0, 0])),
    ("write_to_the_kernel", As::Root, "/proc/sys is read-only", || writes("/proc/sys/kernel/hostname")),
    ("press_the_kernels_keys", As::Root, "/proc/sysrq-trigger is read-only", || writes("/proc/sysrq-trigger")),
    ("read_a_device", As::Root, "a device is an empty file underneath", read_a_device),
    ("climb_out", As::Root, "the machine's root is not mounted in the step", climb_out),
    ("forge_a_record", As::User, "the attribute cannot be set", || forge(libc::SYS_setxattr)),
    ("forge_a_record_of_a_link", As::Root, "the attribute cannot be set", || forge(libc::SYS_lsetxattr)),
    ("forge_a_record_relative", As::Root, "the attribute cannot be set", forge_relative),
    ("see_a_record", As::Root, "the attribute is not there", see_a_record),
    ("remove_a_record", As::User, "the attribute is not there", remove_a_record),
    ("forge_past_the_filter", As::User, "rings do not exist", || call(libc::SYS_io_uring_setup, [1, 0, 0, 0, 0, 0]) || errno() != libc::ENOSYS),
    #[cfg(target_arch = "x86_64")]
    ("call_by_x32", As::User, FOREIGN, || call(0x4000_0000 | libc::SYS_getuid, [0; 6]) || errno() != libc::ENOSYS),
    #[cfg(target_arch = "x86_64")]
    ("call_as_32_bit", As::User, FOREIGN, call_as_32_bit),
    ("answer_oneself", As::Root, "one listener for each process", answer_oneself),
    ("become_root_by_number", As::User, "the limit that carries the identity cannot be changed", become_root_by_number),
    ("become_root", As::User, "identity changes by the kernel's rules", || call(libc::SYS_setuid, [0; 6]) || call(libc::SYS_setgid, [0; 6])),
    ("have_root_back", As::User, "identity changes by the kernel's rules", || call(libc::SYS_setresuid, [-1, 0, -1, 0, 0, 0])),
];

/// The attempt that is named, inside a step: success when it failed.
pub(crate) fn attempt(arguments: &[String]) -> ExitCode {
    let name = arguments.first().map_or("", String::as_str);
    let (_, _, _, attempt) = ATTEMPTS.iter().find(|row| row.0 == name).unwrap();
    ExitCode::from(u8::from(attempt()))
}

pub(crate) fn nothing_that_a_step_tries_gets_it_out() {
    let sandbox = Sandbox::start();
    sandbox.shell("mkdir -m 1777 /tmp; echo mine > /tmp/file; chown 1000:1000 /tmp/file");
    for (name, who, stopped_by, _) in ATTEMPTS {
        let mut step = request(&["probe", "escape", name]);
        if let As::User = who {
            (step.uid, step.gid) = (1000, 1000);
        }
        let outcome = sandbox.execute(step);
        assert_eq!(
            outcome.ending,
            Ending::Code(0),
            "{name}, stopped by: {stopped_by}; {outcome:?}"
        );
    }
    // The runner is what it was, and so is its program.
    assert_eq!(sandbox.shell("echo on"), "on\n");
    let program = std::env::current_exe().unwrap();
    let mut names = [0; 1000];
    let length = rustix::fs::listxattr(&program, &mut names).unwrap();
    assert!(
        !names[..length]
            .windows(10)
            .any(|part| part == b"stagecraft")
    );
    use std::os::unix::fs::PermissionsExt;
    let mode = program.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o6000, 0);
}

/// A link that a step leaves is followed inside its root, or not at all.
pub(crate) fn links_of_a_step_lead_the_engine_nowhere_else() {
    use rustix::fs::{Mode, OFlags, ResolveFlags};
    let sandbox = Sandbox::start();
    let outside = sandbox.root.path().with_extension("outside");
    std::fs::write(&outside, "not of the build").unwrap();
    let outside_text = outside.to_str().unwrap();
    let upwards = format!("../../../../../../../..{outside_text}");
    sandbox.shell(&format!(
        "ln -s {outside_text} /absolute; ln -s {upwards} /upwards; ln -s /proc/1/root/etc/passwd /magic
         mkdir /etc/d; ln -s / /etc/d/root"
    ));
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
    let open = |path: &str| {
        let root = sandbox.descriptor.as_fd();
        rustix::fs::openat2(root, path, OFlags::RDONLY, Mode::empty(), resolve)
    };
    for path in ["absolute", "upwards", "magic", "etc/d/root/../absolute"] {
        assert!(open(path).is_err(), "{path} was opened");
    }
    assert!(open("etc/d/root/bin/busybox").is_ok());
    std::fs::remove_file(outside).unwrap();
}

fn opens(path: &str) -> bool {
    File::open(path).is_ok()
}

fn writes(path: &str) -> bool {
    let file = OpenOptions::new().write(true).open(path);
    file.is_ok_and(|mut file| std::io::Write::write_all(&mut file, b"h").is_ok())
}

fn call(number: c_long, [a, b, c, d, e, f]: [c_long; 6]) -> bool {
    // SAFETY: the rows give numbers, and addresses of strings that live as long as the program; those calls that
    // would write are refused or write nothing.
    unsafe { libc::syscall(number, a, b, c, d, e, f) >= 0 }
}

fn errno() -> c_int {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn use_its_descriptors() -> bool {
    (0..64).any(|number| {
        let path = format!("/proc/1/fd/{number}");
        let writing = OpenOptions::new().write(true).open(&path);
        opens(&path) || writing.is_ok() || std::fs::read_link(&path).is_ok()
    })
}

fn write_its_memory() -> bool {
    let byte = 0_u8;
    let ours = libc::iovec {
        iov_base: (&raw const byte).cast_mut().cast(),
        iov_len: 1,
    };
    let theirs = libc::iovec {
        iov_base: 0x40_0000 as *mut libc::c_void,
        iov_len: 1,
    };
    // SAFETY: one live byte is the source.
    unsafe {
        libc::process_vm_writev(1, &raw const ours, 1, &raw const theirs, 1, 0) >= 0
            || errno() != libc::EPERM
    }
}

fn take_its_descriptor() -> bool {
    // SAFETY: takes numbers.
    let process = unsafe { libc::syscall(libc::SYS_pidfd_open, 1, 0) };
    assert!(process >= 0, "a step may name the runner");
    (0..64).any(|number| call(libc::SYS_pidfd_getfd, [process, number, 0, 0, 0, 0]))
}

/// Whether a path's inode could be changed, whatever the path leads to.
fn changes_program(path: &CStr) -> bool {
    let value = [
        1_u8, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    // SAFETY: strings that end with a zero byte, and a value of the length given.
    unsafe {
        let owned = libc::chown(path.as_ptr(), 5, 5) == 0;
        let changed = libc::chmod(path.as_ptr(), 0o4711) == 0;
        let name = c"security.capability".as_ptr();
        let raised = libc::setxattr(path.as_ptr(), name, value.as_ptr().cast(), 20, 0) == 0;
        owned || changed || raised
    }
}

/// A link has the supervisor resolve the path. What `self` means to the step may be changed: it is the step's.
fn links_to_program(target: &str) -> bool {
    let link = "/tmp/way";
    let _ = std::fs::remove_file(link);
    std::os::unix::fs::symlink(target, link).unwrap();
    let changed = changes_program(&CString::new(link).unwrap());
    changed && target == "/proc/1/exe"
}

/// A path that changes between a harmless one and the runner's memory, while a dropped user makes files.
fn be_given_its_memory() -> bool {
    use std::sync::atomic::{AtomicBool, Ordering};
    static DONE: AtomicBool = AtomicBool::new(false);
    let flipping = std::thread::spawn(|| {
        let mut round = 0_u32;
        while !DONE.load(Ordering::Relaxed) {
            round += 1;
            let target = if round.is_multiple_of(2) {
                "/proc/1/mem"
            } else {
                "/tmp/nothing"
            };
            let _ = std::fs::remove_file("/tmp/flip.new");
            let _ = std::os::unix::fs::symlink(target, "/tmp/flip.new");
            let _ = std::fs::rename("/tmp/flip.new", "/tmp/flip");
        }
    });
    // SAFETY: takes numbers; files of this thread alone are another's from here on.
    unsafe { libc::setfsgid(1000) };
    let got_it = (0..1000).any(|_| {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open("/tmp/flip");
        let _ = std::fs::remove_file("/tmp/nothing");
        file.is_ok_and(|file| {
            use std::os::fd::AsRawFd;
            let link = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
            link.is_ok_and(|link| link.ends_with("mem"))
        })
    });
    DONE.store(true, Ordering::Relaxed);
    flipping.join().unwrap();
    got_it
}

fn limit(process: i32) -> bool {
    let none = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // The step's own processes are not what this is about.
    let own = std::fs::exists(format!("/proc/self/task/{process}")).unwrap();
    // SAFETY: the structure lives through the call.
    !own && unsafe {
        libc::prlimit64(
            process,
            libc::RLIMIT_NOFILE,
            &raw const none,
            std::ptr::null_mut(),
        )
    } == 0
}

/// Succeeds when the runner ends, and the case with it.
fn order_it_to_end() -> bool {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT] {
        // SAFETY: the structure is plain integers, and lives through the call.
        unsafe {
            let mut information = std::mem::zeroed::<libc::siginfo_t>();
            information.si_signo = signal;
            information.si_code = libc::SI_QUEUE;
            libc::syscall(libc::SYS_rt_sigqueueinfo, 1, signal, &raw const information);
            libc::kill(1, signal);
        }
    }
    false
}

fn open_by_handle() -> bool {
    let mut handle = [0_u32; 34];
    handle[0] = 128;
    let mut mount: c_int = 0;
    // SAFETY: the handle has room for what its first word says.
    unsafe {
        let path = c"/".as_ptr();
        libc::syscall(
            libc::SYS_name_to_handle_at,
            libc::AT_FDCWD,
            path,
            handle.as_mut_ptr(),
            &raw mut mount,
            0,
        );
        let root = libc::open(path, libc::O_RDONLY);
        libc::syscall(
            libc::SYS_open_by_handle_at,
            root,
            handle.as_ptr(),
            libc::O_RDONLY,
        ) >= 0
    }
}

fn read_a_device() -> bool {
    // SAFETY: a string that ends with a zero byte.
    let made = unsafe {
        libc::mknod(
            c"/tmp/random".as_ptr(),
            libc::S_IFCHR | 0o666,
            libc::makedev(1, 8),
        )
    };
    assert_eq!(made, 0);
    !std::fs::read("/tmp/random").unwrap().is_empty()
}

fn climb_out() -> bool {
    let up = "../".repeat(40);
    let same = |path: &str| {
        use std::os::unix::fs::MetadataExt;
        let (found, root) = (
            std::fs::metadata(path).unwrap(),
            std::fs::metadata("/").unwrap(),
        );
        (found.dev(), found.ino()) == (root.dev(), root.ino())
    };
    !same(&format!("/{up}")) || !same("/proc/self/root") || !same("/proc/self/root/..")
}

const NAME: &CStr = c"user.stagecraft.override";
const RECORD: &[u8] = b"0:0:104755:0";
const FILE: &CStr = c"/tmp/file";

fn forge(number: c_long) -> bool {
    let [path, name, value] = [
        FILE.as_ptr() as c_long,
        NAME.as_ptr() as c_long,
        RECORD.as_ptr() as c_long,
    ];
    call(number, [path, name, value, RECORD.len() as c_long, 0, 0])
}

/// By a descriptor, and by the newest of the calls.
fn forge_relative() -> bool {
    const SETXATTRAT: c_long = 463;
    #[repr(C)]
    struct Arguments(u64, u32, u32);
    let arguments = Arguments(RECORD.as_ptr() as u64, RECORD.len() as u32, 0);
    // SAFETY: strings that end with a zero byte, and values of the lengths given.
    unsafe {
        let file = libc::open(FILE.as_ptr(), libc::O_RDWR);
        let (name, value) = (NAME.as_ptr(), RECORD.as_ptr().cast());
        let by_descriptor = libc::fsetxattr(file, name, value, RECORD.len(), 0) == 0;
        let here = libc::AT_FDCWD;
        let newest = libc::syscall(
            SETXATTRAT,
            here,
            FILE.as_ptr(),
            0,
            name,
            &raw const arguments,
            16,
        );
        by_descriptor || newest == 0
    }
}

fn see_a_record() -> bool {
    let mut value = [0_u8; 256];
    // SAFETY: strings that end with a zero byte, and a buffer of the length given.
    unsafe {
        let buffer = value.as_mut_ptr().cast();
        let got = libc::getxattr(FILE.as_ptr(), NAME.as_ptr(), buffer, 256) >= 0;
        let listed = libc::listxattr(FILE.as_ptr(), buffer.cast(), 256);
        got || listed != 0
    }
}

fn remove_a_record() -> bool {
    // SAFETY: strings that end with a zero byte.
    unsafe { libc::removexattr(FILE.as_ptr(), NAME.as_ptr()) == 0 }
}

/// Call 24 of the 32-bit table tells the user; the kernel's own answer would be root.
#[cfg(target_arch = "x86_64")]
fn call_as_32_bit() -> bool {
    let result: i64;
    // SAFETY: the call takes no argument and touches no memory.
    unsafe {
        std::arch::asm!("int 0x80", inlateout("rax") 24_i64 => result, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    result != i64::from(-libc::ENOSYS)
}

fn answer_oneself() -> bool {
    let allow = libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: libc::SECCOMP_RET_ALLOW,
    };
    let program = libc::sock_fprog {
        len: 1,
        filter: (&raw const allow).cast_mut(),
    };
    let [mode, flags] = [
        c_long::from(libc::SECCOMP_SET_MODE_FILTER),
        libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as c_long,
    ];
    call(
        libc::SYS_seccomp,
        [mode, flags, &raw const program as c_long, 0, 0, 0],
    )
}

fn become_root_by_number() -> bool {
    let first = 0x5354_4147_0000_0000_u64;
    // SAFETY: the structures live through the calls.
    unsafe {
        for number in 0..4 {
            let wanted = libc::rlimit64 {
                rlim_cur: first + number,
                rlim_max: u64::MAX,
            };
            libc::setrlimit64(libc::RLIMIT_RTTIME, &raw const wanted);
            libc::prlimit64(
                libc::getpid(),
                libc::RLIMIT_RTTIME,
                &raw const wanted,
                std::ptr::null_mut(),
            );
            if libc::getuid() != 1000 {
                return true;
            }
        }
    }
    false
}
