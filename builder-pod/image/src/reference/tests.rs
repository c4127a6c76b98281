//! Tables of names, what they mean to Docker, and what is said about those that mean nothing.

use super::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What is written, what it means, and the shortest form that means the same. `DIGEST` stands for one.
#[rustfmt::skip]
const NAMES: [(&str, &str, &str); 19] = [
    ("debian", "docker.io/library/debian:latest", "debian:latest"),
    ("debian:12-slim", "docker.io/library/debian:12-slim", "debian:12-slim"),
    ("library/debian", "docker.io/library/debian:latest", "debian:latest"),
    ("docker.io/debian", "docker.io/library/debian:latest", "debian:latest"),
    ("index.docker.io/debian:1", "docker.io/library/debian:1", "debian:1"),
    ("user/app", "docker.io/user/app:latest", "user/app:latest"),
    ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
    ("ghcr.io/o/r:v1", "ghcr.io/o/r:v1", "ghcr.io/o/r:v1"),
    ("ghcr.io/r", "ghcr.io/r:latest", "ghcr.io/r:latest"),
    ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
    ("localhost:5000/x:y", "localhost:5000/x:y", "localhost:5000/x:y"),
    ("UPPER/x", "UPPER/x:latest", "UPPER/x:latest"),
    ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
    ("[2001:db8::1]/x/y:z", "[2001:db8::1]/x/y:z", "[2001:db8::1]/x/y:z"),
    ("10.0.0.1:80/a", "10.0.0.1:80/a:latest", "10.0.0.1:80/a:latest"),
    ("a.b/c__d/e---f.g_h:T.-_1", "a.b/c__d/e---f.g_h:T.-_1", "a.b/c__d/e---f.g_h:T.-_1"),
    ("debian@DIGEST", "docker.io/library/debian@DIGEST", "debian@DIGEST"),
    ("debian:12@DIGEST", "docker.io/library/debian:12@DIGEST", "debian:12@DIGEST"),
    ("index.docker.io/a/b@DIGEST", "docker.io/a/b@DIGEST", "a/b@DIGEST"),
];

#[test]
fn names_are_normalised_as_docker_does() {
    for (text, full, familiar) in NAMES {
        let [text, full, familiar] =
            [text, full, familiar].map(|form| form.replace("DIGEST", DIGEST));
        let reference: Reference = text
            .parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(reference.to_string(), full, "{text}");
        assert_eq!(reference.familiar(), familiar, "{text}");
        assert_eq!(
            full.parse::<Reference>().unwrap(),
            reference,
            "{full} means itself"
        );
        assert_eq!(
            familiar.parse::<Reference>().unwrap(),
            reference,
            "{familiar} means the same"
        );
    }
}

#[test]
fn parts_can_be_asked_for() {
    let reference: Reference = format!("h.io:1/a/b:t@{DIGEST}").parse().unwrap();
    assert_eq!(reference.host(), "h.io:1");
    assert_eq!(reference.repository(), "a/b");
    assert_eq!(reference.name(), "h.io:1/a/b");
    assert_eq!(reference.tag(), Some("t"));
    assert_eq!(reference.identifier(), DIGEST);
    let by_tag: Reference = "debian:12".parse().unwrap();
    assert_eq!(by_tag.identifier(), "12");
    let pinned = by_tag.with_digest(Digest::of(b""));
    assert_eq!(pinned.familiar(), format!("debian:12@{DIGEST}"));
}

#[test]
fn malformed_names_are_refused_with_what_is_wrong() {
    use ReferenceError as E;
    let id = "ab".repeat(32);
    let long = "a".repeat(256);
    let long_tag = "t".repeat(129);
    let cases: Vec<(String, E)> = vec![
        (String::new(), E::Empty),
        ("https://ghcr.io/a".into(), E::Scheme("https".into())),
        (id.clone(), E::LooksLikeId(id)),
        ("Debian".into(), E::Uppercase("Debian".into())),
        ("ghcr.io/O/r".into(), E::Uppercase("O/r".into())),
        ("ghcr.io/".into(), E::NoRepository),
        (":tag".into(), E::NoRepository),
        ("ghcr.io//a".into(), E::EmptyComponent("/a".into())),
        ("a/b/".into(), E::EmptyComponent("a/b/".into())),
        ("/a".into(), E::EmptyComponent("/a".into())),
        ("a..b".into(), E::Component("a..b".into())),
        ("a___b".into(), E::Component("a___b".into())),
        ("-a".into(), E::Component("-a".into())),
        ("a_".into(), E::Component("a_".into())),
        ("a b".into(), E::Component("a b".into())),
        ("a/../b".into(), E::Component("..".into())),
        ("-h.io/a".into(), E::Host("-h.io".into())),
        ("h..io/a".into(), E::Host("h..io".into())),
        ("h.io:port/a".into(), E::Host("h.io:port".into())),
        ("h.io:/a".into(), E::Host("h.io:".into())),
        ("[::1/a".into(), E::Host("[::1".into())),
        ("[::1]5/a".into(), E::Host("[::1]5".into())),
        ("[]:5/a".into(), E::Host("[]:5".into())),
        (
            "[fe80::1%eth0]:5/a".into(),
            E::Host("[fe80::1%eth0]:5".into()),
        ),
        (
            "user:secret@h.io/a".into(),
            E::Digest(DigestError::NoAlgorithm("h.io/a".into())),
        ),
        (long.clone(), E::TooLong(256 + OFFICIAL.len())),
        (format!("a:{long_tag}"), E::Tag(long_tag)),
        ("a:".into(), E::Tag(String::new())),
        ("a:-x".into(), E::Tag("-x".into())),
        ("a:x:y".into(), E::Tag("x:y".into())),
        (
            "a@sha512:ab".into(),
            E::Digest(DigestError::Algorithm("sha512".into())),
        ),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<Reference>(), Err(error), "{text}");
    }
}

#[test]
fn references_stand_in_json_as_their_full_text() {
    let reference: Reference = "debian".parse().unwrap();
    let json = serde_json::to_string(&reference).unwrap();
    assert_eq!(json, "\"docker.io/library/debian:latest\"");
    assert_eq!(serde_json::from_str::<Reference>(&json).unwrap(), reference);
}
