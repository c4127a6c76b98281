//! Several targets of one file in one run, and stages that must succeed though nothing needs them.

use serde_json::Value;

use crate::harness::{Image, Workspace};

const DOCKERFILE: &str = "FROM scratch AS common\nCOPY shared /shared\n\
    FROM common AS web\nCOPY web /web\nENV IS=web\n\
    FROM common AS worker\nCOPY worker /worker\n\
    FROM common AS broken\nCOPY missing /missing\n\
    FROM scratch\nCOPY web /last\n";

fn workspace() -> Workspace {
    Workspace::with_dockerfile(DOCKERFILE)
        .file("shared", "of all")
        .file("web", "pages")
        .file("worker", "jobs")
}

#[test]
fn each_target_is_the_image_that_it_is_alone() {
    let workspace = workspace();
    let path = |name: &str| workspace.path(name).display().to_string();
    let metadata = path("metadata.json");
    let ended = workspace.run(
        "build",
        &[
            "--target=web",
            "--target=worker",
            "--tag=web=example.com/web:1",
            "--label=a=b",
            &format!("--output=type=oci,target=web,dest={}", path("web")),
            &format!("--output=type=oci,target=worker,dest={}", path("worker")),
            "--metadata-file",
            &metadata,
        ],
    );
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(!ended.stderr.contains("COPY web /last"), "{}", ended.stderr);
    let lines: Vec<(&str, &str)> = ended
        .stdout
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .collect();
    assert_eq!(
        lines.iter().map(|line| line.0).collect::<Vec<_>>(),
        ["web", "worker"]
    );
    let metadata: Value = serde_json::from_slice(&std::fs::read(metadata).unwrap()).unwrap();
    for (target, digest) in lines {
        let image = Image::read(&workspace.path(target), digest);
        assert_eq!(image.layers.len(), 2, "{target}");
        assert_eq!(image.entry(target).kind, 'f');
        assert_eq!(image.config["config"]["Labels"]["a"], "b");
        assert_eq!(metadata[target]["containerimage.digest"], digest);

        let alone = workspace.run("build", &["--target", target, "--label=a=b"]);
        assert_eq!(alone.stdout.trim(), digest, "{target}");
    }
    assert_eq!(metadata["web"]["image.name"], "example.com/web:1");
    assert!(metadata["worker"].get("image.name").is_none(), "{metadata}");
}

#[test]
fn a_test_that_fails_is_the_failure_and_nothing_is_written() {
    let workspace = workspace();
    let layout = workspace.path("layout");
    let output = format!("type=oci,dest={}", layout.display());
    let (failure, _) = workspace.failure(&["--test", "broken", "--output", &output]);
    assert_eq!(failure["stage"], "broken");
    assert_eq!(failure["line"], 9);
    assert!(!layout.exists());
}

#[test]
fn a_test_that_succeeds_leaves_no_trace_in_the_image() {
    let workspace = workspace();
    let ended = workspace.run("build", &["--test", "WORKER", "--test", "1"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("COPY worker /worker"),
        "{}",
        ended.stderr
    );
    let alone = workspace.run("build", &[]);
    assert_eq!(alone.stdout, ended.stdout);
    let (failure, _) = workspace.failure(&["--test", "workr"]);
    let message = failure["message"].as_str().unwrap();
    assert!(message.contains("\"workr\" does not exist"), "{message}");
}

#[test]
fn outputs_of_several_targets_say_whose_they_are() {
    let workspace = workspace();
    let ended = workspace.run(
        "build",
        &["--target=web", "--target=worker", "--output=out"],
    );
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("say which it is for: web, worker"),
        "{}",
        ended.stderr
    );
}
