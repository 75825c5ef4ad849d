//! The door for samples: numbers series, refuses what is too late, too far ahead or too much, counts a repeated
//! delivery once. What it admits is made durable first and filed by the engine after that.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

pub mod spellings;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hashbrown::HashTable;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::engine::intake::spellings::{Spelling, Spellings};
use crate::engine::limits::{
    DELIVERY_ID_MEMORY, FUTURE_MAX, LATE_IN_ORDER_MAX, LATE_MAX, METRIC_SERIES_MAX,
    SERIES_COUNT_MAX,
};
use crate::engine::series::Sample;
use crate::engine::series::native::NativeSample;
use crate::model::histogram::Histogram;
use crate::model::labels::SeriesKey;
use crate::model::time::Timestamp;

/// What a delivery carries, decoded: keys lie one after the other in `keys`.
#[derive(Debug, Default, PartialEq)]
pub struct Batch {
    /// Canonical keys, end to end.
    pub keys: Vec<u8>,
    /// The items, in order.
    pub items: Vec<Item>,
    /// Whether a series has one value at a time and no way back, as Prometheus's own: then a sample that is older than
    /// the newest one, and another value of the same time, are refused, and the same value is a repetition. A sample
    /// without a time of its own is taken all the same.
    pub exact: bool,
    /// Hash of the whole delivery, if a repetition of it can be told by that.
    pub id: Option<u128>,
    /// How far the clock by which it was measured was ahead of the engine's when its times were made, in milliseconds.
    /// `None`: as far as it is when it comes in.
    pub ahead_ms: Option<i64>,
    /// Spellings that the door is to learn: the place of an item of that series in `items`, ascending.
    pub spelt: Vec<(u32, Spelling)>,
    /// Native histograms: the place of the item in `items`, ascending. The item's value is their [`mark`].
    pub natives: Vec<(u32, Arc<Histogram>)>,
}

/// What stands for a histogram where the door compares values: a NaN of its digest.
pub fn mark(histogram: &Histogram) -> f64 {
    f64::from_bits(0xfff4_0000_0000_0000 | histogram.digest() >> 14)
}

impl Batch {
    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        let natives: usize = self.natives.iter().map(|(_, h)| 16 + h.bytes()).sum();
        self.keys.len() + size_of_val(&*self.items) + size_of_val(&*self.spelt) + natives
    }

    /// Adds a histogram of a series, whose canonical key is given.
    pub fn push_native(&mut self, key: &[u8], ts: Timestamp, histogram: Arc<Histogram>) {
        let place = u32::try_from(self.items.len()).unwrap_or(u32::MAX);
        self.push(key, ts, mark(&histogram));
        self.natives.push((place, histogram));
    }

    /// Adds a sample of a series, whose canonical key is given.
    pub fn push(&mut self, key: &[u8], ts: impl Into<Option<Timestamp>>, value: f64) {
        let start = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        self.keys.extend_from_slice(key);
        let end = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        self.items.push(Item {
            index: u32::try_from(self.items.len()).unwrap_or(u32::MAX),
            whose: Whose::Key(start..end),
            ts: ts.into(),
            value,
            id: None,
        });
    }
}

/// One sample of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its place in the request, from 0.
    pub index: u32,
    /// The series.
    pub whose: Whose,
    /// When it was measured, if the sender said so.
    pub ts: Option<Timestamp>,
    /// The value; of a histogram, what stands for it.
    pub value: f64,
    /// Hash of the delivery id, if it has one.
    pub id: Option<u128>,
}

/// Which series an item is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The one with this key: where it is in [`Batch::keys`].
    Key(std::ops::Range<u32>),
    /// The one that the door has given this number.
    Number(u32),
}

/// Hash of a delivery id, in the scope of its series.
pub fn delivery_id(key: &[u8], id: &[u8]) -> u128 {
    let mut bytes = Vec::with_capacity(key.len() + id.len() + 1);
    bytes.extend_from_slice(key);
    bytes.push(0xfe);
    bytes.extend_from_slice(id);
    xxh3_128(&bytes)
}

