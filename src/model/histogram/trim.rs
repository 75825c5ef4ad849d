//! Cutting off the observations above or below a value (`</` and `>/`).
//!
//! How the observations of a bucket that is cut are spread is not known: they are taken to be spread evenly, on a
//! logarithmic scale in exponential buckets. Of a bucket without an end nothing can be said, and it goes as a whole
//! where a part of it would. The sum of what is left is put together from the middles of the buckets.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::model::histogram::Histogram;
use crate::model::histogram::buckets::Bucket;

/// Which observations stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Those not above the value (`</`).
    Below,
    /// Those not below it (`>/`).
    Above,
}

/// What is left of a bucket.
#[derive(Clone, Copy, Debug)]
struct Left {
    count: f64,
    /// Where the observations that are left are, on average.
    middle: f64,
}

/// How the observations of a bucket are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spread {
    Even,
    Exponential,
}

impl Histogram {
    /// The histogram of the observations on one side of a value.
    pub fn trim(&self, at: f64, keep: Keep) -> Self {
        let spread = if self.is_custom() {
            Spread::Even
        } else {
            Spread::Exponential
        };
        let mut trimmed = self.clone();
        let (mut count, mut sum, mut changed) = (0.0, 0.0, false);
        let (mut any_positive, mut any_negative) = (false, false);
        let mut take = |now: &mut f64, left: Left| {
            changed |= *now != left.count;
            *now = left.count;
            count += left.count;
            sum += left.middle * left.count;
        };
        let buckets = self.positive_buckets();
        for ((_, now), bucket) in trimmed.0.positive.counts_mut().zip(buckets) {
            if *now != 0.0 {
                any_positive = true;
                take(now, bucket.trim(at, keep, spread));
            }
        }
        let buckets = self.negative_buckets();
        for ((_, now), bucket) in trimmed.0.negative.counts_mut().zip(buckets) {
            if *now != 0.0 {
                any_negative = true;
                take(now, bucket.trim(at, keep, spread));
            }
        }
        if self.zero_count() > 0.0 {
            let mut zero = self.zero_bucket();
            match (any_negative, any_positive) {
                (true, false) => zero.upper = 0.0,
                (false, true) => zero.lower = 0.0,
                (true, true) | (false, false) => {}
            }
            take(&mut trimmed.0.zero_count, zero.trim_even(at, keep));
        }
        if changed {
            trimmed.0.count = count;
            trimmed.0.sum = sum;
            trimmed.compact();
        }
        trimmed
    }
}

impl Bucket {
    fn trim(&self, at: f64, keep: Keep, spread: Spread) -> Left {
        let (stays, is_cut) = match keep {
            Keep::Below => (self.upper <= at, self.lower < at),
            Keep::Above => (self.lower >= at, self.upper > at),
        };
        if stays {
            let middle = middle(self.lower, self.upper, spread);
            return Left {
                count: self.count,
                middle,
            };
        }
        if !is_cut {
            return Left {
                count: 0.0,
                middle: 0.0,
            };
        }
        if self.lower.is_infinite() || self.upper.is_infinite() {
            return self.trim_endless(at, keep);
        }
        let below = self.count * self.share_below(at, spread);
        match keep {
            Keep::Below => Left {
                count: below,
                middle: middle(self.lower, at, spread),
            },
            Keep::Above => Left {
                count: self.count - below,
                middle: middle(at, self.upper, spread),
            },
        }
    }

    /// The share of the observations below a value inside of the bucket.
    fn share_below(&self, at: f64, spread: Spread) -> f64 {
        match spread {
            Spread::Even => (at - self.lower) / (self.upper - self.lower),
            Spread::Exponential => {
                let (lower, upper) = (self.lower.abs().log2(), self.upper.abs().log2());
                let at = at.abs().log2();
                if self.upper > 0.0 {
                    (at - lower) / (upper - lower)
                } else {
                    1.0 - (at - upper) / (lower - upper)
                }
            }
        }
    }

    /// As [`Bucket::trim`] with even spread, for a bucket that may have no width.
    fn trim_even(&self, at: f64, keep: Keep) -> Left {
        let (from, to) = match keep {
            Keep::Below => (self.lower, at),
            Keep::Above => (at, self.upper),
        };
        let (all, none) = match keep {
            Keep::Below => (at >= self.upper && at > self.lower, at <= self.lower),
            Keep::Above => (at <= self.lower, at >= self.upper),
        };
        if all {
            Left {
                count: self.count,
                middle: (self.lower + self.upper) / 2.0,
            }
        } else if none {
            Left {
                count: 0.0,
                middle: 0.0,
            }
        } else {
            Left {
                count: self.count * ((to - from) / (self.upper - self.lower)),
                middle: (from + to) / 2.0,
            }
        }
    }

    /// A bucket without an end that is cut. Only with custom bounds can it be taken to begin at zero.
    fn trim_endless(&self, at: f64, keep: Keep) -> Left {
        let none = Left {
            count: 0.0,
            middle: 0.0,
        };
        let begins = self.lower == f64::NEG_INFINITY && self.upper > 0.0 && self.upper.is_finite();
        match keep {
            Keep::Below if begins && at > 0.0 => Left {
                count: self.count * at / self.upper,
                middle: at / 2.0,
            },
            Keep::Below if self.lower == f64::NEG_INFINITY && self.upper <= 0.0 => Left {
                count: self.count,
                middle: at,
            },
            Keep::Above if begins && at >= 0.0 => Left {
                count: self.count * (1.0 - at / self.upper),
                middle: (at + self.upper) / 2.0,
            },
            Keep::Above if self.lower > f64::NEG_INFINITY => Left {
                count: self.count,
                middle: at,
            },
            Keep::Below | Keep::Above => none,
        }
    }
}

/// The middle of an interval; one without an end is taken to be at the other.
fn middle(lower: f64, upper: f64, spread: Spread) -> f64 {
    match (lower.is_infinite(), upper.is_infinite()) {
        (true, true) => 0.0,
        (true, false) if upper > 0.0 => upper / 2.0,
        (true, false) => upper,
        (false, true) => lower,
        (false, false) => match spread {
            Spread::Even => (lower + upper) / 2.0,
            Spread::Exponential => (lower * upper).abs().sqrt().copysign(lower + upper),
        },
    }
}
