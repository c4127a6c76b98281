//! One instruction's line as BuildKit's parser has it: keyword, flags, words, before they mean something.
//!
//! Invariant: what is an error here is an error there, and nothing else is.
//! It must not know what an instruction's words mean.

use crate::json::{self, Array};
use crate::words::{is_blank, split_words};

/// Why a line cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// A JSON array with something else than strings.
    #[error("a JSON array here may hold strings only")]
    Json,
    /// `ENV name` and `LABEL name`.
    #[error("{0} needs a name and a value")]
    Value(String),
    /// A word of `ENV` or `LABEL` that is no pair.
    #[error("{0:?} is not of the form name=value")]
    Pair(String),
}

/// A line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Node {
    /// The `ONBUILD` around it, outermost first. Kept flat: a line may have any number.
    pub(crate) around: Vec<Head>,
    /// Its keyword and flags.
    pub(crate) head: Head,
    /// Its words. Pairs of `ENV` and `LABEL` are three: name, value, and what stands between.
    pub(crate) words: Vec<String>,
    /// Whether it has the exec form.
    pub(crate) is_json: bool,
}

/// A keyword with the flags behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// As written.
    pub(crate) keyword: String,
    /// Leading words that begin with `--`, quotes and escapes processed.
    pub(crate) flags: Vec<String>,
}

impl Head {
    fn is(&self, keyword: &str) -> bool {
        // The sign of kelvin is a k in small letters: it is not only ASCII that can be a keyword.
        self.keyword.eq_ignore_ascii_case(keyword)
            || !self.keyword.is_ascii() && lower(&self.keyword) == keyword
    }
}

impl Node {
    /// Reads a line.
    ///
    /// # Errors
    /// Where BuildKit's parser has one.
    pub(crate) fn parse(line: &str, escape: char) -> Result<Self, SyntaxError> {
        let mut around = Vec::new();
        let (mut head, mut rest) = split(line, escape);
        while head.is("onbuild") && !rest.is_empty() {
            let (inner, inner_rest) = split(rest, escape);
            around.push(std::mem::replace(&mut head, inner));
            rest = inner_rest;
        }
        let (words, is_json) = words(&lower(&head.keyword), rest, escape)?;
        Ok(Self {
            around,
            head,
            words,
            is_json,
        })
    }

    /// Whether it can have here-documents: RUN, COPY and ADD, also behind one ONBUILD, but not in exec form.
    pub(crate) fn can_have_heredocs(&self) -> bool {
        self.around.len() <= 1
            && !self.is_json
            && ["add", "copy", "run"]
                .iter()
                .any(|known| self.head.is(known))
    }
}

/// Lower case, character by character, as Go has it.
pub(crate) fn lower(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.chars()
        .filter_map(|c| c.to_lowercase().next())
        .collect()
}

/// The keyword, the flags and what follows, without blanks around it.
fn split(line: &str, escape: char) -> (Head, &str) {
    let line = line.trim();
    let end = line.find(is_blank).unwrap_or(line.len());
    let (keyword, rest) = line.split_at(end);
    let (flags, rest) = flags(rest.trim_start_matches(is_blank), escape);
    let keyword = keyword.to_owned();
    (Head { keyword, flags }, rest.trim())
}

/// The leading words that begin with `--`, up to a word `--`, and what follows.
///
/// It reads bytes and takes each for a character, because BuildKit does: a flag's value that is not ASCII comes
/// out as Latin-1, and two bytes that end a word there end it here.
fn flags(line: &str, escape: char) -> (Vec<String>, &str) {
    let bytes = line.as_bytes();
    let (mut flags, mut position) = (Vec::new(), 0);
    // A blank that is a byte of a character may be followed by more of its bytes, which no text can begin with.
    let rest = |from: usize| {
        let from = (from..=line.len()).find(|at| line.is_char_boundary(*at));
        from.and_then(|from| line.get(from..)).unwrap_or_default()
    };
    loop {
        let blanks = bytes
            .iter()
            .skip(position)
            .take_while(|byte| is_space(**byte));
        position += blanks.count();
        if !bytes.get(position..).unwrap_or_default().starts_with(b"--") {
            return (flags, rest(position));
        }
        let (word, was_quoted, end) = flag(bytes, position, escape);
        position = end;
        if word == "--" {
            return (flags, rest(position));
        }
        if was_quoted || !word.is_empty() {
            flags.push(word);
        }
    }
}

/// One word from `position` on: it without quotes and escapes, whether it had quotes, and the byte after it.
fn flag(bytes: &[u8], mut position: usize, escape: char) -> (String, bool, usize) {
    let (mut word, mut quote, mut was_quoted) = (String::new(), None, false);
    while let Some(byte) = bytes.get(position).copied() {
        match quote {
            None if is_space(byte) => break,
            None if matches!(byte, b'"' | b'\'') => (quote, was_quoted) = (Some(byte), true),
            Some(open) if byte == open => quote = None,
            _ if char::from(byte) == escape => {
                // An escape at the very end is dropped.
                position += 1;
                word.extend(bytes.get(position).copied().map(char::from));
            }
            _ => word.push(char::from(byte)),
        }
        position += 1;
    }
    (word, was_quoted, position.min(bytes.len()))
}

