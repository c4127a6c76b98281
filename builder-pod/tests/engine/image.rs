//! An image of an OCI layout as lines that two builders' images can be compared by.
//!
//! Invariant: nothing is left out that a build decides, but for digests, sizes of compressed layers and times of the
//! clock; those stand as `@-`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::builders::{Surroundings, is_own_time};
use crate::case::Case;
use crate::entry::{TIME, escape};

/// A time from here on is the clock's: 2020.
const CLOCK: i64 = 1_577_836_800;
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The lines of the only image of a layout.
pub(crate) fn lines(layout: &Path, case: &Case, around: &Surroundings) -> Vec<String> {
    let index: Value =
        serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
    let mut lines = Vec::new();
    for manifest in index["manifests"].as_array().unwrap() {
        image(layout, manifest, case, around, &mut lines);
    }
    lines
}

fn image(
    layout: &Path,
    descriptor: &Value,
    case: &Case,
    around: &Surroundings,
    lines: &mut Vec<String>,
) {
    let read = |descriptor: &Value| -> Value {
        serde_json::from_slice(&blob(layout, descriptor)).unwrap()
    };
    let manifest = read(descriptor);
    let config = read(&manifest["config"]);
    if let Some(annotations) = manifest.get("annotations") {
        lines.push(format!("annotations {annotations}"));
    }
    platform(&config, lines);
    if case.epoch.is_some() {
        lines.push(format!("created {}", config["created"]));
    }
    settings(&config, lines);
    for entry in config["history"].as_array().into_iter().flatten() {
        lines.push(history(entry, case.epoch.is_some()));
    }
    let diff_ids = config["rootfs"]["diff_ids"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let layers = manifest["layers"].as_array().cloned().unwrap_or_default();
    assert_eq!(layers.len(), diff_ids.len(), "layers and diff ids");
    let of_base = layers_of_base(&config);
    for (number, (layer, diff_id)) in layers.iter().zip(&diff_ids).enumerate() {
        let known = around.registry.layers.get(diff_id.as_str().unwrap());
        if let Some(name) = known.filter(|_| number < of_base) {
            lines.push(format!("layer {name}"));
            continue;
        }
        let kind = layer["mediaType"].as_str().unwrap();
        let kind = kind
            .strip_prefix("application/vnd.oci.image.layer.v1.tar+")
            .unwrap_or(kind);
        lines.push(match kind {
            "gzip" => "layer".to_owned(),
            kind => format!("layer {kind}"),
        });
        lines.extend(entries(
            &blob(layout, layer),
            kind,
            diff_id.as_str().unwrap(),
        ));
    }
}

/// How many layers the base image has: its history says `layer 1` and so on, and no instruction does.
fn layers_of_base(config: &Value) -> usize {
    let history = config["history"].as_array().into_iter().flatten();
    let is_of_base = |entry: &&Value| {
        let by = entry["created_by"].as_str();
        by.is_some_and(|by| by.starts_with("layer "))
    };
    history.filter(is_of_base).count()
}

fn platform(config: &Value, lines: &mut Vec<String>) {
    let mut platform = config.clone();
    for known in ["config", "history", "rootfs", "created"] {
        platform.as_object_mut().unwrap().remove(known);
    }
    if platform != json!({"architecture": "amd64", "os": "linux"}) {
        lines.push(format!("image {platform}"));
    }
}

/// What a container of the image starts with, a line for each setting that is not as in every image.
fn settings(config: &Value, lines: &mut Vec<String>) {
    for (name, value) in config["config"].as_object().into_iter().flatten() {
        let is_usual = match name.as_str() {
            "Env" => *value == json!([PATH]),
            "WorkingDir" => value == "/",
            _ => false,
        };
        if !is_usual {
            lines.push(format!("config {name} {value}"));
        }
    }
}

fn history(entry: &Value, with_time: bool) -> String {
    let mut entry = entry.clone();
    let members = entry.as_object_mut().unwrap();
    let created = members.remove("created");
    let by = members.remove("created_by").unwrap_or_default();
    let is_empty = members.remove("empty_layer") == Some(true.into());
    if members
        .get("comment")
        .is_some_and(|comment| comment == "buildkit.dockerfile.v0")
    {
        members.remove("comment");
    }
    let mut line = if is_empty {
        "history".to_owned()
    } else {
        "history+".to_owned()
    };
    if with_time {
        line.push_str(&format!(" {}", created.unwrap_or_default()));
    }
    if !members.is_empty() {
        line.push_str(&format!(" {entry}"));
    }
    format!(
        "{line} {}",
        escape(by.as_str().unwrap_or_default().as_bytes())
    )
}

fn blob(layout: &Path, descriptor: &Value) -> Vec<u8> {
    let digest = descriptor["digest"].as_str().unwrap();
    let hex = digest.strip_prefix("sha256:").unwrap();
    std::fs::read(layout.join("blobs/sha256").join(hex)).unwrap()
}

/// An entry of a layer, as it is compared.
struct Line {
    path: Vec<u8>,
    kind: char,
    head: String,
    tail: String,
    link: Vec<u8>,
}

/// The entries of a layer in the order of their paths, and what is wrong with the layer as such.
fn entries(blob: &[u8], kind: &str, diff_id: &str) -> Vec<String> {
    let mut tar = Vec::new();
    match kind {
        "gzip" => {
            _ = flate2::read::MultiGzDecoder::new(blob)
                .read_to_end(&mut tar)
                .unwrap()
        }
        _ => tar.extend_from_slice(blob),
    }
    let hex: String = Sha256::digest(&tar)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        diff_id,
        format!("sha256:{hex}"),
        "a layer is not what its diff id says"
    );
    let mut archive = tar::Archive::new(&tar[..]);
    let mut found: Vec<Line> = archive
        .entries()
        .unwrap()
        .map(|entry| line(entry.unwrap()))
        .collect();
    found.sort_by(|a, b| a.path.cmp(&b.path));
    name_links_by_the_first(&mut found);
    found
        .iter()
        .map(|line| {
            format!(
                "{}{} {}{}",
                line.kind,
                line.head,
                escape(&line.path),
                line.tail
            )
        })
        .collect()
}

