//! Bad input and faults: each ends (or waits) for its reason, with the place and words that a person needs, and nothing
//! is pushed.

use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use stagecraft_api::reasons::Reason;
use stagecraft_api::v1alpha1::FailureStatus;
use stagecraft_e2e::build::spec_of;
use stagecraft_e2e::cluster::Refused;
use stagecraft_e2e::{Build, Namespace, in_namespace};

/// Builds a Dockerfile that must fail for `reason`, and returns why it says it failed.
fn failure_of(
    namespace: &Namespace,
    dockerfile: &str,
    reason: Reason,
) -> anyhow::Result<FailureStatus> {
    Build::of_dockerfile(namespace, "bad", dockerfile)?.fails(reason)
}

/// Checks where a failure says that it happened.
fn at(failure: &FailureStatus, line: i32, instruction: &str) -> anyhow::Result<()> {
    ensure!(
        failure.line == Some(line),
        "line {:?}: {failure:?}",
        failure.line
    );
    ensure!(
        failure.column.is_some_and(|column| column > 0),
        "no column: {failure:?}"
    );
    ensure!(failure.file.is_some(), "no file: {failure:?}");
    let text = failure.instruction.as_deref().unwrap_or_default();
    ensure!(text.starts_with(instruction), "instruction {text:?}");
    Ok(())
}

fn says(text: &str, words: &[&str]) -> anyhow::Result<()> {
    for word in words {
        ensure!(text.contains(word), "{text:?} does not say {word:?}");
    }
    Ok(())
}

#[test]
fn an_unknown_instruction_is_shown_with_its_place_and_the_nearest_one() -> anyhow::Result<()> {
    in_namespace("unknown-instruction", |namespace| {
        let failure = failure_of(
            namespace,
            "FROM busybox:latest\n\nCOPPY a b\n",
            Reason::Dockerfile,
        )?;
        ensure!(
            failure.line == Some(3) && failure.column == Some(1),
            "{failure:?}"
        );
        says(&failure.message, &["COPPY", "COPY"])
    })
}

#[test]
fn a_syntax_error_is_shown_with_its_place() -> anyhow::Result<()> {
    in_namespace("syntax-error", |namespace| {
        let dockerfile = "FROM busybox:latest\nENV\n";
        let failure = failure_of(namespace, dockerfile, Reason::Dockerfile)?;
        ensure!(
            failure.line == Some(2) && failure.column.is_some(),
            "{failure:?}"
        );
        says(&failure.message, &["ENV"])
    })
}

#[test]
fn a_misspelt_stage_is_answered_with_the_nearest_name() -> anyhow::Result<()> {
    in_namespace("misspelt-stage", |namespace| {
        let dockerfile = "FROM busybox:latest AS builder\nRUN echo x > /x\n\n\
                          FROM busybox:latest\nCOPY --from=biulder /x /x\n";
        // It may be an image as well, and is looked for: the mirror's answer is final.
        let failure = failure_of(namespace, dockerfile, Reason::BaseImage)?;
        at(&failure, 5, "COPY")?;
        says(
            &failure.message,
            &["biulder", "did you mean", "\"builder\""],
        )
    })
}

#[test]
fn an_unknown_target_is_answered_with_the_stages_there_are() -> anyhow::Result<()> {
    in_namespace("unknown-target", |namespace| {
        let mut spec = spec_of(namespace, "bad", "FROM busybox:latest AS production\n");
        spec["outputs"][0]["target"] = json!("prodction");
        let failure = Build::apply(namespace, "bad", &spec)?.wait_for(
            "it fails",
            stagecraft_e2e::build::BUILD_LIMIT,
            |status| status.failure.clone(),
        )?;
        ensure!(
            matches!(failure.reason, Reason::Dockerfile | Reason::Configuration),
            "{failure:?}"
        );
        says(&failure.message, &["prodction", "production"])
    })
}

#[test]
fn stages_that_need_each_other_are_a_mistake_with_a_place() -> anyhow::Result<()> {
    in_namespace("cycle", |namespace| {
        let dockerfile = "FROM busybox:latest AS one\nCOPY --from=two /b /a\n\
                          FROM busybox:latest AS two\nCOPY --from=one /a /b\n";
        let failure = failure_of(namespace, dockerfile, Reason::Dockerfile)?;
        ensure!(failure.line.is_some(), "{failure:?}");
        says(&failure.message, &["two"])
    })
}

