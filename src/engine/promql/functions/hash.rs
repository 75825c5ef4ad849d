//! Where a label set stands between 0 and 1: the hash by which Prometheus samples series (`limit_ratio`).

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use xxhash_rust::xxh64::xxh64;

use crate::model::labels::Labels;

/// The share of all label sets whose hash is smaller.
pub(in crate::engine::promql) fn stand(labels: &Labels) -> f64 {
    let mut bytes = Vec::with_capacity(64);
    for (name, value) in labels.iter() {
        sized(&mut bytes, name);
        sized(&mut bytes, value);
    }
    xxh64(&bytes, 0) as f64 / u64::MAX as f64
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_sets_stand_between_0_and_1() {
        let at = stand(&Labels::new().with("__name__", "up").with("job", "api"));
        assert!((0.0..1.0).contains(&at));
    }
}
