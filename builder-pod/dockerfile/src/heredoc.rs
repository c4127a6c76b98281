//! Finds the here-documents that an instruction's line announces.
//!
//! A word `<<NAME`, `<<-NAME` or `3<<NAME` announces one; blanks may stand before the name; what is quoted
//! announces none. The escape character is always the backslash here. Which lines can have here-documents is
//! said by [`crate::syntax::Node::can_have_heredocs`].

use crate::words::{Options, RawWord, WordError, raw_words};

/// A word that announces a here-document.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HeredocWord {
    /// Where it starts in the line.
    pub(crate) start: usize,
    /// The byte after it.
    pub(crate) end: usize,
    /// The number before it: the file descriptor that a shell gives it to; 0 where there is none.
    pub(crate) descriptor: u64,
    /// The name without quotes: the line that ends the document.
    pub(crate) name: String,
    /// Whether a part of the name was quoted, so that nothing in the document is expanded.
    pub(crate) quoted: bool,
    /// Whether tabs at the start of its lines are removed.
    pub(crate) strips_tabs: bool,
}

/// The here-documents of a line, in order. A line whose quotes or substitutions do not end announces none: the
/// shell may still understand it.
///
/// # Errors
/// When the name of one cannot be read.
pub(crate) fn words(line: &str) -> Result<Vec<HeredocWord>, WordError> {
    if !line.contains("<<") {
        return Ok(Vec::new());
    }
    let options = Options {
        keeps_quotes: true,
        keeps_escapes: true,
        ..Options::default()
    };
    let mut found = Vec::new();
    for word in raw_words(line, options).unwrap_or_default() {
        found.extend(announced(&word)?);
    }
    Ok(found)
}

/// Whether a word alone announces a here-document.
pub(crate) fn is_word(word: &str) -> bool {
    name(word).is_some()
}

/// The name of the here-document that a word alone announces.
pub(crate) fn name(word: &str) -> Option<String> {
    if !word.contains("<<") {
        return None;
    }
    let word = RawWord {
        text: word.to_owned(),
        start: 0,
        end: word.len(),
    };
    Some(announced(&word).ok()??.name)
}

fn announced(word: &RawWord) -> Result<Option<HeredocWord>, WordError> {
    let rest = word.text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = &word.text[..word.text.len() - rest.len()];
    let Some(rest) = rest.strip_prefix("<<") else {
        return Ok(None);
    };
    let (strips_tabs, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let written = rest.trim_start_matches(['\t', '\n', '\u{c}', '\r', ' ']);
    if written.is_empty() || written.contains('<') {
        return Ok(None);
    }
    let plain = raw_words(written, Options::default())?;
    let [plain] = plain.as_slice() else {
        return Ok(None);
    };
    let keeps_quotes = Options {
        keeps_quotes: true,
        ..Options::default()
    };
    let quoted = raw_words(written, keeps_quotes)?;
    let [quoted] = quoted.as_slice() else {
        // Empty quotes are a word only where they stay.
        return Err(WordError::Quote('"'));
    };
    let quotes = |text: &str| text.matches(['"', '\'']).count();
    Ok(Some(HeredocWord {
        start: word.start,
        end: word.start + word.text.trim_end().len().min(word.end - word.start),
        descriptor: match number {
            "" => 0,
            number => number.parse().unwrap_or(u64::MAX),
        },
        name: plain.text.clone(),
        quoted: quotes(&plain.text) != quotes(&quoted.text),
        strips_tabs,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::Node;

    fn found(line: &str) -> Vec<HeredocWord> {
        let node = Node::parse(line, '\\').unwrap();
        match node.can_have_heredocs() {
            true => words(line).unwrap(),
            false => Vec::new(),
        }
    }

    fn names(line: &str) -> Vec<(String, bool, bool)> {
        let words = found(line).into_iter();
        words
            .map(|word| (word.name, word.quoted, word.strips_tabs))
            .collect()
    }

    #[test]
    fn every_form_of_a_here_document_is_seen() {
        for (line, name, quoted, tabs) in [
            ("RUN <<EOF", "EOF", false, false),
            ("run cat << EOF | sh", "EOF", false, false),
            ("RUN 3<<-EOF cat", "EOF", false, true),
            ("COPY <<\"E F\" /x", "E F", true, false),
            ("ADD --chmod=1 <<'E'OF /x", "EOF", true, false),
            ("ONBUILD RUN <<E", "E", false, false),
            ("RUN x && \\<y <<E", "E", false, false),
            ("RUN [a <<E", "E", false, false),
        ] {
            assert_eq!(names(line), [(name.to_owned(), quoted, tabs)], "{line}");
        }
        assert_eq!(names("RUN a <<A b <<B").len(), 2);
    }

    #[test]
    fn what_only_looks_like_one_is_none() {
        for line in [
            "RUN cat <<<x",
            "RUN echo \"a <<E b\"",
            "RUN echo 'a' 'x <<E'",
            "RUN echo it's <<E",
            "RUN [\"a\", \"<<E\"]",
            "COPY --chown=1 [\"<<E\", \"/x\"]",
            "RUN echo $((1<<2))",
            "RUN a<<E",
            "RUN \\<<E",
            "CMD <<E",
            "ONBUILD CMD <<E",
        ] {
            assert_eq!(names(line), [], "{line}");
        }
    }

    #[test]
    fn the_place_is_that_of_the_word() {
        let words = found("RUN cat 3<<-E >x");
        assert_eq!((words[0].start, words[0].end), (8, 13));
        assert_eq!(words[0].descriptor, 3);
    }

    #[test]
    fn a_name_that_cannot_be_read_is_an_error() {
        assert!(words("RUN <<\\\"x").is_ok());
        assert!(words("RUN <<\"a\\\"\"").is_ok());
    }
}
