//! The C library's allocator: mallopt(3).

/// Makes the allocator give memory back early, and keep little for itself. To be called before there are threads.
///
/// By default every thread gets a heap of its own that never shrinks below its peak, and buffers up to 32 MiB
/// move into these heaps once one was freed. An engine with many short-lived threads and large buffers then holds
/// twice what it uses.
pub fn keep_memory_low() {
    #[cfg(target_env = "gnu")]
    {
        /// Heaps for all threads together. They wait for each other rarely: few allocations are on a hot path.
        const HEAPS: libc::c_int = 2;
        /// Bytes from which a buffer is mapped by itself, and goes back to the system when it is freed.
        const MAPPED_FROM: libc::c_int = 192 * 1024;
        /// Bytes at the end of the heap from which they go back to the system.
        const TRIMMED_FROM: libc::c_int = 256 * 1024;
        for (option, value) in [
            (libc::M_ARENA_MAX, HEAPS),
            (libc::M_MMAP_THRESHOLD, MAPPED_FROM),
            (libc::M_TRIM_THRESHOLD, TRIMMED_FROM),
        ] {
            // SAFETY: mallopt takes two numbers and touches only the allocator's own settings, under its lock.
            // A value that it refuses leaves the default.
            unsafe { libc::mallopt(option, value) };
        }
    }
}
