//! The lines that the protocol is made of: four hexadecimal digits of length, then so many bytes.

use std::io::Read;

use crate::GitError;

/// A line that says nothing by itself.
pub(crate) const FLUSH: &[u8] = b"0000";
/// Between the parts of a message.
pub(crate) const DELIMITER: &[u8] = b"0001";

/// Largest line, its length included: that of the protocol.
const LARGEST: usize = 65_520;

/// A line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet<'a> {
    /// One with content.
    Data(&'a [u8]),
    /// The end of a message.
    Flush,
    /// The end of a part.
    Delimiter,
}

impl<'a> Packet<'a> {
    /// The content without its line end, if it has one.
    pub(crate) fn line(&self) -> Option<&'a [u8]> {
        match self {
            Self::Data(data) => Some(data.strip_suffix(b"\n").unwrap_or(data)),
            Self::Flush | Self::Delimiter => None,
        }
    }
}

/// Appends a line to a message.
pub(crate) fn write(message: &mut Vec<u8>, line: &str) {
    // What is written here is far shorter than the largest line.
    let length = line.len() + 4;
    message.extend_from_slice(format!("{length:04x}").as_bytes());
    message.extend_from_slice(line.as_bytes());
}

/// Reads lines.
pub(crate) struct PacketReader<R> {
    source: R,
    buffer: Vec<u8>,
}

impl<R: Read> PacketReader<R> {
    pub(crate) fn new(source: R) -> Self {
        let buffer = Vec::new();
        Self { source, buffer }
    }

    /// The next line. One that begins with `ERR ` is the server's way to give up.
    pub(crate) fn next(&mut self) -> Result<Packet<'_>, GitError> {
        let mut head = [0; 4];
        self.source.read_exact(&mut head).map_err(GitError::Read)?;
        let digits = core::str::from_utf8(&head).unwrap_or_default();
        let length = usize::from_str_radix(digits, 16).map_err(|_| GitError::NoRepository)?;
        let length = match length {
            0 | 2 => return Ok(Packet::Flush),
            1 => return Ok(Packet::Delimiter),
            4..=LARGEST => length - 4,
            _ => return Err(GitError::Malformed("a line")),
        };
        self.buffer.resize(length, 0);
        self.source
            .read_exact(&mut self.buffer)
            .map_err(GitError::Read)?;
        match self.buffer.strip_prefix(b"ERR ") {
            Some(message) => Err(GitError::Server(shown(message))),
            None => Ok(Packet::Data(&self.buffer)),
        }
    }
}

/// The words of a server, cut and cleaned for a message.
pub(crate) fn shown(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().map(printable).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_are_written() {
        let mut message = Vec::new();
        write(&mut message, "command=fetch\n");
        message.extend_from_slice(DELIMITER);
        message.extend_from_slice(FLUSH);
        message.extend_from_slice(b"0004");
        let mut reader = PacketReader::new(&message[..]);
        assert_eq!(reader.next().unwrap().line(), Some(&b"command=fetch"[..]));
        assert_eq!(reader.next().unwrap(), Packet::Delimiter);
        assert_eq!(reader.next().unwrap(), Packet::Flush);
        assert_eq!(reader.next().unwrap(), Packet::Data(b""));
        assert!(matches!(reader.next(), Err(GitError::Read(_))));
    }

    #[test]
    fn what_is_no_line_is_no_repository_and_a_long_one_is_refused() {
        let error = |bytes: &[u8]| PacketReader::new(bytes).next().unwrap_err().to_string();
        assert!(error(b"<html>").contains("no git repository"));
        assert!(error(b"0003").contains("malformed"));
        assert!(error(b"ffff").contains("malformed"));
        assert!(error(b"0011ERR no\x1baccess").contains("says: no access"));
    }
}
