//! The images of operator and builder: one static binary each, from scratch, made without Docker.
//!
//! Invariant: the same sources and toolchain give the same digests; a deployment names images by digest.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Phases, REGISTRY_FROM_HOST, run_logged};
use crate::command::{capture, cargo};
use crate::oci::{LEVEL, Store};

/// Nothing in an image may depend on when it was made.
const CREATED: &str = "1970-01-01T00:00:00Z";
/// Where the engine finds the authorities it trusts.
const AUTHORITIES: &str = "stagecraft/ca-certificates.crt";

/// Digests of the manifests of our two images.
pub(crate) struct Images {
    /// Of the operator's image.
    pub(crate) operator: String,
    /// Of the image of engine and runners.
    pub(crate) builder: String,
}

/// One of our images.
struct Image {
    /// Name of the package and its binary.
    package: &'static str,
    /// Repository in the registry.
    repository: &'static str,
    /// Where the binary lies in the image.
    binary: &'static str,
    authorities: bool,
}

const OPERATOR: Image = Image {
    package: "stagecraft-operator",
    repository: "stagecraft/operator",
    binary: "stagecraft-operator",
    authorities: false,
};

/// Everything of it lies in one directory: a runner removes that, and has an empty root for its stage.
const BUILDER: Image = Image {
    package: "stagecraft-builder",
    repository: "stagecraft/builder",
    binary: "stagecraft/stagecraft-builder",
    authorities: true,
};

/// Builds both images and pushes them to the plain registry of `cluster` with the tag `dev`.
pub(crate) fn push(cluster: &Cluster, phases: &Phases) -> anyhow::Result<Images> {
    let binaries = phases.run("building operator and builder", |_| build(cluster))?;
    // The tests compare builds in the cluster with builds on this machine, by the same program.
    let program = cluster.places().programs().join(BUILDER.package);
    let beside = program.with_extension("new");
    fs::copy(binaries.join(BUILDER.package), &beside)
        .and_then(|_| fs::rename(&beside, &program))
        .with_context(|| format!("cannot put {} in place", program.display()))?;
    phases.run("pushing our images", |log| {
        let work = tempfile::tempdir().context("cannot create a working directory")?;
        let maker = Maker {
            cluster,
            binaries: &binaries,
            store: Store::open(work.path())?,
            work: work.path(),
            log,
        };
        Ok(Images {
            operator: maker.make(&OPERATOR, &json!({"User": "65532:65532"}))?,
            builder: maker.make(&BUILDER, &json!({}))?,
        })
    })
}

/// Builds both binaries; returns their directory.
fn build(cluster: &Cluster) -> anyhow::Result<PathBuf> {
    let directory = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| cluster.places().target(), PathBuf::from);
    build_linked_statically(&directory, &[OPERATOR.package, BUILDER.package])
}

/// Builds packages as they are released, below `target_directory`; returns the directory of their binaries.
pub(crate) fn build_linked_statically(
    target_directory: &Path,
    packages: &[&str],
) -> anyhow::Result<PathBuf> {
    let version = capture(Command::new("rustc").arg("-vV"))?;
    // Naming the target keeps the linker flags away from build scripts and procedural macros.
    let target = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc does not name its host")?;
    let mut command = cargo();
    command.args([
        "build",
        "--release",
        "--locked",
        "--quiet",
        "--target",
        target,
    ]);
    for package in packages {
        command.args(["--package", package, "--bin", package]);
    }
    command.env("RUSTFLAGS", "-C target-feature=+crt-static");
    command.env("CARGO_TARGET_DIR", target_directory);
    crate::command::run(&mut command)?;
    Ok(target_directory.join(target).join("release"))
}

struct Maker<'a> {
    cluster: &'a Cluster,
    binaries: &'a Path,
    store: Store,
    work: &'a Path,
    log: &'a Path,
}

impl Maker<'_> {
    fn make(&self, image: &Image, settings: &Value) -> anyhow::Result<String> {
        let archive = self.work.join(format!("{}.tar", image.package));
        let file = File::create(&archive).context("cannot create an archive")?;
        let mut layer = tar::Builder::new(file);
        if let Some((directory, _)) = image.binary.rsplit_once('/') {
            append(&mut layer, &format!("{directory}/"), 0o755, &[])?;
        }
        if image.authorities {
            append(&mut layer, AUTHORITIES, 0o444, &self.authorities()?)?;
        }
        let binary = self.binaries.join(image.package);
        let binary =
            fs::read(&binary).with_context(|| format!("cannot read {}", binary.display()))?;
        append(&mut layer, image.binary, 0o555, &binary)?;
        layer.into_inner().context("cannot finish an archive")?;
        let archive = File::open(&archive).context("cannot open an archive")?;
        let layer =
            self.store
                .add_layer(archive, LEVEL, &format!("COPY {0} /{0}", image.binary))?;
        let mut config = settings.clone();
        config["Entrypoint"] = json!([format!("/{}", image.binary)]);
        if image.authorities {
            config["Env"] = json!([format!("SSL_CERT_FILE=/{AUTHORITIES}")]);
        }
        let layout = self.work.join(format!("{}.layout", image.package));
        let digest = self
            .store
            .write_image(&layout, &[layer], &config, CREATED)?;
        let reference = format!("{REGISTRY_FROM_HOST}/{}:dev", image.repository);
        let mut crane = self.cluster.program("crane");
        crane
            .args(["push", "--insecure"])
            .arg(&layout)
            .arg(reference);
        run_logged(&mut crane, self.log)?;
        Ok(digest)
    }

    /// The authorities that Debian's ca-certificates trusts, rather than those that this machine happens to.
    fn authorities(&self) -> anyhow::Result<Vec<u8>> {
        let package = self.cluster.places().debian_package("ca-certificates")?;
        let root = self.work.join("ca-certificates");
        let mut dpkg = Command::new("dpkg-deb");
        run_logged(dpkg.arg("--extract").arg(package).arg(&root), self.log)?;
        let directory = root.join("usr/share/ca-certificates/mozilla");
        let mut files: Vec<PathBuf> = fs::read_dir(&directory)
            .with_context(|| format!("cannot list {}", directory.display()))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .context("cannot list certificates")?;
        files.sort();
        ensure!(!files.is_empty(), "ca-certificates has no certificates");
        let mut bundle = Vec::new();
        for file in files {
            bundle.extend(
                fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?,
            );
        }
        Ok(bundle)
    }
}

/// Appends an entry that is the same on every machine; a name that ends with a slash is a directory.
fn append(
    archive: &mut tar::Builder<File>,
    name: &str,
    mode: u32,
    content: &[u8],
) -> anyhow::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(if name.ends_with('/') {
        tar::EntryType::Directory
    } else {
        tar::EntryType::Regular
    });
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(content.len() as u64);
    archive
        .append_data(&mut header, name, content)
        .with_context(|| format!("cannot archive {name}"))
}
