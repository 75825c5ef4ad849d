//! Aggregates of a window, put together from its parts: whole chunks by their summaries, other samples one by one.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::engine::series::chunk::Summary;

/// A sum with the digits that a plain sum would lose (Neumaier, 1974), so that it does not depend on how it was cut.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sum {
    /// The sum so far.
    pub high: f64,
    /// What was lost of it.
    pub low: f64,
}

impl Sum {
    /// Adds a number.
    #[inline]
    pub fn add(&mut self, v: f64) {
        let t = self.high + v;
        self.low += if self.high.abs() >= v.abs() {
            (self.high - t) + v
        } else {
            (v - t) + self.high
        };
        self.high = t;
    }
    /// The sum.
    pub fn total(self) -> f64 {
        if self.high.is_finite() {
            self.high + self.low
        } else {
            self.high
        }
    }
}

/// What the samples so far come to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fold {
    /// How many.
    pub count: u64,
    /// Times of the first and the last, ms since the epoch.
    pub times: Option<(i64, i64)>,
    /// The rest; `None` before the first sample.
    pub summary: Option<Summary>,
}

impl Fold {
    /// Takes samples that follow those so far; `count` of them between two times.
    pub fn take(&mut self, count: u64, first_ms: i64, last_ms: i64, next: &Summary) {
        self.count += count;
        self.times = Some((self.times.map_or(first_ms, |t| t.0), last_ms));
        self.summary = Some(match self.summary {
            None => *next,
            Some(s) => {
                let mut sum = s.sum;
                sum.add(next.sum.high);
                sum.low += next.sum.low;
                let step = if next.first < s.last {
                    next.first
                } else {
                    next.first - s.last
                };
                Summary {
                    first: s.first,
                    last: next.last,
                    min: s.min.min(next.min),
                    max: s.max.max(next.max),
                    sum,
                    increase: s.increase + step + next.increase,
                }
            }
        });
    }

    /// Takes samples in slices of equal length.
    pub fn take_samples(&mut self, times: &[i64], values: &[f64]) {
        if let (Some(first), Some(last), Some(summary)) =
            (times.first(), times.last(), Summary::of(values))
        {
            self.take(times.len() as u64, *first, *last, &summary);
        }
    }

    /// Increase per second between the first and the last sample; a fall is a counter that started again from 0.
    pub fn rate(&self) -> Option<f64> {
        let (first, last) = self.times?;
        if last <= first {
            return None;
        }
        Some(self.summary?.increase * 1_000.0 / (last - first) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn however_samples_are_cut_they_come_to_the_same(
            values in prop::collection::vec(-1e6_f64..1e6, 1..200),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let times: Vec<i64> = (0..).take(values.len()).collect();
            let mut whole = Fold::default();
            whole.take_samples(&times, &values);
            let mut at: Vec<usize> = cuts.iter().map(|c| c.index(values.len())).collect();
            at.extend([0, values.len()]);
            at.sort_unstable();
            let mut parts = Fold::default();
            for pair in at.windows(2) {
                parts.take_samples(&times[pair[0]..pair[1]], &values[pair[0]..pair[1]]);
            }
            let (a, b) = (whole.summary.unwrap(), parts.summary.unwrap());
            prop_assert_eq!((a.first, a.last, a.min, a.max), (b.first, b.last, b.min, b.max));
            prop_assert_eq!((whole.count, whole.times), (parts.count, parts.times));
            prop_assert!((a.sum.total() - b.sum.total()).abs() <= 1e-9 * (1.0 + a.sum.total().abs()));
            prop_assert!((a.increase - b.increase).abs() <= 1e-6 * (1.0 + a.increase.abs()));
        }
    }
}
