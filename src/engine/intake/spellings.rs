//! Which series a sender means, by the bytes in which it spells the labels: it sends the same bytes with every sample,
//! and most of the work of taking a sample is to read them. A spelling is known by its hash, of 96 bits.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_128;

use crate::engine::limits::SPELLINGS_COUNT_MAX;

/// The hash of a spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spelling {
    place: u64,
    check: u32,
}

impl Spelling {
    /// Of the labels as a sender writes them.
    pub fn of(labels: &[u8]) -> Self {
        let hash = xxh3_128(labels);
        Self {
            place: hash as u64,
            check: (hash >> 64) as u32,
        }
    }
}

/// A spelling and the number of its series: 16 bytes.
#[derive(Debug)]
struct Known {
    spelling: Spelling,
    number: u32,
}

/// The spellings that have been seen. The door learns them; decoders ask.
#[derive(Debug, Default)]
pub struct Spellings(RwLock<HashTable<Known>>);

/// What is known while it is held.
pub struct Reading<'a>(RwLockReadGuard<'a, HashTable<Known>>);

impl Spellings {
    /// For a decoder; the door waits while it is held.
    pub fn read(&self) -> Reading<'_> {
        Reading(self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
    /// Learns which series are meant; beyond the bound nothing is learnt, and labels are read each time.
    pub fn learn(&self, all: &[(Spelling, u32)]) {
        if all.is_empty() {
            return;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (spelling, number) in all {
            let found = known.find(spelling.place, |k| k.spelling == *spelling);
            if found.is_none() && known.len() < SPELLINGS_COUNT_MAX {
                let new = Known {
                    spelling: *spelling,
                    number: *number,
                };
                known.insert_unique(spelling.place, new, |k| k.spelling.place);
            }
        }
    }
}

impl Reading<'_> {
    /// The number of the series that is spelt so.
    pub fn find(&self, spelling: Spelling) -> Option<u32> {
        let known = self.0.find(spelling.place, |k| k.spelling == spelling)?;
        Some(known.number)
    }
}
