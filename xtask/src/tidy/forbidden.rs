//! What a crate, or a file of it, must not touch.
//!
//! Invariant: a rule names a place, the paths that are forbidden there, the files that are excepted, and the reason.

use super::Finding;
use super::rust;
use super::tree::Tree;

/// Paths that are forbidden in a place.
struct Rule {
    /// Folders that it holds for.
    folders: &'static [&'static str],
    /// Forbidden paths; what starts with one is forbidden, too.
    paths: &'static [&'static str],
    /// Files and folders (with `/`) below the folders that may.
    except: &'static [&'static str],
    /// Whether test code may.
    tests_may: bool,
    /// Why.
    reason: &'static str,
}

/// Crates that compute only.
const PURE: &[&str] = &[
    "builder-pod/protocol/src/",
    "builder-pod/dockerfile/src/",
    "builder-pod/image/src/",
    "builder-pod/plan/src/",
    "builder-pod/layer/src/",
];

/// Every crate that people install.
const PRODUCT: &[&str] = &["operator/", "builder-pod/"];

const RULES: &[Rule] = &[
    Rule {
        folders: PURE,
        paths: &[
            "std::fs",
            "std::net",
            "std::os::unix::net",
            "std::os::unix::fs",
            "std::process",
            "std::env::var",
            "std::env::var_os",
            "std::env::vars",
            "std::env::args",
            "std::env::current_dir",
            "std::env::current_exe",
            "std::env::temp_dir",
            "std::env::home_dir",
            "std::time::SystemTime",
            "std::time::Instant",
            "SystemTime::now",
            "Instant::now",
            "std::io::stdin",
            "std::io::stdout",
            "std::io::stderr",
            "std::thread::sleep",
            "print!",
            "println!",
            "eprint!",
            "eprintln!",
            "tokio",
            "rustix",
            "libc",
            "reqwest",
            "jiff::Timestamp::now",
            "Timestamp::now",
            "jiff::Zoned::now",
            "Zoned::now",
        ],
        except: &[],
        tests_may: true,
        reason: "dockerfile, image, plan, layer and protocol compute only: no files, network, processes, environment, clock or output",
    },
    Rule {
        folders: &["builder-pod/"],
        paths: &[
            "kube",
            "k8s_openapi",
            "stagecraft_api",
            "stagecraft_operator",
        ],
        except: &[],
        tests_may: false,
        reason: "builder-pod knows nothing of Kubernetes",
    },
    Rule {
        folders: &["operator/"],
        paths: &[
            "stagecraft_dockerfile",
            "stagecraft_plan",
            "stagecraft_image",
            "stagecraft_layer",
            "stagecraft_registry",
            "stagecraft_sandbox",
            "stagecraft_builder",
        ],
        except: &[],
        tests_may: false,
        reason: "the operator reads no Dockerfile and no image: it knows the object and the protocol",
    },
    Rule {
        folders: &["operator/src/"],
        paths: &[
            "kube::Client",
            "kube::Api",
            "kube::api::Api",
            "kube::client",
            "Client::try_default",
            "Api::namespaced",
            "Api::all",
        ],
        except: &[
            "reconcile/observe.rs",
            "reconcile/observe/",
            "reconcile/apply.rs",
            "reconcile/apply/",
            "status/write.rs",
            "leader.rs",
            "leader/",
            "events.rs",
            "wiring.rs",
            "wiring/",
        ],
        tests_may: true,
        reason: "only observe, apply, status writing, leader, events and wiring hold a Kubernetes client",
    },
    Rule {
        folders: PRODUCT,
        paths: &[
            "std::env::var",
            "std::env::var_os",
            "std::env::vars",
            "std::env::vars_os",
            "env::var",
            "env::var_os",
            "env::vars",
        ],
        except: &["cli.rs", "cli/", "config.rs", "config/"],
        tests_may: true,
        reason: "environment variables are read by cli and config only",
    },
    Rule {
        folders: &["builder-pod/sandbox/src/"],
        paths: &[
            "stagecraft_dockerfile",
            "stagecraft_image",
            "stagecraft_plan",
            "stagecraft_layer",
            "stagecraft_registry",
        ],
        except: &[],
        tests_may: false,
        reason: "the sandbox knows neither images nor stages nor caches",
    },
    Rule {
        folders: PRODUCT,
        paths: &["anyhow"],
        except: &["main.rs", "cli.rs", "cli/", "wiring.rs"],
        tests_may: true,
        reason: "errors are enums per module; anyhow is for mains",
    },
];

