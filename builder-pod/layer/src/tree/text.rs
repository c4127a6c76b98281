//! The text form of a tree, one line per entry: for goldens, and to write trees in tests.
//!
//! ```text
//! d 0755 0:0 - etc
//! f 0644 0:0 12 etc/passwd
//! f 0644 0:0 12 etc/same == etc/passwd
//! l 0777 0:0 - etc/mtab -> /proc/mounts
//! c 0666 0:0 1,3 dev/null
//! p 0600 0:0 - run/pipe
//! f 0755 0:0 9 bin/ping mtime=1700000000.5 security.capability=01000002
//! ```
//! Bytes of a path that are not printable, blanks and backslashes stand as `\xNN`. Times and attributes are
//! written by [`FsTree::to_detailed_text`] only.

use std::fmt::Write as _;

use super::FsTree;
use crate::node::{Node, NodeKind, Time, device, device_numbers};

/// Why a text is not that of a tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct TreeTextError {
    /// Line of the text, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl FsTree {
    /// The text form without times and attributes.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.render(false)
    }

    /// The text form with times other than 0 and attributes.
    #[must_use]
    pub fn to_detailed_text(&self) -> String {
        self.render(true)
    }

    fn render(&self, detailed: bool) -> String {
        let mut text = String::new();
        let groups = self.link_groups();
        if !self.root.same_metadata(&Node::implicit_directory()) {
            line(&mut text, b"/", &self.root, None, detailed);
        }
        for (path, node) in self.iter() {
            let first = node
                .link_group
                .and_then(|group| groups.get(&group)?.first().copied());
            line(
                &mut text,
                path,
                node,
                first.filter(|first| *first != path),
                detailed,
            );
        }
        text
    }

    /// Reads the text form. Blank lines and lines that begin with `#` are skipped.
    ///
    /// # Errors
    /// When a line is not of the form.
    pub fn parse(text: &str) -> Result<Self, TreeTextError> {
        let mut tree = Self::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                tree.parse_line(line).map_err(|problem| TreeTextError {
                    line: number + 1,
                    problem,
                })?;
            }
        }
        Ok(tree)
    }

    fn parse_line(&mut self, line: &str) -> Result<(), &'static str> {
        let mut words = line.split_ascii_whitespace();
        let mut word = |problem| words.next().ok_or(problem);
        let (kind, mode) = (word("no kind")?, word("no mode")?);
        let mode = u32::from_str_radix(mode, 8).map_err(|_| "the mode is not octal")?;
        let (uid, gid) = word("no owner")?
            .split_once(':')
            .ok_or("the owner is not uid:gid")?;
        let uid = uid.parse().map_err(|_| "the uid is no number")?;
        let gid = gid.parse().map_err(|_| "the gid is no number")?;
        let (size, path) = (word("no size")?, word("no path")?);
        let path = unescape(path).ok_or("the path has a bad escape")?;
        let kind = match kind {
            "d" => NodeKind::Directory,
            "f" => NodeKind::File {
                size: size.parse().map_err(|_| "the size is no number")?,
            },
            "l" => NodeKind::Symlink {
                target: Box::default(),
            },
            "p" => NodeKind::Fifo,
            "c" => NodeKind::CharacterDevice {
                rdev: parse_device(size)?,
            },
            "b" => NodeKind::BlockDevice {
                rdev: parse_device(size)?,
            },
            _ => return Err("the kind is none of d f l p c b"),
        };
        let mut node = Node::new(kind, mode, uid, gid);
        while let Some(word) = words.next() {
            self.parse_detail(&mut node, word, words.clone().next())?;
            if matches!(word, "->" | "==") {
                words.next();
            }
        }
        if path == b"/" {
            self.root = node;
        } else {
            self.insert(&path, node);
        }
        Ok(())
    }

    fn parse_detail(
        &mut self,
        node: &mut Node,
        word: &str,
        next: Option<&str>,
    ) -> Result<(), &'static str> {
        let next = || unescape(next.unwrap_or_default()).ok_or("the target has a bad escape");
        if word == "->" {
            node.kind = NodeKind::Symlink {
                target: next()?.into(),
            };
        } else if word == "==" {
            let target = next()?;
            let new_group = self.next_link_group;
            let other = self.get_mut(&target).ok_or("no such hard link target")?;
            let group = *other.link_group.get_or_insert(new_group);
            self.next_link_group = self.next_link_group.max(group + 1);
            node.link_group = Some(group);
        } else if let Some(time) = word.strip_prefix("mtime=") {
            node.mtime = parse_time(time).ok_or("the time is not seconds[.fraction]")?;
        } else {
            let (name, value) = word.split_once('=').ok_or("not name=value")?;
            let name = unescape(name).ok_or("the attribute's name has a bad escape")?;
            let value =
                parse_hexadecimal(value).ok_or("the attribute's value is not hexadecimal")?;
            node.set_attribute(&name, Some(&value));
        }
        Ok(())
    }
}

