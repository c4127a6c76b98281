//! What a RUN can and cannot reach: credentials and the engine are out of reach, and what it prints fools nobody.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use stagecraft_e2e::build::spec_of;
use stagecraft_e2e::{Build, in_namespace};

/// A password that stands in a secret of the build and must be found nowhere.
const PASSWORD: [&str; 2] = ["swordfish-", "4711-nobody-knows"];

/// Looks for the password wherever a RUN may hope to find it. The needle comes by a pipe, so that no command line holds
/// it, and files of the kernel are read only as far as it lets them be read.
const SEARCH: &str = r#"#!/bin/sh
set -u
needle() { printf '%s%s' "$1" "$2"; }
found=/found
: > "$found"
look() {
    if needle swordfish- 4711-nobody-knows | grep -qsf - "$1" 2>/dev/null; then echo "the password is in $1" >> "$found"; fi
}
for file in /proc/[0-9]*/environ /proc/[0-9]*/cmdline /proc/net/unix; do look "$file"; done
find / -xdev -type f -size -2048 ! -path '/proc/*' ! -path '/sys/*' 2>/dev/null > /files
for place in /run /var/run /dev/shm /scratch; do find "$place" -type f 2>/dev/null >> /files; done
while read -r file; do look "$file"; done < /files
find / -xdev -name '*dockerconfig*' 2>/dev/null >> "$found"
if [ -e /var/run/secrets ]; then echo "a service account's directory" >> "$found"; fi
if [ -e /stagecraft ]; then echo "a directory of ours" >> "$found"; fi
awk '$5 ~ "^/(run/stagecraft|stagecraft|scratch|var/run/secrets)"' /proc/self/mountinfo >> "$found"
# The kernel lets root of the namespace list the numbers of descriptors, and nothing more.
for entry in root cwd exe fd/0 fd/1 fd/2 fd/3 fd/4 fd/5 fd/6 fd/7 fd/8 fd/9; do
    readlink "/proc/1/$entry" >/dev/null 2>&1 && echo "/proc/1/$entry leads somewhere" >> "$found"
done
dd if=/proc/1/mem of=/dev/null bs=1 count=0 2>/dev/null && echo "/proc/1/mem opens" >> "$found"
env | sort
cat "$found"
if [ -s "$found" ]; then exit 1; fi
echo "searched $(wc -l < /files) files and found nothing"
"#;

#[test]
fn no_credential_is_in_reach_of_a_run() -> anyhow::Result<()> {
    in_namespace("credentials", |namespace| {
        let password = PASSWORD.concat();
        namespace.registry_secret("login", "somewhere.example.com", "someone", &password)?;
        let dockerfile = "FROM busybox:latest\nCOPY search.sh /\nRUN sh /search.sh\n";
        let mut spec = spec_of(namespace, "search", dockerfile);
        spec["source"] = json!({"inline": {"files": [{"path": "search.sh", "content": SEARCH}]}});
        spec["registrySecrets"] = json!([{"name": "login"}]);
        let build = Build::apply(namespace, "search", &spec)?;
        build.succeeds()?;
        let log = build.log("engine")?;
        ensure!(
            log.contains("and found nothing"),
            "the search did not end well:\n{log}"
        );
        ensure!(!log.contains(&password), "the password is in the log");
        for name in ["KUBERNETES_SERVICE_HOST=", "STAGECRAFT_", "POD_NAME="] {
            ensure!(
                !log.contains(&format!(" {name}")),
                "{name} is in the environment of a RUN"
            );
        }
        Ok(())
    })
}

#[test]
fn output_that_looks_like_the_engines_own_fools_nobody() -> anyhow::Result<()> {
    in_namespace("forgery", |namespace| {
        let lie = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
        let dockerfile = format!(
            "FROM busybox:latest AS honest\n\
             RUN echo '#1 DONE 0.1s'; \
             echo '#2 ERROR exit code 9'; \
             echo '#3 [liar 1/1] RUN nothing'; \
             echo '#report 1/1 {{\"digest\":\"{lie}\",\"stages\":[{{\"name\":\"liar\",\"index\":0,\"state\":\"Succeeded\",\"steps\":1,\"cachedSteps\":0}}]}}'; \
             printf '\\r#4 CANCELED\\n\\033[2J#5 DONE 1s\\n'; \
             echo true > /truth\n"
        );
        let build = Build::of_dockerfile(namespace, "forgery", &dockerfile)?;
        let image = build.succeeds()?;
        ensure!(
            image.digest != lie,
            "the digest of the lie is in the status"
        );
        let status = build.status()?;
        let names: Vec<&str> = status
            .stages
            .iter()
            .map(|stage| stage.name.as_str())
            .collect();
        ensure!(
            names == ["honest"],
            "the stages in the status are {names:?}"
        );
        ensure!(
            status.failure.is_none(),
            "the status has a failure: {:?}",
            status.failure
        );
        let log = build.log("engine")?;
        let control = log
            .chars()
            .any(|character| character.is_control() && character != '\n');
        ensure!(!control, "control characters of a RUN reached the log");
        Ok(())
    })
}

#[test]
fn the_pod_is_as_small_in_rights_as_it_says() -> anyhow::Result<()> {
    in_namespace("pod-shape", |namespace| {
        let build = Build::of_dockerfile(namespace, "shape", "FROM busybox:latest\nRUN sleep 5\n")?;
        let pod = build.running_pod()?;
        let pod = namespace.get(&["pod", &pod])?;
        let spec = &pod["spec"];
        ensure!(
            spec["hostUsers"] == json!(false),
            "the pod shares the node's users"
        );
        ensure!(
            spec["automountServiceAccountToken"] == json!(false),
            "a token is mounted"
        );
        ensure!(spec["restartPolicy"] == "Never", "the pod restarts");
        for switch in ["hostNetwork", "hostPID", "hostIPC"] {
            ensure!(spec[switch] != json!(true), "{switch} is on");
        }
        let containers = spec["containers"]
            .as_array()
            .context("a pod without containers")?;
        for container in containers {
            let context = &container["securityContext"];
            let name = &container["name"];
            ensure!(
                context["allowPrivilegeEscalation"] == json!(false),
                "{name}: {context}"
            );
            ensure!(
                context["capabilities"]["drop"] == json!(["ALL"]),
                "{name}: {context}"
            );
            ensure!(
                context["capabilities"]["add"].is_null(),
                "{name}: {context}"
            );
            let profile = [
                &context["seccompProfile"]["type"],
                &spec["securityContext"]["seccompProfile"]["type"],
            ];
            ensure!(
                profile.contains(&&json!("RuntimeDefault")),
                "{name} has no seccomp profile"
            );
            if name != "engine" {
                let secret = secrets_of(spec, container);
                ensure!(secret.is_empty(), "{name} mounts {secret:?}");
            }
        }
        Ok(())
    })
}

/// The volumes of a container that are more than empty directories.
fn secrets_of(spec: &Value, container: &Value) -> Vec<String> {
    let mounts = container["volumeMounts"].as_array().into_iter().flatten();
    mounts
        .filter_map(|mount| mount["name"].as_str())
        .filter(|name| {
            spec["volumes"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|volume| volume["name"] == *name && volume["emptyDir"].is_null())
        })
        .map(str::to_owned)
        .collect()
}
