//! Which characters a variable's name may have: letters and decimal digits as Go's `unicode` package has them.
//! The standard library knows alphabetic and numeric characters, which are other sets.

use std::sync::LazyLock;

use regex::Regex;

static LETTER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\p{L}$").ok());
static DIGIT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\p{Nd}$").ok());

/// A letter, a decimal digit or an underscore.
pub(crate) fn is_name_character(character: char) -> bool {
    character == '_' || is_letter(character) || is_digit(character)
}

fn is_letter(character: char) -> bool {
    if character.is_ascii() {
        character.is_ascii_alphabetic()
    } else {
        is_one(&LETTER, character)
    }
}

pub(super) fn is_digit(character: char) -> bool {
    if character.is_ascii() {
        character.is_ascii_digit()
    } else {
        is_one(&DIGIT, character)
    }
}

fn is_one(set: &Option<Regex>, character: char) -> bool {
    let set = set.as_ref();
    set.is_some_and(|set| set.is_match(character.encode_utf8(&mut [0; 4])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_decimal_digits_of_any_script_belong_to_a_name() {
        for (character, expected) in [
            ('a', true),
            ('_', true),
            ('7', true),
            ('é', true),
            ('本', true),
            ('٣', true),
            ('-', false),
            ('²', false),
            ('Ⅷ', false),
            ('\u{345}', false),
        ] {
            assert_eq!(is_name_character(character), expected, "{character}");
        }
    }
}
