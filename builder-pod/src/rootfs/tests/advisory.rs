//! Archives that have hurt other builders, by the advisory that tells of it. Whatever becomes of one here, nothing
//! beside the root may change, and what is unpacked is what the tree says.

use std::os::unix::fs::PermissionsExt;

use stagecraft_layer::{LayerWriter, Node, NodeKind};

use super::attack::{Outside, file, layer, link};
use super::*;

/// What a layer of the attack writes; the text is a path outside of the root.
type Write = fn(&mut LayerWriter<Vec<u8>>, &str);

fn directory(writer: &mut LayerWriter<Vec<u8>>, path: &str) {
    let node = Node::new(NodeKind::Directory, 0o777, 0, 0);
    writer
        .append(path.as_bytes(), &node, &mut std::io::empty())
        .unwrap();
}

fn hard_link(writer: &mut LayerWriter<Vec<u8>>, path: &str, target: &str) {
    let node = Node::new(NodeKind::File { size: 4 }, 0o777, 0, 0);
    writer
        .append_link(path.as_bytes(), &node, target.as_bytes())
        .unwrap();
}

/// Unpacks one layer after the other, until one is refused.
fn unpack_all(fixture: &mut Fixture, layers: &[Vec<u8>]) -> bool {
    layers.iter().all(|archive| {
        let layer = fixture.layer();
        let unpacked = fixture.rootfs.unpack(&mut fixture.tree, layer, &**archive);
        unpacked.is_ok()
    })
}

/// The layers of every attack, one unpacked after the other.
const ATTACKS: [(&str, &[Write]); 12] = [
    (
        "CVE-2026-28406: names that climb",
        &[|w, _| {
            file(w, "../../../../climbed");
            file(w, "/../climbed");
            directory(w, "a/../../../below");
        }],
    ),
    (
        "CVE-2020-10696: an absolute name",
        &[|w, outside| {
            file(w, &format!("{outside}/file"));
        }],
    ),
    (
        "CVE-2026-17106: a write through a link of the layer",
        &[|w, outside| {
            link(w, "d", outside);
            file(w, "d/file");
            file(w, "d/new");
        }],
    ),
    (
        "CVE-2026-17106: a write through a link of a lower layer",
        &[
            |w, outside| link(w, "d", outside),
            |w, _| {
                directory(w, "d/sub");
                file(w, "d/sub/new");
            },
        ],
    ),
    (
        "CVE-2026-33056: a directory where a link stands",
        &[|w, outside| {
            link(w, "d", outside);
            directory(w, "d");
        }],
    ),
    (
        "CVE-2021-32760: a mode through a hard link to a link",
        &[|w, outside| {
            link(w, "l", &format!("{outside}/file"));
            hard_link(w, "h", "l");
            file(w, "h");
        }],
    ),
    (
        "CVE-2021-29136: the root as a link",
        &[|w, outside| {
            link(w, "/", outside);
            file(w, "file");
        }],
    ),
    (
        "CVE-2021-29136: the root as a link by another name",
        &[|w, outside| {
            link(w, "a/..", outside);
            file(w, "file");
        }],
    ),
    (
        "GHSA-cm76-qm8v-3j95: a link in place of a directory that is in use",
        &[
            |w, _| file(w, "d/sub/first"),
            |w, outside| {
                w.append_whiteout(b"d").unwrap();
                link(w, "d", outside);
                file(w, "d/file");
            },
        ],
    ),
    (
        "a removal through a link",
        &[|w, outside| {
            link(w, "d", outside);
            w.append_whiteout(b"d/file").unwrap();
        }],
    ),
    (
        "a removal by a name that climbs",
        &[|w, outside| {
            let climbing = format!("../../../../../..{outside}/file");
            w.append_whiteout(climbing.as_bytes()).unwrap();
        }],
    ),
    (
        "a hard link to a file of the machine",
        &[|w, outside| {
            hard_link(w, "stolen", &format!("{outside}/file"));
        }],
    ),
];

#[test]
fn no_archive_that_hurt_another_builder_reaches_anything_beside_the_root() {
    for (advisory, layers) in ATTACKS {
        let mut outside = Outside::new("d 0755 0:0 - z");
        let target = outside.beside.path().to_str().unwrap().to_owned();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode();
        let modes = |beside: &Path| (mode(beside), mode(&beside.join("file")));
        let before = modes(outside.beside.path());
        let archives = layers
            .iter()
            .map(|write| layer(|writer| write(writer, &target)));
        let archives: Vec<_> = archives.collect();
        let unpacked = unpack_all(&mut outside.fixture, &archives);
        outside.assert_untouched();
        assert_eq!(modes(outside.beside.path()), before, "{advisory}");
        if unpacked {
            outside.fixture.assert_disk_is_the_tree();
        }
        assert!(!outside.fixture.path("stolen").exists(), "{advisory}");
    }
}

#[test]
fn images_that_others_refused_out_of_caution_are_unpacked() {
    let mut fixture = Fixture::new();
    let layers = [
        // A link with more `..` than there are directories above it, as certificates of a JDK have it.
        layer(|w| {
            file(w, "etc/ssl/certs/java/cacerts");
            link(
                w,
                "opt/jdk/cacerts",
                "../../../../../../etc/ssl/certs/java/cacerts",
            );
            link(w, "bin/sh", "dash");
            file(w, "bin/dash");
        }),
        // A file in place of a link, and a hard link with an absolute target.
        layer(|w| {
            file(w, "bin/sh");
            hard_link(w, "bin/second", "/bin/sh");
        }),
    ];
    assert!(unpack_all(&mut fixture, &layers));
    fixture.assert_disk_is_the_tree();
    let read = |path: &str| std::fs::read(fixture.path(path)).unwrap();
    assert_eq!(read("bin/second"), b"evil");
    assert!(fixture.path("bin/sh").symlink_metadata().unwrap().is_file());
}
