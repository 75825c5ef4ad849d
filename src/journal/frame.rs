//! One record on disk: how it is framed, and how a reader finds its way past damage.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::journal::take;
use crate::journal::take_slice;

/// Begins every frame. Two of its bytes occur in no UTF-8 text.
pub const MARKER: [u8; 4] = [0xf5, 0x4f, 0x70, 0xa7];
/// The format of the frame and of the payloads it carries.
pub const VERSION: u8 = 1;
/// Bytes of a frame before its payload.
pub const HEAD_BYTES: usize = 22;
/// The longest payload; a longer one is refused when written and taken for damage when read.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;

/// The payload is longer than [`PAYLOAD_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record of {bytes} bytes is over the limit of {PAYLOAD_BYTES_MAX}")]
pub struct TooLong {
    /// How long it is.
    pub bytes: usize,
}

/// Appends the frame of one record to `out`.
///
/// # Errors
/// [`TooLong`], and then nothing is appended.
pub fn write(out: &mut Vec<u8>, pos: u64, kind: u8, payload: &[u8]) -> Result<(), TooLong> {
    let bytes = payload.len();
    let len = match u32::try_from(bytes) {
        Ok(len) if bytes <= PAYLOAD_BYTES_MAX => len,
        Ok(_) | Err(_) => return Err(TooLong { bytes }),
    };
    let mut head = Vec::with_capacity(HEAD_BYTES);
    head.extend_from_slice(&MARKER);
    head.extend_from_slice(&[VERSION, kind]);
    head.extend_from_slice(&len.to_le_bytes());
    head.extend_from_slice(&pos.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&head), payload);
    out.reserve(HEAD_BYTES + bytes);
    out.extend_from_slice(&head);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(payload);
    Ok(())
}

/// What a scan comes upon. Offsets count from the first byte given to [`scan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A whole record.
    Record {
        /// Where its frame begins.
        offset: usize,
        /// Its position in the log.
        pos: u64,
        /// What its payload is.
        kind: u8,
        /// Its content.
        payload: &'a [u8],
    },
    /// Bytes that are no record, with a whole record after them.
    Damaged {
        /// The first bad byte.
        from: usize,
        /// The next good one.
        to: usize,
        /// How many records were there.
        lost: u64,
    },
    /// The end of a write that did not finish: bytes that are no record, and no record after them. The last item.
    Torn {
        /// The first bad byte.
        at: usize,
        /// Past the last byte that is not zero.
        to: usize,
    },
}

/// Reads frames one after the other; `first` is the position that the first one must have.
///
/// A frame counts only where its position continues the ones before it. After damage, positions may skip at most as
/// many records as the damaged bytes could have held; so bytes inside of a payload are not taken for a record. Zeros to
/// the end are a clean end.
pub fn scan(bytes: &[u8], first: u64) -> Scan<'_> {
    Scan {
        bytes,
        at: 0,
        next_pos: first,
    }
}

/// An iterator over [`Found`]; made by [`scan`].
#[derive(Clone, Debug)]
pub struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    next_pos: u64,
}

impl<'a> Scan<'a> {
    /// Where the next frame begins; at the end, the length of everything but a torn tail and zeros.
    pub fn offset(&self) -> usize {
        self.at
    }
    /// The position the next record must have.
    pub fn next_pos(&self) -> u64 {
        self.next_pos
    }

    /// The next whole frame in its place; nothing but zeros comes after `end`.
    fn resync(&self, end: usize) -> Option<usize> {
        let mut from = self.at + 1;
        loop {
            let rest = self.bytes.get(from..end)?;
            let here = from + rest.windows(MARKER.len()).position(|w| w == MARKER)?;
            if let Some((pos, _, _)) = self.bytes.get(here..).and_then(read) {
                let most = (here - self.at) / HEAD_BYTES;
                let skipped = pos.checked_sub(self.next_pos);
                if skipped.is_some_and(|n| usize::try_from(n).is_ok_and(|n| n <= most)) {
                    return Some(here);
                }
            }
            from = here + 1;
        }
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        let rest = self.bytes.get(self.at..)?;
        if let Some((pos, kind, payload)) = read(rest)
            && pos == self.next_pos
        {
            let offset = self.at;
            self.at += HEAD_BYTES + payload.len();
            self.next_pos = pos.saturating_add(1);
            return Some(Found::Record {
                offset,
                pos,
                kind,
                payload,
            });
        }
        let bad = used(rest)?;
        let from = self.at;
        match self.resync(from + bad) {
            Some(to) => {
                self.at = to;
                let next = self.bytes.get(to..).and_then(read);
                let before = self.next_pos;
                self.next_pos = next.map_or(before, |(pos, _, _)| pos);
                let lost = self.next_pos.saturating_sub(before);
                Some(Found::Damaged { from, to, lost })
            }
            None => {
                self.bytes = self.bytes.get(..from).unwrap_or_default();
                Some(Found::Torn {
                    at: from,
                    to: from + bad,
                })
            }
        }
    }
}

