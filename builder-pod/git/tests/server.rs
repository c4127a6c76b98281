//! The protocol and packs against git's own server program.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it must be"
)]

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use stagecraft_git::{
    Advertisement, Commit, EntryKind, FetchRequest, GitError, Kind, Limits, ObjectFormat, ObjectId,
    Objects, PackStream, RefsRequest, RemoteRef, Revision, fetch_request, parse_refs,
    read_advertisement, read_pack, refs_request, walk_tree,
};

/// A repository of its own, with no configuration of the machine's.
struct Repository {
    directory: tempfile::TempDir,
}

impl Repository {
    fn new(format: ObjectFormat) -> Self {
        let repository = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        let format = format!("--object-format={}", format.name());
        repository.git(&["init", "--quiet", "--initial-branch=main", &format, "."]);
        repository.git(&["config", "uploadpack.allowFilter", "true"]);
        repository
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_NAME", "A")
            .env("GIT_AUTHOR_EMAIL", "a@b")
            .env("GIT_AUTHOR_DATE", "1000000000 +0000")
            .env("GIT_COMMITTER_NAME", "C")
            .env("GIT_COMMITTER_EMAIL", "c@d")
            .env("GIT_COMMITTER_DATE", "1100000000 +0200");
        command
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = self
            .command(arguments)
            .output()
            .expect("the tests need git");
        assert!(output.status.success(), "git {arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn commit(&self) -> ObjectId {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", "m"]);
        ObjectId::from_hex(&self.git(&["rev-parse", "HEAD"])).unwrap()
    }

    /// What git's server says to a message, as over HTTP.
    fn serve(&self, is_version_2: bool, options: &[&str], message: &[u8]) -> Vec<u8> {
        let mut arguments = vec!["upload-pack", "--stateless-rpc"];
        arguments.extend(options);
        arguments.push(".");
        let mut command = self.command(&arguments);
        if is_version_2 {
            command.env("GIT_PROTOCOL", "version=2");
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let message = message.to_vec();
        let writer = std::thread::spawn(move || {
            let _ = input.write_all(&message);
        });
        let mut answer = Vec::new();
        child
            .stdout
            .take()
            .unwrap()
            .read_to_end(&mut answer)
            .unwrap();
        child.wait().unwrap();
        writer.join().unwrap();
        answer
    }

    fn advertisement(&self, is_version_2: bool) -> Advertisement {
        let answer = self.serve(is_version_2, &["--advertise-refs"], b"");
        let advertisement = read_advertisement(&answer[..]).unwrap();
        assert_eq!(advertisement.is_version_2, is_version_2);
        advertisement
    }

    fn refs(&self, advertisement: &Advertisement, prefixes: Vec<String>) -> Vec<RemoteRef> {
        if !advertisement.is_version_2 {
            return advertisement.refs.clone();
        }
        let format = advertisement.format;
        let request = refs_request(&RefsRequest { prefixes, format });
        parse_refs(&self.serve(true, &[], &request)[..]).unwrap()
    }

    fn pack(&self, advertisement: &Advertisement, request: &FetchRequest) -> Vec<u8> {
        let request = fetch_request(request, advertisement);
        self.pack_of(advertisement, &request)
    }

    fn pack_of(&self, advertisement: &Advertisement, request: &[u8]) -> Vec<u8> {
        let answer = self.serve(advertisement.is_version_2, &[], request);
        let mut pack = Vec::new();
        let mut stream = PackStream::open(&answer[..], advertisement).unwrap();
        stream.read_to_end(&mut pack).unwrap();
        pack
    }
}

fn shallow(id: ObjectId) -> FetchRequest {
    FetchRequest {
        wanted: vec![id],
        is_shallow: true,
        commits_only: false,
    }
}

