//! Every example of the repository, on the cluster, as a person applies it: the image is pushed, is what the example's
//! README says, and runs in a namespace that enforces `restricted`.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use serde_json::json;
use stagecraft_e2e::cluster::{Cluster, SYSTEM_NAMESPACE};
use stagecraft_e2e::{Namespace, example, in_namespace, pod};

#[test]
fn every_example_has_a_test_in_this_file() -> anyhow::Result<()> {
    let tested: BTreeSet<&str> = BTreeSet::from([
        "build-args",
        "external-image",
        "href-counter",
        "private-registry",
        "shared-base",
        "targets",
    ]);
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(example::directory()).context("cannot list the examples")? {
        let entry = entry.context("cannot list the examples")?;
        if entry.path().join("imagebuild.yaml").exists() {
            found.insert(entry.file_name().to_string_lossy().into_owned());
        }
    }
    let tested: BTreeSet<String> = tested.into_iter().map(str::to_owned).collect();
    ensure!(found == tested, "examples {found:?}, tests for {tested:?}");
    Ok(())
}

#[test]
fn the_chart_is_installed_in_a_namespace_that_enforces_restricted() -> anyhow::Result<()> {
    let cluster = Cluster::connect()?;
    let namespace = cluster.get(&["namespace", SYSTEM_NAMESPACE])?;
    let label = "pod-security.kubernetes.io/enforce";
    ensure!(
        namespace["metadata"]["labels"][label] == "restricted",
        "it enforces something else"
    );
    let available = cluster.kubectl(&[
        "--namespace",
        SYSTEM_NAMESPACE,
        "get",
        "deployment",
        "stagecraft",
        "--output=jsonpath={.status.availableReplicas}",
    ])?;
    ensure!(
        available == "1",
        "{available:?} replicas of the operator are available"
    );
    Ok(())
}

#[test]
fn href_counter_counts_links_and_leaves_the_sdk_behind() -> anyhow::Result<()> {
    in_namespace("href-counter", |namespace| {
        let packages = namespace.cluster.supplies.packages.clone();
        let modules = format!("{packages}/go");
        let arguments = [
            ("http_proxy", packages.as_str()),
            ("GOPROXY", modules.as_str()),
        ];
        let builds = example::apply(namespace, "href-counter", &arguments)?;
        ensure!(builds.len() == 2, "the example has {} builds", builds.len());
        for (number, build) in builds.iter().enumerate() {
            let image = build.succeeds()?;
            let files = image.files()?;
            ensure!(
                files.contains_key("root/app"),
                "the program is not in the image"
            );
            let sdk = files.keys().find(|path| path.starts_with("usr/local/go"));
            ensure!(sdk.is_none(), "the Go SDK is in the image: {sdk:?}");
            let authorities = files.contains_key("etc/ssl/certs/ca-certificates.crt");
            ensure!(
                authorities,
                "the authorities that apt-get installed are not in the image"
            );
            let config = image.config()?;
            ensure!(
                config["config"]["Cmd"] == json!(["./app"]),
                "Cmd is {}",
                config["config"]["Cmd"]
            );
            ensure!(
                config["config"]["WorkingDir"] == "/root/",
                "WorkingDir differs: {}",
                config["config"]
            );
            let output = count_links(namespace, &format!("count-{number}"), &image.reference)?;
            ensure!(
                output.trim() == r#"{"internal": 2, "external": 1}"#,
                "it prints {output:?}"
            );
            let status = build.status()?;
            ensure!(status.stages.len() == 2, "stages: {:?}", status.stages);
            ensure!(
                status.progress.as_deref() == Some("2/2"),
                "progress {:?}",
                status.progress
            );
            ensure!(
                status.base_images.len() == 2,
                "base images: {:?}",
                status.base_images
            );
        }
        Ok(())
    })
}