/// Why an item was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Older than [`LATE_MAX`], or than [`LATE_IN_ORDER_MAX`] where that holds.
    Late,
    /// Further ahead than [`FUTURE_MAX`].
    Future,
    /// One series more than [`SERIES_COUNT_MAX`].
    SeriesLimit,
    /// One series of a metric more than [`METRIC_SERIES_MAX`].
    MetricLimit,
    /// Older than the newest sample of its series, where there is no way back.
    OutOfOrder,
    /// Another value than the one that its series has at that time.
    Duplicate,
}

impl Refusal {
    /// All of them, with the names under which they are counted.
    pub const ALL: [(&'static str, Refusal); 6] = [
        ("late", Refusal::Late),
        ("future", Refusal::Future),
        ("series_limit", Refusal::SeriesLimit),
        ("metric_limit", Refusal::MetricLimit),
        ("out_of_order", Refusal::OutOfOrder),
        ("duplicate", Refusal::Duplicate),
    ];
    /// Its place among them.
    pub fn place(self) -> usize {
        Self::ALL.iter().position(|(_, r)| *r == self).unwrap_or(0)
    }
}

/// Items of one delivery that are named when they are refused; the rest is counted.
pub const NAMED_MAX: usize = 20;
/// Bytes of a series in a message; what is longer is cut.
const NAME_BYTES_MAX: usize = 300;

/// What a refused item is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its place in the request, from 0.
    pub index: u32,
    /// The metric.
    pub metric: String,
    /// The series.
    pub series: String,
    /// The time that the sender gave.
    pub ts: Option<Timestamp>,
}

impl Refusal {
    /// Why, for the sender: what it is about, and the limit. `exact`: its samples come in order and each once.
    pub fn words(self, about: Option<&Named>, exact: bool) -> String {
        let series = about.map_or("the series", |n| &n.series);
        let at = about.and_then(|n| n.ts);
        let at = at.map_or_else(String::new, |ts| format!(" at {}", ts.rfc3339()));
        match self {
            Refusal::Late => {
                let limit = if exact { LATE_IN_ORDER_MAX } else { LATE_MAX };
                format!("{series}{at}: too late: the limit is {limit} in the past")
            }
            Refusal::Future => {
                format!("{series}{at}: too far ahead: the limit is {FUTURE_MAX} in the future")
            }
            Refusal::SeriesLimit => format!(
                "{series}: one series too many: the limit is {SERIES_COUNT_MAX} active series"
            ),
            Refusal::MetricLimit => {
                let metric = about.map_or("this metric", |n| &n.metric);
                format!(
                    "{series}: one series of {metric} too many: the limit is {METRIC_SERIES_MAX}"
                )
            }
            Refusal::OutOfOrder => format!("{series}{at}: out of order: it has a newer sample"),
            Refusal::Duplicate => {
                format!("{series}{at}: duplicate: it has another value at that time")
            }
        }
    }
}

/// Whether a sample is one that the door has let in before.
enum Place {
    New,
    Known,
}

/// What the door let in.
#[derive(Debug, Default)]
pub struct Admitted {
    /// When.
    pub at: Timestamp,
    /// Series seen for the first time, numbered on from those before.
    pub new: Vec<SeriesKey>,
    /// Samples to file.
    pub samples: Vec<Sample>,
    /// Delivery ids to remember, each with the place of its sample among those to file.
    pub ids: Vec<(usize, u128)>,
    /// Samples that the engine made itself and filed before they were stored.
    pub own: Vec<Sample>,
    /// Histograms to file.
    pub natives: Vec<NativeSample>,
    /// Ids of deliveries without any number to file, each with the place of its last histogram among those to file.
    pub native_ids: Vec<(usize, u128)>,
    /// Histograms that the engine made itself and filed before they were stored.
    pub own_natives: Vec<NativeSample>,
    /// Bytes of the histograms that the door let in.
    pub native_bytes: usize,
    /// During replay: series of samples that the engine made, filed again or not.
    pub of_own: Vec<u32>,
}

