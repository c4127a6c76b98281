//! Peak memory of the engine by size of the image.
//!
//! Every image is built twice: once copied whole into an empty one (every layer is fetched, inflated, written,
//! compressed and pushed), and once as the base of a `RUN` (every layer is unpacked into a root).
//! Invariant: memory is that of the engine's process; runner and registry are others.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::image::{self, Shape};
use super::registry::Registry;
use crate::command::workspace_root;
use crate::images::build_linked_statically;

/// Files of an image whose size is what varies.
const FILES: u64 = 4_000;
/// Bytes of a file of the image whose number of files is what varies.
const SMALL_FILE: u64 = 5_000;

/// What one build took.
struct Measured {
    wall: Duration,
    cpu: Duration,
    /// Largest resident set, in KiB.
    peak: u64,
    /// Largest part of it that was seen not to be a file's, in KiB.
    anonymous: u64,
}

/// Builds images of these sizes (in MB), and one of many files, and prints a table.
pub(super) fn run(sizes: &[u64], many_files: u64, builder: Option<&Path>) -> anyhow::Result<()> {
    let builder = match builder {
        Some(builder) => builder.to_owned(),
        None => release_builder()?,
    };
    let busybox = busybox()?;
    println!("| image | files | build | wall | processor | peak | of it not files |");
    println!("|---:|---:|---|---:|---:|---:|---:|");
    let by_size = sizes.iter().map(|mb| Shape {
        bytes: mb * 1_000_000,
        files: FILES,
    });
    let many = Shape {
        bytes: many_files * SMALL_FILE,
        files: many_files,
    };
    for shape in by_size.chain([many]) {
        // Gigabytes: not on the memory file system that the default directory may be.
        let directory = tempfile::tempdir_in("/var/tmp").context("cannot make a directory")?;
        let layout = directory.path().join("layout");
        image::write(&layout, shape, &busybox)?;
        let registry = Registry::serve(&layout)?;
        for (name, dockerfile) in [
            ("COPY", "FROM scratch\nCOPY --from=IMAGE / /\n"),
            ("RUN", "FROM IMAGE\nRUN [\"busybox\", \"true\"]\n"),
        ] {
            let image = format!("{}/base/image:latest", registry.address);
            let context = directory.path().join(name);
            std::fs::create_dir(&context).context("cannot make a context")?;
            std::fs::write(
                context.join("Dockerfile"),
                dockerfile.replace("IMAGE", &image),
            )
            .context("cannot write a Dockerfile")?;
            let measured = build(&builder, &registry, &context)?;
            println!(
                "| {} MB | {} | {name} | {:.1} s | {:.1} s | {:.1} MB | {:.1} MB |",
                shape.bytes / 1_000_000,
                shape.files,
                measured.wall.as_secs_f64(),
                measured.cpu.as_secs_f64(),
                megabytes(measured.peak),
                megabytes(measured.anonymous),
            );
        }
    }
    Ok(())
}

/// From KiB to MB, as a table shows it.
fn megabytes(kibibytes: u64) -> f64 {
    #[allow(
        clippy::cast_precision_loss,
        reason = "a table shows a tenth of a megabyte"
    )]
    let bytes = (kibibytes * 1024) as f64;
    bytes / 1e6
}

/// A program that needs no other file.
pub(super) fn busybox() -> anyhow::Result<PathBuf> {
    let places = ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from);
    let found = places.into_iter().find(|path| path.exists());
    found.context("Debian's package busybox-static is needed")
}

pub(super) fn release_builder() -> anyhow::Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace_root().join("target"), PathBuf::from);
    let binaries = build_linked_statically(&target, &["stagecraft-builder"])?;
    Ok(binaries.join("stagecraft-builder"))
}

/// Builds the context, pushes to the registry, and watches the process meanwhile.
fn build(builder: &Path, registry: &Registry, context: &Path) -> anyhow::Result<Measured> {
    let started = Instant::now();
    let mut child = Command::new(builder)
        .args(["build", "--push", "--progress", "quiet"])
        .args(["--insecure-registry", &registry.address])
        .args(["--tag", &format!("{}/result:latest", registry.address)])
        .arg(context)
        .env("TMPDIR", "/var/tmp")
        .env_remove("SOURCE_DATE_EPOCH")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {}", builder.display()))?;
    let mut measured = Measured {
        wall: Duration::ZERO,
        cpu: Duration::ZERO,
        peak: 0,
        anonymous: 0,
    };
    let status = loop {
        measured.look_at(&child);
        if let Some(status) = child.try_wait().context("cannot wait for the builder")? {
            break status;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    measured.wall = started.elapsed();
    ensure!(status.success(), "the build ended with {status}");
    Ok(measured)
}

impl Measured {
    /// Takes the values of a process; one that has ended has none, and the last ones count.
    fn look_at(&mut self, child: &Child) {
        let directory = PathBuf::from(format!("/proc/{}", child.id()));
        let status = std::fs::read_to_string(directory.join("status")).unwrap_or_default();
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.trim_end_matches("kB").trim().parse().ok())
        };
        self.peak = self.peak.max(value("VmHWM:").unwrap_or(0));
        self.anonymous = self.anonymous.max(value("RssAnon:").unwrap_or(0));
        let stat = std::fs::read_to_string(directory.join("stat")).unwrap_or_default();
        // The fields behind the name, which may hold spaces: state is the first, utime and stime the 12th and 13th.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
        // A tick is a hundredth of a second on every Linux that is in use.
        self.cpu = self.cpu.max(Duration::from_millis(ticks * 10));
    }
}
