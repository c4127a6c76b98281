//! Frames with descriptors over a unix stream socket (`stagecraft_protocol::runner` has the messages).

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::{Serialize, de::DeserializeOwned};
use stagecraft_protocol::runner::FRAME_LIMIT;

/// Most descriptors beside one frame.
const DESCRIPTOR_LIMIT: usize = 2;

/// Why a message could not be sent or received.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The other side closed the connection.
    #[error("the other side closed the connection")]
    Closed,
    /// A call on the socket failed.
    #[error("cannot use the socket")]
    Socket(#[source] rustix::io::Errno),
    /// A frame is larger than is allowed.
    #[error("a frame of {0} bytes is too large")]
    TooLarge(usize),
    /// A frame is no message.
    #[error("a frame is not a message")]
    Malformed(#[source] serde_json::Error),
}

/// One side of a connection between engine and runner.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
}

impl Channel {
    /// A channel over a connected stream socket.
    #[must_use]
    pub const fn new(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// Sends a message with descriptors.
    ///
    /// # Errors
    /// When the connection is gone or the message too large.
    pub fn send<M: Serialize>(
        &self,
        message: &M,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), ChannelError> {
        let json = serde_json::to_vec(message).map_err(ChannelError::Malformed)?;
        let length = u32::try_from(json.len()).unwrap_or(u32::MAX);
        if length > FRAME_LIMIT {
            return Err(ChannelError::TooLarge(json.len()));
        }
        let mut frame = length.to_le_bytes().to_vec();
        frame.extend_from_slice(&json);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        let mut sent = 0;
        while sent < frame.len() {
            let part = [IoSlice::new(&frame[sent..])];
            match rustix::net::sendmsg(&self.socket, &part, &mut ancillary, SendFlags::NOSIGNAL) {
                Ok(count) => {
                    sent += count;
                    ancillary.clear();
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => {
                    return Err(ChannelError::Closed);
                }
                Err(error) => return Err(ChannelError::Socket(error)),
            }
        }
        Ok(())
    }

    /// Waits for a message and its descriptors.
    ///
    /// # Errors
    /// When the connection ends or a frame is no message.
    pub fn receive<M: DeserializeOwned>(&self) -> Result<(M, Vec<OwnedFd>), ChannelError> {
        let mut descriptors = Vec::new();
        let mut head = [0; 4];
        self.fill(&mut head, &mut descriptors)?;
        let length = u32::from_le_bytes(head);
        if length > FRAME_LIMIT {
            return Err(ChannelError::TooLarge(length as usize));
        }
        let mut json = vec![0; length as usize];
        self.fill(&mut json, &mut descriptors)?;
        let message = serde_json::from_slice(&json).map_err(ChannelError::Malformed)?;
        Ok((message, descriptors))
    }

    fn fill(&self, buffer: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> Result<(), ChannelError> {
        let mut filled = 0;
        while filled < buffer.len() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let part = &mut [IoSliceMut::new(&mut buffer[filled..])];
            let flags = RecvFlags::CMSG_CLOEXEC;
            let received = match rustix::net::recvmsg(&self.socket, part, &mut ancillary, flags) {
                Ok(received) => received.bytes,
                Err(rustix::io::Errno::INTR) => continue,
                Err(rustix::io::Errno::CONNRESET) => return Err(ChannelError::Closed),
                Err(error) => return Err(ChannelError::Socket(error)),
            };
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(rights) = message {
                    descriptors.extend(rights.take(DESCRIPTOR_LIMIT));
                }
            }
            if received == 0 {
                return Err(ChannelError::Closed);
            }
            filled += received;
        }
        Ok(())
    }

    /// The socket, for waiting on it.
    #[must_use]
    pub fn as_descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// A second descriptor of the socket, for shutting the connection down from elsewhere.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn try_clone_socket(&self) -> std::io::Result<OwnedFd> {
        self.socket.try_clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stagecraft_protocol::runner::EngineMessage;

    #[test]
    fn messages_arrive_whole_with_their_descriptors() {
        let (left, right) = std::os::unix::net::UnixStream::pair().unwrap();
        let (left, right) = (Channel::new(left.into()), Channel::new(right.into()));
        let file = std::fs::File::open("/dev/null").unwrap();
        left.send(&EngineMessage::Kill, &[]).unwrap();
        left.send(&EngineMessage::Empty, &[file.as_fd(), file.as_fd()])
            .unwrap();
        drop(left);
        let (first, none) = right.receive::<EngineMessage>().unwrap();
        assert_eq!((first, none.len()), (EngineMessage::Kill, 0));
        let (second, two) = right.receive::<EngineMessage>().unwrap();
        assert_eq!((second, two.len()), (EngineMessage::Empty, 2));
        assert!(matches!(
            right.receive::<EngineMessage>(),
            Err(ChannelError::Closed)
        ));
    }
}
