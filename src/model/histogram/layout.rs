//! How two histograms are brought to the same buckets and added, whether their counts are plain or compensated.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use crate::model::histogram::bounds::{exponential, upper};
use crate::model::histogram::side::{Side, Tally};
use crate::model::histogram::{Added, BUCKETS_MAX, Incompatible, ResetHint, Schema};

/// A histogram over some kind of count. With custom bounds there is no zero bucket and no negative side; otherwise
/// there are no bounds.
#[derive(Clone, Debug)]
pub(super) struct Layout<C> {
    pub(super) hint: ResetHint,
    pub(super) schema: Schema,
    pub(super) zero_threshold: f64,
    pub(super) zero_count: C,
    pub(super) count: C,
    pub(super) sum: C,
    pub(super) positive: Side<C>,
    pub(super) negative: Side<C>,
    pub(super) bounds: Arc<[f64]>,
}

impl<C: Tally> Layout<C> {
    /// The same histogram with other counts.
    pub(super) fn map<D: Tally>(&self, count: impl Fn(C) -> D) -> Layout<D> {
        let zero_count = match self.schema {
            Schema::Custom => D::default(),
            Schema::Exponential(_) => count(self.zero_count),
        };
        Layout {
            hint: self.hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count,
            count: count(self.count),
            sum: count(self.sum),
            positive: self.positive.map(&count),
            negative: self.negative.map(&count),
            bounds: Arc::clone(&self.bounds),
        }
    }

    /// Multiplies every count and the sum. Less than nothing cannot be counted: what is negated is a gauge.
    pub(super) fn multiply(&mut self, factor: f64) {
        *self = self.map(|count| count.times(factor));
        if factor < 0.0 {
            self.hint = ResetHint::Gauge;
        }
    }

    /// Divides every count and the sum. Divided by nothing, no bucket is left.
    pub(super) fn divide(&mut self, by: f64) {
        *self = self.map(|count| count.divided(by));
        if by == 0.0 {
            self.positive = Side::default();
            self.negative = Side::default();
        } else if by < 0.0 {
            self.hint = ResetHint::Gauge;
        }
    }

    /// Removes empty buckets.
    pub(super) fn compact(&mut self) {
        self.positive.compact();
        self.negative.compact();
    }

    /// Brings an exponential histogram to a coarser schema; anything else stays as it is.
    pub(super) fn coarsen(&mut self, to: i8) {
        if let Schema::Exponential(from) = self.schema
            && to < from
        {
            let steps = from.abs_diff(to).into();
            self.positive.coarsen(steps);
            self.negative.coarsen(steps);
            self.schema = Schema::Exponential(to);
        }
    }

    /// Adds another histogram `times` times (1 or -1); both are brought to the coarser schema, the wider zero bucket or
    /// the common bounds.
    pub(super) fn add<D: Tally>(
        &mut self,
        other: &Layout<D>,
        times: f64,
    ) -> Result<Added, Incompatible>
    where
        C: From<D>,
    {
        let mut added = Added::default();
        if self.schema.is_custom() != other.schema.is_custom() {
            return Err(Incompatible);
        }
        (self.hint, added.collision) = self.hint.with(other.hint);
        let signed = |count: D| C::from(count).times(times);
        self.count.add(signed(other.count));
        self.sum.add(signed(other.sum));
        if self.takes_as_is(other) {
            self.zero_count.add(signed(other.zero_count));
            self.positive.add(&other.positive, signed);
            self.negative.add(&other.negative, signed);
        } else {
            let mut other = other.map(signed);
            added.bounds_reconciled = self.bounds != other.bounds;
            self.reconcile(&mut other);
            self.zero_count.add(other.zero_count);
            self.positive.add(&other.positive, |count| count);
            self.negative.add(&other.negative, |count| count);
            if added.bounds_reconciled {
                self.compact();
            }
        }
        self.stay_bounded();
        Ok(added)
    }

