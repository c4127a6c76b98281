//! Runs the cases and gives each a runner with a root file system of its own.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use stagecraft_protocol::ownership::SpecialOwner;
use stagecraft_protocol::runner::{Ending, EngineMessage, ExecuteRequest, RunnerMessage};
use stagecraft_sandbox::{LocalOptions, LocalRunner, launch_local};

/// A user who owns nothing.
const NOBODY: u32 = 65534;
/// A file system for tests in one program; `cargo xtask setup` installs it.
const BUSYBOX: &str = "/bin/busybox";
/// The programs of it that the cases use.
const APPLETS: &[&str] = &[
    "sh", "cat", "chgrp", "chmod", "chown", "chroot", "env", "grep", "id", "kill", "ln", "ls",
    "mkdir", "mkfifo", "mknod", "mount", "mv", "pwd", "readlink", "rm", "rmdir", "setsid", "sleep",
    "stat", "touch", "tr", "true", "umount", "unshare", "wc",
];

/// A case: its name, and what panics when it does not hold.
pub(crate) type Case = (&'static str, fn());

/// Runs the cases as the caller and, when that is root, as an ordinary user too.
pub(crate) fn run_as_every_user(arguments: &[String]) -> ExitCode {
    if !Path::new(BUSYBOX).exists() {
        eprintln!("error: {BUSYBOX} is missing; install it: apt-get install busybox-static");
        return ExitCode::FAILURE;
    }
    // Where the program was built may be closed to other users.
    let place = tempfile::tempdir().unwrap();
    open_to_all(place.path());
    let program = place.path().join("runner-test");
    std::fs::copy("/proc/self/exe", &program).unwrap();
    let mut users = vec![None];
    if rustix::process::geteuid().is_root() {
        users.push(Some(NOBODY));
    }
    let mut succeeded = true;
    for user in users {
        let mut command = Command::new(&program);
        command.arg("as-this-user").args(arguments);
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        succeeded &= command.status().unwrap().success();
    }
    if succeeded {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs the cases whose names hold a filter.
pub(crate) fn run(cases: &[Case], arguments: &[String]) -> ExitCode {
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let chosen = |name: &str| filter.is_none_or(|filter| name.contains(filter.as_str()));
    let user = rustix::process::geteuid().as_raw();
    let (mut passed, mut failed, mut left_out) = (0, 0, 0);
    for (name, case) in cases {
        if !chosen(name) {
            left_out += 1;
            continue;
        }
        if std::panic::catch_unwind(case).is_ok() {
            passed += 1;
            println!("test {name} (user {user}) ... ok");
        } else {
            failed += 1;
            println!("test {name} (user {user}) ... FAILED");
        }
    }
    let result = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {result}. {passed} passed; {failed} failed; 0 ignored; 0 measured; \
         {left_out} filtered out"
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// A root file system with a few programs and the probe.
pub(crate) fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    open_to_all(root.path());
    let programs = root.path().join("bin");
    std::fs::create_dir(&programs).unwrap();
    std::fs::copy(BUSYBOX, programs.join("busybox")).unwrap();
    for applet in APPLETS {
        std::os::unix::fs::symlink("busybox", programs.join(applet)).unwrap();
    }
    std::fs::copy("/proc/self/exe", programs.join("probe")).unwrap();
    for library in own_libraries() {
        let copy = root.path().join(library.strip_prefix("/").unwrap());
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        std::fs::copy(&library, copy).unwrap();
    }
    // Where a dynamic program names its loader, which may be another path than it was mapped from.
    let loader = Path::new("lib64/ld-linux-x86-64.so.2");
    let copy = root.path().join(loader);
    if Path::new("/").join(loader).exists() && !copy.exists() {
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        std::fs::copy(Path::new("/").join(loader), copy).unwrap();
    }
    root
}

/// The shared libraries of this program, which is the probe's too.
fn own_libraries() -> Vec<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let paths = maps
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5));
    let mut libraries: Vec<PathBuf> = paths
        .filter(|path| path.contains(".so"))
        .map(PathBuf::from)
        .collect();
    libraries.dedup();
    libraries
}

