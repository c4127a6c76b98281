//! Tar archives from the lines of a case, written byte by byte: a case may ask for names that no writer allows.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::entry::{Content, Entry, Kind, TIME};

/// Archives by name.
pub(crate) type Archives = BTreeMap<String, Vec<String>>;

/// The archive of these lines.
pub(crate) fn tar(lines: &[String], archives: &Archives) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines {
        append(&mut bytes, &Entry::parse(line), archives);
    }
    bytes.extend([0; 1024]);
    bytes
}

/// What a file holds, in memory.
pub(crate) fn content(content: &Content, archives: &Archives) -> Vec<u8> {
    match content {
        Content::Bytes(bytes) => bytes.clone(),
        Content::Size(size) => (0..*size)
            .map(|n| b'a' + u8::try_from(n % 23).unwrap())
            .collect(),
        Content::Hole(size) => vec![0; usize::try_from(*size).unwrap()],
        Content::Machine(path) => std::fs::read(path).unwrap_or_else(|e| panic!("{path}: {e}")),
        Content::Archive(name, compression) => {
            let lines = archives
                .get(name)
                .unwrap_or_else(|| panic!("no archive {name}"));
            compress(tar(lines, archives), compression.as_deref())
        }
    }
}

/// Compresses as `gz`, `xz`, `bz2` or `zst` say.
pub(crate) fn compress(bytes: Vec<u8>, compression: Option<&str>) -> Vec<u8> {
    match compression {
        None => bytes,
        Some("gz") => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&bytes).unwrap();
            encoder.finish().unwrap()
        }
        Some("xz") => filter("xz", &["-c", "-0"], &bytes),
        Some("bz2") => filter("bzip2", &["-c", "-1"], &bytes),
        Some("zst") => filter("zstd", &["-c", "-q", "-1"], &bytes),
        Some(other) => panic!("{other} is no compression"),
    }
}

fn filter(program: &str, arguments: &[&str], bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("the tests need {program}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(bytes).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{program} failed");
    output.stdout
}

fn append(archive: &mut Vec<u8>, entry: &Entry, archives: &Archives) {
    let (kind, body, link, device) = match &entry.kind {
        Kind::Directory => (b'5', Vec::new(), &[][..], (0, 0)),
        Kind::File(data) => (b'0', content(data, archives), &[][..], (0, 0)),
        Kind::Symlink(target) => (b'2', Vec::new(), &target[..], (0, 0)),
        Kind::Link(target) => (b'1', Vec::new(), &target[..], (0, 0)),
        Kind::Fifo => (b'6', Vec::new(), &[][..], (0, 0)),
        Kind::Socket => panic!("an archive has no sockets"),
        Kind::Character(major, minor) => (b'3', Vec::new(), &[][..], (*major, *minor)),
        Kind::Block(major, minor) => (b'4', Vec::new(), &[][..], (*major, *minor)),
    };
    let mut records = Vec::new();
    let time = entry.time.unwrap_or((TIME, 0));
    if entry.path.len() > 100 {
        record(&mut records, "path", &entry.path);
    }
    if link.len() > 100 {
        record(&mut records, "linkpath", link);
    }
    if time.1 != 0 {
        let time = format!("{}.{:09}", time.0, time.1);
        record(&mut records, "mtime", time.as_bytes());
    }
    let (uid, gid) = entry.owner;
    if uid > 0o7_777_777 || gid > 0o7_777_777 {
        record(&mut records, "uid", uid.to_string().as_bytes());
        record(&mut records, "gid", gid.to_string().as_bytes());
    }
    for (name, value) in &entry.xattrs {
        record(&mut records, &format!("SCHILY.xattr.{name}"), value);
    }
    if !records.is_empty() {
        let header = header(b"pax", b'x', records.len(), entry, b"", (0, 0));
        data(archive, &header, &records);
    }
    let header = header(&entry.path, kind, body.len(), entry, link, device);
    data(archive, &header, &body);
}

fn record(records: &mut Vec<u8>, name: &str, value: &[u8]) {
    let rest = name.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend(format!("{length} {name}=").as_bytes());
    records.extend(value);
    records.push(b'\n');
}

fn data(archive: &mut Vec<u8>, header: &[u8; 512], body: &[u8]) {
    archive.extend(header);
    archive.extend(body);
    archive.extend(vec![0; body.len().next_multiple_of(512) - body.len()]);
}

fn header(
    path: &[u8],
    kind: u8,
    size: usize,
    entry: &Entry,
    link: &[u8],
    device: (u32, u32),
) -> [u8; 512] {
    let mut header = [0; 512];
    let mut put = |at: usize, bytes: &[u8], most: usize| {
        let length = bytes.len().min(most);
        header[at..at + length].copy_from_slice(&bytes[..length]);
    };
    let id = |id: u32| format!("{:07o}", if id > 0o7_777_777 { 0 } else { id });
    put(0, path, 100);
    put(100, format!("{:07o}", entry.mode).as_bytes(), 7);
    put(108, id(entry.owner.0).as_bytes(), 7);
    put(116, id(entry.owner.1).as_bytes(), 7);
    put(124, format!("{size:011o}").as_bytes(), 11);
    put(
        136,
        format!("{:011o}", entry.time.map_or(TIME, |time| time.0).max(0)).as_bytes(),
        11,
    );
    put(148, b"        ", 8);
    put(156, &[kind], 1);
    put(157, link, 100);
    put(257, b"ustar\x0000", 8);
    put(329, format!("{:07o}", device.0).as_bytes(), 7);
    put(337, format!("{:07o}", device.1).as_bytes(), 7);
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}
