//! Git repositories: ADD of one, and as the context. Git's own program serves them.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::harness::{Image, Workspace};

/// Repositories below a directory, served until the test ends.
struct Host {
    directory: tempfile::TempDir,
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

/// How a host treats its clients.
#[derive(Clone, Copy, Default)]
struct Rules {
    /// `Authorization` that is wanted.
    authorization: Option<&'static str>,
    /// Whether version 2 of the protocol is unknown.
    is_old: bool,
}

impl Host {
    fn start() -> Self {
        Self::with(Rules::default())
    }

    fn with(rules: Rules) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (root, log) = (directory.path().to_owned(), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = serve(&stream, &root, rules, &log);
            }
        });
        Self {
            directory,
            address,
            asked,
        }
    }

    fn url(&self, repository: &str) -> String {
        format!("http://{}/{repository}", self.address)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn repository(&self, name: &str) -> Repository<'_> {
        let repository = Repository {
            host: self,
            name: name.to_owned(),
        };
        std::fs::create_dir_all(repository.path()).unwrap();
        repository.git(&["init", "--quiet", "--initial-branch=main", "."]);
        repository
    }
}

/// A repository with its files; it is served from its `.git`.
struct Repository<'a> {
    host: &'a Host,
    name: String,
}

impl Repository<'_> {
    fn path(&self) -> std::path::PathBuf {
        self.host.directory.path().join(&self.name)
    }

    fn git(&self, arguments: &[&str]) -> String {
        git_in(&self.path(), arguments)
    }

    fn file(&self, path: &str, content: &str) -> &Self {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    /// Commits everything and gives the commit.
    fn commit(&self) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", "m"]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn url(&self) -> String {
        self.host.url(&format!("{}/.git", self.name))
    }
}

fn git_in(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "protocol.file.allow=always"])
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", directory)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_NAME", "A")
        .env("GIT_AUTHOR_EMAIL", "a@b")
        .env("GIT_AUTHOR_DATE", "1000000000 +0000")
        .env("GIT_COMMITTER_NAME", "C")
        .env("GIT_COMMITTER_EMAIL", "c@d")
        .env("GIT_COMMITTER_DATE", "1100000000 +0200")
        .output()
        .expect("the tests need git");
    assert!(output.status.success(), "git {arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// One request, handed to git's CGI program.
fn serve(
    mut stream: &TcpStream,
    root: &Path,
    rules: Rules,
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ');
    let (method, target) = (
        words.next().unwrap_or_default().to_owned(),
        words.next().unwrap_or_default().to_owned(),
    );
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => _ = headers.insert(name.to_ascii_lowercase(), value.to_owned()),
            None => break,
        }
    }
    let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
    log.lock().unwrap().push(
        format!("{method} {target} {}", header("authorization"))
            .trim()
            .to_owned(),
    );
    if rules
        .authorization
        .is_some_and(|wanted| header("authorization") != wanted)
    {
        return stream
            .write_all(b"HTTP/1.1 401 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    }
    let mut body = vec![0; header("content-length").parse().unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let protocol = match rules.is_old {
        true => String::new(),
        false => header("git-protocol"),
    };
    let mut child = Command::new("git")
        .arg("http-backend")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", root)
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("REQUEST_METHOD", &method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("GIT_PROTOCOL", &protocol)
        .env("HTTP_GIT_PROTOCOL", &protocol)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        let _ = input.write_all(&body);
    });
    let mut answer = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut answer)?;
    child.wait()?;
    writer.join().unwrap();
    let answer_text = String::from_utf8_lossy(&answer[..answer.len().min(1000)]).into_owned();
    let status = answer_text
        .lines()
        .find_map(|line| line.strip_prefix("Status: "))
        .unwrap_or("200 OK")
        .to_owned();
    write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\n")?;
    stream.write_all(&answer)
}

fn add(words: &str) -> Image {
    Workspace::with_dockerfile(&format!("FROM scratch\nADD {words} /x\n")).build(&[])
}

fn failure(words: &str) -> Value {
    let dockerfile = format!("FROM scratch\nADD {words} /x\n");
    let failure = Workspace::with_dockerfile(&dockerfile).failure(&[]).0;
    assert_eq!(failure["line"], 2, "{failure:#}");
    failure
}

fn message(words: &str) -> String {
    let failure = failure(words);
    assert_eq!(failure["reason"], "Context", "{failure:#}");
    failure["message"].as_str().unwrap().to_owned()
}

