//! One instruction's text to its typed form.
//!
//! Invariant: an instruction that means nothing leaves at least one error behind.
//! It must not know stages, nor values of variables.

use crate::ast::{
    ArgDeclaration, Command, CopyInstruction, Flag, Heredoc, Kind, RunInstruction, Span, Spanned,
    Trigger,
};
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::flags::{self, Form};
use crate::healthcheck;
use crate::heredoc;
use crate::json::{self, Array};
use crate::lines::Logical;
use crate::mount::MountFlag;
use crate::options::{CopyOptions, RunOptions};
use crate::place::Places;
use crate::suggest::nearest;
use crate::words::{is_blank, split_words};

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

/// The flags of an instruction.
fn flags_of(keyword: &str) -> &'static [(&'static str, Form)] {
    match keyword {
        "ADD" => &ADD_FLAGS,
        "COPY" => &COPY_FLAGS,
        "FROM" => &FROM_FLAGS,
        "HEALTHCHECK" => &HEALTHCHECK_FLAGS,
        "RUN" => &RUN_FLAGS,
        _ => &[],
    }
}

/// The instructions that have a flag.
pub(crate) fn instructions_with(flag: &str) -> Vec<&'static str> {
    let has = |keyword: &&str| flags_of(keyword).iter().any(|(name, _)| *name == flag);
    KEYWORDS.into_iter().filter(has).collect()
}

