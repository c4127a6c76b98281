//! A registry for measurements: serves one OCI layout under every repository name, and takes whatever is pushed.
//!
//! Invariant: what is pushed is read and thrown away, so a push measures the engine and not this registry.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use serde_json::Value;

/// A registry that serves until the process ends.
pub(crate) struct Registry {
    /// Its address, `HOST:PORT`.
    pub(crate) address: String,
}

struct Layout {
    directory: PathBuf,
    manifest: String,
}

/// A request without its body.
struct Request {
    method: String,
    path: String,
    length: u64,
}

impl Registry {
    /// Serves the first image of a layout.
    pub(crate) fn serve(layout: &Path) -> anyhow::Result<Self> {
        let index = std::fs::read(layout.join("index.json")).context("cannot read the index")?;
        let index: Value = serde_json::from_slice(&index).context("the index is not JSON")?;
        let manifest = index["manifests"][0]["digest"].as_str();
        let layout = Arc::new(Layout {
            directory: layout.join("blobs/sha256"),
            manifest: manifest.context("the index names no image")?.to_owned(),
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("cannot listen")?;
        let address = listener.local_addr().context("no address")?.to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let layout = Arc::clone(&layout);
                // A client that goes away is no failure.
                std::thread::spawn(move || layout.converse(&stream));
            }
        });
        Ok(Self { address })
    }
}

impl Layout {
    fn converse(&self, stream: &TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(stream);
        let mut writer = stream;
        while let Some(request) = read_request(&mut reader)? {
            io::copy(&mut reader.by_ref().take(request.length), &mut io::sink())?;
            self.answer(&request, &mut writer)?;
        }
        Ok(())
    }

    fn answer(&self, request: &Request, out: &mut impl Write) -> io::Result<()> {
        let path = request.path.split('?').next().unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default();
        let is_read = matches!(request.method.as_str(), "GET" | "HEAD");
        if is_read && path == "/v2/" {
            return status(out, "200 OK", "");
        }
        if is_read && path.contains("/manifests/") {
            let digest = if name.starts_with("sha256:") {
                name
            } else {
                &self.manifest
            };
            let kind = "application/vnd.oci.image.manifest.v1+json";
            return self.content(out, digest, kind, request.method == "HEAD");
        }
        // What is served comes from a repository of this name only, so a push has something to do.
        if is_read && path.contains("/blobs/") && path.starts_with("/v2/base/") {
            let head = request.method == "HEAD";
            return self.content(out, name, "application/octet-stream", head);
        }
        match request.method.as_str() {
            "POST" => status(out, "202 Accepted", "Location: /v2/upload\r\n"),
            "PUT" | "PATCH" => status(out, "201 Created", ""),
            _ => status(out, "404 Not Found", ""),
        }
    }

    fn content(
        &self,
        out: &mut impl Write,
        digest: &str,
        kind: &str,
        head: bool,
    ) -> io::Result<()> {
        let name = digest.trim_start_matches("sha256:");
        let Ok(mut file) = File::open(self.directory.join(name)) else {
            return status(out, "404 Not Found", "");
        };
        let length = file.metadata()?.len();
        write!(
            out,
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
             Docker-Content-Digest: sha256:{name}\r\n\r\n"
        )?;
        if !head {
            io::copy(&mut file, out)?;
        }
        Ok(())
    }
}

fn status(out: &mut impl Write, status: &str, headers: &str) -> io::Result<()> {
    write!(
        out,
        "HTTP/1.1 {status}\r\n{headers}Content-Length: 0\r\n\r\n"
    )
}

/// The next request of a connection; `None` when there is none.
fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let mut length = 0;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    Ok(Some(Request {
        method,
        path,
        length,
    }))
}
