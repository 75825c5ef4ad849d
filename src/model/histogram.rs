//! Native histograms: observations counted in buckets whose bounds follow from a schema, or are written out.
//!
//! A [`Histogram`] is what Prometheus calls a float histogram: counts need not be whole, and may be negative after a
//! subtraction. It knows its count and sum, the count in a zero bucket around zero, and the counts in buckets on both
//! sides of it. Histograms of different schemas, zero buckets or custom bounds can be added: both are brought to what
//! they have in common. The arithmetic is in `layout`, for plain counts and for [`sum`]s that lose nothing.
//!
//! No operation panics, whatever the numbers. The number of buckets is bounded by [`BUCKETS_MAX`].

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

mod bounds;
pub mod buckets;
pub mod classic;
mod layout;
pub mod quantile;
mod reset;
mod side;
pub mod sum;
pub mod trim;

use xxhash_rust::xxh3::xxh3_64;

use crate::model::histogram::layout::Layout;
use crate::model::histogram::side::Side;

/// Buckets on one side of a histogram, and custom bounds, at most. A sum that would have more loses resolution.
pub const BUCKETS_MAX: usize = 16_384;

/// How buckets are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Schema {
    /// Each power of two in 2^n buckets, n from -4 to 8 (below zero, a bucket spans several powers of two).
    Exponential(i8),
    /// At bounds that are written out.
    Custom,
}

impl Schema {
    const COARSEST: i8 = -4;
    const FINEST: i8 = 8;

    /// By its number in the field: -4 to 8, or -53 for custom bounds.
    pub fn from_number(number: i64) -> Option<Self> {
        match i8::try_from(number).ok()? {
            -53 => Some(Schema::Custom),
            n if (Self::COARSEST..=Self::FINEST).contains(&n) => Some(Schema::Exponential(n)),
            _ => None,
        }
    }
    /// Its number in the field.
    pub fn number(self) -> i32 {
        match self {
            Schema::Exponential(n) => n.into(),
            Schema::Custom => -53,
        }
    }
    /// Whether its bounds are written out.
    pub fn is_custom(self) -> bool {
        self == Schema::Custom
    }
    /// The largest index of a bucket that can hold anything, and a bit: the smallest one is its negative.
    fn index_max(self) -> i32 {
        match self {
            Schema::Exponential(n) if n < 0 => 2048 >> -n,
            Schema::Exponential(n) => 2048 << n,
            Schema::Custom => i32::MAX,
        }
    }
}

/// What is known of a counter that starts anew at this sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResetHint {
    /// Nothing: the counts must be compared.
    #[default]
    Unknown,
    /// It starts anew here.
    Reset,
    /// It does not start anew here.
    NotReset,
    /// It is no counter.
    Gauge,
}

impl ResetHint {
    /// What is known of the sum of two; and whether they contradict each other.
    fn with(self, other: Self) -> (Self, bool) {
        match (self, other) {
            (a, b) if a == b => (a, false),
            (ResetHint::Gauge, _) | (_, ResetHint::Gauge) => (ResetHint::Gauge, false),
            (ResetHint::Unknown, _) | (_, ResetHint::Unknown) => (ResetHint::Unknown, false),
            (_, _) => (ResetHint::Unknown, true),
        }
    }
}

/// Everything a histogram is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    /// What is known of a reset.
    pub hint: ResetHint,
    /// How buckets are cut.
    pub schema: Schema,
    /// The zero bucket reaches from the negative of this to this, both inclusive. Not below zero.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations.
    pub count: f64,
    /// The sum of all observations.
    pub sum: f64,
    /// Index and count of the positive buckets, ascending; with custom bounds, index i ends at bound i.
    pub positive: Vec<(i32, f64)>,
    /// Index and count of the negative buckets, ascending in the index (away from zero).
    pub negative: Vec<(i32, f64)>,
    /// Upper bounds of custom buckets, ascending, without +Inf.
    pub bounds: Vec<f64>,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            hint: ResetHint::Unknown,
            schema: Schema::Exponential(0),
            zero_threshold: 0.0,
            zero_count: 0.0,
            count: 0.0,
            sum: 0.0,
            positive: Vec::new(),
            negative: Vec::new(),
            bounds: Vec::new(),
        }
    }
}

