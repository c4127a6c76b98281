//! Submodules: commits of other repositories in directories of this one.
//!
//! Invariant: credentials of the parent go to its own host alone.

use stagecraft_git::{read_submodules, resolve_url};
use stagecraft_registry::HttpSettings;

use super::server::{Server, origin};
use super::{Checkout, Gitlink, Place, RepositoryError, Scratch};
use crate::store::blocking;

/// Most submodules in each other.
const DEPTH_LIMIT: usize = 16;

/// A submodule whose files are to be fetched.
struct Pending {
    /// Its path in the outermost repository.
    path: Vec<u8>,
    link: Gitlink,
    url: String,
    credentials: Option<stagecraft_registry::BasicCredentials>,
    depth: usize,
}

/// Fetches the submodules of a commit, and theirs, into their directories.
pub(super) async fn add(
    checkout: &mut Checkout,
    links: Vec<Gitlink>,
    server: &Server,
    http: &HttpSettings,
    scratch: &dyn Scratch,
) -> Result<(), RepositoryError> {
    let mut pending = submodules(checkout, links, server, &[], 1)?;
    while let Some(next) = pending.pop() {
        if next.depth > DEPTH_LIMIT {
            return Err(RepositoryError::Depth(DEPTH_LIMIT));
        }
        let path = next.path.clone();
        let fetched = one(next, http, scratch).await;
        let (submodule, more) = fetched.map_err(|source| RepositoryError::Submodule {
            path: String::from_utf8_lossy(&path).into_owned(),
            source: Box::new(source),
        })?;
        checkout.add(&path, submodule);
        pending.extend(more);
    }
    Ok(())
}

async fn one(
    pending: Pending,
    http: &HttpSettings,
    scratch: &dyn Scratch,
) -> Result<(Checkout, Vec<Pending>), RepositoryError> {
    let server = Server::connect(&pending.url, pending.credentials, http).await?;
    let revision = stagecraft_git::Revision::Commit(pending.link.commit);
    let place = Place {
        scratch,
        keep_pack: false,
    };
    let received = server.receive(&revision, &place).await?;
    let address = server.address.clone();
    let read = blocking(move || Checkout::read(received, None, &address));
    let (checkout, links) = read.await?;
    let more = submodules(&checkout, links, &server, &pending.path, pending.depth + 1)?;
    Ok((checkout, more))
}

/// Where the submodules of a commit are. One that `.gitmodules` leaves out stays an empty directory.
fn submodules(
    checkout: &Checkout,
    links: Vec<Gitlink>,
    server: &Server,
    directory: &[u8],
    depth: usize,
) -> Result<Vec<Pending>, RepositoryError> {
    if links.is_empty() {
        return Ok(Vec::new());
    }
    let known = read_submodules(&checkout.text(b".gitmodules")?.unwrap_or_default())?;
    let mut pending = Vec::new();
    for link in links {
        let name = String::from_utf8_lossy(&link.path).into_owned();
        let mut named = known
            .iter()
            .filter(|one| one.path == name && !one.url.is_empty());
        let submodule = named.next().ok_or(RepositoryError::NoSubmodule(name))?;
        if submodule.is_left_out {
            continue;
        }
        let url = resolve_url(&server.address, &submodule.url)?;
        let is_same_host = origin(&url) == origin(&server.address);
        pending.push(Pending {
            path: stagecraft_layer::join_paths(directory, &link.path),
            credentials: server.credentials.clone().filter(|_| is_same_host),
            link,
            url,
            depth,
        });
    }
    Ok(pending)
}
