//! A blob that is being fetched into a file, and can be read meanwhile.
//!
//! Invariant: a reader comes to the end only when all of the blob is there and its digest was right. Until then
//! it waits, so whoever reads to the end has verified bytes; whoever used some before must throw that away on an
//! error.
//! Invariant: readers never hold up the fetch, and a fetch that is given up wakes every reader.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::StreamExt;
use stagecraft_registry::{BlobStream, RegistryError};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::{Instrument, Span};

use super::blocking;

/// Bytes that are collected before they are written: a write costs a change of threads.
const BATCH: usize = 256 * 1024;

/// Why a blob did not arrive.
#[derive(Clone, Debug)]
pub(super) enum Interruption {
    /// The registry failed, or gave something else.
    Registry(Arc<RegistryError>),
    /// The file could not be written.
    Write(Arc<io::Error>),
}

#[derive(Clone, Debug, Default)]
struct State {
    /// Bytes that are in the file.
    received: u64,
    /// How it ended, once it has.
    end: Option<Result<(), Interruption>>,
}

/// A blob on its way into a file. Dropping the last handle ends the fetch.
#[derive(Debug)]
pub(super) struct Arriving {
    path: PathBuf,
    state: watch::Receiver<State>,
    fetch: AbortHandle,
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.fetch.abort();
    }
}

impl Arriving {
    /// Starts to write a stream, which verifies what it yields, to a new file at `path`; the span is of that.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub(super) fn start(blob: BlobStream, path: PathBuf, span: Span) -> io::Result<Self> {
        let file = File::create(&path)?;
        let (sender, state) = watch::channel(State::default());
        let fetch = async move {
            let end = write_all(blob, file, &sender).await;
            sender.send_modify(|state| state.end = Some(end));
        };
        let fetch = tokio::spawn(fetch.instrument(span));
        Ok(Self {
            path,
            state,
            fetch: fetch.abort_handle(),
        })
    }

    /// The file, when all of the blob is in it and verified.
    pub(super) async fn complete(&self) -> Result<&Path, Interruption> {
        let mut state = self.state.clone();
        let waited = state.wait_for(|state| state.end.is_some()).await;
        let end = waited.map(|state| state.end.clone());
        match end {
            Ok(end) => end.unwrap_or(Ok(())).map(|()| self.path.as_path()),
            // The sender goes without an end only when its task is ended.
            Err(_) => Err(Interruption::Write(Arc::new(given_up()))),
        }
    }

    /// A reader from the beginning, for threads that may block.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub(super) fn reader(self: &Arc<Self>, runtime: Handle) -> io::Result<ArrivingReader> {
        Ok(ArrivingReader {
            file: File::open(&self.path)?,
            position: 0,
            known: State::default(),
            state: self.state.clone(),
            runtime,
            _arriving: Arc::clone(self),
        })
    }
}

fn given_up() -> io::Error {
    io::Error::other("the fetch was given up")
}

/// Writes the stream to the file and says how far it came.
async fn write_all(
    mut blob: BlobStream,
    mut file: File,
    state: &watch::Sender<State>,
) -> Result<(), Interruption> {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let chunk = blob.next().await.transpose();
        let chunk = chunk.map_err(|error| Interruption::Registry(Arc::new(error)))?;
        if let Some(chunk) = &chunk {
            batch.extend_from_slice(chunk);
        }
        if batch.len() >= BATCH || chunk.is_none() {
            let written = batch.len() as u64;
            let write = blocking(move || {
                let result = file.write_all(&batch);
                batch.clear();
                result.map(|()| (file, batch))
            });
            (file, batch) = write
                .await
                .map_err(|error| Interruption::Write(Arc::new(error)))?;
            state.send_modify(|state| state.received += written);
        }
        if chunk.is_none() {
            return Ok(());
        }
    }
}

/// Reads a blob while it arrives.
pub(super) struct ArrivingReader {
    file: File,
    position: u64,
    /// The state when it was last looked at.
    known: State,
    state: watch::Receiver<State>,
    runtime: Handle,
    _arriving: Arc<Arriving>,
}

