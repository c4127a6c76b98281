//! One line of a case that describes a file: in a context, an archive or an image's layer.
//!
//! `[OPTIONS] PATH`, then ` = CONTENT`, ` -> SYMLINK TARGET` or ` => HARD LINK TARGET`. A path that ends in a slash is a
//! directory. Without content a file holds its own path. Options are separated by blanks:
//! `4755` mode, `1:2` owner, `@12.5` time, `fifo`, `sock`, `chr=1:3`, `blk=8:0`, `size=N` (that many bytes),
//! `hole=N` (sparse, that many bytes), `from=/path` (content of a file of this machine), `archive=NAME` with `gz`, `xz`,
//! `bz2`, `zst` (content is that archive), `xattr:NAME=VALUE`, `raw` (an archive's name is written as it stands).
//! `\n`, `\t`, `\\`, `\s` (blank) and `\xNN` are escapes, so that names may be anything.

/// The time of what says none: 2001-09-09.
pub(crate) const TIME: i64 = 1_000_000_000;

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File(Content),
    Symlink(Vec<u8>),
    Link(Vec<u8>),
    Fifo,
    Socket,
    Character(u32, u32),
    Block(u32, u32),
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Bytes(Vec<u8>),
    /// That many bytes of a pattern.
    Size(u64),
    /// That many bytes that were never written.
    Hole(u64),
    /// A file of this machine.
    Machine(String),
    /// An archive of the case or its topic, and how it is compressed.
    Archive(String, Option<String>),
}

/// A file and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    /// Seconds and nanoseconds, if the line says them.
    pub(crate) time: Option<(i64, u32)>,
    pub(crate) xattrs: Vec<(String, Vec<u8>)>,
}

#[derive(Default)]
struct Options {
    mode: Option<u32>,
    owner: (u32, u32),
    time: Option<(i64, u32)>,
    xattrs: Vec<(String, Vec<u8>)>,
    kind: Option<Kind>,
    compression: Option<String>,
}

impl Entry {
    /// Reads a line; panics with the line where it is none.
    pub(crate) fn parse(line: &str) -> Self {
        let (options, rest) = match line.strip_prefix('[').and_then(|l| l.split_once("] ")) {
            Some((options, rest)) => (Options::parse(options, line), rest),
            None => (Options::default(), line),
        };
        let separators = [" = ", " -> ", " => "];
        let found = separators
            .iter()
            .filter_map(|separator| rest.find(separator).map(|at| (at, *separator)))
            .min();
        let (path, after) = match found {
            Some((at, separator)) => (
                &rest[..at],
                Some((separator, &rest[at + separator.len()..])),
            ),
            None => match rest.strip_suffix(" =") {
                Some(path) => (path, Some((" = ", ""))),
                None => (rest, None),
            },
        };
        let path = unescape(path);
        let is_directory = path.ends_with(b"/");
        let kind = match (options.kind, after) {
            (Some(Kind::File(Content::Archive(name, _))), _) => {
                Kind::File(Content::Archive(name, options.compression))
            }
            (Some(kind), _) => kind,
            (None, Some((" -> ", target))) => Kind::Symlink(unescape(target)),
            (None, Some((" => ", target))) => Kind::Link(unescape(target)),
            (None, Some((_, content))) => Kind::File(Content::Bytes(unescape(content))),
            (None, None) if is_directory => Kind::Directory,
            (None, None) => Kind::File(Content::Bytes(path.clone())),
        };
        let mode = options.mode.unwrap_or(match kind {
            Kind::Directory => 0o755,
            Kind::Symlink(_) => 0o777,
            _ => 0o644,
        });
        Self {
            path,
            kind,
            mode,
            owner: options.owner,
            time: options.time,
            xattrs: options.xattrs,
        }
    }

    /// The path without the slash of a directory.
    pub(crate) fn name(&self) -> &[u8] {
        self.path.strip_suffix(b"/").unwrap_or(&self.path)
    }
}

impl Options {
    fn parse(text: &str, line: &str) -> Self {
        let mut options = Self::default();
        for word in text.split_ascii_whitespace() {
            options
                .word(word)
                .unwrap_or_else(|| panic!("{word:?} is no option: {line}"));
        }
        options
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let numbers = |text: &str| -> Option<(u32, u32)> {
            let (a, b) = text.split_once(':')?;
            Some((a.parse().ok()?, b.parse().ok()?))
        };
        if let Some(time) = word.strip_prefix('@') {
            let (seconds, fraction) = time.split_once('.').unwrap_or((time, "0"));
            self.time = Some((
                seconds.parse().ok()?,
                format!("{fraction:0<9}").parse().ok()?,
            ));
            return Some(());
        }
        if let Some(xattr) = word.strip_prefix("xattr:") {
            let (name, value) = xattr.split_once('=')?;
            self.xattrs.push((name.to_owned(), unescape(value)));
            return Some(());
        }
        if let Ok(mode) = u32::from_str_radix(word, 8) {
            self.mode = Some(mode);
            return Some(());
        }
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        self.kind = Some(match name {
            "fifo" => Kind::Fifo,
            "sock" => Kind::Socket,
            "chr" => numbers(value).map(|(a, b)| Kind::Character(a, b))?,
            "blk" => numbers(value).map(|(a, b)| Kind::Block(a, b))?,
            "size" => Kind::File(Content::Size(value.parse().ok()?)),
            "hole" => Kind::File(Content::Hole(value.parse().ok()?)),
            "from" => Kind::File(Content::Machine(value.to_owned())),
            "archive" => Kind::File(Content::Archive(value.to_owned(), None)),
            "gz" | "xz" | "bz2" | "zst" => {
                self.compression = Some(name.to_owned());
                return Some(());
            }
            _ => {
                self.owner = numbers(word)?;
                return Some(());
            }
        });
        Some(())
    }
}

/// Bytes of a text with escapes.
pub(crate) fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let (&escape, after) = rest
            .split_first()
            .expect("a backslash at the end of a text");
        rest = after;
        bytes.push(match escape {
            b'n' => b'\n',
            b't' => b'\t',
            b's' => b' ',
            b'\\' => b'\\',
            b'x' => {
                let (digits, after) = rest.split_at(2);
                rest = after;
                u8::from_str_radix(str::from_utf8(digits).unwrap(), 16).unwrap()
            }
            _ => panic!("\\{} is no escape: {text}", escape as char),
        });
    }
    bytes
}

/// The text of bytes: what is not printable, and the backslash, is escaped.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => text.push_str("\\n"),
                '\t' => text.push_str("\\t"),
                '\\' => text.push_str("\\\\"),
                c if c.is_control() => text.push_str(&format!("\\x{:02x}", u32::from(c))),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}
