//! As much of Rust's grammar as the text rules need: comments and literals, `use` trees, the test part of a file.
//!
//! Invariant: blanking keeps every line break, so that line numbers stay true.

/// The text with the inside of comments and of string and character literals replaced by spaces.
pub(super) fn blank(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut output = String::with_capacity(text.len());
    let mut at = 0;
    while at < characters.len() {
        let end = token_to_blank(&characters, at);
        if end == at {
            output.push(characters[at]);
            at += 1;
        } else {
            let blanked = characters[at..end].iter();
            output.extend(blanked.map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    output
}

/// Where the comment or literal that starts at `at` ends; `at` itself when none starts there.
fn token_to_blank(characters: &[char], at: usize) -> usize {
    let rest = &characters[at..];
    let after_identifier = at > 0 && is_identifier(characters[at - 1]);
    match rest {
        ['/', '/', ..] => at + rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => at + block_comment(rest),
        ['"', ..] => at + quoted(rest, '"'),
        ['b' | 'c', '"', ..] if !after_identifier => at + 1 + quoted(&rest[1..], '"'),
        ['b', '\'', ..] if !after_identifier => at + 1 + quoted(&rest[1..], '\''),
        ['r', '"' | '#', ..] if !after_identifier => at + raw_string(rest, 1),
        ['b' | 'c', 'r', '"' | '#', ..] if !after_identifier => at + raw_string(rest, 2),
        ['\'', '\\', ..] | ['\'', _, '\'', ..] => at + quoted(rest, '\''),
        _ => at,
    }
}

fn block_comment(rest: &[char]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Length of a raw string whose hashes start at `prefix`; 0 for a raw identifier.
fn raw_string(rest: &[char], prefix: usize) -> usize {
    let hashes = rest[prefix..].iter().take_while(|c| **c == '#').count();
    let open = prefix + hashes;
    if rest.get(open) != Some(&'"') {
        return 0;
    }
    let mut at = open + 1;
    while at < rest.len() {
        let closes =
            rest[at] == '"' && rest[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
        if closes {
            return at + 1 + hashes;
        }
        at += 1;
    }
    rest.len()
}

pub(super) fn is_identifier(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// How many lines of the file stand before its inline tests.
pub(super) fn code_lines(code: &str) -> usize {
    let lines: Vec<&str> = code.lines().collect();
    let tests = lines.iter().enumerate().position(|(number, line)| {
        line.trim() == "#[cfg(test)]"
            && lines[number + 1..]
                .iter()
                .map(|line| line.trim())
                .find(|line| !line.is_empty() && !line.starts_with("#["))
                .is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'))
    });
    tests.unwrap_or(lines.len())
}

/// Every path that the code names, with its line: `use` trees spelled out, and paths in place.
pub(super) fn paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut line = 1;
    let mut rest = code;
    while let Some(character) = rest.chars().next() {
        let starts_word = is_identifier(character) && !character.is_numeric();
        if !starts_word {
            line += usize::from(character == '\n');
            rest = &rest[character.len_utf8()..];
            continue;
        }
        let path = path_prefix(rest);
        if path == "use" {
            let end = rest.find(';').unwrap_or(rest.len());
            expand_use(rest[3..end].trim(), "", line, &mut found);
            line += rest[..end].matches('\n').count();
            rest = &rest[end..];
        } else {
            found.push((line, path.to_owned()));
            rest = &rest[path.len()..];
        }
    }
    found
}

/// The longest `a::b::c` (with a final `!` of a macro) that the text starts with.
fn path_prefix(text: &str) -> &str {
    let mut end = 0;
    loop {
        let word = text[end..]
            .find(|c| !is_identifier(c))
            .unwrap_or(text.len() - end);
        end += word;
        let continues = text[end..].strip_prefix("::");
        match continues.and_then(|next| next.chars().next()) {
            Some(c) if is_identifier(c) => end += 2,
            _ => break,
        }
    }
    let is_macro = text[end..].starts_with('!') && !text[end..].starts_with("!=");
    &text[..end + usize::from(is_macro)]
}

/// Spells out a `use` tree: `a::{b, c::d as e}` names `a::b` and `a::c::d`.
fn expand_use(tree: &str, prefix: &str, line: usize, found: &mut Vec<(usize, String)>) {
    let mut depth = 0;
    let mut start = 0;
    let mut items = Vec::new();
    for (at, character) in tree.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&tree[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items.push(&tree[start..]);
    for item in items {
        let item = item.trim();
        if item.is_empty() {
            continue;
        }
        if let Some((head, group)) = item.split_once('{') {
            let group = group.trim_end().strip_suffix('}').unwrap_or(group);
            expand_use(group, &format!("{prefix}{}", head.trim()), line, found);
        } else {
            let name = item.split(" as ").next().unwrap_or(item).trim();
            let path = format!("{prefix}{name}");
            let path = path.strip_suffix("::self").unwrap_or(&path);
            found.push((line, path.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_code_stays() {
        let cases = [
            ("a // std::fs\nb", "a           \nb"),
            ("a /* x /* y */\n z */ b", "a             \n      b"),
            (r#"f("std::\"fs", 'x')"#, "f(           ,    )"),
            ("r#\"a\"b\"# c", "         c"),
            ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
            ("b'\\'' + br\"x\" + '\\n'", "      +       +     "),
            ("let r#type = bar\"\"", "let r#type = bar  "),
        ];
        for (text, expected) in cases {
            assert_eq!(blank(text), expected, "{text}");
        }
    }

    #[test]
    fn the_code_part_ends_at_inline_tests_only() {
        let cases = [
            ("a\n#[cfg(test)]\nmod tests {\n}\n", 1),
            ("a\n#[cfg(test)]\nmod tests;\nb\n", 4),
            ("a\n#[cfg(test)]\nfn of() {\n}\n", 4),
            ("a\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n}\n", 1),
        ];
        for (code, expected) in cases {
            assert_eq!(code_lines(code), expected, "{code}");
        }
    }

    #[test]
    fn paths_spell_out_use_trees() {
        let code = "use std::{fmt, fs::{self, File}, env as e};\nlet x = std::net::TcpStream::connect(y);\nprintln!(a)";
        let names: Vec<(usize, String)> = paths(code);
        let has = |line, name: &str| names.contains(&(line, name.to_owned()));
        assert!(has(1, "std::fmt") && has(1, "std::fs") && has(1, "std::fs::File"));
        assert!(has(1, "std::env"));
        assert!(has(2, "std::net::TcpStream::connect"));
        assert!(has(3, "println!"));
    }
}
