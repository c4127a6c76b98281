//! Rules of ours about instructions.

use stagecraft_dockerfile::lint::{Finding, Rule};
use stagecraft_dockerfile::{Command, CopyInstruction, RunInstruction, Span};

use super::secrets::{is_secret_name, is_secret_value};
use super::walk::Unit;

/// Where apt keeps its package lists.
const APT_LISTS: &str = "/var/lib/apt";

/// `COPY --from=… /`: everything of a stage, its package manager and its secrets among it.
pub(super) fn whole_root(
    unit: &Unit<'_>,
    copy: &CopyInstruction,
    sources: &[(String, Span)],
) -> Option<Finding> {
    let from = copy.flag("from")?.value.as_deref()?;
    let (_, span) = sources.iter().find(|(source, _)| is_root(source))?;
    let message = format!("everything is copied from {from}, not only what is needed");
    let help = format!("name the paths that are needed, or begin with it: FROM {from}");
    Some(
        unit.finding(Rule::CopyFromWholeRoot, *span, message)
            .help(help),
    )
}

fn is_root(path: &str) -> bool {
    !path.is_empty() && path.split('/').all(|part| matches!(part, "" | "."))
}

/// A value that is a secret by its form. A name that gives it away is another rule's.
pub(super) fn secret_value(
    unit: &Unit<'_>,
    keyword: &str,
    name: &str,
    (value, span): (&str, Span),
    name_is_checked: bool,
) -> Option<Finding> {
    if !is_secret_value(value) || (name_is_checked && is_secret_name(name)) {
        return None;
    }
    let message = format!("the value of {keyword} {name} looks like a secret");
    let finding = unit.finding(Rule::SecretValueInArgOrEnv, span, message);
    Some(finding.help("it stays in the image's history: take it from RUN --mount=type=secret"))
}

/// `apt-get update` whose lists are not removed by the same `RUN`.
pub(super) fn apt_lists(unit: &Unit<'_>, run: &RunInstruction) -> Option<Finding> {
    let mut script = match &run.command {
        Command::Shell(text) => text.clone(),
        Command::Exec(words) => words.join(" "),
    };
    for heredoc in unit.heredocs {
        script.push('\n');
        script.push_str(&heredoc.content);
    }
    if !updates_lists(&script) || removes_lists(&script) || is_mounted(run) {
        return None;
    }
    let message = "apt's package lists stay in the image";
    let finding = unit.finding(Rule::AptListsLeftInImage, unit.span, message);
    Some(finding.help(
        "end the same RUN with && rm -rf /var/lib/apt/lists/*: a later step cannot make the layer smaller",
    ))
}

/// Whether a command `apt-get … update` is in it.
fn updates_lists(script: &str) -> bool {
    script
        .split(['\n', ';', '&', '|', '(', ')', '{', '}'])
        .any(|command| {
            let mut words = command
                .split_whitespace()
                .map(|word| word.trim_matches(['"', '\'']))
                .skip_while(|word| !matches!(word.rsplit('/').next(), Some("apt-get" | "apt")));
            words.next().is_some() && words.any(|word| word == "update")
        })
}

fn removes_lists(script: &str) -> bool {
    let mut words = script.split_whitespace();
    let removes = words.any(|word| matches!(word, "rm" | "find"));
    let names_lists = script.contains(APT_LISTS) || script.contains("/var/lib/{apt");
    (removes && names_lists) || script.contains("dist-clean") || script.contains("distclean")
}

/// Whether the lists are on a mount, which is no part of the image.
fn is_mounted(run: &RunInstruction) -> bool {
    let mut mounts = run.flags.iter().filter(|flag| flag.name == "mount");
    mounts.any(|flag| {
        let value = flag.value.as_deref().unwrap_or_default();
        let mut fields = value.split(',').filter_map(|field| field.split_once('='));
        fields.any(|(key, path)| {
            matches!(
                key.to_lowercase().as_str(),
                "target" | "dst" | "destination"
            ) && path.starts_with(APT_LISTS)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_fetch_lists_and_that_remove_them_are_found() {
        for fetches in [
            "apt-get update",
            "apt-get -qq update && apt-get install -y x",
            "set -e; DEBIAN_FRONTEND=noninteractive apt-get -o A=b update",
            "(apt update)",
            "sh -c \"apt-get update\"",
            "/usr/bin/apt-get update",
        ] {
            assert!(updates_lists(fetches), "{fetches}");
        }
        for other in [
            "apt-get install -y x",
            "echo apt; x update",
            "apk update",
            "npm update",
        ] {
            assert!(!updates_lists(other), "{other}");
        }
        assert!(removes_lists(
            "apt-get update && rm -rf /var/lib/apt/lists/*"
        ));
        assert!(removes_lists("x && rm -rf /var/lib/{apt,dpkg}"));
        assert!(!removes_lists("apt-get update && rm -rf /tmp/*"));
    }
}