#[test]
fn a_copy_source_that_is_missing_is_named() -> anyhow::Result<()> {
    in_namespace("missing-source", |namespace| {
        let mut spec = spec_of(
            namespace,
            "bad",
            "FROM busybox:latest\nCOPY nothing.txt /\n",
        );
        spec["source"] = json!({"inline": {"files": [{"path": "something.txt", "content": "x"}]}});
        let failure = Build::apply(namespace, "bad", &spec)?.fails(Reason::Dockerfile)?;
        at(&failure, 2, "COPY")?;
        says(&failure.message, &["nothing.txt"])
    })
}

#[test]
fn a_base_image_that_does_not_exist_is_named() -> anyhow::Result<()> {
    in_namespace("missing-base", |namespace| {
        // Its registry, docker.io, is out of reach here: the mirror's answer is final.
        let dockerfile = "FROM no-such-image:1\nRUN true\n";
        let failure = failure_of(namespace, dockerfile, Reason::BaseImage)?;
        ensure!(failure.line == Some(1), "{failure:?}");
        says(&failure.message, &["no-such-image"])
    })
}

/// A build that pushes to the registry with TLS and a password.
fn secure_spec(namespace: &Namespace, with_authority: bool) -> anyhow::Result<Value> {
    let secure = &namespace.cluster.supplies.secure_registry;
    let mut spec = json!({
        "dockerfile": {"inline": "FROM busybox:latest\nLABEL a=b\n"},
        "outputs": [{"images": [format!("{}/{}/image:latest", secure.host, namespace.name)]}],
        "registrySecrets": [{"name": "login"}],
        "retries": 0,
    });
    if with_authority {
        let text =
            std::fs::read_to_string(&secure.authority).context("cannot read the authority")?;
        namespace.config_map("authority", &json!({"ca.crt": text}))?;
        spec["registries"] = json!([{
            "host": secure.host,
            "caBundle": {"configMapKeyRef": {"name": "authority", "key": "ca.crt"}},
        }]);
    }
    Ok(spec)
}

#[test]
fn a_wrong_password_is_a_matter_of_credentials() -> anyhow::Result<()> {
    in_namespace("wrong-password", |namespace| {
        let secure = namespace.cluster.supplies.secure_registry.clone();
        namespace.registry_secret("login", &secure.host, &secure.user, "mistaken-4711")?;
        let spec = secure_spec(namespace, true)?;
        let failure = Build::apply(namespace, "bad", &spec)?.fails(Reason::RegistryAuth)?;
        says(&failure.message, &[&secure.host])?;
        ensure!(
            !failure.message.contains("mistaken-4711"),
            "the message shows the password"
        );
        Ok(())
    })
}

#[test]
fn a_certificate_of_an_unknown_authority_is_not_trusted() -> anyhow::Result<()> {
    in_namespace("untrusted", |namespace| {
        let secure = namespace.cluster.supplies.secure_registry.clone();
        namespace.registry_secret("login", &secure.host, &secure.user, &secure.password)?;
        let spec = secure_spec(namespace, false)?;
        let failure = Build::apply(namespace, "bad", &spec)?.fails(Reason::Registry)?;
        says(&failure.message, &[&secure.host, "certificate"])
    })
}

#[test]
fn a_registry_that_is_down_is_named() -> anyhow::Result<()> {
    in_namespace("registry-down", |namespace| {
        // A service without endpoints refuses connections.
        namespace.apply(&json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "down"},
            "spec": {"selector": {"nobody": "answers"}, "ports": [{"port": 5000}]},
        }))?;
        let host = format!("down.{}.svc.cluster.local:5000", namespace.name);
        let mut spec = spec_of(namespace, "bad", "FROM busybox:latest\nLABEL a=b\n");
        spec["outputs"][0]["images"] = json!([format!("{host}/image:latest")]);
        spec["registries"] = json!([{"host": host, "plainHTTP": true}]);
        spec["retries"] = json!(0);
        let failure = Build::apply(namespace, "bad", &spec)?.fails(Reason::Registry)?;
        says(&failure.message, &[&host])
    })
}

#[test]
fn a_failed_run_shows_exit_code_place_and_last_lines() -> anyhow::Result<()> {
    in_namespace("exit-code", |namespace| {
        let dockerfile = "FROM busybox:latest AS work\nRUN echo first && \\\n    echo last words >&2 && exit 3\n";
        let failure = failure_of(namespace, dockerfile, Reason::StepFailed)?;
        at(&failure, 2, "RUN")?;
        ensure!(
            failure.exit_code == Some(3),
            "exit code {:?}",
            failure.exit_code
        );
        ensure!(
            failure.stage.as_deref() == Some("work"),
            "stage {:?}",
            failure.stage
        );
        let tail = failure.log_tail.join("\n");
        says(&tail, &["first", "last words"])
    })
}

