//! A git server over HTTP: branches and tags, and objects of commits.
//!
//! Invariant: credentials go to the host of the address they belong to, and to no other after a redirection.

use std::fs::File;
use std::io::{BufWriter, Read};

use bytes::{Buf, Bytes};
use stagecraft_git::{
    Advertisement, FetchRequest, GitError, Kind, Limits, ObjectId, Objects, Pack, PackStream,
    RefsRequest, RemoteRef, Resolved, Revision, fetch_request, parse_refs, read_advertisement,
    read_pack, refs_request,
};
use stagecraft_registry::{BasicCredentials, HttpSettings, WebAnswer, WebClient, WebRequest};
use tokio::sync::mpsc;

use super::{Place, RepositoryError, SIZE_LIMIT};
use crate::store::blocking;

/// Pieces of an answer that wait to be read.
const PIECES: usize = 16;

/// What stands behind a repository's address in the first question.
const INFO: &str = "/info/refs?service=git-upload-pack";

/// What a server sent for a revision.
pub(super) struct Received {
    pub(super) objects: Objects,
    /// What the revision names: a commit, or a tag with a message.
    pub(super) id: ObjectId,
    /// The branch or tag, with its whole name.
    pub(super) name: Option<String>,
    /// Whether commits before it are missing.
    pub(super) is_shallow: bool,
    /// The pack as it was sent, where that is kept.
    pub(super) pack: Option<(File, Pack)>,
}

/// A server that answered for a repository.
pub(super) struct Server {
    client: WebClient,
    /// The repository's address, after redirections, without user and password.
    pub(super) address: String,
    pub(super) credentials: Option<BasicCredentials>,
    advertisement: Advertisement,
}

impl Server {
    /// Asks a server for a repository.
    pub(super) async fn connect(
        remote: &str,
        credentials: Option<BasicCredentials>,
        http: &HttpSettings,
    ) -> Result<Self, RepositoryError> {
        let (address, own) = split_credentials(&https(remote)?);
        let mut credentials = own.or(credentials);
        let client = WebClient::new(http, &address)?;
        let url = format!("{}{INFO}", address.trim_end_matches('/'));
        let answer = client
            .ask(&WebRequest {
                url: &url,
                headers: &[("Git-Protocol", "version=2")],
                body: None,
                credentials: credentials.as_ref(),
            })
            .await?;
        let is_smart = answer.content_type() == Some("application/x-git-upload-pack-advertisement");
        let moved = answer.url().strip_suffix(INFO).map(str::to_owned);
        let Some(moved) = moved.filter(|_| is_smart) else {
            return Err(GitError::NoRepository.into());
        };
        if origin(&moved) != origin(&address) {
            credentials = None;
        }
        let advertisement = read(answer, read_advertisement).await?;
        Ok(Self {
            // Another host has certificates and addresses of its own to judge.
            client: WebClient::new(http, &moved)?,
            address: moved,
            credentials,
            advertisement,
        })
    }

    /// The objects of a revision's commit.
    pub(super) async fn receive(
        &self,
        revision: &Revision,
        place: &Place<'_>,
    ) -> Result<Received, RepositoryError> {
        let prefixes = revision.prefixes();
        let is_commit = prefixes.is_empty();
        let refs = match is_commit && self.advertisement.gives_any_commit() {
            true => Vec::new(),
            false => self.refs(prefixes).await?,
        };
        let Some(Resolved { id, name, .. }) = revision.find(&refs) else {
            return match (revision, revision.short_commit(self.advertisement.format)) {
                (Revision::Name(_), Some(digits)) => self.short(digits, place).await,
                (Revision::Name(name), None) => Err(GitError::NoRevision(name.clone()).into()),
                _ => Err(GitError::Empty.into()),
            };
        };
        let is_named = || {
            refs.iter()
                .any(|one| one.id == id || one.peeled == Some(id))
        };
        let mut received = match self.advertisement.gives_any_commit() || is_named() {
            true => self.shallow(id, place).await?,
            // A server of the old kind gives what its branches and tags lead to, and nothing else.
            false => self.all(&refs, false, place).await?,
        };
        if received.objects.get(&id).is_none() {
            return Err(GitError::NoRevision(id.to_string()).into());
        }
        (received.id, received.name) = (id, name);
        Ok(received)
    }

