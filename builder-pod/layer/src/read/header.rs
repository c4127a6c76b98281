//! The fields of one header block.

use tar::Header;

use super::BLOCK;
use super::number::{time_of, unsigned};
use super::pax::PaxRecords;
use crate::error::LayerError;
use crate::node::{Time, device};

/// The numbers of an entry: an extended header's record, else the header's field.
pub(super) struct Fields<'a> {
    pub(super) header: &'a Header,
    pub(super) pax: &'a PaxRecords,
    pub(super) offset: u64,
}

impl Fields<'_> {
    fn bad(&self, problem: &'static str) -> LayerError {
        LayerError::Header {
            offset: self.offset,
            problem,
        }
    }

    pub(super) fn size(&self) -> Result<u64, LayerError> {
        let size = self
            .pax
            .size
            .or_else(|| unsigned(&self.header.as_old().size));
        size.filter(|size| *size <= i64::MAX as u64)
            .ok_or_else(|| self.bad("its size is no number"))
    }

    pub(super) fn uid(&self) -> Result<u32, LayerError> {
        let uid = self.pax.uid.or_else(|| unsigned(&self.header.as_old().uid));
        uid.and_then(|uid| u32::try_from(uid).ok())
            .ok_or_else(|| self.bad("its uid is no user id"))
    }

    pub(super) fn gid(&self) -> Result<u32, LayerError> {
        let gid = self.pax.gid.or_else(|| unsigned(&self.header.as_old().gid));
        gid.and_then(|gid| u32::try_from(gid).ok())
            .ok_or_else(|| self.bad("its gid is no group id"))
    }

    pub(super) fn mode(&self) -> Result<u32, LayerError> {
        let mode = unsigned(&self.header.as_old().mode);
        #[allow(clippy::cast_possible_truncation, reason = "cut to twelve bits")]
        mode.map(|mode| (mode & 0o7777) as u32)
            .ok_or_else(|| self.bad("its mode is no number"))
    }

    pub(super) fn mtime(&self) -> Result<Time, LayerError> {
        let time = self
            .pax
            .mtime
            .or_else(|| time_of(&self.header.as_old().mtime));
        time.ok_or_else(|| self.bad("its time is no number"))
    }

    pub(super) fn device(&self) -> Result<u64, LayerError> {
        // GNU and ustar have the numbers at the same place.
        let fields = self
            .header
            .as_ustar()
            .map(|header| (header.dev_major, header.dev_minor));
        let fields = fields.or_else(|| {
            self.header
                .as_gnu()
                .map(|header| (header.dev_major, header.dev_minor))
        });
        let Some((major, minor)) = fields else {
            return Ok(0);
        };
        let number = |field: &[u8]| u32::try_from(unsigned(field)?).ok();
        let numbers = number(&major).zip(number(&minor));
        let (major, minor) = numbers.ok_or_else(|| self.bad("its device is no number"))?;
        Ok(device(major, minor))
    }
}

/// The name in a header: ustar splits long ones in two.
pub(super) fn header_name(header: &Header) -> Vec<u8> {
    let name = until_zero(&header.as_old().name);
    match header.as_ustar().map(|ustar| until_zero(&ustar.prefix)) {
        Some(prefix) if !prefix.is_empty() => [prefix, name].join(&b'/'),
        _ => name.to_vec(),
    }
}

pub(super) fn until_zero(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The checksum counts its own field as blanks; some writers sum signed bytes.
pub(super) fn checksum_is_wrong(block: &[u8; BLOCK]) -> bool {
    let field = 148..156;
    let Some(expected) = unsigned(&block[field.clone()]) else {
        return true;
    };
    let byte = |(index, byte): (usize, &u8)| if field.contains(&index) { b' ' } else { *byte };
    let sum: u64 = block
        .iter()
        .enumerate()
        .map(|pair| u64::from(byte(pair)))
        .sum();
    let signed: i64 = block
        .iter()
        .enumerate()
        .map(|pair| i64::from(byte(pair).cast_signed()))
        .sum();
    expected != sum && i64::try_from(expected) != Ok(signed)
}
