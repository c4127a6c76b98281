//! Expanding a word with a note of the variables that it has.

use std::cell::RefCell;

use stagecraft_dockerfile::{expand, expand_words};

use crate::environment::Environment;

/// A word with its variables expanded.
pub(super) struct Expanded {
    pub(super) text: String,
    /// Variables that are set, each once.
    pub(super) used: Vec<String>,
    /// Variables that are not, whether the word has a default for them or not, each once.
    pub(super) missing: Vec<String>,
}

/// Expands a word; nothing where it is malformed, which is the planner's to say.
pub(super) fn expanded(word: &str, escape: char, environment: &Environment) -> Option<Expanded> {
    let used = RefCell::new(Vec::new());
    let missing = RefCell::new(Vec::new());
    let lookup = |name: &str| {
        let value = environment.get(name);
        let names = if value.is_some() { &used } else { &missing };
        let mut names = names.borrow_mut();
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
        value.map(str::to_owned)
    };
    let text = expand(word, escape, &lookup).ok()?.text;
    Some(Expanded {
        text,
        used: used.into_inner(),
        missing: missing.into_inner(),
    })
}

/// Expands a word that may become several.
pub(super) fn several(word: &str, escape: char, environment: &Environment) -> Vec<String> {
    let lookup = |name: &str| environment.get(name).map(str::to_owned);
    expand_words(word, escape, &lookup).map_or_else(|_| Vec::new(), |(words, _)| words)
}