impl Admitted {
    /// Whether there is nothing to store.
    pub fn is_empty(&self) -> bool {
        self.count() == 0 && self.own.is_empty() && self.own_natives.is_empty()
    }
    /// How many samples came in, of whichever kind.
    pub fn count(&self) -> usize {
        self.samples.len() + self.natives.len()
    }
    /// What came in, in numbers that take as much memory.
    pub fn weight(&self) -> usize {
        self.count() + self.native_bytes / size_of::<Sample>()
    }
}

/// The door's memory.
#[derive(Default)]
pub struct Intake {
    keys: Vec<SeriesKey>,
    index: HashTable<u32>,
    /// Ids of the current and of the last span of [`DELIVERY_ID_MEMORY`].
    ids: [BTreeSet<u128>; 2],
    ids_since: Timestamp,
    /// By number: time (ms since the epoch) and value of the newest sample of a series.
    newest: Vec<(i64, f64)>,
    /// How many series each metric has.
    of_metric: BTreeMap<Box<[u8]>, u32>,
    spellings: Arc<Spellings>,
    /// Items whose delivery id was known.
    pub repeated_total: u64,
}

impl Intake {
    /// How many series are known.
    pub fn series_count(&self) -> usize {
        self.keys.len()
    }
    /// The spellings that it has learnt.
    pub fn spellings(&self) -> Arc<Spellings> {
        self.spellings.clone()
    }
    /// What items with these indexes are about, for a message: the first [`NAMED_MAX`] of them.
    pub fn name(&self, batch: &Batch, refused: &[(u32, Refusal)]) -> Vec<Named> {
        let name = |(index, _): &(u32, Refusal)| {
            // Items stand in the order of the request.
            let place = batch.items.binary_search_by_key(index, |i| i.index);
            let item = batch.items.get(place.ok()?)?;
            let key = match &item.whose {
                Whose::Number(number) => self.key(*number).cloned()?,
                Whose::Key(at) => {
                    let bytes = batch.keys.get(at.start as usize..at.end as usize)?;
                    SeriesKey::from_canonical(bytes)
                }
            };
            let mut series = key.to_string();
            if series.len() > NAME_BYTES_MAX {
                let end = (0..=NAME_BYTES_MAX).rev();
                let end = end.into_iter().find(|i| series.is_char_boundary(*i));
                series.truncate(end.unwrap_or(0));
                series.push('…');
            }
            Some(Named {
                index: *index,
                metric: key.metric().to_owned(),
                series,
                ts: item.ts,
            })
        };
        refused.iter().take(NAMED_MAX).filter_map(name).collect()
    }
    /// The key of a numbered series.
    pub fn key(&self, number: u32) -> Option<&SeriesKey> {
        self.keys.get(number as usize)
    }

    /// The number of a series, new or known.
    ///
    /// # Errors
    /// It would be one too many.
    pub fn number(&mut self, key: &[u8], new: &mut Vec<SeriesKey>) -> Result<u32, Refusal> {
        let hash = xxh3_64(key);
        if let Some(known) = self.find(key, hash) {
            return Ok(known);
        }
        if self.keys.len() >= SERIES_COUNT_MAX {
            return Err(Refusal::SeriesLimit);
        }
        match self.of_metric.get(metric_of(key)) {
            Some(count) if *count >= METRIC_SERIES_MAX => Err(Refusal::MetricLimit),
            Some(_) | None => Ok(self.add(key, hash, new)),
        }
    }

    /// The same for a series that the log has: it was let in, and stays, however many have been let in since others ended.
    pub fn recall(&mut self, key: &[u8], new: &mut Vec<SeriesKey>) -> u32 {
        let hash = xxh3_64(key);
        let known = self.find(key, hash);
        known.unwrap_or_else(|| self.add(key, hash, new))
    }

    fn find(&self, key: &[u8], hash: u64) -> Option<u32> {
        let is_it = |n: &u32| {
            let known = self.keys.get(*n as usize);
            known.is_some_and(|k| k.bytes() == key)
        };
        self.index.find(hash, is_it).copied()
    }