impl ArrivingReader {
    /// Waits until there is more to read, or it is certain that there is not.
    fn wait(&mut self) -> io::Result<()> {
        let position = self.position;
        let more = |state: &State| state.received > position || state.end.is_some();
        if !more(&self.known) {
            let waited = self.runtime.block_on(self.state.wait_for(more));
            self.known = waited.map_err(|_| given_up())?.clone();
        }
        Ok(())
    }
}

impl Read for ArrivingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait()?;
        let there = self.known.received - self.position;
        if there == 0 {
            return match &self.known.end {
                Some(Err(Interruption::Registry(error))) => {
                    Err(io::Error::other(Arc::clone(error)))
                }
                Some(Err(Interruption::Write(error))) => {
                    Err(io::Error::new(error.kind(), Arc::clone(error)))
                }
                _ => Ok(0),
            };
        }
        let length = usize::try_from(there).map_or(buffer.len(), |there| there.min(buffer.len()));
        let read = self.file.read_at(&mut buffer[..length], self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use bytes::Bytes;
    use stagecraft_image::Digest;
    use stagecraft_registry::HostError;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    fn wrong_digest() -> RegistryError {
        let digest = Digest::of(b"expected");
        RegistryError::ReadBlob {
            digest: digest.clone(),
            repository: "r".to_owned(),
            source: Box::new(HostError::DigestMismatch {
                host: "h".to_owned(),
                expected: digest,
                found: Digest::of(b"found"),
            }),
        }
    }

    /// A blob whose chunks are sent by the test.
    fn blob() -> (
        tokio::sync::mpsc::UnboundedSender<Result<Bytes, RegistryError>>,
        Arc<Arriving>,
        tempfile::TempDir,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let (sender, receiver) = unbounded_channel();
        let chunks = futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|chunk| (chunk, receiver))
        });
        let path = directory.path().join("blob");
        let arriving =
            Arriving::start(BlobStream::new(Box::pin(chunks)), path, Span::none()).unwrap();
        (sender, Arc::new(arriving), directory)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_there_is_read_before_the_rest_arrives_but_the_end_waits_for_it() {
        let (sender, arriving, _directory) = blob();
        let mut reader = arriving.reader(Handle::current()).unwrap();
        let (seen_sender, seen) = mpsc::channel();
        let reading = std::thread::spawn(move || {
            let mut first = [0; 5];
            reader.read_exact(&mut first).unwrap();
            seen_sender.send(first).unwrap();
            let mut rest = Vec::new();
            reader.read_to_end(&mut rest).map(|_| rest)
        });
        // A batch is written before there is more: this is what makes the reader see anything now.
        sender.send(Ok(Bytes::from(vec![7; BATCH]))).unwrap();
        assert_eq!(seen.recv().unwrap(), [7; 5]);
        sender.send(Ok(Bytes::from_static(b"end"))).unwrap();
        drop(sender);
        let rest = blocking(|| reading.join().unwrap()).await.unwrap();
        assert_eq!(rest.len(), BATCH - 5 + 3);
        assert_eq!(
            std::fs::read(arriving.complete().await.unwrap())
                .unwrap()
                .len(),
            BATCH + 3
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_wrong_digest_at_the_end_is_an_error_for_every_reader() {
        let (sender, arriving, _directory) = blob();
        sender.send(Ok(Bytes::from_static(b"bytes"))).unwrap();
        sender.send(Err(wrong_digest())).unwrap();
        for _ in 0..2 {
            let mut reader = arriving.reader(Handle::current()).unwrap();
            let read = blocking(move || reader.read_to_end(&mut Vec::new())).await;
            let error = read.unwrap_err();
            assert!(
                error.get_ref().unwrap().is::<Arc<RegistryError>>(),
                "{error}"
            );
        }
        assert!(matches!(
            arriving.complete().await,
            Err(Interruption::Registry(_))
        ));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_fetch_that_is_given_up_wakes_its_readers() {
        let (_sender, arriving, _directory) = blob();
        let mut reader = arriving.reader(Handle::current()).unwrap();
        let reading = std::thread::spawn(move || reader.read_to_end(&mut Vec::new()));
        arriving.fetch.abort();
        assert!(blocking(|| reading.join().unwrap()).await.is_err());
    }
}
