//! A registry in memory, as correct as the tests need, with the faults they ask for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use stagecraft_image::{
    Descriptor, Digest, ImageConfig, Manifest, Platform, Reference, RootFs, media_type,
};
use stagecraft_registry::{ClientSettings, HostSettings, RegistryClient, RetryPolicy};

use crate::server::{Answer, Asked, Server};

/// What a registry holds: by `repository@digest` and `repository:tag`.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) blobs: HashMap<String, Vec<u8>>,
    pub(crate) manifests: HashMap<String, (String, Vec<u8>)>,
    /// Whether a mount is carried out; else it is answered with an upload.
    pub(crate) mounts: bool,
    uploads: usize,
}

type Fault = Box<dyn FnMut(&Asked) -> Option<Answer> + Send>;

pub(crate) struct Fake {
    pub(crate) server: Server,
    pub(crate) store: Arc<Mutex<Store>>,
}

/// An image with one layer.
pub(crate) struct Image {
    pub(crate) layer: Vec<u8>,
    pub(crate) config: Vec<u8>,
    pub(crate) manifest: Manifest,
    pub(crate) bytes: Vec<u8>,
}

impl Image {
    pub(crate) fn new(platform: &str, docker: bool) -> Self {
        let layer = vec![7; 100_000];
        let platform: Platform = platform.parse().unwrap();
        let config = ImageConfig {
            rootfs: RootFs {
                diff_ids: vec![Digest::of(b"tar")],
                ..RootFs::default()
            },
            ..ImageConfig::scratch(&platform)
        };
        let config = serde_json::to_vec(&config).unwrap();
        let types = if docker {
            [
                media_type::DOCKER_MANIFEST,
                media_type::DOCKER_CONFIG,
                media_type::DOCKER_LAYER_GZIP,
            ]
        } else {
            [
                media_type::OCI_MANIFEST,
                media_type::OCI_CONFIG,
                media_type::OCI_LAYER_GZIP,
            ]
        };
        let manifest = Manifest::new(
            types[0],
            describe(types[1], &config),
            vec![describe(types[2], &layer)],
        );
        let bytes = serde_json::to_vec(&manifest).unwrap();
        Self {
            layer,
            config,
            manifest,
            bytes,
        }
    }

    pub(crate) fn layer_descriptor(&self) -> &Descriptor {
        &self.manifest.layers[0]
    }
}

pub(crate) fn describe(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64)
}

impl Store {
    /// Makes an image available under `repository:tag` and by digest.
    pub(crate) fn add(&mut self, repository: &str, tag: &str, image: &Image) {
        for blob in [&image.layer, &image.config] {
            self.blobs
                .insert(format!("{repository}@{}", Digest::of(blob)), blob.clone());
        }
        let kind = image.manifest.media_type.clone().unwrap();
        self.add_manifest(repository, tag, &kind, &image.bytes);
    }

    pub(crate) fn add_manifest(&mut self, repository: &str, tag: &str, kind: &str, bytes: &[u8]) {
        for name in [tag.to_owned(), Digest::of(bytes).to_string()] {
            self.manifests.insert(
                format!("{repository}@{name}"),
                (kind.into(), bytes.to_vec()),
            );
        }
    }

    fn answer(&mut self, asked: &Asked, address: &str) -> Answer {
        let path = asked.path.strip_prefix("/v2/").unwrap_or_default();
        let query: HashMap<String, String> = asked
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| {
                (
                    name.to_owned(),
                    value.replace("%3A", ":").replace("%2F", "/"),
                )
            })
            .collect();
        if let Some((repository, name)) = path.split_once("/manifests/") {
            return self.manifest(asked, &format!("{repository}@{name}"), repository);
        }
        if let Some((repository, _)) = path.split_once("/blobs/uploads/") {
            return self.upload(asked, repository, &query, address);
        }
        if let Some((repository, digest)) = path.split_once("/blobs/") {
            return match self.blobs.get(&format!("{repository}@{digest}")) {
                Some(blob) => ranged(asked, blob),
                None => Answer::new(404)
                    .body(r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown"}]}"#),
            };
        }
        Answer::new(if path.is_empty() { 200 } else { 404 })
    }

