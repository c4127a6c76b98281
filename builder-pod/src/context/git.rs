//! A context that is a commit of a git repository.
//!
//! Invariant: a second attempt builds the commit of the first one, whatever the branch is by then.

use std::path::{Path, PathBuf};

use stagecraft_layer::FsTree;
use stagecraft_protocol::request::{BuildRequest, Source};
use stagecraft_registry::{BasicCredentials, HttpSettings, without_credentials};

use super::{ContextError, LaidOut, open_directory};
use crate::remote::{Checkout, Scratch, Wanted, git};
use crate::rootfs::Rootfs;
use crate::store::blocking;

/// The build argument that keeps `.git`, as in BuildKit.
const KEEP_ARGUMENT: &str = "BUILDKIT_CONTEXT_KEEP_GIT_DIR";

/// Fetches the request's commit and lays its files out under `scratch`.
pub(super) async fn fetch(
    request: &BuildRequest,
    http: &HttpSettings,
    scratch: &Path,
) -> Result<LaidOut, ContextError> {
    let (url, wanted) = wanted(request)?;
    let files = Files(scratch.to_owned(), std::sync::atomic::AtomicU32::new(0));
    let checkout = git::fetch(&wanted, http, &files)
        .await
        .map_err(|source| ContextError::Repository { url, source })?;
    let directory = scratch.join("context");
    std::fs::create_dir_all(&directory).map_err(ContextError::io("make", &directory))?;
    blocking(move || lay_out(&checkout, &directory)).await
}

fn wanted(request: &BuildRequest) -> Result<(String, Wanted), ContextError> {
    let Source::Git {
        url,
        revision,
        checksum,
        submodules,
        keep_git_directory,
        fetch_by_commit,
        credentials,
    } = &request.source
    else {
        return Ok(Default::default());
    };
    let pin = request.pins.as_ref().and_then(|pins| pins.source.clone());
    let kept = request.build_args.get(KEEP_ARGUMENT).map(String::as_str);
    let credentials = credentials.as_deref().map(read_credentials).transpose()?;
    let wanted = Wanted {
        remote: url.clone(),
        revision: pin.unwrap_or_else(|| revision.clone()),
        directory: String::new(),
        checksum: checksum.clone(),
        keep_git_directory: *keep_git_directory
            || matches!(kept, Some("1" | "t" | "T" | "true" | "TRUE" | "True")),
        submodules: *submodules,
        fetch_by_commit: *fetch_by_commit,
        credentials,
    };
    Ok((without_credentials(url), wanted))
}

/// The files of a mounted Secret; a user need not be there.
fn read_credentials(directory: &str) -> Result<BasicCredentials, ContextError> {
    let read = |name: &str| {
        let path = Path::new(directory).join(name);
        let text = std::fs::read_to_string(&path);
        text.map_err(ContextError::io("read", path))
    };
    let user = match read("username") {
        Ok(user) => user.trim_end_matches(['\r', '\n']).to_owned(),
        // What hosts that look at a token alone take any user for.
        Err(_) => "git".to_owned(),
    };
    let password = read("password")?;
    let password = password.trim_end_matches(['\r', '\n']).to_owned();
    Ok(BasicCredentials { user, password })
}

/// Files in scratch with a number each.
struct Files(PathBuf, std::sync::atomic::AtomicU32);

impl Scratch for Files {
    fn file(&self) -> PathBuf {
        let number = self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.0.join(format!("source-objects-{number}"))
    }
}

fn lay_out(checkout: &Checkout, directory: &Path) -> Result<LaidOut, ContextError> {
    let mut rootfs = Rootfs::new(open_directory(directory)?);
    let mut tree = FsTree::new();
    for (path, node) in checkout.tree.iter().filter(|(path, _)| !path.is_empty()) {
        let mut plain = node.clone();
        plain.set_content_path(None);
        let written = match node.is_file() && node.size() > 0 {
            true => {
                let opened = checkout.open(path, node);
                let shown = String::from_utf8_lossy(path).into_owned();
                let mut content = opened.map_err(ContextError::io("read", shown))?;
                rootfs.write_entry(&mut tree, path, &plain, Some(&mut content))
            }
            false => rootfs.write_entry(&mut tree, path, &plain, None),
        };
        written.map_err(ContextError::LayOut)?;
    }
    Ok(LaidOut {
        tree,
        root: open_directory(directory)?,
        newest: Some(checkout.time),
        revision: Some(checkout.commit.to_string()),
        has_ignore_file: false,
    })
}
