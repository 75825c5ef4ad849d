//! The buckets of a histogram as intervals, in order.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::model::histogram::bounds::upper;
use crate::model::histogram::{Histogram, Schema};

/// Observations in an interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// The lower end.
    pub lower: f64,
    /// The upper end.
    pub upper: f64,
    /// Whether the lower end is inside.
    pub lower_inclusive: bool,
    /// Whether the upper end is inside.
    pub upper_inclusive: bool,
    /// How many observations.
    pub count: f64,
}

impl Bucket {
    /// How the HTTP API calls the ends: 0 for open at the left, 1 for open at the right, 2 for open at both, 3 for closed.
    pub fn boundary_type(&self) -> u8 {
        match (self.lower_inclusive, self.upper_inclusive) {
            (false, true) => 0,
            (true, false) => 1,
            (false, false) => 2,
            (true, true) => 3,
        }
    }
    /// Whether zero lies inside or at an end: the zero bucket, or what touches it.
    pub(super) fn has_zero(&self) -> bool {
        self.lower <= 0.0 && self.upper >= 0.0
    }
}

impl Histogram {
    /// All buckets in ascending order, empty ones too, the zero bucket only if something is in it. Buckets that
    /// overlap the zero bucket are cut at its edge.
    pub fn buckets(&self) -> impl DoubleEndedIterator<Item = Bucket> + '_ {
        let threshold = self.zero_threshold();
        self.around_zero(self.zero_count() > 0.0)
            .map(move |mut bucket| {
                if bucket.lower > 0.0 && bucket.lower < threshold {
                    bucket.lower = threshold;
                }
                if bucket.upper < 0.0 && bucket.upper > -threshold {
                    bucket.upper = -threshold;
                }
                bucket
            })
    }

    /// As [`Histogram::buckets`], but none is cut, and the zero bucket may hold less than nothing.
    pub fn whole_buckets(&self) -> impl DoubleEndedIterator<Item = Bucket> + '_ {
        self.around_zero(self.zero_count() != 0.0)
    }

    fn around_zero(&self, with_zero: bool) -> impl DoubleEndedIterator<Item = Bucket> + '_ {
        let zero = with_zero.then(|| self.zero_bucket());
        self.negative_buckets()
            .rev()
            .chain(zero)
            .chain(self.positive_buckets())
    }

    /// What the HTTP API lists: boundary type, lower end, upper end and count of every bucket that is not empty.
    pub fn api_buckets(&self) -> impl Iterator<Item = (u8, f64, f64, f64)> + '_ {
        self.buckets()
            .filter(|b| b.count != 0.0)
            .map(|b| (b.boundary_type(), b.lower, b.upper, b.count))
    }

    /// The positive buckets, ascending.
    pub(super) fn positive_buckets(&self) -> impl DoubleEndedIterator<Item = Bucket> + '_ {
        let schema = self.schema();
        self.0.positive.iter().map(move |(index, count)| {
            let lower = upper(index.saturating_sub(1), schema, self.bounds());
            let upper = upper(index, schema, self.bounds());
            Bucket {
                lower,
                upper,
                lower_inclusive: match schema {
                    Schema::Custom => index == 0,
                    Schema::Exponential(_) => false,
                },
                upper_inclusive: true,
                count,
            }
        })
    }

    /// The negative buckets, from zero downwards.
    pub(super) fn negative_buckets(&self) -> impl DoubleEndedIterator<Item = Bucket> + '_ {
        let schema = self.schema();
        self.0.negative.iter().map(move |(index, count)| Bucket {
            lower: -upper(index, schema, &[]),
            upper: -upper(index.saturating_sub(1), schema, &[]),
            lower_inclusive: true,
            upper_inclusive: false,
            count,
        })
    }

    pub(super) fn zero_bucket(&self) -> Bucket {
        Bucket {
            lower: -self.zero_threshold(),
            upper: self.zero_threshold(),
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count(),
        }
    }
}
