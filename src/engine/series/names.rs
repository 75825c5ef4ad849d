//! Series by name: which number a key has, and which numbers a metric has.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::BTreeMap;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use crate::engine::series::Series;
use crate::model::labels::SeriesKey;

/// The index of a set of series. It keeps no key: a probe looks at that of the series.
#[derive(Debug, Default)]
pub(super) struct Names {
    by_key: HashTable<u32>,
    by_metric: BTreeMap<Box<str>, Vec<u32>>,
}

impl Names {
    /// The number of a key.
    pub fn find(&self, key: &SeriesKey, all: &[Series]) -> Option<u32> {
        let same = |n: &u32| all.get(*n as usize).is_some_and(|s| s.key() == key);
        self.by_key.find(xxh3_64(key.bytes()), same).copied()
    }

    /// Enters a new one.
    pub fn add(&mut self, key: &SeriesKey, number: u32, all: &[Series]) {
        let hash_of = |n: &u32| all.get(*n as usize).map_or(0, |s| xxh3_64(s.key().bytes()));
        self.by_key
            .insert_unique(xxh3_64(key.bytes()), number, hash_of);
        match self.by_metric.get_mut(key.metric()) {
            Some(numbers) => numbers.push(number),
            None => {
                self.by_metric.insert(key.metric().into(), vec![number]);
            }
        }
    }

    /// The numbers of a metric's series, ascending.
    pub fn of_metric(&self, metric: &str) -> &[u32] {
        self.by_metric.get(metric).map_or(&[], Vec::as_slice)
    }

    /// The metrics with the numbers of their series.
    pub fn metrics(&self) -> impl Iterator<Item = (&str, &[u32])> {
        self.by_metric.iter().map(|(m, n)| (&**m, n.as_slice()))
    }
}
