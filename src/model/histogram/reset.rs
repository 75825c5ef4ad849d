//! Whether a counter started anew between two of its samples.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::model::histogram::bounds::{exponential, upper};
use crate::model::histogram::{Histogram, ResetHint, Schema};

impl Histogram {
    /// Whether the counter started anew between `previous` and this sample: if the hint does not say, because some
    /// count fell, or the buckets became finer, which only a new start can do.
    pub fn detect_reset(&self, previous: &Self) -> bool {
        match self.hint() {
            ResetHint::Reset => return true,
            ResetHint::NotReset => return false,
            // A gauge has no resets, but who asks treats it as a counter.
            ResetHint::Unknown | ResetHint::Gauge => {}
        }
        if self.count() < previous.count() {
            return true;
        }
        let (now, then) = (&self.0, &previous.0);
        match (now.schema, then.schema) {
            (Schema::Custom, Schema::Custom) if now.bounds == then.bounds => {
                fell(now.positive.iter(), then.positive.iter())
            }
            (Schema::Custom, Schema::Custom) => self.fell_between_common_bounds(previous),
            (Schema::Custom, Schema::Exponential(_)) | (Schema::Exponential(_), Schema::Custom) => {
                true
            }
            (Schema::Exponential(a), Schema::Exponential(b)) => {
                if a > b || now.zero_threshold < then.zero_threshold {
                    return true;
                }
                let (zero, threshold) = then.zero_for(now.zero_threshold);
                // A zero bucket that grows into the middle of a bucket cannot have been the same counter's.
                if threshold != now.zero_threshold || now.zero_count < zero {
                    return true;
                }
                let coarse;
                let then = if a < b {
                    let mut then = then.clone();
                    then.coarsen(a);
                    coarse = then;
                    &coarse
                } else {
                    then
                };
                let inside =
                    |bucket: &(i32, f64)| threshold > 0.0 && exponential(bucket.0, a) <= threshold;
                [
                    (&now.positive, &then.positive),
                    (&now.negative, &then.negative),
                ]
                .into_iter()
                .any(|(now, then)| {
                    fell(
                        now.iter().skip_while(inside),
                        then.iter().skip_while(inside),
                    )
                })
            }
        }
    }

    /// Compares what lies between each two bounds that both histograms have.
    fn fell_between_common_bounds(&self, previous: &Self) -> bool {
        let common: Vec<f64> = self
            .bounds()
            .iter()
            .filter(|b| {
                previous
                    .bounds()
                    .binary_search_by(|p| p.total_cmp(b))
                    .is_ok()
            })
            .copied()
            .chain([f64::INFINITY])
            .collect();
        let sums = |h: &Self| {
            let mut buckets =
                h.0.positive
                    .iter()
                    .map(|(index, count)| (upper(index, Schema::Custom, h.bounds()), count))
                    .collect::<Vec<_>>()
                    .into_iter()
                    .peekable();
            common
                .iter()
                .map(|bound| {
                    let mut sum = 0.0;
                    while let Some((_, count)) = buckets.next_if(|(end, _)| end <= bound) {
                        sum += count;
                    }
                    sum
                })
                .collect::<Vec<f64>>()
        };
        sums(self)
            .iter()
            .zip(sums(previous))
            .any(|(now, then)| *now < then)
    }
}

/// Whether a bucket has less in it than before, or is gone. Both sides ascend.
fn fell(now: impl Iterator<Item = (i32, f64)>, mut then: impl Iterator<Item = (i32, f64)>) -> bool {
    let mut now = now.peekable();
    then.any(|(index, count)| {
        while now.next_if(|(i, _)| *i < index).is_some() {}
        match now.next_if(|(i, _)| *i == index) {
            Some((_, now)) => now < count,
            None => count != 0.0,
        }
    })
}