/// Builds a context that is no directory, and gives the image.
fn build(context: &str, more: &[&str]) -> Image {
    let workspace = Workspace::new();
    let output = Command::new(env!("CARGO_BIN_EXE_stagecraft-builder"))
        .args(["build", "--output", "type=oci,dest=layout"])
        .args(more)
        .arg(context)
        .current_dir(workspace.path("."))
        .env_remove("SOURCE_DATE_EPOCH")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let digest = String::from_utf8_lossy(&output.stdout);
    Image::read(&workspace.path("layout"), digest.trim())
}

#[test]
fn a_commits_files_arrive_with_modes_links_and_the_commits_time() {
    let host = Host::start();
    let repository = host.repository("a");
    repository
        .file("plain", "one")
        .file("dir/run", "#!/bin/sh\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(repository.path().join("dir/run"), mode).unwrap();
    std::os::unix::fs::symlink("dir/run", repository.path().join("link")).unwrap();
    repository.commit();
    let image = add(&repository.url());
    for (path, kind, mode) in [
        ("x/plain", 'f', 0o644),
        ("x/dir/run", 'f', 0o755),
        ("x/dir", 'd', 0o755),
        ("x/link", 'l', 0o777),
    ] {
        let entry = image.entry(path);
        assert_eq!(
            (entry.kind, entry.mode, entry.owner),
            (kind, mode, (0, 0)),
            "{path}"
        );
    }
    assert_eq!(image.entry("x/plain").content, "one");
    assert_eq!(image.entry("x/link").target.as_deref(), Some("dir/run"));
    assert!(!image.layers[0].keys().any(|path| path.contains(".git")));
    assert_eq!(
        image.config["history"][0]["created"],
        "2004-11-09T11:33:20Z"
    );
    let owned = add(&format!(
        "--chown=3:4 --chmod=0600 --exclude=dir {}",
        repository.url()
    ));
    let entry = owned.entry("x/plain");
    assert_eq!((entry.mode, entry.owner), (0o600, (3, 4)));
    assert!(!owned.layers[0].contains_key("x/dir/run"));
}

#[test]
fn line_ends_are_those_that_attributes_ask_for() {
    let host = Host::start();
    let repository = host.repository("a");
    repository
        .file(
            ".gitattributes",
            "*.bat text eol=crlf\n*.auto text=auto eol=crlf\n",
        )
        .file("run.bat", "one\ntwo\n")
        .file("kept.sh", "one\n")
        .file("text.auto", "one\n")
        .file("binary.auto", "one\0\n")
        .file("sub/.gitattributes", "*.bat -text\n")
        .file("sub/run.bat", "one\n")
        .commit();
    let image = add(&format!("--keep-git-dir {}", repository.url()));
    for (path, content) in [
        ("x/run.bat", "one\r\ntwo\r\n"),
        ("x/kept.sh", "one\n"),
        ("x/text.auto", "one\r\n"),
        ("x/binary.auto", "one\0\n"),
        ("x/sub/run.bat", "one\n"),
    ] {
        assert_eq!(image.entry(path).content, content, "{path}");
    }
}

#[test]
fn branches_tags_commits_and_directories_are_found_in_every_form() {
    for is_old in [false, true] {
        let host = Host::with(Rules {
            is_old,
            ..Rules::default()
        });
        let repository = host.repository("a");
        repository.git(&["config", "uploadpack.allowReachableSHA1InWant", "true"]);
        let first = repository.file("sub/v", "1").commit();
        repository.git(&["tag", "--annotate", "--message", "t", "v1"]);
        repository.git(&["branch", "old/branch"]);
        repository.file("sub/v", "2").commit();
        let url = repository.url();
        let short = &first[..8];
        for (words, expected) in [
            (url.clone(), "2"),
            (format!("{url}#main"), "2"),
            (format!("{url}#refs/heads/main"), "2"),
            (format!("{url}#v1"), "1"),
            (format!("{url}?tag=v1"), "1"),
            (format!("{url}?branch=old/branch"), "1"),
            (format!("{url}#{first}"), "1"),
            (format!("{url}#{short}"), "1"),
            (format!("{url}?ref=v1&checksum={short}"), "1"),
            (format!("--checksum={first} {url}#v1"), "1"),
            (
                format!("{url}?ref=other&checksum={first}&fetch-by-commit"),
                "1",
            ),
        ] {
            assert_eq!(add(&words).entry("x/sub/v").content, expected, "{words}");
        }
        for words in [
            format!("{url}#v1:sub"),
            format!("{url}?ref=v1&subdir=/sub/"),
        ] {
            assert_eq!(add(&words).entry("x/v").content, "1", "{words}");
        }
        for (words, expected) in [
            (
                format!("{url}#nothing"),
                "no branch, tag or commit \"nothing\"",
            ),
            (format!("{url}#{}", "9".repeat(40)), "999"),
            (
                format!("--checksum=123456 {url}"),
                "does not begin with 123456",
            ),
            (format!("{url}#v1:sub/v"), "no directory \"sub/v\""),
            (format!("{url}#v1:none"), "no directory \"none\""),
            (host.url("none.git"), "does not have"),
        ] {
            let message = message(&words);
            assert!(message.contains(expected), "{words}: {message}");
        }
    }
}

#[test]
fn a_server_that_gives_no_hidden_commit_gives_one_that_a_branch_leads_to() {
    let host = Host::with(Rules {
        is_old: true,
        ..Rules::default()
    });
    let repository = host.repository("a");
    let first = repository.file("v", "1").commit();
    repository.file("v", "2").commit();
    let url = repository.url();
    for revision in [first.as_str(), &first[..7]] {
        assert_eq!(add(&format!("{url}#{revision}")).entry("x/v").content, "1");
    }
}

#[test]
fn a_git_directory_that_is_kept_is_one_to_git() {
    for is_old in [false, true] {
        let host = Host::with(Rules {
            is_old,
            ..Rules::default()
        });
        let repository = host.repository("a");
        repository.file("a", "1").file("dir/b", "2").commit();
        repository.git(&["tag", "--annotate", "--message", "t", "v1"]);
        let commit = repository.git(&["rev-parse", "HEAD"]);
        let url = repository.url().replace("http://", "http://joe:s3cret@");
        let dockerfile = format!("FROM scratch\nADD --keep-git-dir=true {url}#v1 /x\n");
        let workspace = Workspace::with_dockerfile(&dockerfile);
        let output = workspace.path("out");
        let ended = workspace.run("build", &["--output", output.to_str().unwrap()]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let kept = output.join("x");
        let git = |arguments: &[&str]| {
            let mut all = vec!["-c", "safe.directory=*"];
            all.extend(arguments);
            git_in(&kept, &all)
        };
        assert_eq!(git(&["rev-parse", "HEAD"]), commit);
        assert_eq!(git(&["status", "--porcelain"]), "");
        assert_eq!(git(&["describe"]), "v1");
        assert_eq!(git(&["rev-list", "--count", "HEAD"]), "1");
        git(&["fsck", "--full", "--strict"]);
        assert_eq!(git(&["remote", "get-url", "origin"]), repository.url());
    }
}

#[test]
fn submodules_are_fetched_with_theirs_unless_that_is_declined() {
    let host = Host::start();
    let inner = host.repository("inner");
    inner.file("deep", "3").commit();
    let middle = host.repository("middle");
    middle.file("file", "2");
    middle.git(&["submodule", "--quiet", "add", &inner.url(), "in/ner"]);
    middle.commit();
    let outer = host.repository("outer");
    outer.file("file", "1");
    outer.git(&["submodule", "--quiet", "add", &middle.url(), "mid"]);
    outer.file(
        ".gitmodules",
        "[submodule \"mid\"]\n\tpath = mid\n\turl = ../../middle/.git\n",
    );
    outer.commit();
    let image = add(&outer.url());
    assert_eq!(image.entry("x/file").content, "1");
    assert_eq!(image.entry("x/mid/file").content, "2");
    assert_eq!(image.entry("x/mid/in/ner/deep").content, "3");
    let without = add(&format!("{}?submodules=false", outer.url()));
    assert_eq!(without.entry("x/mid").kind, 'd');
    assert!(!without.layers[0].contains_key("x/mid/file"));
}

/// CVE-2018-11235, CVE-2018-17456, CVE-2022-39253: what a submodule may not be.
#[test]
fn cve_2018_11235_submodules_lead_to_no_program_no_file_and_no_other_place() {
    let host = Host::start();
    let inner = host.repository("inner");
    let commit = inner.file("secret", "x").commit();
    let outer = host.repository("outer");
    let link = format!("160000,{commit},sub");
    let path = inner.path();
    for (url, expected) in [
        ("ext::sh -c touch% /tmp/owned", "is refused"),
        (path.to_str().unwrap(), "is refused"),
        (&format!("file://{}", path.display()), "is refused"),
        ("--upload-pack=x", "is refused"),
        ("../../../../outside", "leads out of its host"),
    ] {
        outer.file(
            ".gitmodules",
            &format!("[submodule \"../../x\"]\npath = sub\nurl = \"{url}\"\n"),
        );
        outer.git(&["add", ".gitmodules"]);
        outer.git(&["update-index", "--add", "--cacheinfo", &link]);
        outer.git(&["commit", "--quiet", "--message", "m"]);
        let message = message(&outer.url());
        assert!(message.contains(expected), "{url}: {message}");
    }
    outer.git(&["rm", "--quiet", "-f", ".gitmodules"]);
    outer.git(&["commit", "--quiet", "--message", "m"]);
    assert!(message(&outer.url()).contains("no url for the submodule"));
}

/// CVE-2026-33748, GHSA-4vrq-3vrq-g6gg: a link in place of the directory that is asked for.
#[test]
fn cve_2026_33748_a_directory_of_a_repository_is_no_link() {
    let host = Host::start();
    let repository = host.repository("a");
    repository.file("real/file", "x");
    for (name, target) in [("absolute", "/etc"), ("up", "../.."), ("inside", "real")] {
        std::os::unix::fs::symlink(target, repository.path().join(name)).unwrap();
    }
    repository.commit();
    let url = repository.url();
    for name in ["absolute", "up", "inside", "inside/..", "real/../absolute"] {
        let words = format!("{url}#main:{name}");
        if name == "inside/.." {
            // Cleaned as text, this is the whole repository.
            add(&words);
            continue;
        }
        assert!(message(&words).contains("no directory"), "{name}");
    }
}

/// CVE-2026-44517, GHSA-49p4-px3h-rq49: a Dockerfile that is a link out of the repository.
#[test]
fn cve_2026_44517_a_dockerfile_is_never_read_from_outside_the_repository() {
    let host = Host::start();
    let repository = host.repository("a");
    std::os::unix::fs::symlink("/etc/passwd", repository.path().join("Dockerfile")).unwrap();
    repository.commit();
    let workspace = Workspace::new();
    let output = Command::new(env!("CARGO_BIN_EXE_stagecraft-builder"))
        .args(["build", &repository.url()])
        .current_dir(workspace.path("."))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(stderr.contains("no file Dockerfile"), "{stderr}");
}

/// CVE-2023-26054, GHSA-gc89-7gcr-jxqc: passwords in a repository's address.
#[test]
fn cve_2023_26054_passwords_go_to_their_host_and_nowhere_else() {
    let authorization = Some("Basic am9lOnMzY3JldA==");
    let host = Host::with(Rules {
        authorization,
        ..Rules::default()
    });
    let elsewhere = Host::start();
    let other = elsewhere.repository("other");
    other.file("o", "2").commit();
    let repository = host.repository("a");
    repository.file("v", "1");
    repository.git(&["submodule", "--quiet", "add", &other.url(), "sub"]);
    repository.commit();
    assert!(message(&repository.url()).contains("credentials"));
    let url = repository.url().replace("http://", "http://joe:s3cret@");
    let workspace = Workspace::with_dockerfile(&format!("FROM scratch\nADD {url} /x\n"));
    let output = format!("type=oci,dest={}", workspace.path("layout").display());
    let ended = workspace.run("build", &["--output", &output]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    let image = Image::read(&workspace.path("layout"), ended.stdout.trim());
    assert_eq!(image.entry("x/sub/o").content, "2");
    assert!(!image.config.to_string().contains("s3cret"));
    assert!(
        elsewhere.asked().iter().all(|line| !line.contains("Basic")),
        "{:?}",
        elsewhere.asked()
    );
    let wrong = message(&url.replace("s3cret", "wr0ng"));
    assert!(
        !wrong.contains("wr0ng") && wrong.contains("credentials"),
        "{wrong}"
    );
}

#[test]
fn a_repository_is_a_context_at_a_revision_and_a_directory() {
    let host = Host::start();
    let repository = host.repository("a");
    repository
        .file("Dockerfile", "FROM scratch\nCOPY file /copied\n")
        .file("file", "1")
        .file(".dockerignore", "file\n")
        .file("sub/Dockerfile", "FROM scratch\nCOPY . /all\n")
        .file("sub/other.Dockerfile", "FROM scratch\nLABEL a=b\n")
        .file("sub/more", "2")
        .commit();
    repository.git(&["tag", "v1"]);
    repository.file("file", "new").commit();
    let url = repository.url();
    assert_eq!(build(&url, &[]).entry("copied").content, "new");
    assert_eq!(
        build(&format!("{url}#v1"), &[]).entry("copied").content,
        "1"
    );
    let sub = format!("{url}#v1:sub");
    assert_eq!(build(&sub, &[]).entry("all/more").content, "2");
    let other = build(&sub, &["--file", "other.Dockerfile"]);
    assert_eq!(other.config["config"]["Labels"]["a"], "b");
    let same = [build(&url, &[]), build(&url, &[])];
    assert_eq!(same[0].config, same[1].config);
}

#[test]
fn a_repository_that_is_empty_or_no_repository_is_told_as_such() {
    let host = Host::start();
    host.repository("empty");
    assert!(message(&host.url("empty/.git")).contains("is empty"));
    let failure = failure("git@127.0.0.1:x.git");
    assert!(
        failure["message"]
            .as_str()
            .unwrap()
            .contains("by ssh is not supported yet")
    );
}