    /// A commit by the beginning of its id, among all commits that branches and tags lead to.
    async fn short(&self, digits: &str, place: &Place<'_>) -> Result<Received, RepositoryError> {
        let refs = self.refs(Vec::new()).await?;
        if refs.is_empty() {
            return Err(GitError::Empty.into());
        }
        let can_filter = self.advertisement.can_filter() && self.advertisement.gives_any_commit();
        let mut received = self.all(&refs, can_filter, place).await?;
        let commits = received.objects.of_kind(Kind::Commit);
        let mut found = commits.filter(|id| id.to_string().starts_with(digits));
        let id = match (found.next(), found.next()) {
            (Some(id), None) => id,
            (Some(_), Some(_)) => return Err(GitError::Ambiguous(digits.to_owned()).into()),
            (None, _) => return Err(GitError::NoRevision(digits.to_owned()).into()),
        };
        drop(found);
        if can_filter {
            received = self.shallow(id, place).await?;
        }
        received.id = id;
        Ok(received)
    }

    /// The branches and tags whose names begin so; all of them where nothing is said.
    async fn refs(&self, prefixes: Vec<String>) -> Result<Vec<RemoteRef>, RepositoryError> {
        if !self.advertisement.is_version_2 {
            return Ok(self.advertisement.refs.clone());
        }
        let format = self.advertisement.format;
        let request = refs_request(&RefsRequest { prefixes, format });
        let answer = self.post(request).await?;
        read(answer, parse_refs).await
    }

    async fn shallow(&self, id: ObjectId, place: &Place<'_>) -> Result<Received, RepositoryError> {
        let request = FetchRequest {
            wanted: vec![id],
            is_shallow: true,
            commits_only: false,
        };
        self.objects(id, &request, place).await
    }

    async fn all(
        &self,
        refs: &[RemoteRef],
        commits_only: bool,
        place: &Place<'_>,
    ) -> Result<Received, RepositoryError> {
        let mut wanted: Vec<ObjectId> = refs.iter().map(|one| one.id).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let first = wanted.first().copied().ok_or(GitError::Empty)?;
        let request = FetchRequest {
            wanted,
            is_shallow: false,
            commits_only,
        };
        self.objects(first, &request, place).await
    }

    async fn objects(
        &self,
        id: ObjectId,
        request: &FetchRequest,
        place: &Place<'_>,
    ) -> Result<Received, RepositoryError> {
        let file = place.scratch_file()?;
        let mut objects = Objects::new(file, self.advertisement.format, SIZE_LIMIT);
        let kept = place.keep_pack.then(|| place.scratch_file()).transpose()?;
        let answer = self
            .post(fetch_request(request, &self.advertisement))
            .await?;
        let server = self.advertisement.clone();
        let is_shallow = request.is_shallow;
        read(answer, move |body| {
            let stream = PackStream::open(body, &server)?;
            let limits = Limits::default();
            let pack = match kept {
                None => {
                    read_pack(stream, &mut objects, limits, &mut std::io::sink())?;
                    None
                }
                Some(file) => {
                    let mut copy = BufWriter::new(&file);
                    let pack = read_pack(stream, &mut objects, limits, &mut copy)?;
                    drop(copy);
                    Some((file, pack))
                }
            };
            Ok(Received {
                objects,
                id,
                name: None,
                is_shallow,
                pack,
            })
        })
        .await
    }

