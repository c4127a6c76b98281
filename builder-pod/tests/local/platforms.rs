//! Images for other platforms than the machine's, where nothing foreign has to run.

use std::path::Path;

use serde_json::Value;

use crate::harness::{Image, Workspace};

/// One that is not the machine's.
fn foreign() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "linux/amd64",
        _ => "linux/arm64",
    }
}

#[test]
fn what_only_copies_is_built_for_any_platform() {
    let workspace = Workspace::with_dockerfile(
        "FROM scratch\nARG TARGETPLATFORM\nARG TARGETVARIANT\nCOPY data /data\nLABEL for=$TARGETPLATFORM v=$TARGETVARIANT\n",
    )
    .file("data", "x");
    let image = workspace.build(&["--platform=linux/arm/v6"]);
    assert_eq!(image.config["architecture"], "arm");
    assert_eq!(image.config["variant"], "v6");
    assert_eq!(image.config["config"]["Labels"]["for"], "linux/arm/v6");
    assert_eq!(image.config["config"]["Labels"]["v"], "v6");
}

#[test]
fn a_run_of_another_architecture_is_refused_with_its_line() {
    let workspace = Workspace::with_dockerfile("FROM scratch\nCOPY data /\nRUN [\"/data\"]\n")
        .file("data", "x");
    let (failure, _) = workspace.failure(&["--platform", foreign()]);
    assert_eq!(failure["line"], 3);
    let message = failure["message"].as_str().unwrap();
    assert!(
        message.contains(&format!("this RUN is for {}", foreign())),
        "{message}"
    );
}

#[test]
fn a_stage_for_the_machine_runs_and_its_result_is_part_of_an_image_for_another() {
    let base = Workspace::with_dockerfile("FROM scratch\nCOPY busybox /bin/busybox\n").busybox();
    base.build(&[]);
    let context = format!("base=oci-layout://{}", base.path("layout").display());
    let workspace = Workspace::with_dockerfile(
        "FROM --platform=$BUILDPLATFORM base AS build\nARG TARGETARCH BUILDPLATFORM\n\
         RUN [\"/bin/busybox\", \"sh\", \"-c\", \"echo $TARGETARCH on $BUILDPLATFORM > /made\"]\n\
         FROM scratch\nCOPY --from=build /made /made\n",
    );
    let image = workspace.build(&["--platform", foreign(), "--build-context", &context]);
    let (_, architecture) = foreign().split_once('/').unwrap();
    assert_eq!(image.config["architecture"], architecture);
    let made = &image.entry("made").content;
    assert!(
        made.starts_with(&format!("{architecture} on linux/")),
        "{made}"
    );
    assert!(!made.contains(&format!("on {}", foreign())), "{made}");
}

#[test]
fn several_platforms_become_one_index() {
    let workspace = Workspace::with_dockerfile(
        "FROM scratch\nARG TARGETARCH\nCOPY data-$TARGETARCH /data\nCOPY common /common\n",
    )
    .file("data-amd64", "of amd64")
    .file("data-arm", "of arm")
    .file("common", "of both");
    let layout = workspace.path("layout");
    let files = workspace.path("files");
    let metadata = workspace.path("metadata.json");
    let ended = workspace.run(
        "build",
        &[
            "--platform=linux/amd64,linux/arm/v7,linux/amd64",
            "--tag=example.com/several:1",
            &format!("--output=type=oci,dest={}", layout.display()),
            &format!("--output=type=local,dest={}", files.display()),
            &format!("--metadata-file={}", metadata.display()),
        ],
    );
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("linux/arm/v7 stage-0 1/2"),
        "{}",
        ended.stderr
    );

    let digest = ended.stdout.trim();
    let index = json(&layout.join("blobs/sha256").join(&digest["sha256:".len()..]));
    assert_eq!(
        index["mediaType"],
        "application/vnd.oci.image.index.v1+json"
    );
    let manifests = index["manifests"].as_array().unwrap();
    assert_eq!(manifests.len(), 2, "{index}");
    assert_eq!(manifests[0]["platform"]["architecture"], "amd64");
    assert_eq!(manifests[1]["platform"]["architecture"], "arm");
    assert_eq!(manifests[1]["platform"]["variant"], "v7");
    for (manifest, content) in manifests.iter().zip(["of amd64", "of arm"]) {
        let image = Image::read(&layout, manifest["digest"].as_str().unwrap());
        assert_eq!(image.entry("data").content, content);
        assert_eq!(image.entry("common").content, "of both");
        assert_eq!(
            image.config["architecture"],
            manifest["platform"]["architecture"]
        );
    }
    let named = json(&layout.join("index.json"));
    assert_eq!(named["manifests"][0]["digest"], digest);

    let read = |path: &str| std::fs::read_to_string(files.join(path)).unwrap();
    assert_eq!(read("linux_amd64/data"), "of amd64");
    assert_eq!(read("linux_arm_v7/data"), "of arm");
    let metadata = json(&metadata);
    assert_eq!(metadata["containerimage.digest"], digest);
    assert!(metadata.get("containerimage.config.digest").is_none());

    // The layout is a named context: the platform that is asked for is taken from its index.
    let context = format!("base=oci-layout://{}", layout.display());
    let reader = Workspace::with_dockerfile("FROM scratch\nCOPY --from=base /data /data\n");
    let image = reader.build(&["--platform=linux/arm/v8", "--build-context", &context]);
    assert_eq!(image.entry("data").content, "of arm");
    let (failure, _) = reader.failure(&["--platform=linux/s390x", "--build-context", &context]);
    let message = failure["message"].as_str().unwrap();
    assert!(
        message.contains("it is there for linux/amd64, linux/arm/v7"),
        "{message}"
    );
    assert_eq!(failure["line"], 2);
}

#[test]
fn what_holds_one_image_does_not_take_several_platforms() {
    let workspace = Workspace::with_dockerfile("FROM scratch\n");
    for kind in ["docker", "tar"] {
        let output = format!("--output=type={kind},dest=x");
        let ended = workspace.run("build", &["--platform=linux/amd64,linux/arm64", &output]);
        assert_eq!(ended.code, 2, "{}", ended.stderr);
        assert!(
            ended.stderr.contains("for one platform"),
            "{}",
            ended.stderr
        );
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}
