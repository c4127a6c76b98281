//! `--exclude` and `--parents`.

use super::*;

const PROJECT: &str = "\
d 0755 1:1 - app
f 0644 1:1 1 app/main.go
d 0750 2:3 - app/web
f 0644 1:1 1 app/web/index.html
f 0644 1:1 1 app/web/index.test.js
d 0755 1:1 - app/web/deep
f 0644 1:1 1 app/web/deep/x.test.js
l 0777 1:1 - link -> app
f 0644 1:1 1 top.txt
";

const CASE: Case<'static> = Case {
    source: PROJECT,
    ..PLAIN
};

fn paths(case: &Case<'_>) -> Vec<String> {
    let lines = copy(case).unwrap();
    let path = |line: &String| line.split(' ').nth(2).unwrap_or_default().to_owned();
    lines.iter().map(path).collect()
}

#[test]
fn what_is_excluded_is_relative_to_each_copied_directory() {
    let of = |sources, exclude| {
        paths(&Case {
            sources,
            exclude,
            destination: "/to/",
            ..CASE
        })
    };
    assert_eq!(of(&["app"], &["web"]), ["to", "to/main.go"]);
    assert_eq!(
        of(&["app"], &["**/*.test.js", "web/deep"]),
        ["to", "to/main.go", "to/web", "to/web/index.html"]
    );
    // Relative to the directory: its own name is not in it.
    assert_eq!(
        of(&["app/web"], &["app/web/index.html", "deep", "*.js"]),
        ["to", "to/index.html"]
    );
    // What an exception shows again comes with its directory.
    assert_eq!(
        of(&["app"], &["web", "!web/deep"]),
        [
            "to",
            "to/main.go",
            "to/web",
            "to/web/deep",
            "to/web/deep/x.test.js"
        ]
    );
}

#[test]
fn a_file_that_is_named_is_never_excluded() {
    let case = Case {
        sources: &["top.txt", "app/*.go"],
        exclude: &["*"],
        destination: "/to/",
        ..CASE
    };
    assert_eq!(paths(&case), ["to", "to/top.txt", "to/main.go"]);
}

#[test]
fn parents_arrive_with_their_owners_and_modes() {
    let case = Case {
        sources: &["app/web/index.html", "top.txt"],
        parents: true,
        destination: "/to/",
        ..CASE
    };
    assert_eq!(
        copy(&case).unwrap(),
        [
            "40755 0:0 to <- -",
            "40755 1:1 to/app <- app",
            "40750 2:3 to/app/web <- app/web",
            "100644 1:1 to/app/web/index.html <- app/web/index.html",
            "100644 1:1 to/top.txt <- top.txt",
        ]
    );
}

#[test]
fn what_stands_before_the_pivot_is_left_out() {
    let of = |source| {
        paths(&Case {
            sources: &[source],
            parents: true,
            ..CASE
        })
    };
    assert_eq!(of("app/./web/index.html"), ["web", "web/index.html"]);
    assert_eq!(of("./app/./web/./index.html"), ["web", "web/index.html"]);
    assert_eq!(
        of("link/./main.go"),
        ["main.go"],
        "the pivot's own links are followed"
    );
    assert_eq!(of("a*/./w?b/*.html"), ["web", "web/index.html"]);
}

#[test]
fn two_stars_span_directories_with_parents_alone() {
    let of = |parents, source, exclude| {
        copy(&Case {
            sources: &[source],
            parents,
            exclude,
            ..CASE
        })
        .map(|lines| lines.len())
    };
    assert_eq!(
        paths(&Case {
            sources: &["**/*.test.js"],
            parents: true,
            ..CASE
        }),
        [
            "app",
            "app/web",
            "app/web/deep",
            "app/web/deep/x.test.js",
            "app/web/index.test.js"
        ]
    );
    assert_eq!(of(true, "**/*.test.js", &["app/web/deep"]), Ok(3));
    assert_eq!(
        of(true, "*.js", &[]),
        Err(CopyError::NoMatch("*.js".to_owned()))
    );
}

#[test]
fn parents_of_a_directory_take_all_of_it() {
    let case = Case {
        sources: &["app/web/deep"],
        parents: true,
        ..CASE
    };
    assert_eq!(
        paths(&case),
        ["app", "app/web", "app/web/deep", "app/web/deep/x.test.js"]
    );
}

#[test]
fn parents_need_a_path_that_is_there_and_below_the_root() {
    let of = |source, ignore| {
        copy(&Case {
            sources: &[source],
            parents: true,
            ignore,
            ..CASE
        })
        .unwrap_err()
    };
    assert_eq!(of(".", ""), CopyError::ParentsOfRoot(".".to_owned()));
    assert_eq!(
        of("app/./", ""),
        CopyError::ParentsOfRoot("app/./".to_owned())
    );
    assert_eq!(
        of("link/main.go", ""),
        CopyError::ParentIsLink("link/main.go".to_owned())
    );
    assert!(matches!(
        of("app/mian.go", ""),
        CopyError::NotFound { nearest: Some(nearest), .. } if nearest == "app/main.go"
    ));
    assert!(matches!(
        of("app/main.go", "app"),
        CopyError::NotFound { ignored: true, .. }
    ));
}
