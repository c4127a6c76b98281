use super::*;
use crate::node::{NodeKind, Time};
use crate::{LayerWriter, WriteOptions};

const LOWER: LayerId = LayerId(1);
const UPPER: LayerId = LayerId(2);

fn entry(text: &str) -> Entry {
    let (path, kind) = text.split_once(' ').unwrap_or((text, "f"));
    let path = path.as_bytes().to_vec();
    let node = |kind| EntryKind::Node(Node::new(kind, 0o644, 0, 0));
    let kind = match kind.split_once(' ') {
        Some(("->", target)) => node(NodeKind::Symlink {
            target: target.as_bytes().into(),
        }),
        Some(("=", target)) => EntryKind::Link {
            target: target.as_bytes().to_vec(),
        },
        _ => match kind {
            "gone" => EntryKind::Whiteout,
            "opaque" => EntryKind::Opaque,
            "d" => node(NodeKind::Directory),
            "f" => node(NodeKind::File { size: 3 }),
            other => panic!("{other}"),
        },
    };
    Entry { path, kind }
}

fn apply(
    tree: &mut FsTree,
    layer: LayerId,
    entries: &[&str],
) -> Result<Vec<Operation>, LayerError> {
    let mut applier = Applier::new(layer);
    let mut operations = Vec::new();
    for text in entries {
        operations.extend(applier.apply(tree, entry(text))?);
    }
    Ok(operations)
}

fn applied(lower: &[&str], upper: &[&str]) -> FsTree {
    let mut tree = FsTree::new();
    apply(&mut tree, LOWER, lower).unwrap();
    apply(&mut tree, UPPER, upper).unwrap();
    tree
}

fn paths(tree: &FsTree) -> String {
    let paths: Vec<_> = tree
        .iter()
        .map(|(path, _)| String::from_utf8_lossy(path))
        .collect();
    paths.join(" ")
}

#[test]
fn whiteouts_hide_what_is_below_them_and_nothing_of_their_own_layer() {
    assert_eq!(
        paths(&applied(&["a d", "a/b", "c"], &["a/b gone", "x gone"])),
        "a c"
    );
    assert_eq!(paths(&applied(&["a d", "a/b", "a/c"], &["a gone"])), "");
    for order in [["a gone", "a d", "a/new"], ["a d", "a/new", "a gone"]] {
        assert_eq!(
            paths(&applied(&["a d", "a/old"], &order)),
            "a a/new",
            "{order:?}"
        );
    }
}

#[test]
fn an_opaque_mark_holds_wherever_it_stands_in_its_layer() {
    let lower = ["d d", "d/old d", "d/old/x", "d/both", "e"];
    for order in [
        ["d d", "d opaque", "d/both", "d/new", "d/old/y"],
        ["d d", "d/both", "d/new", "d/old/y", "d opaque"],
        ["d/new", "d/old/y", "d opaque", "d/both", "d d"],
    ] {
        let tree = applied(&lower, &order);
        assert_eq!(paths(&tree), "d d/both d/new d/old d/old/y e", "{order:?}");
        // The lower directory is gone, so nobody has described this one.
        assert_eq!(tree.get(b"d/old").unwrap().mode, 0o755, "{order:?}");
        assert_eq!(tree.get(b"d/old").unwrap().layer, UPPER, "{order:?}");
    }
    assert_eq!(paths(&applied(&lower, &[" opaque", "only"])), "only");
    assert_eq!(
        paths(&applied(&lower, &["missing opaque"])),
        "d d/both d/old d/old/x e"
    );
}

#[test]
fn kinds_replace_each_other_as_other_engines_have_it() {
    let lower = ["d d", "d/x", "f", "l -> d"];
    assert_eq!(
        paths(&applied(&lower, &["d d"])),
        "d d/x f l",
        "a directory keeps its children"
    );
    assert_eq!(
        paths(&applied(&lower, &["d f"])),
        "d f l",
        "a file does not"
    );
    let tree = applied(&lower, &["l d", "l/y"]);
    assert_eq!(paths(&tree), "d d/x f l l/y", "a directory replaces a link");
    assert!(tree.get(b"l").unwrap().is_directory());
    assert_eq!(paths(&applied(&lower, &["f d", "f/z"])), "d d/x f f/z l");
    let tree = applied(&lower, &["l f"]);
    assert!(
        tree.get(b"l").unwrap().is_file(),
        "a file replaces a link, not its target"
    );
}

