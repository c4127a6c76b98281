//! Keys of every form and kind, made by ssh-keygen, used by ssh-add and ssh-keygen through the socket of a step.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use super::super::wire::{read_frame, write_frame};
use super::super::{Agent, AgentError, AgentSource, Agents, Lent};
use super::*;

/// Runs a program of OpenSSH; these tests need it.
fn run(program: &str, arguments: &[&str], socket: &Path) -> Output {
    Command::new(program)
        .args(arguments)
        .env("SSH_AUTH_SOCK", socket)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap()
}

fn generate(place: &Path, name: &str, arguments: &[&str]) -> String {
    let file = place.join(name);
    let file = file.to_str().unwrap();
    let mut all = vec!["-q", "-f", file, "-C", "a comment"];
    all.extend(arguments);
    let made = run("ssh-keygen", &all, place);
    assert!(made.status.success(), "{made:?}");
    file.to_owned()
}

/// What ssh-add lists and ssh-keygen signs through a step's socket, against the public half of the same file.
fn serves(place: &Path, file: &str) {
    let keys = Keys::read(&std::fs::read(file).unwrap()).unwrap();
    let socket = place.join("socket");
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    let lent = Lent::new(listener, Agent::Keys(Arc::new(keys))).unwrap();
    let listed = run("ssh-add", &["-L"], &socket);
    let listed = String::from_utf8(listed.stdout).unwrap();
    let public = std::fs::read_to_string(format!("{file}.pub")).unwrap();
    let words = |text: &str| {
        text.split_whitespace()
            .take(2)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(words(&listed), words(&public), "{file}");
    let message = place.join("message");
    std::fs::write(&message, "what is signed").unwrap();
    let signature = place.join("message.sig");
    let _ = std::fs::remove_file(&signature);
    let (message, public) = (message.to_str().unwrap(), format!("{file}.pub"));
    let signed = run(
        "ssh-keygen",
        &["-Y", "sign", "-n", "file", "-f", &public, message],
        &socket,
    );
    assert!(signed.status.success(), "{file}: {signed:?}");
    let checked = Command::new("ssh-keygen")
        .args(["-Y", "check-novalidate", "-n", "file", "-s"])
        .arg(&signature)
        .stdin(std::fs::File::open(message).unwrap())
        .output()
        .unwrap();
    assert!(checked.status.success(), "{file}: {checked:?}");
    // Nothing can be put into it or taken out of it.
    let removed = run("ssh-add", &["-D"], &socket);
    assert!(!removed.status.success(), "{removed:?}");
    let added = run("ssh-add", &["-q", file], &socket);
    assert!(!added.status.success(), "{added:?}");
    drop(lent);
}

#[test]
fn every_kind_of_key_is_listed_and_signs() {
    let place = tempfile::tempdir().unwrap();
    let kinds: [(&str, &[&str]); 8] = [
        ("ed25519", &["-t", "ed25519", "-N", ""]),
        ("p256", &["-t", "ecdsa", "-b", "256", "-N", ""]),
        ("p384", &["-t", "ecdsa", "-b", "384", "-N", ""]),
        ("p521", &["-t", "ecdsa", "-b", "521", "-N", ""]),
        ("rsa", &["-t", "rsa", "-b", "2048", "-N", ""]),
        ("rsa1", &["-t", "rsa", "-b", "3072", "-m", "PEM", "-N", ""]),
        (
            "rsa8",
            &["-t", "rsa", "-b", "2048", "-m", "PKCS8", "-N", ""],
        ),
        ("p256-8", &["-t", "ecdsa", "-m", "PKCS8", "-N", ""]),
    ];
    for (name, arguments) in kinds {
        let file = generate(place.path(), name, arguments);
        serves(place.path(), &file);
    }
}

#[test]
fn a_key_with_a_passphrase_is_told_so() {
    let place = tempfile::tempdir().unwrap();
    for (name, arguments) in [
        ("own", vec!["-t", "ed25519", "-N", "hunter2"]),
        (
            "pem",
            vec!["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "hunter2"],
        ),
        ("pkcs8", vec!["-t", "ecdsa", "-m", "PKCS8", "-N", "hunter2"]),
    ] {
        let file = generate(place.path(), name, &arguments);
        let error = Keys::read(&std::fs::read(file).unwrap()).unwrap_err();
        assert_eq!(error, KeyError::Passphrase, "{name}");
    }
}

#[test]
fn what_is_no_question_of_a_reader_is_declined() {
    let place = tempfile::tempdir().unwrap();
    let file = generate(place.path(), "key", &["-t", "ed25519", "-N", ""]);
    let keys = Keys::read(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(keys.answer(&[LIST])[0], LISTED);
    let mut unknown = vec![SIGN];
    put_text(&mut unknown, b"no such key");
    put_text(&mut unknown, b"data");
    unknown.extend_from_slice(&[0; 4]);
    // Adding, removing, locking, extensions, torn messages, keys that are not here.
    for request in [
        &[][..],
        &[17],
        &[19],
        &[22],
        &[27, 0, 0, 0, 0],
        &[LIST, 0],
        &[SIGN],
        &unknown,
    ] {
        assert_eq!(keys.answer(request), [FAILURE], "{request:?}");
    }
}

#[test]
fn a_message_that_is_none_ends_the_connection_and_no_other() {
    let place = tempfile::tempdir().unwrap();
    let file = generate(place.path(), "key", &["-t", "ed25519", "-N", ""]);
    let keys = Keys::read(&std::fs::read(file).unwrap()).unwrap();
    let path = place.path().join("lent");
    let listener = UnixListener::bind(&path).unwrap();
    let _lent = Lent::new(listener, Agent::Keys(Arc::new(keys))).unwrap();
    let mut wrong = UnixStream::connect(&path).unwrap();
    wrong.write_all(&[0xff; 8]).unwrap();
    assert_eq!(wrong.read(&mut [0]).unwrap_or(0), 0);
    let mut right = UnixStream::connect(&path).unwrap();
    write_frame(&mut right, &[LIST]).unwrap();
    assert_eq!(read_frame(&mut right).unwrap().unwrap()[0], LISTED);
}

#[test]
fn a_key_file_is_read_when_it_is_wanted() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("late");
    let mut agents = Agents::default();
    assert!(agents.add("k".to_owned(), AgentSource::KeyFile(file.clone())));
    assert!(agents.get("other").unwrap().is_none());
    assert!(matches!(agents.get("k"), Err(AgentError::Read { .. })));
    std::fs::write(&file, "hunter2").unwrap();
    assert!(matches!(agents.get("k"), Err(AgentError::Key { .. })));
    let key = generate(place.path(), "key", &["-t", "ed25519", "-N", ""]);
    std::fs::rename(key, &file).unwrap();
    assert!(matches!(agents.get("k"), Ok(Some(Agent::Keys(_)))));
}