    fn add(&mut self, key: &[u8], hash: u64, new: &mut Vec<SeriesKey>) -> u32 {
        let number = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        match self.of_metric.get_mut(metric_of(key)) {
            Some(count) => *count += 1,
            None => drop(self.of_metric.insert(metric_of(key).into(), 1)),
        }
        let key = SeriesKey::from_canonical(key);
        self.keys.push(key.clone());
        self.newest.push((i64::MIN, 0.0));
        let keys = &self.keys;
        self.index.insert_unique(hash, number, |n| {
            keys.get(*n as usize).map_or(0, |k| xxh3_64(k.bytes()))
        });
        new.push(key);
        number
    }

    /// Remembers a delivery id; false if it was known.
    pub fn remember(&mut self, at: Timestamp, id: u128) -> bool {
        if at.since(self.ids_since) >= DELIVERY_ID_MEMORY {
            let [current, last] = &mut self.ids;
            *last = std::mem::take(current);
            self.ids_since = at;
        }
        let [current, last] = &mut self.ids;
        !last.contains(&id) && current.insert(id)
    }

    /// Lets in what may come in, adding it to `into`; says what may not, by index. `ahead_ms` is how far the clock by
    /// which senders measure is ahead of `now`.
    pub fn admit(
        &mut self,
        now: Timestamp,
        ahead_ms: i64,
        batch: &Batch,
        into: &mut Admitted,
    ) -> Vec<(u32, Refusal)> {
        let mut refused = Vec::new();
        into.at = now;
        if batch.id.is_some_and(|id| !self.remember(now, id)) {
            self.repeated_total += batch.items.len() as u64;
            return refused;
        }
        let late = if batch.exact {
            LATE_IN_ORDER_MAX
        } else {
            LATE_MAX
        };
        let (oldest, newest) = (now - late, now + FUTURE_MAX);
        // Samples of one series mostly come one after the other.
        let (mut last_key, mut last_number) = (0..0, 0);
        let before = (into.samples.len(), into.natives.len());
        let mut natives = batch.natives.iter().peekable();
        let (mut spelt, mut learnt) = (batch.spelt.iter().peekable(), Vec::new());
        for (place, item) in (0_u32..).zip(&batch.items) {
            let spelling = spelt.next_if(|(at, _)| *at == place);
            let native = natives.next_if(|(at, _)| *at == place);
            let ts = item
                .ts
                .map_or(now, |ts| ts.shifted(ahead_ms.saturating_neg()));
            if ts < oldest {
                refused.push((item.index, Refusal::Late));
                continue;
            }
            if ts > newest {
                refused.push((item.index, Refusal::Future));
                continue;
            }
            if item.id.is_some_and(|id| !self.remember(now, id)) {
                self.repeated_total += 1;
                continue;
            }
            let series = match &item.whose {
                Whose::Number(number) => Ok(*number),
                Whose::Key(key) if *key == last_key && !key.is_empty() => Ok(last_number),
                Whose::Key(range) => {
                    let bytes = range.start as usize..range.end as usize;
                    let Some(key) = batch.keys.get(bytes) else {
                        continue;
                    };
                    let number = self.number(key, &mut into.new);
                    if let Ok(number) = number {
                        (last_key, last_number) = (range.clone(), number);
                    }
                    number
                }
            };
            if let (Some((_, spelling)), Ok(series)) = (spelling, series) {
                learnt.push((*spelling, series));
            }
            let placed = series.and_then(|series| {
                let (ts, value) = (ts, item.value);
                let sample = Sample { series, ts, value };
                let place = self.place(&sample, batch.exact && item.ts.is_some())?;
                Ok((place, sample))
            });
            if let (Ok((Place::New, _)), Some(id)) = (&placed, item.id) {
                match native {
                    Some(_) => into.native_ids.push((into.natives.len(), id)),
                    None => into.ids.push((into.samples.len(), id)),
                }
            } else if let Some(id) = item.id {
                // Nothing is stored of it: sent again, it is to be looked at again.
                self.forget_id(id);
            }
            match placed {
                Ok((Place::New, sample)) => match native {
                    Some((_, histogram)) => {
                        into.native_bytes += histogram.bytes();
                        into.natives.push(NativeSample {
                            series: sample.series,
                            ts: sample.ts,
                            histogram: histogram.clone(),
                        });
                    }
                    None => into.samples.push(sample),
                },
                Ok((Place::Known, _)) => self.repeated_total += 1,
                Err(why) => refused.push((item.index, why)),
            }
        }
        self.spellings.learn(&learnt);
        if let Some(id) = batch.id {
            if refused.is_empty() {
                // The place of its last sample: a record that names it holds all of it, or comes after the rest of it.
                // Histograms are written in front of numbers.
                let only_natives = into.samples.len() == before.0 && into.natives.len() > before.1;
                if only_natives {
                    into.native_ids.push((into.natives.len() - 1, id));
                } else {
                    into.ids.push((into.samples.len().saturating_sub(1), id));
                }
            } else {
                // Sent again, it is to be told again what is wrong with it.
                self.forget_id(id);
            }
        }
        refused
    }

