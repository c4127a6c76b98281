//! Processes by identity: a number alone may belong to another process tomorrow, a number with its start time does not.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use super::phases::wait_until;

/// One process of this machine, for good.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Process {
    /// The number it has in the namespace of this program.
    pub(crate) id: u32,
    /// When it was started, in clock ticks since boot: field 22 of proc_pid_stat(5).
    start: u64,
}

impl Process {
    /// The process that has number `id` now.
    pub(crate) fn identify(id: u32) -> anyhow::Result<Self> {
        let (_, start) = state_and_start(id).with_context(|| format!("process {id} is gone"))?;
        Ok(Self { id, start })
    }

    /// The first child of the process.
    pub(crate) fn first_child(self) -> anyhow::Result<Self> {
        let file = format!("/proc/{0}/task/{0}/children", self.id);
        let children = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
        let child = children
            .split_whitespace()
            .next()
            .with_context(|| format!("process {} has no child", self.id))?;
        Self::identify(
            child
                .parse()
                .with_context(|| format!("{file} holds {child:?}"))?,
        )
    }

    /// Whether it runs; a zombie does not.
    pub(crate) fn is_alive(self) -> bool {
        state_and_start(self.id).is_some_and(|(state, start)| start == self.start && state != 'Z')
    }

    /// Kills it and waits until it is gone.
    pub(crate) fn kill(self) -> anyhow::Result<()> {
        if !self.is_alive() {
            return Ok(());
        }
        Command::new("kill")
            .args(["-KILL", &self.id.to_string()])
            .output()
            .context("cannot start kill")?;
        wait_until("a killed process ends", Duration::from_secs(20), || {
            ensure!(!self.is_alive(), "process {} is still there", self.id);
            Ok(())
        })
    }
}

/// State letter and start time of a process.
fn state_and_start(id: u32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The second field is the program's name in parentheses, which may hold spaces and parentheses itself.
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some((state, start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_with_another_start_time_is_another_process() {
        let this = Process::identify(std::process::id()).unwrap();
        assert!(this.is_alive());
        let other = Process {
            start: this.start + 1,
            ..this
        };
        assert!(!other.is_alive());
    }
}
