use std::os::unix::fs::MetadataExt;

use stagecraft_layer::{CAPABILITY_ATTRIBUTE, Node, NodeKind, Time};
use stagecraft_protocol::ownership::{Override, XATTR_NAME};

use super::*;
use crate::rootfs::RootfsError;

const BASE: &str = "d 0755 0:0 - etc mtime=1000
    f 0640 0:42 6 etc/shadow mtime=1000.5
    f 0644 0:0 6 etc/passwd mtime=1000
    d 0700 1000:1000 - home mtime=2000
    d 0555 0:0 - sealed mtime=7
    f 0000 0:0 3 sealed/no mtime=7
    f 4755 0:0 9 su mtime=-5
    f 4755 0:0 9 su2 == su mtime=-5
    c 0666 0:0 1,3 null mtime=3
    l 0777 5:6 - link -> etc/passwd mtime=8
    p 0640 7:8 - pipe mtime=9";

fn record(path: &Path) -> Option<String> {
    let mut value = [0; 200];
    let length = rustix::fs::lgetxattr(path, XATTR_NAME, &mut value[..]).ok()?;
    Some(String::from_utf8(value[..length].to_vec()).unwrap())
}

#[test]
fn what_the_kernel_refuses_stands_in_the_record_and_the_rest_is_real() {
    let mut fixture = Fixture::new();
    fixture.unpack(&layer_of(BASE));
    fixture.assert_disk_is_the_tree();
    let mode = |path| {
        std::fs::symlink_metadata(fixture.path(path))
            .unwrap()
            .mode()
    };
    assert_eq!(mode("etc/shadow"), 0o100_640);
    assert_eq!(mode("su"), 0o100_755);
    assert_eq!(mode("sealed"), 0o040_755);
    assert_eq!(mode("sealed/no"), 0o100_600);
    assert_eq!(mode("null"), 0o100_666);
    assert_eq!(
        record(&fixture.path("etc/shadow")).as_deref(),
        Some("0:42:100640:0")
    );
    assert_eq!(
        record(&fixture.path("null")).as_deref(),
        Some("0:0:20666:259")
    );
    assert_eq!(
        record(&fixture.path("home")).as_deref(),
        Some("1000:1000:40700:0")
    );
    assert_eq!(record(&fixture.path("etc/passwd")), None);
    let status = std::fs::metadata(fixture.path("su")).unwrap();
    assert_eq!((status.nlink(), status.mtime()), (2, -5));
    assert_eq!(
        std::fs::metadata(fixture.path("etc")).unwrap().mtime(),
        1000
    );
    assert_eq!(
        std::fs::read(fixture.path("etc/passwd")).unwrap(),
        b"pppppp"
    );

    let owners = fixture.rootfs.take_special_owners();
    let attributes: Vec<Override> = owners.iter().map(|owner| owner.attributes).collect();
    assert_eq!(
        attributes,
        [
            Override {
                uid: 5,
                gid: 6,
                mode: 0o120_777,
                rdev: 0
            },
            Override {
                uid: 7,
                gid: 8,
                mode: 0o010_640,
                rdev: 0
            },
        ]
    );
    let inode = std::fs::symlink_metadata(fixture.path("link"))
        .unwrap()
        .ino();
    assert_eq!(owners[0].key.inode, inode);
    assert!(fixture.rootfs.take_special_owners().is_empty());
}

#[test]
fn a_second_layer_replaces_removes_and_keeps_what_it_should() {
    let mut fixture = Fixture::new();
    fixture.unpack(&layer_of(BASE));
    let mut writer = stagecraft_layer::LayerWriter::new(Vec::new(), Default::default());
    let mut nothing = std::io::empty();
    let file = |size| Node::new(NodeKind::File { size }, 0o644, 0, 0);
    let directory = Node::new(NodeKind::Directory, 0o711, 3, 0);
    writer.append_whiteout(b"etc/shadow").unwrap();
    writer.append_whiteout(b"never/was").unwrap();
    writer.append(b"home", &file(2), &mut &b"hh"[..]).unwrap();
    writer.append(b"su", &file(3), &mut &b"new"[..]).unwrap();
    writer.append(b"link", &directory, &mut nothing).unwrap();
    writer
        .append(b"link/below/deep", &file(1), &mut &b"d"[..])
        .unwrap();
    writer.append(b"etc", &directory, &mut nothing).unwrap();
    let (layer, _) = writer.finish().unwrap();
    fixture.unpack(&layer);
    fixture.assert_disk_is_the_tree();
    let text = fixture.tree.to_text();
    assert_eq!(
        text.lines().map(str::trim).collect::<Vec<_>>(),
        [
            "d 0711 3:0 - etc",
            "f 0644 0:0 6 etc/passwd",
            "f 0644 0:0 2 home",
            "d 0711 3:0 - link",
            "d 0755 0:0 - link/below",
            "f 0644 0:0 1 link/below/deep",
            "c 0666 0:0 1,3 null",
            "p 0640 7:8 - pipe",
            "d 0555 0:0 - sealed",
            "f 0000 0:0 3 sealed/no",
            "f 0644 0:0 3 su",
            "f 4755 0:0 9 su2",
        ]
    );
    assert_eq!(std::fs::read(fixture.path("su2")).unwrap(), b"sssssssss");
}

