//! Starts, ends and reaps processes: fork(2), execve(2), wait4(2), kill(2), prctl(2).

use std::ffi::{CStr, CString, c_char};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::{check, last_error};

/// A program that is to be started, with everything resolved.
#[derive(Debug)]
pub(crate) struct Program {
    /// The executable.
    pub(crate) path: CString,
    /// Its arguments, the first is its name.
    pub(crate) arguments: Vec<CString>,
    /// `NAME=value`.
    pub(crate) environment: Vec<CString>,
    /// Where it starts.
    pub(crate) directory: CString,
    /// Its standard input, output and error.
    pub(crate) streams: [OwnedFd; 3],
}

/// What failed between fork and the program's first instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its streams could not be put in place.
    Streams,
    /// Its directory cannot be entered.
    Directory,
    /// The executable cannot be executed.
    Execute,
}

/// Forks and executes a program; comes back once it executes or has failed to.
///
/// The child leaves the caller's session, blocks and ignores no signal, and has no other descriptor than its
/// three streams.
///
/// # Errors
/// The stage that failed, with its cause.
pub(crate) fn start(program: &Program) -> Result<u32, (Stage, Errno)> {
    let pointers = |texts: &[CString]| -> Vec<*const c_char> {
        texts
            .iter()
            .map(|text| text.as_ptr())
            .chain([std::ptr::null()])
            .collect()
    };
    let (arguments, environment) = (pointers(&program.arguments), pointers(&program.environment));
    let streams = program.streams.each_ref().map(AsRawFd::as_raw_fd);
    let (reading, writing) = pipe().map_err(|error| (Stage::Streams, error))?;
    // SAFETY: the child only makes calls that are safe after fork in a program with threads, on memory that was
    // prepared before it, and ends in execve or _exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let child = Child {
            path: &program.path,
            arguments: &arguments,
            environment: &environment,
            directory: &program.directory,
            streams,
        };
        let (stage, error) = child.execute();
        let words = [stage as i32, error];
        // SAFETY: `words` is a live array of the length given; _exit runs no destructor of the parent's copies.
        unsafe {
            libc::write(
                writing.as_raw_fd(),
                words.as_ptr().cast(),
                size_of_val(&words),
            );
            libc::_exit(127);
        }
    }
    drop(writing);
    let child = u32::try_from(child).map_err(|_| (Stage::Execute, last_error()))?;
    match read_failure(&reading) {
        None => Ok(child),
        Some(failure) => {
            // SAFETY: waits for the child that was just forked; no status is asked for.
            unsafe { libc::waitpid(child as libc::pid_t, std::ptr::null_mut(), 0) };
            Err(failure)
        }
    }
}

/// What the child uses; borrowed so that nothing of it allocates or drops after fork.
struct Child<'a> {
    path: &'a CStr,
    arguments: &'a [*const c_char],
    environment: &'a [*const c_char],
    directory: &'a CStr,
    streams: [i32; 3],
}

impl Child<'_> {
    /// Comes back only with what failed.
    fn execute(&self) -> (Stage, i32) {
        // SAFETY: all of these are async-signal-safe; every pointer is of memory prepared before fork.
        unsafe {
            // It inherits that nobody may read its memory, and its calls are to be answered from here on. No
            // other process is there yet that could.
            libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0);
            libc::setsid();
            for signal in 1..=64 {
                libc::signal(signal, libc::SIG_DFL);
            }
            let mut none = std::mem::zeroed::<libc::sigset_t>();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
            for (number, stream) in (0..).zip(self.streams) {
                if libc::dup2(stream, number) < 0 {
                    return (Stage::Streams, *libc::__errno_location());
                }
            }
            libc::umask(0o022);
            if libc::chdir(self.directory.as_ptr()) != 0 {
                return (Stage::Directory, *libc::__errno_location());
            }
            let range = libc::syscall(
                libc::SYS_close_range,
                3,
                u32::MAX,
                libc::CLOSE_RANGE_CLOEXEC,
            );
            if range != 0 {
                return (Stage::Streams, *libc::__errno_location());
            }
            libc::execve(
                self.path.as_ptr(),
                self.arguments.as_ptr(),
                self.environment.as_ptr(),
            );
            (Stage::Execute, *libc::__errno_location())
        }
    }
}