/// Why some parts are no histogram.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum HistogramError {
    /// More than [`BUCKETS_MAX`].
    #[error("more than {BUCKETS_MAX} buckets on one side")]
    TooManyBuckets,
    /// An index twice, or after a larger one.
    #[error("the indexes of the buckets do not ascend")]
    IndexOrder,
    /// No number of this size can be observed, or there is no such bound.
    #[error("there is no bucket with index {0} in schema {1}")]
    IndexRange(i32, i32),
    /// The zero bucket has no sensible width.
    #[error("the zero bucket cannot be {0} wide")]
    ZeroThreshold(f64),
    /// NaN, +Inf, twice the same, or smaller than the one before.
    #[error("custom bounds must be numbers that ascend, without +Inf")]
    Bounds,
    /// Custom bounds without the schema, or something exponential with it.
    #[error("custom bounds go with schema -53, which has no zero bucket and no negative buckets")]
    Mixed,
}

/// Two histograms of which only one has custom bounds have nothing in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("only one of two histograms has custom buckets")]
pub struct Incompatible;

/// What is remarkable about an addition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// One said it was reset, the other that it was not.
    pub collision: bool,
    /// Their custom bounds differed: only the common ones are left.
    pub bounds_reconciled: bool,
}

/// A native histogram with counts that need not be whole.
///
/// Two are equal if all their parts are, empty buckets among them, except that their reset hints do not matter.
#[derive(Clone, Debug)]
pub struct Histogram(Layout<f64>);

impl Histogram {
    /// Puts a histogram together.
    ///
    /// # Errors
    /// If the parts contradict each other or exceed a bound.
    pub fn new(parts: Parts) -> Result<Self, HistogramError> {
        let Parts {
            hint,
            schema,
            zero_threshold,
            zero_count,
            count,
            sum,
            positive,
            negative,
            bounds,
        } = parts;
        if bounds.len() > BUCKETS_MAX
            || positive.len() > BUCKETS_MAX
            || negative.len() > BUCKETS_MAX
        {
            return Err(HistogramError::TooManyBuckets);
        }
        if zero_threshold.is_nan() || zero_threshold < 0.0 {
            return Err(HistogramError::ZeroThreshold(zero_threshold));
        }
        let within = match schema {
            Schema::Custom => {
                if zero_threshold != 0.0 || zero_count != 0.0 || !negative.is_empty() {
                    return Err(HistogramError::Mixed);
                }
                0..=i32::try_from(bounds.len()).unwrap_or(i32::MAX)
            }
            Schema::Exponential(_) => {
                if !bounds.is_empty() {
                    return Err(HistogramError::Mixed);
                }
                -schema.index_max()..=schema.index_max()
            }
        };
        let ascend = bounds.iter().zip(bounds.iter().skip(1)).all(|(a, b)| a < b);
        if !ascend || bounds.iter().any(|b| b.is_nan() || *b == f64::INFINITY) {
            return Err(HistogramError::Bounds);
        }
        if let Some((index, _)) = positive
            .iter()
            .chain(&negative)
            .find(|(index, _)| !within.contains(index))
        {
            return Err(HistogramError::IndexRange(*index, schema.number()));
        }
        Ok(Self(Layout {
            hint,
            schema,
            // -0 is 0.
            zero_threshold: zero_threshold + 0.0,
            zero_count,
            count,
            sum,
            positive: Side::new(positive).ok_or(HistogramError::IndexOrder)?,
            negative: Side::new(negative).ok_or(HistogramError::IndexOrder)?,
            bounds: bounds.into(),
        }))
    }

    /// What it is made of.
    pub fn parts(&self) -> Parts {
        Parts {
            hint: self.0.hint,
            schema: self.0.schema,
            zero_threshold: self.0.zero_threshold,
            zero_count: self.0.zero_count,
            count: self.0.count,
            sum: self.0.sum,
            positive: self.0.positive.iter().collect(),
            negative: self.0.negative.iter().collect(),
            bounds: self.0.bounds.to_vec(),
        }
    }

