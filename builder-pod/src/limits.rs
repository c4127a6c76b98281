//! How much of the machine the engine uses at a time.
//!
//! Invariant: memory does not grow with the number of processors beyond what is said here.

/// Most threads that one piece of work is divided among. Each compressing thread holds some 2 MB of blocks, each
/// unpacking one half a megabyte of buffers; more of them wait for the disk and the network anyhow.
const MOST_THREADS: usize = 4;

/// Threads to divide a piece of work among: the processors that this process may use, up to [`MOST_THREADS`].
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism()
        .map_or(1, std::num::NonZero::get)
        .min(MOST_THREADS)
}