fn read_failure(reading: &OwnedFd) -> Option<(Stage, Errno)> {
    let mut bytes = [0_u8; 8];
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::io::read(reading, &mut bytes[filled..]) {
            Ok(0) => return None,
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
    let [a, b, c, d, e, f, g, h] = bytes;
    let stage = match i32::from_ne_bytes([a, b, c, d]) {
        0 => Stage::Streams,
        1 => Stage::Directory,
        _ => Stage::Execute,
    };
    Some((
        stage,
        Errno::from_raw_os_error(i32::from_ne_bytes([e, f, g, h])),
    ))
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
}

/// A process that ended and was reaped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reaped {
    pub(crate) process: u32,
    /// As wait(2) has it.
    pub(crate) status: i32,
    /// Largest resident set of it and of what it reaped, in bytes.
    pub(crate) peak_memory_bytes: u64,
    /// Processor time of it and of what it reaped, in microseconds.
    pub(crate) cpu_microseconds: u64,
}

/// What reaping found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    Ended(Reaped),
    /// Children are left, and none has ended.
    Running,
    NoChildren,
}

/// Reaps one child that has ended; with `block`, waits for one.
pub(crate) fn reap(block: bool) -> Wait {
    loop {
        let mut status = 0;
        // SAFETY: the structure is plain integers, for which zero is a value.
        let mut usage = unsafe { std::mem::zeroed::<libc::rusage>() };
        let options = if block { 0 } else { libc::WNOHANG };
        // SAFETY: both pointers are of live locals.
        let process = unsafe { libc::wait4(-1, &raw mut status, options, &raw mut usage) };
        match process {
            0 => return Wait::Running,
            -1 if last_error() == Errno::INTR => {}
            -1 => return Wait::NoChildren,
            process => {
                let kilobytes = u64::try_from(usage.ru_maxrss).unwrap_or(0);
                return Wait::Ended(Reaped {
                    process: process.unsigned_abs(),
                    status,
                    peak_memory_bytes: kilobytes * 1024,
                    cpu_microseconds: microseconds(usage.ru_utime) + microseconds(usage.ru_stime),
                });
            }
        }
    }
}

fn microseconds(time: libc::timeval) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000 + u64::try_from(time.tv_usec).unwrap_or(0)
}

/// Kills every other process of this process namespace. Only for its first process.
pub(crate) fn kill_all() {
    if rustix::process::getpid().is_init() {
        // SAFETY: takes no memory.
        unsafe { libc::kill(-1, libc::SIGKILL) };
    }
}

/// Ends a child that was forked without executing a program.
pub(crate) fn kill_child(process: u32) {
    // SAFETY: takes no memory.
    unsafe { libc::kill(process as libc::pid_t, libc::SIGKILL) };
}

/// Forks a child that runs a closure and ends with its result. Only while the process has one thread, or for
/// closures that do not allocate.
pub(crate) fn fork(child: impl FnOnce() -> u8) -> Result<u32, Errno> {
    // SAFETY: callers have one thread, or a closure that needs no lock another thread may hold.
    match unsafe { libc::fork() } {
        -1 => Err(last_error()),
        0 => {
            let code = child();
            // SAFETY: ends the process at once; nothing of the parent's is dropped twice.
            unsafe { libc::_exit(i32::from(code)) }
        }
        process => Ok(process.unsigned_abs()),
    }
}

/// Waits for one child and gives the status as wait(2) has it.
pub(crate) fn wait_for(process: u32) -> Result<i32, Errno> {
    loop {
        let mut status = 0;
        // SAFETY: the pointer is of a live local.
        let result = unsafe { libc::waitpid(process as libc::pid_t, &raw mut status, 0) };
        match result {
            -1 if last_error() == Errno::INTR => {}
            -1 => return Err(last_error()),
            _ => return Ok(status),
        }
    }
}

