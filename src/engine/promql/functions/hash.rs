//! Where a label set stands between 0 and 1: the hash by which Prometheus samples series (`limit_ratio`).

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::model::labels::Labels;

/// The share of all label sets whose hash is smaller.
pub(in crate::engine::promql) fn stand(labels: &Labels) -> f64 {
    let mut bytes = Vec::with_capacity(64);
    for (name, value) in labels.iter() {
        sized(&mut bytes, name);
        sized(&mut bytes, value);
    }
    xxh64(&bytes) as f64 / u64::MAX as f64
}

/// A text with its length before it: one byte, or 255 and three bytes.
fn sized(bytes: &mut Vec<u8>, text: &str) {
    let [a, b, c, ..] = text.len().to_le_bytes();
    if text.len() < 255 {
        bytes.push(a);
    } else {
        bytes.extend_from_slice(&[255, a, b, c]);
    }
    bytes.extend_from_slice(text.as_bytes());
}

const P1: u64 = 0x9E37_79B1_85EB_CA87;
const P2: u64 = 0xC2B2_AE3D_27D4_EB4F;
const P3: u64 = 0x1656_67B1_9E37_79F9;
const P4: u64 = 0x85EB_CA77_C2B2_AE63;
const P5: u64 = 0x27D4_EB2F_1656_67C5;

fn round(lane: u64, input: u64) -> u64 {
    lane.wrapping_add(input.wrapping_mul(P2))
        .rotate_left(31)
        .wrapping_mul(P1)
}

/// xxHash, 64 bits, seed 0.
fn xxh64(bytes: &[u8]) -> u64 {
    let (blocks, rest) = bytes.as_chunks::<32>();
    let mut hash = if blocks.is_empty() {
        P5
    } else {
        let mut lanes = [P1.wrapping_add(P2), P2, 0, 0_u64.wrapping_sub(P1)];
        for block in blocks {
            for (lane, input) in lanes.iter_mut().zip(block.as_chunks::<8>().0) {
                *lane = round(*lane, u64::from_le_bytes(*input));
            }
        }
        let [a, b, c, d] = lanes;
        let start = a
            .rotate_left(1)
            .wrapping_add(b.rotate_left(7))
            .wrapping_add(c.rotate_left(12))
            .wrapping_add(d.rotate_left(18));
        lanes.iter().fold(start, |h, lane| {
            (h ^ round(0, *lane)).wrapping_mul(P1).wrapping_add(P4)
        })
    };
    hash = hash.wrapping_add(bytes.len() as u64);
    let (eights, rest) = rest.as_chunks::<8>();
    for eight in eights {
        hash = (hash ^ round(0, u64::from_le_bytes(*eight)))
            .rotate_left(27)
            .wrapping_mul(P1)
            .wrapping_add(P4);
    }
    let (fours, rest) = rest.as_chunks::<4>();
    for four in fours {
        hash = (hash ^ u64::from(u32::from_le_bytes(*four)).wrapping_mul(P1))
            .rotate_left(23)
            .wrapping_mul(P2)
            .wrapping_add(P3);
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte).wrapping_mul(P5))
            .rotate_left(11)
            .wrapping_mul(P1);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(P2);
    hash ^= hash >> 29;
    hash = hash.wrapping_mul(P3);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(xxh64(b""), 0xEF46_DB37_51D8_E999);
        assert_eq!(xxh64(b"a"), 0xD24E_C4F1_A98C_6E5B);
        assert_eq!(xxh64(b"abc"), 0x44BC_2CF5_AD77_0999);
        assert_eq!(
            xxh64(b"Nobody inspects the spammish repetition"),
            0xFBCE_A83C_8A37_8BF1
        );
    }

    #[test]
    fn label_sets_stand_between_0_and_1() {
        let at = stand(&Labels::new().with("__name__", "up").with("job", "api"));
        assert!((0.0..1.0).contains(&at));
    }
}
