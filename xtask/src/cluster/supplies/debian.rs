//! An exact subset of the Debian mirror that this machine uses: its signed indexes, and the packages that are needed.
//!
//! Served under the mirror's own paths, it passes apt's checks of signatures and digests unchanged.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use sha2::{Digest, Sha256};

use super::super::phases::{Phases, run_logged};
use super::super::places::Places;
use super::super::stamp::{self, Stamp, hexadecimal};
use super::create_empty;
use crate::command::capture;

/// The release that the base images are made of.
pub(super) const RELEASE: &str = "bookworm";
/// Changes when this file makes something else of the same inputs.
const RECIPE: &str = "3";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Mirrors are made again when their signature ends sooner than this.
const SPARE_SECONDS: u64 = 86_400;

/// Where this machine gets Debian from.
pub(super) struct Mirror {
    /// Of the release and its updates, without a slash at its end.
    main: String,
    /// Of the security updates.
    security: String,
}

impl Mirror {
    /// Reads the machine's apt configuration.
    pub(super) fn of_this_machine() -> anyhow::Result<Self> {
        let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
        if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
            files.extend(entries.flatten().map(|entry| entry.path()));
        }
        files.sort();
        let text: String = files
            .iter()
            .filter_map(|file| fs::read_to_string(file).ok())
            .fold(String::new(), |text, file| text + "\n" + &file);
        Self::parse(&text)
    }

    fn parse(sources: &str) -> anyhow::Result<Self> {
        let addresses = || {
            sources
                .lines()
                .map(str::trim)
                .filter(|line| !line.starts_with('#'))
                .flat_map(str::split_whitespace)
                .filter(|word| word.starts_with("http://") || word.starts_with("https://"))
                .map(|word| word.trim_end_matches('/'))
        };
        let find = |suffix: &str| addresses().find(|address| address.ends_with(suffix));
        let (Some(main), Some(security)) = (find("/debian"), find("/debian-security")) else {
            bail!(
                "the base images of the test cluster are made from Debian's packages, and no mirror of them \
                 (…/debian and …/debian-security) is configured in /etc/apt"
            );
        };
        Ok(Self {
            main: main.to_owned(),
            security: security.to_owned(),
        })
    }

    fn suites(&self) -> [(&str, String); 3] {
        [
            (&self.main, RELEASE.to_owned()),
            (&self.main, format!("{RELEASE}-updates")),
            (&self.security, format!("{RELEASE}-security")),
        ]
    }

    /// An apt source file for the mirror. Images have it with plain http, as Debian's own images do.
    pub(super) fn sources(&self, plain: bool) -> String {
        let scheme = |address: &str| {
            if plain {
                address.replacen("https://", "http://", 1)
            } else {
                address.to_owned()
            }
        };
        format!(
            "Types: deb\nURIs: {}\nSuites: {RELEASE} {RELEASE}-updates\nComponents: main\nSigned-By: {KEYRING}\n\n\
             Types: deb\nURIs: {}\nSuites: {RELEASE}-security\nComponents: main\nSigned-By: {KEYRING}\n",
            scheme(&self.main),
            scheme(&self.security)
        )
    }
}

/// Where the mirror's files lie, in directories named like the paths of its addresses.
pub(super) fn directory(places: &Places) -> PathBuf {
    places.supplies().join("debian")
}

/// Mirrors what is needed, unless that is there and its signatures are good for a while; returns its stamp.
pub(super) fn prepare(places: &Places, phases: &Phases, mirror: &Mirror) -> anyhow::Result<String> {
    let list = places.sources().join("supplies/debian-packages");
    let inputs = Stamp::default()
        .text(RECIPE)
        .text(&mirror.sources(false))
        .tree(&list)?
        .finish();
    let stamp_file = super::stamps(places).join("debian");
    // The stamp of what was downloaded covers the indexes: images made from older ones are made again.
    let current = |places: &Places| -> anyhow::Result<String> {
        Ok(Stamp::default()
            .text(&inputs)
            .tree(&directory(places).join(".signed"))?
            .finish())
    };
    if let Ok(stamp) = current(places)
        && stamp::is_current(&stamp_file, &stamp)
        && signatures_last(places)?
    {
        return Ok(stamp);
    }
    let packages = package_names(&list)?;
    phases.run("mirroring Debian packages", |log| {
        download(places, mirror, &packages, log)
    })?;
    let stamp = current(places)?;
    stamp::set(&stamp_file, &stamp)?;
    Ok(stamp)
}

fn package_names(list: &Path) -> anyhow::Result<Vec<String>> {
    let text =
        fs::read_to_string(list).with_context(|| format!("cannot read {}", list.display()))?;
    Ok(text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect())
}

