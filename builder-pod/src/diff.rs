//! What made two images differ: members of the configuration, layers, paths in them, members of an entry.
//!
//! Layers are compared by position, and read only where their digests differ; contents by digest.
//! Invariant: two images of one digest have no difference, and two of different digests have at least one.

mod entries;
mod image;

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use entries::{Entries, read_entries};
pub use image::{ImageError, ImagePlace, OpenedImage};

use crate::store::blocking;

/// One difference. A side that has nothing there is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Which part of an image.
    pub part: Part,
    /// Position of the layer, from 0 at the bottom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<usize>,
    /// Absolute path in the layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What differs: a member of the configuration or manifest, or of an entry (`mode`, `owner`, `mtime`, …).
    pub member: String,
    /// What the first image has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub a: Option<String>,
    /// What the second image has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b: Option<String>,
}

/// A part of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The configuration.
    Config,
    /// The manifest.
    Manifest,
    /// A layer.
    Layer,
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            Part::Config => formatter.write_str("config")?,
            Part::Manifest => formatter.write_str("manifest")?,
            Part::Layer => write!(formatter, "layer {}", self.layer.unwrap_or_default())?,
        }
        if let Some(path) = &self.path {
            write!(formatter, " {}", path.escape_debug())?;
        }
        let side = |side: &Option<String>| match side {
            Some(text) => text.escape_debug().to_string(),
            None => "nothing".to_owned(),
        };
        write!(
            formatter,
            " {}: {} | {}",
            self.member,
            side(&self.a),
            side(&self.b)
        )
    }
}

/// Compares two images.
///
/// # Errors
/// When a layer cannot be read.
pub async fn compare(a: &OpenedImage, b: &OpenedImage) -> Result<Vec<Difference>, ImageError> {
    let mut differences = Vec::new();
    if a.digest.is_some() && a.digest == b.digest {
        return Ok(differences);
    }
    values(Part::Config, "", &a.config, &b.config, &mut differences);
    for position in 0..a.layers().max(b.layers()) {
        of_layers(a, b, position, &mut differences).await?;
    }
    if let (Some(a), Some(b)) = (&a.manifest, &b.manifest) {
        let (a, b) = (without_digests(a), without_digests(b));
        values(Part::Manifest, "", &a, &b, &mut differences);
    }
    if differences.is_empty()
        && let (Some(in_a), Some(in_b)) = (&a.digest, &b.digest)
    {
        // The same values in other bytes.
        differences.push(Difference {
            part: Part::Manifest,
            layer: None,
            path: None,
            member: "digest".to_owned(),
            a: Some(in_a.to_string()),
            b: Some(in_b.to_string()),
        });
    }
    Ok(differences)
}

/// Compares the layers at one position.
async fn of_layers(
    a: &OpenedImage,
    b: &OpenedImage,
    position: usize,
    differences: &mut Vec<Difference>,
) -> Result<(), ImageError> {
    let at = |member: &str, a: Option<String>, b: Option<String>| Difference {
        part: Part::Layer,
        layer: Some(position),
        path: None,
        member: member.to_owned(),
        a,
        b,
    };
    let (in_a, in_b) = (a.diff_id(position), b.diff_id(position));
    if in_a.is_none() || in_b.is_none() {
        differences.push(at("layer", in_a, in_b));
        return Ok(());
    }
    if in_a != in_b {
        let (from_a, from_b) = (a.layer(position).await?, b.layer(position).await?);
        let read = blocking(move || Ok((read_entries(from_a)?, read_entries(from_b)?)));
        let (in_a, in_b) = read.await.map_err(ImageError::Layer)?;
        let before = differences.len();
        of_entries(&in_a, &in_b, |path, member, a, b| {
            let mut difference = at(member, a, b);
            difference.path = Some(path);
            differences.push(difference);
        });
        if differences.len() == before {
            let text = |entries: &Entries| Some(entries.diff_id.to_string());
            differences.push(at("order or form of entries", text(&in_a), text(&in_b)));
        }
    }
    if let (Some(in_a), Some(in_b)) = (a.blob(position), b.blob(position))
        && in_a != in_b
    {
        differences.push(at("blob", Some(in_a), Some(in_b)));
    }
    Ok(())
}

/// A manifest without what says again that configuration and layers differ.
fn without_digests(manifest: &Value) -> Value {
    let mut manifest = manifest.clone();
    let forget = |descriptor: &mut Value| {
        if let Some(members) = descriptor.as_object_mut() {
            members.remove("digest");
            members.remove("size");
        }
    };
    forget(&mut manifest["config"]);
    if let Some(layers) = manifest["layers"].as_array_mut() {
        layers.iter_mut().for_each(forget);
    }
    manifest
}

