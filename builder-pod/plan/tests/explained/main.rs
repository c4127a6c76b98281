//! The pages `docs/reference/diagnostics.md` and `docs/using/mistakes.md` are what our own diagnostics say.
//!
//! `UPDATE_GOLDEN=1` writes them; reading the difference is the review.

#![allow(
    clippy::unwrap_used,
    reason = "the functions that tests share are tests' code, too"
)]

mod codes;
mod mistakes;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use stagecraft_dockerfile::ignore::IgnoreFile;
use stagecraft_dockerfile::{Code, Diagnostic, Dockerfile, Excerpt, parse, render};
use stagecraft_image::{Digest, ImageConfig, Platform, Reference};
use stagecraft_plan::lint::{LintInputs, Scope, lint};
use stagecraft_plan::{PlanInputs, Planner, Progress};

/// A Dockerfile with what is asked of the build.
#[derive(Default)]
struct Example {
    text: String,
    target: Option<&'static str>,
    build_arg: Option<(&'static str, &'static str)>,
    ignore: Option<&'static str>,
}

impl Example {
    fn of(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            ..Self::default()
        }
    }

    fn inputs(&self) -> PlanInputs {
        let platform: Platform = "linux/amd64".parse().unwrap();
        let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        PlanInputs {
            file: "Dockerfile".to_owned(),
            build_args: self.build_arg.into_iter().map(pair).collect(),
            contexts: BTreeMap::new(),
            target: self.target.map(str::to_owned),
            further_targets: Vec::new(),
            tests: Vec::new(),
            platform: platform.clone(),
            build_platform: platform,
            labels: BTreeMap::new(),
            source_date_epoch: None,
        }
    }

    /// Everything that a build says of it, in the order in which it does.
    fn said(&self) -> Vec<Said> {
        let (dockerfile, parsed) = parse(&self.text);
        let mut diagnostics = parsed.clone();
        if !parsed.iter().any(Diagnostic::is_error) {
            diagnostics.extend(self.planned(&dockerfile));
        }
        let shown = |excerpt: Excerpt<'_>| render(excerpt, &self.text, "Dockerfile");
        let mut said: Vec<Said> = diagnostics
            .iter()
            .map(|one| Said {
                id: one.code.number(),
                is_ruled: one.code.is_ruled() && !one.is_error(),
                text: if one.code == Code::LineTooLong {
                    one.compact("Dockerfile")
                } else {
                    shown(one.into())
                },
            })
            .collect();
        if diagnostics.iter().any(Diagnostic::is_error) {
            return said;
        }
        let ignore = self.ignore.map(|text| IgnoreFile::parse(text).unwrap());
        let report = lint(&LintInputs {
            text: &self.text,
            dockerfile: &dockerfile,
            parsed: &parsed,
            inputs: &self.inputs(),
            scope: Scope::Needed,
            strict: false,
            ignore: ignore.as_ref(),
            images: &|_: &Reference, platform: &Platform| Some(ImageConfig::scratch(platform)),
        });
        let findings = report.unwrap().findings;
        said.extend(findings.iter().map(|finding| Said {
            id: finding.rule.name().to_owned(),
            is_ruled: false,
            text: shown(finding.into()),
        }));
        said
    }

    fn planned(&self, dockerfile: &Dockerfile) -> Vec<Diagnostic> {
        let mut planner = Planner::new(dockerfile, self.inputs());
        loop {
            match planner.step() {
                Err(diagnostics) => return diagnostics,
                Ok(Progress::Ready(plan)) => return plan.warnings,
                Ok(Progress::Images(wanted)) => {
                    for request in wanted {
                        let config = ImageConfig::scratch(&request.platform);
                        planner.provide(request.id, Digest::of(b"image"), config);
                    }
                }
            }
        }
    }
}

/// A diagnostic or a finding as it is shown.
struct Said {
    /// Its code, or its rule.
    id: String,
    /// Whether a rule says it, too: then a build shows that.
    is_ruled: bool,
    text: String,
}

/// Compares a page of the documentation with what it must be, or writes it.
fn check(path: &str, page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(path);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, page).unwrap();
    }
    let is = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        is,
        page,
        "{} is not what the diagnostics say; UPDATE_GOLDEN=1 writes it",
        path.display()
    );
}

fn fenced(page: &mut String, language: &str, text: &str) {
    // Trailing blanks of an excerpt's empty lines mean nothing.
    let lines: Vec<&str> = text.trim_end().lines().map(str::trim_end).collect();
    let _ = write!(page, "```{language}\n{}\n```\n\n", lines.join("\n"));
}

#[test]
fn every_code_is_explained_by_an_example_that_has_it() {
    let entries = codes::entries();
    let order: Vec<Code> = entries.iter().map(|entry| entry.code).collect();
    assert_eq!(order, Code::ALL, "every code once, in order");
    let mut page = "<!-- Written by the test `explained` of crate stagecraft-plan with UPDATE_GOLDEN=1. -->\n\
        # What can be wrong with a Dockerfile\n\n\
        Every error of a file is reported at once, in its order, each with a code that never changes its meaning. The same\n\
        text is in `status.failure.message` of a build. Warnings about what is allowed but probably not meant have the name of a\n\
        [lint rule](../using/lint/README.md) instead.\n\n"
        .to_owned();
    for entry in &entries {
        let number = entry.code.number();
        let said = entry.example.said();
        let shown = said.iter().find(|one| one.id == number);
        assert!(shown.is_some(), "the example of {number} does not have it");
        let title = entry.code.title();
        let _ = write!(
            page,
            "## {number}\n\nWhat it says: {title}.\n\n{}\n\n",
            entry.cause
        );
        if entry.code != Code::LineTooLong && !entry.example.text.is_empty() {
            fenced(&mut page, "dockerfile", &entry.example.text);
        }
        fenced(&mut page, "text", &shown.unwrap().text);
        let _ = write!(page, "{}\n\n", entry.way_out);
    }
    check(
        "reference/diagnostics.md",
        &format!("{}\n", page.trim_end()),
    );
}

#[test]
fn ten_mistakes_are_told_as_the_page_says() {
    let mistakes = mistakes::all();
    assert_eq!(mistakes.len(), 10);
    let mut page =
        "<!-- Written by the test `explained` of crate stagecraft-plan with UPDATE_GOLDEN=1. -->\n\
        # Ten mistakes, and what you are told\n\n\
        What a build and `stagecraft-builder lint` print; codes are explained in the\n\
        [reference](../reference/diagnostics.md), rules [here](lint/README.md).\n\n"
            .to_owned();
    for (index, mistake) in mistakes.iter().enumerate() {
        let _ = write!(
            page,
            "## {}. {}\n\n{}\n\n",
            index + 1,
            mistake.title,
            mistake.cause
        );
        fenced(&mut page, "dockerfile", &mistake.example.text);
        let said = mistake.example.said();
        let told: Vec<&str> = said
            .iter()
            .filter(|one| !one.is_ruled)
            .map(|one| one.text.as_str())
            .collect();
        assert!(
            said.iter().any(|one| one.id == mistake.told),
            "{} is not told in {}",
            mistake.told,
            mistake.title
        );
        fenced(&mut page, "text", &told.join("\n\n"));
    }
    check("using/mistakes.md", &format!("{}\n", page.trim_end()));
}
