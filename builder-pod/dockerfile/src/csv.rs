//! A line of comma-separated values, as the flags of RUN have them.

/// The fields of a line of comma-separated values: one that begins with a quote ends with it, and a doubled quote
/// in it stands for itself.
///
/// # Errors
/// What is wrong, in words.
pub(crate) fn fields(line: &str) -> Result<Vec<String>, &'static str> {
    let line = match line.strip_suffix('\n') {
        Some(line) => line.strip_suffix('\r').unwrap_or(line),
        None => line,
    };
    if line.is_empty() {
        return Err("it is empty");
    }
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let Some(quoted) = rest.strip_prefix('"') else {
            let (field, after) = match rest.split_once(',') {
                Some((field, after)) => (field, Some(after)),
                None => (rest, None),
            };
            if field.contains('"') {
                return Err("a quote stands inside a field; quotes go around a whole key=value");
            }
            fields.push(field.to_owned());
            match after {
                Some(after) => rest = after,
                None => return Ok(fields),
            }
            continue;
        };
        let mut field = String::new();
        let mut inside = quoted;
        loop {
            let Some((part, after)) = inside.split_once('"') else {
                return Err("a quote is not closed");
            };
            field.push_str(part);
            match after.strip_prefix('"') {
                Some(more) => {
                    field.push('"');
                    inside = more;
                }
                None => {
                    inside = after;
                    break;
                }
            }
        }
        fields.push(field);
        match inside.strip_prefix(',') {
            Some(after) => rest = after,
            None if inside.is_empty() => return Ok(fields),
            None => return Err("something stands behind a closing quote"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_go_around_a_whole_field() {
        let read = |line| fields(line).map(|fields| fields.join("|"));
        assert_eq!(read("\"a\"\"b\",c,"), Ok("a\"b|c|".to_owned()));
        assert_eq!(read("a,,\"b,c\"\r\n"), Ok("a||b,c".to_owned()));
        for wrong in ["", "a\"b", "\"a", "\"a\"b"] {
            assert!(fields(wrong).is_err(), "{wrong}");
        }
    }
}
