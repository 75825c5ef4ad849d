//! A target's answer → a batch: its samples under the target's labels, the staleness markers of series that are gone,
//! and what is said of the scrape itself.
//!
//! ```text
//! up 1 · scrape_duration_seconds 0.004 · scrape_samples_scraped 3027
//! scrape_samples_post_metric_relabeling 3027 · scrape_series_added 0
//! ```
//!
//! An answer is taken whole or not at all. If it is not, `up` is 0 and every series of the target ends, so that nobody
//! takes an old value for a new one. [`Memory`] is what is known of a target from one round to the next.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

mod labels;

use std::collections::BTreeMap;

use crate::engine::intake::{Batch, Item, Whose};
use crate::engine::promql::source::STALE_BITS;
use crate::ingest::exposition::batch::note;
use crate::ingest::exposition::{Entry, Format, Reader};
use crate::ingest::key::put_key;
use crate::ingest::metadata::Metadata;
use crate::ingest::{SAMPLES_COUNT_MAX, offset};
use crate::model::labels::Labels;
use crate::model::scrape::SampleTerms;
use crate::model::time::Timestamp;

/// The series that tell of the scrape itself, in the order of [`Round::report`].
const REPORT: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];

/// What a target said.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The body, inflated.
    pub body: &'a [u8],
    /// Its format.
    pub format: Format,
}

/// What is known of a target from one round to the next.
#[derive(Debug, Default)]
pub struct Memory {
    /// The series of the last good answer that had no times of their own, by key: the round that saw them last.
    seen: BTreeMap<Box<[u8]>, u64>,
    round: u64,
    reported: bool,
    /// What the last batch said has ended, so that it can be said again.
    ended: Vec<Box<[u8]>>,
    report_ended: bool,
}

/// What came of one round.
#[derive(Debug)]
pub struct Round {
    /// What is to be stored.
    pub batch: Batch,
    /// What the answer says of its metrics.
    pub metadata: Metadata,
    /// Why the answer was not taken.
    pub error: Option<String>,
}

/// An answer's samples, before they are compared with those of the last one.
#[derive(Default)]
struct Samples {
    batch: Batch,
    /// Whether each item has a time of its own.
    timed: Vec<bool>,
    metadata: Metadata,
    scraped: usize,
    kept: usize,
}

impl Memory {
    /// How many series the last answer had.
    pub fn series_count(&self) -> usize {
        self.seen.len()
    }

    /// Takes an answer that was asked for at `at`, or why there is none; `seconds` is how long that took.
    pub fn round(
        &mut self,
        at: Timestamp,
        answer: Result<Answer<'_>, String>,
        seconds: f64,
        target: &Labels,
        terms: &SampleTerms,
    ) -> Round {
        let mut samples = Samples {
            batch: Batch {
                exact: true,
                ..Batch::default()
            },
            ..Samples::default()
        };
        let read = answer.and_then(|answer| samples.read(at, answer, target, terms));
        if read.is_err() {
            samples.batch.keys.clear();
            samples.batch.items.clear();
            samples.timed.clear();
        }
        let added = self.compare(at, &mut samples);
        let Samples {
            mut batch,
            metadata,
            scraped,
            kept,
            ..
        } = samples;
        let up = f64::from(u8::from(read.is_ok()));
        let values = [up, seconds, scraped as f64, kept as f64, added as f64];
        self.reported = true;
        for (name, value) in REPORT.iter().zip(values) {
            push_report(&mut batch, name, target, at, value);
        }
        Round {
            batch,
            metadata,
            error: read.err(),
        }
    }

    /// The batch that was made last is not stored: what has ended in it is to end with the next one.
    pub fn not_stored(&mut self) {
        for key in self.ended.drain(..) {
            self.seen.insert(key, self.round);
        }
        self.reported |= std::mem::take(&mut self.report_ended);
    }

    /// The target is no more: all its series end.
    pub fn end(&mut self, at: Timestamp, target: &Labels) -> Batch {
        let mut batch = Batch {
            exact: true,
            ..Batch::default()
        };
        self.ended = std::mem::take(&mut self.seen).into_keys().collect();
        for key in &self.ended {
            batch.push(key, at, f64::from_bits(STALE_BITS));
        }
        self.report_ended = std::mem::take(&mut self.reported);
        if self.report_ended {
            for name in REPORT {
                push_report(&mut batch, name, target, at, f64::from_bits(STALE_BITS));
            }
        }
        batch
    }

    /// Ends the series that are gone; how many are new.
    fn compare(&mut self, at: Timestamp, samples: &mut Samples) -> usize {
        self.round += 1;
        let mut added = 0;
        for (item, timed) in samples.batch.items.iter().zip(&samples.timed) {
            let Whose::Key(key) = &item.whose else {
                continue;
            };
            let key = samples.batch.keys.get(key.start as usize..key.end as usize);
            let (Some(key), false) = (key, *timed) else {
                continue;
            };
            match self.seen.get_mut(key) {
                Some(round) => *round = self.round,
                None => {
                    self.seen.insert(key.into(), self.round);
                    added += 1;
                }
            }
        }
        let round = self.round;
        let ended = self.seen.extract_if(.., |_, last| *last != round);
        self.ended = ended.map(|(key, _)| key).collect();
        for key in &self.ended {
            samples.batch.push(key, at, f64::from_bits(STALE_BITS));
        }
        added
    }
}

impl Samples {
    fn read(
        &mut self,
        at: Timestamp,
        answer: Answer<'_>,
        target: &Labels,
        terms: &SampleTerms,
    ) -> Result<(), String> {
        let mut reader = Reader::new(answer.body, answer.format).map_err(|e| e.to_string())?;
        while let Some(entry) = reader.read().map_err(|e| e.to_string())? {
            let sample = match entry {
                Entry::Sample(sample) => sample,
                described => {
                    note(&mut self.metadata, described);
                    continue;
                }
            };
            self.scraped += 1;
            if self.scraped > SAMPLES_COUNT_MAX {
                return Err(format!("more than {SAMPLES_COUNT_MAX} samples"));
            }
            let keys = &mut self.batch.keys;
            let start = keys.len();
            let named = |why| format!("sample {} of {}: {why}", self.scraped, sample.name);
            if !labels::put(&sample.name, reader.labels(), target, terms, keys).map_err(named)? {
                continue;
            }
            self.kept += 1;
            let own = sample.ts.filter(|_| terms.honor_timestamps);
            self.timed.push(own.is_some());
            self.batch.items.push(Item {
                index: offset(self.batch.items.len()),
                whose: Whose::Key(offset(start)..offset(keys.len())),
                ts: Some(own.unwrap_or(at)),
                value: sample.value,
                id: None,
            });
        }
        match terms.limits.samples {
            Some(limit) if self.kept > limit => Err(format!(
                "{} samples; the limit (`sample_limit`) is {limit}",
                self.kept
            )),
            Some(_) | None => Ok(()),
        }
    }
}

fn push_report(batch: &mut Batch, name: &str, target: &Labels, at: Timestamp, value: f64) {
    let mut labels: Vec<(&str, &str)> = target.iter().collect();
    let mut key = Vec::new();
    // A target whose labels make no key has been refused before it was asked.
    if put_key(name.as_bytes(), &mut labels, &mut key).is_ok() {
        batch.push(&key, at, value);
    }
}

#[cfg(test)]
mod tests;
