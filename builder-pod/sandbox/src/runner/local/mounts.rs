//! The mounts of a local runner: what a container runtime would mount in a pod.
//!
//! Invariant: nothing of the machine can be written through them but the root itself and harmless devices.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive,
    mount_change, unmount,
};

use crate::system::namespaces;

/// Devices that every container has.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Links in `/dev` that every container has.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
/// What is read-only of `/proc`, as container runtimes have it.
const READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];
/// What is hidden of `/proc`, as container runtimes have it.
const MASKED: [&str; 8] = [
    "acpi",
    "asound",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "timer_list",
    "scsi",
];
/// Where files for `/etc` are made before they are mounted there.
const STORE: &str = "dev";

/// Why the mounts cannot be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum MountError {
    #[error("cannot {action} {path}")]
    Call {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: Errno,
    },
    #[error("cannot {action} {path}")]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(Errno) -> MountError {
    move |source| MountError::Call {
        action,
        path: path.to_owned(),
        source,
    }
}

fn failed_file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> MountError {
    move |source| MountError::File {
        action,
        path: path.to_owned(),
        source,
    }
}

/// Mounts everything below `root` and makes it this process's `/`.
pub(super) fn enter(root: &Path, host_name: &str) -> Result<(), MountError> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(failed("take over the mounts below", Path::new("/")))?;
    mount_bind_recursive(root, root).map_err(failed("bind", root))?;
    let root_directory = std::fs::canonicalize(root).map_err(failed_file("find", root))?;
    proc(&root_directory.join("proc"))?;
    devices(&root_directory.join("dev"))?;
    system(&root_directory.join("sys"))?;
    network_files(&root_directory, host_name)?;
    std::env::set_current_dir(&root_directory).map_err(failed_file("enter", &root_directory))?;
    rustix::process::pivot_root(".", ".").map_err(failed("make the root", &root_directory))?;
    unmount(".", UnmountFlags::DETACH).map_err(failed("leave the machine's root for", root))?;
    std::env::set_current_dir("/").map_err(failed_file("enter", Path::new("/")))
}

/// A directory to mount on; the root may be empty or a whole image.
fn directory(path: &Path) -> Result<(), MountError> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(failed("make", path)(error)),
    }
}

/// An empty file to mount on.
fn file(path: &Path) -> Result<(), MountError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::from_raw_mode(0o644)) {
        Ok(_) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(failed("make", path)(error)),
    }
}

fn proc(path: &Path) -> Result<(), MountError> {
    directory(path)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", path, "proc", flags, None).map_err(failed("mount proc on", path))?;
    for name in READ_ONLY {
        let path = path.join(name);
        if path.exists() {
            mount_bind_recursive(&path, &path).map_err(failed("bind", &path))?;
            seal(&path)?;
        }
    }
    for name in MASKED {
        let path = path.join(name);
        if path.is_dir() {
            let options = c"size=0,mode=755";
            mount(
                "tmpfs",
                &path,
                "tmpfs",
                flags | MountFlags::RDONLY,
                Some(options),
            )
            .map_err(failed("hide", &path))?;
        } else if path.exists() {
            mount_bind("/dev/null", &path).map_err(failed("hide", &path))?;
        }
    }
    Ok(())
}

fn devices(path: &Path) -> Result<(), MountError> {
    directory(path)?;
    // Programs can be executed there, as in a pod: a script of the Dockerfile stands there.
    let flags = MountFlags::NOSUID;
    mount("tmpfs", path, "tmpfs", flags, Some(c"mode=755,size=65536k"))
        .map_err(failed("mount a tmpfs on", path))?;
    for name in DEVICES {
        let (source, target) = (Path::new("/dev").join(name), path.join(name));
        file(&target)?;
        mount_bind(&source, &target).map_err(failed("bind", &source))?;
    }
    for (name, target) in LINKS {
        let link = path.join(name);
        std::os::unix::fs::symlink(target, &link).map_err(failed_file("make", &link))?;
    }
    let terminals = path.join("pts");
    directory(&terminals)?;
    let options = c"newinstance,ptmxmode=0666,mode=0620";
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount("devpts", &terminals, "devpts", flags, Some(options))
        .map_err(failed("mount devpts on", &terminals))?;
    let shared = path.join("shm");
    directory(&shared)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("tmpfs", &shared, "tmpfs", flags, Some(c"mode=1777"))
        .map_err(failed("mount a tmpfs on", &shared))
}

/// `/sys` of the machine, read-only; a machine where that cannot be had has none.
fn system(path: &Path) -> Result<(), MountError> {
    directory(path)?;
    if mount_bind_recursive("/sys", path).is_err() {
        return Ok(());
    }
    if seal(path).is_err() {
        return unmount(path, UnmountFlags::DETACH).map_err(failed("unmount", path));
    }
    Ok(())
}

/// `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`: mounted, so that they are no part of the tree.
fn network_files(root: &Path, host_name: &str) -> Result<(), MountError> {
    let names =
        format!("127.0.0.1\tlocalhost {host_name}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    let resolver = std::fs::read("/etc/resolv.conf").unwrap_or_default();
    let files = [
        ("hosts", names.into_bytes()),
        ("hostname", format!("{host_name}\n").into_bytes()),
        ("resolv.conf", resolver),
    ];
    let folder = root.join("etc");
    directory(&folder)?;
    for (name, content) in files {
        let target = folder.join(name);
        let kind = std::fs::symlink_metadata(&target).map(|found| found.file_type());
        match kind {
            Ok(kind) if kind.is_file() => {}
            // A link or a directory there is the build's affair, and nothing can be mounted over it safely.
            Ok(_) => continue,
            Err(_) => file(&target)?,
        }
        let source = root.join(STORE).join(format!(".{name}"));
        std::fs::write(&source, content).map_err(failed_file("write", &source))?;
        mount_bind(&source, &target).map_err(failed("bind", &target))?;
        std::fs::remove_file(&source).map_err(failed_file("remove", &source))?;
    }
    Ok(())
}

fn seal(path: &Path) -> Result<(), MountError> {
    let text = CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
    namespaces::seal_mounts(&text).map_err(failed("make read-only", path))
}
