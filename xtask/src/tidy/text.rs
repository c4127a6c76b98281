//! What no file may say: paths of the machine it was written on, and the addresses of package registries.
//!
//! Both are taken from the machine that runs the check, so that none of them stands here. What needs such an
//! address derives it at run time.

use std::path::Path;
use std::process::Command;

use super::Finding;
use super::tree::Tree;

/// Files that package programs write.
const GENERATED: [&str; 2] = ["Cargo.lock", "go.sum"];

/// Names that belong to one machine.
#[derive(Default)]
pub(super) struct MachineNames {
    /// Folders: the checkout, Cargo's and the user's caches.
    folders: Vec<String>,
    /// Hosts of the configured package registries.
    hosts: Vec<String>,
}

impl MachineNames {
    /// Those of the machine that this runs on.
    pub(super) fn of_this_machine(root: &Path) -> Self {
        let mut folders = vec![root.display().to_string()];
        if let Some(home) = std::env::var_os("HOME") {
            let home = Path::new(&home);
            folders.extend(
                [".cargo", ".cache", ".config"].map(|name| home.join(name).display().to_string()),
            );
        }
        let mut addresses = String::new();
        if let Ok(output) = Command::new("go")
            .args(["env", "GOPROXY", "GOSUMDB"])
            .output()
        {
            addresses.push_str(&String::from_utf8_lossy(&output.stdout));
        }
        for source in apt_sources() {
            addresses.push_str(&source);
        }
        Self {
            folders,
            hosts: hosts(&addresses),
        }
    }
}

/// The text of apt's lists of sources.
fn apt_sources() -> Vec<String> {
    let mut files = vec![Path::new("/etc/apt/sources.list").to_path_buf()];
    if let Ok(entries) = std::fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .collect()
}

/// The hosts of the http addresses in a text.
fn hosts(text: &str) -> Vec<String> {
    let mut hosts: Vec<String> = text
        .split("://")
        .skip(1)
        .filter_map(|rest| {
            let authority = rest
                .split(|c: char| c == '/' || c == ',' || c == '|' || c.is_whitespace())
                .next()?;
            let host = authority.rsplit('@').next()?.split(':').next()?;
            host.contains('.').then(|| host.to_owned())
        })
        .collect();
    hosts.sort();
    hosts.dedup();
    hosts
}

/// Checks every text file.
pub(super) fn check(tree: &Tree, names: &MachineNames) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        if GENERATED.contains(&name) {
            continue;
        }
        for (number, line) in file.text.lines().enumerate() {
            if let Some(folder) = names.folders.iter().find(|folder| line.contains(*folder)) {
                let message = format!("`{folder}` is a path of this machine");
                findings.push(Finding::new(&file.path, number + 1, message));
            }
            if let Some(host) = names.hosts.iter().find(|host| line.contains(*host)) {
                let message = format!(
                    "`{host}` is a package registry: derive it from the machine's configuration at run time"
                );
                findings.push(Finding::new(&file.path, number + 1, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_taken_from_addresses_without_credentials_and_ports() {
        let text = "https://u:p@proxy.example.org:8080/x,direct\nURIs: http://deb.example.net/debian\nhttp://localhost/";
        assert_eq!(hosts(text), ["deb.example.net", "proxy.example.org"]);
    }

    #[test]
    fn machine_paths_and_registry_hosts_are_found_but_not_in_lock_files() {
        let names = MachineNames {
            folders: vec!["/home/someone/checkout".to_owned()],
            hosts: vec!["deb.example.net".to_owned()],
        };
        let cases = [
            ("README.md", "run it in /home/someone/checkout/x", 1),
            ("README.md", "WORKDIR /root/", 0),
            ("a.rs", "//! A.\nlet x = \"http://deb.example.net\";", 1),
            ("Cargo.lock", "http://deb.example.net", 0),
        ];
        for (path, text, expected) in cases {
            let findings = check(&Tree::of(&[(path, text)]), &names);
            assert_eq!(findings.len(), expected, "{path}: {findings:?}");
        }
    }
}
