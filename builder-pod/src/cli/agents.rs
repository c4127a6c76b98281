//! `--ssh`: which agents steps may use.

use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

use crate::agents::{AgentSource, Agents, Keys};

/// The agents that the flags name.
pub(super) fn parse(flags: &[String]) -> Result<Agents, String> {
    let mut agents = Agents::default();
    for flag in flags {
        let (id, socket) = match flag.split_once('=') {
            Some((id, socket)) => (id, Some(PathBuf::from(socket))),
            None => (
                flag.as_str(),
                std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from),
            ),
        };
        let Some(socket) = socket else {
            return Err(format!(
                "--ssh {flag}: there is no agent, SSH_AUTH_SOCK is not set: start one with ssh-agent"
            ));
        };
        let found = std::fs::metadata(&socket)
            .map_err(|error| format!("--ssh {flag}: {}: {error}", socket.display()))?;
        let source = if found.file_type().is_socket() {
            AgentSource::Socket(socket)
        } else if found.is_file() {
            let text = std::fs::read(&socket)
                .map_err(|error| format!("--ssh {flag}: {}: {error}", socket.display()))?;
            // A mistake is told now, not when a step asks for it.
            Keys::read(&text)
                .map_err(|error| format!("--ssh {flag}: {}: {error}", socket.display()))?;
            AgentSource::KeyFile(socket)
        } else {
            return Err(format!(
                "--ssh {flag}: {} is neither the socket of an agent nor a file with a private key",
                socket.display()
            ));
        };
        if id.is_empty() || !agents.add(id.to_owned(), source) {
            return Err(format!(
                "--ssh {flag}: it has no name, or that of another agent"
            ));
        }
    }
    Ok(agents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents::Agent;

    #[test]
    fn an_agent_is_a_socket_or_a_file_with_a_key() {
        let place = tempfile::tempdir().unwrap();
        let (socket, file) = (place.path().join("socket"), place.path().join("key"));
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        std::fs::write(&file, "").unwrap();
        let flag = format!("default={}", socket.display());
        let agents = parse(std::slice::from_ref(&flag)).unwrap();
        assert!(matches!(
            agents.get("default"),
            Ok(Some(Agent::Socket(found))) if found == socket
        ));
        assert!(agents.get("other").unwrap().is_none());
        assert!(parse(&[flag.clone(), flag]).is_err());
        for (flag, words) in [
            (format!("a={}", file.display()), "no private key"),
            (format!("a={}", place.path().display()), "neither"),
            ("a=/no/such".to_owned(), "No such file"),
        ] {
            let message = parse(&[flag]).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }
}
