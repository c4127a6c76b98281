//! Base images under the names people write, made of Debian packages and pushed to the storage of the plain registry.
//!
//! `debian:12-slim` comes from mmdebstrap; the others are one layer more, recorded by an overlay while apt-get (or a
//! copy) writes it. All of it reads from the mirror that `debian` made, through the package server that pods will use.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use super::super::phases::{Phases, run_logged, wait_until};
use super::super::places::Places;
use super::super::stamp::{self, Stamp};
use super::debian::{self, Mirror};
use super::{Server, create_empty, registry_storage};
use crate::command::capture;
use crate::oci::{Layer, Store};

/// Changes when this file makes something else of the same inputs.
const RECIPE: &str = "1";
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What Debian's slim images leave out.
const SLIM: &[&str] = &[
    "/usr/share/doc/*",
    "/usr/share/groff/*",
    "/usr/share/info/*",
    "/usr/share/linda/*",
    "/usr/share/lintian/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
];
/// apt's configuration in Debian's images: nothing is kept that a next layer could do without.
const APT_CONFIGURATION: &str = "Acquire::GzipIndexes \"true\";\nAcquire::Languages \"none\";\n\
     APT::AutoRemove::SuggestsImportant \"false\";\nDir::Cache::pkgcache \"\";\nDir::Cache::srcpkgcache \"\";\n\
     DPkg::Post-Invoke { \"rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb || true\"; };\n";

/// Makes the images, unless they are there.
pub(super) fn prepare(
    places: &Places,
    phases: &Phases,
    mirror: &Mirror,
    mirror_stamp: &str,
) -> anyhow::Result<()> {
    let go = capture(
        Command::new("go")
            .args(["env", "GOROOT", "GOVERSION"])
            .current_dir("/"),
    )?;
    let go_root = PathBuf::from(go.lines().next().context("go names no GOROOT")?);
    let stamp = Stamp::default()
        .text(RECIPE)
        .text(mirror_stamp)
        .text(&go)
        .finish();
    let stamp_file = super::stamps(places).join("images");
    if stamp::is_current(&stamp_file, &stamp) {
        return Ok(());
    }
    let work = places.supplies().join("images.new");
    create_empty(&work)?;
    let created = capture(Command::new("date").args([
        "--utc",
        &format!("--date=@{}", debian::release_time(places)?),
        "+%Y-%m-%dT%H:%M:%SZ",
    ]))?;
    let workshop = Workshop {
        store: Store::open(&work)?,
        servers: Servers::start(places, &work)?,
        places,
        mirror,
        created: created.trim().to_owned(),
        time: debian::release_time(places)?,
        work: work.clone(),
    };
    let base = phases.run("making debian:12-slim", |log| workshop.debian(log))?;
    phases.run("making gcc:12", |log| workshop.gcc(&base, log))?;
    phases.run("making golang:1.26", |log| {
        workshop.golang(&base, &go_root, log)
    })?;
    phases.run("making nginx:latest", |log| workshop.nginx(&base, log))?;
    phases.run("making busybox:latest", |log| workshop.busybox(log))?;
    phases.run("making the pause image", |log| workshop.pause(log))?;
    let storage = work.join("registry");
    drop(workshop);
    let target = registry_storage(places);
    if target.exists() {
        fs::remove_dir_all(&target).context("cannot remove the old images")?;
    }
    fs::rename(&storage, &target).context("cannot put the images in place")?;
    fs::remove_dir_all(&work).context("cannot remove a working directory")?;
    stamp::set(&stamp_file, &stamp)
}

/// The servers that images are made with, on loopback and for as long as that takes.
struct Servers {
    /// Address of the registry that gathers the images.
    registry: String,
    /// The package server as an http proxy.
    proxy: String,
    _running: [Server; 2],
}

impl Servers {
    fn start(places: &Places, work: &Path) -> anyhow::Result<Self> {
        let log = |name: &str| {
            let path = places.logs().join(format!("supplies-{name}.log"));
            File::create(&path).with_context(|| format!("cannot create {}", path.display()))
        };
        let mut packages = Server::start(
            Command::new(places.programs().join("packages"))
                .arg("-debian")
                .arg(debian::directory(places))
                .stdout(Stdio::piped())
                .stderr(log("packages")?),
        )?;
        let mut proxy = String::new();
        let output = packages
            .child
            .stdout
            .take()
            .context("the package server has no output")?;
        BufReader::new(output)
            .read_line(&mut proxy)
            .context("the package server says nothing")?;
        let registry = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .context("no port is free")?
            .to_string();
        let configuration = work.join("registry.json");
        let content = json!({
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": work.join("registry")}},
            "http": {"addr": registry},
        });
        fs::write(&configuration, content.to_string()).context("cannot write a configuration")?;
        let output = log("registry")?;
        let gathering = Server::start(
            Command::new("docker-registry")
                .arg("serve")
                .arg(&configuration)
                .stdout(output.try_clone().context("cannot share a log file")?)
                .stderr(output),
        )?;
        wait_until(
            "the gathering registry answers",
            Duration::from_secs(20),
            || {
                std::net::TcpStream::connect(&registry)
                    .map(drop)
                    .context("it does not")
            },
        )?;
        Ok(Self {
            registry,
            proxy: format!("http://{}", proxy.trim()),
            _running: [packages, gathering],
        })
    }
}

