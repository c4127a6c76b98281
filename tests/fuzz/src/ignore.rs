//! An ignore file, and a path on its last line. What must hold:
//!
//! - nothing panics;
//! - the patterns of a file, written one a line, are the patterns of that file;
//! - a file that is understood answers for every path, and the same whether its text or its patterns are read;
//! - the context itself is never ignored;
//! - a wildcard that is understood matches as the function that reads it at every match.

use stagecraft_dockerfile::glob::{self, Glob};
use stagecraft_dockerfile::ignore::{IgnoreFile, read};

/// Checks a file; bytes that are no text are left out.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (file, path) = text.rsplit_once('\n').unwrap_or((text, "a/b"));
    if let Ok(patterns) = read(file) {
        // Cleaning a path can leave blanks at its end, which are trimmed when it is read again; and what `/!a` is
        // without its slash has an exclamation mark in front.
        let looks_otherwise = |pattern: &String| {
            let bare = pattern.strip_prefix('!').unwrap_or(pattern);
            pattern.starts_with(['#', '\u{feff}']) || bare.trim() != bare || file.contains("/!")
        };
        if !patterns.iter().any(looks_otherwise) {
            assert_eq!(read(&patterns.join("\n")).as_ref(), Ok(&patterns));
        }
        let again = IgnoreFile::from_patterns(patterns.iter().map(String::as_str));
        if let (Ok(parsed), Ok(again)) = (IgnoreFile::parse(file), again) {
            assert_eq!(parsed.ignores(path), again.ignores(path));
            assert!(
                parsed.ignores(path).is_ok(),
                "a file without errors has one"
            );
            assert!(!parsed.is_ignored("."));
            assert!(!parsed.is_ignored(""));
            let shows = patterns
                .iter()
                .any(|pattern| pattern.trim().starts_with('!'));
            assert!(shows || !parsed.has_exceptions());
        }
    }
    let pattern = file.lines().next().unwrap_or_default();
    if let Ok(parsed) = Glob::parse(pattern) {
        assert_eq!(glob::matches(pattern, path), Ok(parsed.matches(path)));
    }
}
