//! Amounts, durations and hashes. Whole objects are golden cases.

use super::*;

fn spec(yaml: &str) -> ImageBuildSpec {
    serde_yaml::from_str(yaml).unwrap()
}

#[test]
fn only_fields_that_decide_about_the_image_change_the_hash() {
    let base = spec("{outputs: [{images: [a]}]}");
    for same in [
        "{outputs: [{images: [a]}], suspend: true}",
        "{outputs: [{images: [a]}], timeout: 2h}",
        "{outputs: [{images: [a]}], retries: 5}",
        "{outputs: [{images: [a]}], ttlAfterFinished: 1m}",
        // Absent and empty mean the same.
        "{outputs: [{images: [a], labels: {}}], buildArgs: []}",
    ] {
        assert_eq!(spec_hash(&spec(same)), spec_hash(&base), "{same}");
    }
    for other in [
        "{outputs: [{images: [b]}]}",
        "{outputs: [{images: [a]}], mode: Plan}",
        "{outputs: [{images: [a]}], pod: {parallelStages: 1}}",
        "{outputs: [{images: [a]}], buildArgs: [{name: A, value: ''}]}",
    ] {
        assert_ne!(spec_hash(&spec(other)), spec_hash(&base), "{other}");
    }
}

#[test]
fn durations_are_read_as_people_write_them() {
    let cases = [
        ("90s", Some(90)),
        ("1h30m", Some(5400)),
        ("1h1s", Some(3601)),
        ("0s", Some(0)),
        ("", None),
        ("5", None),
        ("1m1h", None),
        ("-1s", None),
        ("1.5h", None),
    ];
    for (text, expected) in cases {
        assert_eq!(parse_duration(text), expected, "{text:?}");
    }
}

#[test]
fn a_default_gives_way_to_the_amount_that_it_contradicts() {
    let quantity = |text: &str| (!text.is_empty()).then(|| Quantity(text.to_owned()));
    // Own request and limit, default request and limit, and what comes out.
    let cases = [
        (("", ""), ("1", "2"), ("1", "2")),
        (("3", ""), ("1", "2"), ("3", "3")),
        (("1500m", ""), ("1", "2"), ("1500m", "2")),
        (("", "500m"), ("1", "2"), ("500m", "500m")),
        (("", "4"), ("1", ""), ("1", "4")),
        (("2", "8"), ("1", "2"), ("2", "8")),
    ];
    for (own, default, expected) in cases {
        let both = |(request, limit): (&str, &str)| (quantity(request), quantity(limit));
        assert_eq!(
            reconciled(both(own), both(default)),
            both(expected),
            "{own:?}"
        );
    }
}