    fn manifest(&mut self, asked: &Asked, name: &str, repository: &str) -> Answer {
        if asked.method == "PUT" {
            let kind = asked.header("content-type").unwrap().to_owned();
            let tag = name.split_once('@').unwrap().1;
            self.add_manifest(repository, tag, &kind, &asked.body);
            return Answer::new(201)
                .header("Docker-Content-Digest", Digest::of(&asked.body).to_string());
        }
        match self.manifests.get(name) {
            Some((kind, bytes)) => Answer::new(200)
                .header("Content-Type", kind)
                .header("Docker-Content-Digest", Digest::of(bytes).to_string())
                .body(bytes.clone()),
            None => Answer::new(404)
                .body(r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#),
        }
    }

    fn upload(
        &mut self,
        asked: &Asked,
        repository: &str,
        query: &HashMap<String, String>,
        address: &str,
    ) -> Answer {
        match asked.method.as_str() {
            "POST" => {
                if let (true, Some(digest), Some(from)) =
                    (self.mounts, query.get("mount"), query.get("from"))
                    && let Some(blob) = self.blobs.get(&format!("{from}@{digest}")).cloned()
                {
                    self.blobs.insert(format!("{repository}@{digest}"), blob);
                    return Answer::new(201);
                }
                self.uploads += 1;
                let location = format!("/v2/{repository}/blobs/uploads/{}?state=x", self.uploads);
                // Both forms of a location are allowed.
                let location = if self.uploads.is_multiple_of(2) {
                    format!("http://{address}{location}")
                } else {
                    location
                };
                Answer::new(202).header("Location", location)
            }
            "PUT" => {
                assert_eq!(query.get("state").unwrap(), "x", "the location is kept");
                let digest = query.get("digest").unwrap();
                if Digest::of(&asked.body).to_string() != *digest {
                    return Answer::new(400);
                }
                self.blobs
                    .insert(format!("{repository}@{digest}"), asked.body.clone());
                Answer::new(201).header("Docker-Content-Digest", digest)
            }
            "DELETE" => Answer::new(204),
            _ => Answer::new(405),
        }
    }
}

fn ranged(asked: &Asked, blob: &[u8]) -> Answer {
    let start = asked.header("range").map(|range| {
        range
            .strip_prefix("bytes=")
            .unwrap()
            .split_once('-')
            .unwrap()
            .0
    });
    match start {
        Some(start) => Answer::new(206).body(&blob[start.parse::<usize>().unwrap()..]),
        None => Answer::new(200).body(blob),
    }
}

impl Fake {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| None).await
    }

    /// A registry whose answers are replaced by those of `fault`.
    pub(crate) async fn start_with(
        fault: impl FnMut(&Asked) -> Option<Answer> + Send + 'static,
    ) -> Self {
        let (store, handler) = Self::parts(Box::new(fault));
        let server = Server::start(handler).await;
        Self { server, store }
    }

    pub(crate) async fn start_tls() -> Self {
        let (store, handler) = Self::parts(Box::new(|_| None));
        let server = Server::start_tls(handler).await;
        Self { server, store }
    }

    fn parts(fault: Fault) -> (Arc<Mutex<Store>>, impl Fn(&Asked) -> Answer + Send + Sync) {
        let store = Arc::new(Mutex::new(Store::default()));
        let fault = Mutex::new(fault);
        let own = Arc::clone(&store);
        let handler = move |asked: &Asked| {
            if let Some(answer) = (fault.lock().unwrap())(asked) {
                return answer;
            }
            let address = asked.header("host").unwrap_or_default().to_owned();
            own.lock().unwrap().answer(asked, &address)
        };
        (store, handler)
    }

    /// Starts with an image under `library/app:1`.
    pub(crate) async fn with_image(
        fault: impl FnMut(&Asked) -> Option<Answer> + Send + 'static,
    ) -> (Self, Image) {
        let fake = Self::start_with(fault).await;
        let image = Image::new("linux/amd64", false);
        fake.store.lock().unwrap().add("library/app", "1", &image);
        (fake, image)
    }

    pub(crate) fn reference(&self, name: &str) -> Reference {
        format!("{}/{name}", self.server.address).parse().unwrap()
    }
}

/// Tries again at once, so that no test waits.
pub(crate) fn impatient() -> RetryPolicy {
    RetryPolicy {
        attempts: 4,
        first_pause: std::time::Duration::from_millis(1),
        ..RetryPolicy::default()
    }
}

pub(crate) fn plain(address: &str) -> HostSettings {
    HostSettings {
        host: address.to_owned(),
        plain_http: true,
        ..HostSettings::default()
    }
}

pub(crate) fn settings(fakes: &[&Fake]) -> ClientSettings {
    ClientSettings {
        hosts: fakes
            .iter()
            .map(|fake| plain(&fake.server.address))
            .collect(),
        retry: impatient(),
        ..ClientSettings::default()
    }
}

pub(crate) fn client(fakes: &[&Fake]) -> RegistryClient {
    RegistryClient::new(settings(fakes)).unwrap()
}

pub(crate) fn amd64() -> Platform {
    Platform::new("linux", "amd64", None)
}

/// The error and its causes.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// Faults that come one after the other for requests that fit, then none.
pub(crate) fn once_each(
    method: &'static str,
    path: &'static str,
    answers: Vec<Answer>,
) -> impl FnMut(&Asked) -> Option<Answer> + Send {
    let mut answers = answers.into_iter();
    move |asked| {
        if asked.method == method && asked.path.contains(path) {
            answers.next()
        } else {
            None
        }
    }
}
