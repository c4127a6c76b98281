//! The files of a case in a directory of this machine.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid};

use crate::archive::{self, Archives};
use crate::entry::{Content, Entry, Kind};

/// Makes the files that the lines describe below `root`. Those without a time of their own get `time`.
pub(crate) fn place(root: &Path, lines: &[String], archives: &Archives, time: i64) {
    let entries: Vec<Entry> = lines.iter().map(|line| Entry::parse(line)).collect();
    let mut times = Vec::new();
    for entry in &entries {
        let path = root.join(OsStr::from_bytes(entry.name()));
        make_parents(root, &path, time, &mut times);
        make(root, &path, entry, archives);
        dress(&path, entry);
        times.push((path, entry.time.unwrap_or((time, 0))));
    }
    // A directory changes with what is made in it.
    times.push((root.to_owned(), (time, 0)));
    for (path, time) in times.iter().rev() {
        set_time(path, *time);
    }
}

fn make_parents(root: &Path, path: &Path, time: i64, times: &mut Vec<(PathBuf, (i64, u32))>) {
    let parent = path.parent().unwrap();
    if parent == root || fs::metadata(parent).is_ok() {
        return;
    }
    make_parents(root, parent, time, times);
    fs::create_dir(parent).unwrap();
    fs::set_permissions(parent, fs::Permissions::from_mode(0o755)).unwrap();
    times.push((parent.to_owned(), (time, 0)));
}

fn make(root: &Path, path: &Path, entry: &Entry, archives: &Archives) {
    let device = |kind, major, minor| {
        let device = rustix::fs::makedev(major, minor);
        rustix::fs::mknodat(CWD, path, kind, Mode::from(0o600), device).unwrap();
    };
    match &entry.kind {
        Kind::Directory => {
            if !path.is_dir() {
                fs::create_dir(path).unwrap();
            }
        }
        Kind::File(Content::Hole(size)) => fs::File::create(path).unwrap().set_len(*size).unwrap(),
        Kind::File(content) => fs::write(path, archive::content(content, archives)).unwrap(),
        Kind::Symlink(target) => symlink(OsStr::from_bytes(target), path).unwrap(),
        Kind::Link(target) => fs::hard_link(root.join(OsStr::from_bytes(target)), path).unwrap(),
        Kind::Fifo => device(FileType::Fifo, 0, 0),
        Kind::Socket => drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
        Kind::Character(major, minor) => device(FileType::CharacterDevice, *major, *minor),
        Kind::Block(major, minor) => device(FileType::BlockDevice, *major, *minor),
    }
}

/// Owner, mode and extended attributes.
fn dress(path: &Path, entry: &Entry) {
    if matches!(entry.kind, Kind::Link(_)) {
        return;
    }
    if entry.owner != (0, 0) {
        let (uid, gid) = (Uid::from_raw(entry.owner.0), Gid::from_raw(entry.owner.1));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(CWD, path, Some(uid), Some(gid), flags).unwrap();
    }
    if !matches!(entry.kind, Kind::Symlink(_)) {
        fs::set_permissions(path, fs::Permissions::from_mode(entry.mode)).unwrap();
    }
    for (name, value) in &entry.xattrs {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::lsetxattr(path, name, value, flags).unwrap();
    }
}

fn set_time(path: &Path, (seconds, nanoseconds): (i64, u32)) {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds.into(),
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Gives a file, if it is there, the time that all files have.
pub(crate) fn settle(path: &Path, time: i64) {
    if path.exists() {
        set_time(path, (time, 0));
    }
}