    /// Whether the buckets of another histogram are buckets here without any change.
    fn takes_as_is<D: Tally>(&self, other: &Layout<D>) -> bool {
        let Schema::Exponential(schema) = self.schema else {
            return self.bounds == other.bounds;
        };
        let outside = |side: &Side<D>| {
            side.first()
                .is_none_or(|index| exponential(index, schema) > self.zero_threshold)
        };
        self.schema == other.schema
            && self.zero_threshold == other.zero_threshold
            && outside(&other.positive)
            && outside(&other.negative)
    }

    /// Brings this histogram and another one of the same kind to the same buckets.
    fn reconcile(&mut self, other: &mut Self) {
        match (self.schema, other.schema) {
            (Schema::Exponential(a), Schema::Exponential(b)) => {
                self.widen_zero(other);
                let schema = a.min(b);
                self.coarsen(schema);
                other.coarsen(schema);
                other.positive.drop_within(self.zero_threshold, schema);
                other.negative.drop_within(self.zero_threshold, schema);
            }
            (_, _) => {
                let common = common(&self.bounds, &other.bounds);
                self.rebound(&common);
                other.rebound(&common);
            }
        }
    }

    /// Halves the resolution until there are no more buckets than there may be.
    fn stay_bounded(&mut self) {
        while let Schema::Exponential(schema) = self.schema
            && schema > Schema::COARSEST
            && (self.positive.len() > BUCKETS_MAX || self.negative.len() > BUCKETS_MAX)
        {
            self.coarsen(schema - 1);
        }
    }

    /// Merges custom buckets into those of fewer bounds, all of which are bounds here.
    fn rebound(&mut self, to: &Arc<[f64]>) {
        let from = Arc::clone(&self.bounds);
        self.positive.reindex(|index| {
            let ends = upper(index, Schema::Custom, &from);
            let at = to.partition_point(|bound| *bound < ends);
            i32::try_from(at).unwrap_or(i32::MAX)
        });
        self.bounds = Arc::clone(to);
    }

    /// Widens the narrower zero bucket of two until both are equally wide and no bucket is cut.
    fn widen_zero(&mut self, other: &mut Self) {
        // Bounds of a coarse schema are bounds of a fine one, so that this takes very few rounds.
        while self.zero_threshold < other.zero_threshold
            || other.zero_threshold < self.zero_threshold
        {
            if other.zero_threshold < self.zero_threshold {
                other.widen_zero_to(self.zero_threshold);
            }
            if self.zero_threshold < other.zero_threshold {
                self.widen_zero_to(other.zero_threshold);
            }
        }
    }

    fn widen_zero_to(&mut self, threshold: f64) {
        let (count, threshold) = self.zero_for(threshold);
        self.zero_count = count;
        self.zero_threshold = threshold;
        if let Schema::Exponential(schema) = self.schema {
            let outside = |index: i32| exponential(index - 1, schema) >= threshold;
            self.positive.retain(outside);
            self.negative.retain(outside);
            self.compact();
        }
    }

    /// What the zero bucket would hold if it were wider. A threshold inside of a bucket that is not empty moves on to
    /// its end; the threshold it came to is returned too.
    pub(super) fn zero_for(&self, threshold: f64) -> (C, f64) {
        let Schema::Exponential(schema) = self.schema else {
            return (self.zero_count, threshold);
        };
        if threshold <= self.zero_threshold {
            return (self.zero_count, self.zero_threshold);
        }
        let (mut count, mut threshold) = (self.zero_count, threshold);
        'wider: loop {
            for side in [&self.positive, &self.negative] {
                for (index, inside) in side.iter() {
                    if exponential(index - 1, schema) >= threshold {
                        break;
                    }
                    let end = exponential(index, schema);
                    if end > threshold {
                        if inside.is_zero() {
                            break;
                        }
                        threshold = end;
                        count = self.zero_count;
                        continue 'wider;
                    }
                    count.add(inside);
                }
            }
            return (count, threshold);
        }
    }
}

/// The bounds that both have.
fn common(a: &[f64], b: &[f64]) -> Arc<[f64]> {
    let mut rest = b.iter().peekable();
    a.iter()
        .filter(|bound| {
            while rest.next_if(|other| other < bound).is_some() {}
            rest.next_if_eq(bound).is_some()
        })
        .copied()
        .collect()
}
