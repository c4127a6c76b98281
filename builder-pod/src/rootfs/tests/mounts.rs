//! Mounts in the root, in a mount namespace of this test's own.

use std::process::Command;

use rustix::mount::{UnmountFlags, mount_bind, unmount};

use super::*;

const INSIDE: &str = "STAGECRAFT_TEST_IN_NAMESPACE";

/// Runs the test once more as root of a user and mount namespace; `true` there.
fn inside_a_mount_namespace(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", test])
        .env(INSIDE, "1")
        .status()
        .expect("unshare of util-linux is installed");
    assert!(status.success(), "{status}");
    false
}

#[test]
fn mounts_are_never_touched_and_what_they_hide_lives_in_the_tree() {
    if !inside_a_mount_namespace(
        "rootfs::tests::mounts::mounts_are_never_touched_and_what_they_hide_lives_in_the_tree",
    ) {
        return;
    }
    let beside = tempfile::tempdir().unwrap();
    std::fs::create_dir(beside.path().join("proc")).unwrap();
    std::fs::write(beside.path().join("proc/live"), "live").unwrap();
    std::fs::write(beside.path().join("hosts"), "runtime").unwrap();
    let mut fixture = Fixture::new();
    for directory in ["proc", "etc"] {
        std::fs::create_dir(fixture.path(directory)).unwrap();
    }
    std::fs::write(fixture.path("etc/hosts"), "").unwrap();
    mount_bind(beside.path().join("proc"), fixture.path("proc")).unwrap();
    mount_bind(beside.path().join("hosts"), fixture.path("etc/hosts")).unwrap();

    fixture.unpack(&layer_of(
        "d 0755 0:0 - etc mtime=5
         f 0644 0:0 5 etc/hosts mtime=5
         f 0644 0:0 5 etc/other mtime=5
         f 0644 0:0 5 etc/same == etc/hosts mtime=5
         d 0700 9:9 - proc mtime=5
         f 0644 0:0 5 proc/file mtime=5",
    ));
    let unpacked = fixture.tree.clone();
    assert_eq!(unpacked.len(), 6);
    fixture.begin();
    assert_eq!(fixture.changes(), "");
    assert_eq!(fixture.tree, unpacked);
    std::fs::write(fixture.path("etc/new"), "x").unwrap();
    std::fs::remove_file(fixture.path("etc/other")).unwrap();
    std::fs::write(fixture.path("etc/hosts"), "written by the step").unwrap();
    assert_eq!(fixture.changes(), "+etc/new -etc/other");

    let mut writer = stagecraft_layer::LayerWriter::new(Vec::new(), Default::default());
    writer.append_whiteout(b"etc/hosts").unwrap();
    writer.append_whiteout(b"proc").unwrap();
    fixture.unpack(&writer.finish().unwrap().0);
    assert!(!fixture.tree.contains(b"proc") && !fixture.tree.contains(b"etc/hosts"));
    assert_eq!(std::fs::read(fixture.path("proc/live")).unwrap(), b"live");
    assert_eq!(
        std::fs::read(fixture.path("etc/hosts")).unwrap(),
        b"written by the step"
    );
    fixture.begin();
    assert_eq!(
        fixture.changes(),
        "",
        "a mount is nothing that a step has made"
    );

    // A whole directory with a mount in it is removed around the mount.
    let file = layer_of("f 0644 0:0 3 etc mtime=5");
    let layer = fixture.layer();
    let refused = fixture.rootfs.unpack(&mut fixture.tree, layer, &*file);
    assert!(
        matches!(refused, Err(crate::rootfs::RootfsError::HoldsMount { .. })),
        "{refused:?}"
    );
    assert!(!fixture.path("etc/new").exists());
    assert_eq!(
        std::fs::read(fixture.path("etc/hosts")).unwrap(),
        b"written by the step"
    );
    for path in ["proc", "etc/hosts"] {
        unmount(fixture.path(path), UnmountFlags::empty()).unwrap();
    }
}
