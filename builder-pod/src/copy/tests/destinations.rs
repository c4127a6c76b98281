//! Where what is copied arrives, and as what.

use super::*;

#[test]
fn a_file_goes_into_a_directory_or_becomes_the_destination() {
    let case = Case {
        source: SOURCE,
        sources: &["a.txt"],
        ..PLAIN
    };
    let to = |destination, target| {
        copy(&Case {
            destination,
            target,
            ..case
        })
        .unwrap()
    };
    assert_eq!(to("/", ""), ["100644 7:8 a.txt <- a.txt"]);
    assert_eq!(
        to("/new/b", ""),
        ["40755 0:0 new <- -", "100644 7:8 new/b <- a.txt"]
    );
    assert_eq!(
        to("/new/", ""),
        ["40755 0:0 new <- -", "100644 7:8 new/a.txt <- a.txt"]
    );
    assert_eq!(
        to("/dir", "d 0755 0:0 - dir\n"),
        ["100644 7:8 dir/a.txt <- a.txt"]
    );
}

#[test]
fn the_destination_follows_links_inside_the_root() {
    let target = "d 0755 0:0 - usr\nd 0755 0:0 - usr/bin\nl 0777 0:0 - bin -> usr/bin\n";
    let case = Case {
        source: SOURCE,
        sources: &["link"],
        destination: "/bin/",
        target,
        ..PLAIN
    };
    assert_eq!(copy(&case).unwrap(), ["100644 7:8 usr/bin/link <- a.txt"]);
}

#[test]
fn a_directory_gives_its_contents_and_a_new_top_is_roots() {
    let case = Case {
        source: SOURCE,
        sources: &["d"],
        destination: "/to",
        ..PLAIN
    };
    assert_eq!(
        copy(&case).unwrap(),
        [
            "40755 0:0 to <- -",
            "120777 7:8 to/out <- d/out",
            "100755 7:8 to/run <- d/run",
            "40700 7:8 to/sub <- d/sub",
            "100600 7:8 to/sub/x <- d/sub/x",
        ]
    );
}

#[test]
fn a_directory_in_the_tree_follows_a_link_and_a_file_replaces_one() {
    let target = "d 0755 0:0 - real\nl 0777 0:0 - sub -> real\nl 0777 0:0 - run -> real/y\n";
    let case = Case {
        source: SOURCE,
        sources: &["d/"],
        destination: "/",
        target,
        ..PLAIN
    };
    let made = copy(&case).unwrap();
    assert!(
        made.contains(&"40700 7:8 real <- d/sub".to_owned()),
        "{made:?}"
    );
    assert!(
        made.contains(&"100600 7:8 real/x <- d/sub/x".to_owned()),
        "{made:?}"
    );
    assert!(
        made.contains(&"100755 7:8 run <- d/run".to_owned()),
        "{made:?}"
    );
}

#[test]
fn owner_and_mode_are_set_on_everything_made() {
    let case = Case {
        source: SOURCE,
        sources: &["d/sub"],
        destination: "/p/q/",
        owner: Some((33, 44)),
        chmod: Some("711"),
        ..PLAIN
    };
    assert_eq!(
        copy(&case).unwrap(),
        [
            "40711 33:44 p <- -",
            "40711 33:44 p/q <- -",
            "100711 33:44 p/q/x <- d/sub/x"
        ]
    );
}

#[test]
fn files_and_directories_do_not_replace_each_other() {
    let case = Case {
        source: SOURCE,
        ..PLAIN
    };
    let file_there = "f 0644 0:0 1 t\n";
    let case = Case {
        target: file_there,
        ..case
    };
    assert!(matches!(
        copy(&Case {
            sources: &["d"],
            destination: "/t",
            ..case
        }),
        Err(CopyError::NotADirectory(_))
    ));
    assert!(matches!(
        copy(&Case {
            sources: &["a.txt"],
            destination: "/t/",
            ..case
        }),
        Err(CopyError::NotADirectory(_))
    ));
    let directory_there = "d 0755 0:0 - t\nd 0755 0:0 - t/a.txt\n";
    assert!(matches!(
        copy(&Case {
            sources: &["a.txt"],
            destination: "/t",
            target: directory_there,
            ..case
        }),
        Err(CopyError::IsADirectory(_))
    ));
}