    /// Remembers the newest sample of a series.
    pub fn note(&mut self, sample: &Sample) {
        let _ = self.place(sample, false);
    }

    /// The same of a histogram.
    pub fn note_native(&mut self, native: &NativeSample) {
        self.note(&Sample {
            series: native.series,
            ts: native.ts,
            value: mark(&native.histogram),
        });
    }

    /// Where a sample stands to the newest one of its series, which it becomes if it is newer.
    fn place(&mut self, sample: &Sample, exact: bool) -> Result<Place, Refusal> {
        let Some(newest) = self.newest.get_mut(sample.series as usize) else {
            return Ok(Place::New);
        };
        match sample.ts.ms().cmp(&newest.0) {
            Ordering::Less if exact => return Err(Refusal::OutOfOrder),
            Ordering::Equal if exact && newest.1.to_bits() == sample.value.to_bits() => {
                return Ok(Place::Known);
            }
            Ordering::Equal if exact => return Err(Refusal::Duplicate),
            Ordering::Less => {}
            Ordering::Equal | Ordering::Greater => *newest = (sample.ts.ms(), sample.value),
        }
        Ok(Place::New)
    }

    /// Takes back what did not become durable, so that the sender's retry is not taken for a repetition.
    pub fn forget(&mut self, lost: &Admitted) {
        for (_, id) in lost.ids.iter().chain(&lost.native_ids) {
            self.forget_id(*id);
        }
        let natives = lost.natives.iter().map(|n| n.series);
        for series in lost.samples.iter().map(|s| s.series).chain(natives) {
            if let Some(newest) = self.newest.get_mut(series as usize) {
                *newest = (i64::MIN, 0.0);
            }
        }
    }

    fn forget_id(&mut self, id: u128) {
        for set in &mut self.ids {
            set.remove(&id);
        }
    }
}

