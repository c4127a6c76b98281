//! Keys, certificates and tokens of one cluster: made anew at every boot, worth nothing after it.
//!
//! Certificates come from `openssl` with the extensions of `tests/cluster/node/certificates.cnf`; the programs of the
//! cluster prove who they are to the apiserver with random tokens.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::node::NODE_ADDRESS;
use super::phases::run_logged;
use super::places::Places;
use super::stamp::hexadecimal;

/// Name of a kubeconfig file, user name and group of its token.
const USERS: &[(&str, &str, &str)] = &[
    ("kubeconfig", "admin", "system:masters"),
    (
        "etc/controller-manager.kubeconfig",
        "system:kube-controller-manager",
        "",
    ),
    ("etc/scheduler.kubeconfig", "system:kube-scheduler", ""),
    (
        "etc/kubelet.kubeconfig",
        "system:node:stagecraft",
        "system:nodes",
    ),
    (
        "etc/proxy.kubeconfig",
        "system:kube-proxy",
        "system:node-proxier",
    ),
    ("etc/coredns.kubeconfig", "coredns", ""),
];

/// Makes all of them.
pub(crate) fn create(places: &Places, log: &Path) -> anyhow::Result<()> {
    let pki = places.pki();
    fs::create_dir_all(&pki).with_context(|| format!("cannot create {}", pki.display()))?;
    let maker = Maker { places, log };
    maker.authority("ca")?;
    maker.leaf("apiserver", "/CN=kube-apiserver", "ca")?;
    maker.leaf(
        "kubelet-client",
        "/O=system:masters/CN=kube-apiserver-kubelet-client",
        "ca",
    )?;
    maker.authority("supplies-ca")?;
    maker.leaf(
        "secure-registry",
        "/CN=secure-registry.stagecraft-supplies",
        "supplies-ca",
    )?;
    let private = pki.join("service-accounts.key");
    let mut command = Command::new("openssl");
    command.args(["genpkey", "-algorithm", "EC"]);
    command.args(["-pkeyopt", "ec_paramgen_curve:P-256", "-out"]);
    run_logged(command.arg(&private), log)?;
    let mut command = Command::new("openssl");
    command.args(["pkey", "-pubout", "-in"]).arg(&private);
    command.arg("-out").arg(private.with_extension("pub"));
    run_logged(&mut command, log)?;
    write_tokens(places)
}

struct Maker<'a> {
    places: &'a Places,
    log: &'a Path,
}

impl Maker<'_> {
    fn authority(&self, name: &str) -> anyhow::Result<()> {
        let subject = format!("/CN=stagecraft-{name}");
        run_logged(&mut self.certificate(name, "authority", &subject), self.log)
    }

    fn leaf(&self, name: &str, subject: &str, authority: &str) -> anyhow::Result<()> {
        let mut command = self.certificate(name, name, subject);
        let authority = self.places.pki().join(authority);
        command.arg("-CA").arg(authority.with_extension("crt"));
        command.arg("-CAkey").arg(authority.with_extension("key"));
        run_logged(&mut command, self.log)
    }

    fn certificate(&self, name: &str, extensions: &str, subject: &str) -> Command {
        let file = self.places.pki().join(name);
        let mut command = Command::new("openssl");
        command
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
            ])
            .args([
                "-nodes",
                "-days",
                "30",
                "-subj",
                subject,
                "-extensions",
                extensions,
            ])
            .arg("-config")
            .arg(self.places.sources().join("node/certificates.cnf"))
            .arg("-keyout")
            .arg(file.with_extension("key"))
            .arg("-out")
            .arg(file.with_extension("crt"));
        command
    }
}

fn write_tokens(places: &Places) -> anyhow::Result<()> {
    let authority = fs::read(places.pki().join("ca.crt")).context("cannot read the authority")?;
    let authority = STANDARD.encode(authority);
    let mut tokens = String::new();
    for (file, user, group) in USERS {
        let token = random_token()?;
        tokens.push_str(&format!("{token},{user},{user},\"{group}\"\n"));
        let path = places.cluster().join(file);
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: stagecraft\n\
             clusters: [{{name: stagecraft, cluster: {{server: \"https://{NODE_ADDRESS}:6443\", \
             certificate-authority-data: {authority}}}}}]\n\
             users: [{{name: \"{user}\", user: {{token: {token}}}}}]\n\
             contexts: [{{name: stagecraft, context: {{cluster: stagecraft, user: \"{user}\"}}}}]\n"
        );
        write_private(&path, &kubeconfig)?;
    }
    write_private(&places.pki().join("tokens.csv"), &tokens)
}

fn write_private(path: &Path, content: &str) -> anyhow::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(content.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn random_token() -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("cannot read random bytes")?;
    Ok(hexadecimal(&bytes))
}
