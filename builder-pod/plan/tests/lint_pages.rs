//! The pages of the rules (`docs/using/lint`): every rule has one, what it says before fires, what it says after is
//! silent, and it is silenced as it says.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says best where it failed by failing there"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use stagecraft_dockerfile::ignore::IgnoreFile;
use stagecraft_dockerfile::lint::Rule;
use stagecraft_dockerfile::parse;
use stagecraft_image::{Digest, ImageConfig, Platform, Reference};
use stagecraft_plan::PlanInputs;
use stagecraft_plan::lint::{LintInputs, Scope, lint};

fn pages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/using/lint")
}

fn read(name: &str) -> String {
    let path = pages().join(format!("{name}.md"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The first block of a language behind a heading.
fn block(page: &str, heading: &str, language: &str) -> Option<String> {
    let (_, section) = page.split_once(&format!("\n## {heading}\n"))?;
    let section = section.split("\n## ").next()?;
    let (_, block) = section.split_once(&format!("```{language}\n"))?;
    Some(block.split("```").next()?.to_owned())
}

/// Whether a rule fires, in a strict check if it needs one.
fn fires(rule: Rule, text: &str, ignore: Option<&IgnoreFile>) -> bool {
    let platform: Platform = "linux/amd64".parse().unwrap();
    let inputs = PlanInputs {
        file: "Dockerfile".to_owned(),
        build_args: BTreeMap::new(),
        contexts: BTreeMap::new(),
        target: None,
        further_targets: Vec::new(),
        tests: Vec::new(),
        platform: platform.clone(),
        build_platform: platform.clone(),
        labels: BTreeMap::new(),
        source_date_epoch: None,
    };
    let (dockerfile, parsed) = parse(text);
    let errors: Vec<String> = parsed
        .iter()
        .filter(|one| one.is_error())
        .map(|one| one.compact("Dockerfile"))
        .collect();
    assert!(errors.is_empty(), "{rule:?}: {errors:?}\n{text}");
    let images = |reference: &Reference, platform: &Platform| {
        let mut config = ImageConfig::scratch(platform);
        config.rootfs.diff_ids = vec![Digest::of(b"layer")];
        if reference.familiar().starts_with("arm64v8/") {
            config.architecture = "arm64".to_owned();
        }
        Some(config)
    };
    let report = lint(&LintInputs {
        text,
        dockerfile: &dockerfile,
        parsed: &parsed,
        inputs: &inputs,
        scope: Scope::Check,
        strict: rule.is_strict(),
        ignore,
        images: &images,
    });
    let findings = report.unwrap().findings;
    findings.iter().any(|finding| finding.rule == rule)
}

#[test]
fn every_rule_has_a_page_whose_examples_are_true() {
    for rule in Rule::ALL {
        let page = read(rule.name());
        assert!(
            page.starts_with(&format!("# {}\n", rule.name())),
            "{rule:?}"
        );
        let ignore = block(&page, "Why", "text").map(|text| IgnoreFile::parse(&text).unwrap());
        let before = block(&page, "Before", "dockerfile").unwrap();
        let after = block(&page, "After", "dockerfile").unwrap();
        assert!(fires(rule, &before, ignore.as_ref()), "{rule:?} before");
        assert!(!fires(rule, &after, ignore.as_ref()), "{rule:?} after");
        assert_eq!(
            page.contains("A rule of Stagecraft's own"),
            rule.is_own(),
            "{rule:?}"
        );
    }
}

#[test]
fn every_rule_is_silenced_as_its_page_says() {
    for rule in Rule::ALL.into_iter().filter(|rule| !rule.is_experimental()) {
        let page = read(rule.name());
        let ignore = block(&page, "Why", "text").map(|text| IgnoreFile::parse(&text).unwrap());
        let silence = block(&page, "Silence it", "dockerfile").unwrap();
        assert_eq!(silence, format!("# check=skip={}\n", rule.name()));
        let before = block(&page, "Before", "dockerfile").unwrap();
        let whole = format!("{silence}{before}");
        assert!(
            !fires(rule, &whole, ignore.as_ref()),
            "{rule:?} in the whole file"
        );

        // Above every instruction, behind a comment that keeps it from being the file's directive.
        let is_continued = |before: Option<&str>| before.is_some_and(|line| line.ends_with('\\'));
        let mut above = "# not a directive\n".to_owned();
        let mut last = None;
        for line in before.lines() {
            if !is_continued(last) && !line.is_empty() && !line.starts_with(' ') {
                above.push_str(&silence);
            }
            above.push_str(line);
            above.push('\n');
            last = Some(line);
        }
        assert_eq!(
            !fires(rule, &above, ignore.as_ref()),
            page.contains("right above the instruction silences it"),
            "{rule:?} above the instruction"
        );
    }
}

#[test]
fn the_index_lists_every_rule_and_there_is_no_other_page() {
    let index = read("README");
    for rule in Rule::ALL {
        let row = format!("| [{0}]({0}.md) | {1} |", rule.name(), rule.summary());
        assert!(index.contains(&row), "the index lacks\n{row}");
    }
    for entry in std::fs::read_dir(pages()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let stem = name.strip_suffix(".md").unwrap_or_default();
        assert!(stem == "README" || Rule::by_name(stem).is_some(), "{name}");
    }
}