/// Makes this process untraceable by others, and its `/proc` files unreadable to them.
pub(crate) fn become_unreachable() -> Result<(), Errno> {
    control(libc::PR_SET_DUMPABLE, 0)
}

/// Undoes what a child inherited of [`become_unreachable`].
pub(crate) fn become_reachable() -> Result<(), Errno> {
    control(libc::PR_SET_DUMPABLE, 1)
}

/// Gains no privileges from here on, whatever is executed.
pub(crate) fn renounce_privileges() -> Result<(), Errno> {
    control(libc::PR_SET_NO_NEW_PRIVS, 1)
}

/// Takes over orphaned descendants.
pub(crate) fn adopt_orphans() -> Result<(), Errno> {
    control(libc::PR_SET_CHILD_SUBREAPER, 1)
}

/// Ends when the parent ends.
pub(crate) fn die_with_parent() -> Result<(), Errno> {
    control(libc::PR_SET_PDEATHSIG, libc::SIGKILL)
}

fn control(option: i32, value: i32) -> Result<(), Errno> {
    // SAFETY: these options take numbers only.
    check(libc::c_long::from(unsafe {
        libc::prctl(option, value, 0, 0, 0)
    }))
    .map(|_| ())
}

/// Takes the process's standard input away as a descriptor of its own; null takes its place.
///
/// # Errors
/// When there is none, or `/dev/null` cannot be opened.
pub(crate) fn take_standard_input() -> Result<OwnedFd, Errno> {
    // SAFETY: a call on a number; the result is checked.
    let copy = unsafe { libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 3) };
    check(libc::c_long::from(copy))?;
    // SAFETY: the kernel just made this descriptor for the caller.
    let copy = unsafe { OwnedFd::from_raw_fd(copy) };
    rustix::stdio::dup2_stdin(open_null()?)?;
    Ok(copy)
}

/// Puts null in the place of standard input and output where they are closed, and closes everything else above.
///
/// # Errors
/// When `/dev/null` cannot be opened.
pub(crate) fn settle_descriptors() -> Result<(), Errno> {
    // SAFETY: a call on numbers; no object of this process owns a descriptor above 2 yet.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
    for number in 0..=2 {
        // SAFETY: 0 to 2 are never owned by an object that closes them.
        let stream = unsafe { BorrowedFd::borrow_raw(number) };
        if rustix::io::fcntl_getfd(stream).is_err() {
            let null = open_null()?;
            // SAFETY: a call on numbers.
            check(libc::c_long::from(unsafe {
                libc::dup2(null.as_raw_fd(), number)
            }))?;
            if null.as_raw_fd() == number {
                std::mem::forget(null);
            }
        }
    }
    Ok(())
}

/// `/dev/null`, for reading and writing.
pub(crate) fn open_null() -> Result<OwnedFd, Errno> {
    use rustix::fs::{Mode, OFlags};
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}

/// Executes a file that is open, with an empty environment. Comes back only when that fails.
pub(crate) fn execute_again(file: &OwnedFd, arguments: &[CString]) -> Errno {
    let pointers: Vec<*const c_char> = arguments
        .iter()
        .map(|text| text.as_ptr())
        .chain([std::ptr::null()])
        .collect();
    let environment = [std::ptr::null::<c_char>()];
    // SAFETY: both arrays end with a null pointer and outlive the call.
    unsafe { libc::fexecve(file.as_raw_fd(), pointers.as_ptr(), environment.as_ptr()) };
    last_error()
}

/// Makes the call that the self-test's filter notifies of, with the address of `word`. Whether it gave the
/// answer and the word was changed meanwhile. For a forked child: it allocates nothing.
pub(crate) fn call_for_test(word: &mut [u8; 16], answer: i64) -> bool {
    let before = *word;
    // SAFETY: getppid takes no argument; the supervisor writes to `word`, which is borrowed exclusively.
    let result = unsafe { libc::syscall(libc::SYS_getppid, word.as_mut_ptr()) };
    let after = std::hint::black_box(*word);
    result == answer
        && after
            .iter()
            .zip(before)
            .all(|(new, old)| *new == old ^ 0xff)
}
