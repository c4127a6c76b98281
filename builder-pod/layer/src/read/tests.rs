use std::path::Path;
use std::process::Command;

use tar::Header;

use super::*;
use crate::tree::FsTree;
use crate::{LayerId, Time, apply_layer};

/// Archives made block by block, as no writer would.
#[derive(Default)]
struct Blocks(Vec<u8>);

impl Blocks {
    fn entry(mut self, name: &[u8], kind: u8, target: &[u8], content: &[u8]) -> Self {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target);
        header.as_old_mut().linkflag = [kind];
        header.set_mode(0o644);
        header.set_uid(1);
        header.set_gid(2);
        header.set_mtime(3);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.content(content)
    }

    fn content(mut self, content: &[u8]) -> Self {
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        self
    }

    fn file(self, name: &[u8]) -> Self {
        self.entry(name, b'0', b"", b"content")
    }

    fn pax(self, records: &[(&str, &[u8])]) -> Self {
        self.entry(b"x", b'x', b"", &pax_records(records))
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0
    }
}

fn pax_records(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in records {
        let rest = name.len() + value.len() + 3;
        let length = (1..)
            .map(|digits| rest + digits)
            .find(|l| l.to_string().len() + rest == *l);
        bytes.extend_from_slice(format!("{} {name}=", length.unwrap()).as_bytes());
        bytes.extend_from_slice(value);
        bytes.push(b'\n');
    }
    bytes
}

/// Every entry as `path kind`, with the content of files.
fn entries(archive: &[u8]) -> Result<Vec<String>, LayerError> {
    let mut reader = LayerReader::new(archive);
    let mut found = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let path = String::from_utf8_lossy(&entry.path).into_owned();
        let kind = match entry.kind {
            EntryKind::Whiteout => "gone".to_owned(),
            EntryKind::Opaque => "opaque".to_owned(),
            EntryKind::Link { target } => format!("= {}", String::from_utf8_lossy(&target)),
            EntryKind::Node(node) => {
                let mut content = String::new();
                reader.read_to_string(&mut content).unwrap();
                match node.kind {
                    NodeKind::Symlink { target } => {
                        format!("-> {}", String::from_utf8_lossy(&target))
                    }
                    NodeKind::Directory => "directory".to_owned(),
                    _ => format!("{content:?}"),
                }
            }
        };
        found.push(format!("{path} {kind}"));
    }
    Ok(found)
}

fn only_node(archive: &[u8]) -> Node {
    match LayerReader::new(archive)
        .next_entry()
        .unwrap()
        .unwrap()
        .kind
    {
        EntryKind::Node(node) => node,
        other => panic!("{other:?}"),
    }
}

#[test]
fn names_are_cleaned_and_never_leave_the_root() {
    let archive = Blocks::default()
        .file(b"./a//b/")
        .entry(b"old/", 0, b"", b"")
        .file(b"./x")
        .file(b"/abs")
        .file(b"../../up")
        .file(b"a/../../../b")
        .entry(b"dir", b'5', b"", b"")
        .entry(b"./", b'5', b"", b"")
        .entry(b"hard", b'1', b"/abs", b"")
        .entry(b"hard2", b'1', b"./../x", b"")
        .entry(b"soft", b'2', b"../../keep/./me/", b"")
        .end();
    assert_eq!(
        entries(&archive).unwrap(),
        [
            "a/b \"content\"",
            "old directory",
            "x \"content\"",
            "abs \"content\"",
            "up \"content\"",
            "b \"content\"",
            "dir directory",
            " directory",
            "hard = abs",
            "hard2 = x",
            "soft -> ../../keep/./me/",
        ]
    );
    for impossible in [&b""[..], b"/", b".", b"a/.."] {
        let archive = Blocks::default().file(impossible).end();
        let read = entries(&archive);
        assert!(matches!(read, Err(LayerError::Name { .. })), "{read:?}");
    }
}

#[test]
fn marks_are_told_from_files_and_never_become_one() {
    let archive = Blocks::default()
        .file(b"d/.wh.gone")
        .file(b".wh.top")
        .file(b"d/.wh..wh..opq")
        .file(b".wh..wh..opq")
        .file(b".wh..wh.plnk/123.456")
        .file(b"d/.wh..wh.aufs")
        .file(b".wh.")
        .file(b"d/.wh...")
        .file(b"d/.wh..")
        .file(b".wh.x/below")
        .file(b"wh.x")
        .end();
    assert_eq!(
        entries(&archive).unwrap(),
        [
            "d/gone gone",
            "top gone",
            "d opaque",
            " opaque",
            "wh.x \"content\""
        ]
    );
}

