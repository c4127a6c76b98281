//! Licences, banned crates and duplicate versions of everything that the product is built from.
//!
//! The policy stands in deny.toml, in the words of cargo-deny, so that people who have that program can run it too.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

use super::Finding;
use super::metadata::Metadata;

/// The part of deny.toml that is checked here.
#[derive(Deserialize)]
pub(super) struct Policy {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

impl Policy {
    /// Reads deny.toml.
    pub(super) fn read(root: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(root.join("deny.toml")).context("cannot read deny.toml")?;
        toml::from_str(&text).context("cannot read deny.toml")
    }
}

/// Checks licences and bans.
pub(super) fn check(metadata: &Metadata, policy: &Policy) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &metadata.shipped {
        let label = format!("{} {}", package.name, package.version);
        if !is_allowed(&package.licence, &policy.licenses.allow) {
            let message = format!(
                "{label} has the licence `{}`, which deny.toml does not allow",
                package.licence
            );
            findings.push(Finding::new("Cargo.lock", 0, message));
        }
        if let Some(ban) = policy.bans.deny.iter().find(|ban| ban.name == package.name) {
            let message = format!("{label} is banned: {}", ban.reason);
            findings.push(Finding::new("Cargo.lock", 0, message));
        }
    }
    findings
}

/// The crates that the product has in several versions.
pub(super) fn duplicates(metadata: &Metadata) -> Vec<String> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in &metadata.shipped {
        versions
            .entry(&package.name)
            .or_default()
            .push(&package.version);
    }
    let several = versions
        .into_iter()
        .filter(|(_, versions)| versions.len() > 1);
    several
        .map(|(name, versions)| format!("{name} {}", versions.join(" and ")))
        .collect()
}

/// Whether an SPDX expression can be met with the allowed licences alone.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    // `MIT/Apache-2.0` is how cargo wrote OR before SPDX expressions.
    let text = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut words = words.as_slice();
    let result = any_of(&mut words, allowed);
    result && words.is_empty()
}

fn any_of(words: &mut &[&str], allowed: &[String]) -> bool {
    let mut result = all_of(words, allowed);
    while let ["OR", rest @ ..] = words {
        *words = rest;
        result |= all_of(words, allowed);
    }
    result
}

fn all_of(words: &mut &[&str], allowed: &[String]) -> bool {
    let mut result = one_of(words, allowed);
    while let ["AND", rest @ ..] = words {
        *words = rest;
        result &= one_of(words, allowed);
    }
    result
}

fn one_of(words: &mut &[&str], allowed: &[String]) -> bool {
    match words {
        ["(", rest @ ..] => {
            *words = rest;
            let result = any_of(words, allowed);
            if let [")", rest @ ..] = words {
                *words = rest;
                return result;
            }
            false
        }
        [licence, "WITH", exception, rest @ ..] => {
            *words = rest;
            // An exception only ever adds permissions.
            is_listed(licence, allowed)
                || is_listed(&format!("{licence} WITH {exception}"), allowed)
        }
        [licence, rest @ ..] => {
            *words = rest;
            is_listed(licence, allowed)
        }
        [] => false,
    }
}

fn is_listed(licence: &str, allowed: &[String]) -> bool {
    allowed.iter().any(|name| name == licence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::metadata::Shipped;

    #[test]
    fn banned_and_unlicensed_packages_and_duplicates_are_found() {
        let shipped = |name: &str, version: &str, licence: &str| Shipped {
            name: name.to_owned(),
            version: version.to_owned(),
            licence: licence.to_owned(),
        };
        let metadata = Metadata {
            members: Vec::new(),
            shipped: vec![
                shipped("a", "1.0.0", "MIT"),
                shipped("a", "2.0.0", "MIT"),
                shipped("b", "1.0.0", ""),
                shipped("c", "1.0.0", "MIT"),
            ],
        };
        let policy: Policy = toml::from_str(
            "[licenses]\nallow = [\"MIT\"]\n[bans]\ndeny = [{ crate = \"c\", reason = \"no\" }]\n",
        )
        .unwrap();
        let findings = check(&metadata, &policy);
        let messages: Vec<&str> = findings
            .iter()
            .map(|finding| finding.message.as_str())
            .collect();
        assert_eq!(messages.len(), 2, "{messages:?}");
        assert!(messages[0].starts_with("b 1.0.0 has the licence"));
        assert!(messages[1].starts_with("c 1.0.0 is banned: no"));
        assert_eq!(duplicates(&metadata), ["a 1.0.0 and 2.0.0"]);
    }

    #[test]
    fn licence_expressions_are_met_or_not() {
        let allowed = ["MIT", "Apache-2.0", "Unicode-3.0"].map(str::to_owned);
        let cases = [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0 AND MIT", false),
            ("(MIT OR GPL-3.0) AND Unicode-3.0", true),
            ("(MIT OR GPL-3.0) AND GPL-3.0", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("GPL-3.0 WITH x-exception", false),
            ("MIT MIT", false),
            ("(MIT", false),
            ("", false),
        ];
        for (expression, expected) in cases {
            assert_eq!(is_allowed(expression, &allowed), expected, "{expression}");
        }
    }
}
