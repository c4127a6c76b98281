//! `--ssh`: which agents steps may use.

use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

use crate::agents::Agents;

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
        if !found.file_type().is_socket() {
            return Err(format!(
                "--ssh {flag}: {} is no socket of an agent; a key is given to an agent with ssh-add",
                socket.display()
            ));
        }
        if id.is_empty() || !agents.add(id.to_owned(), socket) {
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

    #[test]
    fn an_agent_is_a_socket_and_a_key_is_none() {
        let place = tempfile::tempdir().unwrap();
        let (socket, key) = (place.path().join("socket"), place.path().join("key"));
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        std::fs::write(&key, "").unwrap();
        let flag = format!("default={}", socket.display());
        let agents = parse(std::slice::from_ref(&flag)).unwrap();
        assert_eq!(agents.get("default"), Some(socket.as_path()));
        assert_eq!(agents.get("other"), None);
        assert!(parse(&[flag.clone(), flag]).is_err());
        for (flag, words) in [
            (format!("a={}", key.display()), "ssh-add"),
            ("a=/no/such".to_owned(), "No such file"),
        ] {
            let message = parse(&[flag]).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }
}
