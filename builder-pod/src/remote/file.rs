//! A file behind a URL.
//!
//! Invariant: its time is the server's word, or 1970: never the clock's.

use std::path::PathBuf;

use jiff::fmt::{rfc2822, strtime};
use stagecraft_image::Digest;
use stagecraft_layer::{Node, NodeKind, Time};
use stagecraft_registry::{DownloadSettings, Downloaded, download, without_credentials};

use super::RemoteError;

/// The mode of a file that was fetched.
const MODE: u32 = 0o600;

/// A file in scratch.
#[derive(Debug)]
pub(crate) struct FetchedFile {
    pub(crate) path: PathBuf,
    /// What it is called where the destination is a directory.
    pub(crate) name: String,
    /// What it is: mode 0600, owner root.
    pub(crate) node: Node,
}

/// Fetches to the file `path`.
pub(super) async fn fetch(
    settings: &DownloadSettings,
    url: &str,
    name: &str,
    checksum: Option<&str>,
    path: PathBuf,
) -> Result<FetchedFile, RemoteError> {
    let digest = checksum.map(str::parse::<Digest>).transpose();
    let digest =
        digest.map_err(|_| RemoteError::Algorithm(checksum.unwrap_or_default().to_owned()))?;
    let downloaded = download(settings, url, digest.as_ref(), &path)
        .await
        .map_err(|source| RemoteError::Download {
            url: without_credentials(url),
            source,
        })?;
    Ok(FetchedFile {
        node: node(&downloaded),
        path,
        name: name.to_owned(),
    })
}

fn node(downloaded: &Downloaded) -> Node {
    let size = downloaded.size;
    let mut node = Node::new(NodeKind::File { size }, MODE, 0, 0);
    let seconds = downloaded.last_modified.as_deref().and_then(last_modified);
    node.mtime = Time {
        seconds: seconds.unwrap_or(0),
        nanoseconds: 0,
    };
    node
}

/// The time of a `Last-Modified` header, in seconds since 1970; in each of the three forms that HTTP has had.
fn last_modified(text: &str) -> Option<i64> {
    if let Ok(time) = rfc2822::DateTimeParser::new().parse_timestamp(text) {
        return Some(time.as_second());
    }
    let forms = ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    forms.into_iter().find_map(|form| {
        let time = strtime::parse(form, text).ok()?.to_datetime().ok()?;
        let utc = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(utc.timestamp().as_second())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_of_a_time_are_one_time() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(last_modified(text), Some(784_111_777), "{text}");
        }
        for text in ["", "yesterday", "Sun, 06 Nov 1994", "784111777"] {
            assert_eq!(last_modified(text), None, "{text}");
        }
    }
}