/// A runner and its root.
pub(crate) struct Sandbox {
    pub(crate) runner: LocalRunner,
    pub(crate) root: tempfile::TempDir,
    /// The descriptor of its `/` that came with its greeting.
    pub(crate) descriptor: OwnedFd,
}

/// What a step did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) output: String,
    pub(crate) errors: String,
    pub(crate) ending: Ending,
    pub(crate) peak_memory_bytes: u64,
    pub(crate) special_owners: Vec<SpecialOwner>,
}

/// A step of root in `/`.
pub(crate) fn request(arguments: &[&str]) -> ExecuteRequest {
    ExecuteRequest {
        arguments: arguments
            .iter()
            .map(|argument| (*argument).to_owned())
            .collect(),
        environment: vec!["PATH=/bin".to_owned()],
        working_directory: "/".to_owned(),
        ..ExecuteRequest::default()
    }
}

impl Sandbox {
    pub(crate) fn start() -> Self {
        Self::start_in(root())
    }

    pub(crate) fn start_in(root: tempfile::TempDir) -> Self {
        let program = std::env::current_exe().unwrap();
        let options = LocalOptions {
            program,
            root: root.path().to_owned(),
            index: 7,
        };
        let runner = launch_local(&options).unwrap();
        let (greeting, mut descriptors) = runner.channel.receive::<RunnerMessage>().unwrap();
        let RunnerMessage::Hello {
            problem, index: 7, ..
        } = greeting
        else {
            panic!("the greeting is {greeting:?}")
        };
        assert_eq!(problem, None);
        Self {
            runner,
            root,
            descriptor: descriptors.pop().unwrap(),
        }
    }

    /// Starts a step; its output can be read from the pipes that come back.
    pub(crate) fn begin(&self, request: ExecuteRequest) -> [File; 2] {
        let (output, output_writer) = std::io::pipe().unwrap();
        let (errors, errors_writer) = std::io::pipe().unwrap();
        let message = EngineMessage::Execute(Box::new(request));
        let writers = [output_writer.as_fd(), errors_writer.as_fd()];
        self.runner.channel.send(&message, &writers).unwrap();
        [
            File::from(OwnedFd::from(output)),
            File::from(OwnedFd::from(errors)),
        ]
    }

    /// Waits for the end of a step.
    pub(crate) fn finish(&self, pipes: [File; 2]) -> Outcome {
        let [output, errors] = pipes.map(|mut pipe| {
            let mut text = String::new();
            pipe.read_to_string(&mut text).unwrap();
            text
        });
        let (answer, _) = self.runner.channel.receive::<RunnerMessage>().unwrap();
        let RunnerMessage::Exited {
            ending,
            peak_memory_bytes,
            special_owners,
            ..
        } = answer
        else {
            panic!("the answer is {answer:?}")
        };
        Outcome {
            output,
            errors,
            ending,
            peak_memory_bytes,
            special_owners,
        }
    }

    pub(crate) fn execute(&self, request: ExecuteRequest) -> Outcome {
        let pipes = self.begin(request);
        self.finish(pipes)
    }

    /// Runs a script as root, which must succeed, and gives what it printed.
    pub(crate) fn shell(&self, script: &str) -> String {
        let outcome = self.execute(request(&["sh", "-ec", script]));
        assert_eq!(outcome.ending, Ending::Code(0), "{outcome:?}");
        outcome.output
    }

    /// Runs one check of the probe, which must hold.
    pub(crate) fn probe(&self, name: &str) {
        let outcome = self.execute(request(&["probe", "probe", name]));
        assert_eq!(outcome.ending, Ending::Code(0), "{outcome:?}");
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.runner.channel.send(&EngineMessage::Dismiss, &[]);
        let _ = self.runner.child.wait();
    }
}
