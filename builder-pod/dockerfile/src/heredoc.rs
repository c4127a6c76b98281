//! Finds the here-documents that an instruction's line announces.
//!
//! Only RUN, COPY and ADD have them, also behind ONBUILD, and never in their JSON form. A word `<<NAME`,
//! `<<-NAME` or `3<<NAME` announces one; blanks may stand before the name; what is quoted announces none.

use crate::words::is_blank;

/// A word that announces a here-document.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HeredocWord {
    /// Where it starts in the line.
    pub(crate) start: usize,
    /// The byte after it.
    pub(crate) end: usize,
    /// The name without quotes: the line that ends the document.
    pub(crate) name: String,
    /// Whether a part of the name was quoted, so that nothing in the document is expanded.
    pub(crate) quoted: bool,
    /// Whether tabs at the start of its lines are removed.
    pub(crate) strips_tabs: bool,
}

/// The here-documents of a line, in order.
pub(crate) fn words(line: &str) -> Vec<HeredocWord> {
    if !line.contains("<<") || !can_have(line) {
        return Vec::new();
    }
    let words = shell_words(line).unwrap_or_default();
    words
        .into_iter()
        .filter_map(|(start, word)| announced(start, word))
        .collect()
}

/// Whether a word alone announces a here-document.
pub(crate) fn is_word(word: &str) -> bool {
    announced(0, word).is_some()
}

fn can_have(line: &str) -> bool {
    let (mut keyword, mut rest) = first_word(line);
    if keyword.eq_ignore_ascii_case("ONBUILD") {
        (keyword, rest) = first_word(rest);
    }
    let known = ["RUN", "COPY", "ADD"];
    if !known
        .iter()
        .any(|known| keyword.eq_ignore_ascii_case(known))
    {
        return false;
    }
    // Flags may stand before the array.
    let array = rest.find('[').map(|at| &rest[at..]).unwrap_or_default();
    let flags = rest[..rest.len() - array.len()].trim();
    let only_flags = flags
        .split(is_blank)
        .all(|word| word.is_empty() || word.starts_with("--"));
    !(only_flags && serde_json::from_str::<Vec<String>>(array).is_ok())
}

fn first_word(text: &str) -> (&str, &str) {
    let text = text.trim_start_matches(is_blank);
    text.split_at(text.find(is_blank).unwrap_or(text.len()))
}

/// The words of a shell's line with their quotes and escapes; `None` when a quote is not closed.
/// Blanks behind `<<` do not end a word.
fn shell_words(line: &str) -> Option<Vec<(usize, &str)>> {
    let mut words = Vec::new();
    let mut start = None;
    let mut characters = line.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        if character.is_whitespace() {
            words.extend(start.take().map(|start| (start, &line[start..at])));
            continue;
        }
        start.get_or_insert(at);
        match character {
            '\\' => _ = characters.next(),
            '\'' => _ = characters.find(|(_, next)| *next == '\'')?,
            '"' => loop {
                match characters.next()?.1 {
                    '"' => break,
                    '\\' => _ = characters.next()?,
                    _ => {}
                }
            },
            '<' if characters.next_if(|(_, next)| *next == '<').is_some() => {
                while characters
                    .next_if(|(_, next)| next.is_whitespace())
                    .is_some()
                {}
            }
            _ => {}
        }
    }
    words.extend(start.map(|start| (start, &line[start..])));
    Some(words)
}

fn announced(start: usize, word: &str) -> Option<HeredocWord> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let rest = rest.strip_prefix("<<")?;
    let (strips_tabs, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let rest = rest.trim();
    if rest.is_empty() || rest.contains('<') {
        return None;
    }
    let (name, quoted) = unquoted(rest)?;
    Some(HeredocWord {
        start,
        end: start + word.trim_end().len(),
        name,
        quoted,
        strips_tabs,
    })
}

/// The name without its quotes and escapes, and whether it had quotes; `None` when it is not one word.
fn unquoted(written: &str) -> Option<(String, bool)> {
    let (mut name, mut quote, mut quoted) = (String::new(), None, false);
    let mut characters = written.chars();
    while let Some(character) = characters.next() {
        match quote {
            Some(open) if character == open => quote = None,
            None if matches!(character, '"' | '\'') => (quote, quoted) = (Some(character), true),
            None if character == '\\' => name.extend(characters.next()),
            None if character.is_whitespace() => return None,
            _ => name.push(character),
        }
    }
    (quote.is_none() && !name.is_empty()).then_some((name, quoted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(line: &str) -> Vec<(String, bool, bool)> {
        let words = words(line).into_iter();
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
        let found = words("RUN cat <<-E >x");
        assert_eq!((found[0].start, found[0].end), (8, 12));
    }
}