#[test]
fn a_run_that_wants_too_much_memory_is_told_the_limit() -> anyhow::Result<()> {
    in_namespace("memory", |namespace| {
        let dockerfile =
            "FROM busybox:latest\nRUN awk 'BEGIN { x = \"0123456789\"; while (1) x = x x }'\n";
        let mut spec = spec_of(namespace, "bad", dockerfile);
        spec["pod"] = json!({"resources": {"limits": {"memory": "256Mi"}}});
        let failure = Build::apply(namespace, "bad", &spec)?.fails(Reason::OutOfMemory)?;
        ensure!(failure.line == Some(2), "{failure:?}");
        says(&failure.message, &["256"])
    })
}

#[test]
fn a_build_that_takes_too_long_is_ended() -> anyhow::Result<()> {
    in_namespace("timeout", |namespace| {
        let mut spec = spec_of(namespace, "bad", "FROM busybox:latest\nRUN sleep 600\n");
        spec["timeout"] = json!("20s");
        let build = Build::apply(namespace, "bad", &spec)?;
        let failure = build.fails(Reason::Timeout)?;
        says(&failure.message, &["20 s"])
    })
}

/// Serves a directory of one file to the pods of the namespace, and returns its address.
fn serve(namespace: &Namespace, file: &std::path::Path) -> anyhow::Result<String> {
    let path = file.to_string_lossy();
    namespace.kubectl(&[
        "create",
        "configmap",
        "archive",
        &format!("--from-file=context.tar.gz={path}"),
    ])?;
    let command = "exec httpd -f -p 8080 -h /files";
    namespace.apply(&json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "files", "labels": {"serves": "files"}},
        "spec": {
            "automountServiceAccountToken": false,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": "main",
                "image": "busybox:latest",
                "command": ["sh", "-c", command],
                "securityContext": stagecraft_e2e::pod::confined(),
                "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
                "volumeMounts": [{"name": "files", "mountPath": "/files"}],
            }],
            "volumes": [{"name": "files", "configMap": {"name": "archive"}}],
        },
    }))?;
    namespace.apply(&json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "files"},
        "spec": {"selector": {"serves": "files"}, "ports": [{"port": 8080}]},
    }))?;
    namespace.kubectl(&[
        "wait",
        "--for=condition=Ready",
        "pod/files",
        "--timeout=120s",
    ])?;
    Ok(format!(
        "http://files.{}.svc.cluster.local:8080/context.tar.gz",
        namespace.name
    ))
}

#[test]
fn an_archive_is_used_only_if_it_has_the_digest_that_is_asked_for() -> anyhow::Result<()> {
    in_namespace("archive", |namespace| {
        let directory = tempfile::tempdir().context("cannot create a directory")?;
        std::fs::write(
            directory.path().join("Dockerfile"),
            "FROM busybox:latest\nCOPY hello /\n",
        )
        .and_then(|()| std::fs::write(directory.path().join("hello"), "from the archive\n"))
        .context("cannot write a file")?;
        let archive = directory.path().join("context.tar.gz");
        let status = Command::new("tar")
            .arg("--create")
            .arg("--gzip")
            .arg("--file")
            .arg(&archive)
            .arg("--directory")
            .arg(directory.path())
            .args(["Dockerfile", "hello"])
            .status()
            .context("cannot start tar")?;
        ensure!(status.success(), "tar failed");
        let sum = Command::new("sha256sum")
            .arg(&archive)
            .output()
            .context("cannot start sha256sum")?;
        let sum = String::from_utf8_lossy(&sum.stdout);
        let sum = sum.split(' ').next().unwrap_or_default();
        let url = serve(namespace, &archive)?;
        let spec = |name: &str, sha256: &str| {
            json!({
                "source": {"http": {"url": url, "sha256": sha256}},
                "outputs": [{"images": [format!("{}:latest", namespace.repository(name))]}],
            })
        };
        let wrong = "0".repeat(64);
        let failure =
            Build::apply(namespace, "bad", &spec("bad", &wrong))?.fails(Reason::Context)?;
        says(&failure.message, &[&wrong, sum])?;
        let image = Build::apply(namespace, "good", &spec("good", sum))?.succeeds()?;
        let text = image.text_of("hello")?;
        ensure!(text == "from the archive\n", "the file holds {text:?}");
        Ok(())
    })
}