/// Checks the table, and that unsafe code stays in the sandbox.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, code) in tree.rust_files() {
        let rules: Vec<&Rule> = RULES
            .iter()
            .filter(|rule| rule.holds_for(&file.path))
            .collect();
        let code_lines = if file.is_test() {
            0
        } else {
            rust::code_lines(code)
        };
        for (line, path) in rust::paths(code) {
            for rule in &rules {
                if line > code_lines && rule.tests_may {
                    continue;
                }
                if rule
                    .paths
                    .iter()
                    .any(|forbidden| is_below(&path, forbidden))
                {
                    let message = format!("`{path}` is forbidden here: {}", rule.reason);
                    findings.push(Finding::new(&file.path, line, message));
                }
            }
        }
        if !file.path.starts_with("builder-pod/sandbox/") {
            for (number, line) in code.lines().enumerate() {
                if line.contains("allow(unsafe_code)") {
                    let message = "unsafe code belongs to the sandbox crate";
                    findings.push(Finding::new(&file.path, number + 1, message));
                }
            }
        }
    }
    findings
}

impl Rule {
    fn holds_for(&self, path: &str) -> bool {
        let inside = self.folders.iter().any(|folder| path.starts_with(folder));
        inside
            && !self
                .except
                .iter()
                .any(|exception| matches_exception(path, exception))
    }
}

/// Whether the path ends with the excepted file, or has the excepted folder in it.
fn matches_exception(path: &str, exception: &str) -> bool {
    if exception.ends_with('/') {
        path.contains(&format!("/{exception}"))
    } else {
        path.ends_with(&format!("/{exception}"))
    }
}

fn is_below(path: &str, forbidden: &str) -> bool {
    path.strip_prefix(forbidden)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_finds_what_it_forbids_and_lets_the_rest_be() {
        let cases = [
            ("builder-pod/plan/src/a.rs", "use std::{fmt, fs};", 1),
            (
                "builder-pod/plan/src/a.rs",
                "let x = std::env::var(\"A\");",
                2,
            ),
            (
                "builder-pod/plan/src/a.rs",
                "// std::fs\nlet x = \"std::fs\";",
                0,
            ),
            ("builder-pod/layer/src/a.rs", "println!(\"a\");", 1),
            ("builder-pod/layer/src/tests.rs", "println!(\"a\");", 0),
            (
                "builder-pod/layer/src/a.rs",
                "#[cfg(test)]\nmod tests {\nuse std::fs;\n}",
                0,
            ),
            ("builder-pod/src/a.rs", "use std::fs;", 0),
            ("builder-pod/src/a.rs", "use kube::Client;", 1),
            ("builder-pod/src/a.rs", "let kubelet = 1;", 0),
            (
                "operator/src/reconcile/decide.rs",
                "use kube::{Client, ResourceExt};",
                1,
            ),
            (
                "operator/src/reconcile/observe.rs",
                "use kube::{Client, ResourceExt};",
                0,
            ),
            (
                "operator/src/reconcile/decide.rs",
                "use stagecraft_dockerfile::parse;",
                1,
            ),
            ("operator/src/config.rs", "std::env::var(\"A\")", 0),
            ("operator/src/health.rs", "std::env::var(\"A\")", 1),
            ("builder-pod/src/engine/mod.rs", "use anyhow::Context;", 1),
            (
                "builder-pod/src/main.rs",
                "fn main() -> anyhow::Result<()> {}",
                0,
            ),
            ("builder-pod/src/a.rs", "#[allow(unsafe_code)]", 1),
            ("builder-pod/sandbox/src/a.rs", "#[allow(unsafe_code)]", 0),
        ];
        for (path, text, expected) in cases {
            let findings = check(&Tree::of(&[(path, text)]));
            assert_eq!(findings.len(), expected, "{path}: {text}: {findings:?}");
        }
    }
}
