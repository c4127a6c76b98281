//! System V IPC objects: they outlive the processes that made them.

use std::collections::HashSet;

/// Which of the three kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    SharedMemory,
    Semaphores,
    Messages,
}

/// The objects of this IPC namespace, as `/proc/sysvipc` lists them.
pub(crate) fn objects() -> HashSet<(Kind, i32)> {
    let lists = [
        (Kind::SharedMemory, "/proc/sysvipc/shm"),
        (Kind::Semaphores, "/proc/sysvipc/sem"),
        (Kind::Messages, "/proc/sysvipc/msg"),
    ];
    let mut found = HashSet::new();
    for (kind, path) in lists {
        // A kernel without System V IPC has no such file, and no objects.
        let text = std::fs::read_to_string(path).unwrap_or_default();
        // The first line names the columns; the second column is the identifier.
        let ids = text
            .lines()
            .skip(1)
            .filter_map(|line| line.split_whitespace().nth(1)?.parse().ok());
        found.extend(ids.map(|id: i32| (kind, id)));
    }
    found
}

/// Removes an object, if it is still there.
pub(crate) fn remove(kind: Kind, id: i32) {
    // SAFETY: IPC_RMID takes no memory, only the identifier.
    unsafe {
        match kind {
            Kind::SharedMemory => libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()),
            Kind::Semaphores => libc::semctl(id, 0, libc::IPC_RMID),
            Kind::Messages => libc::msgctl(id, libc::IPC_RMID, std::ptr::null_mut()),
        };
    }
}
