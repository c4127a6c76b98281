//! How an agent and its clients write: frames, texts and numbers (RFC 4251 section 5, draft-ietf-sshm-ssh-agent).
//!
//! It knows forms, not what they mean.

use std::io::{Read, Write};

/// Most bytes of a message, as with OpenSSH.
const FRAME_LIMIT: u32 = 256 * 1024;

/// Reads one message; `None` where the other end hung up between two.
///
/// # Errors
/// When the connection breaks, or the message is longer than any.
pub(super) fn read_frame(from: &mut impl Read) -> std::io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = u32::from_be_bytes(length);
    if length == 0 || length > FRAME_LIMIT {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length as usize];
    from.read_exact(&mut message)?;
    Ok(Some(message))
}

/// Writes one message.
///
/// # Errors
/// When the connection breaks.
pub(super) fn write_frame(to: &mut impl Write, message: &[u8]) -> std::io::Result<()> {
    let mut frame = Vec::with_capacity(message.len() + 4);
    put_text(&mut frame, message);
    to.write_all(&frame)
}

/// A text: its length, then its bytes.
pub(super) fn put_text(to: &mut Vec<u8>, text: &[u8]) {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    to.extend_from_slice(&length.to_be_bytes());
    to.extend_from_slice(text);
}

/// A positive number of any size, which is given as big-endian bytes.
pub(super) fn put_integer(to: &mut Vec<u8>, number: &[u8]) {
    let digits = without_zeros(number);
    // Its highest bit would make it a negative one.
    if digits.first().is_some_and(|byte| byte & 0x80 != 0) {
        let mut positive = vec![0];
        positive.extend_from_slice(digits);
        put_text(to, &positive);
    } else {
        put_text(to, digits);
    }
}

/// A number without the zeros that it begins with.
pub(super) fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// A message that is read from its beginning; every part that is not there is `None`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// So many bytes.
    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of 32 bits.
    pub(super) fn number(&mut self) -> Option<u32> {
        let bytes = self.bytes(4)?;
        bytes.try_into().ok().map(u32::from_be_bytes)
    }

    /// A text, or a number of any size.
    pub(super) fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.bytes(length as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_never_look_negative_and_have_no_zeros_before_them() {
        let mut written = Vec::new();
        put_integer(&mut written, &[0, 0, 0x7f]);
        put_integer(&mut written, &[0x80, 1]);
        put_integer(&mut written, &[0]);
        assert_eq!(
            written,
            [0, 0, 0, 1, 0x7f, 0, 0, 0, 3, 0, 0x80, 1, 0, 0, 0, 0]
        );
    }

    #[test]
    fn a_frame_comes_back_and_one_without_end_is_refused() {
        let mut stream = Vec::new();
        write_frame(&mut stream, b"hello").unwrap();
        let mut stream = stream.as_slice();
        assert_eq!(read_frame(&mut stream).unwrap().unwrap(), b"hello");
        assert!(read_frame(&mut stream).unwrap().is_none());
        for wrong in [[0xff, 0xff, 0xff, 0xff], [0, 0, 0, 0], [0, 0, 0, 9]] {
            assert!(read_frame(&mut wrong.as_slice()).is_err());
        }
    }
}
