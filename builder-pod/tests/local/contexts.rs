//! Named contexts: directories and OCI layouts in the place of stages and images.

use crate::harness::{Ended, Workspace};

fn workspace(dockerfile: &str) -> Workspace {
    Workspace::with_dockerfile(dockerfile)
        .file("assets/page", "the page")
        .file("assets/hidden", "not for the image")
        .file("assets/.dockerignore", "hidden\n")
        .file("own", "of the main context")
}

/// `NAME=` the directory of this name in the context.
fn directory(workspace: &Workspace, name: &str) -> String {
    let path = workspace.path("context/assets");
    format!("{name}={}", path.display())
}

/// Writes an image with one file into a layout beside the context.
fn layout(text: &str) -> (Workspace, String) {
    let base = Workspace::with_dockerfile(
        "FROM scratch\nENV FROM_LAYOUT=yes\nCOPY --chown=5:6 --chmod=640 data /etc/data\n",
    )
    .file("data", text);
    let path = base.path("layout").display().to_string();
    let output = format!("type=oci,dest={path}");
    let ended = base.run(
        "build",
        &["--tag", "example.com/base:7", "--output", &output],
    );
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    (base, path)
}

fn stderr_of_a_failure(workspace: &Workspace, more: &[&str]) -> String {
    let Ended { code, stderr, .. } = workspace.run("build", more);
    assert_ne!(code, 0, "it should fail");
    stderr
}

#[test]
fn a_directory_is_copied_from_by_its_own_ignore_file() {
    let workspace = workspace("FROM scratch\nCOPY --from=assets . /a/\nCOPY own /own\n");
    let image = workspace.build(&["--build-context", &directory(&workspace, "assets")]);
    assert_eq!(image.entry("a/page").content, "the page");
    assert_eq!(image.entry("a/page").owner, (0, 0));
    assert!(
        !image.layers[0].contains_key("a/hidden"),
        "{:?}",
        image.paths()
    );
    assert_eq!(image.entry("own").content, "of the main context");
}

#[test]
fn a_directory_comes_before_a_stage_of_its_name_which_is_not_built() {
    let workspace = workspace(
        "FROM missing.example.com/nothing AS built\nRUN false\nFROM scratch\nCOPY --from=built /page /page\n",
    );
    let image = workspace.build(&["--build-context", &directory(&workspace, "built")]);
    assert_eq!(image.entry("page").content, "the page");
}

#[test]
fn a_stage_begins_with_the_files_of_a_directory() {
    let workspace = workspace("FROM files\nCOPY own /sub/\n");
    let image = workspace.build(&["--build-context", &directory(&workspace, "files")]);
    assert_eq!(image.layers.len(), 2);
    let first: Vec<&String> = image.layers[0].keys().collect();
    assert_eq!(first, [".dockerignore", "page"]);
    let history = image.config["history"].as_array().unwrap();
    assert_eq!(history.len(), 2);
    assert_eq!(history[0]["created_by"], "local source for files");
    assert_eq!(image.config["config"]["WorkingDir"], "/");
}

#[test]
fn a_directory_in_the_place_of_the_target_is_the_image() {
    let workspace = workspace("FROM scratch AS out\nCOPY own /\nENV A=b\n");
    let image = workspace.build(&["--build-context", &directory(&workspace, "out")]);
    assert_eq!(image.entry("page").content, "the page");
    assert!(
        image.config["config"].get("Env").is_none(),
        "{}",
        image.config
    );
}

#[test]
fn an_image_of_a_layout_is_a_base_and_is_copied_from() {
    let (_base, path) = layout("from the layout");
    let context = format!("base=oci-layout://{path}:7");
    let workspace = workspace("FROM base\nCOPY own /own\n");
    let image = workspace.build(&["--build-context", &context]);
    assert_eq!(image.entry("etc/data").content, "from the layout");
    assert_eq!(image.entry("etc/data").owner, (5, 6));
    let environment = image.config["config"]["Env"].as_array().unwrap();
    assert!(environment.iter().any(|line| line == "FROM_LAYOUT=yes"));

    let copying = self::workspace("FROM scratch\nCOPY --from=base:1 /etc/data /d\n");
    // An image that is alone is found whatever the tag.
    let context = format!("base:1=oci-layout://{path}");
    let image = copying.build(&["--build-context", &context]);
    let entry = image.entry("d");
    assert_eq!((entry.mode & 0o7777, entry.owner), (0o640, (5, 6)));
}

#[test]
fn a_blob_of_a_layout_that_was_changed_is_noticed() {
    let (base, path) = layout("the content");
    let blobs = base.path("layout/blobs/sha256");
    for entry in std::fs::read_dir(&blobs).unwrap() {
        let blob = entry.unwrap().path();
        let mut bytes = std::fs::read(&blob).unwrap();
        // Documents stay as they are: the layer is what is changed.
        if bytes.first() != Some(&b'{') {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            std::fs::write(&blob, bytes).unwrap();
        }
    }
    let workspace = workspace("FROM scratch\nCOPY --from=base /etc/data /d\n");
    let context = format!("base=oci-layout://{path}");
    let stderr = stderr_of_a_failure(&workspace, &["--build-context", &context]);
    assert!(stderr.contains(" served sha256:"), "{stderr}");
}

#[test]
fn what_is_no_context_is_refused_in_words() {
    let workspace = workspace("FROM scratch\nCOPY --from=assets /page /page\n");
    for (value, expected) in [
        (
            "/does/not/exist",
            "--build-context assets=/does/not/exist: ",
        ),
        ("ftp://example.com/x", "ftp is no kind of a context"),
        ("target:other", "target is no kind of a context"),
        (
            "oci-layout:///does/not/exist",
            "cannot read /does/not/exist/oci-layout",
        ),
        (
            "https://example.com/a.git",
            "which is fetched, is not supported yet",
        ),
    ] {
        let given = format!("assets={value}");
        let stderr = stderr_of_a_failure(&workspace, &["--build-context", &given]);
        assert!(stderr.contains(expected), "{value}: {stderr}");
    }
    // Nothing needs it, so nobody looks.
    workspace.build(&[
        "--build-context",
        &directory(&workspace, "assets"),
        "--build-context",
        "unused=ftp://example.com/x",
    ]);
}
