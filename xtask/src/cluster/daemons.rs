//! Every program of the cluster and its command line.
//!
//! Invariant: a program listens on the node's address or on loopback of its network namespace, never on all addresses.

use super::node::NODE_ADDRESS;

/// Range of service addresses. `tests/cluster/node/certificates.cnf` has its first one.
const SERVICES: &str = "10.201.0.0/16";
const PODS: &str = "10.200.0.0/24";
/// The directory of keys and certificates as programs of the node see it.
pub(crate) const PKI: &str = "/run/stagecraft/cluster/pki";
/// The directory of configuration files as programs of the node see it.
pub(crate) const CONFIGURATION: &str = "/run/stagecraft/cluster/etc";

/// A program that runs for as long as the cluster does.
#[derive(Debug)]
pub(crate) struct Daemon {
    /// What it is called in the record, the logs and the status.
    pub(crate) name: &'static str,
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
}

/// All of them, in the order of their start.
pub(crate) fn daemons() -> Vec<Daemon> {
    vec![
        daemon("etcd", etcd()),
        daemon(
            "containerd",
            vec![format!("--config={CONFIGURATION}/containerd.toml")],
        ),
        daemon("kube-apiserver", apiserver()),
        daemon("kube-controller-manager", controller_manager()),
        daemon("kube-scheduler", scheduler()),
        daemon("kubelet", kubelet()),
        daemon("kube-proxy", proxy()),
        daemon("coredns", vec![format!("-conf={CONFIGURATION}/Corefile")]),
        registry("registry"),
        registry("secure-registry"),
        daemon("packages", packages()),
    ]
}

fn daemon(name: &'static str, arguments: Vec<String>) -> Daemon {
    let mut command = vec![name.to_owned()];
    command.extend(arguments);
    Daemon { name, command }
}

/// One of the two registries: the same program with a configuration of its name.
fn registry(name: &'static str) -> Daemon {
    let configuration = format!("{CONFIGURATION}/{name}.yaml");
    Daemon {
        name,
        command: vec!["docker-registry".into(), "serve".into(), configuration],
    }
}

fn kubeconfig(name: &str) -> String {
    format!("--kubeconfig={CONFIGURATION}/{name}.kubeconfig")
}

fn etcd() -> Vec<String> {
    vec![
        "--data-dir=/run/stagecraft/cluster/etcd".into(),
        // A cluster that is made anew at every boot has nothing to lose with the power.
        "--unsafe-no-fsync".into(),
        "--listen-client-urls=http://127.0.0.1:2379".into(),
        "--advertise-client-urls=http://127.0.0.1:2379".into(),
        "--listen-peer-urls=http://127.0.0.1:2380".into(),
        "--log-level=warn".into(),
    ]
}

fn apiserver() -> Vec<String> {
    vec![
        "--etcd-servers=http://127.0.0.1:2379".into(),
        "--authorization-mode=Node,RBAC".into(),
        "--enable-admission-plugins=NodeRestriction".into(),
        "--allow-privileged=true".into(),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        "--kubelet-preferred-address-types=InternalIP".into(),
        format!("--bind-address={NODE_ADDRESS}"),
        format!("--advertise-address={NODE_ADDRESS}"),
        format!("--service-cluster-ip-range={SERVICES}"),
        format!("--tls-cert-file={PKI}/apiserver.crt"),
        format!("--tls-private-key-file={PKI}/apiserver.key"),
        format!("--client-ca-file={PKI}/ca.crt"),
        format!("--token-auth-file={PKI}/tokens.csv"),
        format!("--service-account-key-file={PKI}/service-accounts.pub"),
        format!("--service-account-signing-key-file={PKI}/service-accounts.key"),
        format!("--kubelet-client-certificate={PKI}/kubelet-client.crt"),
        format!("--kubelet-client-key={PKI}/kubelet-client.key"),
    ]
}

fn controller_manager() -> Vec<String> {
    vec![
        kubeconfig("controller-manager"),
        format!("--service-account-private-key-file={PKI}/service-accounts.key"),
        format!("--root-ca-file={PKI}/ca.crt"),
        "--use-service-account-credentials=true".into(),
        "--bind-address=127.0.0.1".into(),
        "--leader-elect=false".into(),
    ]
}

fn scheduler() -> Vec<String> {
    vec![
        kubeconfig("scheduler"),
        "--bind-address=127.0.0.1".into(),
        "--leader-elect=false".into(),
    ]
}

fn kubelet() -> Vec<String> {
    vec![
        kubeconfig("kubelet"),
        format!("--config={CONFIGURATION}/kubelet.yaml"),
        "--hostname-override=stagecraft".into(),
        format!("--node-ip={NODE_ADDRESS}"),
    ]
}

fn proxy() -> Vec<String> {
    vec![
        kubeconfig("proxy"),
        "--proxy-mode=nftables".into(),
        format!("--cluster-cidr={PODS}"),
        "--hostname-override=stagecraft".into(),
        "--healthz-bind-address=127.0.0.1:10256".into(),
        // These are settings of the whole machine, and there is little to track here.
        "--conntrack-max-per-core=0".into(),
        "--conntrack-tcp-timeout-established=0s".into(),
        "--conntrack-tcp-timeout-close-wait=0s".into(),
    ]
}

fn packages() -> Vec<String> {
    vec![
        format!("-listen={NODE_ADDRESS}:8080"),
        "-debian=/run/stagecraft/supplies/debian".into(),
        "-modules=/run/stagecraft/supplies/modules".into(),
    ]
}
