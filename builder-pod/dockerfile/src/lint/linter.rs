//! Takes findings, and drops those that are silenced where they are found.

use super::{CHECK_ARGUMENT, CheckError, CheckOptions, Finding, Names, Rule};
use crate::ast::Dockerfile;
use crate::diagnostic::{Code, Diagnostic};

/// Which rules are on at a place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    skip: Names,
    experimental: Names,
    strict: bool,
}

impl Filter {
    /// With what the comments above an instruction add.
    #[must_use]
    pub fn with_comments(&self, comments: &[String]) -> Self {
        match CheckOptions::of_comments(comments) {
            None => self.clone(),
            Some(options) => Self {
                skip: self.skip.with(&options.skip),
                experimental: self.experimental.with(&options.experimental),
                strict: self.strict,
            },
        }
    }

    /// Whether a rule is on.
    #[must_use]
    pub fn allows(&self, rule: Rule) -> bool {
        if rule.is_experimental() {
            return self.strict || self.experimental.has(rule);
        }
        (self.strict || !rule.is_strict()) && !self.skip.has(rule)
    }
}

/// Collects findings.
#[derive(Clone, Debug)]
pub struct Linter {
    filter: Filter,
    is_error: bool,
    findings: Vec<Finding>,
}

impl Linter {
    /// A linter with the options of the build argument [`CHECK_ARGUMENT`], or else of the file's `check` directive.
    /// `strict` switches on the rules that are off by themselves.
    ///
    /// # Errors
    /// When the options are malformed, with the directive's place.
    pub fn new(
        dockerfile: &Dockerfile,
        argument: Option<&str>,
        strict: bool,
    ) -> Result<Self, Box<Diagnostic>> {
        let wrong = |error: CheckError, place, what: &str| {
            Box::new(Diagnostic::error(
                Code::Directive,
                place,
                format!("{what}: {error}"),
            ))
        };
        let options = match (argument, &dockerfile.check) {
            (Some(argument), _) => {
                let first = dockerfile.stages.first();
                let place = first.map(|stage| stage.from.span).unwrap_or_default();
                let what = format!("the build argument {CHECK_ARGUMENT}");
                CheckOptions::parse(argument).map_err(|error| wrong(error, place, &what))?
            }
            (None, Some(directive)) => {
                let value = directive.value.split(' ').next().unwrap_or_default();
                CheckOptions::parse(value)
                    .map_err(|error| wrong(error, directive.span, "the directive check"))?
            }
            (None, None) => CheckOptions::default(),
        };
        Ok(Self {
            filter: Filter {
                skip: options.skip,
                experimental: options.experimental,
                strict,
            },
            is_error: options.error,
            findings: Vec::new(),
        })
    }

    /// Which rules are on in the whole file.
    #[must_use]
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Takes a finding about the whole file.
    pub fn report(&mut self, finding: Finding) {
        if self.filter.allows(finding.rule) {
            self.findings.push(finding);
        }
    }

    /// Takes a finding about an instruction with these comments above it.
    pub fn report_at(&mut self, comments: &[String], finding: Finding) {
        if self.filter.with_comments(comments).allows(finding.rule) {
            self.findings.push(finding);
        }
    }

    /// Whether a finding is to make the build fail: `error=true`.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.is_error
    }

    /// The findings in the order of the file; of one place, in that of the rules.
    #[must_use]
    pub fn into_findings(mut self) -> Vec<Finding> {
        self.findings
            .sort_by_key(|finding| (finding.span.line, finding.span.start, finding.rule));
        self.findings
    }
}
