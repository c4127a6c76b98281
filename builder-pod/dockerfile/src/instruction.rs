//! One instruction's text to its typed form.

use crate::ast::{
    ArgDeclaration, Command, CopyInstruction, Healthcheck, HealthcheckTest, Kind, RunInstruction,
    Span, Spanned,
};
use crate::diagnostic::{Code, Diagnostic};
use crate::flags::{self, Form};
use crate::lines::Logical;
use crate::suggest::nearest;
use crate::words::split_words;

/// Every keyword.
pub(crate) const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

const RUN_FLAGS: [(&str, Form); 4] = [
    ("mount", Form::List),
    ("network", Form::Text),
    ("security", Form::Text),
    ("device", Form::List),
];
const COPY_FLAGS: [(&str, Form); 6] = [
    ("from", Form::Text),
    ("chown", Form::Text),
    ("chmod", Form::Text),
    ("link", Form::Boolean),
    ("parents", Form::Boolean),
    ("exclude", Form::List),
];
const ADD_FLAGS: [(&str, Form); 7] = [
    ("chown", Form::Text),
    ("chmod", Form::Text),
    ("link", Form::Boolean),
    ("keep-git-dir", Form::Boolean),
    ("checksum", Form::Text),
    ("exclude", Form::List),
    ("unpack", Form::Boolean),
];
const HEALTHCHECK_FLAGS: [(&str, Form); 5] = [
    ("interval", Form::Text),
    ("timeout", Form::Text),
    ("start-period", Form::Text),
    ("start-interval", Form::Text),
    ("retries", Form::Text),
];
const FROM_FLAGS: [(&str, Form); 1] = [("platform", Form::Text)];

/// An instruction's text with the file that it stands in.
pub(crate) struct Source<'a> {
    pub(crate) logical: &'a Logical,
    pub(crate) file: &'a str,
    pub(crate) escape: char,
}

impl<'a> Source<'a> {
    pub(crate) fn text(&self) -> &'a str {
        &self.logical.text
    }

    pub(crate) fn place(&self, start: usize, end: usize) -> Span {
        self.logical.place(start, end, self.file)
    }

    /// The keyword as written and where what follows it starts.
    pub(crate) fn keyword(&self) -> (&'a str, usize) {
        let text = self.text();
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        (&text[..end], end)
    }

    /// The whole instruction on one line, runs of blanks made one.
    pub(crate) fn on_one_line(&self) -> String {
        self.text().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn spanned(&self, start: usize, text: &str) -> Spanned<String> {
        Spanned {
            value: text.to_owned(),
            span: self.place(start, start + text.len()),
        }
    }

    /// What stands from `start` on, without blanks around it.
    fn rest(&self, start: usize) -> Spanned<String> {
        let text = &self.text()[start..];
        let leading = text.len() - text.trim_start().len();
        self.spanned(start + leading, text.trim())
    }

    /// Words separated by blanks; quotes mean nothing.
    fn blank_separated(&self, start: usize) -> Vec<Spanned<String>> {
        let text = &self.text()[start..];
        let mut words = Vec::new();
        let mut from = 0;
        for word in text.split_whitespace() {
            let at = text[from..].find(word).map_or(from, |found| from + found);
            words.push(self.spanned(start + at, word));
            from = at + word.len();
        }
        words
    }
}

/// `FROM`'s parts.
pub(crate) struct FromParts {
    pub(crate) words: Vec<Spanned<String>>,
    pub(crate) platform: Option<Spanned<String>>,
}

/// Parses the arguments of a `FROM`.
pub(crate) fn from_parts(source: &Source<'_>, diagnostics: &mut Vec<Diagnostic>) -> FromParts {
    let (_, after) = source.keyword();
    let (flags, rest) = flags::take(source, after, &FROM_FLAGS, diagnostics);
    let platform = flags.into_iter().find_map(|flag| {
        flag.value.map(|value| Spanned {
            value,
            span: flag.span,
        })
    });
    FromParts {
        words: source.blank_separated(rest),
        platform,
    }
}

