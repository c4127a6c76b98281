//! What a client asks and a server answers, in version 2 of the protocol, and in version 0 for servers without it.
//!
//! Invariant: what goes into a request is an id, a name of ours or a checked revision: never a line end.

use std::io::{self, Read};

use crate::packet::{self, DELIMITER, FLUSH, Packet, PacketReader, shown};
use crate::{GitError, ObjectFormat, ObjectId};

/// Most branches and tags that are looked at.
const REFS_LIMIT: usize = 1_000_000;

/// How this client calls itself.
const AGENT: &str = concat!("agent=stagecraft/", env!("CARGO_PKG_VERSION"));

/// A branch, a tag, or `HEAD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteRef {
    /// Its whole name.
    pub name: String,
    /// What it names.
    pub id: ObjectId,
    /// What a tag object leads to.
    pub peeled: Option<ObjectId>,
}

/// What a server says first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advertisement {
    /// Whether it speaks version 2; otherwise `refs` is all there is.
    pub is_version_2: bool,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// Its branches and tags, in version 0.
    pub refs: Vec<RemoteRef>,
    /// How it names objects.
    pub format: ObjectFormat,
}

impl Advertisement {
    /// Whether the server leaves objects out of what it sends when asked to.
    #[must_use]
    pub fn can_filter(&self) -> bool {
        let mut capabilities = self.capabilities.iter();
        match self.is_version_2 {
            true => capabilities.any(|one| {
                let features = one.strip_prefix("fetch=").unwrap_or_default();
                features.split(' ').any(|feature| feature == "filter")
            }),
            false => capabilities.any(|one| one == "filter"),
        }
    }

    /// Whether any commit may be asked for, rather than what branches and tags name.
    #[must_use]
    pub fn gives_any_commit(&self) -> bool {
        let allows = |one: &String| {
            matches!(
                one.as_str(),
                "allow-reachable-sha1-in-want" | "allow-any-sha1-in-want"
            )
        };
        self.is_version_2 || self.capabilities.iter().any(allows)
    }

    fn take_format(&mut self) -> Result<(), GitError> {
        let mut named = self.capabilities.iter();
        let name = named.find_map(|one| one.strip_prefix("object-format="));
        if let Some(name) = name {
            self.format = ObjectFormat::from_name(name)
                .ok_or_else(|| GitError::Format(shown(name.as_bytes())))?;
        }
        Ok(())
    }
}

/// Reads what a server says first. Over HTTP a line that names the service stands before it.
///
/// # Errors
/// When it is no git server.
pub fn read_advertisement(source: impl Read) -> Result<Advertisement, GitError> {
    let mut packets = PacketReader::new(source);
    let mut advertisement = Advertisement::default();
    let mut names_service = false;
    loop {
        let packet = packets.next()?;
        let Some(line) = packet.line() else {
            // A flush of its own follows the name of the service.
            if core::mem::take(&mut names_service) {
                continue;
            }
            break;
        };
        if line.starts_with(b"# service=") {
            names_service = true;
            continue;
        }
        names_service = false;
        if line == b"version 2" {
            advertisement.is_version_2 = true;
        } else if advertisement.is_version_2 {
            advertisement
                .capabilities
                .push(String::from_utf8_lossy(line).into_owned());
        } else if line != b"version 1" {
            let (line, capabilities) = split_at_nul(line);
            if let Some(capabilities) = capabilities {
                let words = String::from_utf8_lossy(capabilities);
                advertisement.capabilities = words.split(' ').map(str::to_owned).collect();
            }
            take_old_ref(&mut advertisement.refs, line)?;
        }
    }
    advertisement.take_format()?;
    Ok(advertisement)
}

fn split_at_nul(line: &[u8]) -> (&[u8], Option<&[u8]>) {
    match line.iter().position(|byte| *byte == 0) {
        Some(at) => (&line[..at], line.get(at + 1..)),
        None => (line, None),
    }
}

/// `ID NAME`; what a tag leads to follows it as `ID NAME^{}`.
fn take_old_ref(refs: &mut Vec<RemoteRef>, line: &[u8]) -> Result<(), GitError> {
    let line = core::str::from_utf8(line).map_err(|_| GitError::Malformed("a branch"))?;
    let Some((id, name)) = line.split_once(' ') else {
        return Err(GitError::NoRepository);
    };
    let id = ObjectId::from_hex(id).ok_or(GitError::NoRepository)?;
    match name.strip_suffix("^{}") {
        // What an empty repository has in place of branches.
        Some("capabilities") => {}
        Some(name) => {
            if let Some(tag) = refs.last_mut().filter(|last| last.name == name) {
                tag.peeled = Some(id);
            }
        }
        None => push_ref(refs, name, id)?,
    }
    Ok(())
}

fn push_ref(refs: &mut Vec<RemoteRef>, name: &str, id: ObjectId) -> Result<(), GitError> {
    if refs.len() == REFS_LIMIT {
        return Err(GitError::TooLarge {
            limit: REFS_LIMIT as u64,
            what: "branches and tags",
        });
    }
    refs.push(RemoteRef {
        name: name.to_owned(),
        id,
        peeled: None,
    });
    Ok(())
}

/// Which branches and tags are asked for.
#[derive(Clone, Debug, Default)]
pub struct RefsRequest {
    /// What their names begin with; all of them where it is empty.
    pub prefixes: Vec<String>,
    /// How the server names objects.
    pub format: ObjectFormat,
}

