//! A build of a small context, and a reader of the OCI layout that it wrote.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A context directory and a place for results.
pub(crate) struct Workspace {
    directory: tempfile::TempDir,
}

/// How a build ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// An entry of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: char,
    pub(crate) mode: u32,
    pub(crate) owner: (u64, u64),
    pub(crate) target: Option<String>,
    pub(crate) content: String,
}

/// An image as it stands in the layout.
pub(crate) struct Image {
    pub(crate) config: Value,
    pub(crate) layers: Vec<BTreeMap<String, Entry>>,
}

impl Workspace {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("context")).unwrap();
        Self { directory }
    }

    /// A workspace whose context is a Dockerfile.
    pub(crate) fn with_dockerfile(text: &str) -> Self {
        Self::new().file("Dockerfile", text)
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.directory.path().join(relative)
    }

    pub(crate) fn file(self, path: &str, content: &str) -> Self {
        let path = self.path("context").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    /// Puts the machine's static busybox into the context.
    pub(crate) fn busybox(self) -> Self {
        let found = ["/bin/busybox", "/usr/bin/busybox"].map(Path::new);
        let busybox = found.into_iter().find(|path| path.exists());
        let busybox = busybox.expect("the tests need Debian's package busybox-static");
        std::fs::copy(busybox, self.path("context/busybox")).unwrap();
        self
    }

    pub(crate) fn run(&self, command: &str, more: &[&str]) -> Ended {
        let output = Command::new(env!("CARGO_BIN_EXE_stagecraft-builder"))
            .arg(command)
            .args(more)
            .arg(self.path("context"))
            .env_remove("SOURCE_DATE_EPOCH")
            .env("XDG_CACHE_HOME", self.path("cache"))
            .output()
            .unwrap();
        Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Builds into an OCI layout; fails the test with the whole log when the build fails.
    pub(crate) fn build(&self, more: &[&str]) -> Image {
        let layout = self.path("layout");
        let output = format!("type=oci,dest={}", layout.display());
        let mut arguments = vec!["--output", &output];
        arguments.extend(more);
        let ended = self.run("build", &arguments);
        assert_eq!(ended.code, 0, "the build failed:\n{}", ended.stderr);
        Image::read(&layout, ended.stdout.trim())
    }

    /// The failure of a build that must fail, as `--error-format json` prints it.
    pub(crate) fn failure(&self, more: &[&str]) -> (Value, Ended) {
        let mut arguments = vec!["--error-format", "json"];
        arguments.extend(more);
        let ended = self.run("build", &arguments);
        assert_ne!(
            ended.code, 0,
            "the build should have failed:\n{}",
            ended.stderr
        );
        let last = ended.stderr.lines().last().unwrap_or_default();
        let value = serde_json::from_str(last)
            .unwrap_or_else(|error| panic!("{error}: no JSON at the end of\n{}", ended.stderr));
        (value, ended)
    }
}

impl Image {
    /// Reads the image of this digest out of a layout.
    pub(crate) fn read(layout: &Path, digest: &str) -> Self {
        let manifest: Value = serde_json::from_slice(&blob(layout, digest)).unwrap();
        let config = manifest["config"]["digest"].as_str().unwrap();
        let config = serde_json::from_slice(&blob(layout, config)).unwrap();
        let layers = manifest["layers"].as_array().unwrap().iter();
        let layers = layers.map(|layer| entries(&blob(layout, layer["digest"].as_str().unwrap())));
        Self {
            config,
            layers: layers.collect(),
        }
    }

    /// The entry that the topmost layer having this path has.
    pub(crate) fn entry(&self, path: &str) -> &Entry {
        let found = self.layers.iter().rev().find_map(|layer| layer.get(path));
        found.unwrap_or_else(|| panic!("the image has no {path}: {:#?}", self.paths()))
    }

    pub(crate) fn paths(&self) -> Vec<Vec<&String>> {
        self.layers
            .iter()
            .map(|layer| layer.keys().collect())
            .collect()
    }
}

fn blob(layout: &Path, digest: &str) -> Vec<u8> {
    let hex = digest.strip_prefix("sha256:").unwrap();
    std::fs::read(layout.join("blobs/sha256").join(hex)).unwrap()
}

fn entries(blob: &[u8]) -> BTreeMap<String, Entry> {
    let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(blob));
    let mut entries = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header().clone();
        let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let kind = match header.entry_type() {
            tar::EntryType::Directory => 'd',
            tar::EntryType::Symlink => 'l',
            tar::EntryType::Link => 'h',
            tar::EntryType::Char => 'c',
            tar::EntryType::Fifo => 'p',
            _ => 'f',
        };
        let target = entry
            .link_name_bytes()
            .map(|t| String::from_utf8_lossy(&t).into_owned());
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let value = Entry {
            kind,
            mode: header.mode().unwrap(),
            owner: (header.uid().unwrap(), header.gid().unwrap()),
            target,
            content: String::from_utf8_lossy(&content[..content.len().min(1000)]).into_owned(),
        };
        entries.insert(path.trim_end_matches('/').to_owned(), value);
    }
    entries
}