#[test]
fn extended_headers_say_what_headers_cannot() {
    let long = "n".repeat(200);
    let archive = Blocks::default()
        .pax(&[
            ("path", long.as_bytes()),
            ("uid", b"4294967294"),
            ("mtime", b"-1.5"),
            ("SCHILY.xattr.security.capability", b"\x01\n=\0"),
            ("SCHILY.xattr.user.stagecraft.override", b"0:0:100644:0"),
            ("SCHILY.xattr.user.mine", b"x"),
        ])
        .file(b"short")
        .file(b"next")
        .end();
    assert_eq!(
        entries(&archive).unwrap(),
        [format!("{long} \"content\""), "next \"content\"".into()]
    );
    let node = only_node(&archive);
    assert_eq!((node.uid, node.gid), (4_294_967_294, 2));
    assert_eq!(
        node.mtime,
        Time {
            seconds: -2,
            nanoseconds: 500_000_000
        }
    );
    assert_eq!(node.attributes().len(), 1);
    assert_eq!(
        node.attribute(CAPABILITY_ATTRIBUTE),
        Some(&b"\x01\n=\0"[..])
    );
}

#[test]
fn global_headers_hold_until_they_are_taken_back() {
    let global = |records| (pax_records(records), b'g');
    let (set, kind) = global(&[("uid", b"77")]);
    let (unset, _) = global(&[("uid", b"")]);
    let archive = Blocks::default()
        .entry(b"g", kind, b"", &set)
        .file(b"a")
        .pax(&[("uid", b"78")])
        .file(b"b")
        .file(b"c")
        .entry(b"g", kind, b"", &unset)
        .file(b"d")
        .end();
    let mut tree = FsTree::new();
    apply_layer(&mut tree, LayerId(0), &mut LayerReader::new(&*archive)).unwrap();
    let uids: Vec<u32> = tree.iter().map(|(_, node)| node.uid).collect();
    assert_eq!(uids, [77, 78, 77, 1]);
}

#[test]
fn the_size_of_an_extended_header_wins_so_that_no_entry_can_hide_in_a_content() {
    let hidden = Blocks::default().file(b"hidden").0;
    let archive = Blocks::default()
        .pax(&[("size", hidden.len().to_string().as_bytes())])
        .entry(b"outer", b'0', b"", b"")
        .content(&hidden)
        .file(b"after")
        .end();
    let read: Vec<_> = entries(&archive).unwrap();
    assert_eq!(read.len(), 2);
    assert!(read[0].starts_with("outer ") && read[1].starts_with("after "));
    // And what has no content has none, whatever its header says.
    let mut archive = Blocks::default().entry(b"l", b'2', b"target", b"").0;
    let header = &mut archive[..BLOCK];
    header[124..136].copy_from_slice(b"00000001000\0");
    let mut fixed = Header::new_old();
    fixed.as_mut_bytes().copy_from_slice(header);
    fixed.set_cksum();
    archive.copy_from_slice(fixed.as_bytes());
    archive.extend_from_slice(&Blocks::default().file(b"after").end());
    assert_eq!(
        entries(&archive).unwrap(),
        ["l -> target", "after \"content\""]
    );
}

#[test]
fn malformed_archives_are_errors_of_their_kind() {
    let good = Blocks::default().file(b"a").end();
    let mut broken = good.clone();
    broken[0] = b'b';
    assert!(matches!(
        entries(&broken),
        Err(LayerError::Header { offset: 0, .. })
    ));
    assert!(matches!(
        entries(&good[..300]),
        Err(LayerError::Header { .. })
    ));
    let mut reader = LayerReader::new(&good[..515]);
    reader.next_entry().unwrap();
    assert!(std::io::copy(&mut reader, &mut std::io::sink()).is_err());
    assert!(entries(&Blocks::default().entry(b"s", b'~', b"", b"").end()).is_err());
    for (name, value) in [
        ("uid", &b"4294967296"[..]),
        ("uid", b"-1"),
        ("gid", b"99999999999999999999"),
        ("size", b"-5"),
        ("size", b"9999999999999999999"),
        ("mtime", b"soon"),
        ("path", b"a\0b"),
    ] {
        let archive = Blocks::default().pax(&[(name, value)]).file(b"a").end();
        assert!(entries(&archive).is_err(), "{name}");
    }
    // Without end blocks, or with one, an archive is what it is.
    assert_eq!(entries(&good[..1024]).unwrap().len(), 1);
    assert_eq!(entries(&good[..1536]).unwrap().len(), 1);
    assert_eq!(entries(b"").unwrap().len(), 0);
}

#[test]
fn limits_hold() {
    let limit = |archive: &[u8], limits| {
        let mut reader = LayerReader::with_limits(archive, limits);
        loop {
            match reader.next_entry() {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(LayerError::Limit { limit, .. }) => return Some(limit),
                Err(error) => panic!("{error}"),
            }
        }
    };
    let all = Limits::default();
    let two = Blocks::default().file(b"a").file(b"b").end();
    assert_eq!(
        limit(&two, Limits { entries: 1, ..all }),
        Some("too many entries")
    );
    assert_eq!(limit(&two, Limits { entries: 2, ..all }), None);
    let deep = Blocks::default().file(b"a/b/c/d").end();
    assert_eq!(
        limit(&deep, Limits { depth: 3, ..all }),
        Some("a path is too deep")
    );
    let long = |length: usize| {
        let path = vec![b'p'; length];
        Blocks::default().pax(&[("path", &path)]).file(b"x").end()
    };
    assert_eq!(limit(&long(255), all), None);
    assert_eq!(limit(&long(256), all), Some("a name is too long"));
    let path = b"d/".repeat(2100);
    let archive = Blocks::default().pax(&[("path", &path)]).file(b"x").end();
    let deep = Limits { depth: 5000, ..all };
    assert_eq!(limit(&archive, deep), Some("a path is too long"));
    let huge = Blocks::default()
        .pax(&[("comment", &vec![b'c'; 1 << 20])])
        .file(b"x")
        .end();
    assert_eq!(limit(&huge, all), Some("an extended header is too long"));
}

