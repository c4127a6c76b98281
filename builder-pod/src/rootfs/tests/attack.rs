use stagecraft_layer::{LayerWriter, Node, NodeKind};

use super::*;

/// A directory with a file beside the root, which nothing inside may reach.
pub(super) struct Outside {
    pub(super) fixture: Fixture,
    pub(super) beside: tempfile::TempDir,
}

impl Outside {
    pub(super) fn new(text: &str) -> Self {
        let beside = tempfile::tempdir().unwrap();
        std::fs::write(beside.path().join("file"), "untouched").unwrap();
        let target = beside.path().to_str().unwrap();
        Self {
            fixture: Fixture::with(&text.replace("OUTSIDE", target)),
            beside,
        }
    }

    pub(super) fn assert_untouched(&self) {
        let names: Vec<_> = std::fs::read_dir(self.beside.path()).unwrap().collect();
        assert_eq!(names.len(), 1);
        assert_eq!(
            std::fs::read(self.beside.path().join("file")).unwrap(),
            b"untouched"
        );
    }
}

pub(super) fn layer(build: impl FnOnce(&mut LayerWriter<Vec<u8>>)) -> Vec<u8> {
    let mut writer = LayerWriter::new(Vec::new(), Default::default());
    build(&mut writer);
    writer.finish().unwrap().0
}

pub(super) fn file(writer: &mut LayerWriter<Vec<u8>>, path: &str) {
    let node = Node::new(NodeKind::File { size: 4 }, 0o644, 0, 0);
    writer
        .append(path.as_bytes(), &node, &mut &b"evil"[..])
        .unwrap();
}

pub(super) fn link(writer: &mut LayerWriter<Vec<u8>>, path: &str, target: &str) {
    let node = Node::new(
        NodeKind::Symlink {
            target: target.as_bytes().into(),
        },
        0o777,
        0,
        0,
    );
    writer
        .append(path.as_bytes(), &node, &mut std::io::empty())
        .unwrap();
}

#[test]
fn writes_and_removals_through_links_of_a_layer_stay_inside_the_root() {
    let mut outside = Outside::new("l 0777 0:0 - out -> OUTSIDE\nl 0777 0:0 - up -> ../../../..");
    let target = outside.beside.path().to_str().unwrap().to_owned();
    outside.fixture.unpack(&layer(|writer| {
        file(writer, "out/planted");
        file(writer, "up/climbed");
        writer.append_whiteout(b"out/file").unwrap();
        link(writer, "direct", &format!("{target}/file"));
        file(writer, "direct");
    }));
    outside.assert_untouched();
    outside.fixture.assert_disk_is_the_tree();
    let inside = format!("{}/planted", &target[1..]);
    assert_eq!(
        std::fs::read(outside.fixture.path(&inside)).unwrap(),
        b"evil"
    );
    assert_eq!(
        std::fs::read(outside.fixture.path("climbed")).unwrap(),
        b"evil"
    );
    let direct = std::fs::symlink_metadata(outside.fixture.path("direct")).unwrap();
    assert!(direct.is_file());
}

#[test]
fn names_that_climb_end_in_the_root() {
    let mut outside = Outside::new("d 0755 0:0 - d");
    // The writer of layers writes whatever it is told.
    outside.fixture.unpack(&layer(|writer| {
        file(writer, "../../climbed");
        file(writer, "/absolute");
        file(writer, "d/../../../below");
    }));
    for name in ["climbed", "absolute", "below"] {
        assert_eq!(std::fs::read(outside.fixture.path(name)).unwrap(), b"evil");
    }
    outside.assert_untouched();
}

#[test]
fn a_hard_link_reaches_only_what_the_root_has() {
    let mut outside = Outside::new("l 0777 0:0 - out -> OUTSIDE");
    let node = Node::new(NodeKind::File { size: 4 }, 0o644, 0, 0);
    for target in ["out/file", "/etc/passwd", "../../../../../../etc/passwd"] {
        let archive = layer(|writer| {
            writer
                .append_link(b"stolen", &node, target.as_bytes())
                .unwrap();
        });
        let layer = outside.fixture.layer();
        let fixture = &mut outside.fixture;
        assert!(
            fixture
                .rootfs
                .unpack(&mut fixture.tree, layer, &*archive)
                .is_err(),
            "{target}"
        );
    }
    // Absolute targets inside are legal.
    outside.fixture.unpack(&layer(|writer| {
        file(writer, "own");
        writer.append_link(b"second", &node, b"/own").unwrap();
    }));
    outside.fixture.assert_disk_is_the_tree();
}

#[test]
fn a_link_on_disk_that_the_tree_does_not_know_fails_the_write_instead_of_leading_it_out() {
    let mut outside = Outside::new("d 0755 0:0 - d\nf 0644 0:0 1 d/f");
    std::fs::rename(outside.fixture.path("d"), outside.fixture.path("moved")).unwrap();
    std::os::unix::fs::symlink(outside.beside.path(), outside.fixture.path("d")).unwrap();
    let layer_id = outside.fixture.layer();
    let fixture = &mut outside.fixture;
    let archives = [
        layer(|writer| file(writer, "d/planted")),
        layer(|writer| file(writer, "d/file")),
        layer(|writer| writer.append_whiteout(b"d/f").unwrap()),
    ];
    for archive in archives {
        assert!(
            fixture
                .rootfs
                .unpack(&mut fixture.tree, layer_id, &*archive)
                .is_err()
        );
    }
    assert!(fixture.rootfs.open_file(b"d/file").is_err());
    assert!(fixture.rootfs.read_small(b"d/file", 100).unwrap().is_none());
    outside.assert_untouched();
}

#[test]
fn links_that_a_step_planted_are_only_looked_at() {
    let mut outside = Outside::new("d 0755 0:0 - d\nf 0644 0:0 1 d/f");
    std::fs::remove_dir_all(outside.fixture.path("d")).unwrap();
    std::os::unix::fs::symlink(outside.beside.path(), outside.fixture.path("d")).unwrap();
    std::os::unix::fs::symlink("/etc/shadow", outside.fixture.path("s")).unwrap();
    assert_eq!(outside.fixture.changes(), "+d +s");
    // Replacing the link by a directory removes the link, not what it points at.
    outside.fixture.unpack(&layer(|writer| {
        writer
            .append(b"d", &Node::implicit_directory(), &mut std::io::empty())
            .unwrap();
        file(writer, "d/inside");
    }));
    outside.assert_untouched();
    outside.fixture.assert_disk_is_the_tree();
}
