//! `stagecraft-builder lint`: what is wrong or doubtful in a Dockerfile.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use stagecraft_dockerfile::ignore::IgnoreFile;
use stagecraft_image::Platform;
use stagecraft_plan::PlanInputs;
use stagecraft_protocol::failure::FailureReason;

use super::build::{RegistryArguments, build_args, docker_config};
use super::errors::{colours, usage};
use crate::engine::registry_client;
use crate::lint::{Check, check, formats};

/// Exit code of a file that can be built but in which rules found something.
const FOUND: u8 = 1;

#[derive(clap::Args)]
pub(super) struct LintArguments {
    /// Form of what is found, on standard output
    #[arg(long, value_enum, default_value_t = LintFormat::Text)]
    format: LintFormat,
    /// Apply the rules that are off by themselves, too
    #[arg(long)]
    strict: bool,
    /// Look up no images; what depends on them is not checked
    #[arg(long)]
    offline: bool,
    /// Directory whose .dockerignore counts [default: that of FILE]
    #[arg(long, value_name = "DIR")]
    context: Option<PathBuf>,
    /// Check the stages that this one needs only [default: all stages]
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// Set a build argument; without `=VALUE` it is taken from the environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
    /// Platform to check for [default: that of this machine]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    #[command(flatten)]
    registries: RegistryArguments,
    /// The Dockerfile, or `-` for standard input
    #[arg(value_name = "FILE", default_value = "Dockerfile")]
    file: PathBuf,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum LintFormat {
    /// Excerpts for people
    Text,
    /// One object
    Json,
    /// Annotations of GitHub
    Github,
    /// SARIF 2.1.0
    Sarif,
}

/// Checks, prints what was found, and gives the exit code.
pub(super) async fn run(arguments: LintArguments) -> u8 {
    let asked = match arguments.check() {
        Ok(asked) => asked,
        Err(message) => return usage(&message),
    };
    let settings = match arguments.registries.settings() {
        Ok(settings) => settings,
        Err(message) => return usage(&message),
    };
    let registry = match registry_client(&settings, &docker_config(), false) {
        Ok(registry) => registry,
        Err(failure) => return usage(&failure.message),
    };
    let checked = if arguments.offline {
        check(&asked, None).await
    } else {
        check(&asked, Some(&registry)).await
    };
    for (image, cause) in &checked.unknown {
        eprintln!("note: {image} is not known, so what depends on it was not checked: {cause}");
    }
    let text = match arguments.format {
        LintFormat::Text => formats::text(&asked, &checked, colours(&std::io::stdout())),
        LintFormat::Json => formats::json(&asked, &checked),
        LintFormat::Github => formats::github(&asked, &checked),
        LintFormat::Sarif => formats::sarif(&asked, &checked),
    };
    // A reader that has seen enough (`| head`) closes the pipe: that is no error.
    let _ = std::io::stdout().write_all(text.as_bytes());
    if matches!(arguments.format, LintFormat::Text) {
        eprintln!("{}: {}", asked.inputs.file, formats::summary(&checked));
    }
    if !checked.errors.is_empty() {
        FailureReason::Dockerfile.exit_code()
    } else if checked.report.findings.is_empty() {
        0
    } else {
        FOUND
    }
}

impl LintArguments {
    fn check(&self) -> Result<Check, String> {
        let is_standard_input = self.file == Path::new("-");
        let text = if is_standard_input {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|error| format!("cannot read standard input: {error}"))?;
            text
        } else {
            std::fs::read_to_string(&self.file)
                .map_err(|error| format!("cannot read {}: {error}", self.file.display()))?
        };
        let platform = match &self.platform {
            Some(text) => text
                .parse::<Platform>()
                .map_err(|error| format!("--platform: {error}"))?,
            None => Platform::host(),
        };
        let name = if is_standard_input {
            "Dockerfile".to_owned()
        } else {
            self.file.display().to_string()
        };
        Ok(Check {
            text,
            ignore: self.ignore()?,
            inputs: PlanInputs {
                file: name,
                build_args: build_args(&self.build_arg)?,
                contexts: BTreeMap::new(),
                target: self.target.clone(),
                further_targets: Vec::new(),
                tests: Vec::new(),
                platform,
                build_platform: Platform::host(),
                labels: Default::default(),
                source_date_epoch: None,
            },
            strict: self.strict,
        })
    }

    /// The ignore file that a build from here would find: the Dockerfile's own, or the context's.
    fn ignore(&self) -> Result<Option<IgnoreFile>, String> {
        let mut own = self.file.clone().into_os_string();
        own.push(".dockerignore");
        let directory = self.context.as_deref();
        let directory = directory
            .or_else(|| self.file.parent())
            .unwrap_or(Path::new(""));
        for path in [PathBuf::from(own), directory.join(".dockerignore")] {
            let text = match std::fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
            };
            return match IgnoreFile::parse(&text) {
                Ok(ignore) => Ok(Some(ignore)),
                Err(error) => Err(format!("{}: {error}", path.display())),
            };
        }
        Ok(None)
    }
}
