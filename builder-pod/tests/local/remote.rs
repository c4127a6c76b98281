//! ADD of URLs, and contexts that come from elsewhere.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::harness::{Image, Workspace};

/// What a path is answered with: the head's lines after the first, and the body.
#[derive(Clone, Default)]
struct Answer {
    status: u16,
    headers: Vec<String>,
    body: Vec<u8>,
}

/// A server of files, until the test ends.
struct Server {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(answers: &[(&str, Answer)]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answers: BTreeMap<String, Answer> = answers
            .iter()
            .map(|(path, answer)| ((*path).to_owned(), answer.clone()))
            .collect();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(&stream, &answers, &log);
            }
        });
        Self { address, asked }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(
    mut stream: &TcpStream,
    answers: &BTreeMap<String, Answer>,
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while let Some(line) = lines.next().transpose()? {
        if line.is_empty() {
            break;
        }
        if line.to_ascii_lowercase().starts_with("authorization:") {
            log.lock().unwrap().push(line);
        }
    }
    log.lock().unwrap().push(request.clone());
    let path = request.split(' ').nth(1).unwrap_or_default();
    let missing = Answer {
        status: 404,
        ..Answer::default()
    };
    let answer = answers.get(path).unwrap_or(&missing);
    let status = if answer.status == 0 {
        200
    } else {
        answer.status
    };
    write!(stream, "HTTP/1.1 {status} Fine\r\nConnection: close\r\n")?;
    for header in &answer.headers {
        write!(stream, "{header}\r\n")?;
    }
    write!(stream, "Content-Length: {}\r\n\r\n", answer.body.len())?;
    stream.write_all(&answer.body)
}

fn body(body: impl Into<Vec<u8>>) -> Answer {
    Answer {
        body: body.into(),
        ..Answer::default()
    }
}

/// A tar archive of files, as it is and compressed.
fn archive(files: &[(&str, &str)]) -> (Vec<u8>, Vec<u8>) {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_mtime(1000);
        header.set_size(content.len() as u64);
        let content = content.as_bytes();
        builder.append_data(&mut header, path, content).unwrap();
    }
    let plain = builder.into_inner().unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&plain).unwrap();
    (plain, encoder.finish().unwrap())
}

/// The builder with this context in place of a directory, and what stands on standard input.
fn run(workspace: &Workspace, arguments: &[&str], input: &[u8]) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_stagecraft-builder"))
        .args(arguments)
        .current_dir(workspace.path("."))
        .env_remove("SOURCE_DATE_EPOCH")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn build(context: &str, more: &[&str], input: &[u8]) -> Image {
    let workspace = Workspace::new();
    let mut arguments = vec!["build", "--output", "type=oci,dest=layout"];
    arguments.extend(more);
    arguments.push(context);
    let (code, stdout, stderr) = run(&workspace, &arguments, input);
    assert_eq!(code, 0, "{stderr}");
    Image::read(&workspace.path("layout"), stdout.trim())
}

#[test]
fn a_file_behind_a_url_is_readable_by_its_owner_alone_and_as_old_as_the_server_says() {
    let server = Server::start(&[
        (
            "/files/a%20b.txt?x=1",
            Answer {
                headers: vec![
                    "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT".to_owned(),
                    // As in BuildKit, this is the name of a download, not of what ADD makes.
                    "Content-Disposition: attachment; filename=\"other\"".to_owned(),
                ],
                ..body("one")
            },
        ),
        ("/", body("two")),
    ]);
    let dockerfile = format!(
        "FROM scratch\nADD {0}files/a%20b.txt?x=1 /dir/\nADD {0} /dir/\nADD --chown=3:4 --chmod=0755 {0} /as/named\n\
         ADD {0} local /both/\n",
        server.url("/")
    );
    let image = Workspace::with_dockerfile(&dockerfile)
        .file("local", "three")
        .build(&[]);
    let entry = image.entry("dir/a b.txt");
    assert_eq!((entry.content.as_str(), entry.mode), ("one", 0o600));
    assert_eq!(entry.owner, (0, 0));
    assert_eq!(image.entry("dir/__unnamed__").content, "two");
    let named = image.entry("as/named");
    assert_eq!((named.mode, named.owner), (0o755, (3, 4)));
    assert_eq!(image.entry("both/__unnamed__").content, "two");
    assert_eq!(image.entry("both/local").content, "three");
    let created: Vec<&str> = image.config["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["created"].as_str().unwrap())
        .collect();
    assert_eq!(created[0], "1994-11-06T08:49:37Z");
    // However many steps want it, a URL is asked once.
    assert_eq!(server.asked().len(), 2, "{:?}", server.asked());
}

#[test]
fn a_fetched_archive_is_unpacked_only_where_that_is_asked_for() {
    let (_, compressed) = archive(&[("in/side", "text")]);
    let server = Server::start(&[("/a.tgz", body(compressed)), ("/b", body("no archive"))]);
    let (a, b) = (server.url("/a.tgz"), server.url("/b"));
    let dockerfile = format!(
        "FROM scratch\nADD {a} /kept/\nADD --unpack=false {a} /too/\nADD --unpack {a} /unpacked/\n\
         ADD --unpack=true {b} /plain/\nADD --link {a} /linked/\n"
    );
    let image = Workspace::with_dockerfile(&dockerfile).build(&[]);
    for path in ["kept/a.tgz", "too/a.tgz", "plain/b", "linked/a.tgz"] {
        assert_eq!(image.entry(path).kind, 'f', "{path}");
    }
    assert_eq!(image.entry("unpacked/in/side").content, "text");
}

#[test]
fn a_destination_that_is_a_directory_takes_the_file_in_with_and_without_a_slash() {
    let server = Server::start(&[("/x", body("x"))]);
    let url = server.url("/x");
    let dockerfile = format!(
        "FROM scratch\nWORKDIR /there\nADD {url} .\nADD {url} /there\nADD {url} new\nADD {url} other/\n"
    );
    let image = Workspace::with_dockerfile(&dockerfile).build(&[]);
    for path in ["there/x", "there/new", "there/other/x"] {
        assert_eq!(image.entry(path).content, "x", "{path}");
    }
}

fn failure(dockerfile: &str) -> Value {
    Workspace::with_dockerfile(dockerfile).failure(&[]).0
}

#[test]
fn what_cannot_be_fetched_is_told_with_its_line_and_without_its_password() {
    let server = Server::start(&[
        ("/x", body("x")),
        (
            "/moved",
            Answer {
                status: 302,
                headers: vec!["Location: file:///etc/passwd".to_owned()],
                ..Answer::default()
            },
        ),
    ]);
    let address = &server.address;
    let wrong = "0".repeat(64);
    let cases = [
        (format!("http://joe:s3cret@{address}/y"), "does not have /y"),
        (
            format!("--checksum=sha256:{wrong} http://{address}/x"),
            "it has sha256 ",
        ),
        (
            format!("--checksum=sha512:{wrong}{wrong} http://{address}/x"),
            "cannot be checked",
        ),
        (format!("http://{address}/moved"), "302"),
        (
            "http://169.254.169.254/latest/meta-data".to_owned(),
            "link-local",
        ),
    ];
    for (words, expected) in cases {
        let failure = failure(&format!("FROM scratch\nADD {words} /z\n"));
        assert_eq!(failure["reason"], "Context", "{failure:#}");
        assert_eq!(failure["line"], 2, "{failure:#}");
        let message = failure["message"].as_str().unwrap();
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains("s3cret"), "{message}");
    }
}

