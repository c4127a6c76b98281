//! From a reference to an image pinned by digest: manifest or index, platform, configuration.

use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use stagecraft_image::{
    CONFIG_SIZE_LIMIT, Digest, Document, ImageConfig, MANIFEST_SIZE_LIMIT, Manifest, Platform,
    Reference, media_type,
};

use crate::authenticator::Scopes;
use crate::blob::Download;
use crate::endpoint::{Endpoint, Request};
use crate::exchange::read_limited;
use crate::retry::describe;
use crate::{ErrorKind, HostError, ResolvedImage};

/// The digest of what an answer holds, in the registry's words.
pub(crate) const DIGEST_HEADER: &str = "docker-content-digest";
/// Indexes in indexes that are followed.
pub(crate) const NESTING_LIMIT: usize = 3;

/// Asks one endpoint after the other; the error of the last, the registry itself, is the answer: unless it cannot be
/// reached and a mirror has said that the image does not exist.
pub(crate) async fn resolve(
    endpoints: Vec<Endpoint>,
    reference: &Reference,
    platform: &Platform,
) -> Result<ResolvedImage, HostError> {
    let mut rest = endpoints.as_slice();
    let mut missing = None;
    while let [endpoint, others @ ..] = rest {
        match resolve_at(endpoint, rest, reference, platform).await {
            Err(error) if !others.is_empty() => {
                tracing::warn!(
                    %reference, host = %endpoint.host, error = %describe(&error),
                    "a mirror failed; asking the next host"
                );
                if let HostError::NotFound { host, what, .. } = error {
                    missing = Some((host, what));
                }
                rest = others;
            }
            Err(error) if error.kind() == ErrorKind::Unreachable => {
                return Err(match missing {
                    Some((mirror, what)) => HostError::NotInMirror {
                        mirror,
                        what,
                        source: Box::new(error),
                    },
                    None => error,
                });
            }
            result => return result,
        }
    }
    Err(HostError::Protocol {
        host: String::new(),
        what: "there is no host to ask".to_owned(),
    })
}

async fn resolve_at(
    endpoint: &Endpoint,
    rest: &[Endpoint],
    reference: &Reference,
    platform: &Platform,
) -> Result<ResolvedImage, HostError> {
    let repository = reference.repository();
    let (digest, manifest) = manifest(endpoint, reference, platform).await?;
    let what = format!("{repository}@{digest}");
    check_manifest(&manifest, &what)?;
    if manifest.config.size > CONFIG_SIZE_LIMIT {
        return Err(HostError::TooLarge {
            host: endpoint.host.clone(),
            limit: CONFIG_SIZE_LIMIT,
            what: format!("the configuration of {what}"),
        });
    }
    let download = Download::start(rest.to_vec(), repository, &manifest.config).await?;
    let config_bytes = download.collect().await?;
    let config = ImageConfig::parse(&config_bytes).map_err(|source| HostError::Document {
        host: endpoint.host.clone(),
        what: format!("the configuration of {what}"),
        source,
    })?;
    check_layers(&manifest, &config, &what)?;
    if !platform.matches(&config.platform()) {
        tracing::warn!(%reference, found = %config.platform(), wanted = %platform, "the image is for another platform");
    }
    Ok(ResolvedImage {
        reference: reference.clone(),
        layout: None,
        digest,
        manifest,
        config_bytes,
        config,
    })
}

/// The manifest for the platform, with its digest.
async fn manifest(
    endpoint: &Endpoint,
    reference: &Reference,
    platform: &Platform,
) -> Result<(Digest, Manifest), HostError> {
    let repository = reference.repository();
    let mut expected = reference.digest().cloned();
    let mut identifier = reference.identifier();
    for _ in 0..NESTING_LIMIT {
        let (digest, document) =
            document(endpoint, repository, &identifier, expected.as_ref()).await?;
        match document {
            Document::Manifest(manifest) => return Ok((digest, *manifest)),
            Document::Index(index) => {
                let chosen = index.choose(platform)?.digest.clone();
                identifier = chosen.to_string();
                expected = Some(chosen);
            }
        }
    }
    Err(HostError::NotAnImage {
        what: reference.familiar(),
        why: format!("more than {NESTING_LIMIT} indexes stand in one another"),
    })
}

/// A manifest or index by tag or digest, with the digest of its bytes.
async fn document(
    endpoint: &Endpoint,
    repository: &str,
    identifier: &str,
    expected: Option<&Digest>,
) -> Result<(Digest, Document), HostError> {
    let what = format!(
        "{repository}{}{identifier}",
        if expected.is_some() { '@' } else { ':' }
    );
    let scopes = Scopes::pull(&endpoint.repository(repository));
    let url = endpoint.url(repository, &format!("manifests/{identifier}"))?;
    let mut request = Request::new(Method::GET, url, &scopes);
    let accepted = media_type::MANIFESTS.join(", ");
    if let Ok(accepted) = HeaderValue::from_str(&accepted) {
        request.headers.insert(ACCEPT, accepted);
    }
    let response = endpoint.send(&request, &what).await?;
    if !response.status().is_success() {
        return Err(endpoint.failure(response, &what, &scopes).await);
    }
    let headers = response.headers().clone();
    let bytes = read_limited(&endpoint.host, response, MANIFEST_SIZE_LIMIT, &what).await?;
    let found = Digest::of(&bytes);
    let announced = header_digest(&headers);
    if let Some(expected) = expected
        .or(announced.as_ref())
        .filter(|expected| **expected != found)
    {
        return Err(HostError::DigestMismatch {
            host: endpoint.host.clone(),
            expected: expected.clone(),
            found,
        });
    }
    let served = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let document = Document::parse(&bytes, served).map_err(|source| HostError::Document {
        host: endpoint.host.clone(),
        what,
        source,
    })?;
    Ok((found, document))
}

/// The digest a registry announces, if it is one of ours.
pub(crate) fn header_digest(headers: &HeaderMap) -> Option<Digest> {
    headers.get(DIGEST_HEADER)?.to_str().ok()?.parse().ok()
}

/// Helm charts, signatures and other artifacts have manifests too.
pub(crate) fn check_manifest(manifest: &Manifest, what: &str) -> Result<(), HostError> {
    let not_an_image = |why| {
        Err(HostError::NotAnImage {
            what: what.to_owned(),
            why,
        })
    };
    let config = manifest.config.media_type.as_str();
    if !media_type::is_config(config) {
        return not_an_image(format!("its configuration is of type `{config}`"));
    }
    for layer in &manifest.layers {
        if media_type::layer_compression(&layer.media_type).is_none() {
            return not_an_image(format!("a layer is of type `{}`", layer.media_type));
        }
    }
    Ok(())
}

pub(crate) fn check_layers(
    manifest: &Manifest,
    config: &ImageConfig,
    what: &str,
) -> Result<(), HostError> {
    let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
    if layers == diff_ids {
        return Ok(());
    }
    Err(HostError::NotAnImage {
        what: what.to_owned(),
        why: format!("its manifest has {layers} layers, its configuration {diff_ids}"),
    })
}
