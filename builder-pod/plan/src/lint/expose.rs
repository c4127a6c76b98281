//! The rules about `EXPOSE`.

use stagecraft_dockerfile::Span;
use stagecraft_dockerfile::lint::{Finding, Rule};

use super::walk::Unit;

/// Findings about one expanded word; none about a word that is no port.
pub(super) fn rules(unit: &Unit<'_>, word: &str, span: Span) -> Vec<Finding> {
    let (before, container) = match word.rsplit_once(':') {
        Some((before, container)) => (before, container),
        None => ("", word),
    };
    let (port, protocol) = container.split_once('/').unwrap_or((container, ""));
    let lower = protocol.to_lowercase();
    if port.is_empty() || !matches!(lower.as_str(), "" | "tcp" | "udp" | "sctp") {
        return Vec::new();
    }
    let mut found = Vec::new();
    if protocol != lower {
        let message = format!("the protocol {protocol} is not written in small letters");
        let finding = unit.finding(Rule::ExposeProtoCasing, span, message);
        found.push(finding.help(format!("write {port}/{lower}")));
    }
    // `:80` names neither.
    if before.chars().any(|character| character != ':') {
        let message = format!("EXPOSE {word} names an address or a port of the host");
        let finding = unit.finding(Rule::ExposeInvalidFormat, span, message);
        found.push(finding.help(format!(
            "write EXPOSE {container}: what it is reached by is said where the container is started"
        )));
    }
    found
}