#[test]
fn a_password_in_a_url_reaches_its_server_and_nothing_else() {
    let server = Server::start(&[("/x", body("x"))]);
    let url = format!("http://joe:s3cret@{}/x", server.address);
    let workspace = Workspace::with_dockerfile(&format!("FROM scratch\nADD {url} /x\n"));
    let output = format!("type=oci,dest={}", workspace.path("layout").display());
    let ended = workspace.run("build", &["--output", &output]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(
        server
            .asked()
            .iter()
            .any(|line| line.contains("Basic am9lOnMzY3JldA=="))
    );
    assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    let image = Image::read(&workspace.path("layout"), ended.stdout.trim());
    assert!(
        !image.config.to_string().contains("s3cret"),
        "{:#}",
        image.config
    );
    let plan = workspace.run("plan", &[]);
    assert!(!plan.stdout.contains("s3cret"), "{}", plan.stdout);
}

#[test]
fn a_context_is_an_archive_or_a_dockerfile_behind_a_url_or_on_standard_input() {
    let dockerfile = "FROM scratch\nCOPY a /copied\n";
    let files = [
        ("Dockerfile", dockerfile),
        ("a", "text"),
        (".dockerignore", "a\n"),
    ];
    let (plain, compressed) = archive(&files);
    let alone = "FROM scratch\nLABEL a=b\n";
    let server = Server::start(&[
        ("/c.tgz", body(compressed.clone())),
        ("/c.tar", body(plain.clone())),
        ("/Dockerfile.txt", body(alone)),
        ("/nothing", body(b"\xff\xfe\0".to_vec())),
    ]);
    for (context, input) in [
        (server.url("/c.tgz").as_str(), &b""[..]),
        (server.url("/c.tar").as_str(), b""),
        ("-", &plain),
        ("-", &compressed),
    ] {
        // As in BuildKit, an ignore file counts in a directory only.
        assert_eq!(build(context, &[], input).entry("copied").content, "text");
    }
    for (context, input) in [(server.url("/Dockerfile.txt").as_str(), ""), ("-", alone)] {
        let image = build(context, &[], input.as_bytes());
        assert_eq!(image.config["config"]["Labels"]["a"], "b");
    }
    let workspace = Workspace::new();
    for (context, input) in [
        (server.url("/nothing").as_str(), &b""[..]),
        ("-", b"\xff\0"),
    ] {
        let (code, _, stderr) = run(&workspace, &["build", context], input);
        assert_ne!(code, 0);
        assert!(
            stderr.contains("neither an archive nor a Dockerfile"),
            "{stderr}"
        );
    }
}

#[test]
fn a_dockerfile_on_standard_input_stands_beside_a_directory() {
    let workspace = Workspace::new().file("a", "text");
    let dockerfile = b"FROM scratch\nCOPY a /copied\n";
    let arguments = [
        "build",
        "--file",
        "-",
        "--output",
        "type=oci,dest=layout",
        "context",
    ];
    let (code, stdout, stderr) = run(&workspace, &arguments, dockerfile);
    assert_eq!(code, 0, "{stderr}");
    let image = Image::read(&workspace.path("layout"), stdout.trim());
    assert_eq!(image.entry("copied").content, "text");
    let (code, _, stderr) = run(&workspace, &["build", "-f", "-", "-"], dockerfile);
    assert_eq!(code, 2, "{stderr}");
}