fn line(mut entry: tar::Entry<'_, &[u8]>) -> Line {
    let mut records = BTreeMap::new();
    if let Some(extensions) = entry.pax_extensions().unwrap() {
        for record in extensions {
            let record = record.unwrap();
            records.insert(
                record.key().unwrap().to_owned(),
                record.value_bytes().to_vec(),
            );
        }
    }
    let number =
        |name: &str| -> Option<u64> { str::from_utf8(records.get(name)?).ok()?.parse().ok() };
    let header = entry.header().clone();
    let uid = number("uid").unwrap_or_else(|| header.uid().unwrap());
    let gid = number("gid").unwrap_or_else(|| header.gid().unwrap());
    let seconds = match records.get("mtime") {
        Some(time) => String::from_utf8(time.clone()).unwrap(),
        None => header.mtime().unwrap().to_string(),
    };
    let whole = seconds.split('.').next().unwrap().parse().unwrap_or(0);
    let time = match whole {
        CLOCK.. => "-".to_owned(),
        _ if is_own_time(whole) => TIME.to_string(),
        _ => seconds,
    };
    let kind = match header.entry_type() {
        tar::EntryType::Regular => 'f',
        tar::EntryType::Directory => 'd',
        tar::EntryType::Symlink => 'l',
        tar::EntryType::Link => 'h',
        tar::EntryType::Char => 'c',
        tar::EntryType::Block => 'b',
        tar::EntryType::Fifo => 'p',
        _ => '?',
    };
    let mode = header.mode().unwrap() & 0o7777;
    let mut path = entry.path_bytes().into_owned();
    if kind == 'd' && path.ends_with(b"/") {
        path.pop();
    }
    let link = entry
        .link_name_bytes()
        .map(|link| link.into_owned())
        .unwrap_or_default();
    let mut content = Vec::new();
    entry.read_to_end(&mut content).unwrap();
    let mut tail = match kind {
        'f' => format!(" = {}", content_text(&content)),
        'l' => format!(" -> {}", escape(&link)),
        'c' | 'b' => format!(
            " = {}:{}",
            header.device_major().unwrap().unwrap_or(0),
            header.device_minor().unwrap().unwrap_or(0)
        ),
        _ => String::new(),
    };
    for (name, value) in &records {
        match name.strip_prefix("SCHILY.xattr.") {
            Some(xattr) => tail.push_str(&format!(" {xattr}={}", escape(value))),
            None if KNOWN.contains(&name.as_str()) => {}
            None => tail.push_str(&format!(" {name}={}", escape(value))),
        }
    }
    Line {
        path,
        kind,
        head: format!("{mode:04o} {uid}:{gid} @{time}"),
        tail,
        link,
    }
}

/// Records that stand in the line already.
const KNOWN: [&str; 9] = [
    "path",
    "linkpath",
    "size",
    "uid",
    "gid",
    "mtime",
    "atime",
    "ctime",
    "hdrcharset",
];

fn content_text(content: &[u8]) -> String {
    let text = escape(content);
    if content.len() <= 80 && str::from_utf8(content).is_ok() {
        return format!("{text:?}").replace("\\\\", "\\");
    }
    let hash: String = Sha256::digest(content)[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{} bytes {hash}", content.len())
}

/// A builder may write any name of a file first: the first one in the order of paths is the file here.
fn name_links_by_the_first(lines: &mut [Line]) {
    for at in 0..lines.len() {
        if lines[at].kind != 'h' {
            continue;
        }
        let target = lines[at].link.clone();
        let Some(file) = lines
            .iter()
            .position(|line| line.kind != 'h' && line.path == target)
        else {
            lines[at].tail = format!(" => missing {}", escape(&target));
            continue;
        };
        if file < at {
            lines[at].tail = format!(" => {}", escape(&target));
            continue;
        }
        let (first, last) = lines.split_at_mut(file);
        std::mem::swap(&mut first[at].kind, &mut last[0].kind);
        std::mem::swap(&mut first[at].head, &mut last[0].head);
        std::mem::swap(&mut first[at].tail, &mut last[0].tail);
        let path = first[at].path.clone();
        for line in lines
            .iter_mut()
            .filter(|line| line.kind == 'h' && line.link == target)
        {
            line.link.clone_from(&path);
        }
        lines[file].link.clone_from(&path);
        lines[file].tail = format!(" => {}", escape(&path));
    }
}
