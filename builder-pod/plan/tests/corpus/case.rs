//! A case: a directory with a Dockerfile, what is asked of it, and what BuildKit answered.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

/// A case.
pub(crate) struct Case {
    /// `topic/case`.
    pub(crate) name: String,
    /// The Dockerfile.
    pub(crate) text: String,
    pub(crate) settings: Settings,
    /// What BuildKit answered.
    pub(crate) judged: Value,
    directory: PathBuf,
}

/// A case's `case.toml`; all of it is optional.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// The stage to build.
    pub(crate) target: Option<String>,
    /// What the image is for.
    pub(crate) platform: Option<String>,
    /// What the builder runs on.
    pub(crate) build_platform: Option<String>,
    pub(crate) build_args: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
    /// Named contexts.
    pub(crate) contexts: BTreeMap<String, String>,
    /// Which documented difference from BuildKit the case shows.
    pub(crate) difference: Option<String>,
    /// Why our error stands at another place than BuildKit's.
    pub(crate) place: Option<String>,
    /// What is still wrong here: a difference that nobody wants.
    pub(crate) open: Option<String>,
}

impl Case {
    /// Every case, by name.
    pub(crate) fn all() -> Vec<Self> {
        let mut found = Vec::new();
        for topic in directories(&corpus()) {
            found.extend(directories(&topic).into_iter().map(Self::open));
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    fn open(directory: PathBuf) -> Self {
        let read = |name: &str| std::fs::read_to_string(directory.join(name));
        let required = |name: &str| {
            read(name).unwrap_or_else(|error| panic!("{}/{name}: {error}", directory.display()))
        };
        let settings = match read("case.toml") {
            Ok(text) => toml::from_str(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", directory.display())),
            Err(_) => Settings::default(),
        };
        let parts: Vec<_> = directory.iter().rev().take(2).collect();
        Self {
            name: format!("{}/{}", parts[1].display(), parts[0].display()),
            text: required("Dockerfile"),
            settings,
            judged: serde_json::from_str(&required("buildkit.json")).unwrap(),
            directory,
        }
    }

    pub(crate) fn topic(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }

    pub(crate) fn read(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.directory.join(name)).ok()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.directory.join(name), text).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        let path = self.directory.join(name);
        if path.exists() {
            std::fs::remove_file(path).unwrap();
        }
    }
}

/// The directory of the corpus: that of the repository, or what `CORPUS` names, to try other judged cases.
pub(crate) fn corpus() -> PathBuf {
    if let Some(other) = std::env::var_os("CORPUS") {
        return other.into();
    }
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/dockerfiles")
}

fn directories(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_dir()).collect()
}
