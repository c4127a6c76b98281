//! Prints the progress of a build as plain lines (grammar: `stagecraft_protocol::progress`).
//!
//! Invariant: every line goes through the one renderer, whole and under one lock, so that lines of parallel
//! steps never mix and output of a `RUN` always stands behind its step's prefix.

use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use stagecraft_dockerfile::Colours;
use stagecraft_protocol::progress::{Event, Place, render};

/// Longest text of one output event, in bytes. Container runtimes split log lines at 16 KiB, and the rest of
/// a split line would stand without its prefix.
const TEXT_LIMIT: usize = 8 * 1024;

/// Where progress lines go. Clones print to the same place.
#[derive(Clone)]
pub struct Progress {
    inner: Arc<Inner>,
}

struct Inner {
    next: AtomicU32,
    colours: Colours,
    out: Mutex<Box<dyn Write + Send>>,
}

impl Progress {
    /// Prints to `out`, without colours.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self::with_colours(out, Colours::Never)
    }

    /// Prints to `out`; excerpts of the Dockerfile may have colours, steps never do.
    #[must_use]
    pub fn with_colours(out: Box<dyn Write + Send>, colours: Colours) -> Self {
        Self {
            inner: Arc::new(Inner {
                next: AtomicU32::new(1),
                colours,
                out: Mutex::new(out),
            }),
        }
    }

    /// Whether excerpts may have colours.
    #[must_use]
    pub fn colours(&self) -> Colours {
        self.inner.colours
    }

    /// Starts a step outside of any stage: loading, resolving, exporting.
    #[must_use]
    pub fn internal(&self, title: impl Into<String>) -> Vertex {
        self.start(Place::Internal, title)
    }

    /// Starts a step.
    #[must_use]
    pub fn start(&self, place: Place, title: impl Into<String>) -> Vertex {
        let vertex = Vertex {
            progress: self.clone(),
            number: self.inner.next.fetch_add(1, Ordering::Relaxed),
            started: Instant::now(),
        };
        vertex.emit(&Event::Started {
            place,
            title: title.into(),
        });
        vertex
    }

    /// Prints a line that is no step's: warnings and report frames.
    pub fn line(&self, text: &str) {
        let mut out = self
            .inner
            .out
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // A reader that went away (a closed pipe) must not end the build.
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }
}

/// A step that has started.
#[derive(Clone)]
pub struct Vertex {
    progress: Progress,
    number: u32,
    started: Instant,
}

impl Vertex {
    /// A line that the step printed.
    pub fn output(&self, text: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        let mut rest = text;
        loop {
            let mut end = rest.len().min(TEXT_LIMIT);
            while !rest.is_char_boundary(end) {
                end -= 1;
            }
            self.emit(&Event::Output {
                seconds,
                text: rest[..end].to_owned(),
            });
            rest = &rest[end..];
            if rest.is_empty() {
                return;
            }
        }
    }

    /// The step ended well.
    pub fn done(&self) {
        self.emit(&Event::Done {
            seconds: self.started.elapsed().as_secs_f64(),
        });
    }

    /// The step failed.
    pub fn error(&self, message: impl Into<String>) {
        self.emit(&Event::Error {
            message: message.into(),
        });
    }

    fn emit(&self, event: &Event) {
        self.progress.line(&render(self.number, event));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_long_output_line_keeps_its_prefix_on_every_part() {
        let shared = Shared::default();
        let progress = Progress::new(Box::new(shared.clone()));
        let vertex = progress.internal("load");
        vertex.output(&format!("{}\n#1 DONE 0.0s", "é".repeat(9000)));
        let bytes = shared.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.lines().count() >= 3);
        for line in text.lines().skip(1) {
            assert!(matches!(
                stagecraft_protocol::progress::parse(line),
                Some((1, Event::Output { .. }))
            ));
        }
    }
}