fn system_tar(arguments: &[&str], directory: &Path) -> Vec<u8> {
    let output = Command::new("tar")
        .args(arguments)
        .args([
            "--sort=name",
            "--owner=7",
            "--group=8",
            "--numeric-owner",
            "-cf",
            "-",
            ".",
        ])
        .current_dir(directory)
        .output()
        .expect("tar is installed");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

#[test]
fn every_form_that_system_tar_writes_is_read_alike() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let deep = format!("{}/{}", "d".repeat(80), "e".repeat(90));
    std::fs::create_dir_all(root.join(&deep)).unwrap();
    std::fs::write(root.join(&deep).join("f".repeat(60)), "deep").unwrap();
    std::fs::write(root.join("plain"), "plain").unwrap();
    std::os::unix::fs::symlink("t".repeat(120), root.join("link")).unwrap();
    std::fs::hard_link(root.join("plain"), root.join("same")).unwrap();
    let mut texts = Vec::new();
    for format in ["--format=gnu", "--format=posix", "--format=oldgnu"] {
        let archive = system_tar(&[format], root);
        let mut tree = FsTree::new();
        apply_layer(&mut tree, LayerId(0), &mut LayerReader::new(&*archive)).unwrap();
        texts.push(tree.to_text());
    }
    assert!(
        texts[0].contains("plain") && texts[0].contains(" 7:8 "),
        "{}",
        texts[0]
    );
    assert!(texts[0].contains(&format!("-> {}", "t".repeat(120))));
    assert!(texts[0].contains("same == plain"));
    assert_eq!(texts[0], texts[1]);
    assert_eq!(texts[0], texts[2]);
}

#[test]
fn sparse_files_of_every_form_are_expanded() {
    use std::io::{Seek, SeekFrom, Write};
    let directory = tempfile::tempdir().unwrap();
    let mut file = std::fs::File::create(directory.path().join("sparse")).unwrap();
    // More pieces than fit one header of the old form.
    for piece in 0..60_u64 {
        file.seek(SeekFrom::Start(piece * 200_000 + 4096)).unwrap();
        file.write_all(format!("piece {piece}").as_bytes()).unwrap();
    }
    file.set_len(13_000_000).unwrap();
    let expected = std::fs::read(directory.path().join("sparse")).unwrap();
    for form in [
        &["--format=gnu"][..],
        &["--format=posix", "--sparse-version=0.0"],
        &["--format=posix", "--sparse-version=0.1"],
        &["--format=posix", "--sparse-version=1.0"],
    ] {
        let archive = system_tar(&[&["--sparse"], form].concat(), directory.path());
        assert!(
            archive.len() < 2_000_000,
            "{form:?} is not sparse: {}",
            archive.len()
        );
        let mut reader = LayerReader::new(&*archive);
        let mut content = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            if entry.path == b"sparse" {
                reader.read_to_end(&mut content).unwrap();
            }
        }
        assert!(content == expected, "{form:?}: {} bytes", content.len());

        let mut copy = Vec::new();
        let (index, _) = crate::TarIndex::copy(&*archive, &mut copy).unwrap();
        assert!(index.get(b"sparse").is_none());
        let read_at = |offset: u64, buffer: &mut [u8]| {
            let mut rest = &copy[usize::try_from(offset).unwrap()..];
            rest.read(buffer)
        };
        let mut content = Vec::new();
        index
            .open(b"sparse", read_at)
            .unwrap()
            .read_to_end(&mut content)
            .unwrap();
        assert!(content == expected, "{form:?}: {} bytes", content.len());
    }
}

#[test]
fn maps_of_sparse_files_that_lie_are_errors() {
    for (map, size) in [
        ("0,10,5,10", "100"),
        ("0,10", "5"),
        ("0", "5"),
        ("1,x", "5"),
        ("0,600", "600"),
    ] {
        let archive = Blocks::default()
            .pax(&[
                ("GNU.sparse.map", map.as_bytes()),
                ("GNU.sparse.size", size.as_bytes()),
            ])
            .file(b"s")
            .end();
        assert!(
            matches!(entries(&archive), Err(LayerError::ExtendedHeader { .. })),
            "{map}"
        );
    }
    for map in ["1\n0\n10\n", "99999999\n", "x\n", "1\n0\n"] {
        let archive = Blocks::default()
            .pax(&[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.name", b"s"),
                ("GNU.sparse.realsize", b"5"),
            ])
            .entry(b"s", b'0', b"", map.as_bytes())
            .end();
        assert!(entries(&archive).is_err(), "{map}");
    }
}
