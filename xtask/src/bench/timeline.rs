//! Draws the time line of a build from the engine's own trace (`stagecraft-builder build --trace-file`): who did what
//! when, and who waited for what.
//!
//! Invariant: the picture shows what the trace says and nothing else.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::image::{self, Shape};
use super::memory::{busybox, release_builder};
use super::registry::Registry;

/// Two stages that begin with one, and a third that needs both.
const DIAMOND: &str = r#"FROM IMAGE AS base
RUN ["busybox", "sh", "-c", "busybox dd if=/dev/urandom of=/common bs=1M count=8 2>&1"]
FROM base AS left
RUN ["busybox", "sh", "-c", "busybox sleep 0.3; busybox cp /common /left"]
FROM base AS right
RUN ["busybox", "sh", "-c", "busybox sleep 0.6; busybox sha256sum /common > /right"]
FROM base AS together
COPY --from=left /left /
COPY --from=right /right /
RUN ["busybox", "sha256sum", "/left", "/right"]
"#;

/// Where lanes begin, and how far they go, in pixels.
const LEFT: f64 = 190.0;
const WIDTH: f64 = 900.0;
const ROW: f64 = 18.0;
/// Width of a character of the font, at least.
const CHARACTER: f64 = 6.2;

/// An event of the trace, complete or about a lane.
#[derive(Debug, Deserialize)]
struct Event {
    ph: String,
    tid: u64,
    name: String,
    #[serde(default)]
    cat: String,
    #[serde(default)]
    ts: f64,
    #[serde(default)]
    dur: f64,
    #[serde(default)]
    args: Arguments,
}

#[derive(Debug, Default, Deserialize)]
struct Arguments {
    #[serde(default)]
    name: String,
}

/// Builds a diamond of stages on this machine and draws its time line.
pub(super) fn run(to: &Path, builder: Option<&Path>) -> anyhow::Result<()> {
    let builder = match builder {
        Some(builder) => builder.to_owned(),
        None => release_builder()?,
    };
    let directory = tempfile::tempdir_in("/var/tmp").context("cannot make a directory")?;
    let layout = directory.path().join("layout");
    let shape = Shape {
        bytes: 100_000_000,
        files: 4_000,
    };
    image::write(&layout, shape, &busybox()?)?;
    let registry = Registry::serve(&layout)?;
    let context = directory.path().join("context");
    std::fs::create_dir(&context).context("cannot make a context")?;
    let base = format!("{}/base/image:latest", registry.address);
    std::fs::write(context.join("Dockerfile"), DIAMOND.replace("IMAGE", &base))
        .context("cannot write a Dockerfile")?;
    let trace = directory.path().join("trace.json");
    let status = Command::new(&builder)
        .args(["build", "--push", "--parallel-stages", "2", "--trace-file"])
        .arg(&trace)
        .args(["--insecure-registry", &registry.address])
        .args(["--tag", &format!("{}/result:latest", registry.address)])
        .arg(&context)
        .env("TMPDIR", "/var/tmp")
        .env_remove("SOURCE_DATE_EPOCH")
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot start {}", builder.display()))?;
    ensure!(status.success(), "the build failed");
    let trace = std::fs::read_to_string(&trace).context("there is no trace")?;
    let events: Vec<Event> = serde_json::from_str(&trace).context("the trace is not JSON")?;
    std::fs::write(to, draw(&events)).with_context(|| format!("cannot write {}", to.display()))?;
    println!("{}", to.display());
    Ok(())
}