/// Parses any other instruction; `None` when it is too wrong to mean something.
pub(crate) fn kind(source: &Source<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Kind> {
    let (keyword, after) = source.keyword();
    let upper = keyword.to_ascii_uppercase();
    let rest = source.rest(after);
    if KEYWORDS.contains(&upper.as_str()) && rest.value.is_empty() && upper != "RUN" {
        let what = format!("{upper} needs at least one argument");
        diagnostics.push(Diagnostic::error(
            Code::MissingArgument,
            source.logical.span,
            what,
        ));
        return None;
    }
    Some(match upper.as_str() {
        "ADD" => Kind::Add(copy(source, after, &ADD_FLAGS, diagnostics)?),
        "COPY" => Kind::Copy(copy(source, after, &COPY_FLAGS, diagnostics)?),
        "ARG" => Kind::Arg(declarations(source, after, diagnostics)),
        "CMD" => Kind::Cmd(command(source, after, diagnostics)?),
        "ENTRYPOINT" => Kind::Entrypoint(command(source, after, diagnostics)?),
        "ENV" => Kind::Env(pairs(source, after, "ENV", diagnostics)?),
        "LABEL" => Kind::Label(pairs(source, after, "LABEL", diagnostics)?),
        "EXPOSE" => {
            let mut ports = source.blank_separated(after);
            ports.sort_by(|a, b| a.value.cmp(&b.value));
            Kind::Expose(ports)
        }
        "HEALTHCHECK" => Kind::Healthcheck(healthcheck(source, after, diagnostics)?),
        "MAINTAINER" => Kind::Maintainer(rest),
        "ONBUILD" => Kind::OnBuild(rest),
        "RUN" => {
            let (flags, start) = flags::take(source, after, &RUN_FLAGS, diagnostics);
            let command = command(source, start, diagnostics)?;
            Kind::Run(RunInstruction { flags, command })
        }
        "SHELL" => match command(source, after, diagnostics)? {
            Command::Exec(words) if !words.is_empty() => Kind::Shell(words),
            _ => {
                let what = "SHELL takes a JSON array, SHELL [\"/bin/bash\", \"-c\"] for example";
                diagnostics.push(Diagnostic::error(Code::BadJson, rest.span, what));
                return None;
            }
        },
        "STOPSIGNAL" => Kind::StopSignal(rest),
        "USER" => Kind::User(rest),
        "VOLUME" => Kind::Volume(paths(source, after, diagnostics)?),
        "WORKDIR" => Kind::WorkDirectory(rest),
        _ => {
            diagnostics.push(unknown(source, keyword));
            return None;
        }
    })
}

fn unknown(source: &Source<'_>, keyword: &str) -> Diagnostic {
    let span = source.place(0, keyword.len());
    let wrong = Diagnostic::error(
        Code::UnknownInstruction,
        span,
        format!("the instruction {keyword} does not exist"),
    );
    match nearest(keyword, KEYWORDS) {
        Some(meant) => wrong.help(format!("did you mean {meant}?")),
        None => wrong.help("an instruction that goes on in the next line ends with \\"),
    }
}

/// A JSON array of strings where the text is valid JSON; a valid array with something else is an error.
fn json(
    source: &Source<'_>,
    start: usize,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<Option<Vec<String>>, ()> {
    let rest = source.rest(start);
    if !rest.value.starts_with('[') {
        return Ok(None);
    }
    let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(&rest.value) else {
        return Ok(None);
    };
    let words: Option<Vec<String>> = values
        .iter()
        .map(|value| value.as_str().map(str::to_owned))
        .collect();
    if words.is_none() {
        let what = "a JSON array here may hold strings only";
        diagnostics.push(Diagnostic::error(Code::BadJson, rest.span, what));
        return Err(());
    }
    Ok(words)
}

fn command(
    source: &Source<'_>,
    start: usize,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Command> {
    Some(match json(source, start, diagnostics).ok()? {
        Some(words) => Command::Exec(words),
        None => Command::Shell(source.rest(start).value),
    })
}

/// Paths as a JSON array or separated by blanks.
fn paths(
    source: &Source<'_>,
    start: usize,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Vec<Spanned<String>>> {
    let rest = source.rest(start);
    let paths = match json(source, start, diagnostics).ok()? {
        Some(words) => words
            .into_iter()
            .map(|value| Spanned {
                value,
                span: rest.span,
            })
            .collect(),
        None => source.blank_separated(start),
    };
    if paths.iter().any(|path| path.value.is_empty()) {
        diagnostics.push(Diagnostic::error(
            Code::BadName,
            rest.span,
            "a path is empty",
        ));
        return None;
    }
    Some(paths)
}

fn copy(
    source: &Source<'_>,
    after: usize,
    known: &[(&str, Form)],
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<CopyInstruction> {
    let (flags, start) = flags::take(source, after, known, diagnostics);
    let mut words = paths(source, start, diagnostics)?;
    let destination = words.pop();
    match destination {
        Some(destination) if !words.is_empty() => Some(CopyInstruction {
            flags,
            sources: words,
            destination,
        }),
        _ => {
            let (keyword, _) = source.keyword();
            let keyword = keyword.to_ascii_uppercase();
            diagnostics.push(Diagnostic::error(
                Code::MissingArgument,
                source.logical.span,
                format!("{keyword} needs at least a source and a destination"),
            ));
            None
        }
    }
}

fn declarations(
    source: &Source<'_>,
    start: usize,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<ArgDeclaration> {
    let mut declarations = Vec::new();
    for (at, word) in split_words(&source.text()[start..], source.escape) {
        let at = start + at;
        let (name, default) = match word.split_once('=') {
            Some((name, value)) => (name, Some(source.spanned(at + name.len() + 1, value))),
            None => (word, None),
        };
        if name.is_empty() {
            let span = source.place(at, at + word.len());
            diagnostics.push(Diagnostic::error(
                Code::BadName,
                span,
                "the name of an ARG is empty",
            ));
            continue;
        }
        declarations.push(ArgDeclaration {
            name: source.spanned(at, name),
            default,
        });
    }
    declarations
}

type Pair = (Spanned<String>, Spanned<String>);

/// `NAME=VALUE …`, or the old form `NAME rest of the line`.
fn pairs(
    source: &Source<'_>,
    start: usize,
    keyword: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Vec<Pair>> {
    let words = split_words(&source.text()[start..], source.escape);
    let (first_at, first) = *words.first()?;
    if !first.contains('=') {
        let value = source.rest(start + first_at + first.len());
        if value.value.is_empty() {
            let what = format!("{keyword} {first} has no value; write {keyword} {first}=value");
            diagnostics.push(Diagnostic::error(
                Code::MissingArgument,
                source.logical.span,
                what,
            ));
            return None;
        }
        return Some(vec![(source.spanned(start + first_at, first), value)]);
    }
    let mut pairs = Vec::new();
    for (at, word) in words {
        let at = start + at;
        let span = source.place(at, at + word.len());
        match word.split_once('=') {
            Some(("", _)) => {
                let what = format!("a name of {keyword} is empty");
                diagnostics.push(Diagnostic::error(Code::BadName, span, what));
            }
            Some((name, value)) => {
                let value = source.spanned(at + name.len() + 1, value);
                pairs.push((source.spanned(at, name), value));
            }
            None => {
                let what = format!("{word:?} is not of the form name=value");
                diagnostics.push(
                    Diagnostic::error(Code::MissingArgument, span, what)
                        .help("a value with blanks stands in quotes"),
                );
            }
        }
    }
    Some(pairs)
}

fn healthcheck(
    source: &Source<'_>,
    after: usize,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Healthcheck> {
    let (flags, start) = flags::take(source, after, &HEALTHCHECK_FLAGS, diagnostics);
    let rest = source.rest(start);
    let kind_end = rest
        .value
        .find(char::is_whitespace)
        .unwrap_or(rest.value.len());
    let kind = rest.value[..kind_end].to_ascii_uppercase();
    let offset = source.text().len() - source.text()[start..].trim_start().len();
    let test = match kind.as_str() {
        "NONE" if kind_end == rest.value.len() => HealthcheckTest::None,
        "CMD" if kind_end < rest.value.len() => {
            HealthcheckTest::Command(command(source, offset + kind_end, diagnostics)?)
        }
        _ => {
            let what = "HEALTHCHECK is NONE or CMD with a command";
            diagnostics.push(Diagnostic::error(Code::MissingArgument, rest.span, what));
            return None;
        }
    };
    let mut check = Healthcheck {
        test,
        interval: 0,
        timeout: 0,
        start_period: 0,
        start_interval: 0,
        retries: 0,
    };
    for flag in &flags {
        let text = flag.value.as_deref().unwrap_or_default();
        let value = match flag.name.as_str() {
            "retries" => text.parse::<i64>().ok().filter(|retries| *retries >= 0),
            _ => duration(text).filter(|time| *time == 0 || *time >= 1_000_000),
        };
        let Some(value) = value else {
            let what = format!("--{} cannot be {text:?}", flag.name);
            diagnostics.push(
                Diagnostic::error(Code::BadValue, flag.span, what)
                    .help("a time is at least 1ms, 1m30s for example; retries is a number"),
            );
            continue;
        };
        match flag.name.as_str() {
            "interval" => check.interval = value,
            "timeout" => check.timeout = value,
            "start-period" => check.start_period = value,
            "start-interval" => check.start_interval = value,
            _ => check.retries = value,
        }
    }
    Some(check)
}

/// Go's durations (`1h2m3.5s`) in nanoseconds.
fn duration(text: &str) -> Option<i64> {
    const UNITS: [(&str, f64); 7] = [
        ("ns", 1.0),
        ("us", 1e3),
        ("µs", 1e3),
        ("ms", 1e6),
        ("s", 1e9),
        ("m", 6e10),
        ("h", 3.6e12),
    ];
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let unit_end = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (_, factor) = UNITS.iter().find(|(unit, _)| *unit == &rest[..unit_end])?;
        total += number * factor;
        rest = &rest[unit_end..];
    }
    #[allow(
        clippy::cast_possible_truncation,
        reason = "beyond 292 years it saturates"
    )]
    (!text.is_empty()).then_some(total.round() as i64)
}
