use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;
use crate::node::LayerId;
use crate::random::{Contents, Random, change};
use crate::read::LayerReader;
use crate::{apply_layer, device};

fn write(tree: &FsTree, changes: &Changes, contents: &Contents) -> (Vec<u8>, Digest, TarIndex) {
    let open = |path: &[u8], node: &Node| {
        let place = (node.layer, node.content_path(path).to_vec());
        contents
            .get(&place)
            .map(|bytes| &**bytes)
            .ok_or_else(|| std::io::Error::other(format!("no content at {place:?}")))
    };
    let mut bytes = Vec::new();
    let (diff_id, index) = write_layer(tree, changes, &mut bytes, None, open).unwrap();
    (bytes, diff_id, index)
}

fn text_tree(text: &str) -> FsTree {
    FsTree::parse(text).unwrap()
}

/// A layer with this tree; contents are as many `x` as a file has bytes.
fn layer_of(text: &str, latest_mtime: Option<i64>) -> Vec<u8> {
    let tree = text_tree(text);
    let changes = Changes::between(&FsTree::new(), &tree);
    let open = |_: &[u8], node: &Node| Ok(std::io::repeat(b'x').take(node.size()));
    let mut bytes = Vec::new();
    write_layer(&tree, &changes, &mut bytes, latest_mtime, open).unwrap();
    bytes
}

#[test]
fn a_layer_between_two_random_trees_makes_the_second_of_the_first() {
    for seed in 0..400 {
        let mut random = Random::new(seed);
        let mut contents = Contents::new();
        let mut old = FsTree::new();
        change(&mut old, LayerId(1), 25, &mut contents, &mut random);
        let mut new = old.clone();
        change(&mut new, LayerId(2), 12, &mut contents, &mut random);
        let changes = Changes::between(&old, &new);
        let (bytes, diff_id, index) = write(&new, &changes, &contents);

        let mut applied = old.clone();
        apply_layer(&mut applied, LayerId(2), &mut LayerReader::new(&*bytes)).unwrap();
        let (applied_text, new_text) = (applied.to_detailed_text(), new.to_detailed_text());
        assert_eq!(applied_text, new_text, "seed {seed}");
        assert!(Changes::between(&new, &new).is_empty());

        let (copied, digest) = TarIndex::copy(&*bytes, std::io::sink()).unwrap();
        assert_eq!(digest, diff_id);
        for path in &changes.upserts {
            let node = new.get(path).unwrap();
            if node.is_file() {
                let expected = &contents[&(node.layer, node.content_path(path).to_vec())];
                for index in [&copied, &index] {
                    let (offset, length) = index.get(path).unwrap();
                    let place = offset as usize..(offset + length) as usize;
                    assert_eq!(&bytes[place], expected, "seed {seed}");
                }
            }
        }
        // The same once more gives the same bytes.
        assert_eq!(write(&new, &changes, &contents).0, bytes);
    }
}

