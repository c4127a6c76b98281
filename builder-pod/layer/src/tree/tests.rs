use super::*;
use crate::node::NodeKind;

fn tree(text: &str) -> FsTree {
    FsTree::parse(text).unwrap()
}

#[test]
fn a_directory_comes_right_before_everything_below_it() {
    let tree = tree(
        "f 0644 0:0 1 a-b
         f 0644 0:0 1 a/c
         d 0755 0:0 - a
         f 0644 0:0 1 a.txt
         d 0755 0:0 - a/b
         f 0644 0:0 1 a/b/d",
    );
    let paths: Vec<_> = tree
        .iter()
        .map(|(path, _)| String::from_utf8_lossy(path))
        .collect();
    assert_eq!(paths, ["a", "a/b", "a/b/d", "a/c", "a-b", "a.txt"]);
    let below: Vec<_> = tree.walk(b"a").map(|(path, _)| path.len()).collect();
    assert_eq!(below, [1, 3, 5, 3]);
    let names: Vec<_> = tree.children(b"a").map(|(path, _)| name_of(path)).collect();
    assert_eq!(names, [b"b", b"c"]);
    let top: Vec<_> = tree.children(b"").map(|(path, _)| path).collect();
    assert_eq!(top, [&b"a"[..], b"a-b", b"a.txt"]);
    assert_eq!(tree.children(b"a-b").count(), 0);
}

#[test]
fn inserting_a_file_over_a_directory_removes_what_was_below_and_a_directory_keeps_it() {
    let mut tree = tree("d 0755 0:0 - a\nf 0644 0:0 1 a/b\nf 0644 0:0 1 a-b");
    tree.insert(b"a", Node::new(NodeKind::Directory, 0o700, 1, 1));
    assert_eq!(
        tree.to_text(),
        "d 0700 1:1 - a\nf 0644 0:0 1 a/b\nf 0644 0:0 1 a-b\n"
    );
    tree.insert(b"a", Node::new(NodeKind::File { size: 3 }, 0o600, 0, 0));
    assert_eq!(tree.to_text(), "f 0600 0:0 3 a\nf 0644 0:0 1 a-b\n");
    assert!(tree.remove(b"a") && !tree.remove(b"a"));
    assert_eq!(tree.len(), 1);
}

#[test]
fn the_text_form_comes_back_with_details() {
    let text = "d 0700 5:6 - /
d 0755 0:0 - dev mtime=-3
c 0666 0:0 1,3 dev/null
b 0660 0:6 8,256 dev/sda
d 0755 0:0 - etc
f 4755 0:0 12 etc/a\\x20b\\x5c mtime=1700000000.25 security.capability=0100
f 4755 0:0 12 etc/c == etc/a\\x20b\\x5c mtime=1700000000.25 security.capability=0100
l 0777 1:1 - etc/l -> ../x\\xff
p 0600 0:0 - pipe
";
    let tree = tree(text);
    assert_eq!(tree.to_detailed_text(), text);
    assert_eq!(
        FsTree::parse(&tree.to_text()).unwrap().to_text(),
        tree.to_text()
    );
    for (wrong, line) in [
        ("x 0 0:0 - a", 1),
        ("\nf 9 0:0 1 a", 2),
        ("f 644 0:0 1 a == b", 1),
    ] {
        assert_eq!(FsTree::parse(wrong).unwrap_err().line, line, "{wrong}");
    }
}

#[test]
fn resolving_stays_inside_the_root_and_follows_links_as_a_process_would() {
    let tree = tree(
        "d 0755 0:0 - usr
         d 0755 0:0 - usr/lib
         l 0777 0:0 - lib -> usr/lib
         l 0777 0:0 - abs -> /usr/../usr/lib
         l 0777 0:0 - up -> ../../../../usr
         l 0777 0:0 - usr/lib/sibling -> ../share/x
         l 0777 0:0 - loop -> loop2
         l 0777 0:0 - loop2 -> ./loop
         f 0644 0:0 1 file",
    );
    for (path, last, expected) in [
        ("lib/a", true, "usr/lib/a"),
        ("/lib", false, "lib"),
        ("lib", true, "usr/lib"),
        ("lib/", true, "usr/lib"),
        ("abs/../x", true, "usr/x"),
        ("up/lib/sibling", true, "usr/share/x"),
        ("lib/sibling", false, "usr/lib/sibling"),
        ("../../file", true, "file"),
        ("no/such/../../lib/./q", true, "usr/lib/q"),
        ("", true, ""),
        ("/", true, ""),
        ("file/below", true, "file/below"),
    ] {
        let resolved = tree.resolve(path.as_bytes(), last).unwrap();
        assert_eq!(String::from_utf8_lossy(&resolved), expected, "{path}");
    }
    assert!(tree.resolve(b"loop/x", false).is_err());
    assert_eq!(tree.resolve(b"loop", false).unwrap(), b"loop");
}

#[test]
fn a_subtree_keeps_pointing_at_the_content_in_its_layer() {
    let mut tree = tree("d 0755 0:0 - a\nd 0755 0:0 - a/b\nf 0644 0:0 1 a/b/c\nf 0644 0:0 1 a/d");
    tree.get_mut(b"a/b/c").unwrap().layer = LayerId(3);
    let below = tree.subtree(b"a").unwrap();
    assert_eq!(
        below.to_text(),
        "d 0755 0:0 - b\nf 0644 0:0 1 b/c\nf 0644 0:0 1 d\n"
    );
    assert_eq!(below.get(b"b/c").unwrap().content_path(b"b/c"), b"a/b/c");
    assert!(tree.subtree(b"a/d").is_none() && tree.subtree(b"x").is_none());
}

#[test]
fn missing_parents_are_listed_topmost_first() {
    let tree = tree("d 0755 0:0 - a");
    assert_eq!(tree.missing_parents(b"a/b/c/d"), [&b"a/b"[..], b"a/b/c"]);
    assert!(tree.missing_parents(b"x").is_empty());
}

#[test]
fn a_hundred_thousand_entries_stay_small() {
    // Key, node and path bytes of an entry as they lie in the map, allocator's rounding included.
    let entry = size_of::<TreePath>() + size_of::<Node>() + 64;
    assert!(entry * 100_000 < 32 * 1024 * 1024, "{entry} bytes an entry");
}
