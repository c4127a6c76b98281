//! A word with variables. The first byte picks the escape character and which variables are set; the rest is the
//! word. What must hold:
//!
//! - nothing panics, and no result has more than a megabyte;
//! - a name that is reported as unset is not set, and is reported once;
//! - a text whose every character is escaped expands to itself, and is one word;
//! - words have no character that the text has not.

use std::collections::{BTreeMap, HashSet};

use stagecraft_dockerfile::{expand, expand_document, expand_words, split_words};

/// Checks a word; bytes that are no text are left out.
pub fn check(data: &[u8]) {
    let Some((choice, word)) = data.split_first() else {
        return;
    };
    let Ok(word) = std::str::from_utf8(word) else {
        return;
    };
    let escape = if choice & 1 == 0 { '\\' } else { '`' };
    let mut set = BTreeMap::new();
    for (bit, name, value) in [
        (2, "v", "a b*/c"),
        (4, "a", ""),
        (8, "x", "$v\\ \"é'"),
        (16, "_", "**??/"),
    ] {
        if choice & bit != 0 {
            set.insert(name, value.to_owned());
        }
    }
    let lookup = |name: &str| set.get(name).cloned();
    if let Ok(expansion) = expand(word, escape, &lookup) {
        assert!(expansion.text.len() <= 1024 * 1024);
        check_unset(&expansion.unset, &set);
    }
    if let Ok(expansion) = expand_document(word, &lookup) {
        check_unset(&expansion.unset, &set);
    }
    if let Ok((words, unset)) = expand_words(word, escape, &lookup) {
        check_unset(&unset, &set);
        assert!(words.iter().all(|word| !word.is_empty()), "a word is empty");
        let text = expand(word, escape, &lookup)
            .expect("what splits can be expanded")
            .text;
        let known: HashSet<char> = text.chars().collect();
        let mut split = words.iter().flat_map(|word| word.chars());
        assert!(split.all(|character| known.contains(&character)));
    }
    check_escaped(word, escape);
    for (at, found) in split_words(word, escape) {
        assert_eq!(word.get(at..at + found.len()), Some(found));
    }
}

fn check_unset(unset: &[String], set: &BTreeMap<&str, String>) {
    let mut seen = HashSet::new();
    for name in unset {
        assert!(!set.contains_key(name.as_str()), "{name} is set");
        assert!(seen.insert(name), "{name} is there twice");
    }
}

fn check_escaped(text: &str, escape: char) {
    if text.len() > 100_000 {
        return;
    }
    let escaped: String = text.chars().flat_map(|c| [escape, c]).collect();
    let expansion = expand(&escaped, escape, &|_| None).expect("nothing is open");
    assert_eq!(expansion.text, text);
    let (words, _) = expand_words(&escaped, escape, &|_| None).expect("nothing is open");
    assert_eq!(words.concat(), text);
    assert!(words.len() <= 1);
}
