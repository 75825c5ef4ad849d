//! The head of a segment file: which segment it is and where it begins.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::journal::take;

const MAGIC: [u8; 8] = *b"ops\xf5seg\n";
/// The format of a segment.
pub const VERSION: u32 = 1;
/// Bytes of the head; the first frame begins here.
pub const HEADER_BYTES: usize = 32;

/// Begins every segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Counts the segments of a log from 1; never used twice.
    pub segment_no: u32,
    /// The position of the segment's first record.
    pub first: u64,
}

/// Why there is no reading a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// All zero or not all there: its writer stopped before the first record.
    #[error("the segment has no head yet")]
    Unwritten,
    /// Not what was written.
    #[error("the head of the segment is damaged")]
    Damaged,
    /// Sound, but of another format.
    #[error("the segment has format {0}, this program reads format {VERSION}")]
    Version(u32),
}

impl Header {
    /// `magic:8 version:u32 segment_no:u32 first:u64 zero:u32 crc32c:u32`.
    pub fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.segment_no.to_le_bytes());
        bytes.extend_from_slice(&self.first.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        let mut head = [0; HEADER_BYTES];
        head.iter_mut().zip(bytes).for_each(|(to, b)| *to = b);
        head
    }

    /// Reads the head that `bytes` begin with.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub fn decode(bytes: &[u8]) -> Result<Header, HeaderError> {
        let Some((head, _)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(HeaderError::Unwritten);
        };
        if head.iter().all(|b| *b == 0) {
            return Err(HeaderError::Unwritten);
        }
        fields(head).ok_or(HeaderError::Damaged)?
    }
}

fn fields(head: &[u8; HEADER_BYTES]) -> Option<Result<Header, HeaderError>> {
    let mut rest = head.as_slice();
    let magic: [u8; 8] = take(&mut rest)?;
    let version = u32::from_le_bytes(take(&mut rest)?);
    let segment_no = u32::from_le_bytes(take(&mut rest)?);
    let first = u64::from_le_bytes(take(&mut rest)?);
    let _: [u8; 4] = take(&mut rest)?;
    let crc = u32::from_le_bytes(take(&mut rest)?);
    let sound = magic == MAGIC && crc == crc32c::crc32c(head.get(..HEADER_BYTES - 4)?);
    sound.then_some(if version == VERSION {
        Ok(Header { segment_no, first })
    } else {
        Err(HeaderError::Version(version))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_reads_back_or_says_why_not() {
        let head = Header {
            segment_no: 4,
            first: 1 << 40,
        };
        let bytes = head.encode();
        assert_eq!(Header::decode(&bytes), Ok(head));
        assert_eq!(Header::decode(&bytes[..31]), Err(HeaderError::Unwritten));
        assert_eq!(Header::decode(&[0; 40]), Err(HeaderError::Unwritten));
        for at in 0..HEADER_BYTES {
            let mut bad = bytes;
            bad[at] ^= 4;
            assert_eq!(Header::decode(&bad), Err(HeaderError::Damaged), "{at}");
        }
    }

    #[test]
    fn a_later_format_is_told_from_damage() {
        let mut bytes = Header {
            segment_no: 1,
            first: 1,
        }
        .encode();
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..28]).to_le_bytes();
        bytes[28..].copy_from_slice(&crc);
        assert_eq!(Header::decode(&bytes), Err(HeaderError::Version(2)));
    }
}
