//! Numbers in as few bytes as they need: seven bits a byte, low bits first; signed ones folded so that small magnitudes
//! stay short.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::journal::take;

/// A signed number as one that is small when its magnitude is.
pub(in crate::journal) fn fold(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)).cast_unsigned()
}

/// The signed number back.
pub(in crate::journal) fn unfold(n: u64) -> i64 {
    (n >> 1).cast_signed() ^ -((n & 1).cast_signed())
}

/// Appends a number.
pub(in crate::journal) fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// The next number of `rest`, which moves past it.
pub(in crate::journal) fn get(rest: &mut &[u8]) -> Option<u64> {
    let mut n = 0_u64;
    for shift in (0..64).step_by(7) {
        let [b] = take::<1>(rest)?;
        let bits = u64::from(b & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        n |= bits << shift;
        if b < 0x80 {
            return Some(n);
        }
    }
    None
}