/// The question for branches and tags, in version 2.
#[must_use]
pub fn refs_request(request: &RefsRequest) -> Vec<u8> {
    let mut message = Vec::new();
    packet::write(&mut message, "command=ls-refs\n");
    packet::write(&mut message, AGENT);
    let format = request.format.name();
    packet::write(&mut message, &format!("object-format={format}"));
    message.extend_from_slice(DELIMITER);
    packet::write(&mut message, "peel\n");
    packet::write(&mut message, "symrefs\n");
    for prefix in &request.prefixes {
        packet::write(&mut message, &format!("ref-prefix {prefix}\n"));
    }
    message.extend_from_slice(FLUSH);
    message
}

/// The answer to [`refs_request`].
///
/// # Errors
/// When it is malformed.
pub fn parse_refs(source: impl Read) -> Result<Vec<RemoteRef>, GitError> {
    let mut packets = PacketReader::new(source);
    let mut refs = Vec::new();
    loop {
        let packet = packets.next()?;
        let Some(line) = packet.line() else {
            return Ok(refs);
        };
        let malformed = || GitError::Malformed("a branch");
        let line = core::str::from_utf8(line).map_err(|_| malformed())?;
        let mut words = line.split(' ');
        let (Some(id), Some(name)) = (words.next(), words.next()) else {
            return Err(malformed());
        };
        // A branch that was never committed to.
        if id == "unborn" {
            continue;
        }
        let id = ObjectId::from_hex(id).ok_or_else(malformed)?;
        push_ref(&mut refs, name, id)?;
        let peeled = words.find_map(|word| word.strip_prefix("peeled:"));
        if let (Some(last), Some(peeled)) = (refs.last_mut(), peeled) {
            last.peeled = Some(ObjectId::from_hex(peeled).ok_or_else(malformed)?);
        }
    }
}

/// Which objects are asked for.
#[derive(Clone, Debug)]
pub struct FetchRequest {
    /// Commits and tags.
    pub wanted: Vec<ObjectId>,
    /// Without the commits before them.
    pub is_shallow: bool,
    /// Commits alone, without their files.
    pub commits_only: bool,
}

/// The question for objects.
#[must_use]
pub fn fetch_request(request: &FetchRequest, server: &Advertisement) -> Vec<u8> {
    let mut message = Vec::new();
    let format = server.format.name();
    if server.is_version_2 {
        packet::write(&mut message, "command=fetch");
        packet::write(&mut message, AGENT);
        packet::write(&mut message, &format!("object-format={format}"));
        message.extend_from_slice(DELIMITER);
        packet::write(&mut message, "ofs-delta\n");
        packet::write(&mut message, "no-progress\n");
    }
    for (number, id) in request.wanted.iter().enumerate() {
        let mut line = format!("want {id}");
        if number == 0 && !server.is_version_2 {
            line.push_str(" side-band-64k ofs-delta no-progress ");
            let has = |name| server.capabilities.iter().any(|one| one == name);
            for name in ["shallow", "filter"] {
                if has(name) {
                    line.push_str(name);
                    line.push(' ');
                }
            }
            line.push_str(AGENT);
            if server
                .capabilities
                .iter()
                .any(|one| one.starts_with("object-format="))
            {
                line.push_str(&format!(" object-format={format}"));
            }
        }
        packet::write(&mut message, &(line + "\n"));
    }
    if request.is_shallow {
        packet::write(&mut message, "deepen 1\n");
    }
    if request.commits_only {
        packet::write(&mut message, "filter tree:0\n");
    }
    if !server.is_version_2 {
        message.extend_from_slice(FLUSH);
    }
    packet::write(&mut message, "done\n");
    if server.is_version_2 {
        message.extend_from_slice(FLUSH);
    }
    message
}

/// The pack in the answer to [`fetch_request`].
pub struct PackStream<R> {
    packets: PacketReader<R>,
    piece: Vec<u8>,
    taken: usize,
    has_ended: bool,
}

impl<R: Read> PackStream<R> {
    /// Reads what stands before the pack.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(source: R, server: &Advertisement) -> Result<Self, GitError> {
        let mut packets = PacketReader::new(source);
        loop {
            let packet = packets.next()?;
            match packet.line() {
                Some(b"packfile") if server.is_version_2 => break,
                // Version 0 tells what is shallow, then that nothing is in common.
                Some(b"NAK") if !server.is_version_2 => break,
                _ => {}
            }
        }
        Ok(Self {
            packets,
            piece: Vec::new(),
            taken: 0,
            has_ended: false,
        })
    }

    /// Bytes of the next piece; progress is passed over.
    fn advance(&mut self) -> Result<(), GitError> {
        loop {
            match self.packets.next()? {
                Packet::Data([1, data @ ..]) => {
                    self.piece.clear();
                    self.piece.extend_from_slice(data);
                    self.taken = 0;
                    if !self.piece.is_empty() {
                        return Ok(());
                    }
                }
                Packet::Data([2, ..] | []) => {}
                Packet::Data([3, message @ ..]) => return Err(GitError::Server(shown(message))),
                Packet::Data(_) => return Err(GitError::Malformed("a band")),
                Packet::Flush | Packet::Delimiter => {
                    self.piece.clear();
                    self.taken = 0;
                    self.has_ended = true;
                    return Ok(());
                }
            }
        }
    }
}

impl<R: Read> Read for PackStream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.piece.len() && !self.has_ended {
            self.advance().map_err(|error| match error {
                GitError::Read(error) => error,
                error => io::Error::other(error),
            })?;
        }
        let rest = self.piece.get(self.taken..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        Ok(count)
    }
}
