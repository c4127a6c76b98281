//! Which files a source names.

use super::*;

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
