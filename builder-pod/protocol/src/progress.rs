//! The plain progress lines: one renderer, one parser.
//!
//! ```text
//! #7 [build 3/6] RUN make
//! #7 0.213 cc -o app main.c
//! #7 CACHED | #7 DONE 4.2s | #7 ERROR exit code 3 | #7 CANCELED
//! ```
//! Invariant: a line of a `RUN` always stands behind `#N SECONDS `, so whatever it prints, it parses as
//! [`Event::Output`] of its own step.

/// One line of progress.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A step starts.
    Started {
        /// Where it stands.
        place: Place,
        /// What it does, as written, on one line.
        title: String,
    },
    /// A line that the step printed, this many seconds after its start.
    Output {
        /// Seconds since the step started.
        seconds: f64,
        /// The line without control characters.
        text: String,
    },
    /// The result was there already.
    Cached,
    /// It ended well after this many seconds.
    Done {
        /// Seconds since the step started.
        seconds: f64,
    },
    /// It failed.
    Error {
        /// The cause, on one line.
        message: String,
    },
    /// It was ended because something else failed.
    Canceled,
}

/// Where a step stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Not part of a stage: loading, resolving, exporting.
    Internal,
    /// Step `number` of `total` in a stage.
    Step {
        /// The stage's name, or `stage-INDEX`.
        stage: String,
        /// From 1.
        number: u32,
        /// Steps of the stage.
        total: u32,
    },
}

/// Renders one line, without a newline.
#[must_use]
pub fn render(vertex: u32, event: &Event) -> String {
    match event {
        Event::Started {
            place: Place::Internal,
            title,
        } => {
            format!("#{vertex} [internal] {}", printable(title))
        }
        Event::Started {
            place:
                Place::Step {
                    stage,
                    number,
                    total,
                },
            title,
        } => {
            format!("#{vertex} [{stage} {number}/{total}] {}", printable(title))
        }
        Event::Output { seconds, text } => format!("#{vertex} {seconds:.3} {}", printable(text)),
        Event::Cached => format!("#{vertex} CACHED"),
        Event::Done { seconds } => format!("#{vertex} DONE {seconds:.1}s"),
        Event::Error { message } => format!("#{vertex} ERROR {}", printable(message)),
        Event::Canceled => format!("#{vertex} CANCELED"),
    }
}

/// Parses one line; `None` for any other text.
#[must_use]
pub fn parse(line: &str) -> Option<(u32, Event)> {
    let (vertex, rest) = line.strip_prefix('#')?.split_once(' ')?;
    let vertex = vertex.parse().ok()?;
    let (word, tail) = rest.split_once(' ').unwrap_or((rest, ""));
    let event = match word {
        "CACHED" => Event::Cached,
        "CANCELED" => Event::Canceled,
        "ERROR" => Event::Error {
            message: tail.to_owned(),
        },
        "DONE" => Event::Done {
            seconds: tail.strip_suffix('s')?.parse().ok()?,
        },
        _ if rest.starts_with('[') => parse_started(rest)?,
        seconds => Event::Output {
            seconds: seconds.parse().ok()?,
            text: tail.to_owned(),
        },
    };
    Some((vertex, event))
}

fn parse_started(rest: &str) -> Option<Event> {
    let (place, title) = rest.strip_prefix('[')?.split_once("] ")?;
    let title = title.to_owned();
    if place == "internal" {
        return Some(Event::Started {
            place: Place::Internal,
            title,
        });
    }
    let (stage, position) = place.rsplit_once(' ')?;
    let (number, total) = position.split_once('/')?;
    let (number, total) = (number.parse().ok()?, total.parse().ok()?);
    Some(Event::Started {
        place: Place::Step {
            stage: stage.to_owned(),
            number,
            total,
        },
        title,
    })
}

/// Title of the internal step that tells how many stages the plan has.
#[must_use]
pub fn plan_title(stages: usize) -> String {
    match stages {
        1 => "plan of 1 stage".to_owned(),
        _ => format!("plan of {stages} stages"),
    }
}

/// How many stages the plan has, where `title` tells that.
#[must_use]
pub fn planned_stages(title: &str) -> Option<usize> {
    let (number, unit) = title.strip_prefix("plan of ")?.split_once(' ')?;
    unit.starts_with("stage").then(|| number.parse().ok())?
}

/// Control characters become spaces (tabs stay), so that one event is one line and no terminal is steered.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\t' { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_parses_back() {
        let place = Place::Step {
            stage: "build".into(),
            number: 3,
            total: 6,
        };
        for event in [
            Event::Started {
                place,
                title: "RUN make".into(),
            },
            Event::Started {
                place: Place::Internal,
                title: "load build definition".into(),
            },
            Event::Output {
                seconds: 0.25,
                text: "#8 DONE 1.0s".into(),
            },
            Event::Output {
                seconds: 0.0,
                text: String::new(),
            },
            Event::Cached,
            Event::Done { seconds: 4.5 },
            Event::Error {
                message: "exit code 3".into(),
            },
            Event::Canceled,
        ] {
            assert_eq!(parse(&render(7, &event)), Some((7, event)));
        }
        assert_eq!(parse("hello"), None);
    }

    #[test]
    fn the_number_of_stages_is_told_by_a_title() {
        for stages in [1, 2, 300] {
            assert_eq!(planned_stages(&plan_title(stages)), Some(stages));
        }
        assert_eq!(planned_stages("load metadata for plan of 3 stages"), None);
    }

    #[test]
    fn output_cannot_break_out_of_its_line() {
        let line = render(
            3,
            &Event::Output {
                seconds: 1.0,
                text: "a\n#9 DONE 0.1s\u{1b}[2J".into(),
            },
        );
        assert_eq!(line.lines().count(), 1);
        assert!(matches!(parse(&line), Some((3, Event::Output { .. }))));
    }
}