fn is_space(byte: u8) -> bool {
    char::from(byte).is_whitespace()
}

type Words = (Vec<String>, bool);

fn words(keyword: &str, rest: &str, escape: char) -> Result<Words, SyntaxError> {
    let plain = |words: Vec<String>| Ok((words, false));
    let whole = || match rest {
        "" => Vec::new(),
        rest => vec![rest.to_owned()],
    };
    match keyword {
        "add" | "copy" | "volume" => exec_or(rest, blank_separated),
        "cmd" | "entrypoint" | "run" | "shell" => exec_or(rest, |_| whole()),
        "from" | "expose" => plain(blank_separated(rest)),
        "arg" => {
            let words = split_words(rest, escape).into_iter();
            plain(words.map(|(_, word)| word.to_owned()).collect())
        }
        "env" | "label" => plain(pairs(&keyword.to_uppercase(), rest, escape)?),
        "healthcheck" => healthcheck(rest),
        "maintainer" | "stopsignal" | "user" | "workdir" | "onbuild" => plain(whole()),
        // What follows a keyword that does not exist is one word without text.
        _ => plain(vec![String::new()]),
    }
}

fn exec_or(rest: &str, otherwise: impl Fn(&str) -> Vec<String>) -> Result<Words, SyntaxError> {
    match json::array(rest) {
        Array::Strings(words) => Ok((words, true)),
        Array::Mixed => Err(SyntaxError::Json),
        Array::None => Ok((otherwise(rest), false)),
    }
}

fn blank_separated(rest: &str) -> Vec<String> {
    let words = rest.split(is_blank).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

fn pairs(keyword: &str, rest: &str, escape: char) -> Result<Vec<String>, SyntaxError> {
    let words = split_words(rest, escape);
    let Some((_, first)) = words.first() else {
        return Ok(Vec::new());
    };
    if !first.contains('=') {
        // The old form: a name, and the rest of the line.
        let Some((name, value)) = rest.split_once(is_blank) else {
            return Err(SyntaxError::Value(keyword.to_owned()));
        };
        let value = value.trim_start_matches(is_blank);
        return Ok(vec![name.to_owned(), value.to_owned(), String::new()]);
    }
    let mut pairs = Vec::new();
    for (_, word) in words {
        let Some((name, value)) = word.split_once('=') else {
            return Err(SyntaxError::Pair(word.to_owned()));
        };
        pairs.extend([name, value, "="].map(str::to_owned));
    }
    Ok(pairs)
}

/// `NONE`, or `CMD` and a command. As with flags, bytes are taken for characters.
fn healthcheck(rest: &str) -> Result<Words, SyntaxError> {
    let bytes = rest.as_bytes();
    let is_end = |byte: &u8| is_space(*byte);
    let end = bytes.iter().position(is_end).unwrap_or(bytes.len());
    if end == 0 {
        return Ok((Vec::new(), false));
    }
    let (kind, command) = bytes.split_at(end);
    let blanks = command.iter().take_while(|byte| is_end(byte)).count();
    let command = String::from_utf8_lossy(command.get(blanks..).unwrap_or_default());
    let (command, is_json) = exec_or(&command, |rest| match rest {
        "" => Vec::new(),
        rest => vec![rest.to_owned()],
    })?;
    let kind = String::from_utf8_lossy(kind).into_owned();
    Ok((std::iter::once(kind).chain(command).collect(), is_json))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(line: &str) -> Node {
        Node::parse(line, '\\').unwrap()
    }

    #[test]
    fn flags_are_words_that_begin_with_dashes() {
        for (line, flags, words) in [
            ("RUN --a --b=c d", &["--a", "--b=c"][..], &["d"][..]),
            ("RUN --a='b c' -- --d", &["--a=b c"], &["--d"]),
            ("RUN --a=\\\"b\\ c", &["--a=\"b c"], &[]),
            ("RUN -a --b", &[], &["-a --b"]),
            ("RUN --a=é b", &["--a=Ã©"], &["b"]),
            ("RUN --a=à b", &["--a=Ã"], &["b"]),
            ("FOO --x", &["--x"], &[""]),
        ] {
            let node = node(line);
            assert_eq!(
                (node.head.flags.as_slice(), node.words.as_slice()),
                (
                    flags
                        .iter()
                        .map(|s| (*s).to_owned())
                        .collect::<Vec<_>>()
                        .as_slice(),
                    words
                        .iter()
                        .map(|s| (*s).to_owned())
                        .collect::<Vec<_>>()
                        .as_slice(),
                ),
                "{line}"
            );
        }
    }

    #[test]
    fn triggers_are_kept_flat() {
        let line = "ONBUILD --x ".repeat(100_000) + "RUN a";
        let node = node(&line);
        assert_eq!(node.around.len(), 100_000);
        assert_eq!(node.head.keyword, "RUN");
    }
}
