//! Compresses layers: gzip of one member, block by block on several threads.
//!
//! The stream is cut into blocks of a fixed size. Each is deflated on its own, with the 32 KiB before it as
//! dictionary, and ends at a byte boundary, so that the blocks joined are one deflate stream.
//! Invariant: the bytes depend on the input alone, not on the number of threads or their luck.
//! Invariant: memory holds a few blocks per thread, whatever the length of the stream.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use stagecraft_image::{Digest, DigestHasher};

/// Input bytes of a block. Changing it changes the digests of all images.
const BLOCK: usize = 512 * 1024;
/// Deflate's window: what a block may refer back to.
const WINDOW: usize = 32 * 1024;
/// A third of the time of level 6 for layers that are a thirtieth larger.
const LEVEL: u32 = 3;
/// Blocks that wait on either side of a thread.
const QUEUE: usize = 1;

/// What compressing gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompressedLayer {
    /// Digest of what went in.
    pub diff_id: Digest,
    /// Digest of what came out.
    pub digest: Digest,
    /// Bytes that came out.
    pub size: u64,
    /// Bytes that went in.
    pub uncompressed_size: u64,
}

/// Why a layer cannot be compressed.
#[derive(Debug, thiserror::Error)]
pub enum CompressError {
    /// The archive could not be read.
    #[error("cannot read the archive to compress at byte {offset}")]
    Read {
        /// How far.
        offset: u64,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The compressed archive could not be written.
    #[error("cannot write the compressed archive")]
    Write(#[source] std::io::Error),
    /// The compressor refused its input.
    #[error("cannot deflate the block at byte {offset}")]
    Deflate {
        /// Where the block begins.
        offset: u64,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

/// One block on its way to a compressor.
struct Block {
    offset: u64,
    data: Arc<Vec<u8>>,
    before: Option<Arc<Vec<u8>>>,
    last: bool,
}

type Deflated = Result<Vec<u8>, CompressError>;

/// What the reading side knows at the end.
struct Input {
    diff_id: Digest,
    crc: u32,
    size: u64,
}

/// Compresses `reader` to `writer` with gzip, in one pass, on `threads` threads beside the reading one.
///
/// # Errors
/// When `reader` or `writer` fails.
pub fn compress<R: Read + Send, W: Write>(
    reader: R,
    writer: W,
    threads: usize,
) -> Result<CompressedLayer, CompressError> {
    let threads = threads.clamp(1, 64);
    std::thread::scope(|scope| {
        let mut to_workers = Vec::new();
        let mut from_workers = Vec::new();
        for _ in 0..threads {
            let (block_sender, block_receiver) = sync_channel::<Block>(QUEUE);
            let (deflated_sender, deflated_receiver) = sync_channel::<Deflated>(QUEUE);
            to_workers.push(block_sender);
            from_workers.push(deflated_receiver);
            scope.spawn(move || work(&block_receiver, &deflated_sender));
        }
        let reading = scope.spawn(move || feed(reader, &to_workers));
        // The receivers go at the end of this call, also on an error: then every sender stops.
        let written = collect(writer, from_workers);
        let input = match reading.join() {
            Ok(input) => input?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        written?.finish(input)
    })
}

/// Reads blocks and deals them out in turn.
fn feed<R: Read>(mut reader: R, workers: &[SyncSender<Block>]) -> Result<Input, CompressError> {
    let (mut hasher, mut crc) = (DigestHasher::new(), Crc::new());
    let mut offset = 0;
    let mut before: Option<Arc<Vec<u8>>> = None;
    let mut next = read_block(&mut reader, offset)?;
    for worker in workers.iter().cycle() {
        let data = Arc::new(next);
        hasher.update(&data);
        crc.update(&data);
        let start = offset;
        offset += data.len() as u64;
        next = if data.len() < BLOCK {
            Vec::new()
        } else {
            read_block(&mut reader, offset)?
        };
        let last = next.is_empty();
        let block = Block {
            offset: start,
            data: Arc::clone(&data),
            before,
            last,
        };
        if worker.send(block).is_err() || last {
            break;
        }
        before = Some(data);
    }
    Ok(Input {
        diff_id: hasher.finish(),
        crc: crc.sum(),
        size: offset,
    })
}

/// A whole block; shorter only at the end.
fn read_block<R: Read>(reader: &mut R, offset: u64) -> Result<Vec<u8>, CompressError> {
    let mut data = Vec::with_capacity(BLOCK);
    let read = reader.by_ref().take(BLOCK as u64).read_to_end(&mut data);
    read.map_err(|source| CompressError::Read { offset, source })?;
    Ok(data)
}

fn work(blocks: &Receiver<Block>, deflated: &SyncSender<Deflated>) {
    for block in blocks {
        let result = deflate(&block).map_err(|source| CompressError::Deflate {
            offset: block.offset,
            source,
        });
        if deflated.send(result).is_err() {
            break;
        }
    }
}

fn deflate(block: &Block) -> std::io::Result<Vec<u8>> {
    let mut compressor = Compress::new(Compression::new(LEVEL), false);
    if let Some(before) = &block.before {
        compressor.set_dictionary(&before[before.len().saturating_sub(WINDOW)..])?;
    }
    let flush = if block.last {
        FlushCompress::Finish
    } else {
        FlushCompress::Sync
    };
    let mut out = Vec::with_capacity(block.data.len() / 2 + 1024);
    loop {
        #[allow(clippy::cast_possible_truncation, reason = "at most a block")]
        let consumed = compressor.total_in() as usize;
        let status = compressor.compress_vec(&block.data[consumed..], &mut out, flush)?;
        let all_in = compressor.total_in() == block.data.len() as u64;
        // Room that is left over means that the flush is complete.
        if status == Status::StreamEnd || (all_in && !block.last && out.len() < out.capacity()) {
            return Ok(out);
        }
        out.reserve(BLOCK / 8);
    }
}

/// Takes the blocks in the order in which they were dealt out, and writes them.
fn collect<W: Write>(
    writer: W,
    workers: Vec<Receiver<Deflated>>,
) -> Result<Output<W>, CompressError> {
    let mut output = Output {
        writer,
        hasher: DigestHasher::new(),
        size: 0,
    };
    // Deflated, no flags, no time, no hint about the effort, no known system.
    output.write(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff])?;
    // A worker without a block for this turn ends: nothing comes after that.
    for worker in workers.iter().cycle() {
        let Ok(deflated) = worker.recv() else { break };
        output.write(&deflated?)?;
    }
    Ok(output)
}

struct Output<W> {
    writer: W,
    hasher: DigestHasher,
    size: u64,
}

impl<W: Write> Output<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), CompressError> {
        self.writer.write_all(bytes).map_err(CompressError::Write)?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    fn finish(mut self, input: Input) -> Result<CompressedLayer, CompressError> {
        self.write(&input.crc.to_le_bytes())?;
        #[allow(
            clippy::cast_possible_truncation,
            reason = "gzip keeps the length modulo 2^32"
        )]
        self.write(&(input.size as u32).to_le_bytes())?;
        self.writer.flush().map_err(CompressError::Write)?;
        Ok(CompressedLayer {
            diff_id: input.diff_id,
            digest: self.hasher.finish(),
            size: self.size,
            uncompressed_size: input.size,
        })
    }
}

#[cfg(test)]
mod tests;