#[test]
fn entries_of_a_copy_are_written_linked_and_replace_what_stood_there() {
    let mut fixture =
        Fixture::with("d 0755 0:0 - app\nd 0755 0:0 - app/old\nf 0644 0:0 1 app/old/x");
    let layer = fixture.layer();
    let group = fixture.tree.new_link_group();
    let mut node = Node::new(NodeKind::File { size: 3 }, 0o640, 10, 20).in_layer(layer);
    node.mtime = Time {
        seconds: 77,
        nanoseconds: 0,
    };
    node.set_attribute(CAPABILITY_ATTRIBUTE, Some(b"cap"));
    node.link_group = Some(group);
    let (rootfs, tree) = (&mut fixture.rootfs, &mut fixture.tree);
    let mut directory = Node::new(NodeKind::Directory, 0o750, 1, 1).in_layer(layer);
    rootfs
        .write_entry(tree, b"app/old", &node, Some(&mut &b"one"[..]))
        .unwrap();
    rootfs
        .write_entry(tree, b"app/again", &node, Some(&mut &b"one"[..]))
        .unwrap();
    rootfs.write_entry(tree, b"app", &directory, None).unwrap();
    rootfs.write_entry(tree, b"new", &directory, None).unwrap();
    directory.kind = NodeKind::Symlink {
        target: b"/app".as_slice().into(),
    };
    rootfs
        .write_entry(tree, b"new/l", &directory, None)
        .unwrap();
    fixture.begin();
    fixture.assert_disk_is_the_tree();
    assert_eq!(
        fixture.tree.to_text(),
        "d 0750 1:1 - app\nf 0640 10:20 3 app/again\nf 0640 10:20 3 app/old == app/again\n\
         d 0750 1:1 - new\nl 0777 1:1 - new/l -> /app\n"
    );
    assert_eq!(
        fixture.changes(),
        "",
        "what the engine wrote is no change of a step"
    );

    let (rootfs, tree) = (&mut fixture.rootfs, &mut fixture.tree);
    node.link_group = None;
    for content in [&b"on"[..], b"ones"] {
        let error = rootfs
            .write_entry(tree, b"short", &node, Some(&mut &*content))
            .unwrap_err();
        assert!(
            matches!(error, RootfsError::ContentLength { expected: 3, .. }),
            "{error}"
        );
    }
}

#[test]
fn small_files_are_read_through_links_inside_the_root_and_nothing_else_is() {
    let fixture = Fixture::with(
        "d 0755 0:0 - etc
         f 0644 0:0 6 etc/passwd
         l 0777 0:0 - users -> /etc/../../etc/passwd
         l 0777 0:0 - loop -> loop
         p 0644 0:0 - pipe",
    );
    let read = |path: &str, limit| fixture.rootfs.read_small(path.as_bytes(), limit);
    assert_eq!(read("users", 6).unwrap().as_deref(), Some(&b"pppppp"[..]));
    assert_eq!(read("etc/group", 6).unwrap(), None);
    assert_eq!(read("etc/passwd/x", 6).unwrap(), None);
    assert!(matches!(
        read("users", 5),
        Err(RootfsError::TooLarge { .. })
    ));
    assert!(matches!(
        read("pipe", 5),
        Err(RootfsError::NotRegular { .. })
    ));
    assert!(matches!(
        read("etc", 5),
        Err(RootfsError::NotRegular { .. })
    ));
    assert!(matches!(read("loop", 5), Err(RootfsError::Path { .. })));
    assert!(
        fixture.rootfs.open_file(b"users").is_err(),
        "a path of the tree is no link"
    );
}
