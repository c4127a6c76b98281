//! One result in every form that `--output` knows.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::harness::{Image, Workspace};

const DOCKERFILE: &str =
    "FROM scratch\nCOPY --chown=7:8 --chmod=4751 tool /bin/tool\nCOPY data /data\n";

/// The files of a tar archive by name.
fn archive(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(std::fs::File::open(path).unwrap());
    let mut files = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        files.insert(name, content);
    }
    files
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn workspace() -> Workspace {
    Workspace::with_dockerfile(DOCKERFILE)
        .file("tool", "#!/bin/sh\n")
        .file("data/deep/file", "content")
}

#[test]
fn one_build_writes_every_output_with_one_digest_and_says_so_in_the_metadata_file() {
    let workspace = workspace();
    let path = |name: &str| workspace.path(name).display().to_string();
    let outputs = [
        format!("type=oci,dest={}", path("layout")),
        format!("type=oci,dest={}", path("oci.tar")),
        format!("type=docker,dest={}", path("docker.tar")),
        format!("type=local,dest={}", path("files")),
        format!("type=tar,dest={}", path("files.tar")),
    ];
    let metadata = path("metadata.json");
    let mut arguments = vec!["--metadata-file", &metadata, "--tag", "example.com/a/b:1"];
    for output in &outputs {
        arguments.extend(["--output", output]);
    }
    let ended = workspace.run("build", &arguments);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let digest = ended.stdout.trim();

    let image = Image::read(&workspace.path("layout"), digest);
    assert_eq!(image.layers.len(), 2);

    let oci = archive(&workspace.path("oci.tar"));
    let entry = &json(&oci["index.json"])["manifests"][0];
    assert_eq!(entry["digest"], digest);
    let annotations = &entry["annotations"];
    assert_eq!(annotations["io.containerd.image.name"], "example.com/a/b:1");
    assert_eq!(annotations["org.opencontainers.image.ref.name"], "1");

    let docker = archive(&workspace.path("docker.tar"));
    let list = &json(&docker["manifest.json"])[0];
    assert_eq!(list["RepoTags"][0], "example.com/a/b:1");
    let config = json(&docker[list["Config"].as_str().unwrap()]);
    assert_eq!(config, image.config);
    for layer in list["Layers"].as_array().unwrap() {
        assert!(docker.contains_key(layer.as_str().unwrap()), "{layer}");
    }

    let metadata = json(&std::fs::read(workspace.path("metadata.json")).unwrap());
    assert_eq!(metadata["containerimage.digest"], digest);
    assert_eq!(metadata["containerimage.descriptor"]["digest"], digest);
    assert_eq!(metadata["image.name"], "example.com/a/b:1");
    assert!(
        metadata["containerimage.config.digest"]
            .as_str()
            .unwrap()
            .starts_with("sha256:")
    );
}

#[test]
fn the_files_of_an_image_are_its_own_in_a_directory_and_keep_owners_in_an_archive() {
    use std::os::unix::fs::PermissionsExt;
    let workspace = workspace();
    let files = workspace.path("files");
    let tar = workspace.path("files.tar");
    let outputs = [
        files.display().to_string(),
        format!("type=tar,dest={}", tar.display()),
    ];
    let ended = workspace.run("build", &["-o", &outputs[0], "-o", &outputs[1]]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let tool = files.join("bin/tool").metadata().unwrap();
    assert_eq!(tool.permissions().mode() & 0o7777, 0o4751);
    let read = std::fs::read_to_string(files.join("data/deep/file")).unwrap();
    assert_eq!(read, "content");

    let mut archive = tar::Archive::new(std::fs::File::open(&tar).unwrap());
    let tool = archive
        .entries()
        .unwrap()
        .map(Result::unwrap)
        .find(|entry| entry.path_bytes().as_ref() == b"bin/tool")
        .unwrap();
    assert_eq!(tool.header().uid().unwrap(), 7);
    assert_eq!(tool.header().gid().unwrap(), 8);
    assert_eq!(tool.header().mode().unwrap(), 0o4751);
    let listed = std::process::Command::new("tar")
        .arg("-tf")
        .arg(&tar)
        .output()
        .unwrap();
    assert!(listed.status.success(), "{listed:?}");
}

#[test]
fn two_outputs_to_one_path_are_refused() {
    let workspace = workspace();
    let ended = workspace.run(
        "build",
        &["-o", "type=tar,dest=x.tar", "-o", "type=docker,dest=x.tar"],
    );
    assert_eq!(ended.code, 2);
    assert!(
        ended.stderr.contains("two outputs go to x.tar"),
        "{}",
        ended.stderr
    );
}