/// Runs href-counter beside a web page with two links to its own host and one to another.
fn count_links(namespace: &Namespace, name: &str, image: &str) -> anyhow::Result<String> {
    let serve = "mkdir /tmp/page && cd /tmp/page && \
                 echo '<a href=/one>1</a><a href=two>2</a><a href=http://other.example/>3</a><a href=mailto:x@y>4</a>' \
                 > index.html && exec httpd -f -p 8080";
    let page = json!([{
        "name": "page",
        "image": "busybox:latest",
        "restartPolicy": "Always",
        "command": ["sh", "-c", serve],
        "startupProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    }]);
    let counter = json!([{
        "name": "main",
        "image": image,
        "env": [{"name": "url", "value": "http://127.0.0.1:8080/"}],
    }]);
    pod::run(namespace, name, &page, &counter)
}

#[test]
fn targets_builds_each_stage_with_its_own_files() -> anyhow::Result<()> {
    in_namespace("targets", |namespace| {
        let builds = example::apply(namespace, "targets", &[])?;
        let [debug, testing, production] = &builds[..] else {
            anyhow::bail!("the example has {} builds", builds.len());
        };
        let (debug, testing, production) = (
            debug.succeeds()?,
            testing.succeeds()?,
            production.succeeds()?,
        );
        let has_test_data = |files: &std::collections::BTreeMap<String, _>| {
            files
                .keys()
                .any(|path| path.starts_with("srv/greeter/testdata"))
        };
        ensure!(
            has_test_data(&testing.files()?),
            "the testing image has no test data"
        );
        ensure!(
            !has_test_data(&production.files()?),
            "the production image has test data"
        );
        ensure!(
            !has_test_data(&debug.files()?),
            "the debug image has test data"
        );
        let user = production.config()?["config"]["User"].clone();
        ensure!(user == "65534:65534", "production runs as {user}");
        let output = pod::output_of(namespace, "production", &production.reference)?;
        ensure!(
            output == "Good day, Ada!\nGood day, Grace!\n",
            "production prints {output:?}"
        );
        let output = pod::output_of(namespace, "testing", &testing.reference)?;
        ensure!(output == "ok\n", "testing prints {output:?}");
        let output = pod::output_of(namespace, "debug", &debug.reference)?;
        ensure!(output.contains("Good day, Ada!"), "debug prints {output:?}");
        Ok(())
    })
}

#[test]
fn external_image_has_the_other_images_file() -> anyhow::Result<()> {
    in_namespace("external-image", |namespace| {
        let builds = example::apply(namespace, "external-image", &[])?;
        let image = builds
            .first()
            .context("the example has no build")?
            .succeeds()?;
        let registry = &namespace.cluster.supplies.registry.from_here;
        let nginx = format!("{registry}/library/nginx:latest");
        let directory = tempfile::tempdir().context("cannot create a directory")?;
        let archive = directory.path().join("nginx.tar");
        let path = archive.to_string_lossy();
        namespace
            .cluster
            .crane(&["export", "--insecure", &nginx, &path])?;
        let original = std::process::Command::new("tar")
            .args([
                "--extract",
                "--to-stdout",
                "--file",
                &path,
                "etc/nginx/nginx.conf",
            ])
            .output()
            .context("cannot start tar")?;
        let copied = image.text_of("nginx.conf")?;
        ensure!(!copied.is_empty(), "the file is empty");
        ensure!(
            copied.as_bytes() == original.stdout,
            "the file is another than the image's"
        );
        let base = namespace.cluster.crane(&[
            "manifest",
            "--insecure",
            &format!("{registry}/library/busybox:latest"),
        ])?;
        let layers = image.layers()?;
        ensure!(layers.len() == 2, "the image has {} layers", layers.len());
        ensure!(
            base.contains(&layers[0]),
            "the base's layer was not kept as it is"
        );
        Ok(())
    })
}

#[test]
fn shared_base_has_both_programs_and_no_compiler() -> anyhow::Result<()> {
    in_namespace("shared-base", |namespace| {
        let builds = example::apply(namespace, "shared-base", &[])?;
        let build = builds.first().context("the example has no build")?;
        let image = build.succeeds()?;
        let files = image.files()?;
        ensure!(
            !files.contains_key("usr/bin/gcc"),
            "the compiler is in the image"
        );
        let output = pod::output_of(namespace, "run", &image.reference)?;
        ensure!(
            output == "one: built on the shared base\ntwo: built on the shared base\n",
            "it prints {output:?}"
        );
        let names: Vec<String> = build
            .status()?
            .stages
            .into_iter()
            .map(|stage| stage.name)
            .collect();
        for name in ["builder", "build1", "build2"] {
            ensure!(
                names.iter().any(|found| found == name),
                "no stage {name} in {names:?}"
            );
        }
        Ok(())
    })
}

#[test]
fn build_args_arrive_from_every_place() -> anyhow::Result<()> {
    in_namespace("build-args", |namespace| {
        let builds = example::apply(namespace, "build-args", &[])?;
        let image = builds
            .first()
            .context("the example has no build")?
            .succeeds()?;
        let output = pod::output_of(namespace, "run", &image.reference)?;
        ensure!(
            output == "hello, everyone: on busybox:latest, through http://proxy.example.com:3128\n",
            "it prints {output:?}"
        );
        let config = image.config()?;
        ensure!(
            config["config"]["Labels"]["example.base"] == "busybox:latest",
            "the label differs"
        );
        ensure!(
            !config.to_string().contains("proxy.example.com"),
            "the proxy is in the image"
        );
        Ok(())
    })
}

#[test]
fn private_registry_is_pulled_from_and_pushed_to_with_a_password() -> anyhow::Result<()> {
    in_namespace("private-registry", |namespace| {
        let cluster = &namespace.cluster;
        let secure = &cluster.supplies.secure_registry;
        let base = cluster.supplies.registry.from_here.clone() + "/library/busybox:latest";
        let login = tempfile::tempdir().context("cannot create a directory")?;
        let crane = |arguments: &[&str]| -> anyhow::Result<String> {
            let output = std::process::Command::new("crane")
                .args(arguments)
                .env("DOCKER_CONFIG", login.path())
                .env("SSL_CERT_FILE", &secure.authority)
                .output()
                .context("cannot start crane")?;
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(
                output.status.success(),
                "crane {}: {words}",
                arguments.join(" ")
            );
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        crane(&[
            "auth",
            "login",
            &secure.from_here,
            "--username",
            &secure.user,
            "--password",
            &secure.password,
        ])?;
        crane(&[
            "copy",
            "--insecure",
            &base,
            &format!("{}/demo/base:1", secure.from_here),
        ])?;
        namespace.registry_secret(
            "private-registry",
            &secure.host,
            &secure.user,
            &secure.password,
        )?;
        let authority =
            std::fs::read_to_string(&secure.authority).context("cannot read the authority")?;
        namespace.config_map("private-registry-ca", &json!({"ca.crt": authority}))?;
        let builds = example::apply(namespace, "private-registry", &[])?;
        let build = builds.first().context("the example has no build")?;
        let ended = build.wait_for(
            "the build is Ready",
            stagecraft_e2e::build::BUILD_LIMIT,
            |status| {
                status
                    .conditions
                    .iter()
                    .any(|condition| {
                        (condition.type_ == "Ready" || condition.type_ == "Stalled")
                            && condition.status == "True"
                    })
                    .then(|| status.clone())
            },
        )?;
        ensure!(ended.failure.is_none(), "it failed: {:?}", ended.failure);
        let output = ended.outputs.first().context("no output")?;
        ensure!(
            output.images.len() == 2,
            "it was pushed to {:?}",
            output.images
        );
        for tag in ["1", "latest"] {
            let digest = crane(&[
                "digest",
                &format!("{}/demo/private-registry:{tag}", secure.from_here),
            ])?;
            ensure!(
                digest == output.digest,
                "tag {tag} is {digest}, the status says {}",
                output.digest
            );
        }
        Ok(())
    })
}
