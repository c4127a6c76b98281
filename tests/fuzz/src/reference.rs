//! A reference to an image or a git repository. What must hold:
//!
//! - nothing panics;
//! - an image's full name, and its short one unless that begins like a host, give the same reference again;
//! - a repository without what `?` and `#` say about it is the same repository, if it has a host
//!   without a zone.

use stagecraft_dockerfile::git_reference::GitReference;
use stagecraft_image::Reference;

/// Checks a reference; bytes that are no text are left out.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(reference) = text.parse::<Reference>() {
        let full = reference.to_string();
        assert_eq!(full.parse::<Reference>().as_ref(), Ok(&reference), "{full}");
        // On Docker Hub a repository can be called as a host is: then the short name is another one's, as Docker has it.
        let first = reference.repository().split('/').next().unwrap_or_default();
        if !first.contains(['.', ':']) && first != "localhost" {
            let short = reference.familiar();
            assert_eq!(
                short.parse::<Reference>().as_ref(),
                Ok(&reference),
                "{short}"
            );
        }
    }
    if let Ok(Some(reference)) = GitReference::parse(text) {
        let remote = &reference.remote;
        // A URL without host and path is written without the slashes, and the zone of an address with escapes that
        // may not stand there: neither is a repository any more.
        let is_bare = matches!(remote.trim_end_matches('?'), "ssh:" | "git:");
        if is_bare || remote.contains("%25") {
            return;
        }
        let again = GitReference::parse(remote).expect("it has no query");
        let again = again.unwrap_or_else(|| panic!("{remote:?} is no repository any more"));
        assert_eq!(again.remote, reference.remote);
        assert_eq!(again.short_name, reference.short_name);
    }
}