fn unpacked(pack: &[u8], format: ObjectFormat, limits: Limits) -> Result<Objects, GitError> {
    let file = tempfile::tempfile().unwrap();
    let mut objects = Objects::new(file, format, 1 << 30);
    let mut copy = Vec::new();
    read_pack(pack, &mut objects, limits, &mut copy)?;
    assert_eq!(copy, pack);
    Ok(objects)
}

/// Every file of a commit must be what git says it is.
fn compare(repository: &Repository, objects: &Objects, commit: &ObjectId) {
    let commit = Commit::parse(&objects.read(commit, Kind::Commit).unwrap()).unwrap();
    assert_eq!(commit.time, 1_100_000_000);
    let mut found: Vec<String> = walk_tree(objects, &commit.tree)
        .unwrap()
        .iter()
        .map(|entry| {
            let mode = match entry.kind {
                EntryKind::File {
                    is_executable: false,
                } => "100644 blob",
                EntryKind::File {
                    is_executable: true,
                } => "100755 blob",
                EntryKind::Symlink => "120000 blob",
                EntryKind::Directory => "040000 tree",
                EntryKind::Submodule => "160000 commit",
            };
            let path = String::from_utf8(entry.path.clone()).unwrap();
            format!("{mode} {}\t{path}", entry.id)
        })
        .collect();
    let listed = repository.git(&["ls-tree", "-r", "-t", "-z", "HEAD"]);
    let mut expected: Vec<&str> = listed.split_terminator('\0').collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

/// Files that git stores as differences of each other.
fn alike(repository: &Repository) {
    let mut text = String::new();
    for number in 0..2000 {
        text.push_str(&format!("line {number} of a text that changes little\n"));
    }
    for number in 0..20 {
        text.push_str(&format!("one more {number}\n"));
        repository.write(&format!("alike/{number}.txt"), &text);
    }
    repository.write("empty", "");
    repository.write(
        "noise",
        (0..100_000_u32)
            .flat_map(|n| n.wrapping_mul(0x9e37_79b9).to_be_bytes())
            .collect::<Vec<u8>>(),
    );
    std::os::unix::fs::symlink("../empty", repository.path().join("alike/link")).unwrap();
}

fn run_program(repository: &Repository, path: &str) {
    repository.write(path, "#!/bin/sh\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(repository.path().join(path), mode).unwrap();
}

#[test]
fn a_commit_is_read_in_both_versions_and_with_both_hashes() {
    for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
        let repository = Repository::new(format);
        alike(&repository);
        run_program(&repository, "bin/run");
        let commit = repository.commit();
        repository.git(&["tag", "--annotate", "--message", "t", "v1"]);
        repository.git(&["repack", "-a", "-d", "-f", "--depth=50", "--window=50"]);
        for is_version_2 in [true, false] {
            let server = repository.advertisement(is_version_2);
            assert_eq!(server.format, format);
            for text in ["", "main", "v1"] {
                let revision = Revision::parse(text).unwrap();
                let refs = repository.refs(&server, revision.prefixes());
                let resolved = revision.find(&refs).unwrap();
                assert_eq!(resolved.commit, commit, "{text}");
                let pack = repository.pack(&server, &shallow(resolved.id));
                let objects = unpacked(&pack, format, Limits::default()).unwrap();
                compare(&repository, &objects, &commit);
            }
        }
    }
}

#[test]
fn deltas_that_name_their_base_are_read_wherever_it_stands() {
    let repository = Repository::new(ObjectFormat::Sha1);
    alike(&repository);
    let commit = repository.commit();
    repository.git(&["repack", "-a", "-d", "-f", "--depth=50", "--window=50"]);
    let server = repository.advertisement(true);
    let request = fetch_request(&shallow(commit), &server);
    // Without this line the server may not say how far back a base is.
    let line = b"000eofs-delta\n";
    let at = request
        .windows(line.len())
        .position(|window| window == line)
        .unwrap();
    let request = [&request[..at], &request[at + line.len()..]].concat();
    let pack = repository.pack_of(&server, &request);
    let objects = unpacked(&pack, ObjectFormat::Sha1, Limits::default()).unwrap();
    compare(&repository, &objects, &commit);
}

#[test]
fn commits_alone_are_had_without_their_files() {
    let repository = Repository::new(ObjectFormat::Sha1);
    repository.write("a", "1");
    let first = repository.commit();
    repository.write("a", "2");
    let second = repository.commit();
    for is_version_2 in [true, false] {
        let server = repository.advertisement(is_version_2);
        assert!(server.can_filter());
        let request = FetchRequest {
            wanted: vec![second],
            is_shallow: false,
            commits_only: true,
        };
        let pack = repository.pack(&server, &request);
        let objects = unpacked(&pack, ObjectFormat::Sha1, Limits::default()).unwrap();
        let mut commits: Vec<ObjectId> = objects.of_kind(Kind::Commit).collect();
        commits.sort_unstable();
        let mut expected = [first, second];
        expected.sort_unstable();
        assert_eq!(commits, expected);
        assert_eq!(objects.of_kind(Kind::Blob).count(), 0);
    }
}

#[test]
fn an_empty_repository_and_an_unknown_commit_are_told_apart() {
    let repository = Repository::new(ObjectFormat::Sha1);
    for is_version_2 in [true, false] {
        let server = repository.advertisement(is_version_2);
        let refs = repository.refs(&server, vec!["HEAD".to_owned()]);
        assert_eq!(Revision::Default.find(&refs), None);
    }
    repository.commit();
    let server = repository.advertisement(true);
    let unknown = ObjectId::from_bytes(&[9; 20]).unwrap();
    let request = fetch_request(&shallow(unknown), &server);
    let answer = repository.serve(true, &[], &request);
    let error = PackStream::open(&answer[..], &server).err().unwrap();
    assert!(error.to_string().contains("the server says: "), "{error}");
}

#[test]
fn a_pack_that_is_cut_off_or_changed_is_never_read_to_its_end() {
    let repository = Repository::new(ObjectFormat::Sha1);
    repository.write("a", "text that is long enough to be in a pack");
    let commit = repository.commit();
    let server = repository.advertisement(true);
    let pack = repository.pack(&server, &shallow(commit));
    let read = |pack: &[u8]| unpacked(pack, ObjectFormat::Sha1, Limits::default());
    assert!(read(&pack).is_ok());
    for end in 0..pack.len() {
        assert!(read(&pack[..end]).is_err(), "cut at {end}");
    }
    for at in 0..pack.len() {
        let mut changed = pack.clone();
        changed[at] ^= 0x55;
        assert!(read(&changed).is_err(), "changed at {at}");
    }
    assert!(read(&[&pack[..], b"x"].concat()).is_err());
}

#[test]
fn more_than_the_limits_is_refused() {
    let repository = Repository::new(ObjectFormat::Sha1);
    repository.write("a", vec![0; 1 << 20]);
    let commit = repository.commit();
    let server = repository.advertisement(true);
    let pack = repository.pack(&server, &shallow(commit));
    let limited = |limits| {
        unpacked(&pack, ObjectFormat::Sha1, limits)
            .err()
            .unwrap()
            .to_string()
    };
    let objects = Limits {
        objects: 2,
        ..Limits::default()
    };
    assert!(limited(objects).contains("more than 2 objects"));
    let bytes = Limits {
        bytes: 100,
        ..Limits::default()
    };
    assert!(limited(bytes).contains("more than 100 bytes"));
    // A megabyte of nothing in some hundred bytes of a pack.
    assert!(pack.len() < 10_000);
    let mut small = Objects::new(tempfile::tempfile().unwrap(), ObjectFormat::Sha1, 1 << 19);
    let error = read_pack(
        &pack[..],
        &mut small,
        Limits::default(),
        &mut std::io::sink(),
    );
    assert!(matches!(error, Err(GitError::TooLarge { limit, .. }) if limit == 1 << 19));
}
