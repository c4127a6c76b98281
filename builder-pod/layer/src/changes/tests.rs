use super::*;

fn between(old: &str, new: &str) -> String {
    let changes = Changes::between(&FsTree::parse(old).unwrap(), &FsTree::parse(new).unwrap());
    let show = |sign: &str, paths: &[Box<[u8]>]| -> Vec<String> {
        paths
            .iter()
            .map(|path| format!("{sign}{}", String::from_utf8_lossy(path)))
            .collect()
    };
    [show("+", &changes.upserts), show("-", &changes.removals)]
        .concat()
        .join(" ")
}

const BASE: &str = "d 0755 0:0 - a
    d 0755 0:0 - a/b
    f 0644 0:0 1 a/b/c
    f 0644 0:0 1 a/d
    l 0777 0:0 - a/l -> b
    f 0644 0:0 1 z";

#[test]
fn nothing_differs_between_a_tree_and_itself() {
    assert_eq!(between(BASE, BASE), "");
}

#[test]
fn new_changed_and_removed_paths_are_listed_and_a_removed_directory_once() {
    let new = BASE
        .replace("d 0755 0:0 - a/b\n", "")
        .replace("    f 0644 0:0 1 a/b/c\n", "")
        .replace("0644 0:0 1 a/d", "0600 0:0 1 a/d")
        .replace("-> b", "-> c")
        + "\np 0600 0:0 - y";
    assert_eq!(between(BASE, &new), "+a/d +a/l +y -a/b");
}

#[test]
fn what_was_below_a_directory_that_became_something_else_needs_no_whiteout() {
    let new = "f 0644 0:0 5 a\nf 0644 0:0 1 z";
    assert_eq!(between(BASE, new), "+a");
}

#[test]
fn a_directory_in_place_of_a_file_is_an_upsert() {
    let new = BASE.replace("f 0644 0:0 1 z", "d 0755 0:0 - z\nf 0644 0:0 1 z/y");
    assert_eq!(between(BASE, &new), "+z +z/y");
}

#[test]
fn hard_links_that_come_together_are_written_together() {
    let old = "f 0644 0:0 1 a\nf 0644 0:0 1 b";
    assert_eq!(between(old, "f 0644 0:0 1 a\nf 0644 0:0 1 b == a"), "+a +b");
    assert_eq!(
        between(old, "f 0644 0:0 1 a\nf 0644 0:0 1 b\nf 0644 0:0 1 c == b"),
        "+b +c"
    );
}

#[test]
fn hard_links_that_come_apart_are_written_but_for_the_first() {
    let old = "f 0644 0:0 1 a\nf 0644 0:0 1 b == a\nf 0644 0:0 1 c == a";
    assert_eq!(
        between(old, "f 0644 0:0 1 a\nf 0644 0:0 1 b\nf 0644 0:0 1 c"),
        "+b +c"
    );
    assert_eq!(
        between(old, "f 0644 0:0 1 a\nf 0644 0:0 1 b\nf 0644 0:0 1 c == b"),
        "+b +c"
    );
    assert_eq!(between(old, "f 0644 0:0 1 b\nf 0644 0:0 1 c == b"), "-a");
}

#[test]
fn the_time_of_a_directory_alone_is_no_change_but_that_of_a_file_is() {
    assert_eq!(
        between("d 0755 0:0 - a mtime=1", "d 0755 0:0 - a mtime=2"),
        ""
    );
    assert_eq!(
        between("f 0644 0:0 1 a mtime=1", "f 0644 0:0 1 a mtime=2"),
        "+a"
    );
}
