//! COPY over small trees, written in their text form.

use super::*;

fn tree(text: &str) -> FsTree {
    FsTree::parse(text).unwrap()
}

struct Case<'a> {
    source: &'a str,
    target: &'a str,
    sources: &'a [&'a str],
    destination: &'a str,
    owner: Option<(u32, u32)>,
    chmod: Option<&'a str>,
    ignore: &'a str,
}

const PLAIN: Case<'static> = Case {
    source: "",
    target: "",
    sources: &[],
    destination: "/",
    owner: None,
    chmod: None,
    ignore: "",
};

fn copy(case: &Case<'_>) -> Result<Vec<String>, CopyError> {
    let (source, target) = (tree(case.source), tree(case.target));
    let sources: Vec<String> = case.sources.iter().map(|s| (*s).to_owned()).collect();
    let mode = case.chmod.map(|text| ModeChange::parse(text).unwrap());
    let ignore = IgnoreFile::parse(case.ignore).unwrap();
    let entries = plan_copy(&CopyRequest {
        source: &source,
        ignore: Some(&ignore),
        sources: &sources,
        destination: case.destination,
        owner: case.owner,
        mode: mode.as_ref(),
        target: &target,
        layer: LayerId(9),
        implicit_time: Time::default(),
    })?;
    Ok(entries.iter().map(line).collect())
}

fn line(entry: &CopyEntry) -> String {
    format!(
        "{:o} {}:{} {} <- {}",
        entry.node.full_mode(),
        entry.node.uid,
        entry.node.gid,
        text(&entry.path),
        entry.source.as_deref().map_or("-".to_owned(), text)
    )
}

const SOURCE: &str = "\
f 0644 7:8 3 a.txt
d 0750 7:8 - d
f 0755 7:8 1 d/run
d 0700 7:8 - d/sub
f 0600 7:8 1 d/sub/x
l 0777 7:8 - link -> a.txt
l 0777 7:8 - d/out -> ../../../etc/passwd
";

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
fn wildcards_match_one_level_and_give_link_targets() {
    let case = Case {
        source: SOURCE,
        destination: "/t/",
        ..PLAIN
    };
    let made = copy(&Case {
        sources: &["l*", "*.txt"],
        ..case
    })
    .unwrap();
    assert_eq!(
        made[1..],
        ["100644 7:8 t/link <- a.txt", "100644 7:8 t/a.txt <- a.txt"]
    );
    assert_eq!(
        copy(&Case {
            sources: &["*.md"],
            ..case
        }),
        Err(CopyError::NoMatch("*.md".to_owned()))
    );
    assert!(
        copy(&Case {
            sources: &["*.md", "a.txt"],
            ..case
        })
        .is_ok()
    );
    assert_eq!(
        copy(&Case {
            sources: &["[a"],
            ..case
        }),
        Err(CopyError::Pattern("[a".to_owned()))
    );
}

#[test]
fn sources_never_leave_the_context() {
    let case = Case {
        source: SOURCE,
        destination: "/t",
        ..PLAIN
    };
    assert_eq!(
        copy(&Case {
            sources: &["../../a.txt"],
            ..case
        })
        .unwrap(),
        ["100644 7:8 t <- a.txt"]
    );
    assert!(matches!(
        copy(&Case {
            sources: &["d/out"],
            ..case
        }),
        Err(CopyError::NotFound { .. })
    ));
}

#[test]
fn a_missing_source_says_what_looks_like_it_or_that_it_is_ignored() {
    let case = Case {
        source: SOURCE,
        destination: "/t",
        ..PLAIN
    };
    let error = copy(&Case {
        sources: &["d/rnu"],
        ..case
    })
    .unwrap_err()
    .to_string();
    assert!(error.contains("did you mean \"d/run\""), "{error}");
    let error = copy(&Case {
        sources: &["a.txt"],
        ignore: "*.txt",
        ..case
    })
    .unwrap_err()
    .to_string();
    assert!(error.contains("the ignore file hides it"), "{error}");
}

