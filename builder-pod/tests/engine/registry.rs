//! A registry of the corpus' images in this process. It reads only, over plain http on the loopback.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::archive::{self, Archives};
use crate::case::{ImageOfCase, Topic};

/// Blobs and manifests, and what is known of them by digest.
#[derive(Default)]
pub(crate) struct Registry {
    blobs: BTreeMap<String, (String, Vec<u8>)>,
    /// Digests by familiar name.
    tags: BTreeMap<String, String>,
    /// The names of layers by diff id.
    pub(crate) layers: BTreeMap<String, String>,
}

impl Registry {
    /// The images of all topics.
    pub(crate) fn of(topics: &BTreeMap<String, Topic>) -> Self {
        let mut registry = Self::default();
        let mut manifests: BTreeMap<&str, Vec<(Value, &ImageOfCase)>> = BTreeMap::new();
        for topic in topics.values() {
            for image in &topic.image {
                let descriptor = registry.add(image, &topic.archives);
                manifests
                    .entry(&image.name)
                    .or_default()
                    .push((descriptor, image));
            }
        }
        for (name, list) in manifests {
            let digest = if let [(single, _)] = &list[..] {
                single["digest"].as_str().unwrap().to_owned()
            } else {
                registry.index(&list)
            };
            registry.tags.insert(name.to_owned(), digest);
        }
        registry
    }

    fn put(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let digest = digest(&bytes);
        let descriptor = json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
        self.blobs.insert(digest, (media_type.to_owned(), bytes));
        descriptor
    }

    fn add(&mut self, image: &ImageOfCase, archives: &Archives) -> Value {
        let (manifest_type, config_type, layer_type) = if image.docker {
            (
                "application/vnd.docker.distribution.manifest.v2+json",
                "application/vnd.docker.container.image.v1+json",
                "application/vnd.docker.image.rootfs.diff.tar",
            )
        } else {
            (
                "application/vnd.oci.image.manifest.v1+json",
                "application/vnd.oci.image.config.v1+json",
                "application/vnd.oci.image.layer.v1.tar",
            )
        };
        let suffix = match (image.compression.as_deref(), image.docker) {
            (Some("gz"), true) => ".gzip",
            (Some("gz"), false) => "+gzip",
            (Some("zst"), _) => "+zstd",
            _ => "",
        };
        let mut layers = Vec::new();
        let mut diff_ids = Vec::new();
        let mut history = Vec::new();
        for (number, lines) in image.layers.iter().enumerate() {
            let tar = archive::tar(lines, archives);
            let diff_id = digest(&tar);
            let name = format!("{}#{}", image.name, number + 1);
            if !lines.is_empty() {
                self.layers.insert(diff_id.clone(), name);
            }
            diff_ids.push(diff_id);
            let bytes = archive::compress(tar, image.compression.as_deref());
            layers.push(self.put(&format!("{layer_type}{suffix}"), bytes));
            history
                .push(json!({"created": CREATED, "created_by": format!("layer {}", number + 1)}));
        }
        let mut platform = image.platform.split('/');
        let mut config = json!({
            "architecture": "", "os": platform.next(), "created": CREATED, "config": image.config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history,
        });
        config["architecture"] = platform.next().into();
        if let Some(variant) = platform.next() {
            config["variant"] = variant.into();
        }
        if image.no_history {
            config.as_object_mut().unwrap().remove("history");
        }
        let config = self.put(config_type, config.to_string().into_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": layers,
        });
        self.put(manifest_type, manifest.to_string().into_bytes())
    }

    fn index(&mut self, list: &[(Value, &ImageOfCase)]) -> String {
        let manifests = list.iter().map(|(descriptor, image)| {
            let mut descriptor = descriptor.clone();
            let mut platform = image.platform.split('/');
            descriptor["platform"] = json!({"os": platform.next()});
            descriptor["platform"]["architecture"] = platform.next().into();
            if let Some(variant) = platform.next() {
                descriptor["platform"]["variant"] = variant.into();
            }
            descriptor
        });
        let media_type = "application/vnd.oci.image.index.v1+json";
        let index = json!({
            "schemaVersion": 2, "mediaType": media_type, "manifests": manifests.collect::<Vec<_>>(),
        });
        let index = self.put(media_type, index.to_string().into_bytes());
        index["digest"].as_str().unwrap().to_owned()
    }

    /// Serves until the process ends.
    pub(crate) fn serve(self: Arc<Self>, listener: TcpListener) {
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let registry = Arc::clone(&self);
                std::thread::spawn(move || registry.answer(connection));
            }
        });
    }

    /// Answers the requests of a connection; one that breaks off ends it.
    fn answer(&self, connection: TcpStream) -> Option<()> {
        let mut writer = connection.try_clone().ok()?;
        let mut reader = BufReader::new(connection);
        loop {
            let mut request = String::new();
            if reader.read_line(&mut request).ok()? == 0 {
                return None;
            }
            let mut header = String::new();
            while reader.read_line(&mut header).ok()? > 2 {
                header.clear();
            }
            let mut words = request.split(' ');
            let (method, path) = (words.next()?, words.next()?);
            let (status, media_type, digest, body) = self.find(path);
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\
                 Docker-Content-Digest: {digest}\r\n\r\n",
                body.len()
            );
            writer.write_all(head.as_bytes()).ok()?;
            if method != "HEAD" {
                writer.write_all(body).ok()?;
            }
        }
    }

    fn find(&self, path: &str) -> (&str, &str, &str, &[u8]) {
        let path = path.split('?').next().unwrap_or_default();
        if matches!(path, "/v2/" | "/v2") {
            return ("200 OK", "application/json", "", b"{}");
        }
        let found = path.strip_prefix("/v2/").and_then(|rest| {
            let (name, what) = rest
                .split_once("/manifests/")
                .or_else(|| rest.split_once("/blobs/"))?;
            let name = name.strip_prefix("library/").unwrap_or(name);
            let key = match self.tags.get(&format!("{name}:{what}")) {
                Some(tagged) => tagged,
                None if what == "latest" => self.tags.get(name)?,
                None => what,
            };
            self.blobs.get_key_value(key)
        });
        match found {
            Some((digest, (media_type, bytes))) => ("200 OK", media_type, digest, bytes),
            None => (
                "404 Not Found",
                "application/json",
                "",
                br#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#,
            ),
        }
    }
}

const CREATED: &str = "2001-09-09T01:46:40Z";

fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