/// Whether no index stops being valid soon.
fn signatures_last(places: &Places) -> anyhow::Result<bool> {
    let soon = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .context("the clock stands before 1970")?
        .as_secs()
        + SPARE_SECONDS;
    let signed = directory(places).join(".signed");
    for entry in fs::read_dir(&signed)
        .context("cannot list the signed indexes")?
        .flatten()
    {
        let text = fs::read_to_string(entry.path()).context("cannot read a signed index")?;
        if let Some(until) = field(&text, "Valid-Until")
            && seconds(until)? < soon
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The time the mirror's release was made, in seconds since 1970: the date of all base images.
pub(super) fn release_time(places: &Places) -> anyhow::Result<u64> {
    let file = directory(places).join(".signed").join(RELEASE);
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    seconds(field(&text, "Date").context("the release has no date")?)
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn seconds(date: &str) -> anyhow::Result<u64> {
    capture(Command::new("date").args(["--date", date, "+%s"]))?
        .trim()
        .parse()
        .with_context(|| format!("cannot understand the date {date:?}"))
}

fn download(
    places: &Places,
    mirror: &Mirror,
    packages: &[String],
    log: &Path,
) -> anyhow::Result<()> {
    // One copy of the indexes is served on as it is; the other is plain text, which apt searches far faster.
    let served = Apt::create(&places.supplies().join("debian.indexes"), mirror, true)?;
    let apt = Apt::create(&places.supplies().join("debian.apt"), mirror, false)?;
    for apt in [&served, &apt] {
        run_logged(apt.command().args(["update", "--quiet"]), log)?;
    }
    let target = directory(places);
    create_empty(&target)?;
    fs::create_dir(target.join(".signed")).context("cannot create a directory")?;
    let mut wanted: Vec<&str> = vec!["?essential", "?priority(required)", "apt"];
    wanted.extend(packages.iter().map(String::as_str));
    let printed = capture(
        apt.command()
            .args(["install", "--yes", "--print-uris", "--quiet=2"])
            .args(&wanted),
    )?;
    run_logged(
        apt.command()
            .args(["install", "--yes", "--download-only", "--quiet"])
            .args(&wanted),
        log,
    )?;
    let mut kept = BTreeSet::new();
    for line in printed.lines() {
        let Some((address, rest)) = line
            .strip_prefix('\'')
            .and_then(|line| line.split_once("' "))
        else {
            continue;
        };
        let name = rest.split(' ').next().unwrap_or_default();
        let file = place(&target, address)?;
        move_file(&apt.root.join("cache/archives").join(name), &file)?;
        kept.insert(file);
    }
    ensure!(!kept.is_empty(), "apt named no package to download");
    for (address, suite) in mirror.suites() {
        served.keep_indexes(&target, address, &suite)?;
    }
    for apt in [served, apt] {
        fs::remove_dir_all(&apt.root).context("cannot remove apt's working directory")?;
    }
    Ok(())
}

/// Where the file of `address` lies below `target`.
fn place(target: &Path, address: &str) -> anyhow::Result<PathBuf> {
    let path = address
        .split_once("://")
        .and_then(|(_, rest)| rest.split_once('/'))
        .map(|(_, path)| path)
        .with_context(|| format!("apt named the address {address:?}"))?;
    Ok(target.join(decode(path)))
}

/// Undoes the percent encoding of an address's path: the server is asked for the decoded one.
fn decode(path: &str) -> String {
    let mut parts = path.split('%');
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = part
            .get(..2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) if byte.is_ascii() => {
                decoded.push(byte.into());
                decoded.push_str(&part[2..]);
            }
            _ => {
                decoded.push('%');
                decoded.push_str(part);
            }
        }
    }
    decoded
}

fn move_file(from: &Path, to: &Path) -> anyhow::Result<()> {
    to.parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::rename(from, to))
        .with_context(|| format!("cannot move {} to {}", from.display(), to.display()))
}

/// apt with a root of its own: what this machine has installed plays no part.
struct Apt {
    root: PathBuf,
    /// Whether indexes are kept in the form in which the mirror serves them.
    as_served: bool,
}

impl Apt {
    fn create(root: &Path, mirror: &Mirror, as_served: bool) -> anyhow::Result<Self> {
        create_empty(root)?;
        for directory in [
            "state/lists/partial",
            "cache/archives/partial",
            "etc/preferences.d",
        ] {
            let directory = root.join(directory);
            fs::create_dir_all(&directory)
                .with_context(|| format!("cannot create {}", directory.display()))?;
        }
        fs::write(root.join("state/status"), "")
            .and_then(|()| fs::write(root.join("etc/debian.sources"), mirror.sources(false)))
            .with_context(|| format!("cannot write to {}", root.display()))?;
        Ok(Self {
            root: root.to_owned(),
            as_served,
        })
    }

