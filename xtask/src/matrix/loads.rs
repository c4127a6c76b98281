//! The loads: what a `RUN` does in other people's images, and which of its files are no two times the same.

use std::path::Path;

use anyhow::{Context, ensure};
use serde::Deserialize;

/// The file that has them.
const FILE: &str = "tests/fixtures/loads/loads.toml";

/// All loads.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Loads {
    /// Paths that differ from build to build whatever the builder.
    #[serde(rename = "volatile")]
    volatiles: Vec<Volatile>,
    #[serde(rename = "load")]
    pub(super) loads: Vec<Load>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Volatile {
    path: String,
    /// For who reads the file.
    #[expect(dead_code, reason = "every volatile path has to have one")]
    why: String,
}

/// One Dockerfile.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Load {
    pub(super) name: String,
    /// Debian packages that it installs.
    #[serde(default)]
    packages: Vec<String>,
    /// Instructions before its script.
    #[serde(default)]
    before: String,
    /// The user of its script.
    #[serde(default)]
    user: String,
    /// A shell script that ends at the first error.
    #[serde(default)]
    run: String,
    /// Paths that differ from build to build.
    #[serde(default)]
    volatile: Vec<String>,
}

impl Loads {
    pub(super) fn read(workspace: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(workspace.join(FILE))
            .with_context(|| format!("cannot read {FILE}"))?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let loads: Self = toml::from_str(text).with_context(|| format!("{FILE} is wrong"))?;
        for load in &loads.loads {
            let does_something = !load.packages.is_empty() || !load.run.is_empty();
            ensure!(does_something, "the load {:?} does nothing", load.name);
        }
        Ok(loads)
    }

    /// Whether what a path holds may differ.
    pub(super) fn is_volatile(&self, load: &Load, path: &str) -> bool {
        let everywhere = self.volatiles.iter().map(|volatile| volatile.path.as_str());
        let here = load.volatile.iter().map(String::as_str);
        everywhere.chain(here).any(|known| is_in(path, known))
    }
}

impl Load {
    /// It as a file that both builders read.
    pub(super) fn dockerfile(&self) -> String {
        let mut text = "FROM debian:12-slim\n".to_owned();
        if !self.packages.is_empty() {
            text += &format!(
                "RUN apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y \
                 --no-install-recommends {} >/dev/null && rm -rf /var/lib/apt/lists/*\n",
                self.packages.join(" ")
            );
        }
        if !self.before.is_empty() {
            text += &format!("{}\n", self.before.trim_end());
        }
        if !self.user.is_empty() {
            text += &format!("USER {}\n", self.user);
        }
        if !self.run.is_empty() {
            text += &format!("RUN <<'LOAD'\nset -e\n{}\nLOAD\n", self.run.trim());
        }
        text
    }
}

/// Whether a path is another one or stands below it. A `*` at the end of a volatile path's last part is any text.
fn is_in(path: &str, known: &str) -> bool {
    match known.strip_prefix("**") {
        Some(end) => path.ends_with(end),
        None => path
            .strip_prefix(known)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        [[volatile]]
        path = "/var/log"
        why = "times"
        [[volatile]]
        path = "**.pyc"
        why = "the time of its source"
        [[load]]
        name = "x"
        packages = ["a", "b"]
        before = "ENV A=b"
        user = "app"
        run = "echo x"
        volatile = ["/out"]
    "#;

    #[test]
    fn a_load_is_a_dockerfile() {
        let loads = Loads::parse(TEXT).unwrap();
        let text = loads.loads[0].dockerfile();
        assert!(
            text.starts_with("FROM debian:12-slim\nRUN apt-get"),
            "{text}"
        );
        let end = "ENV A=b\nUSER app\nRUN <<'LOAD'\nset -e\necho x\nLOAD\n";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn volatile_paths_are_trees_and_endings() {
        let loads = Loads::parse(TEXT).unwrap();
        let is_volatile = |path| loads.is_volatile(&loads.loads[0], path);
        for path in ["/var/log", "/var/log/a/b", "/usr/x.pyc", "/out"] {
            assert!(is_volatile(path), "{path}");
        }
        for path in ["/var/logs", "/var", "/output", "/usr/x.py"] {
            assert!(!is_volatile(path), "{path}");
        }
    }

    #[test]
    fn the_loads_on_record_are_right() {
        let loads = Loads::read(&crate::command::workspace_root()).unwrap();
        assert!(loads.loads.len() >= 60);
        let names: std::collections::BTreeSet<&str> =
            loads.loads.iter().map(|load| load.name.as_str()).collect();
        assert_eq!(names.len(), loads.loads.len(), "each has a name of its own");
    }

    #[test]
    fn a_load_that_does_nothing_is_refused() {
        assert!(Loads::parse("volatile = []\n[[load]]\nname = \"x\"").is_err());
    }
}
