//! Sums and means of many histograms, without what rounding would lose.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::model::histogram::layout::Layout;
use crate::model::histogram::side::{Compensated, Side, Tally};
use crate::model::histogram::{Added, Histogram, Incompatible};

/// A sum of histograms.
#[derive(Clone, Debug)]
pub struct Sum(Layout<Compensated>);

impl Sum {
    /// The sum of one.
    pub fn new(first: &Histogram) -> Self {
        Self(first.0.map(Compensated::from))
    }
    /// Adds another one.
    ///
    /// # Errors
    /// If only one has custom bounds; nothing is changed then.
    pub fn add(&mut self, other: &Histogram) -> Result<Added, Incompatible> {
        self.0.add(&other.0, 1.0)
    }
    /// The sum, without empty buckets.
    pub fn value(&self) -> Histogram {
        let mut sum = Histogram(self.0.map(|count| count.sum + count.lost));
        sum.compact();
        sum
    }
}

/// No sum of as many counts below this as a histogram has buckets is infinite.
const SAFE: f64 = 1e300;

/// Whether some count or the sum is at least as large as a bound.
fn reaches<C: Tally>(layout: &Layout<C>, bound: f64) -> bool {
    let large = |count: C| count.rough().abs() >= bound;
    let any = |side: &Side<C>| side.iter().any(|(_, count)| large(count));
    large(layout.zero_count)
        || large(layout.count)
        || large(layout.sum)
        || any(&layout.positive)
        || any(&layout.negative)
}

/// A mean of histograms: of their sum, until that becomes infinite, and then of what there is so far and what comes.
#[derive(Clone, Debug)]
pub struct Mean {
    so_far: Sum,
    /// Whether `so_far` is the mean, not the sum.
    is_mean: bool,
    /// How many.
    count: f64,
}

impl Mean {
    /// The mean of one.
    pub fn new(first: &Histogram) -> Self {
        Self {
            so_far: Sum::new(first),
            is_mean: false,
            count: 1.0,
        }
    }
    /// Takes another one in.
    ///
    /// # Errors
    /// If only one has custom bounds; it is not taken in then.
    pub fn add(&mut self, other: &Histogram) -> Result<Added, Incompatible> {
        if !self.is_mean {
            if !reaches(&self.so_far.0, SAFE) && !reaches(&other.0, SAFE) {
                let added = self.so_far.add(other)?;
                self.count += 1.0;
                return Ok(added);
            }
            let mut sum = self.so_far.clone();
            let added = sum.add(other)?;
            if !reaches(&sum.0, f64::INFINITY) {
                self.so_far = sum;
                self.count += 1.0;
                return Ok(added);
            }
        }
        if self.so_far.0.schema.is_custom() != other.is_custom() {
            return Err(Incompatible);
        }
        if !self.is_mean {
            self.so_far.0.divide(self.count);
            self.is_mean = true;
        }
        let count = self.count + 1.0;
        let mut share = other.clone();
        share.div(count);
        self.so_far.0.multiply(self.count / count);
        self.count = count;
        self.so_far.add(&share)
    }
    /// The mean, without empty buckets.
    pub fn value(&self) -> Histogram {
        let mut mean = self.so_far.clone();
        if !self.is_mean {
            mean.0.divide(self.count);
        }
        mean.value()
    }
}