/// Compares two JSON values member by member.
fn values(part: Part, at: &str, a: &Value, b: &Value, differences: &mut Vec<Difference>) {
    let member = |key: &str| match at {
        "" => key.to_owned(),
        at => format!("{at}.{key}"),
    };
    match (a, b) {
        _ if a == b => {}
        (Value::Object(in_a), Value::Object(in_b)) => {
            let only_in_b = in_b.keys().filter(|key| !in_a.contains_key(*key));
            for key in in_a.keys().chain(only_in_b) {
                let null = &Value::Null;
                let sides = (in_a.get(key).unwrap_or(null), in_b.get(key).unwrap_or(null));
                values(part, &member(key), sides.0, sides.1, differences);
            }
        }
        (Value::Array(in_a), Value::Array(in_b)) => {
            for index in 0..in_a.len().max(in_b.len()) {
                let null = &Value::Null;
                let sides = (
                    in_a.get(index).unwrap_or(null),
                    in_b.get(index).unwrap_or(null),
                );
                let place = format!("{at}[{index}]");
                values(part, &place, sides.0, sides.1, differences);
            }
        }
        _ => {
            let text = |value: &Value| match value {
                Value::Null => None,
                Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            };
            differences.push(Difference {
                part,
                layer: None,
                path: None,
                member: at.to_owned(),
                a: text(a),
                b: text(b),
            });
        }
    }
}

/// Compares two layers path by path, member by member.
fn of_entries(
    a: &Entries,
    b: &Entries,
    mut found: impl FnMut(String, &str, Option<String>, Option<String>),
) {
    let only_in_b = b.paths.keys().filter(|path| !a.paths.contains_key(*path));
    let mut paths: Vec<&Vec<u8>> = a.paths.keys().chain(only_in_b).collect();
    paths.sort();
    for path in paths {
        let shown = format!("/{}", String::from_utf8_lossy(path));
        match (a.paths.get(path), b.paths.get(path)) {
            (Some(in_a), Some(in_b)) => {
                let only_in_b = in_b.keys().filter(|member| !in_a.contains_key(*member));
                for member in in_a.keys().chain(only_in_b) {
                    let (in_a, in_b) = (in_a.get(member), in_b.get(member));
                    if in_a != in_b {
                        found(shown.clone(), member, in_a.cloned(), in_b.cloned());
                    }
                }
            }
            (in_a, in_b) => {
                let kind =
                    |entry: Option<&entries::Members>| entry.and_then(|e| e.get("type")).cloned();
                found(shown, "entry", kind(in_a), kind(in_b));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of_values(a: &Value, b: &Value) -> Vec<String> {
        let mut differences = Vec::new();
        values(Part::Config, "", a, b, &mut differences);
        differences.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn json_is_compared_member_by_member() {
        let a = json!({"config": {"Env": ["A=1", "B=2"], "User": "x"}, "os": "linux"});
        let b = json!({"config": {"Env": ["A=1", "B=3", "C=\n"]}, "os": "linux"});
        assert_eq!(
            of_values(&a, &b),
            [
                "config config.Env[1]: B=2 | B=3",
                "config config.Env[2]: nothing | C=\\n",
                "config config.User: x | nothing",
            ]
        );
        assert!(of_values(&a, &a).is_empty());
    }

    #[test]
    fn entries_are_compared_by_what_they_hold() {
        let layer = |mode: u32, more: bool| {
            let mut builder = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_ustar();
            header.set_size(2);
            header.set_mode(mode);
            header.set_mtime(5);
            builder
                .append_data(&mut header, "file", &b"ab"[..])
                .unwrap();
            if more {
                header.set_size(0);
                builder
                    .append_data(&mut header, "d/.wh.gone", &b""[..])
                    .unwrap();
            }
            read_entries(&*builder.into_inner().unwrap()).unwrap()
        };
        let mut found = Vec::new();
        of_entries(
            &layer(0o644, false),
            &layer(0o600, true),
            |path, member, a, b| {
                found.push((path, member.to_owned(), a, b));
            },
        );
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            found,
            [
                (
                    "/d/gone".to_owned(),
                    "entry".to_owned(),
                    None,
                    some("whiteout")
                ),
                (
                    "/file".to_owned(),
                    "mode".to_owned(),
                    some("0644"),
                    some("0600")
                ),
            ]
        );
    }
}