    fn command(&self) -> Command {
        let mut command = Command::new("apt-get");
        let mut option = |name: &str, value: &str| {
            command.args(["-o", &format!("{name}={value}")]);
        };
        let root = |path: &str| self.root.join(path).display().to_string();
        option("Dir::State", &root("state"));
        option("Dir::State::status", &root("state/status"));
        option("Dir::Cache", &root("cache"));
        option("Dir::Etc::sourcelist", &root("etc/debian.sources"));
        option("Dir::Etc::sourceparts", "-");
        option("Dir::Etc::preferences", "-");
        option("Dir::Etc::preferencesparts", &root("etc/preferences.d"));
        option("APT::Install-Recommends", "false");
        option("APT::Sandbox::User", "root");
        option("APT::Update::Post-Invoke::", "true");
        option("Acquire::Languages", "none");
        option(
            "Acquire::GzipIndexes",
            if self.as_served { "true" } else { "false" },
        );
        option("Acquire::CompressionTypes::Order::", "xz");
        option(
            "Acquire::IndexTargets::deb::Packages::KeepCompressedAs",
            "xz",
        );
        for icons in [
            "",
            "-icons",
            "-icons-small",
            "-icons-hidpi",
            "-icons-large",
            "-icons-large-hidpi",
        ] {
            option(
                &format!("Acquire::IndexTargets::deb::DEP-11{icons}::DefaultEnabled"),
                "false",
            );
        }
        command
    }

    /// Moves the signed index of a suite and the package index that it names to their paths below `target`.
    fn keep_indexes(&self, target: &Path, address: &str, suite: &str) -> anyhow::Result<()> {
        let base = format!("{address}/dists/{suite}");
        let signed = self.list_file(&format!("{base}/InRelease"));
        let text = fs::read_to_string(&signed)
            .with_context(|| format!("apt has left no {}", signed.display()))?;
        fs::write(target.join(".signed").join(suite), &text).context("cannot keep an index")?;
        move_file(&signed, &place(target, &format!("{base}/InRelease"))?)?;
        let architecture = capture(Command::new("dpkg").arg("--print-architecture"))?;
        let path = format!("main/binary-{}/Packages.xz", architecture.trim());
        let index = self.list_file(&format!("{base}/{path}"));
        let content =
            fs::read(&index).with_context(|| format!("apt has left no {}", index.display()))?;
        let digest = hexadecimal(&Sha256::digest(&content));
        ensure!(
            text.contains(&digest),
            "{} is not what the signed index of {suite} names",
            index.display()
        );
        let by_digest = format!(
            "{base}/main/binary-{}/by-hash/SHA256/{digest}",
            architecture.trim()
        );
        let by_digest = place(target, &by_digest)?;
        move_file(&index, &by_digest)?;
        fs::hard_link(&by_digest, place(target, &format!("{base}/{path}"))?)
            .context("cannot link an index")
    }

    /// The file that apt keeps what it read from `address` in.
    fn list_file(&self, address: &str) -> PathBuf {
        let name = address.split_once("://").map_or(address, |(_, rest)| rest);
        self.root
            .join("state/lists")
            .join(name.replace('_', "%5f").replace('/', "_"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_found_in_both_forms_of_source_files() {
        let one = "deb [arch=amd64] http://mirror.example/debian/ bookworm main\n\
                   # deb http://old.example/debian bookworm main\n\
                   deb http://mirror.example/debian-security bookworm-security main\n";
        let other = "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\n\n\
                     Types: deb\nURIs: http://mirror.example/debian-security\n";
        for text in [one, other] {
            let mirror = Mirror::parse(text).unwrap();
            assert_eq!(mirror.main, "http://mirror.example/debian");
            assert_eq!(mirror.security, "http://mirror.example/debian-security");
        }
    }

    #[test]
    fn a_package_lies_under_its_decoded_name() {
        assert_eq!(
            decode("pool/g%2b%2b_4%7e1_amd64.deb"),
            "pool/g++_4~1_amd64.deb"
        );
        assert_eq!(decode("100%"), "100%");
    }

    #[test]
    fn a_machine_of_another_distribution_is_told_what_is_missing() {
        let error = Mirror::parse("deb http://archive.example/ubuntu noble main")
            .err()
            .unwrap();
        assert!(error.to_string().contains("/etc/apt"));
    }
}
