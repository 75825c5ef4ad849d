//! A snapshot's bytes: a state, and the positions of the logs it already contains.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::BTreeMap;

use crate::journal::take;
use crate::journal::take_slice;

const MAGIC: [u8; 8] = *b"ops\xf5snp\n";

/// A state and what it covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// By log's name: the last position whose record the state contains.
    pub covers: BTreeMap<String, u64>,
    /// The state, in a format that the version given to [`encode`] names.
    pub body: Vec<u8>,
}

/// Why a snapshot is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Not what was written.
    #[error("the snapshot is damaged")]
    Damaged,
    /// Sound, but of another version of the program.
    #[error("the snapshot has format {0}, not the one of this program")]
    Version(u32),
}

/// `magic:8 version:u32 count:u32 (len:u32 name pos:u64)* len:u64 body crc32c:u32`.
pub fn encode(version: u32, covers: &BTreeMap<String, u64>, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 64);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&version.to_le_bytes());
    out.extend_from_slice(&len32(covers.len()).to_le_bytes());
    for (name, pos) in covers {
        out.extend_from_slice(&len32(name.len()).to_le_bytes());
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(&pos.to_le_bytes());
    }
    out.extend_from_slice(&(body.len() as u64).to_le_bytes());
    out.extend_from_slice(body);
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// Reads a snapshot of one `version`.
///
/// # Errors
/// [`ImageError`].
pub fn decode(version: u32, bytes: &[u8]) -> Result<Image, ImageError> {
    let (inner, crc) = bytes.split_last_chunk::<4>().ok_or(ImageError::Damaged)?;
    if crc32c::crc32c(inner) != u32::from_le_bytes(*crc) {
        return Err(ImageError::Damaged);
    }
    let mut rest = inner;
    let magic: [u8; 8] = take(&mut rest).ok_or(ImageError::Damaged)?;
    let found = u32::from_le_bytes(take(&mut rest).ok_or(ImageError::Damaged)?);
    if magic != MAGIC {
        return Err(ImageError::Damaged);
    }
    if found != version {
        return Err(ImageError::Version(found));
    }
    content(rest).ok_or(ImageError::Damaged)
}

fn content(mut rest: &[u8]) -> Option<Image> {
    let mut covers = BTreeMap::new();
    for _ in 0..u32::from_le_bytes(take(&mut rest)?) {
        let len = u32::from_le_bytes(take(&mut rest)?);
        let name = std::str::from_utf8(take_slice(&mut rest, u64::from(len))?).ok()?;
        covers.insert(name.to_owned(), u64::from_le_bytes(take(&mut rest)?));
    }
    let len = u64::from_le_bytes(take(&mut rest)?);
    let body = take_slice(&mut rest, len)?.to_vec();
    rest.is_empty().then_some(Image { covers, body })
}

fn len32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_reads_back_and_no_flip_passes() {
        let covers = BTreeMap::from([("events".to_owned(), 7), ("samples".to_owned(), 1 << 40)]);
        let bytes = encode(3, &covers, b"state");
        let image = Image {
            covers,
            body: b"state".to_vec(),
        };
        assert_eq!(decode(3, &bytes), Ok(image));
        assert_eq!(decode(4, &bytes), Err(ImageError::Version(3)));
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 16;
            assert_eq!(decode(3, &bad), Err(ImageError::Damaged));
            assert_eq!(decode(3, &bytes[..at]), Err(ImageError::Damaged));
        }
    }
}
