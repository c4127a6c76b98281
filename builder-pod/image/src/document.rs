//! Reading a manifest or an index from the bytes a registry served.
//!
//! Invariant: what a document is, is decided once, by its own members and its media types together; a document that
//! could be read as both is refused, so that nobody else takes it for the other (CVE-2021-41190).

use serde::Deserialize;

use crate::{CONFIG_SIZE_LIMIT, Index, MANIFEST_SIZE_LIMIT, Manifest, media_type};

/// A manifest or an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Box<Manifest>),
    /// An image for several platforms.
    Index(Index),
}

/// Why bytes are no document.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is larger than [`MANIFEST_SIZE_LIMIT`].
    #[error("the manifest has {0} bytes, more than {MANIFEST_SIZE_LIMIT}")]
    TooLarge(u64),
    /// A configuration is larger than [`CONFIG_SIZE_LIMIT`].
    #[error("the image configuration has {0} bytes, more than {CONFIG_SIZE_LIMIT}")]
    ConfigTooLarge(u64),
    /// It is no JSON, or lacks a member, or a member is malformed.
    #[error("the manifest is malformed")]
    Json(#[source] serde_json::Error),
    /// A configuration is no JSON, or a member is malformed.
    #[error("the image configuration is malformed")]
    Config(#[source] serde_json::Error),
    /// It has the obsolete form.
    #[error(
        "the manifest has schema version {0}, which is not supported; push the image again with a current tool"
    )]
    SchemaVersion(u32),
    /// Its media type is neither manifest nor index.
    #[error("media type `{0}` is neither an image manifest nor an index")]
    MediaType(String),
    /// The media type inside differs from the one it was served with.
    #[error("the manifest was served as `{served}`, but calls itself `{inside}`")]
    Disagreement {
        /// The `Content-Type`.
        served: String,
        /// Its own `mediaType`.
        inside: String,
    },
    /// It has the members of a manifest and of an index.
    #[error("the document has members of both a manifest and an index")]
    Ambiguous,
    /// It has the members of neither.
    #[error("the document has neither `config` nor `manifests`")]
    Neither,
}

/// The members that tell the kinds apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    #[serde(default)]
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    config: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    layers: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    manifests: Option<serde::de::IgnoredAny>,
}

impl Document {
    /// Reads a document that was served with the media type `served`, if any. Parameters (`; charset=utf-8`) are
    /// ignored, and so are the general types some servers give to every file.
    ///
    /// # Errors
    /// [`DocumentError`] when it is none, or too large.
    pub fn parse(bytes: &[u8], served: Option<&str>) -> Result<Self, DocumentError> {
        if bytes.len() as u64 > MANIFEST_SIZE_LIMIT {
            return Err(DocumentError::TooLarge(bytes.len() as u64));
        }
        let outline: Outline = serde_json::from_slice(bytes).map_err(DocumentError::Json)?;
        if outline.schema_version != 2 {
            return Err(DocumentError::SchemaVersion(outline.schema_version));
        }
        let is_manifest = outline.config.is_some() || outline.layers.is_some();
        let is_index = outline.manifests.is_some();
        let served = served
            .map(|served| served.split(';').next().unwrap_or_default().trim())
            .filter(|served| {
                !matches!(
                    *served,
                    "" | "application/json" | "application/octet-stream" | "text/plain"
                )
            });
        let inside = outline
            .media_type
            .as_deref()
            .filter(|inside| !inside.is_empty());
        if let (Some(served), Some(inside)) = (served, inside)
            && served != inside
        {
            return Err(DocumentError::Disagreement {
                served: served.to_owned(),
                inside: inside.to_owned(),
            });
        }
        let named = inside.or(served);
        match (is_manifest, is_index) {
            (true, true) => Err(DocumentError::Ambiguous),
            (false, false) => Err(DocumentError::Neither),
            (true, false) if named.is_none_or(media_type::is_manifest) => {
                serde_json::from_slice(bytes)
                    .map(Self::Manifest)
                    .map_err(DocumentError::Json)
            }
            (false, true) if named.is_none_or(media_type::is_index) => {
                serde_json::from_slice(bytes)
                    .map(Self::Index)
                    .map_err(DocumentError::Json)
            }
            _ => Err(DocumentError::MediaType(
                named.unwrap_or_default().to_owned(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Descriptor, Digest};

    fn manifest() -> String {
        let config = Descriptor::new(media_type::OCI_CONFIG, Digest::of(b"{}"), 2);
        serde_json::to_string(&Manifest::new(media_type::OCI_MANIFEST, config, vec![])).unwrap()
    }

    #[test]
    fn a_document_is_read_with_or_without_its_media_types() {
        let plain = manifest();
        let untyped = plain.replace(
            &format!(r#""mediaType":"{}","config""#, media_type::OCI_MANIFEST),
            r#""config""#,
        );
        assert_ne!(plain, untyped);
        for served in [
            None,
            Some(media_type::OCI_MANIFEST),
            Some("text/plain; charset=utf-8"),
        ] {
            for bytes in [&plain, &untyped] {
                let document = Document::parse(bytes.as_bytes(), served).unwrap();
                assert!(
                    matches!(document, Document::Manifest(_)),
                    "{served:?} {bytes}"
                );
            }
        }
        let index = r#"{"schemaVersion":2,"manifests":null}"#.replace("null", "[]");
        assert!(matches!(
            Document::parse(index.as_bytes(), None).unwrap(),
            Document::Index(_)
        ));
    }

    #[test]
    fn what_is_no_document_is_refused_with_what_is_wrong() {
        let manifest = manifest();
        let both = manifest.replacen('{', r#"{"manifests":[],"#, 1);
        let sha512 = manifest.replacen("sha256:", "sha512:", 1);
        let huge = format!("{manifest}{}", " ".repeat(4 * 1024 * 1024));
        let cases: [(&str, Option<&str>, &str); 9] = [
            ("<html>", None, "the manifest is malformed"),
            (
                r#"{"schemaVersion":1,"fsLayers":[]}"#,
                None,
                "the manifest has schema version 1",
            ),
            (
                r#"{"schemaVersion":2}"#,
                None,
                "neither `config` nor `manifests`",
            ),
            (&both, None, "members of both"),
            (&manifest, Some(media_type::OCI_INDEX), "was served as"),
            (
                &manifest,
                Some(media_type::DOCKER_MANIFEST),
                "but calls itself",
            ),
            (
                r#"{"schemaVersion":2,"manifests":[]}"#,
                Some("application/vnd.example"),
                "media type `application/vnd.example` is neither",
            ),
            (&sha512, None, "the manifest is malformed"),
            (&huge, None, "more than 4194304"),
        ];
        for (bytes, served, expected) in cases {
            let error = Document::parse(bytes.as_bytes(), served)
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(expected),
                "{error} should contain {expected}"
            );
        }
    }
}
