//! The buckets on one side of zero, and the counts in them.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::model::histogram::BUCKETS_MAX;
use crate::model::histogram::bounds::exponential;
use crate::model::number::kahan;

/// How observations are counted.
pub(super) trait Tally: Copy + Default + From<f64> {
    /// Adds another count.
    fn add(&mut self, other: Self);
    /// The count times a factor.
    fn times(self, factor: f64) -> Self;
    /// The count divided by a number.
    fn divided(self, by: f64) -> Self;
    /// The count, without what rounding has cost.
    fn rough(self) -> f64;
    /// Whether nothing was counted.
    fn is_zero(self) -> bool;
}

impl Tally for f64 {
    fn add(&mut self, other: Self) {
        *self += other;
    }
    fn times(self, factor: f64) -> Self {
        self * factor
    }
    fn divided(self, by: f64) -> Self {
        self / by
    }
    fn rough(self) -> f64 {
        self
    }
    fn is_zero(self) -> bool {
        self == 0.0
    }
}

/// A count that is the sum of many, with what rounding has cost it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Compensated {
    pub(super) sum: f64,
    pub(super) lost: f64,
}

impl From<f64> for Compensated {
    fn from(sum: f64) -> Self {
        Self { sum, lost: 0.0 }
    }
}

impl Tally for Compensated {
    fn add(&mut self, other: Self) {
        (self.sum, self.lost) = kahan(other.sum, self.sum, self.lost);
        if other.lost != 0.0 {
            (self.sum, self.lost) = kahan(other.lost, self.sum, self.lost);
        }
    }
    fn times(self, factor: f64) -> Self {
        Self {
            sum: self.sum * factor,
            lost: self.lost * factor,
        }
    }
    fn divided(self, by: f64) -> Self {
        Self {
            sum: self.sum / by,
            lost: self.lost / by,
        }
    }
    fn rough(self) -> f64 {
        self.sum
    }
    fn is_zero(self) -> bool {
        self.sum == 0.0 && self.lost == 0.0
    }
}

/// The buckets on one side, ascending in their index (away from zero), no index twice. An empty bucket may stand there.
#[derive(Clone, Debug, Default)]
pub(super) struct Side<C>(Vec<(i32, C)>);

impl<C: Tally> Side<C> {
    /// Takes buckets that ascend strictly, at most [`BUCKETS_MAX`]; else `None`.
    pub(super) fn new(buckets: Vec<(i32, C)>) -> Option<Self> {
        let ascend = buckets
            .iter()
            .zip(buckets.iter().skip(1))
            .all(|((a, _), (b, _))| a < b);
        (ascend && buckets.len() <= BUCKETS_MAX).then_some(Self(buckets))
    }
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (i32, C)> + '_ {
        self.0.iter().copied()
    }
    pub(super) fn counts_mut(&mut self) -> impl Iterator<Item = (i32, &mut C)> {
        self.0.iter_mut().map(|(index, count)| (*index, count))
    }
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
    /// The lowest index.
    pub(super) fn first(&self) -> Option<i32> {
        self.0.first().map(|(index, _)| *index)
    }
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// The same buckets with other counts.
    pub(super) fn map<D: Tally>(&self, mut count: impl FnMut(C) -> D) -> Side<D> {
        Side(self.0.iter().map(|(i, c)| (*i, count(*c))).collect())
    }
    /// Removes empty buckets.
    pub(super) fn compact(&mut self) {
        self.0.retain(|(_, count)| !count.is_zero());
    }
    /// Keeps the buckets for which `keep` holds, given their index.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(i32) -> bool) {
        self.0.retain(|(index, _)| keep(*index));
    }
    /// Moves every bucket to another index, in the same order; those that meet are added up.
    pub(super) fn reindex(&mut self, mut to: impl FnMut(i32) -> i32) {
        let mut merged: Vec<(i32, C)> = Vec::with_capacity(self.0.len());
        for (index, count) in self.0.drain(..) {
            let index = to(index);
            match merged.last_mut() {
                Some((last, sum)) if *last == index => sum.add(count),
                Some(_) | None => merged.push((index, count)),
            }
        }
        self.0 = merged;
    }
    /// Makes `steps` pairwise mergers: each halves the resolution.
    pub(super) fn coarsen(&mut self, steps: u32) {
        if steps > 0 {
            // Bucket i ends at its index, so that 2k-1 and 2k form k.
            self.reindex(|index| ((index.saturating_sub(1)) >> steps.min(31)) + 1);
        }
    }
    /// Adds the counts of another side in the same schema, each made fit by `count`.
    pub(super) fn add<D: Tally>(&mut self, other: &Side<D>, count: impl Fn(D) -> C) {
        let same = self.0.len() == other.0.len()
            && self.0.iter().zip(&other.0).all(|((a, _), (b, _))| a == b);
        if same {
            for ((_, sum), (_, more)) in self.0.iter_mut().zip(&other.0) {
                sum.add(count(*more));
            }
            return;
        }
        let mut merged = Vec::with_capacity(self.0.len().max(other.0.len()));
        let mut ours = self.0.drain(..).peekable();
        for &(index, more) in &other.0 {
            while let Some(bucket) = ours.next_if(|(i, _)| *i < index) {
                merged.push(bucket);
            }
            let mut sum = count(more);
            if let Some((_, had)) = ours.next_if(|(i, _)| *i == index) {
                let more = sum;
                sum = had;
                sum.add(more);
            }
            merged.push((index, sum));
        }
        merged.extend(ours);
        self.0 = merged;
    }
    /// Removes the buckets that end at or below a threshold.
    pub(super) fn drop_within(&mut self, threshold: f64, schema: i8) {
        self.0
            .retain(|(index, _)| exponential(*index, schema) > threshold);
    }
}
