//! The door for samples: numbers series, refuses what is too late, too far ahead or too much, counts a repeated
//! delivery once. What it admits is made durable first and filed by the engine after that.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::BTreeSet;

use hashbrown::HashTable;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::engine::limits::{DELIVERY_ID_MEMORY, FUTURE_MAX, LATE_MAX, SERIES_COUNT_MAX};
use crate::engine::series::Sample;
use crate::model::labels::SeriesKey;
use crate::model::time::Timestamp;

/// What a delivery carries, decoded: keys lie one after the other in `keys`.
#[derive(Debug, Default, PartialEq)]
pub struct Batch {
    /// Canonical keys, end to end.
    pub keys: Vec<u8>,
    /// The items, in order.
    pub items: Vec<Item>,
    /// Whether a series has one value at a time, as Prometheus's have: the same value again is a repetition, another
    /// one is refused.
    pub exact: bool,
    /// Hash of the whole delivery, if a repetition of it can be told by that.
    pub id: Option<u128>,
}

impl Batch {
    /// Adds a sample of a series, whose canonical key is given.
    pub fn push(&mut self, key: &[u8], ts: Timestamp, value: f64) {
        let start = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        self.keys.extend_from_slice(key);
        let end = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        self.items.push(Item {
            index: u32::try_from(self.items.len()).unwrap_or(u32::MAX),
            key: start..end,
            ts: Some(ts),
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
    /// Where its key is in [`Batch::keys`].
    pub key: std::ops::Range<u32>,
    /// When it was measured, if the sender said so.
    pub ts: Option<Timestamp>,
    /// The value.
    pub value: f64,
    /// Hash of the delivery id, if it has one.
    pub id: Option<u128>,
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
    /// Older than [`LATE_MAX`].
    Late,
    /// Further ahead than [`FUTURE_MAX`].
    Future,
    /// One series more than [`SERIES_COUNT_MAX`].
    SeriesLimit,
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
    /// Delivery ids to remember.
    pub ids: Vec<u128>,
    /// Samples that the engine made itself and filed before they were stored.
    pub own: Vec<Sample>,
}

/// The door's memory.
#[derive(Default)]
pub struct Intake {
    keys: Vec<SeriesKey>,
    index: HashTable<u32>,
    /// Ids of the current and of the last span of [`DELIVERY_ID_MEMORY`].
    ids: [BTreeSet<u128>; 2],
    ids_since: Timestamp,
    /// Items whose delivery id was known.
    pub repeated_total: u64,
}

impl Intake {
    /// How many series are known.
    pub fn series_count(&self) -> usize {
        self.keys.len()
    }
    /// The key of a numbered series.
    pub fn key(&self, number: u32) -> Option<&SeriesKey> {
        self.keys.get(number as usize)
    }

    /// The number of a series, new or known; `None` at the limit.
    pub fn number(&mut self, key: &[u8], new: &mut Vec<SeriesKey>) -> Option<u32> {
        let hash = xxh3_64(key);
        let keys = &self.keys;
        if let Some(found) = self.index.find(hash, |n| {
            keys.get(*n as usize).is_some_and(|k| k.bytes() == key)
        }) {
            return Some(*found);
        }
        if keys.len() >= SERIES_COUNT_MAX {
            return None;
        }
        let number = u32::try_from(keys.len()).ok()?;
        let key = SeriesKey::from_canonical(key);
        self.keys.push(key.clone());
        let keys = &self.keys;
        self.index.insert_unique(hash, number, |n| {
            keys.get(*n as usize).map_or(0, |k| xxh3_64(k.bytes()))
        });
        new.push(key);
        Some(number)
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

    /// Lets in what may come in, adding it to `into`; says what may not, by index.
    pub fn admit(
        &mut self,
        now: Timestamp,
        batch: &Batch,
        into: &mut Admitted,
    ) -> Vec<(u32, Refusal)> {
        let mut refused = Vec::new();
        into.at = now;
        let (oldest, newest) = (now - LATE_MAX, now + FUTURE_MAX);
        for item in &batch.items {
            let ts = item.ts.unwrap_or(now);
            if ts < oldest {
                refused.push((item.index, Refusal::Late));
                continue;
            }
            if ts > newest {
                refused.push((item.index, Refusal::Future));
                continue;
            }
            let Some(key) = batch
                .keys
                .get(item.key.start as usize..item.key.end as usize)
            else {
                continue;
            };
            if let Some(id) = item.id {
                if !self.remember(now, id) {
                    self.repeated_total += 1;
                    continue;
                }
                into.ids.push(id);
            }
            match self.number(key, &mut into.new) {
                Some(series) => into.samples.push(Sample {
                    series,
                    ts,
                    value: item.value,
                }),
                None => refused.push((item.index, Refusal::SeriesLimit)),
            }
        }
        refused
    }

    /// Takes back ids that did not become durable, so that the sender's retry is not taken for a repetition.
    pub fn forget(&mut self, ids: &[u128]) {
        for set in &mut self.ids {
            for id in ids {
                set.remove(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(items: &[(&str, Option<i64>, Option<&str>)]) -> Batch {
        let mut b = Batch::default();
        for (index, (key, ts, id)) in (0..).zip(items) {
            let start = b.keys.len() as u32;
            b.keys.extend_from_slice(key.as_bytes());
            b.items.push(Item {
                index,
                key: start..b.keys.len() as u32,
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
            &batch(&[
                ("a", Some(2_999_999), None),
                ("a", Some(3_000_000), None),
                ("b", Some(4_200_001), None),
                ("b", None, None),
            ]),
            &mut into,
        );
        assert_eq!(refused, [(0, Refusal::Late), (2, Refusal::Future)]);
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
        door.admit(Timestamp::from_ms(0), &one, &mut into);
        assert_eq!(into.samples.len(), 2, "an id belongs to its series");
        door.admit(Timestamp::from_ms(599_999), &one, &mut into);
        assert_eq!(into.samples.len(), 2);
        let ids = std::mem::take(&mut into.ids);
        door.forget(&ids);
        door.admit(Timestamp::from_ms(600_000), &one, &mut into);
        assert_eq!(into.samples.len(), 4);
    }
}
