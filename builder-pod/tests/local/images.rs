//! Images without RUN: stages, COPY, configuration, reproducibility.

use crate::harness::Workspace;

#[test]
fn only_the_target_is_in_the_image_and_copies_take_what_they_name() {
    let image = Workspace::with_dockerfile(
        "FROM scratch AS data\nCOPY a.txt secret.txt /in/\n\
         FROM scratch\nCOPY --from=data /in/a.txt /out/b.txt\nCOPY --from=0 /in/a.txt /c.txt\nCMD [\"/x\"]\n",
    )
    .file("a.txt", "hello")
    .file("secret.txt", "no")
    .build(&[]);
    assert_eq!(image.paths(), [vec!["out", "out/b.txt"], vec!["c.txt"]]);
    assert_eq!(image.entry("out/b.txt").content, "hello");
    assert_eq!(image.config["config"]["Cmd"][0], "/x");
    let history = image.config["history"].as_array().unwrap();
    assert_eq!(history.len(), 3);
    assert_eq!(
        history[0]["created_by"],
        "COPY /in/a.txt /out/b.txt # buildkit"
    );
    assert_eq!(history[2]["empty_layer"], true);
    assert_eq!(
        image.config["rootfs"]["diff_ids"].as_array().unwrap().len(),
        2
    );
}

#[test]
fn the_same_context_gives_the_same_digest_from_another_directory() {
    let build = || {
        let workspace = Workspace::with_dockerfile(
            "FROM scratch\nWORKDIR /w/x\nCOPY --chown=5:6 --chmod=640 f .\nENV A=b\nLABEL l=m\n",
        )
        .file("f", "content");
        let layout = workspace.path("layout");
        let file = std::fs::File::open(workspace.path("context/f")).unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        file.set_times(std::fs::FileTimes::new().set_modified(time))
            .unwrap();
        let output = format!("type=oci,dest={}", layout.display());
        let ended = workspace.run("build", &["--output", &output]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let image = crate::harness::Image::read(&layout, ended.stdout.trim());
        assert_eq!(image.entry("w/x/f").owner, (5, 6));
        assert_eq!(image.entry("w/x/f").mode & 0o7777, 0o640);
        ended.stdout
    };
    assert_eq!(build(), build());
}

#[test]
fn a_stage_goes_on_from_an_earlier_one_and_target_chooses() {
    let workspace = Workspace::with_dockerfile(
        "FROM scratch AS base\nCOPY a /a\nENV K=base\n\
         FROM base AS one\nCOPY b /b\nFROM base AS two\nCOPY c /c\nENV K=two\n",
    )
    .file("a", "a")
    .file("b", "b")
    .file("c", "c");
    let one = workspace.build(&["--target", "one"]);
    assert_eq!(one.paths(), [vec!["a"], vec!["b"]]);
    assert_eq!(
        one.config["config"]["Env"]
            .as_array()
            .unwrap()
            .last()
            .unwrap(),
        "K=base"
    );
    let two = workspace.build(&["--target", "TWO"]);
    assert_eq!(two.paths(), [vec!["a"], vec!["c"]]);
}

#[test]
fn the_ignore_file_hides_and_shows() {
    let image = Workspace::with_dockerfile("FROM scratch\nCOPY . /\n")
        .file(
            ".dockerignore",
            "*.log\n!keep.log\nDockerfile\n.dockerignore\n",
        )
        .file("a.log", "x")
        .file("keep.log", "x")
        .file("d/b.txt", "x")
        .build(&[]);
    assert_eq!(image.paths(), [vec!["d", "d/b.txt", "keep.log"]]);
}

#[test]
fn an_epoch_clamps_every_time() {
    let image = Workspace::with_dockerfile("FROM scratch\nCOPY a /d/a\n")
        .file("a", "x")
        .build(&["--source-date-epoch", "86400"]);
    assert_eq!(image.config["created"], "1970-01-02T00:00:00Z");
    assert_eq!(
        image.config["history"][0]["created"],
        "1970-01-02T00:00:00Z"
    );
}
