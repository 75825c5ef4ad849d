//! Classic histograms: a series of cumulative counts for each upper bound.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::model::histogram::{Histogram, HistogramError, Parts, Schema};
use crate::model::number::close;

/// How far two counts may be apart, of the sum of both, to be one count and rounding.
const TOLERANCE: f64 = 1e-12;

/// One bucket: the observations up to a bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cumulative {
    /// The upper bound, inclusive.
    pub upper: f64,
    /// How many observations are not larger.
    pub count: f64,
}

/// What had to be done to counts that fell from one bucket to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forced {
    /// The bound of the first bucket that was raised.
    pub lowest: f64,
    /// The bound of the last one.
    pub highest: f64,
    /// By how much at most.
    pub most: f64,
}

/// The value below which a share `q` of the observations lies, spread evenly within a bucket. The buckets are sorted
/// and put right on the way.
pub fn quantile(q: f64, buckets: &mut Vec<Cumulative>) -> (f64, Option<Forced>) {
    if q.is_nan() {
        return (f64::NAN, None);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    let Some(all) = put_right(buckets) else {
        return (f64::NAN, None);
    };
    let forced = make_monotonic(buckets);
    let all = buckets.last().map_or(all, |b| b.count);
    let [finite @ .., _] = buckets.as_slice() else {
        return (f64::NAN, forced);
    };
    let (Some(first), Some(last)) = (finite.first(), finite.last()) else {
        return (f64::NAN, forced);
    };
    if all == 0.0 {
        return (f64::NAN, forced);
    }
    let mut rank = q * all;
    let at = finite.partition_point(|b| b.count < rank);
    let Some(bucket) = finite.get(at) else {
        return (last.upper, forced);
    };
    if at == 0 && first.upper <= 0.0 {
        return (first.upper, forced);
    }
    let (mut start, mut count) = (0.0, bucket.count);
    if let Some(before) = at.checked_sub(1).and_then(|i| finite.get(i)) {
        start = before.upper;
        count -= before.count;
        rank -= before.count;
    }
    (start + (bucket.upper - start) * (rank / count), forced)
}

/// The share of the observations between two values, spread evenly within a bucket.
pub fn fraction(lower: f64, upper: f64, buckets: &mut Vec<Cumulative>) -> f64 {
    let Some(all) = put_right(buckets) else {
        return f64::NAN;
    };
    if all == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let (mut below_lower, mut below_upper) = (None, None);
    let mut rank = 0.0;
    // Where all bounds are positive, all observations are taken to be.
    let mut start = match buckets.first() {
        Some(first) if first.upper <= 0.0 => f64::NEG_INFINITY,
        Some(_) | None => 0.0,
    };
    for bucket in buckets.iter() {
        for (value, below) in [(lower, &mut below_lower), (upper, &mut below_upper)] {
            if below.is_none() && start >= value {
                *below = Some(rank);
            } else if below.is_none() && bucket.upper > value {
                *below = Some(if start == f64::NEG_INFINITY {
                    bucket.count
                } else {
                    rank + (bucket.count - rank) * (value - start) / (bucket.upper - start)
                });
            }
        }
        rank = bucket.count;
        start = bucket.upper;
    }
    let within = |rank: Option<f64>| rank.filter(|r| *r <= all || r.is_nan()).unwrap_or(all);
    (within(below_upper) - within(below_lower)) / all
}

/// Sorts buckets and adds up those with the same bound; the count of the last one, which must be that up to infinity.
fn put_right(buckets: &mut Vec<Cumulative>) -> Option<f64> {
    buckets.sort_by(|a, b| a.upper.total_cmp(&b.upper));
    buckets.dedup_by(|next, kept| {
        let same = next.upper == kept.upper;
        if same {
            kept.count += next.count;
        }
        same
    });
    buckets
        .last()
        .filter(|last| last.upper == f64::INFINITY)
        .map(|last| last.count)
}

/// Raises every count that is below an earlier one. What is only rounding is not worth a word.
fn make_monotonic(buckets: &mut [Cumulative]) -> Option<Forced> {
    let mut forced: Option<Forced> = None;
    let (first, rest) = buckets.split_first_mut()?;
    let mut before = first.count;
    for bucket in rest {
        if bucket.count == before {
            continue;
        }
        if close(before, bucket.count, TOLERANCE) {
            bucket.count = before;
        } else if bucket.count < before {
            let known = forced.get_or_insert(Forced {
                lowest: bucket.upper,
                highest: bucket.upper,
                most: 0.0,
            });
            known.highest = bucket.upper;
            known.most = known.most.max(before - bucket.count);
            bucket.count = before;
        } else {
            before = bucket.count;
        }
    }
    forced
}

/// Why buckets, count and sum are no histogram.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConvertError {
    /// Less than no observations.
    #[error("a count is below zero")]
    Negative,
    /// A bucket holds less than a lower one.
    #[error("the counts are not cumulative: {0} after {1}")]
    NotCumulative(f64, f64),
    /// The count is not that of the last bucket.
    #[error("the count is {0}, but the last bucket holds {1}")]
    Mismatch(f64, f64),
    /// The parts do not fit together.
    #[error(transparent)]
    Histogram(#[from] HistogramError),
}

/// A native histogram with the custom bounds of a classic one.
///
/// # Errors
/// If counts fall, are below zero or contradict the count of all.
pub fn to_native(
    mut buckets: Vec<Cumulative>,
    count: Option<f64>,
    sum: f64,
) -> Result<Histogram, ConvertError> {
    buckets.sort_by(|a, b| a.upper.total_cmp(&b.upper));
    // Of the same bound twice, the first counts.
    buckets.dedup_by(|next, kept| next.upper == kept.upper);
    if count.is_some_and(|c| c < 0.0) || buckets.iter().any(|b| b.count < 0.0) {
        return Err(ConvertError::Negative);
    }
    let count = count.unwrap_or_else(|| buckets.last().map_or(0.0, |b| b.count));
    if buckets.last().is_none_or(|b| b.upper != f64::INFINITY) {
        buckets.push(Cumulative {
            upper: f64::INFINITY,
            count,
        });
    }
    let mut parts = Parts {
        schema: Schema::Custom,
        count,
        sum,
        ..Parts::default()
    };
    let mut before = 0.0;
    for (index, bucket) in (0_i32..).zip(&buckets) {
        if bucket.count < before {
            return Err(ConvertError::NotCumulative(bucket.count, before));
        }
        if bucket.count != before {
            parts.positive.push((index, bucket.count - before));
        }
        before = bucket.count;
        if bucket.upper != f64::INFINITY {
            parts.bounds.push(bucket.upper);
        }
    }
    if before != count {
        return Err(ConvertError::Mismatch(count, before));
    }
    Ok(Histogram::new(parts)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(all: &[(f64, f64)]) -> Vec<Cumulative> {
        all.iter()
            .map(|&(upper, count)| Cumulative { upper, count })
            .collect()
    }

    #[test]
    fn a_quantile_is_interpolated_in_its_bucket() {
        let all = [(0.2, 3.0), (f64::INFINITY, 4.0), (0.1, 1.0)];
        let q = |q| quantile(q, &mut buckets(&all)).0;
        assert_eq!(q(0.0), 0.0);
        assert_eq!(q(0.25), 0.1);
        assert_eq!(q(0.5), 0.1 + 0.1 * 0.5);
        assert_eq!(q(1.0), 0.2);
        assert_eq!(q(-1.0), f64::NEG_INFINITY);
        assert_eq!(q(2.0), f64::INFINITY);
        assert!(q(f64::NAN).is_nan());
    }

    #[test]
    fn without_observations_or_an_infinite_bucket_there_is_no_quantile() {
        let q = |all: &[(f64, f64)]| quantile(0.5, &mut buckets(all)).0;
        assert!(q(&[]).is_nan());
        assert!(q(&[(1.0, 3.0)]).is_nan());
        assert!(q(&[(f64::INFINITY, 3.0)]).is_nan());
        assert!(q(&[(1.0, 0.0), (f64::INFINITY, 0.0)]).is_nan());
        assert_eq!(q(&[(-1.0, 3.0), (f64::INFINITY, 3.0)]), -1.0);
    }

    #[test]
    fn counts_that_fall_are_raised_and_told() {
        let mut all = buckets(&[(1.0, 10.0), (2.0, 7.0), (3.0, 10.0), (f64::INFINITY, 9.0)]);
        let (_, forced) = quantile(0.5, &mut all);
        assert_eq!(
            forced,
            Some(Forced {
                lowest: 2.0,
                highest: f64::INFINITY,
                most: 3.0
            })
        );
        let mut all = buckets(&[(1.0, 10.0), (f64::INFINITY, 10.0 - 1e-12)]);
        assert_eq!(quantile(0.5, &mut all), (0.5, None));
    }

    #[test]
    fn the_fraction_between_two_values() {
        let all = [(1.0, 10.0), (2.0, 30.0), (f64::INFINITY, 40.0)];
        let f = |a, b| fraction(a, b, &mut buckets(&all));
        assert_eq!(f(0.0, 1.0), 0.25);
        assert_eq!(f(0.5, 1.5), 0.375);
        assert_eq!(f(f64::NEG_INFINITY, f64::INFINITY), 1.0);
        assert_eq!(f(2.0, 2.0), 0.0);
        assert!(f(f64::NAN, 2.0).is_nan());
        assert!(fraction(0.0, 1.0, &mut Vec::new()).is_nan());
    }

    #[test]
    fn a_classic_histogram_becomes_a_native_one() {
        let all = [(1.0, 2.0), (2.0, 2.0), (5.0, 6.5)];
        let h = to_native(buckets(&all), Some(7.0), 3.5).unwrap().parts();
        assert_eq!(h.positive, [(0, 2.0), (2, 4.5), (3, 0.5)]);
        assert_eq!(h.bounds, [1.0, 2.0, 5.0]);
        assert_eq!((h.count, h.sum), (7.0, 3.5));
        assert_eq!(
            to_native(buckets(&[(1.0, 2.0), (2.0, 1.0)]), None, 0.0).unwrap_err(),
            ConvertError::NotCumulative(1.0, 2.0)
        );
        assert_eq!(
            to_native(buckets(&[(f64::INFINITY, 2.0)]), Some(3.0), 0.0).unwrap_err(),
            ConvertError::Mismatch(3.0, 2.0)
        );
        assert_eq!(to_native(Vec::new(), Some(3.0), 1.0).unwrap().count(), 3.0);
    }
}