struct Workshop<'a> {
    store: Store,
    servers: Servers,
    places: &'a Places,
    mirror: &'a Mirror,
    /// The time of all images, as in RFC 3339 and in seconds since 1970.
    created: String,
    time: u64,
    work: PathBuf,
}

/// An image that others continue.
struct Base {
    /// Its files.
    root: PathBuf,
    layer: Layer,
}

impl Workshop<'_> {
    fn debian(&self, log: &Path) -> anyhow::Result<Base> {
        let root = self.work.join("debian");
        let sources = self.work.join("debian.sources");
        fs::write(&sources, self.mirror.sources(true)).context("cannot write apt's sources")?;
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--propagation",
            "private",
            "mmdebstrap",
            "--mode=root",
        ]);
        command.args(["--variant=minbase", "--format=directory"]);
        for pattern in SLIM {
            command.arg(format!("--dpkgopt=path-exclude={pattern}"));
        }
        command.arg("--dpkgopt=path-include=/usr/share/doc/*/copyright");
        command.arg(debian::RELEASE).arg(&root).arg(&sources);
        command
            .env("http_proxy", &self.servers.proxy)
            .env("SOURCE_DATE_EPOCH", self.time.to_string());
        command.env_remove("TMPDIR");
        run_logged(&mut command, log)?;
        let write = |path: &str, content: &str| {
            let path = root.join(path);
            fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
        };
        for entry in fs::read_dir(root.join("etc/apt/sources.list.d"))
            .into_iter()
            .flatten()
            .flatten()
        {
            fs::remove_file(entry.path()).context("cannot remove a source file")?;
        }
        let _ = fs::remove_file(root.join("etc/apt/sources.list"));
        write(
            "etc/apt/sources.list.d/debian.sources",
            &self.mirror.sources(true),
        )?;
        write("etc/apt/apt.conf.d/docker-clean", APT_CONFIGURATION)?;
        write("usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n")?;
        set_executable(&root.join("usr/sbin/policy-rc.d"))?;
        let layer = self.layer_of(
            &root,
            "debian",
            "# debian.sh --arch 'amd64' out/ 'bookworm'",
            log,
        )?;
        let config = json!({"Env": [PATH], "Cmd": ["bash"]});
        let tags = [
            "12-slim",
            "12",
            "bookworm-slim",
            "bookworm",
            "stable-slim",
            "latest",
        ];
        self.publish("debian", &tags, std::slice::from_ref(&layer), &config, log)?;
        Ok(Base { root, layer })
    }

    fn gcc(&self, base: &Base, log: &Path) -> anyhow::Result<()> {
        let layer = self.install(base, "gcc", &["gcc", "g++", "libc6-dev", "make"], log)?;
        let config = json!({"Env": [PATH, "GCC_VERSION=12"], "Cmd": ["bash"]});
        self.publish(
            "gcc",
            &["12", "latest"],
            &[base.layer.clone(), layer],
            &config,
            log,
        )
    }

    fn nginx(&self, base: &Base, log: &Path) -> anyhow::Result<()> {
        let layer = self.install(base, "nginx", &["nginx", "ca-certificates"], log)?;
        let config = json!({
            "Env": [PATH],
            "Cmd": ["nginx", "-g", "daemon off;"],
            "ExposedPorts": {"80/tcp": {}},
            "StopSignal": "SIGQUIT",
        });
        self.publish(
            "nginx",
            &["latest", "stable"],
            &[base.layer.clone(), layer],
            &config,
            log,
        )
    }

    fn golang(&self, base: &Base, go_root: &Path, log: &Path) -> anyhow::Result<()> {
        let packages = ["ca-certificates", "gcc", "g++", "libc6-dev", "make"];
        let tools = self.install(base, "golang", &packages, log)?;
        let root = self.work.join("go");
        fs::create_dir_all(root.join("usr/local/go")).context("cannot create a directory")?;
        for directory in ["go", "go/bin", "go/src"] {
            fs::create_dir(root.join(directory)).context("cannot create a directory")?;
            set_mode(&root.join(directory), 0o1777)?;
        }
        run_logged(
            Command::new("cp")
                .args([
                    "--recursive",
                    "--no-dereference",
                    "--preserve=mode,timestamps,links",
                ])
                .args(
                    ["VERSION", "bin", "go.env", "lib", "pkg", "src"]
                        .map(|name| go_root.join(name)),
                )
                .arg(root.join("usr/local/go")),
            log,
        )?;
        let sdk = self.layer_of(&root, "go", "COPY /target/ / # buildkit", log)?;
        let config = json!({
            "Env": [
                "PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "GOTOOLCHAIN=local",
                "GOPATH=/go",
            ],
            "Cmd": ["bash"],
            "WorkingDir": "/go",
        });
        let tags = ["1.26", "1", "latest", "1.26-bookworm"];
        self.publish(
            "golang",
            &tags,
            &[base.layer.clone(), tools, sdk],
            &config,
            log,
        )
    }

    fn busybox(&self, log: &Path) -> anyhow::Result<()> {
        let root = self.work.join("busybox");
        for (directory, mode) in [
            ("bin", 0o755),
            ("dev", 0o755),
            ("etc", 0o755),
            ("home", 0o755),
            ("root", 0o700),
            ("tmp", 0o1777),
            ("usr", 0o755),
            ("usr/bin", 0o755),
            ("usr/sbin", 0o755),
            ("var", 0o755),
        ] {
            fs::create_dir_all(root.join(directory)).context("cannot create a directory")?;
            set_mode(&root.join(directory), mode)?;
        }
        let package = self.places.debian_package("busybox-static")?;
        let unpacked = self.work.join("busybox-static");
        run_logged(
            Command::new("dpkg-deb")
                .arg("--extract")
                .arg(package)
                .arg(&unpacked),
            log,
        )?;
        fs::copy(unpacked.join("bin/busybox"), root.join("bin/busybox"))
            .context("cannot copy busybox")?;
        let applets = capture(Command::new(root.join("bin/busybox")).arg("--list"))?;
        for applet in applets.lines().filter(|applet| *applet != "busybox") {
            fs::hard_link(root.join("bin/busybox"), root.join("bin").join(applet))
                .with_context(|| format!("cannot link {applet}"))?;
        }
        fs::write(
            root.join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n",
        )
        .and_then(|()| fs::write(root.join("etc/group"), "root:x:0:\nnogroup:x:65534:\n"))
        .context("cannot write the users of busybox")?;
        let layer = self.layer_of(&root, "busybox", "ADD busybox.tar.xz / # buildkit", log)?;
        let config = json!({"Env": [PATH], "Cmd": ["sh"]});
        self.publish(
            "busybox",
            &["latest", "1", "stable"],
            &[layer],
            &config,
            log,
        )
    }

    /// The image of every pod's first container, as an archive for the container runtime's import.
    fn pause(&self, log: &Path) -> anyhow::Result<()> {
        let root = self.work.join("pause");
        fs::create_dir(&root)
            .and_then(|()| fs::copy(self.places.programs().join("pause"), root.join("pause")))
            .context("cannot copy pause")?;
        let layer = self.layer_of(&root, "pause-layer", "COPY pause /pause", log)?;
        let layout = self.work.join("pause-layout");
        let config = json!({"Entrypoint": ["/pause"], "User": "65535:65535"});
        self.store
            .write_image(&layout, &[layer], &config, &self.created)?;
        let index = layout.join("index.json");
        let mut content: Value =
            serde_json::from_slice(&fs::read(&index).context("cannot read an index")?)?;
        content["manifests"][0]["annotations"] =
            json!({"io.containerd.image.name": "localhost/pause:1"});
        fs::write(&index, content.to_string()).context("cannot write an index")?;
        run_logged(
            Command::new("tar")
                .arg("--create")
                .arg("--file")
                .arg(self.places.supplies().join("pause.tar"))
                .arg("--directory")
                .arg(&layout)
                .args(["oci-layout", "index.json", "blobs"]),
            log,
        )
    }

    /// A layer of what installing `packages` on `base` writes.
    fn install(
        &self,
        base: &Base,
        name: &str,
        packages: &[&str],
        log: &Path,
    ) -> anyhow::Result<Layer> {
        let upper = self.work.join(format!("{name}.upper"));
        let merged = self.work.join(format!("{name}.merged"));
        let scratch = self.work.join(format!("{name}.scratch"));
        for directory in [&upper, &merged, &scratch] {
            create_empty(directory)?;
        }
        let script = "set -eu\n\
             mount -t overlay overlay -o \"lowerdir=$1,upperdir=$2,workdir=$3\" \"$4\"\n\
             mount -t proc proc \"$4/proc\"\n\
             merged=$4; shift 4\n\
             chroot \"$merged\" apt-get update\n\
             chroot \"$merged\" apt-get install --yes --no-install-recommends \"$@\"\n\
             rm -rf \"$merged\"/var/lib/apt/lists/* \"$merged\"/var/cache/apt/archives/*.deb \"$merged\"/var/log/*.log \
             \"$merged\"/var/log/apt/* \"$merged\"/var/cache/ldconfig/aux-cache\n";
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--propagation",
            "private",
            "/bin/sh",
            "-c",
            script,
            "install",
        ]);
        command
            .args([&base.root, &upper, &scratch, &merged])
            .args(packages);
        command
            .env("http_proxy", &self.servers.proxy)
            .env("DEBIAN_FRONTEND", "noninteractive");
        command.env("LC_ALL", "C").env_remove("TMPDIR");
        run_logged(&mut command, log)?;
        translate_whiteouts(&upper)?;
        let created_by = format!(
            "RUN /bin/sh -c apt-get update && apt-get install -y --no-install-recommends {} # buildkit",
            packages.join(" ")
        );
        self.layer_of(&upper, name, &created_by, log)
    }

    fn layer_of(
        &self,
        root: &Path,
        name: &str,
        created_by: &str,
        log: &Path,
    ) -> anyhow::Result<Layer> {
        let archive = self.work.join(format!("{name}.tar"));
        // The entries by name rather than `.`: an image's layers have no entry for the root itself.
        let mut names = fs::read_dir(root)
            .and_then(|entries| {
                entries
                    .map(|entry| Ok(entry?.file_name()))
                    .collect::<Result<Vec<_>, _>>()
            })
            .with_context(|| format!("cannot list {}", root.display()))?;
        names.sort();
        run_logged(
            Command::new("tar")
                .args([
                    "--create",
                    "--sort=name",
                    "--numeric-owner",
                    "--one-file-system",
                ])
                .args([
                    "--clamp-mtime",
                    &format!("--mtime=@{}", self.time),
                    "--format=gnu",
                ])
                .arg("--file")
                .arg(&archive)
                .arg("--directory")
                .arg(root)
                .args(names),
            log,
        )?;
        let file = File::open(&archive).context("cannot open a layer's archive")?;
        let layer = self.store.add_layer(file, crate::oci::LEVEL, created_by)?;
        fs::remove_file(&archive).context("cannot remove an archive")?;
        Ok(layer)
    }

    fn publish(
        &self,
        name: &str,
        tags: &[&str],
        layers: &[Layer],
        config: &Value,
        log: &Path,
    ) -> anyhow::Result<()> {
        let layout = self.work.join(format!("{name}.layout"));
        self.store
            .write_image(&layout, layers, config, &self.created)?;
        let crane = || Command::new(self.places.programs().join("crane"));
        let repository = format!("{}/library/{name}", self.servers.registry);
        let (first, others) = tags.split_first().context("an image needs a tag")?;
        let image = format!("{repository}:{first}");
        run_logged(
            crane()
                .args(["push", "--insecure"])
                .arg(&layout)
                .arg(&image),
            log,
        )?;
        for tag in others {
            run_logged(crane().args(["tag", "--insecure", &image, tag]), log)?;
        }
        Ok(())
    }
}

/// Turns an overlay's whiteouts (character devices 0:0) into those of image layers.
fn translate_whiteouts(directory: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries.flatten() {
        let path = entry.path();
        let metadata = fs::symlink_metadata(&path).context("cannot look at a file")?;
        if metadata.is_dir() {
            translate_whiteouts(&path)?;
        } else if metadata.file_type().is_char_device() && metadata.rdev() == 0 {
            let name = format!(".wh.{}", entry.file_name().to_string_lossy());
            fs::remove_file(&path)
                .and_then(|()| fs::write(path.with_file_name(name), ""))
                .with_context(|| format!("cannot translate the whiteout {}", path.display()))?;
        }
    }
    Ok(())
}

fn set_executable(path: &Path) -> anyhow::Result<()> {
    set_mode(path, 0o755)
}

fn set_mode(path: &Path, mode: u32) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("cannot change the mode of {}", path.display()))
}