/// The length of `bytes` without the zeros at the end; `None` if there is nothing else.
fn used(bytes: &[u8]) -> Option<usize> {
    const STEP: usize = 4_096;
    static ZEROS: [u8; STEP] = [0; STEP];
    // Whole steps are compared first: reserved space is long, and byte by byte an unoptimised build takes a second.
    let step = bytes
        .chunks(STEP)
        .rposition(|c| ZEROS.get(..c.len()) != Some(c))?;
    let chunk = bytes.chunks(STEP).nth(step)?;
    Some(step * STEP + chunk.iter().rposition(|b| *b != 0)? + 1)
}

/// Position, kind and payload of the frame that `bytes` begin with, if a whole one does.
fn read(bytes: &[u8]) -> Option<(u64, u8, &[u8])> {
    let mut rest = bytes;
    let ([m0, m1, m2, m3, version, kind], len) =
        (take::<6>(&mut rest)?, u32::from_le_bytes(take(&mut rest)?));
    let pos = u64::from_le_bytes(take(&mut rest)?);
    let crc = u32::from_le_bytes(take(&mut rest)?);
    let sound = [m0, m1, m2, m3] == MARKER
        && version == VERSION
        && usize::try_from(len).is_ok_and(|len| len <= PAYLOAD_BYTES_MAX);
    if !sound {
        return None;
    }
    let payload = take_slice(&mut rest, u64::from(len))?;
    let head = bytes.get(..HEAD_BYTES - 4)?;
    let actual = crc32c::crc32c_append(crc32c::crc32c(head), payload);
    (actual == crc).then_some((pos, kind, payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn three() -> Vec<u8> {
        let mut bytes = Vec::new();
        for (pos, text) in [(7, "one"), (8, "two and more"), (9, "")] {
            write(&mut bytes, pos, 3, text.as_bytes()).unwrap();
        }
        bytes
    }

    fn positions(bytes: &[u8]) -> Vec<u64> {
        scan(bytes, 7)
            .filter_map(|f| match f {
                Found::Record { pos, .. } => Some(pos),
                Found::Damaged { .. } | Found::Torn { .. } => None,
            })
            .collect()
    }

    #[test]
    fn zeros_after_the_last_frame_are_a_clean_end() {
        let mut bytes = three();
        let len = bytes.len();
        bytes.resize(4_096, 0);
        let mut found = scan(&bytes, 7);
        assert_eq!(found.by_ref().count(), 3);
        assert_eq!((found.offset(), found.next_pos()), (len, 10));
    }

    #[test]
    fn a_cut_is_torn_and_a_flip_with_records_after_it_is_damage() {
        let bytes = three();
        let two = HEAD_BYTES + 3;
        let last = two + HEAD_BYTES + 12;
        for end in last + 1..bytes.len() {
            let found: Vec<_> = scan(&bytes[..end], 7).collect();
            assert!(matches!(found[2], Found::Torn { at, .. } if at == last));
            assert_eq!(found.len(), 3);
        }
        for at in two..last {
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[at] ^= 1 << bit;
                assert_eq!(positions(&bad), [7, 9]);
                let damage = Found::Damaged {
                    from: two,
                    to: last,
                    lost: 1,
                };
                assert!(scan(&bad, 7).any(|f| f == damage));
            }
        }
    }

    #[test]
    fn a_frame_inside_of_a_damaged_payload_is_no_record() {
        let mut inner = Vec::new();
        write(&mut inner, 1_000, 3, b"forged").unwrap();
        let mut bytes = Vec::new();
        write(&mut bytes, 7, 3, &inner).unwrap();
        write(&mut bytes, 8, 3, b"real").unwrap();
        bytes[5] ^= 1;
        assert_eq!(positions(&bytes), [8]);
    }

    #[test]
    fn a_payload_over_the_limit_is_refused() {
        let mut out = Vec::new();
        assert!(write(&mut out, 1, 0, &vec![0; PAYLOAD_BYTES_MAX + 1]).is_err());
        assert!(out.is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_stop_the_scan(mut bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0_usize..300) {
            let at = at.min(bytes.len());
            bytes.splice(at..at, MARKER);
            let found: Vec<_> = scan(&bytes, 7).collect();
            prop_assert!(found.len() <= bytes.len());
        }
    }
}
