//! The pod: an engine and its runners.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{Attempt, metadata, request, security, volumes};
use crate::quantity;
use crate::reconcile::evidence;
use crate::reconcile::validate::{Amounts, PodPlan, REQUEST_PATH};

/// The host name that RUN steps see, so that no pod's name gets into an image. It is the one that BuildKit gives.
const HOST_NAME: &str = "buildkitsandbox";
/// Seconds between being told to stop and being killed.
const GRACE_PERIOD: i64 = 5;
/// What a container asks of the node for itself, in thousandths, when the pod as a whole asks for the rest.
const TINY_CPU: u64 = 10;
const TINY_MEMORY: u64 = 16 * 1024 * 1024 * 1000;
/// Disk that a container asks of the node. What it may use is its limit.
const TINY_DISK: &str = "64Mi";
/// The engine's share of the pod's CPU and memory, where they are divided among the containers.
const ENGINE_SHARE: u64 = 4;

/// The pod of an attempt.
pub(super) fn pod(attempt: &Attempt<'_>) -> Pod {
    let plan = &attempt.valid.pod;
    let shared = attempt.config.pod_level_resources;
    let mut containers = vec![engine(attempt)];
    let runners = evidence::runner_names(attempt.runners);
    containers.extend(
        runners
            .enumerate()
            .map(|(index, name)| runner(attempt, index, name)),
    );
    let not_empty = |map: &BTreeMap<String, String>| (!map.is_empty()).then(|| map.clone());
    Pod {
        metadata: metadata(attempt),
        spec: Some(PodSpec {
            containers,
            volumes: Some(volumes::volumes(attempt)),
            restart_policy: Some("Never".to_owned()),
            host_users: (attempt.runners > 0).then_some(false),
            hostname: Some(HOST_NAME.to_owned()),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            security_context: Some(security::pod(attempt.runners)),
            service_account_name: plan.service_account.clone(),
            resources: shared.then(|| of_pod(plan)),
            node_selector: not_empty(&plan.node_selector),
            tolerations: (!plan.tolerations.is_empty()).then(|| plan.tolerations.clone()),
            termination_grace_period_seconds: Some(GRACE_PERIOD),
            active_deadline_seconds: Some(attempt.seconds_left.max(1)),
            ..PodSpec::default()
        }),
        status: None,
    }
}

fn engine(attempt: &Attempt<'_>) -> Container {
    let request = format!("{REQUEST_PATH}/{}", request::REQUEST_KEY);
    Container {
        name: evidence::ENGINE.to_owned(),
        args: Some(vec!["engine".to_owned(), "--request".to_owned(), request]),
        volume_mounts: Some(volumes::engine_mounts(attempt)),
        security_context: Some(security::container(true)),
        ..container(attempt, 0)
    }
}

fn runner(attempt: &Attempt<'_>, index: usize, name: String) -> Container {
    Container {
        args: Some(vec![
            "runner".to_owned(),
            "--index".to_owned(),
            index.to_string(),
        ]),
        volume_mounts: Some(volumes::runner_mounts(&name)),
        security_context: Some(security::container(false)),
        name,
        ..container(attempt, index + 1)
    }
}

/// What all containers have in common; the first is the engine.
fn container(attempt: &Attempt<'_>, position: usize) -> Container {
    let plan = &attempt.valid.pod;
    let resources = if attempt.config.pod_level_resources {
        sharing(plan, attempt.runners)
    } else {
        divided(plan, attempt.runners, position == 0)
    };
    Container {
        image: Some(attempt.config.builder_image.clone()),
        image_pull_policy: Some(attempt.config.builder_image_pull_policy.clone()),
        resources: Some(resources),
        termination_message_policy: Some("File".to_owned()),
        ..Container::default()
    }
}

/// CPU and memory of the pod as a whole.
fn of_pod(plan: &PodPlan) -> ResourceRequirements {
    ResourceRequirements {
        requests: resource_map(&plan.requests),
        limits: resource_map(&plan.limits),
        claims: None,
    }
}

fn resource_map(amounts: &Amounts) -> Option<BTreeMap<String, Quantity>> {
    let pairs = [("cpu", &amounts.cpu), ("memory", &amounts.memory)];
    let map: BTreeMap<_, _> = pairs
        .into_iter()
        .filter_map(|(name, amount)| Some((name.to_owned(), amount.clone()?)))
        .collect();
    (!map.is_empty()).then_some(map)
}

/// A container that shares the pod's amounts: it may use all of them, and says so, or a LimitRange of the namespace
/// would put a limit of its own on it. It asks for next to nothing.
fn sharing(plan: &PodPlan, runners: u32) -> ResourceRequirements {
    let containers = u64::from(runners) + 1;
    let tiny = |tiny: u64, whole: &Option<Quantity>| {
        // The containers together may not ask for more than the pod.
        let share = whole
            .as_ref()
            .and_then(quantity::milli)
            .map_or(tiny, |whole| whole / containers);
        tiny.min(share)
    };
    let whole =
        |request: &Option<Quantity>, limit: &Option<Quantity>| request.clone().or(limit.clone());
    let amounts = Amounts {
        cpu: Some(cpu(tiny(
            TINY_CPU,
            &whole(&plan.requests.cpu, &plan.limits.cpu),
        ))),
        memory: Some(memory(tiny(
            TINY_MEMORY,
            &whole(&plan.requests.memory, &plan.limits.memory),
        ))),
    };
    with_disk(&amounts, &plan.limits, plan)
}

/// A container's part of the pod's amounts, where the cluster knows no amounts of pods.
fn divided(plan: &PodPlan, runners: u32, engine: bool) -> ResourceRequirements {
    let part = |amount: &Option<Quantity>| {
        let milli = amount.as_ref().and_then(quantity::milli)?;
        let of_engine = if runners == 0 {
            milli
        } else {
            milli / ENGINE_SHARE
        };
        let part = if engine {
            of_engine
        } else {
            (milli - of_engine) / u64::from(runners.max(1))
        };
        Some(part)
    };
    let parts = |amounts: &Amounts| Amounts {
        cpu: part(&amounts.cpu).map(cpu),
        memory: part(&amounts.memory).map(memory),
    };
    with_disk(&parts(&plan.requests), &parts(&plan.limits), plan)
}

fn cpu(milli: u64) -> Quantity {
    quantity::from_milli(milli.max(1))
}

/// Whole bytes: the apiserver warns of parts of one.
fn memory(milli: u64) -> Quantity {
    quantity::from_milli((milli / 1000).max(1) * 1000)
}

fn with_disk(requests: &Amounts, limits: &Amounts, plan: &PodPlan) -> ResourceRequirements {
    let disk = "ephemeral-storage".to_owned();
    let mut requests = resource_map(requests).unwrap_or_default();
    let mut limits = resource_map(limits).unwrap_or_default();
    let tiny = Quantity(TINY_DISK.to_owned());
    let below = quantity::milli(&plan.ephemeral_storage) < quantity::milli(&tiny);
    requests.insert(
        disk.clone(),
        if below {
            plan.ephemeral_storage.clone()
        } else {
            tiny
        },
    );
    limits.insert(disk, plan.ephemeral_storage.clone());
    ResourceRequirements {
        requests: Some(requests),
        limits: Some(limits),
        claims: None,
    }
}