/// The name of a key's metric.
fn metric_of(key: &[u8]) -> &[u8] {
    key.split(|b| *b == 0xff).next().unwrap_or(&[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::Duration;

    fn batch(items: &[(&str, Option<i64>, Option<&str>)]) -> Batch {
        let mut b = Batch::default();
        for (index, (key, ts, id)) in (0..).zip(items) {
            let start = b.keys.len() as u32;
            b.keys.extend_from_slice(key.as_bytes());
            b.items.push(Item {
                index,
                whose: Whose::Key(start..b.keys.len() as u32),
                ts: ts.map(Timestamp::from_ms),
                value: 1.0,
                id: id.map(|i| delivery_id(key.as_bytes(), i.as_bytes())),
            });
        }
        b
    }

    #[test]
    fn late_and_future_items_are_refused_one_by_one() {
        let now = Timestamp::from_ms(3_600_000);
        let (mut door, mut into) = (Intake::default(), Admitted::default());
        let refused = door.admit(
            now,
            0,
            &batch(&[
                ("a", Some(2_999_999), None),
                ("a", Some(3_000_000), None),
                ("b", Some(4_200_001), None),
                ("b", None, None),
            ]),
            &mut into,
        );
        assert_eq!(refused, [(0, Refusal::Late), (2, Refusal::Future)]);
        // One who sends in order may have waited for longer.
        let now = now + Duration::from_hours(3);
        let mut in_order = batch(&[("c", Some(3_599_999), None), ("c", Some(3_600_000), None)]);
        in_order.exact = true;
        let refused = door.admit(now, 0, &in_order, &mut Admitted::default());
        assert_eq!(refused, [(0, Refusal::Late)]);
        assert_eq!(
            into.samples
                .iter()
                .map(|s| (s.series, s.ts.ms()))
                .collect::<Vec<_>>(),
            [(0, 3_000_000), (1, 3_600_000)]
        );
    }

    #[test]
    fn a_repeated_delivery_counts_once_for_ten_minutes_and_again_if_it_was_not_durable() {
        let (mut door, mut into) = (Intake::default(), Admitted::default());
        let one = batch(&[
            ("a", None, Some("x")),
            ("a", None, Some("x")),
            ("b", None, Some("x")),
        ]);
        door.admit(Timestamp::from_ms(0), 0, &one, &mut into);
        assert_eq!(into.samples.len(), 2, "an id belongs to its series");
        door.admit(Timestamp::from_ms(599_999), 0, &one, &mut into);
        assert_eq!(into.samples.len(), 2);
        let lost = Admitted {
            ids: std::mem::take(&mut into.ids),
            ..Admitted::default()
        };
        door.forget(&lost);
        door.admit(Timestamp::from_ms(600_000), 0, &one, &mut into);
        assert_eq!(into.samples.len(), 4);
    }

    /// Hands in samples of series `a` as a sender of Prometheus's does: who was refused, how many came in and how many
    /// were known.
    fn exact(door: &mut Intake, samples: &[(i64, f64)]) -> (Vec<Refusal>, usize, u64) {
        let mut batch = Batch {
            exact: true,
            ..Batch::default()
        };
        for (ts, value) in samples {
            batch.push(b"a", Timestamp::from_ms(*ts), *value);
        }
        let (mut into, before) = (Admitted::default(), door.repeated_total);
        let refused = door.admit(Timestamp::from_ms(3_600_000), 0, &batch, &mut into);
        let refused = refused.into_iter().map(|(_, why)| why).collect();
        (refused, into.samples.len(), door.repeated_total - before)
    }

    #[test]
    fn where_there_is_no_way_back_an_older_sample_is_refused_and_a_repetition_is_none() {
        let mut door = Intake::default();
        let nan = f64::NAN;
        assert_eq!(exact(&mut door, &[(3_500_000, 1.0)]), (vec![], 1, 0));
        assert_eq!(exact(&mut door, &[(3_500_000, 1.0)]), (vec![], 0, 1));
        assert_eq!(
            exact(&mut door, &[(3_500_000, 2.0), (3_500_001, nan)]),
            (vec![Refusal::Duplicate], 1, 0)
        );
        assert_eq!(exact(&mut door, &[(3_500_001, nan)]), (vec![], 0, 1));
        assert_eq!(
            exact(&mut door, &[(3_400_000, 1.0)]),
            (vec![Refusal::OutOfOrder], 0, 0)
        );
        // What did not reach the disk may come again.
        door.forget(&Admitted {
            samples: vec![Sample {
                series: 0,
                ts: Timestamp::from_ms(3_500_001),
                value: nan,
            }],
            ..Admitted::default()
        });
        assert_eq!(exact(&mut door, &[(3_500_001, nan)]), (vec![], 1, 0));
    }

    #[test]
    fn json_and_samples_without_a_time_may_come_late_and_again() {
        let mut door = Intake::default();
        assert_eq!(exact(&mut door, &[(3_700_000, 1.0)]), (vec![], 1, 0));
        let mut push = |ts: Option<i64>, exact: bool| {
            let mut batch = Batch {
                exact,
                ..Batch::default()
            };
            batch.push(b"a", ts.map(Timestamp::from_ms), 5.0);
            let mut into = Admitted::default();
            let refused = door.admit(Timestamp::from_ms(3_600_000), 0, &batch, &mut into);
            (refused.len(), into.samples.len())
        };
        assert_eq!(push(Some(3_700_000), false), (0, 1));
        assert_eq!(push(Some(3_400_000), false), (0, 1));
        assert_eq!(push(None, true), (0, 1));
        assert_eq!(push(Some(3_600_000), true), (1, 0));
    }

    #[test]
    fn times_of_senders_are_measured_by_their_clock() {
        let mut batch = Batch::default();
        batch.push(b"a", Timestamp::from_ms(7_200_000), 1.0);
        batch.push(b"b", None, 1.0);
        let (mut door, mut into) = (Intake::default(), Admitted::default());
        let now = Timestamp::from_ms(3_600_000);
        assert_eq!(door.admit(now, 3_600_000, &batch, &mut into), []);
        assert!(into.samples.iter().all(|s| s.ts == now));
    }

    #[test]
    fn a_whole_delivery_that_comes_again_counts_once_unless_something_of_it_was_refused() {
        let now = Timestamp::from_ms(3_600_000);
        let mut door = Intake::default();
        let mut send = |id: u128, samples: &[i64]| {
            let mut batch = Batch {
                id: Some(id),
                exact: true,
                ..Batch::default()
            };
            for ts in samples {
                batch.push(b"a", Timestamp::from_ms(*ts), 1.0);
            }
            let mut into = Admitted::default();
            let refused = door.admit(now, 0, &batch, &mut into);
            let place = into.ids.first().map(|(place, _)| *place);
            (refused.len(), into.samples.len(), place)
        };
        assert_eq!(send(1, &[3_500_000, 3_510_000]), (0, 2, Some(1)));
        assert_eq!(send(1, &[3_500_000, 3_510_000]), (0, 0, None));
        assert_eq!(send(2, &[9_000_000, 3_520_000]), (1, 1, None));
        assert_eq!(send(2, &[9_000_000, 3_520_000]), (1, 0, None));
    }

    #[test]
    fn an_item_that_was_refused_is_refused_again_whatever_its_id() {
        let mut door = Intake::default();
        let mut new = Vec::new();
        for i in 0..METRIC_SERIES_MAX {
            let key = [b"bomb\xffid\xff".as_slice(), &i.to_le_bytes()].concat();
            door.number(&key, &mut new).unwrap();
        }
        let now = Timestamp::from_ms(3_600_000);
        let mut send = |key: &str, ts: i64, id: &str| {
            let mut batch = batch(&[(key, Some(ts), Some(id))]);
            batch.exact = true;
            let mut into = Admitted::default();
            let refused = door.admit(now, 0, &batch, &mut into);
            let refused: Vec<Refusal> = refused.into_iter().map(|(_, why)| why).collect();
            (refused, into.ids.len(), into.samples.len())
        };
        assert_eq!(send("a", 3_500_000, "x"), (vec![], 1, 1));
        for _ in 0..2 {
            let out_of_order = (vec![Refusal::OutOfOrder], 0, 0);
            assert_eq!(send("a", 3_400_000, "y"), out_of_order);
            let limit = (vec![Refusal::MetricLimit], 0, 0);
            assert_eq!(send("bomb", 3_500_000, "z"), limit);
        }
    }

    #[test]
    fn histograms_are_judged_as_numbers_are() {
        let of = |count: f64| {
            let parts = crate::model::histogram::Parts {
                count,
                ..Default::default()
            };
            Arc::new(Histogram::new(parts).unwrap())
        };
        let now = Timestamp::from_ms(36_000_000);
        let mut door = Intake::default();
        let mut send = |id: u128, samples: &[(i64, Option<f64>)]| {
            let mut batch = Batch {
                exact: true,
                id: Some(id),
                ..Batch::default()
            };
            for (before, count) in samples {
                let ts = now - crate::model::time::Duration::from_ms(before.unsigned_abs());
                match count {
                    Some(count) => batch.push_native(b"h", ts, of(*count)),
                    None => batch.push(b"h", ts, 1.0),
                }
            }
            let mut into = Admitted::default();
            let refused = door.admit(now, 0, &batch, &mut into);
            let refused: Vec<(u32, Refusal)> = refused.into_iter().collect();
            (refused, into)
        };
        let (refused, into) = send(
            1,
            &[(20_000_000, Some(1.0)), (5_000, Some(1.0)), (4_000, None)],
        );
        assert_eq!(refused, [(0, Refusal::Late)]);
        assert_eq!((into.natives.len(), into.samples.len()), (1, 1));
        // Something was refused, so the delivery is looked at again.
        assert_eq!((into.ids.len(), into.native_ids.len()), (0, 0));
        let (refused, into) = send(2, &[(4_000, Some(1.0)), (3_000, Some(2.0))]);
        assert_eq!(refused, [(0, Refusal::Duplicate)], "it is a number there");
        assert_eq!(into.natives[0].histogram, of(2.0));
        let (refused, into) = send(3, &[(3_000, Some(2.0)), (2_000, Some(3.0))]);
        assert_eq!((refused.len(), into.natives.len()), (0, 1), "one is known");
        assert_eq!((into.ids.len(), into.native_ids.len()), (0, 1));
        assert_eq!(into.native_ids[0], (0, 3));
        assert_eq!(send(3, &[(2_000, Some(9.0))]).1.natives.len(), 0, "same id");
        let (refused, _) = send(4, &[(2_000, Some(4.0)), (2_500, Some(4.0))]);
        let wanted = [(0, Refusal::Duplicate), (1, Refusal::OutOfOrder)];
        assert_eq!(refused, wanted);
        // Of both kinds: the id goes with the last number, which is written behind all histograms.
        let (_, into) = send(5, &[(1_000, Some(4.0)), (900, None), (800, Some(4.0))]);
        assert_eq!(
            (&*into.ids, into.native_ids.len()),
            ([(0, 5)].as_slice(), 0)
        );
        // What did not reach the disk may come again.
        door.forget(&into);
        let mut again = Admitted::default();
        let mut batch = Batch {
            exact: true,
            id: Some(5),
            ..Batch::default()
        };
        let at = now - crate::model::time::Duration::from_ms(1_000);
        batch.push_native(b"h", at, of(4.0));
        assert_eq!(door.admit(now, 0, &batch, &mut again), []);
        assert_eq!(again.natives.len(), 1);
        assert_eq!(again.weight(), 1 + of(4.0).bytes() / 24);
    }

    #[test]
    fn one_metric_cannot_take_the_room_of_all_others() {
        let mut new = Vec::new();
        let key = |i: u32| [b"bomb\xffid\xff".as_slice(), &i.to_le_bytes()].concat();
        let mut door = Intake::default();
        for i in 0..METRIC_SERIES_MAX {
            assert_eq!(door.number(&key(i), &mut new), Ok(i));
        }
        let one_more = door.number(&key(METRIC_SERIES_MAX), &mut new);
        assert_eq!(one_more, Err(Refusal::MetricLimit));
        assert_eq!(door.number(&key(7), &mut new), Ok(7));
        assert_eq!(door.number(b"other", &mut new), Ok(METRIC_SERIES_MAX));
        // What was let in before a restart is let in again.
        let recalled = door.recall(&key(METRIC_SERIES_MAX), &mut new);
        assert_eq!(recalled, METRIC_SERIES_MAX + 1);
        assert_eq!(door.number(&key(METRIC_SERIES_MAX), &mut new), Ok(recalled));
        let one_more = door.number(&key(METRIC_SERIES_MAX + 1), &mut new);
        assert_eq!(one_more, Err(Refusal::MetricLimit));
    }
}