fn line(text: &mut String, path: &[u8], node: &Node, same_as: Option<&[u8]>, detailed: bool) {
    let (letter, size) = match &node.kind {
        NodeKind::Directory => ('d', None),
        NodeKind::File { size } => ('f', Some(size.to_string())),
        NodeKind::Symlink { .. } => ('l', None),
        NodeKind::Fifo => ('p', None),
        NodeKind::CharacterDevice { rdev } => ('c', Some(render_device(*rdev))),
        NodeKind::BlockDevice { rdev } => ('b', Some(render_device(*rdev))),
    };
    let size = size.as_deref().unwrap_or("-");
    let (mode, uid, gid) = (node.mode, node.uid, node.gid);
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "{letter} {mode:04o} {uid}:{gid} {size} {}",
        escape(path)
    );
    if let Some(first) = same_as {
        let _ = write!(text, " == {}", escape(first));
    }
    if let Some(target) = node.symlink_target() {
        let _ = write!(text, " -> {}", escape(target));
    }
    if detailed {
        details(text, node);
    }
    text.push('\n');
}

fn details(text: &mut String, node: &Node) {
    let Time {
        seconds,
        nanoseconds,
    } = node.mtime;
    if nanoseconds != 0 {
        let fraction = format!("{nanoseconds:09}");
        let _ = write!(text, " mtime={seconds}.{}", fraction.trim_end_matches('0'));
    } else if seconds != 0 {
        let _ = write!(text, " mtime={seconds}");
    }
    for attribute in node.attributes() {
        let _ = write!(text, " {}=", escape(&attribute.name));
        for byte in &attribute.value {
            let _ = write!(text, "{byte:02x}");
        }
    }
}

fn render_device(rdev: u64) -> String {
    let (major, minor) = device_numbers(rdev);
    format!("{major},{minor}")
}

fn parse_device(text: &str) -> Result<u64, &'static str> {
    let numbers = text.split_once(',');
    let numbers =
        numbers.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    numbers
        .map(|(major, minor)| device(major, minor))
        .ok_or("the device is not major,minor")
}

fn parse_time(text: &str) -> Option<Time> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.get(..9).unwrap_or(fraction);
    let nanoseconds = if digits.is_empty() {
        0
    } else {
        format!("{digits:0<9}").parse().ok()?
    };
    Some(Time {
        seconds: seconds.parse().ok()?,
        nanoseconds,
    })
}

fn parse_hexadecimal(text: &str) -> Option<Vec<u8>> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    text.len()
        .is_multiple_of(2)
        .then(|| text.as_bytes().chunks(2).map(byte).collect())?
}

fn escape(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path {
        if byte.is_ascii_graphic() && *byte != b'\\' {
            text.push(char::from(*byte));
        } else {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    Some(bytes)
}
