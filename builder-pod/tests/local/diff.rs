//! `stagecraft-builder diff` of images that were built here.

use std::process::Command;

use serde_json::Value;

use crate::harness::{Ended, Workspace};

fn diff(a: &str, b: &str, more: &[&str]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_stagecraft-builder"))
        .args(["diff", a, b])
        .args(more)
        .output()
        .unwrap();
    Ended {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn build(workspace: &Workspace, kind: &str, to: &str) -> String {
    let path = workspace.path(to).display().to_string();
    let ended = workspace.run("build", &["-o", &format!("type={kind},dest={path}")]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    path
}

#[test]
fn one_image_has_no_difference_in_any_form() {
    let workspace = Workspace::with_dockerfile("FROM scratch\nCOPY a /\n").file("a", "x");
    let layout = build(&workspace, "oci", "layout");
    for (kind, to) in [("oci", "oci.tar"), ("docker", "docker.tar")] {
        let archive = build(&workspace, kind, to);
        let ended = diff(&layout, &archive, &[]);
        assert_eq!((ended.code, &*ended.stdout), (0, ""), "{}", ended.stderr);
    }
}

#[test]
fn every_difference_is_named_with_its_place_and_both_sides() {
    let first = Workspace::with_dockerfile(
        "FROM scratch\nENV A=1\nCOPY --chmod=644 a b /d/\nCOPY a /only\n",
    );
    let second = Workspace::with_dockerfile("FROM scratch\nENV A=2\nCOPY --chmod=600 a b /d/\n");
    let first = first.file("a", "same").file("b", "one");
    let second = second.file("a", "same").file("b", "two");
    let (a, b) = (build(&first, "oci", "out"), build(&second, "oci", "out"));
    let ended = diff(&a, &b, &[]);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    for line in [
        "config config.Env[1]: A=1 | A=2",
        "layer 0 /d/a mode: 0644 | 0600",
        "layer 0 /d/b content: sha256:",
        "layer 1 layer: sha256:",
    ] {
        assert!(ended.stdout.contains(line), "{line}:\n{}", ended.stdout);
    }
    assert!(!ended.stdout.contains("/d/a content"), "{}", ended.stdout);
    let ended = diff(&a, &b, &["--format", "json"]);
    let differences: Value = serde_json::from_str(&ended.stdout).unwrap();
    let mode = differences
        .as_array()
        .unwrap()
        .iter()
        .find(|difference| difference["path"] == "/d/a" && difference["member"] == "mode");
    let mode = mode.unwrap();
    assert_eq!(mode["part"], "layer");
    assert_eq!(mode["layer"], 0);
    assert_eq!((&mode["a"], &mode["b"]), (&"0644".into(), &"0600".into()));
}

#[test]
fn what_is_no_image_is_an_error_of_its_own_code() {
    let workspace = Workspace::with_dockerfile("FROM scratch\nCOPY a /\n").file("a", "x");
    let layout = build(&workspace, "oci", "layout");
    let file = workspace.path("context/Dockerfile").display().to_string();
    for (a, b) in [(&*layout, &*file), ("No Such Name", &*layout)] {
        let ended = diff(a, b, &[]);
        assert_eq!(ended.code, 2, "{}", ended.stdout);
        assert!(ended.stderr.starts_with("error: "), "{}", ended.stderr);
    }
}
