//! What engine and runner say to each other over their socket.
//!
//! A message is one frame: 4 bytes of little-endian length, then that many bytes of JSON. Descriptors travel as
//! `SCM_RIGHTS` beside the frame's first bytes: [`RunnerMessage::Hello`] carries one, of the runner's `/`;
//! [`EngineMessage::Execute`] carries two, the writing ends of pipes for standard output and standard error.

use serde::{Deserialize, Serialize};

use crate::ownership::SpecialOwner;

/// Name of the abstract socket that the engine of a pod listens on.
pub const SOCKET_NAME: &str = "stagecraft";

/// Where the scripts of a Dockerfile stand: on the memory file system that a runtime mounts on `/dev`.
pub const SCRIPT_DIRECTORY: &str = "/dev/pipes";

/// Most bytes of a frame's JSON.
pub const FRAME_LIMIT: u32 = 64 * 1024 * 1024;

/// From the engine to a runner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EngineMessage {
    /// Execute one `RUN` step. Answered by [`RunnerMessage::Exited`] when every process of it is dead.
    Execute(Box<ExecuteRequest>),
    /// End every process of the step that runs now; it still answers with `Exited`.
    Kill,
    /// Empty the root file system for another chain. Answered by [`RunnerMessage::Emptied`].
    Empty,
    /// End. Answered by the socket's end.
    Dismiss,
}

/// One `RUN` step, ready to execute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecuteRequest {
    /// Program and arguments; the program is looked up in the environment's `PATH` inside the root.
    pub arguments: Vec<String>,
    /// `NAME=value`, all there is.
    pub environment: Vec<String>,
    /// Working directory, absolute inside the root. It exists.
    pub working_directory: String,
    /// User id as the build sees it.
    pub uid: u32,
    /// Group id as the build sees it.
    pub gid: u32,
    /// Supplementary groups as the build sees them.
    pub groups: Vec<u32>,
    /// Owners of inodes that cannot carry the attribute, set by the engine since the last step.
    pub special_owners: Vec<SpecialOwner>,
    /// A program that stands in the Dockerfile; the runner puts it in its place and takes it away again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<Script>,
    /// What the engine put into the root for this step alone, links resolved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<MountPoint>,
    /// Whether its programs can open no socket but those of this machine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_network: bool,
}

/// A file or directory that is to behave as if it were mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MountPoint {
    /// Absolute path inside the root, without links.
    pub path: String,
    /// Whether writes to it fail.
    pub read_only: bool,
}

/// A file that is there, mode 0755, while a step runs, in a directory that no layer ever holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Script {
    /// Its path below [`SCRIPT_DIRECTORY`]: parts joined by `/`, none of them `.` or `..`.
    pub name: String,
    /// What is in it.
    pub content: String,
}

/// From a runner to the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunnerMessage {
    /// The first message, with a descriptor of the runner's `/`.
    #[serde(rename_all = "camelCase")]
    Hello {
        /// [`crate::PROTOCOL_VERSION`] of the runner.
        protocol_version: u32,
        /// Which of the pod's runners it is, from 0.
        index: u32,
        /// What the self-test at start found wrong, in words; the engine ends with `Isolation`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        problem: Option<String>,
    },
    /// A step's every process is dead.
    #[serde(rename_all = "camelCase")]
    Exited {
        /// How its first process ended.
        ending: Ending,
        /// Largest resident set among its processes, in bytes.
        peak_memory_bytes: u64,
        /// Processor time of its processes, in microseconds.
        cpu_microseconds: u64,
        /// Every inode that cannot carry the attribute and has an owner other than 0:0 that changed in the step.
        special_owners: Vec<SpecialOwner>,
    },
    /// The root file system is empty but for runtime mounts.
    Emptied,
    /// It cannot go on; the socket ends after it.
    Failed(String),
}

/// How a step's first process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ending {
    /// With this exit code.
    Code(i32),
    /// By this signal; a step that failed after a process of it was killed for memory ends by `SIGKILL`, whatever its
    /// first process made of that.
    #[serde(rename_all = "camelCase")]
    Signal {
        /// Its number.
        signal: i32,
        /// Whether the kernel's out-of-memory killer ended a process of this step.
        out_of_memory: bool,
    },
    /// It could not be started: what failed, in words (`exec /bin/sh: no such file or directory`).
    NotStarted(String),
}
