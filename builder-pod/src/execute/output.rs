//! What a `RUN` prints: read from its pipes, shown as progress, its last lines kept for the failure.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::progress::Vertex;
use crate::secrets::Mask;

/// Lines of the tail.
const TAIL_LINES: usize = 20;
/// Longest line of the tail, in characters.
const TAIL_WIDTH: usize = 400;
/// Longest line that is read as one, in bytes; what a step prints is unbounded.
const LINE_LIMIT: u64 = 64 * 1024;

/// The reading ends of a step's standard output and error.
pub(super) struct Output {
    readers: Vec<JoinHandle<()>>,
    tail: Arc<Mutex<VecDeque<String>>>,
}

impl Output {
    /// Opens two pipes; gives their writing ends for the step. What the mask hides is neither shown nor kept.
    pub(super) fn open(vertex: &Vertex, mask: &Mask) -> std::io::Result<(Self, [OwnedFd; 2])> {
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        let flags = rustix::pipe::PipeFlags::CLOEXEC;
        let (out_reader, out) = rustix::pipe::pipe_with(flags)?;
        let (err_reader, err) = rustix::pipe::pipe_with(flags)?;
        let readers = [out_reader, err_reader].map(|reader| {
            let (vertex, tail, mask) = (vertex.clone(), Arc::clone(&tail), mask.clone());
            std::thread::spawn(move || read_lines(File::from(reader), &vertex, &mask, &tail))
        });
        Ok((
            Self {
                readers: readers.into(),
                tail,
            },
            [out, err],
        ))
    }

    /// Waits until both ends are closed (every process of the step is dead) and gives the last lines.
    pub(super) fn finish(self) -> Vec<String> {
        for reader in self.readers {
            // A reader that panicked has lost lines, not the build.
            let _ = reader.join();
        }
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *tail).into()
    }
}

fn read_lines(reader: impl Read, vertex: &Vertex, mask: &Mask, tail: &Mutex<VecDeque<String>>) {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader
            .by_ref()
            .take(LINE_LIMIT)
            .read_until(b'\n', &mut line)
        {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let text = mask.apply(last_overwrite(text.trim_end_matches(['\n', '\r'])));
        vertex.output(&text);
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.len() == TAIL_LINES {
            tail.pop_front();
        }
        tail.push_back(
            text.chars()
                .filter(|c| !c.is_control())
                .take(TAIL_WIDTH)
                .collect(),
        );
    }
}

/// Progress bars write one line many times over, separated by carriage returns: only the last state counts.
fn last_overwrite(line: &str) -> &str {
    line.rsplit('\r').next().unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Progress;

    #[test]
    fn the_tail_keeps_the_last_lines_and_forgets_overwritten_ones() {
        let vertex = Progress::new(Box::new(std::io::sink())).internal("x");
        let mut text: String = (0..30).map(|n| format!("line {n}\n")).collect();
        text.push_str("10%\r50%\r100%\r\nno newline at the end");
        let tail = Mutex::new(VecDeque::new());
        read_lines(
            text.as_bytes(),
            &vertex,
            &Mask::new([b"line 29".as_slice()]),
            &tail,
        );
        let tail = tail.into_inner().unwrap();
        assert_eq!(tail.len(), TAIL_LINES);
        assert_eq!(tail[TAIL_LINES - 3], "***");
        assert_eq!(tail[TAIL_LINES - 2], "100%");
        assert_eq!(tail[TAIL_LINES - 1], "no newline at the end");
    }
}
