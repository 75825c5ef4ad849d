//! What our files mean, byte by byte: pure codecs, no file in sight. The files themselves are in `shell::store`.
//!
//! A log is a directory of segments. A segment is one [`segment::Header`] and then frames, one per record, with
//! nothing between them. A [`frame`] is a sync marker, a format version, the record's kind, the length of its payload,
//! the record's position in the log, a CRC32C over all of that, and the payload. Zeros after the last frame are space
//! reserved ahead. Integers are little-endian; where a payload is compact, they are varints of seven bits a byte, low
//! bits first, signed ones folded so that small magnitudes stay short.
//!
//! ```text
//! segment  := header frame* zero*
//! frame    := f5 4f 70 a7  version:u8  kind:u8  len:u32  pos:u64  crc32c:u32  payload[len]
//! snapshot := magic version:u32 covered-positions body crc32c:u32
//! ```
//!
//! The payload of a batch of [`samples`] spells a series' key out where a segment first uses it and says its number
//! after that, so that every segment can be read alone and any prefix of the log may be thrown away.
//!
//! [`windows`] are an image of what the engine holds of each series, in records as well, so that a restart replays only
//! the samples after it.
//!
//! Reading never trusts a length before its checksum, and no bytes can make it panic.

pub mod frame;
mod histogram;
pub mod samples;
pub mod segment;
pub mod snapshot;
mod varint;
pub mod windows;

/// The next `N` bytes of `rest`, which moves past them.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

/// The next `len` bytes of `rest`, which moves past them.
fn take_slice<'a>(rest: &mut &'a [u8], len: u64) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    *rest = tail;
    Some(head)
}