#[test]
fn ignored_files_stay_out_and_shown_again_ones_come_with_their_directory() {
    let case = Case {
        source: SOURCE,
        sources: &["."],
        destination: "/t",
        ..PLAIN
    };
    let made = copy(&Case {
        ignore: "d\n!d/sub/x\nlink",
        ..case
    })
    .unwrap();
    assert_eq!(
        made,
        [
            "40755 0:0 t <- -",
            "100644 7:8 t/a.txt <- a.txt",
            "40750 7:8 t/d <- d",
            "40700 7:8 t/d/sub <- d/sub",
            "100600 7:8 t/d/sub/x <- d/sub/x",
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
fn a_wildcard_may_stand_below_a_link_and_takes_a_directory_whole() {
    let source = "\
d 0755 0:0 - real
d 0700 0:0 - real/a1
f 0644 0:0 1 real/a1/a2
f 0644 0:0 1 real/b
l 0777 0:0 - way -> real
";
    let case = Case {
        source,
        sources: &["way/a*"],
        destination: "/t",
        ..PLAIN
    };
    assert_eq!(
        copy(&case).unwrap(),
        ["40755 0:0 t <- -", "100644 0:0 t/a2 <- real/a1/a2"]
    );
    assert_eq!(
        copy(&Case {
            sources: &["wya/a*"],
            ..case
        })
        .unwrap_err()
        .to_string(),
        "the source \"wya/a*\" does not exist, did you mean \"way\"?"
    );
    assert!(matches!(
        copy(&Case {
            sources: &["real/b/*"],
            ..case
        }),
        Err(CopyError::NoMatch(_))
    ));
}

#[test]
fn only_a_bracket_keeps_a_bracket_from_being_a_wildcard() {
    let source = "f 0644 0:0 1 [a].txt\nf 0644 0:0 1 a.txt\nf 0644 0:0 1 b\\x5c*\n";
    let case = Case {
        source,
        destination: "/t/",
        ..PLAIN
    };
    let made = |sources| copy(&Case { sources, ..case }).map(|made| made[1..].to_vec());
    assert_eq!(made(&["[a].txt"]).unwrap(), ["100644 0:0 t/a.txt <- a.txt"]);
    assert_eq!(
        made(&["[[]a].txt"]).unwrap(),
        ["100644 0:0 t/[a].txt <- [a].txt"]
    );
    assert_eq!(made(&["b\\*"]).unwrap(), ["100644 0:0 t/b\\* <- b\\*"]);
}

#[test]
fn several_wildcards_that_match_nothing_together_are_an_error() {
    let case = Case {
        source: SOURCE,
        destination: "/t/",
        ..PLAIN
    };
    assert_eq!(
        copy(&Case {
            sources: &["*.md", "*.rst"],
            ..case
        }),
        Err(CopyError::NoMatch("*.md".to_owned()))
    );
}

#[test]
fn the_nearest_path_mends_the_first_component_that_is_wrong() {
    let source = "d 0755 0:0 - src\nf 0644 0:0 1 src/main.go\nf 0644 0:0 1 go.mod\n";
    let nearest = |name: &str, ignore| {
        let case = Case {
            source,
            sources: &[name],
            destination: "/t",
            ignore,
            ..PLAIN
        };
        match copy(&case) {
            Err(CopyError::NotFound { nearest, .. }) => nearest,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(nearest("scr/main.go", "").as_deref(), Some("src/main.go"));
    assert_eq!(nearest("src/mian.go", "").as_deref(), Some("src/main.go"));
    assert_eq!(nearest("srcc/lib.go", "").as_deref(), Some("src"));
    assert_eq!(nearest("go.mdo", "").as_deref(), Some("go.mod"));
    assert_eq!(
        nearest("go.mdo", "go.mod"),
        None,
        "what is hidden is not suggested"
    );
    assert_eq!(nearest("go.mdo/x", ""), None, "a file has nothing in it");
    assert_eq!(nearest("package.json", ""), None);
}

#[test]
fn a_link_to_something_ignored_does_not_get_around_the_ignore_file() {
    let case = Case {
        source: SOURCE,
        sources: &["link"],
        destination: "/t",
        ..PLAIN
    };
    let hidden = copy(&Case {
        ignore: "a.txt",
        ..case
    });
    assert!(
        matches!(hidden, Err(CopyError::NotFound { ignored: true, .. })),
        "{hidden:?}"
    );
    let directory = copy(&Case {
        sources: &["d"],
        ignore: "d",
        ..case
    });
    assert!(matches!(
        directory,
        Err(CopyError::NotFound { ignored: true, .. })
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
            source: &source,
            ignore: None,
            sources: &sources,
            destination,
            owner: None,
            mode: None,
            target: &target,
            layer: LayerId(9),
            implicit_time: Time::default(),
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

fn unpack(archive: &str, target: &str, owner: Option<(u32, u32)>) -> Vec<String> {
    let (archive, target) = (tree(archive), tree(target));
    let mode = ModeChange::parse("700").unwrap();
    let request = CopyRequest {
        source: &FsTree::new(),
        ignore: None,
        sources: &[],
        destination: "/to",
        owner,
        mode: Some(&mode),
        target: &target,
        layer: LayerId(9),
        implicit_time: Time::default(),
    };
    let entries = plan_archive(&request, &archive).unwrap();
    entries.iter().map(line).collect()
}

#[test]
fn an_archive_keeps_owners_and_modes_and_replaces_what_is_in_its_way() {
    let archive =
        "d 0750 7:8 - / \nd 0750 7:8 - a\nf 0640 7:8 1 a/b\nf 0640 7:8 1 c\nd 0711 7:8 - e\n";
    let target = "d 0700 1:1 - to\nf 0644 0:0 1 to/a\nd 0755 0:0 - to/c\nf 0644 0:0 1 to/c/x\n\
                  l 0777 0:0 - to/e -> /opt\n";
    assert_eq!(
        unpack(archive, target, None),
        [
            "40750 7:8 to/a <- a",
            "100640 7:8 to/a/b <- a/b",
            "100640 7:8 to/c <- c",
            "40711 7:8 to/e <- e",
        ]
    );
    let owned = unpack(archive, "", Some((5, 6)));
    assert_eq!(owned[..2], ["40755 5:6 to <- -", "40750 5:6 to/a <- a"]);
}

#[test]
fn parents_that_an_archive_does_not_describe_leave_what_is_there() {
    let archive = "d 0755 0:0 - lib\nf 0640 7:8 1 lib/x\nd 0755 0:0 - tmp\nf 0640 7:8 1 tmp/y\n\
                   d 0755 0:0 - new\nf 0640 7:8 1 new/z\n";
    let target = "d 0755 0:0 - to\nl 0777 0:0 - to/lib -> usr/lib\nd 1777 0:0 - to/tmp\n";
    assert_eq!(
        unpack(archive, target, None),
        [
            "40755 0:0 to/usr <- -",
            "40755 0:0 to/usr/lib <- -",
            "100640 7:8 to/usr/lib/x <- lib/x",
            "40755 0:0 to/new <- -",
            "100640 7:8 to/new/z <- new/z",
            "100640 7:8 to/tmp/y <- tmp/y",
        ]
    );
}

#[test]
fn files_and_archives_of_one_add_are_planned_one_after_the_other() {
    let (source, target) = (tree(SOURCE), FsTree::new());
    let archive = tree("l 0777 0:0 - d -> /elsewhere\n");
    let sources = ["a.txt".to_owned(), "d".to_owned()];
    let request = CopyRequest {
        source: &source,
        ignore: None,
        sources: &sources,
        destination: "/d/",
        owner: None,
        mode: None,
        target: &target,
        layer: LayerId(9),
        implicit_time: Time::default(),
    };
    let found = find_sources(&request).unwrap();
    let mut plan = CopyPlan::new(&request);
    let lines = |entries: Vec<CopyEntry>| entries.iter().map(line).collect::<Vec<_>>();
    assert_eq!(
        lines(plan.unpack(&archive).unwrap()),
        ["40755 0:0 d <- -", "120777 0:0 d/d <- d"]
    );
    assert_eq!(
        lines(plan.copy(&found[0]).unwrap()),
        ["100644 7:8 d/a.txt <- a.txt"]
    );
    let last = lines(plan.copy(&found[1]).unwrap());
    assert_eq!(
        last[0], "120777 7:8 d/out <- d/out",
        "the directory is there already"
    );
}
