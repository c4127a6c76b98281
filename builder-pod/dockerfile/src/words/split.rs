//! Splits a result into words while it is made: only then it is known what was quoted.

use super::RawWord;

/// The result split into words.
#[derive(Default)]
pub(super) struct Words {
    pub(super) ended: Vec<RawWord>,
    word: String,
    /// Whether something was met that makes a word, be it empty quotes.
    in_word: bool,
    start: usize,
    /// Where in the text stands what is added.
    pub(super) token_start: usize,
}

impl Words {
    /// What never splits: quoted or escaped.
    pub(super) fn add_raw(&mut self, text: &str) {
        if self.word.is_empty() {
            self.start = self.token_start;
        }
        self.word.push_str(text);
        self.in_word = true;
    }

    /// What splits at its blanks.
    pub(super) fn add(&mut self, text: &str) {
        for part in text.split_inclusive(char::is_whitespace) {
            let word = part.trim_end_matches(char::is_whitespace);
            if !word.is_empty() {
                self.add_raw(word);
            }
            if word.len() < part.len() && self.in_word {
                self.end_word(self.token_start);
            }
        }
    }

    pub(super) fn end_word(&mut self, end: usize) {
        if self.word.is_empty() {
            return;
        }
        self.in_word = false;
        self.ended.push(RawWord {
            text: std::mem::take(&mut self.word),
            start: self.start,
            end,
        });
    }

    /// Drops what there is of the word.
    pub(super) fn forget_word(&mut self) {
        self.word.clear();
    }
}