#[test]
fn system_tar_reads_what_is_written() {
    let long = "n".repeat(120);
    let deep = format!("{}/{}", "d".repeat(90), "e".repeat(90));
    let layer = layer_of(
        &format!(
            "d 0750 5:6 - dir mtime=1700000000
             f 4755 3000000:70000 12 dir/file mtime=1700000000.5 security.capability=0a00
             f 0644 0:0 600 {deep} mtime=-7
             l 0777 0:0 - {long} -> {deep}/{long}
             f 0600 0:0 3 x\\xff mtime=5
             f 0600 0:0 3 y == x\\xff mtime=5
             c 0666 0:0 1,3 null
             p 0600 1:2 - pipe"
        ),
        None,
    );
    let mut tar = Command::new("tar")
        .args([
            "--numeric-owner",
            "--full-time",
            "--utc",
            "--quoting-style=escape",
            "-tvf",
            "-",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("tar is installed");
    tar.stdin.take().unwrap().write_all(&layer).unwrap();
    let output = tar.wait_with_output().unwrap();
    assert!(output.status.success());
    let listing = String::from_utf8(output.stdout).unwrap();
    let listing: Vec<String> = listing
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        listing,
        [
            format!("-rw-r--r-- 0/0 600 1969-12-31 23:59:53 {deep}"),
            "drwxr-x--- 5/6 0 2023-11-14 22:13:20 dir/".to_owned(),
            "-rwsr-xr-x 3000000/70000 12 2023-11-14 22:13:20.5 dir/file".to_owned(),
            format!("lrwxrwxrwx 0/0 0 1970-01-01 00:00:00 {long} -> {deep}/{long}"),
            "crw-rw-rw- 0/0 1,3 1970-01-01 00:00:00 null".to_owned(),
            "prw------- 1/2 0 1970-01-01 00:00:00 pipe".to_owned(),
            "-rw------- 0/0 3 1970-01-01 00:00:05 x\\377".to_owned(),
            "hrw------- 0/0 0 1970-01-01 00:00:05 y link to x\\377".to_owned(),
        ]
    );
}

#[test]
fn an_empty_layer_is_the_well_known_one() {
    let (bytes, diff_id, _) = write(&FsTree::new(), &Changes::default(), &Contents::new());
    assert_eq!(bytes.len(), 1024);
    assert_eq!(
        diff_id.to_string(),
        "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
    );
}

#[test]
fn parents_of_changes_come_along_and_removals_are_explicit() {
    let old = text_tree("d 0700 1:1 - a\nd 0755 0:0 - a/b\nf 0644 0:0 1 a/b/c\nf 0644 0:0 1 a/b/d");
    let mut new = old.clone();
    new.remove(b"a/b/c");
    let changes = Changes::between(&old, &new);
    let (bytes, ..) = write(&new, &changes, &Contents::new());
    let mut archive = tar::Archive::new(&*bytes);
    let names: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let (path, header) = (entry.path().unwrap(), entry.header());
            format!(
                "{} {:o} {}",
                path.display(),
                header.mode().unwrap(),
                header.uid().unwrap()
            )
        })
        .collect();
    assert_eq!(names, ["a/ 700 1", "a/b/ 755 0", "a/b/.wh.c 0 0"]);
}

#[test]
fn later_times_are_clamped_and_earlier_ones_kept() {
    let layer = layer_of(
        "f 0644 0:0 0 a mtime=99.5\nf 0644 0:0 0 b mtime=100.1\nf 0644 0:0 0 c mtime=5000000000",
        Some(100),
    );
    let mut tree = FsTree::new();
    apply_layer(&mut tree, LayerId(0), &mut LayerReader::new(&*layer)).unwrap();
    assert_eq!(
        tree.to_detailed_text(),
        "f 0644 0:0 0 a mtime=99.5\nf 0644 0:0 0 b mtime=100\nf 0644 0:0 0 c mtime=100\n"
    );
}

#[test]
fn a_content_of_another_length_and_a_name_that_lies_are_refused() {
    let mut writer = LayerWriter::new(Vec::new(), WriteOptions::default());
    let node = Node::new(NodeKind::File { size: 3 }, 0o644, 0, 0);
    for content in [&b"xx"[..], b"xxxx"] {
        let error = writer.append(b"f", &node, &mut &*content).unwrap_err();
        assert!(
            matches!(error, LayerError::ContentLength { expected: 3, .. }),
            "{error}"
        );
    }
    for name in [&b"a/.wh.b"[..], b".wh.x/y", b".wh..wh..opq"] {
        let error = writer.append(name, &node, &mut &b"xxx"[..]).unwrap_err();
        assert!(matches!(error, LayerError::WhiteoutName { .. }), "{error}");
    }
}

#[test]
fn a_device_number_too_large_for_a_header_is_written_whole_or_refused() {
    let kind = NodeKind::BlockDevice {
        rdev: device(259, 0xf_ffff),
    };
    let mut writer = LayerWriter::new(Vec::new(), WriteOptions::default());
    writer
        .append(
            b"d",
            &Node::new(kind.clone(), 0o600, 0, 0),
            &mut std::io::empty(),
        )
        .unwrap();
    let (bytes, _) = writer.finish().unwrap();
    let entry = LayerReader::new(&*bytes).next_entry().unwrap().unwrap();
    let crate::EntryKind::Node(node) = entry.kind else {
        panic!("{entry:?}")
    };
    assert_eq!(node.kind, kind);
}
