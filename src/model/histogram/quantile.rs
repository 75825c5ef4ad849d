//! What is asked of a histogram: quantiles, fractions, and the mean and spread of its observations.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::model::histogram::Histogram;
use crate::model::histogram::buckets::Bucket;
use crate::model::number::kahan;

/// What a person should know about a quantile or a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remark {
    /// The quantile is NaN, because so many observations are.
    NanResult,
    /// Some observations are NaN: they count as larger than all others.
    NanSkew,
}

impl Histogram {
    /// The value below which a share `q` of the observations lies. Within a bucket they are taken to be spread evenly,
    /// on a logarithmic scale in exponential buckets.
    pub fn quantile(&self, q: f64) -> (f64, Option<Remark>) {
        if q < 0.0 {
            return (f64::NEG_INFINITY, None);
        }
        if q > 1.0 {
            return (f64::INFINITY, None);
        }
        if self.count() == 0.0 || q.is_nan() {
            return (f64::NAN, None);
        }
        // From the nearer end, because rounding is least there. NaN counts, but is in no bucket: then only from below.
        let from_below = self.sum().is_nan() || q < 0.5;
        let mut rest: Box<dyn Iterator<Item = Bucket>>;
        let mut rank;
        if from_below {
            rest = Box::new(self.buckets());
            rank = q * self.count();
        } else {
            rest = Box::new(self.buckets().rev());
            rank = (1.0 - q) * self.count();
        }
        let mut bucket = Bucket {
            lower: 0.0,
            upper: 0.0,
            lower_inclusive: false,
            upper_inclusive: false,
            count: 0.0,
        };
        let mut count = 0.0;
        for next in rest.by_ref() {
            bucket = next;
            count += bucket.count;
            if bucket.count != 0.0 && count >= rank {
                break;
            }
        }
        if self.is_custom() {
            if bucket.lower == f64::NEG_INFINITY {
                if bucket.upper <= 0.0 {
                    return (bucket.upper, None);
                }
                bucket.lower = 0.0;
            } else if bucket.upper == f64::INFINITY {
                return (bucket.lower, None);
            }
        } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
            self.cut_at_zero(&mut bucket);
        }
        count = count.min(self.count());
        if count < rank {
            return if self.sum().is_nan() {
                (f64::NAN, Some(Remark::NanResult))
            } else {
                (bucket.upper, None)
            };
        }
        rank = if from_below {
            rank - (count - bucket.count)
        } else {
            count - rank
        };
        let mut remark = None;
        if self.sum().is_nan() {
            count += rest.map(|b| b.count).sum::<f64>();
            remark = (count < self.count()).then_some(Remark::NanSkew);
        }
        (self.interpolated(&bucket, rank / bucket.count), remark)
    }

    /// The value at a share of a bucket.
    fn interpolated(&self, bucket: &Bucket, share: f64) -> f64 {
        if self.is_custom() || bucket.has_zero() {
            return bucket.lower + (bucket.upper - bucket.lower) * share;
        }
        let (lower, upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
        if bucket.lower > 0.0 {
            (lower + (upper - lower) * share).exp2()
        } else {
            -(upper + (lower - upper) * (1.0 - share)).exp2()
        }
    }

    /// If all other observations are on one side of zero, those in the zero bucket are too.
    fn cut_at_zero(&self, bucket: &mut Bucket) {
        match (self.0.negative.is_empty(), self.0.positive.is_empty()) {
            (true, false) => bucket.lower = 0.0,
            (false, true) => bucket.upper = 0.0,
            (true, true) | (false, false) => {}
        }
    }

    /// The share of the observations between two values, by the same interpolation as in a quantile.
    pub fn fraction(&self, lower: f64, upper: f64) -> (f64, Option<Remark>) {
        if self.count() == 0.0 || lower.is_nan() || upper.is_nan() {
            return (f64::NAN, None);
        }
        if lower >= upper {
            return (0.0, None);
        }
        let (mut below_lower, mut below_upper) = (None, None);
        let (mut rank, mut seen) = (0.0, 0.0);
        let mut rest = self.buckets();
        for mut bucket in rest.by_ref() {
            seen += bucket.count;
            let is_zero_bucket = bucket.has_zero();
            if is_zero_bucket {
                self.cut_at_zero(&mut bucket);
            }
            for (value, below) in [(lower, &mut below_lower), (upper, &mut below_upper)] {
                if below.is_none() && bucket.lower >= value {
                    *below = Some(rank);
                } else if below.is_none() && bucket.upper > value {
                    *below = Some(self.rank_inside(&bucket, is_zero_bucket, value, rank));
                }
            }
            if below_lower.is_some() && below_upper.is_some() {
                break;
            }
            rank += bucket.count;
        }
        let (mut all, mut remark) = (self.count(), None);
        if self.sum().is_nan() {
            all = seen + rest.map(|b| b.count).sum::<f64>();
            remark = (all < self.count()).then_some(Remark::NanSkew);
        }
        let within = |rank: Option<f64>| rank.filter(|r| *r <= all || r.is_nan()).unwrap_or(all);
        let share = (within(below_upper) - within(below_lower)) / self.count();
        (share, remark)
    }

    /// How many observations lie below a value inside of a bucket, below which there are `rank`.
    fn rank_inside(&self, bucket: &Bucket, is_zero_bucket: bool, value: f64, rank: f64) -> f64 {
        if self.is_custom() || is_zero_bucket {
            if bucket.lower == f64::NEG_INFINITY {
                return bucket.count;
            }
            return rank + bucket.count * (value - bucket.lower) / (bucket.upper - bucket.lower);
        }
        let (lower, upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
        let value_log = value.abs().log2();
        let share = if value > 0.0 {
            (value_log - lower) / (upper - lower)
        } else {
            1.0 - (value_log - upper) / (lower - upper)
        };
        rank + bucket.count * share
    }

    /// The mean of the observations.
    pub fn mean(&self) -> f64 {
        self.sum() / self.count()
    }

    /// The variance of the observations, if all of a bucket are at its middle: the geometric one in exponential
    /// buckets, zero in the zero bucket.
    pub fn variance(&self) -> f64 {
        let mean = self.mean();
        let (mut sum, mut lost) = (0.0, 0.0);
        for bucket in self.buckets().filter(|b| b.count != 0.0) {
            let middle = if self.is_custom() {
                (bucket.upper + bucket.lower) / 2.0
            } else if bucket.has_zero() {
                0.0
            } else {
                (bucket.upper * bucket.lower).sqrt().copysign(bucket.upper)
            };
            let apart = middle - mean;
            (sum, lost) = kahan(bucket.count * apart * apart, sum, lost);
        }
        (sum + lost) / self.count()
    }
}
