//! Detects how an archive is compressed, by its first bytes, and inflates it.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

use crate::read::PIECE;

/// How an archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, of one or several members.
    Gzip,
    /// zstd, of one or several frames.
    Zstd,
    /// bzip2; it is recognised but cannot be inflated here.
    Bzip2,
    /// xz; it is recognised but cannot be inflated here.
    Xz,
}

impl Compression {
    /// The compression that these first bytes (6 are enough) belong to.
    #[must_use]
    pub fn detect(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
        }
    }
}

/// What an inflated archive may be at most.
#[derive(Clone, Copy, Debug)]
pub struct DecodeLimits {
    /// Bytes that may come out.
    pub bytes: u64,
    /// Bytes that may come out for each that went in, counted once more than 64 MiB came out.
    pub ratio: u64,
}

impl Default for DecodeLimits {
    /// No limit: the scratch volume's size is one already, and a gigabyte of zeros is a legal layer.
    fn default() -> Self {
        Self {
            bytes: u64::MAX,
            ratio: u64::MAX,
        }
    }
}

/// Why a stream cannot be inflated; it arrives inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Its compression is known but not supported.
    #[error("{0} compression is not supported")]
    Unsupported(&'static str),
    /// More came out than is accepted.
    #[error("it inflates to more than {0} bytes")]
    TooLarge(u64),
    /// So much came out of so little that it is no honest archive.
    #[error("it inflates to more than {0} times its size")]
    Bomb(u64),
}

type Source<R> = Counting<BufReader<Chain<Cursor<Vec<u8>>, R>>>;

enum Form<R: Read> {
    Plain(Source<R>),
    Gzip(Box<MultiGzDecoder<Source<R>>>),
    Zstd(zstd::Decoder<'static, Source<R>>),
}

/// Inflates what it reads, if that is compressed.
pub struct Decoder<R: Read> {
    form: Form<R>,
    compression: Compression,
    limits: DecodeLimits,
    produced: u64,
}

/// The ratio is not looked at before this much came out.
const RATIO_GRACE: u64 = 64 * 1024 * 1024;

impl<R: Read> Decoder<R> {
    /// Looks at the first bytes of `reader` and inflates what follows, without limits.
    ///
    /// # Errors
    /// When the first bytes cannot be read, or are of a compression that cannot be inflated.
    pub fn new(reader: R) -> io::Result<Self> {
        Self::with_limits(reader, DecodeLimits::default())
    }

    /// Looks at the first bytes of `reader` and inflates what follows.
    ///
    /// # Errors
    /// When the first bytes cannot be read, or are of a compression that cannot be inflated.
    pub fn with_limits(mut reader: R, limits: DecodeLimits) -> io::Result<Self> {
        let mut start = Vec::with_capacity(6);
        reader.by_ref().take(6).read_to_end(&mut start)?;
        let compression = Compression::detect(&start);
        let source = BufReader::with_capacity(PIECE, Cursor::new(start).chain(reader));
        let source = Counting { source, count: 0 };
        let form = match compression {
            Compression::None => Form::Plain(source),
            Compression::Gzip => Form::Gzip(Box::new(MultiGzDecoder::new(source))),
            Compression::Zstd => Form::Zstd(zstd::Decoder::with_buffer(source)?),
            Compression::Bzip2 | Compression::Xz => {
                let error = DecodeError::Unsupported(compression.name());
                return Err(io::Error::new(io::ErrorKind::Unsupported, error));
            }
        };
        Ok(Self {
            form,
            compression,
            limits,
            produced: 0,
        })
    }

    /// How the stream is compressed.
    #[must_use]
    pub const fn compression(&self) -> Compression {
        self.compression
    }

    fn check(&self) -> io::Result<()> {
        let consumed = match &self.form {
            Form::Plain(source) => source.count,
            Form::Gzip(decoder) => decoder.get_ref().count,
            Form::Zstd(decoder) => decoder.get_ref().count,
        };
        if self.produced > self.limits.bytes {
            return Err(io::Error::other(DecodeError::TooLarge(self.limits.bytes)));
        }
        if self.produced > RATIO_GRACE && self.produced / consumed.max(1) > self.limits.ratio {
            return Err(io::Error::other(DecodeError::Bomb(self.limits.ratio)));
        }
        Ok(())
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.form {
            Form::Plain(source) => source.read(buffer),
            Form::Gzip(decoder) => decoder.read(buffer),
            Form::Zstd(decoder) => decoder.read(buffer),
        }?;
        self.produced += read as u64;
        self.check()?;
        Ok(read)
    }
}

/// Counts what is taken from a source.
struct Counting<S> {
    source: S,
    count: u64,
}

impl<S: BufRead> Read for Counting<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.count += read as u64;
        Ok(read)
    }
}

impl<S: BufRead> BufRead for Counting<S> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.source.fill_buf()
    }

    fn consume(&mut self, length: usize) {
        self.count += length as u64;
        self.source.consume(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::write::GzEncoder;
    use std::io::Write as _;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn inflate(data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Decoder::new(data).unwrap().read_to_end(&mut out).unwrap();
        out
    }

    #[test]
    fn every_form_is_recognised_and_several_members_are_one_stream() {
        let two_members = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(inflate(&two_members), b"one two");
        let two_frames = [
            zstd::encode_all(&b"a"[..], 3).unwrap(),
            zstd::encode_all(&b"b"[..], 3).unwrap(),
        ];
        assert_eq!(inflate(&two_frames.concat()), b"ab");
        assert_eq!(inflate(b"plain"), b"plain");
        assert_eq!(inflate(b""), b"");
    }

    #[test]
    fn what_cannot_be_inflated_is_named() {
        let error = Decoder::new(&b"BZh91AY"[..]).err().unwrap();
        assert_eq!(error.to_string(), "bzip2 compression is not supported");
        assert!(Decoder::new(&b"\xfd7zXZ\0\0"[..]).is_err());
    }

    #[test]
    fn truncated_and_broken_streams_are_errors() {
        let whole = gzip(&[7; 5000]);
        for cut in [3, 12, whole.len() - 1] {
            let mut decoder = Decoder::new(&whole[..cut]).unwrap();
            assert!(io::copy(&mut decoder, &mut io::sink()).is_err(), "{cut}");
        }
        let mut broken = whole;
        let crc = broken.len() - 8;
        broken[crc] ^= 1;
        assert!(io::copy(&mut Decoder::new(&*broken).unwrap(), &mut io::sink()).is_err());
    }

    #[test]
    fn limits_end_a_stream_that_inflates_to_too_much() {
        let zeros = zstd::encode_all(io::repeat(0).take(80 * 1024 * 1024), 1).unwrap();
        let inflate = |limits| {
            io::copy(
                &mut Decoder::with_limits(&*zeros, limits).unwrap(),
                &mut io::sink(),
            )
        };
        assert!(inflate(DecodeLimits::default()).is_ok());
        let large = DecodeLimits {
            bytes: 1000,
            ..DecodeLimits::default()
        };
        assert_eq!(
            inflate(large).unwrap_err().to_string(),
            "it inflates to more than 1000 bytes"
        );
        let bomb = DecodeLimits {
            ratio: 1000,
            ..DecodeLimits::default()
        };
        assert!(
            inflate(bomb)
                .unwrap_err()
                .to_string()
                .contains("1000 times")
        );
    }
}
