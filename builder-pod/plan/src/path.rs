//! Paths inside an image, as text: joined and cleaned without looking at any file.

/// The absolute path without `.`, `..`, doubled slashes and a slash at the end; `..` stops at the root.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// A relative path seen from a directory, cleaned.
fn join(directory: &str, path: &str) -> String {
    clean(&format!("{directory}/{path}"))
}

/// What `WORKDIR` stores: an absolute path as written, a relative one joined with the one before
/// (BuildKit's `NormalizeWorkdir`).
pub(crate) fn working_directory(before: &str, written: &str) -> String {
    if written.starts_with('/') {
        written.to_owned()
    } else {
        join(before, written)
    }
}

/// Where COPY and ADD put things: absolute and cleaned. A slash at the end stays, and is added where the text
/// means a directory in another way (empty, `.`, or ending in `/.`).
pub(crate) fn destination(directory: &str, written: &str) -> String {
    let cleaned = if written.starts_with('/') {
        clean(written)
    } else {
        join(directory, written)
    };
    let is_directory =
        matches!(written, "" | ".") || written.ends_with('/') || written.ends_with("/.");
    if is_directory && cleaned != "/" {
        cleaned + "/"
    } else {
        cleaned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn working_directories_are_joined_and_absolute_ones_kept_as_written() {
        for (before, written, expected) in [
            ("", "app", "/app"),
            ("/", "app/", "/app"),
            ("/a", "b/../c", "/a/c"),
            ("/a", "../../..", "/"),
            ("/a", "/x//y/", "/x//y/"),
            ("/a", "", "/a"),
            ("relative", "b", "/relative/b"),
        ] {
            assert_eq!(
                working_directory(before, written),
                expected,
                "{before} {written}"
            );
        }
    }

    #[test]
    fn destinations_keep_whether_they_mean_a_directory() {
        for (written, expected) in [
            ("x", "/w/x"),
            ("x/", "/w/x/"),
            ("x/.", "/w/x/"),
            (".", "/w/"),
            ("", "/w/"),
            ("..", "/"),
            ("/", "/"),
            ("/a//b/../c/", "/a/c/"),
            ("/../x", "/x"),
        ] {
            assert_eq!(destination("/w", written), expected, "{written}");
        }
        assert_eq!(destination("/", "."), "/");
    }
}