/// An instruction's text with the file that it stands in.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) logical: &'a Logical,
    places: &'a Places<'a>,
    pub(crate) escape: char,
    /// Where the instruction starts in the joined text: not 0 behind an `ONBUILD`.
    start: usize,
    /// Where everything of it stands, for a text that is in no file.
    whole_place: Option<Span>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(logical: &'a Logical, places: &'a Places<'a>, escape: char) -> Self {
        Self {
            logical,
            places,
            escape,
            start: 0,
            whole_place: None,
        }
    }

    /// The same, every place of it being this one.
    pub(crate) fn at(self, place: Span) -> Self {
        Self {
            whole_place: Some(place),
            ..self
        }
    }

    pub(crate) fn text(&self) -> &'a str {
        self.logical.text.get(self.start..).unwrap_or_default()
    }

    pub(crate) fn place(&self, start: usize, end: usize) -> Span {
        self.whole_place.unwrap_or_else(|| {
            self.logical
                .place(self.start + start, self.start + end, self.places)
        })
    }

    /// The place of the whole instruction.
    fn whole(&self) -> Span {
        self.place(0, self.text().len())
    }

    /// The keyword as written and where what follows it starts.
    pub(crate) fn keyword(&self) -> (&'a str, usize) {
        let text = self.text();
        let end = text.find(is_blank).unwrap_or(text.len());
        (&text[..end], end)
    }

    /// The whole instruction on one line, runs of blanks made one.
    pub(crate) fn on_one_line(&self) -> String {
        let text = self.text();
        let mut line = String::with_capacity(text.len());
        for word in text.split_whitespace() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        line
    }

    fn spanned(&self, start: usize, text: &str) -> Spanned<String> {
        Spanned {
            value: text.to_owned(),
            span: self.place(start, start + text.len()),
        }
    }

    /// What stands from `start` on, without blanks around it.
    pub(crate) fn rest(&self, start: usize) -> Spanned<String> {
        let text = self.text().get(start..).unwrap_or_default();
        let leading = text.len() - text.trim_start().len();
        self.spanned(start + leading, text.trim())
    }

    /// Words separated by blanks; quotes mean nothing.
    fn blank_separated(&self, start: usize) -> Vec<Spanned<String>> {
        let text = self.text().get(start..).unwrap_or_default();
        let mut words = Vec::new();
        let mut from = 0;
        for word in text.split(is_blank) {
            if !word.is_empty() {
                words.push(self.spanned(start + from, word));
            }
            from += word.len() + 1;
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
    let taken = flags::take(source, after);
    let flags = taken.known(source, &FROM_FLAGS, diagnostics);
    let platform = flags.into_iter().find_map(|flag| {
        flag.value.map(|value| Spanned {
            value,
            span: flag.span,
        })
    });
    FromParts {
        words: source.blank_separated(taken.rest),
        platform,
    }
}

/// Parses any other instruction; `None` when it is too wrong to mean something.
pub(crate) fn kind(source: &Source<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Kind> {
    let (keyword, after) = source.keyword();
    let upper = keyword.to_ascii_uppercase();
    if !KEYWORDS.contains(&upper.as_str()) {
        diagnostics.push(unknown(source, keyword));
        return None;
    }
    let taken = flags::take(source, after);
    let start = taken.rest;
    let rest = source.rest(start);
    let flags = match upper.as_str() {
        "ARG" | "STOPSIGNAL" => {
            taken.unread(&upper, diagnostics);
            Vec::new()
        }
        "HEALTHCHECK" if healthcheck::is_none(&rest.value) => {
            taken.unread("HEALTHCHECK NONE", diagnostics);
            Vec::new()
        }
        _ => taken.known(source, flags_of(&upper), diagnostics),
    };
    // These mean something without an argument: an empty command.
    let may_be_empty = matches!(upper.as_str(), "RUN" | "CMD" | "ENTRYPOINT");
    if rest.value.is_empty() && !may_be_empty {
        let what = format!("{upper} needs at least one argument");
        let wrong = Diagnostic::error(Code::MissingArgument, source.whole(), what);
        diagnostics.push(wrong);
        return None;
    }
    Some(match upper.as_str() {
        "ADD" => Kind::Add(copy(source, flags, (start, &rest), diagnostics)?.into()),
        "COPY" => Kind::Copy(copy(source, flags, (start, &rest), diagnostics)?.into()),
        "ARG" => Kind::Arg(declarations(source, start, diagnostics)),
        "CMD" => Kind::Cmd(command(rest, diagnostics)?),
        "ENTRYPOINT" => Kind::Entrypoint(command(rest, diagnostics)?),
        "ENV" => Kind::Env(pairs(source, start, "ENV", diagnostics)?),
        "LABEL" => Kind::Label(pairs(source, start, "LABEL", diagnostics)?),
        "EXPOSE" => {
            let mut ports = source.blank_separated(start);
            ports.sort_by(|a, b| a.value.cmp(&b.value));
            Kind::Expose(ports)
        }
        "HEALTHCHECK" => Kind::Healthcheck(healthcheck::parse(source, &flags, start, diagnostics)?),
        "MAINTAINER" => Kind::Maintainer(rest),
        "ONBUILD" => Kind::OnBuild(trigger(source, rest, start, diagnostics)?),
        "RUN" => {
            let options = RunOptions::new(&flags, diagnostics, |flag, diagnostics| {
                let place = |part: &str, from| taken.part(source, flag, part, from);
                MountFlag::parse(flag, place, diagnostics)
            });
            let command = command(rest, diagnostics)?;
            let is_document = match &command {
                Command::Shell(text) => {
                    !source.logical.heredocs.is_empty() && heredoc::is_word(text)
                }
                Command::Exec(_) => false,
            };
            Kind::Run(RunInstruction {
                command,
                is_document,
                options,
                flags,
            })
        }
        "SHELL" => {
            let span = rest.span;
            match command(rest, diagnostics)? {
                Command::Exec(words) if !words.is_empty() => Kind::Shell(words),
                _ => {
                    let what =
                        "SHELL takes a JSON array, SHELL [\"/bin/bash\", \"-c\"] for example";
                    diagnostics.push(Diagnostic::error(Code::BadJson, span, what));
                    return None;
                }
            }
        }
        "STOPSIGNAL" => Kind::StopSignal(rest),
        "USER" => Kind::User(rest),
        "VOLUME" => Kind::Volume(volumes(source, (start, &rest), diagnostics)?),
        "WORKDIR" => Kind::WorkDirectory(rest),
        _ => return None,
    })
}

/// The instruction behind an `ONBUILD`.
fn trigger(
    source: &Source<'_>,
    text: Spanned<String>,
    start: usize,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Trigger> {
    let rest = source.text().get(start..).unwrap_or_default();
    let leading = rest.len() - rest.trim_start().len();
    let inner = Source {
        start: source.start + start + leading,
        ..*source
    };
    let (keyword, length) = inner.keyword();
    let upper = keyword.to_ascii_uppercase();
    if matches!(upper.as_str(), "ONBUILD" | "FROM" | "MAINTAINER") {
        let what = format!("{upper} cannot stand behind ONBUILD");
        let span = inner.place(0, length);
        diagnostics.push(Diagnostic::error(Code::Trigger, span, what));
        return None;
    }
    let mut found = Vec::new();
    let kind = kind(&inner, &mut found).map(Box::new);
    // It is read again where a stage begins with this one, and is an error there only; but BuildKit reads pairs and
    // JSON arrays at once.
    let arguments = inner.rest(length).value;
    let is_read_at_once = |code: Code| match (code, upper.as_str()) {
        (Code::BadJson, "SHELL") => json::array(&arguments) == Array::Mixed,
        (Code::BadJson, _) => true,
        (Code::MissingArgument, "ENV" | "LABEL") => !arguments.is_empty(),
        _ => false,
    };
    for one in found.iter_mut().filter(|one| !is_read_at_once(one.code)) {
        one.severity = Severity::Warning;
    }
    diagnostics.append(&mut found);
    // It is kept as it stands there, blanks at its end too.
    let value = rest.trim_start().to_owned();
    let text = Spanned { value, ..text };
    Some(Trigger { text, kind })
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
    rest: &Spanned<String>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<Option<Vec<String>>, ()> {
    match json::array(&rest.value) {
        Array::Strings(words) => Ok(Some(words)),
        Array::None => Ok(None),
        Array::Mixed => {
            let what = "a JSON array here may hold strings only";
            diagnostics.push(Diagnostic::error(Code::BadJson, rest.span, what));
            Err(())
        }
    }
}

/// The command that an instruction's arguments are.
pub(crate) fn command(
    arguments: Spanned<String>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Command> {
    Some(match json(&arguments, diagnostics).ok()? {
        Some(words) => Command::Exec(words),
        None => Command::Shell(arguments.value),
    })
}

/// Paths as a JSON array or separated by blanks; `rest` is what stands from `start` on.
fn paths(
    source: &Source<'_>,
    (start, rest): (usize, &Spanned<String>),
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Vec<Spanned<String>>> {
    let span = rest.span;
    Some(match json(rest, diagnostics).ok()? {
        Some(words) => words
            .into_iter()
            .map(|value| Spanned { value, span })
            .collect(),
        None => source.blank_separated(start),
    })
}

fn volumes(
    source: &Source<'_>,
    arguments: (usize, &Spanned<String>),
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Vec<Spanned<String>>> {
    let mut volumes = paths(source, arguments, diagnostics)?;
    for volume in &mut volumes {
        volume.value = volume.value.trim().to_owned();
    }
    let span = arguments.1.span;
    if volumes.is_empty() {
        let what = "VOLUME needs at least one path";
        diagnostics.push(Diagnostic::error(Code::MissingArgument, span, what));
        return None;
    }
    if volumes.iter().any(|volume| volume.value.is_empty()) {
        let what = "the path of a volume is empty";
        diagnostics.push(Diagnostic::error(Code::BadName, span, what));
        return None;
    }
    Some(volumes)
}

fn copy(
    source: &Source<'_>,
    flags: Vec<Flag>,
    arguments: (usize, &Spanned<String>),
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<CopyInstruction> {
    let mut sources = paths(source, arguments, diagnostics)?;
    let destination = sources.pop().filter(|_| !sources.is_empty());
    let (keyword, _) = source.keyword();
    let keyword = keyword.to_ascii_uppercase();
    let Some(destination) = destination else {
        let what = format!("{keyword} needs at least a source and a destination");
        let wrong = Diagnostic::error(Code::MissingArgument, source.whole(), what);
        diagnostics.push(wrong);
        return None;
    };
    if heredoc::is_word(&destination.value) {
        let what = format!("the destination of {keyword} cannot be a here-document");
        diagnostics.push(Diagnostic::error(Code::Heredoc, destination.span, what));
        return None;
    }
    let mut copy = CopyInstruction {
        options: CopyOptions::new(&flags),
        flags,
        sources: Vec::new(),
        documents: Vec::new(),
        destination,
    };
    for word in sources {
        match heredoc::name(&word.value) {
            Some(name) => copy.documents.push(document(source, name, &word)),
            None => copy.sources.push(word),
        }
    }
    Some(copy)
}

/// The here-document of a name: of several the last one, and an empty one where a JSON array names it.
fn document(source: &Source<'_>, name: String, word: &Spanned<String>) -> Heredoc {
    let known = source.logical.heredocs.iter();
    let found = known.rev().find(|heredoc| heredoc.name == name).cloned();
    Heredoc {
        span: word.span,
        ..found.unwrap_or_else(|| Heredoc {
            name,
            content: String::new(),
            written: String::new(),
            expand: false,
            span: word.span,
        })
    }
}

fn declarations(
    source: &Source<'_>,
    start: usize,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<ArgDeclaration> {
    let mut declarations = Vec::new();
    let text = source.text().get(start..).unwrap_or_default();
    let told = diagnostics.len();
    for (at, word) in split_words(text, source.escape) {
        if diagnostics.len() - told >= WORDS_TOLD {
            break;
        }
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

/// How many wrong words of one instruction are told about: a line may have any number.
const WORDS_TOLD: usize = 100;

type Pair = (Spanned<String>, Spanned<String>);

/// `NAME=VALUE …`, or the old form `NAME rest of the line`.
fn pairs(
    source: &Source<'_>,
    start: usize,
    keyword: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Vec<Pair>> {
    let text = source.text().get(start..).unwrap_or_default();
    let words = split_words(text, source.escape);
    let (first_at, first) = *words.first()?;
    if !first.contains('=') {
        // The old form knows no quotes: its name ends at the first blank.
        let first = first.split(is_blank).next().unwrap_or(first);
        let value = source.rest(start + first_at + first.len());
        if value.value.is_empty() {
            let what = format!("{keyword} {first} has no value; write {keyword} {first}=value");
            let wrong = Diagnostic::error(Code::MissingArgument, source.whole(), what);
            diagnostics.push(wrong);
            return None;
        }
        return Some(vec![(source.spanned(start + first_at, first), value)]);
    }
    let mut pairs = Vec::new();
    let told = diagnostics.len();
    for (at, word) in words {
        if diagnostics.len() - told >= WORDS_TOLD {
            break;
        }
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
