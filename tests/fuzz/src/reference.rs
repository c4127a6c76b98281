//! A reference to an image or a git repository. What must hold:
//!
//! - nothing panics;
//! - an image's full name, and its familiar one, read again give the same reference;
//! - a repository without what `?` and `#` say about it is the same repository, if it has a host.

use stagecraft_dockerfile::git_reference::GitReference;
use stagecraft_image::Reference;

/// Checks a reference; bytes that are no text are left out.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(reference) = text.parse::<Reference>() {
        for name in [reference.to_string(), reference.familiar()] {
            assert_eq!(name.parse::<Reference>().as_ref(), Ok(&reference), "{name}");
        }
    }
    if let Ok(Some(reference)) = GitReference::parse(text) {
        let remote = &reference.remote;
        if (remote.starts_with("ssh:") || remote.starts_with("git:")) && !remote.contains("//") {
            // A URL without host and path is written without the slashes, which is no repository any more.
            return;
        }
        let again = GitReference::parse(remote).expect("it has no query");
        let again = again.unwrap_or_else(|| panic!("{remote:?} is no repository any more"));
        assert_eq!(again.remote, reference.remote);
        assert_eq!(again.short_name, reference.short_name);
    }
}