#[test]
fn parents_lead_through_links_and_the_content_keeps_its_written_path() {
    let tree = applied(
        &["usr d", "usr/lib d", "lib -> usr/lib"],
        &["lib/x", "lib/deep/er/y"],
    );
    assert_eq!(
        paths(&tree),
        "lib usr usr/lib usr/lib/deep usr/lib/deep/er usr/lib/deep/er/y usr/lib/x"
    );
    let content = |path: &[u8]| tree.get(path).unwrap().content_path(path).to_vec();
    assert_eq!(content(b"usr/lib/x"), b"lib/x");
    assert_eq!(content(b"usr/lib/deep/er/y"), b"lib/deep/er/y");
    // A link to nothing makes what it points at; one that climbs ends in the root.
    assert_eq!(
        paths(&applied(&["a -> ../../b/c"], &["a/x"])),
        "a b b/c b/c/x"
    );
    // A whiteout goes through links of its parents, but takes the link itself.
    let lower = ["usr d", "usr/x", "l -> usr", "m -> usr/x"];
    assert_eq!(paths(&applied(&lower, &["l/x gone", "m gone"])), "l usr");
    assert_eq!(paths(&applied(&lower, &["l opaque"])), "l m usr");
}

#[test]
fn hard_links_share_their_inode_and_know_where_the_content_is() {
    let tree = applied(
        &["a", "l -> sub"],
        &["b = a", "l/c = b", "own", "d = own", "own", "s = l"],
    );
    assert_eq!(paths(&tree), "a b d l own s sub sub/c");
    let node = |path: &[u8]| tree.get(path).unwrap();
    let group = node(b"a").link_group;
    assert!(group.is_some());
    assert_eq!(
        (node(b"b").link_group, node(b"sub/c").link_group),
        (group, group)
    );
    assert_eq!(
        (node(b"sub/c").layer, node(b"sub/c").content_path(b"sub/c")),
        (LOWER, &b"a"[..])
    );
    // Its target was written once more after the link: the link keeps the first content.
    assert_eq!(
        (node(b"d").layer, node(b"d").content_path(b"d")),
        (UPPER, &b"d"[..])
    );
    assert_eq!(node(b"own").link_group, None);
    assert_eq!(node(b"s").symlink_target(), Some(&b"sub"[..]));
}

#[test]
fn hard_links_to_nothing_and_below_files_are_errors() {
    let mut tree = FsTree::new();
    apply(&mut tree, LOWER, &["d d", "d/f", "f"]).unwrap();
    for bad in ["x = missing", "x = d", "d = d/f", "x = f/below"] {
        let error = apply(&mut tree, UPPER, &[bad]).unwrap_err();
        assert!(
            matches!(error, LayerError::LinkTarget { .. }),
            "{bad}: {error}"
        );
    }
    let error = apply(&mut tree, UPPER, &["f/x"]).unwrap_err();
    assert!(
        matches!(error, LayerError::ParentNotDirectory { .. }),
        "{error}"
    );
    apply(&mut tree, UPPER, &["f = f"]).unwrap();
    apply(&mut tree, UPPER, &["l -> l"]).unwrap();
    assert!(matches!(
        apply(&mut tree, UPPER, &["l/x"]),
        Err(LayerError::Resolve { .. })
    ));
}

#[test]
fn operations_say_what_a_disk_has_to_do() {
    let mut tree = FsTree::new();
    let path = |text: &str| text.as_bytes().to_vec();
    assert_eq!(
        apply(&mut tree, LOWER, &["a/b", "c d", "h = a/b"]).unwrap(),
        [
            Operation::MakeDirectory { path: path("a") },
            Operation::Make { path: path("a/b") },
            Operation::MakeDirectory { path: path("c") },
            Operation::Link {
                path: path("h"),
                target: path("a/b")
            },
        ]
    );
    assert_eq!(
        apply(
            &mut tree,
            UPPER,
            &["c d", "a f", "c gone", "h d", "h/x", "h/x"]
        )
        .unwrap(),
        [
            Operation::UpdateDirectory { path: path("c") },
            Operation::Remove { path: path("a") },
            Operation::Make { path: path("a") },
            Operation::Remove { path: path("h") },
            Operation::MakeDirectory { path: path("h") },
            Operation::Make { path: path("h/x") },
            Operation::Remove { path: path("h/x") },
            Operation::Make { path: path("h/x") },
        ]
    );
}

#[test]
fn the_root_takes_metadata_and_the_layer_is_read_to_its_last_byte() {
    let mut writer = LayerWriter::new(Vec::new(), WriteOptions::default());
    let mut root = Node::new(NodeKind::Directory, 0o700, 1, 2);
    root.mtime = Time {
        seconds: 9,
        nanoseconds: 0,
    };
    writer.append(b"", &root, &mut std::io::empty()).unwrap();
    let (mut archive, _) = writer.finish().unwrap();
    archive.extend_from_slice(&[0; 10_240]);
    let mut rest = &*archive;
    let mut tree = FsTree::new();
    apply_layer(&mut tree, LOWER, &mut LayerReader::new(&mut rest)).unwrap();
    assert!(rest.is_empty());
    assert!(tree.get(b"").unwrap().same_metadata(&root));
    assert!(tree.is_empty());
}