    /// All observations.
    pub fn count(&self) -> f64 {
        self.0.count
    }
    /// The sum of all observations.
    pub fn sum(&self) -> f64 {
        self.0.sum
    }
    /// How buckets are cut.
    pub fn schema(&self) -> Schema {
        self.0.schema
    }
    /// Whether its bounds are written out.
    pub fn is_custom(&self) -> bool {
        self.0.schema.is_custom()
    }
    /// The upper bounds of custom buckets, without +Inf; empty in other schemas.
    pub fn bounds(&self) -> &[f64] {
        &self.0.bounds
    }
    /// How far the zero bucket reaches.
    pub fn zero_threshold(&self) -> f64 {
        self.0.zero_threshold
    }
    /// Observations in the zero bucket.
    pub fn zero_count(&self) -> f64 {
        self.0.zero_count
    }
    /// How many buckets it keeps, the zero bucket not among them.
    pub fn buckets_len(&self) -> usize {
        self.0.positive.len() + self.0.negative.len()
    }
    /// Bytes that it takes in memory.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + size_of::<(i32, f64)>() * self.buckets_len()
            + size_of::<f64>() * self.0.bounds.len()
    }
    /// A number that equal ones have in common, and others hardly ever.
    pub fn digest(&self) -> u64 {
        let mut bytes = Vec::with_capacity(64 + 12 * self.buckets_len());
        bytes.extend_from_slice(&self.0.schema.number().to_le_bytes());
        let mut put = |v: f64| bytes.extend_from_slice(&v.to_bits().to_le_bytes());
        let head = [
            self.0.zero_threshold,
            self.0.zero_count,
            self.0.count,
            self.0.sum,
        ];
        head.into_iter().for_each(&mut put);
        self.0.bounds.iter().copied().for_each(&mut put);
        for side in [&self.0.positive, &self.0.negative] {
            bytes.extend_from_slice(&side.len().to_le_bytes());
            for (index, count) in side.iter() {
                bytes.extend_from_slice(&index.to_le_bytes());
                bytes.extend_from_slice(&count.to_bits().to_le_bytes());
            }
        }
        xxh3_64(&bytes)
    }
    /// What is known of a reset.
    pub fn hint(&self) -> ResetHint {
        self.0.hint
    }
    /// Says what is known of a reset.
    pub fn set_hint(&mut self, hint: ResetHint) {
        self.0.hint = hint;
    }

    /// Adds another one.
    ///
    /// # Errors
    /// If only one has custom bounds; nothing is changed then.
    pub fn add(&mut self, other: &Self) -> Result<Added, Incompatible> {
        self.0.add(&other.0, 1.0)
    }
    /// Subtracts another one. The hint is that of a sum: who means a difference sets it to [`ResetHint::Gauge`].
    ///
    /// # Errors
    /// If only one has custom bounds; nothing is changed then.
    pub fn sub(&mut self, other: &Self) -> Result<Added, Incompatible> {
        self.0.add(&other.0, -1.0)
    }
    /// Multiplies every count and the sum. By a factor below zero it becomes a gauge.
    pub fn mul(&mut self, factor: f64) {
        self.0.multiply(factor);
    }
    /// Divides every count and the sum. By a number below zero it becomes a gauge; by zero it loses its buckets.
    pub fn div(&mut self, by: f64) {
        self.0.divide(by);
    }
    /// Removes empty buckets.
    pub fn compact(&mut self) {
        self.0.compact();
    }
    /// Brings it to a coarser schema. With custom bounds, or where it is coarser already, it stays as it is.
    pub fn coarsen(&mut self, schema: i8) {
        self.0.coarsen(schema.max(Schema::COARSEST));
    }
}

impl Default for Histogram {
    /// Nothing was observed.
    fn default() -> Self {
        Self(Layout {
            hint: ResetHint::Unknown,
            schema: Schema::Exponential(0),
            zero_threshold: 0.0,
            zero_count: 0.0,
            count: 0.0,
            sum: 0.0,
            positive: Side::default(),
            negative: Side::default(),
            bounds: Arc::default(),
        })
    }
}

impl PartialEq for Histogram {
    fn eq(&self, other: &Self) -> bool {
        // Bit by bit: this is about the same data, and NaN is data.
        let bits =
            |h: &Self| [h.0.zero_threshold, h.0.zero_count, h.0.count, h.0.sum].map(f64::to_bits);
        let side = |a: &Side<f64>, b: &Side<f64>| {
            a.iter()
                .map(|(i, c)| (i, c.to_bits()))
                .eq(b.iter().map(|(i, c)| (i, c.to_bits())))
        };
        self.0.schema == other.0.schema
            && bits(self) == bits(other)
            && self.0.bounds == other.0.bounds
            && side(&self.0.positive, &other.0.positive)
            && side(&self.0.negative, &other.0.negative)
    }
}

#[cfg(test)]
mod tests;