#[test]
fn a_missing_config_map_is_waited_for_in_words() -> anyhow::Result<()> {
    in_namespace("missing-config-map", |namespace| {
        let spec = json!({
            "source": {"configMap": {"name": "late"}},
            "outputs": [{"images": [format!("{}:latest", namespace.repository("late"))]}],
        });
        let build = Build::apply(namespace, "late", &spec)?;
        let words = build.waits(Reason::WaitingForReference)?;
        says(&words, &["late"])?;
        let dockerfile = "FROM busybox:latest\nCOPY greeting /\n";
        namespace.config_map(
            "late",
            &json!({"Dockerfile": dockerfile, "greeting": "here I am\n"}),
        )?;
        let image = build.succeeds()?;
        let text = image.text_of("greeting")?;
        ensure!(text == "here I am\n", "the file holds {text:?}");
        Ok(())
    })
}

#[test]
fn a_missing_secret_is_waited_for_in_words() -> anyhow::Result<()> {
    in_namespace("missing-secret", |namespace| {
        let mut spec = spec_of(namespace, "late", "FROM busybox:latest\nLABEL a=b\n");
        spec["registrySecrets"] = json!([{"name": "late-login"}]);
        let build = Build::apply(namespace, "late", &spec)?;
        let words = build.waits(Reason::WaitingForReference)?;
        says(&words, &["late-login"])?;
        namespace.registry_secret("late-login", "registry.example.com", "someone", "something")?;
        build.succeeds()?;
        Ok(())
    })
}

/// The words with which the apiserver refuses a spec.
fn refusal_of(namespace: &Namespace, spec: &Value) -> anyhow::Result<String> {
    match Build::apply(namespace, "refused", spec) {
        Ok(_) => anyhow::bail!("the apiserver took {spec}"),
        Err(error) => {
            let refused = error
                .downcast_ref::<Refused>()
                .context("kubectl did not even start")?;
            Ok(refused.0.clone())
        }
    }
}

#[test]
fn what_can_never_work_is_refused_by_the_apiserver_with_a_sentence() -> anyhow::Result<()> {
    in_namespace("refused", |namespace| {
        let good = spec_of(namespace, "refused", "FROM busybox:latest\n");
        let with = |change: &dyn Fn(&mut Value)| {
            let mut spec = good.clone();
            change(&mut spec);
            refusal_of(namespace, &spec)
        };
        let words = with(&|spec| {
            spec["source"] = json!({
                "configMap": {"name": "x"},
                "inline": {"files": [{"path": "a", "content": "b"}]},
            });
        })?;
        says(&words, &["exactly one of inline, configMap and http"])?;
        let words = with(&|spec| spec["dockerfile"]["path"] = json!("Dockerfile"))?;
        says(&words, &["exactly one of path and inline"])?;
        let words = with(&|spec| spec["outputs"][0]["images"] = json!(["Not A Reference"]))?;
        says(&words, &["images"])?;
        let words = with(&|spec| spec["timeout"] = json!("forever"))?;
        says(&words, &["timeout is a duration"])?;
        let words = with(&|spec| spec["unknownField"] = json!(true))?;
        says(&words, &["unknownField"])
    })
}

#[test]
fn an_unschedulable_pod_gives_the_schedulers_words() -> anyhow::Result<()> {
    in_namespace("unschedulable", |namespace| {
        let mut spec = spec_of(namespace, "nowhere", "FROM busybox:latest\nRUN true\n");
        spec["pod"] = json!({"nodeSelector": {"example.com/no-such-node": "true"}});
        let build = Build::apply(namespace, "nowhere", &spec)?;
        let words = build.waits(Reason::WaitingForNode)?;
        says(&words, &["node"])
    })
}

#[test]
fn an_exceeded_quota_is_waited_for() -> anyhow::Result<()> {
    in_namespace("quota", |namespace| {
        namespace.apply(&json!({
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "none"},
            "spec": {"hard": {"pods": "0"}},
        }))?;
        let build = Build::of_dockerfile(namespace, "patient", "FROM busybox:latest\nLABEL a=b\n")?;
        let words = build.waits(Reason::WaitingForQuota)?;
        says(&words, &["quota"])?;
        namespace.kubectl(&["delete", "resourcequota", "none"])?;
        build.succeeds()?;
        Ok(())
    })
}

#[test]
fn a_namespace_that_forbids_the_pod_is_told_by_its_label() -> anyhow::Result<()> {
    in_namespace("policy", |namespace| {
        // Before 1.35, `restricted` knew no pods with users of their own.
        let label = "pod-security.kubernetes.io/enforce-version=v1.30";
        namespace.cluster.kubectl(&[
            "label",
            "--overwrite",
            "namespace",
            &namespace.name,
            label,
        ])?;
        let failure = failure_of(namespace, "FROM busybox:latest\nRUN true\n", Reason::Policy)?;
        says(&failure.message, &["pod-security.kubernetes.io/enforce"])
    })
}