/// The picture, as SVG.
fn draw(events: &[Event]) -> String {
    let end = events
        .iter()
        .map(|event| event.ts + event.dur)
        .fold(1.0, f64::max);
    let scale = WIDTH / end;
    let lanes: Vec<&Event> = events.iter().filter(|e| e.name == "thread_name").collect();
    let (mut body, mut top) = (String::new(), ROW * 1.5);
    for lane in lanes {
        let mut own: Vec<&Event> = events
            .iter()
            .filter(|event| event.ph == "X" && event.tid == lane.tid)
            .collect();
        // What holds another comes before it.
        own.sort_by(|a, b| a.ts.total_cmp(&b.ts).then(b.dur.total_cmp(&a.dur)));
        let middle = top + ROW * 0.7;
        let name = escaped(&lane.args.name);
        _ = writeln!(body, r#"<text x="8" y="{middle:.1}">{name}</text>"#);
        let mut open: Vec<f64> = Vec::new();
        let mut deepest = 0;
        for event in own {
            open.retain(|ends| *ends > event.ts);
            let depth = open.len();
            deepest = deepest.max(depth);
            open.push(event.ts + event.dur);
            #[allow(clippy::cast_precision_loss, reason = "there are few rows")]
            let y = top + ROW * depth as f64;
            bar(&mut body, event, y, scale);
        }
        #[allow(clippy::cast_precision_loss, reason = "there are few rows")]
        let height = ROW * (deepest + 1) as f64 + 4.0;
        top += height;
        _ = writeln!(
            body,
            r##"<path d="M0 {top:.1}H{:.1}" stroke="#ddd"/>"##,
            LEFT + WIDTH + 10.0
        );
        top += 4.0;
    }
    let (width, height) = (LEFT + WIDTH + 10.0, top + 4.0);
    let mut picture = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0} {height:.0}" font-family="sans-serif" font-size="11">
<rect width="{width:.0}" height="{height:.0}" fill="#fff"/>
"##
    );
    let tick = tick(end);
    let mut at = 0.0;
    while at <= end {
        let x = LEFT + at * scale;
        _ = writeln!(
            picture,
            r##"<path d="M{x:.1} {ROW}V{height:.1}" stroke="#eee"/><text x="{x:.1}" y="12" fill="#666">{:.0} ms</text>"##,
            at / 1e3
        );
        at += tick;
    }
    picture + &body + "</svg>\n"
}

/// One event: grey where something is waited for. Its name is inside where it fits, and shown to who points at it.
fn bar(body: &mut String, event: &Event, y: f64, scale: f64) {
    let (x, width) = (LEFT + event.ts * scale, (event.dur * scale).max(0.8));
    let (fill, verb) = match event.cat.as_str() {
        "wait" => ("#ccc", "waits for "),
        _ => ("#8fbcdb", ""),
    };
    let name = format!("{verb}{}", event.name);
    let milliseconds = event.dur / 1e3;
    _ = writeln!(
        body,
        r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{:.1}" fill="{fill}"><title>{}: {milliseconds:.1} ms</title></rect>"#,
        ROW - 2.0,
        escaped(&name)
    );
    let fitting = (width / CHARACTER).floor();
    let shown: String = name
        .chars()
        .enumerate()
        .take_while(|(at, _)| f64::from(u32::try_from(*at).unwrap_or(u32::MAX)) < fitting)
        .map(|(_, character)| character)
        .collect();
    if shown.len() >= name.len().min(8) {
        _ = writeln!(
            body,
            r#"<text x="{:.1}" y="{:.1}">{}</text>"#,
            x + 3.0,
            y + ROW * 0.7,
            escaped(&shown)
        );
    }
}

/// A round number of microseconds, such that the picture has about ten.
fn tick(end: f64) -> f64 {
    let rough = end / 10.0;
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps
        .into_iter()
        .find(|step| *step >= rough)
        .unwrap_or(rough)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_within_something_else_is_drawn_below_it() {
        let trace = r#"[
            {"ph":"M","pid":1,"tid":1,"name":"thread_name","args":{"name":"a<b"}},
            {"ph":"M","pid":1,"tid":1,"name":"thread_sort_index","args":{"sort_index":1}},
            {"ph":"X","pid":1,"tid":1,"cat":"wait","name":"a runner","ts":100,"dur":50},
            {"ph":"X","pid":1,"tid":1,"cat":"work","name":"RUN x","ts":0,"dur":1000}
        ]"#;
        let events: Vec<Event> = serde_json::from_str(trace).unwrap();
        let picture = draw(&events);
        assert!(picture.contains(">a&lt;b</text>"), "{picture}");
        let (outer, inner) = (ROW * 1.5, ROW * 2.5);
        assert!(
            picture.contains(&format!("y=\"{outer:.1}\" width=\"{WIDTH:.1}\"")),
            "{picture}"
        );
        assert!(
            picture.contains(&format!("x=\"280.0\" y=\"{inner:.1}\" width=\"45.0\"")),
            "{picture}"
        );
        assert!(picture.contains("waits for a runner: 0.1 ms"), "{picture}");
    }

    #[test]
    fn ticks_are_round() {
        assert!((tick(3_456_000.0) - 500_000.0).abs() < 1e-6);
        assert!((tick(900.0) - 100.0).abs() < 1e-6);
    }
}
