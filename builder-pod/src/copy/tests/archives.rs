//! ADD of archives.

use super::*;

fn unpack(archive: &str, target: &str, owner: Option<(u32, u32)>) -> Vec<String> {
    let (archive, target) = (tree(archive), tree(target));
    let mode = ModeChange::parse("700").unwrap();
    let nothing = FsTree::new();
    let request = CopyRequest {
        owner,
        mode: Some(&mode),
        ..CopyRequest::plain(&nothing, &[], &target, "/to")
    };
    let entries = CopyPlan::new(&request).unpack(&archive).unwrap();
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
    let request = CopyRequest::plain(&source, &sources, &target, "/d/");
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