    async fn post(&self, message: Vec<u8>) -> Result<WebAnswer, RepositoryError> {
        let url = format!("{}/git-upload-pack", self.address);
        let mut headers = vec![
            ("Content-Type", "application/x-git-upload-pack-request"),
            ("Accept", "application/x-git-upload-pack-result"),
        ];
        if self.advertisement.is_version_2 {
            headers.push(("Git-Protocol", "version=2"));
        }
        let answer = self
            .client
            .ask(&WebRequest {
                url: &url,
                headers: &headers,
                body: Some(message.into()),
                credentials: self.credentials.as_ref(),
            })
            .await?;
        match answer.content_type() {
            Some("application/x-git-upload-pack-result") => Ok(answer),
            _ => Err(GitError::NoRepository.into()),
        }
    }
}

/// The address over HTTP, or why there is none.
fn https(remote: &str) -> Result<String, RepositoryError> {
    match remote.split_once("://") {
        Some(("http" | "https", _)) => Ok(remote.to_owned()),
        Some(("git", _)) => Err(RepositoryError::Transport("git")),
        Some(_) => Err(RepositoryError::Transport("ssh")),
        // The old form of a well-known host.
        None if remote.starts_with("github.com/") => Ok(format!("https://{remote}")),
        None => Err(RepositoryError::Transport("ssh")),
    }
}

/// Scheme, host and port.
pub(super) fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + "://".len());
    let end = url[start..].find('/').map_or(url.len(), |at| start + at);
    &url[..end]
}

/// A URL without user and password, and those.
fn split_credentials(url: &str) -> (String, Option<BasicCredentials>) {
    let bare = stagecraft_registry::without_credentials(url);
    let start = url.find("://").map_or(0, |at| at + "://".len());
    let length = url.len() - bare.len();
    if length == 0 {
        return (bare, None);
    }
    let written = &url[start..start + length - 1];
    let (user, password) = written.split_once(':').unwrap_or((written, ""));
    let credentials = BasicCredentials {
        user: decoded(user),
        password: decoded(password),
    };
    (bare, Some(credentials))
}

/// Percent signs with two digits are bytes; others stay.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after
            .get(..2)
            .and_then(|two| core::str::from_utf8(two).ok());
        let byte = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        match byte.filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Hands an answer's body to blocking work as it comes. Dropped, it ends the work at its next read.
async fn read<T: Send + 'static>(
    mut answer: WebAnswer,
    work: impl FnOnce(Body) -> Result<T, GitError> + Send + 'static,
) -> Result<T, RepositoryError> {
    let (sender, receiver) = mpsc::channel(PIECES);
    let pump = async move {
        while let Some(piece) = answer.chunk().await? {
            if sender.send(piece).await.is_err() {
                break;
            }
        }
        Ok::<(), RepositoryError>(())
    };
    let piece = Bytes::new();
    let (pumped, worked) = tokio::join!(pump, blocking(move || work(Body { receiver, piece })));
    match (pumped, worked) {
        // A body that breaks off is only how it shows.
        (Err(error), Err(GitError::Read(_))) => Err(error),
        (_, worked) => Ok(worked?),
    }
}

/// The body of an answer, for blocking work.
struct Body {
    receiver: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.piece.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let count = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_are_taken_out_of_an_address() {
        let (bare, credentials) = split_credentials("https://joe:s%3Acret%@h:1/a.git");
        let credentials = credentials.unwrap();
        assert_eq!(bare, "https://h:1/a.git");
        assert_eq!(
            (credentials.user.as_str(), credentials.password.as_str()),
            ("joe", "s:cret%")
        );
        assert!(!format!("{credentials:?}").contains("cret"));
        assert!(split_credentials("https://h/a@b").1.is_none());
        let (_, token) = split_credentials("https://t0ken@h/a");
        assert_eq!(token.unwrap().password, "");
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert_eq!(origin("https://h:1/a/b"), "https://h:1");
        assert_eq!(origin("http://h"), "http://h");
    }
}