#[test]
fn a_later_source_sees_what_an_earlier_one_made() {
    let source = "d 0755 0:0 - one\nl 0777 0:0 - one/sub -> /opt\nd 0755 0:0 - two\n\
                  d 0711 0:0 - two/sub\nf 0644 0:0 1 two/sub/x\n";
    let case = Case {
        source,
        sources: &["one", "two"],
        destination: "/t",
        ..PLAIN
    };
    assert_eq!(
        copy(&case).unwrap(),
        [
            "40755 0:0 t <- -",
            "120777 0:0 t/sub <- one/sub",
            "40711 0:0 opt <- two/sub",
            "100644 0:0 opt/x <- two/sub/x",
        ]
    );
}

#[test]
fn a_symbolic_chmod_is_not_for_directories_that_nobody_described() {
    let case = Case {
        source: SOURCE,
        sources: &["d"],
        destination: "/p/q",
        ..PLAIN
    };
    let made = copy(&Case {
        chmod: Some("a-w,o+r"),
        ignore: "d/sub",
        ..case
    })
    .unwrap();
    assert_eq!(
        made,
        [
            "40755 0:0 p <- -",
            "40755 0:0 p/q <- -",
            "120777 7:8 p/q/out <- d/out",
            "100555 7:8 p/q/run <- d/run",
        ]
    );
}

#[test]
fn an_existing_top_directory_stays_as_it_is_and_a_nested_one_takes_the_source_s_metadata() {
    let target = "d 0700 1:1 - t\nd 0777 1:1 - t/sub\n";
    let case = Case {
        source: SOURCE,
        sources: &["d"],
        destination: "/t",
        target,
        ..PLAIN
    };
    let made = copy(&case).unwrap();
    assert!(!made.iter().any(|line| line.contains(" t <-")), "{made:?}");
    assert!(
        made.contains(&"40700 7:8 t/sub <- d/sub".to_owned()),
        "{made:?}"
    );
}

#[test]
fn hard_links_are_kept_within_one_source_directory_only() {
    let source =
        tree("d 0755 0:0 - d\nf 0644 0:0 1 d/a\nf 0644 0:0 1 d/b == d/a\nf 0644 0:0 1 d/c\n");
    let target = tree("f 0644 0:0 1 x\nf 0644 0:0 1 y == x\n");
    let groups = |sources: &[&str], destination| {
        let sources: Vec<String> = sources.iter().map(|s| (*s).to_owned()).collect();
        let request = CopyRequest {
            layer: LayerId(9),
            ..CopyRequest::plain(&source, &sources, &target, destination)
        };
        let mut copied = target.clone();
        for entry in plan_copy(&request).unwrap() {
            assert_eq!(entry.node.layer, LayerId(9));
            copied.insert(&entry.path, entry.node);
        }
        let mut groups: Vec<String> = copied
            .link_groups()
            .values()
            .map(|paths| {
                paths
                    .iter()
                    .map(|path| text(path))
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect();
        groups.sort();
        groups
    };
    assert_eq!(groups(&["d"], "/t"), ["t/a t/b", "x y"]);
    assert_eq!(groups(&["d/a", "d/b"], "/t/"), ["x y"]);
    assert_eq!(groups(&["d/[ab]"], "/t/"), ["x y"]);
}

#[test]
fn names_that_mark_removed_files_cannot_be_copied() {
    let source = "d 0755 0:0 - d\nf 0644 0:0 1 d/.wh.x\n";
    let case = Case {
        source,
        sources: &["d"],
        destination: "/t",
        ..PLAIN
    };
    assert_eq!(
        copy(&case),
        Err(CopyError::WhiteoutName("d/.wh.x".to_owned()))
    );
}
