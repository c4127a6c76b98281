//! What a step used, and whether the kernel killed any of it for memory.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::system::process::Reaped;

/// Sums over the processes of a step.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// Largest resident set of a process, in bytes.
    pub(super) peak_memory_bytes: u64,
    /// Processor time, in microseconds.
    pub(super) cpu_microseconds: u64,
}

impl Usage {
    pub(super) fn add(&mut self, reaped: &Reaped) {
        self.peak_memory_bytes = self.peak_memory_bytes.max(reaped.peak_memory_bytes);
        self.cpu_microseconds += reaped.cpu_microseconds;
    }
}

/// The counter of out-of-memory kills of the runner's control group, of either version.
#[derive(Debug, Default)]
pub(super) struct MemoryKills {
    file: Option<File>,
}

impl MemoryKills {
    /// Opens the counter. Must be called while the machine's `/proc` and `/sys` are in sight.
    pub(super) fn open() -> Self {
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let file = candidates(&groups)
            .into_iter()
            .find_map(|path| File::open(path).ok());
        Self { file }
    }

    /// Kills so far; 0 where no counter can be read.
    pub(super) fn count(&self) -> u64 {
        let Some(file) = &self.file else { return 0 };
        let mut buffer = [0; 4096];
        let length = file.read_at(&mut buffer, 0).unwrap_or(0);
        kills(&String::from_utf8_lossy(&buffer[..length]))
    }
}

/// Where the counter of a process with this `/proc/PID/cgroup` may be: its own group, or what a container shows
/// as the root of the hierarchy.
fn candidates(groups: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let (hierarchy, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.events"),
            list if list.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.oom_control")
            }
            _ => continue,
        };
        paths.push(format!("{hierarchy}{}/{file}", path.trim_end_matches('/')));
        paths.push(format!("{hierarchy}/{file}"));
    }
    paths
}

fn kills(text: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    line.and_then(|number| number.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_found_in_both_versions() {
        assert_eq!(
            kills("low 0\nhigh 0\nmax 4\noom 2\noom_kill 3\noom_group_kill 0\n"),
            3
        );
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"), 7);
        assert_eq!(kills(""), 0);
    }

    #[test]
    fn the_counter_is_looked_for_in_the_own_group_first() {
        let paths = candidates("5:cpu,memory:/pod/x\n1:name=systemd:/\n0::/\n");
        let wanted = [
            "/sys/fs/cgroup/memory/pod/x/memory.oom_control",
            "/sys/fs/cgroup/memory/memory.oom_control",
            "/sys/fs/cgroup/memory.events",
            "/sys/fs/cgroup/memory.events",
        ];
        assert_eq!(paths, wanted);
    }
}
