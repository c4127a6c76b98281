//! The time line of a build in Chrome's trace event format: what was done when, and what waited for what.
//!
//! Whoever does something says so with a span of [`work`], whoever waits with one of [`wait`]; a [`Timeline`] that
//! listens writes both as complete events ("Trace Event Format", `ph: X`), one row a lane. Nobody listens unless the
//! command line asks for it, and a span costs next to nothing then.
//!
//! Invariant: events are written as they end, so that memory does not grow with the build.
//! It must not know what a build does.

use std::collections::HashMap;
use std::fmt::{self, Display, Write as _};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Metadata, Span, Subscriber, info_span};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// Marks the spans that belong to the time line.
const TARGET: &str = "stagecraft::timeline";

/// Something that is done in a lane: a stage, a layer, the registry.
pub(crate) fn work(lane: impl Display, what: impl Display) -> Span {
    info_span!(target: TARGET, "work", lane = %lane, what = %what)
}

/// Something that is waited for in a lane.
pub(crate) fn wait(lane: impl Display, what: impl Display) -> Span {
    info_span!(target: TARGET, "wait", lane = %lane, what = %what)
}

/// Listens to the spans of a build and writes them. Clones write to the same place.
#[derive(Clone)]
pub struct Timeline {
    started: Instant,
    out: Arc<Mutex<Out>>,
}

struct Out {
    writer: Box<dyn Write + Send>,
    lanes: HashMap<String, usize>,
    has_events: bool,
    /// The first thing that went wrong.
    error: Option<io::Error>,
}

/// What is kept of a span until it ends.
#[derive(Default)]
struct Open {
    lane: String,
    what: String,
    began: Duration,
}

impl Timeline {
    /// A time line that begins now.
    ///
    /// # Errors
    /// When nothing can be written.
    pub fn begin(mut writer: Box<dyn Write + Send>) -> io::Result<Self> {
        writer.write_all(b"[")?;
        Ok(Self {
            started: Instant::now(),
            out: Arc::new(Mutex::new(Out {
                writer,
                lanes: HashMap::new(),
                has_events: false,
                error: None,
            })),
        })
    }

    /// Ends it. What ends later is not in it.
    ///
    /// # Errors
    /// The first thing that went wrong while it was written.
    pub fn end(&self) -> io::Result<()> {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = out.error.take() {
            return Err(error);
        }
        out.writer.write_all(b"\n]\n")?;
        out.writer.flush()?;
        out.writer = Box::new(io::sink());
        Ok(())
    }
}

impl Out {
    fn event(&mut self, event: &Value) {
        let separator = if self.has_events { ",\n" } else { "\n" };
        self.has_events = true;
        let written = write!(self.writer, "{separator}{event}");
        if let (Err(error), None) = (written, &self.error) {
            self.error = Some(error);
        }
    }

    /// The row of a lane; a new one gets its name first.
    fn row(&mut self, lane: &str) -> usize {
        if let Some(row) = self.lanes.get(lane) {
            return *row;
        }
        let row = self.lanes.len() + 1;
        self.lanes.insert(lane.to_owned(), row);
        for (name, argument) in [
            ("thread_name", json!({"name": lane})),
            ("thread_sort_index", json!({"sort_index": row})),
        ] {
            self.event(&json!({"ph": "M", "pid": 1, "tid": row, "name": name, "args": argument}));
        }
        row
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Timeline {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target() == TARGET
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut open = Open {
            began: self.started.elapsed(),
            ..Open::default()
        };
        attributes.record(&mut open);
        span.extensions_mut().insert(open);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else {
            return;
        };
        let extensions = span.extensions();
        let Some(open) = extensions.get::<Open>() else {
            return;
        };
        let took = self.started.elapsed().saturating_sub(open.began);
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let row = out.row(&open.lane);
        out.event(&json!({
            "ph": "X",
            "pid": 1,
            "tid": row,
            "cat": span.metadata().name(),
            "name": open.what,
            "ts": microseconds(open.began),
            "dur": microseconds(took),
        }));
    }
}

impl Visit for Open {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = match field.name() {
            "lane" => &mut self.lane,
            "what" => &mut self.what,
            _ => return,
        };
        // Writing to a text cannot fail.
        let _ = write!(text, "{value:?}");
    }
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn spans_become_complete_events_in_the_row_of_their_lane() {
        let shared = Shared::default();
        let timeline = Timeline::begin(Box::new(shared.clone())).unwrap();
        let subscriber = tracing_subscriber::registry().with(timeline.clone());
        tracing::subscriber::with_default(subscriber, || {
            let outer = work("app", "RUN \"x\"\n");
            let inner = wait("app", "a runner");
            tracing::info!("what is no span of the time line is not in it");
            drop(inner);
            drop(outer);
            drop(work("layer 1", "fetch"));
        });
        timeline.end().unwrap();
        drop(work("nobody", "listens"));
        let text = String::from_utf8(shared.0.lock().unwrap().clone()).unwrap();
        let events: Vec<Value> = serde_json::from_str(&text).unwrap();
        let told = |event: &Value| {
            let text = |member: &str| event[member].as_str().unwrap_or_default().to_owned();
            (text("ph"), text("cat"), text("name"), event["tid"].as_u64())
        };
        let complete: Vec<_> = events.iter().map(told).filter(|one| one.0 == "X").collect();
        let expected = [
            ("wait", "a runner", 1),
            ("work", "RUN \"x\"\n", 1),
            ("work", "fetch", 2),
        ];
        let expected = expected.map(|(category, name, row)| {
            (
                "X".to_owned(),
                category.to_owned(),
                name.to_owned(),
                Some(row),
            )
        });
        assert_eq!(complete, expected);
        assert_eq!(events[0]["args"]["name"], "app");
        let duration = |name: &str| {
            let found = events.iter().find(|event| event["name"] == name).unwrap();
            (
                found["ts"].as_u64().unwrap(),
                found["dur"].as_u64().unwrap(),
            )
        };
        let (outer, inner) = (duration("RUN \"x\"\n"), duration("a runner"));
        assert!(outer.0 <= inner.0 && inner.0 + inner.1 <= outer.0 + outer.1 + 1);
    }
}
