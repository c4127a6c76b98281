use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;

use rustix::fs::{AtFlags, CWD, XattrFlags};
use stagecraft_layer::{CAPABILITY_ATTRIBUTE, LayerReader, apply_layer};
use stagecraft_protocol::ownership::{CAPABILITY_XATTR_NAME, InodeKey, Override, XATTR_NAME};

use super::*;
use crate::rootfs::inode;

const BASE: &str = "d 0755 0:0 - a mtime=1000
    d 0755 0:0 - a/b mtime=1000
    f 0644 0:0 5 a/b/c mtime=1000
    f 0644 0:0 5 a/d mtime=1000.25
    l 0777 0:0 - a/l -> b mtime=1000
    f 0755 0:0 5 tool mtime=1000 security.capability=0102
    f 0644 0:0 5 h1 mtime=1000
    f 0644 0:0 5 h2 == h1 mtime=1000
    f 0640 7:7 5 owned mtime=1000";

fn set_time(path: &Path, seconds: i64, nanoseconds: u32) {
    let times = inode::timestamps(stagecraft_layer::Time {
        seconds,
        nanoseconds,
    });
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

#[test]
fn nothing_is_a_change_when_nothing_happened_or_it_was_undone() {
    let mut fixture = Fixture::with(BASE);
    assert_eq!(fixture.changes(), "");
    let path = fixture.path("a/b/c");
    std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::rename(fixture.path("a/d"), fixture.path("a/e")).unwrap();
    std::fs::rename(fixture.path("a/e"), fixture.path("a/d")).unwrap();
    std::fs::write(fixture.path("temporary"), "x").unwrap();
    std::fs::remove_file(fixture.path("temporary")).unwrap();
    UnixListener::bind(fixture.path("socket")).unwrap();
    assert_eq!(fixture.changes(), "");
}

#[test]
fn contents_modes_and_records_that_changed_are_found() {
    let mut fixture = Fixture::with(BASE);
    std::fs::write(fixture.path("a/d"), "longer than before").unwrap();
    std::fs::set_permissions(fixture.path("a/b"), PermissionsExt::from_mode(0o700)).unwrap();
    let record = Override {
        uid: 9,
        gid: 9,
        mode: 0o100_640,
        rdev: 0,
    }
    .encode();
    let path = fixture.path("owned");
    rustix::fs::setxattr(&path, XATTR_NAME, record.as_bytes(), XattrFlags::empty()).unwrap();
    assert_eq!(fixture.changes(), "+a/b +a/d +owned");
    assert_eq!(fixture.tree.get(b"owned").unwrap().uid, 9);
    assert_eq!(fixture.tree.get(b"a/d").unwrap().size(), 18);
    fixture.begin();
    assert_eq!(fixture.changes(), "");
}

#[test]
fn a_change_of_the_same_length_under_a_restored_time_is_found() {
    let mut fixture = Fixture::with(BASE);
    for (path, nanoseconds) in [("a/b/c", 0), ("a/d", 250_000_000)] {
        std::fs::write(fixture.path(path), "wrong").unwrap();
        set_time(&fixture.path(path), 1000, nanoseconds);
    }
    assert_eq!(fixture.changes(), "+a/b/c +a/d");
    // Of files that a step has written, too.
    fixture.begin();
    std::fs::write(fixture.path("a/b/c"), "right").unwrap();
    set_time(&fixture.path("a/b/c"), 1000, 0);
    assert_eq!(fixture.changes(), "+a/b/c");
    fixture.begin();
    set_time(&fixture.path("a/b/c"), 1000, 0);
    assert_eq!(fixture.changes(), "", "the same time and content once more");
}

#[test]
fn writes_through_a_descriptor_that_was_open_before_are_found() {
    // As a memory mapping does, this moves no time of the open itself.
    let mut fixture = Fixture::with(BASE);
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(fixture.path("a/b/c"))
        .unwrap();
    fixture.begin();
    file.write_all_at(b"W", 4).unwrap();
    assert_eq!(fixture.changes(), "+a/b/c");
    assert_eq!(fixture.tree.get(b"a/b/c").unwrap().size(), 5);
}

#[test]
fn a_time_alone_is_a_change_of_a_file_but_not_of_a_directory() {
    let mut fixture = Fixture::with(BASE);
    set_time(&fixture.path("a/d"), 2000, 0);
    set_time(&fixture.path("a"), 2000, 0);
    assert_eq!(fixture.changes(), "+a/d");
    assert_eq!(fixture.tree.get(b"a").unwrap().mtime.seconds, 2000);
}

#[test]
fn renamed_replaced_and_removed_directories_are_found() {
    let mut fixture = Fixture::with(BASE);
    std::fs::rename(fixture.path("a"), fixture.path("z")).unwrap();
    assert_eq!(fixture.changes(), "+z +z/b +z/b/c +z/d +z/l -a");
    fixture.begin();
    std::fs::rename(fixture.path("z/b"), fixture.path("y")).unwrap();
    std::fs::write(fixture.path("z/b"), "file now").unwrap();
    std::fs::remove_file(fixture.path("tool")).unwrap();
    std::fs::create_dir(fixture.path("tool")).unwrap();
    assert_eq!(fixture.changes(), "+tool +y +y/c +z/b");
    fixture.begin();
    std::fs::remove_dir_all(fixture.path("z")).unwrap();
    assert_eq!(fixture.changes(), "-z");
    fixture.assert_disk_is_the_tree();
}

#[test]
fn two_directories_that_changed_places_are_found_although_no_inode_below_them_moved() {
    let mut fixture = Fixture::with(
        "d 0755 0:0 - x mtime=1\nf 0644 0:0 3 x/f mtime=1\nd 0755 0:0 - y mtime=1\nf 0644 0:0 4 y/f mtime=1",
    );
    std::fs::rename(fixture.path("x"), fixture.path("t")).unwrap();
    std::fs::rename(fixture.path("y"), fixture.path("x")).unwrap();
    std::fs::rename(fixture.path("t"), fixture.path("y")).unwrap();
    assert_eq!(fixture.changes(), "+x/f +y/f");
    fixture.assert_disk_is_the_tree();
}

#[test]
fn hard_links_that_come_go_and_change_are_found() {
    let mut fixture = Fixture::with(BASE);
    std::fs::hard_link(fixture.path("a/d"), fixture.path("a/e")).unwrap();
    assert_eq!(
        fixture.changes(),
        "+a/d +a/e",
        "new links are written with what they link to"
    );
    fixture.begin();
    std::fs::remove_file(fixture.path("a/e")).unwrap();
    assert_eq!(fixture.changes(), "-a/e");
    fixture.begin();
    std::fs::write(fixture.path("h1"), "other").unwrap();
    assert_eq!(fixture.changes(), "+h1 +h2");
    fixture.begin();
    std::fs::copy(fixture.path("h1"), fixture.path("h3")).unwrap();
    let time = std::fs::metadata(fixture.path("h1")).unwrap();
    let nanoseconds = u32::try_from(time.mtime_nsec()).unwrap();
    set_time(&fixture.path("h3"), time.mtime(), nanoseconds);
    std::fs::rename(fixture.path("h3"), fixture.path("h2")).unwrap();
    assert_eq!(
        fixture.changes(),
        "+h2",
        "a copy in place of a link is no link"
    );
    fixture.assert_disk_is_the_tree();
}

#[test]
fn capabilities_that_a_step_sees_sets_or_takes_away_are_those_of_the_file() {
    let mut fixture = Fixture::with(BASE);
    let path = fixture.path("tool");
    let mut value = [0; 8];
    let length = rustix::fs::getxattr(&path, CAPABILITY_XATTR_NAME, &mut value[..]).unwrap();
    assert_eq!(value[..length], [1, 2]);
    let capability = |fixture: &Fixture| {
        let node = fixture.tree.get(b"tool").unwrap();
        node.attribute(CAPABILITY_ATTRIBUTE).map(<[u8]>::to_vec)
    };
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
    assert_eq!(fixture.changes(), "+tool");
    assert_eq!(capability(&fixture).as_deref(), Some(&[1, 2][..]));
    fixture.begin();
    rustix::fs::setxattr(&path, CAPABILITY_XATTR_NAME, b"new", XattrFlags::empty()).unwrap();
    assert_eq!(fixture.changes(), "+tool");
    assert_eq!(capability(&fixture).as_deref(), Some(&b"new"[..]));
    fixture.begin();
    rustix::fs::removexattr(&path, CAPABILITY_XATTR_NAME).unwrap();
    assert_eq!(fixture.changes(), "+tool");
    assert_eq!(capability(&fixture), None);
}

#[test]
fn owners_that_the_runner_tells_are_those_of_links_and_pipes() {
    let mut fixture = Fixture::with(BASE);
    std::os::unix::fs::symlink("x", fixture.path("s")).unwrap();
    let status = rustix::fs::statx(
        CWD,
        fixture.path("s"),
        AtFlags::SYMLINK_NOFOLLOW,
        rustix::fs::StatxFlags::BASIC_STATS | rustix::fs::StatxFlags::BTIME,
    )
    .unwrap();
    let attributes = Override {
        uid: 50,
        gid: 60,
        mode: 0o120_777,
        rdev: 0,
    };
    let mut owner = SpecialOwner {
        key: inode::key_of(&status),
        attributes,
    };
    assert_eq!(fixture.changes_with(&[owner]), "+s");
    let node = fixture.tree.get(b"s").unwrap();
    assert_eq!((node.uid, node.gid), (50, 60));
    // Another birth time is another inode.
    owner.key = InodeKey {
        birth_seconds: 1,
        ..owner.key
    };
    owner.attributes.uid = 70;
    fixture.begin();
    set_time(&fixture.path("s"), 5, 0);
    assert_eq!(fixture.changes_with(&[owner]), "+s");
    assert_eq!(fixture.tree.get(b"s").unwrap().uid, 50);
}

#[test]
fn records_that_are_malformed_huge_or_of_another_type_count_as_none() {
    let mut fixture = Fixture::with(BASE);
    let directory = Override {
        uid: 9,
        gid: 9,
        mode: 0o040_700,
        rdev: 0,
    }
    .encode();
    for (path, value) in [
        ("a/d", "nonsense"),
        ("h1", &*"9".repeat(3000)),
        ("tool", &directory),
    ] {
        let path = fixture.path(path);
        rustix::fs::setxattr(&path, XATTR_NAME, value.as_bytes(), XattrFlags::empty()).unwrap();
    }
    assert_eq!(fixture.changes(), "");
}

#[test]
fn a_device_that_a_step_made_is_a_device() {
    let mut fixture = Fixture::with(BASE);
    std::fs::write(fixture.path("zero"), "").unwrap();
    let record = Override {
        uid: 0,
        gid: 6,
        mode: 0o020_666,
        rdev: 0x105,
    }
    .encode();
    let path = fixture.path("zero");
    rustix::fs::setxattr(&path, XATTR_NAME, record.as_bytes(), XattrFlags::empty()).unwrap();
    assert_eq!(fixture.changes(), "+zero");
    assert!(fixture.tree.to_text().contains("c 0666 0:6 1,5 zero"));
}

#[test]
fn files_that_their_mode_hides_are_read_all_the_same() {
    let mut fixture = Fixture::with(BASE);
    std::fs::write(fixture.path("secret"), "x").unwrap();
    std::fs::set_permissions(fixture.path("secret"), PermissionsExt::from_mode(0o000)).unwrap();
    assert_eq!(fixture.changes(), "+secret");
    let node = fixture.tree.get(b"secret").unwrap();
    assert_eq!((node.mode, node.uid), (0, 0));
    assert!(fixture.rootfs.open_file(b"secret").is_ok());
}

#[test]
fn the_layer_of_a_step_applied_to_the_tree_before_gives_the_tree_after() {
    let mut fixture = Fixture::with(BASE);
    let before = fixture.tree.clone();
    std::fs::create_dir_all(fixture.path("new/deep")).unwrap();
    std::fs::write(fixture.path("new/deep/f"), "content").unwrap();
    std::fs::hard_link(fixture.path("new/deep/f"), fixture.path("new/g")).unwrap();
    std::fs::remove_dir_all(fixture.path("a/b")).unwrap();
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .open(fixture.path("owned"))
        .unwrap();
    file.seek(SeekFrom::End(0)).unwrap();
    file.write_all(b"more").unwrap();
    let layer = fixture.layer();
    let changes = fixture
        .rootfs
        .snapshot(&mut fixture.tree, layer, &[])
        .unwrap();
    let mut bytes = Vec::new();
    let (_, index) = write_layer(&fixture.tree, &changes, &mut bytes, None, |path, _| {
        fixture
            .rootfs
            .open_file(path)
            .map_err(std::io::Error::other)
    })
    .unwrap();
    let mut applied = before;
    apply_layer(&mut applied, layer, &mut LayerReader::new(&*bytes)).unwrap();
    assert_eq!(applied.to_detailed_text(), fixture.tree.to_detailed_text());
    let (offset, length) = index.get(b"new/g").unwrap();
    let (offset, length) = (
        usize::try_from(offset).unwrap(),
        usize::try_from(length).unwrap(),
    );
    assert_eq!(&bytes[offset..offset + length], b"content");
}
