//! The values of one part of an expression at one time: a slot for each label set it can have.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use crate::engine::promql::source::Value;
use crate::model::histogram::Histogram;

/// What a slot holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Nothing: its series is not part of the vector at this time.
    #[default]
    Absent,
    /// A number.
    Float,
    /// A native histogram.
    Histogram,
}

/// One present value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sample<'a> {
    /// A number.
    Float(f64),
    /// A native histogram.
    Histogram(&'a Arc<Histogram>),
}

/// The slots; all vectors but `histograms` and `order` have one entry for each.
#[derive(Clone, Debug, Default)]
pub(super) struct Column {
    /// What is there.
    pub kinds: Vec<Kind>,
    /// Numbers; anything where there is none.
    pub values: Vec<f64>,
    /// Histograms; empty where there has never been one.
    pub(super) histograms: Vec<Option<Arc<Histogram>>>,
    /// Whether some slot holds a histogram.
    pub mixed: bool,
    /// The slots in the order of the vector, where a sort or a choice has set one; empty: as they are numbered.
    pub order: Vec<u32>,
}

impl Column {
    /// Empties it, for that many slots.
    pub fn reset(&mut self, slots: usize) {
        self.kinds.clear();
        self.kinds.resize(slots, Kind::Absent);
        if self.values.len() != slots {
            self.values.resize(slots, 0.0);
        }
        if self.mixed {
            self.histograms.fill(None);
            self.mixed = false;
        }
        self.order.clear();
    }
    /// Puts a number into a slot.
    #[inline(always)]
    pub fn put(&mut self, slot: usize, value: f64) {
        if let (Some(k), Some(v)) = (self.kinds.get_mut(slot), self.values.get_mut(slot)) {
            *k = Kind::Float;
            *v = value;
        }
    }
    /// Puts a histogram into a slot.
    pub fn put_histogram(&mut self, slot: usize, histogram: Arc<Histogram>) {
        let slots = self.kinds.len();
        if self.histograms.len() != slots {
            self.histograms.resize(slots, None);
        }
        if let (Some(k), Some(h)) = (self.kinds.get_mut(slot), self.histograms.get_mut(slot)) {
            *k = Kind::Histogram;
            *h = Some(histogram);
            self.mixed = true;
        }
    }
    /// Puts what another column holds.
    pub fn put_sample(&mut self, slot: usize, sample: Sample<'_>) {
        match sample {
            Sample::Float(v) => self.put(slot, v),
            Sample::Histogram(h) => self.put_histogram(slot, h.clone()),
        }
    }
    /// What a slot holds.
    #[inline(always)]
    pub fn get(&self, slot: usize) -> Option<Sample<'_>> {
        match self.kinds.get(slot)? {
            Kind::Absent => None,
            Kind::Float => Some(Sample::Float(*self.values.get(slot)?)),
            Kind::Histogram => Some(Sample::Histogram(self.histograms.get(slot)?.as_ref()?)),
        }
    }
    /// Whether a slot holds anything.
    #[inline(always)]
    pub fn has(&self, slot: usize) -> bool {
        self.kinds.get(slot).is_some_and(|k| *k != Kind::Absent)
    }
    /// Whether no slot holds anything.
    pub fn is_empty(&self) -> bool {
        self.kinds.iter().all(|k| *k == Kind::Absent)
    }
    /// How many slots hold something.
    pub fn count(&self) -> usize {
        self.kinds.iter().filter(|k| **k != Kind::Absent).count()
    }
    /// What its histograms weigh more than numbers would, in numbers with their time.
    pub fn weight(&self) -> usize {
        if !self.mixed {
            return 0;
        }
        let more = self.samples().map(|(_, sample)| match sample {
            Sample::Float(_) => 0,
            Sample::Histogram(h) => h.bytes() / 16,
        });
        more.sum()
    }
    /// The slots that hold something, in the order of the vector.
    pub fn present(&self) -> impl Iterator<Item = usize> + '_ {
        let numbered = if self.order.is_empty() {
            self.kinds.len()
        } else {
            0
        };
        self.order
            .iter()
            .map(|s| *s as usize)
            .chain(0..numbered)
            .filter(|s| self.has(*s))
    }
    /// The slots with what they hold, in the order of the vector.
    pub fn samples(&self) -> impl Iterator<Item = (usize, Sample<'_>)> + '_ {
        self.present().filter_map(|s| Some((s, self.get(s)?)))
    }
    /// Takes over another column as it is.
    pub fn copy(&mut self, from: &Column) {
        self.kinds.clone_from(&from.kinds);
        self.values.clone_from(&from.values);
        if self.mixed || from.mixed {
            self.histograms.clone_from(&from.histograms);
        }
        self.mixed = from.mixed;
        self.order.clone_from(&from.order);
    }
    /// Keeps the order of another column with the same slots.
    #[inline(always)]
    pub fn ordered_as(&mut self, from: &Column) {
        if !from.order.is_empty() {
            self.order.clone_from(&from.order);
        }
    }
}

impl Sample<'_> {
    /// The same, to keep.
    pub fn to_value(self) -> Value {
        match self {
            Sample::Float(v) => Value::Float(v),
            Sample::Histogram(h) => Value::Histogram(h.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_forgets_what_it_held() {
        let mut c = Column::default();
        c.reset(3);
        c.put(1, 5.0);
        c.put_histogram(2, Arc::new(Histogram::default()));
        c.order = vec![2, 1];
        assert_eq!(c.present().collect::<Vec<_>>(), [2, 1]);
        assert_eq!(c.count(), 2);
        c.reset(2);
        assert!(c.is_empty() && !c.mixed && c.order.is_empty());
    }
}
