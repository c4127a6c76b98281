//! `cargo xtask lint`: formatting, clippy, the rules of the house, generated files.

use anyhow::bail;

use crate::command::{cargo, phase, run};
use crate::{r#gen, tidy};

/// Runs every check, the later ones also when an earlier one fails.
///
/// # Errors
/// When one of them does not pass; all findings have been printed.
pub(crate) fn lint() -> anyhow::Result<()> {
    let results = [
        phase("formatting", || {
            run(cargo().args(["fmt", "--all", "--check"]))
        }),
        phase("tidy", tidy::run),
        phase("clippy", || {
            let mut command = cargo();
            command.args([
                "clippy",
                "--quiet",
                "--workspace",
                "--all-targets",
                "--locked",
            ]);
            run(command.args(["--", "-D", "warnings"]))
        }),
        phase("generated files", || r#gen::run(r#gen::Mode::Check)),
    ];
    let failures: Vec<String> = results
        .into_iter()
        .filter_map(|result| result.err().map(|error| format!("{error:#}")))
        .collect();
    if !failures.is_empty() {
        bail!("lint: {}", failures.join("; "));
    }
    Ok(())
}
