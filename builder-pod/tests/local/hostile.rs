//! Builds from a registry that does not give what it announces.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use serde_json::Value;

use crate::harness::Workspace;

/// Serves blobs by digest, and a manifest under every tag, until the test ends.
fn serve(manifest: String, blobs: BTreeMap<String, Vec<u8>>) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let served = Arc::new((manifest, blobs));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let served = Arc::clone(&served);
            std::thread::spawn(move || answer(&stream, &served.0, &served.1));
        }
    });
    address
}

fn answer(
    stream: &TcpStream,
    manifest: &str,
    blobs: &BTreeMap<String, Vec<u8>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    while let Some(request) = lines.next().transpose()? {
        while lines
            .next()
            .transpose()?
            .is_some_and(|line| !line.is_empty())
        {}
        let path = request.split(' ').nth(1).unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default();
        let digest = if name.starts_with("sha256:") {
            name
        } else {
            manifest
        };
        let mut out = stream;
        let Some(body) = blobs.get(digest) else {
            out.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        };
        write!(
            out,
            "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        )?;
        if request.starts_with("GET") {
            out.write_all(body)?;
        }
    }
    Ok(())
}

/// An image's blobs by digest, its manifest's digest, and its layer's.
fn image() -> (BTreeMap<String, Vec<u8>>, String, String) {
    // Longer than what is fetched at a time, and incompressible, so that the layer is read while it arrives.
    let mut state = 1_u64;
    let noise: String = (0..700_000)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            char::from(b'!' + u8::try_from((state >> 33) % 90).unwrap())
        })
        .collect();
    let workspace =
        Workspace::with_dockerfile("FROM scratch\nCOPY noise /\n").file("noise", &noise);
    let layout = workspace.path("layout");
    let output = format!("type=oci,dest={}", layout.display());
    let ended = workspace.run("build", &["--output", &output]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let digest = ended.stdout.trim().to_owned();
    let mut blobs = BTreeMap::new();
    for entry in std::fs::read_dir(layout.join("blobs/sha256")).unwrap() {
        let entry = entry.unwrap();
        let name = format!("sha256:{}", entry.file_name().to_str().unwrap());
        blobs.insert(name, std::fs::read(entry.path()).unwrap());
    }
    let manifest: Value = serde_json::from_slice(&blobs[&digest]).unwrap();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
    (blobs, digest, layer)
}

#[test]
fn a_layer_with_other_bytes_than_its_digest_says_ends_the_build_and_is_no_malformed_layer() {
    let (mut blobs, manifest, layer) = image();
    let bytes = blobs.get_mut(&layer).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    let address = serve(manifest, blobs);
    for dockerfile in [
        format!("FROM scratch\nCOPY --from={address}/a:1 /noise /\n"),
        format!("FROM {address}/a:1\nWORKDIR /new\n"),
        format!("FROM {address}/a:1\nRUN [\"/noise\"]\n"),
    ] {
        let workspace = Workspace::with_dockerfile(&dockerfile);
        let output = format!("type=oci,dest={}", workspace.path("out").display());
        let (failure, _) =
            workspace.failure(&["--insecure-registry", &address, "--output", &output]);
        assert_eq!(failure["reason"], "Registry", "{failure:#}");
        let message = failure["message"].as_str().unwrap();
        assert!(message.contains(&layer), "{message}");
        assert!(!workspace.path("out").exists());
    }
}
