//! Writes container images as OCI image layouts, from tar archives: all that is needed to make images without Docker.
//!
//! Invariant: the same archives and configuration give the same bytes; the only time in an image is the one that is given.
//!
//! Specifications: OCI image-spec 1.1, `image-layout.md`, `manifest.md` and `config.md`.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// gzip's effort for layers that are kept.
pub(crate) const LEVEL: u32 = 4;

/// A layer whose compressed blob is stored.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    /// Digest of the compressed blob.
    digest: String,
    /// Digest of the archive.
    diff_id: String,
    size: u64,
    /// What the image's history says of it.
    created_by: String,
}

/// A directory of blobs that several images may share.
pub(crate) struct Store {
    blobs: PathBuf,
}

impl Store {
    /// Opens or creates the store in `directory`.
    pub(crate) fn open(directory: &Path) -> anyhow::Result<Self> {
        let blobs = directory.join("blobs");
        fs::create_dir_all(&blobs).with_context(|| format!("cannot create {}", blobs.display()))?;
        Ok(Self { blobs })
    }

    /// Compresses the tar archive `archive` into a layer, with gzip's effort `level`.
    pub(crate) fn add_layer(
        &self,
        archive: impl Read,
        level: u32,
        created_by: &str,
    ) -> anyhow::Result<Layer> {
        let beside = self.blobs.join("new");
        let file =
            File::create(&beside).with_context(|| format!("cannot create {}", beside.display()))?;
        let blob = Hashed::new(BufWriter::new(file));
        let mut encoder = Hashed::new(GzEncoder::new(blob, Compression::new(level)));
        io::copy(&mut BufReader::new(archive), &mut encoder).context("cannot compress a layer")?;
        let diff_id = encoder.digest();
        let mut blob = encoder.inner.finish().context("cannot finish a layer")?;
        blob.flush().context("cannot write a layer")?;
        let (digest, size) = (blob.digest(), blob.size);
        fs::rename(&beside, self.blob(&digest)).context("cannot store a layer")?;
        Ok(Layer {
            digest,
            diff_id,
            size,
            created_by: created_by.to_owned(),
        })
    }

    /// Writes the image of `layers` with the execution parameters `config` as a layout in `directory`, which
    /// must not exist; returns the digest of its manifest. `created` is a time as in RFC 3339.
    pub(crate) fn write_image(
        &self,
        directory: &Path,
        layers: &[Layer],
        config: &Value,
        created: &str,
    ) -> anyhow::Result<String> {
        let image = json!({
            "created": created,
            "architecture": architecture(),
            "os": "linux",
            "config": config,
            "rootfs": {
                "type": "layers",
                "diff_ids": layers.iter().map(|layer| &layer.diff_id).collect::<Vec<_>>(),
            },
            "history": layers
                .iter()
                .map(|layer| json!({"created": created, "created_by": layer.created_by}))
                .collect::<Vec<_>>(),
        });
        let config = self.add_json(&image, CONFIG)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config,
            "layers": layers.iter().map(Layer::descriptor).collect::<Vec<_>>(),
        });
        let manifest = self.add_json(&manifest, MANIFEST)?;
        let digest =
            |descriptor: &Value| descriptor["digest"].as_str().unwrap_or_default().to_owned();
        let blobs = directory.join("blobs/sha256");
        fs::create_dir_all(&blobs).with_context(|| format!("cannot create {}", blobs.display()))?;
        let mut needed = vec![digest(&config), digest(&manifest)];
        needed.extend(layers.iter().map(|layer| layer.digest.clone()));
        needed.sort();
        needed.dedup();
        for blob in needed {
            let name = blob.trim_start_matches("sha256:");
            fs::hard_link(self.blob(&blob), blobs.join(name))
                .with_context(|| format!("cannot link {blob}"))?;
        }
        let index = json!({"schemaVersion": 2, "manifests": [manifest]});
        fs::write(directory.join("index.json"), index.to_string())
            .and_then(|()| {
                fs::write(
                    directory.join("oci-layout"),
                    r#"{"imageLayoutVersion":"1.0.0"}"#,
                )
            })
            .with_context(|| format!("cannot write to {}", directory.display()))?;
        Ok(digest(&manifest))
    }

    fn add_json(&self, value: &Value, media_type: &str) -> anyhow::Result<Value> {
        let content = value.to_string();
        let digest = sha256(content.as_bytes());
        fs::write(self.blob(&digest), &content).context("cannot store a blob")?;
        Ok(json!({"mediaType": media_type, "digest": digest, "size": content.len()}))
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.blobs.join(digest.trim_start_matches("sha256:"))
    }
}

impl Layer {
    fn descriptor(&self) -> Value {
        json!({"mediaType": LAYER, "digest": self.digest, "size": self.size})
    }
}

/// This machine's architecture as images name it.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn sha256(content: &[u8]) -> String {
    digest_text(Sha256::new().chain_update(content))
}

fn digest_text(hasher: Sha256) -> String {
    use std::fmt::Write;
    let mut text = String::from("sha256:");
    for byte in hasher.finalize() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Passes bytes on, counting and hashing them.
struct Hashed<W> {
    inner: W,
    hasher: Sha256,
    size: u64,
}

impl<W> Hashed<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            size: 0,
        }
    }

    fn digest(&self) -> String {
        digest_text(self.hasher.clone())
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_names_its_layer_by_both_digests() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let archive = vec![0_u8; 1024];
        let layer = store.add_layer(archive.as_slice(), LEVEL, "test").unwrap();
        let layout = directory.path().join("layout");
        let config = json!({"Cmd": ["/app"]});
        let digest = store
            .write_image(
                &layout,
                std::slice::from_ref(&layer),
                &config,
                "1970-01-01T00:00:00Z",
            )
            .unwrap();
        let read = |digest: &str| {
            let path = layout
                .join("blobs/sha256")
                .join(digest.trim_start_matches("sha256:"));
            fs::read(path).unwrap()
        };
        let manifest: Value = serde_json::from_slice(&read(&digest)).unwrap();
        let blob = read(manifest["layers"][0]["digest"].as_str().unwrap());
        assert_eq!(manifest["layers"][0]["size"], blob.len());
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(blob.as_slice())
            .read_to_end(&mut unpacked)
            .unwrap();
        assert_eq!(unpacked, archive);
        let image = read(manifest["config"]["digest"].as_str().unwrap());
        let image: Value = serde_json::from_slice(&image).unwrap();
        assert_eq!(image["rootfs"]["diff_ids"][0], sha256(&archive));
        assert_eq!(image["config"], config);
    }
}
