use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use super::*;
use crate::decode::Decoder;
use crate::random::Random;

/// Text-like data that compresses, of this many bytes.
fn data(length: usize) -> Vec<u8> {
    let mut random = Random::new(7);
    let words: Vec<Vec<u8>> = (0..300)
        .map(|_| {
            let n = 1 + random.below(12);
            random.bytes(n)
        })
        .collect();
    let mut data = Vec::with_capacity(length + 16);
    while data.len() < length {
        data.extend_from_slice(&words[random.below(300) as usize]);
    }
    data.truncate(length);
    data
}

fn compressed(data: &[u8], threads: usize) -> (Vec<u8>, CompressedLayer) {
    let mut out = Vec::new();
    let layer = compress(data, &mut out, threads).unwrap();
    (out, layer)
}

#[test]
fn what_was_compressed_comes_back_with_its_digests_and_any_number_of_threads_gives_the_same() {
    for length in [
        0,
        1,
        1000,
        BLOCK - 1,
        BLOCK,
        BLOCK + 1,
        3 * BLOCK,
        5 * BLOCK + 17,
    ] {
        let data = data(length);
        let (one, layer) = compressed(&data, 1);
        assert_eq!(layer.diff_id, Digest::of(&data));
        assert_eq!(layer.digest, Digest::of(&one));
        assert_eq!(
            (layer.size, layer.uncompressed_size),
            (one.len() as u64, length as u64)
        );
        let mut back = Vec::new();
        Decoder::new(&*one).unwrap().read_to_end(&mut back).unwrap();
        assert!(back == data, "{length}");
        // One member: a reader that knows only one gets everything.
        let mut single = Vec::new();
        flate2::read::GzDecoder::new(&*one)
            .read_to_end(&mut single)
            .unwrap();
        assert_eq!(single.len(), length);
        for threads in [2, 3, 8] {
            assert!(
                compressed(&data, threads).0 == one,
                "{length} bytes, {threads} threads"
            );
        }
    }
}

#[test]
fn blocks_refer_back_to_what_came_before_them() {
    let data = data(4 * BLOCK);
    let joined = compressed(&data, 2).0.len();
    let apart: usize = data
        .chunks(BLOCK)
        .map(|block| compressed(block, 1).0.len())
        .sum();
    assert!(joined < apart, "{joined} >= {apart}");
    let incompressible = Random::new(3).bytes(2 * BLOCK as u64);
    assert!(compressed(&incompressible, 2).0.len() < incompressible.len() + 1024);
}

#[test]
fn system_gzip_reads_it() {
    let data = data(2 * BLOCK + 5);
    let (bytes, _) = compressed(&data, 2);
    let mut gzip = Command::new("gzip")
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gzip is installed");
    let mut stdin = gzip.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes).unwrap());
    let output = gzip.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success() && output.stdout == data);
}

#[test]
fn failures_of_either_side_end_it() {
    struct Broken(u64);
    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::Error::other("broken"));
            }
            self.0 -= 1;
            buffer.fill(1);
            Ok(buffer.len())
        }
    }
    impl io::Write for Broken {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::Error::other("full"));
            }
            self.0 -= 1;
            Ok(buffer.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let error = compress(Broken(300), io::sink(), 2).unwrap_err();
    assert!(
        matches!(error, CompressError::Read { offset: 1.., .. }),
        "{error}"
    );
    let error = compress(io::repeat(3), Broken(5), 3).unwrap_err();
    assert!(matches!(error, CompressError::Write(_)), "{error}");
}
