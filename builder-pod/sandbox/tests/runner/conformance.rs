//! Calls come out in a step as they do for a real root: one program, what it printed for one, and what it prints here.
//!
//! Where this process is a real root itself, the recorded lines are compared with what the program prints to it, so
//! that they stay true; `UPDATE_GOLDEN=1` writes them then.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::StatVfsMountFlags;

use crate::harness::Sandbox;

const SOURCE: &str = include_str!("../conformance/program.c");
const EXPECTED: &str = include_str!("../conformance/expected");
const DIFFERENCES: &str = include_str!("../conformance/differences");
/// The capabilities that container runtimes give to root, which the program keeps of those that it has.
const NEEDED: u64 = 0xa804_25fb;

pub(crate) fn calls_come_out_as_for_a_real_root() {
    let place = tempfile::tempdir().unwrap();
    let program = compile(place.path());
    if is_real_root(place.path()) {
        compare_with_real_root(place.path(), &program);
    }
    let sandbox = Sandbox::start();
    std::fs::copy(&program, sandbox.root.path().join("bin/calls")).unwrap();
    let seen = sandbox.shell("mkdir /place; cd /place; exec calls");
    let mut sections = Vec::new();
    let mut section = "";
    for line in EXPECTED.lines() {
        section = line.strip_prefix("# ").unwrap_or(section);
        sections.push(section);
    }
    assert_eq!(
        seen.lines().count(),
        EXPECTED.lines().count(),
        "not all was done:\n{seen}"
    );
    let found: String = EXPECTED
        .lines()
        .zip(seen.lines())
        .zip(sections)
        .filter(|((expected, seen), _)| expected != seen)
        .map(|((expected, seen), section)| format!("{section}\n- {expected}\n+ {seen}\n"))
        .collect();
    let known: String = DIFFERENCES
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(found, known, "differences from a real root");
}

fn compile(place: &Path) -> PathBuf {
    let (source, program) = (place.join("program.c"), place.join("calls"));
    std::fs::write(&source, SOURCE).unwrap();
    // Static, because the root of a case has few libraries.
    let mut command = Command::new("cc");
    command.args(["-O1", "-static", "-pthread", "-w", "-o"]);
    let status = command.arg(&program).arg(&source).status().unwrap();
    assert!(
        status.success(),
        "the C compiler and the static C library are needed: apt-get install gcc libc6-dev"
    );
    program
}

/// Whether the program would be answered by the kernel as it was for the record.
fn is_real_root(place: &Path) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let held = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let held = u64::from_str_radix(held.unwrap().trim(), 16).unwrap();
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    let maps_all = map.split_whitespace().nth(2) == Some("4294967295");
    let flags = rustix::fs::statvfs(place).unwrap().f_flag;
    held & NEEDED == NEEDED && maps_all && !flags.contains(StatVfsMountFlags::NOSUID)
}

fn compare_with_real_root(place: &Path, program: &Path) {
    use std::os::unix::fs::PermissionsExt;
    // Other users must reach it, as they do in a root file system.
    std::fs::set_permissions(place, std::fs::Permissions::from_mode(0o755)).unwrap();
    let directory = place.join("real");
    std::fs::create_dir(&directory).unwrap();
    let output = Command::new(program).current_dir(&directory).output();
    let output = String::from_utf8(output.unwrap().stdout).unwrap();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/expected");
        std::fs::write(recorded, &output).unwrap();
        return;
    }
    assert_eq!(
        output, EXPECTED,
        "what a real root gets was recorded wrongly"
    );
}
