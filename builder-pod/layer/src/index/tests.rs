use super::*;
use crate::node::{Node, NodeKind};
use crate::{LayerWriter, WriteOptions};

fn archive() -> Vec<u8> {
    let mut writer = LayerWriter::new(Vec::new(), WriteOptions::default());
    let file = |size| Node::new(NodeKind::File { size }, 0o644, 0, 0);
    writer.append(b"a", &file(5), &mut &b"first"[..]).unwrap();
    writer.append_link(b"b", &file(5), b"a").unwrap();
    writer
        .append_link(b"lower", &file(5), b"elsewhere")
        .unwrap();
    writer.append(b"a", &file(6), &mut &b"second"[..]).unwrap();
    writer
        .append(b"empty", &file(0), &mut std::io::empty())
        .unwrap();
    writer.finish().unwrap().0
}

fn content(archive: &[u8], index: &TarIndex, path: &[u8]) -> String {
    let read_at = |offset: u64, buffer: &mut [u8]| {
        let mut rest = &archive[usize::try_from(offset).unwrap()..];
        // In small pieces, as a file may be read.
        let length = buffer.len().min(2);
        rest.read(&mut buffer[..length])
    };
    let mut text = String::new();
    index
        .open(path, read_at)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    text
}

#[test]
fn contents_are_found_by_every_name_and_a_link_keeps_what_it_linked_to() {
    let archive = archive();
    let mut copy = Vec::new();
    let (index, digest) = TarIndex::copy(&*archive, &mut copy).unwrap();
    assert_eq!(copy, archive);
    assert_eq!(digest, Digest::of(&archive));
    assert_eq!(content(&archive, &index, b"a"), "second");
    assert_eq!(content(&archive, &index, b"b"), "first");
    assert_eq!(content(&archive, &index, b"empty"), "");
    assert!(index.get(b"lower").is_none() && index.get(b"c").is_none());
    assert_eq!((index.len(), index.is_empty()), (3, false));
}

#[test]
fn a_copy_has_every_byte_also_those_behind_the_end() {
    let mut archive = archive();
    archive.extend_from_slice(b"left over");
    let mut copy = Vec::new();
    let (_, digest) = TarIndex::copy(&*archive, &mut copy).unwrap();
    assert!(copy == archive);
    assert_eq!(digest, Digest::of(&archive));
}

#[test]
fn a_sink_that_is_full_is_told_from_an_archive_that_is_broken() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let error = TarIndex::copy(&*archive(), Full).unwrap_err();
    assert!(matches!(error, LayerError::Write { .. }), "{error}");
    let error = TarIndex::copy(&archive()[..600], io::sink()).unwrap_err();
    assert!(
        matches!(error, LayerError::Header { .. } | LayerError::Read { .. }),
        "{error}"
    );
}

#[test]
fn a_reader_of_a_truncated_archive_fails_instead_of_ending() {
    let archive = archive();
    let (index, _) = TarIndex::copy(&*archive, io::sink()).unwrap();
    let mut reader = index.open(b"a", |_, _| Ok(0)).unwrap();
    assert!(reader.read(&mut [0; 4]).is_err());
}
