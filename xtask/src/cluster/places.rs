//! Where the test cluster keeps things: one directory below the user's cache directory.
//!
//! `programs/` and `supplies/` are caches that outlive a cluster; `cluster/` is the state of the one that runs, and
//! `cluster down` removes it whole.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::command::{capture, workspace_root};

/// The directories of the test cluster.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    cache: PathBuf,
    repository: PathBuf,
}

impl Places {
    /// Finds the cache directory (`$XDG_CACHE_HOME` or `~/.cache`) and this checkout.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let base = match std::env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
            Some(directory) => PathBuf::from(directory),
            None => std::env::home_dir()
                .context("neither XDG_CACHE_HOME nor HOME is set")?
                .join(".cache"),
        };
        let cache = base.join("stagecraft");
        fs::create_dir_all(&cache).with_context(|| format!("cannot create {}", cache.display()))?;
        Ok(Self {
            cache,
            repository: workspace_root(),
        })
    }

    /// The root of this checkout.
    pub(crate) fn repository(&self) -> &Path {
        &self.repository
    }

    /// The sources of the cluster in this checkout.
    pub(crate) fn sources(&self) -> PathBuf {
        self.repository.join("tests/cluster")
    }

    /// Programs that were built, and the links that start them.
    pub(crate) fn programs(&self) -> PathBuf {
        self.cache.join("programs")
    }

    /// Packages and images made beforehand.
    pub(crate) fn supplies(&self) -> PathBuf {
        self.cache.join("supplies")
    }

    /// What benchmarks run on.
    pub(crate) fn bench(&self) -> PathBuf {
        self.cache.join("bench")
    }

    /// The mirrored archive of a Debian package.
    pub(crate) fn debian_package(&self, name: &str) -> anyhow::Result<PathBuf> {
        let mut find = Command::new("find");
        find.arg(self.supplies().join("debian"));
        let found = capture(find.args(["-name", &format!("{name}_*.deb"), "-print"]))?;
        found
            .lines()
            .next()
            .map(PathBuf::from)
            .with_context(|| format!("the mirror has no package {name}"))
    }

    /// Output of the phases.
    pub(crate) fn logs(&self) -> PathBuf {
        self.cache.join("logs")
    }

    /// Build products of our own images, unless `CARGO_TARGET_DIR` says otherwise.
    pub(crate) fn target(&self) -> PathBuf {
        self.cache.join("target")
    }

    /// All state of the running cluster.
    pub(crate) fn cluster(&self) -> PathBuf {
        self.cache.join("cluster")
    }

    /// Configuration of the running cluster.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.cluster().join("etc")
    }

    /// Keys and certificates of the running cluster.
    pub(crate) fn pki(&self) -> PathBuf {
        self.cluster().join("pki")
    }

    /// Logs of the programs of the running cluster.
    pub(crate) fn daemon_logs(&self) -> PathBuf {
        self.cluster().join("log")
    }

    /// The administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.cluster().join("kubeconfig")
    }

    /// Keeps other `cluster up` and `down` waiting for as long as the returned file is open.
    pub(crate) fn lock(&self) -> anyhow::Result<File> {
        let path = self.cache.join("lock");
        let file =
            File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        if file.try_lock().is_err() {
            println!("waiting for another `cargo xtask cluster` to finish ...");
            file.lock()
                .with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Ok(file)
    }
}
