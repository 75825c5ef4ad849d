//! Series of our own: what recording rules write, filed at once and in the sample log for a restart, and how such a series
//! ends.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::engine::Engine;
use crate::engine::group::found::Recorded;
use crate::engine::group::{Found, RuleRun};
use crate::engine::policy::{Group, Recording};
use crate::engine::promql::ValueRef;
use crate::engine::promql::source::{STALE_BITS, Value};
use crate::engine::rule::Book;
use crate::model::histogram::Histogram;
use crate::model::labels::SeriesKey;
use crate::model::time::Timestamp;

impl Engine {
    /// Evaluates a recording rule and writes what it finds.
    pub(super) fn record(
        &mut self,
        book: &mut Book,
        rule: &Recording,
        run: &mut RuleRun,
        group: &Group,
        slot: Timestamp,
    ) -> Result<Found, String> {
        let at = slot - group.query_offset;
        let RuleRun { main, recorded, .. } = run;
        // As long as the same elements come, their series are known, and no name is looked at.
        let (mut values, mut same) = (Vec::with_capacity(recorded.len()), true);
        let mut natives: Vec<(usize, Arc<Histogram>)> = Vec::new();
        self.evaluate(main, &rule.expr.expr, at, |labels, value| {
            match recorded.get(values.len()) {
                Some((known, _)) if same => {
                    same = Arc::ptr_eq(known, labels);
                    values.push(match value {
                        ValueRef::Float(value) => value,
                        ValueRef::Histogram(histogram) => {
                            natives.push((values.len(), histogram.clone()));
                            0.0
                        }
                    });
                }
                _ => same = false,
            }
        })?;
        let within = group.limit == 0 || values.len() <= group.limit;
        if same && values.is_empty() && recorded.is_empty() {
            return Ok(Found::Nothing);
        }
        if same && values.len() == recorded.len() && within {
            let mut natives = natives.into_iter().peekable();
            for (place, ((_, number), value)) in recorded.iter().zip(values).enumerate() {
                let native = natives.next_if(|(of, _)| *of == place);
                let value = native.map_or(Value::Float(value), |(_, h)| Value::Histogram(h));
                if let Some(key) = self.series.get(*number).map(|s| s.key().clone()) {
                    self.file_own(*number, &key, at, value);
                }
            }
            return Ok(Found::Something);
        }
        let (mut results, mut place) = (Recorded::default(), 0);
        if let Some(main) = main {
            main.each(&self.room, |labels, value| {
                place += 1;
                let value = match value {
                    ValueRef::Float(value) => Value::Float(value),
                    ValueRef::Histogram(histogram) => Value::Histogram(histogram.clone()),
                };
                results.add(rule, labels, (place, labels.clone(), value));
            });
        }
        let results = results.finish(group.limit)?;
        let mut gone: BTreeSet<u32> = recorded.drain(..).map(|(_, number)| number).collect();
        let mut elements = Vec::with_capacity(results.len());
        for (key, (place, labels, value)) in results {
            let number = self.keep(book, &key, at, value);
            gone.remove(&number);
            elements.push((place, labels, number));
        }
        for number in gone {
            if let Some(key) = self.series.get(number).map(|s| s.key().clone()) {
                self.end(book, &key, at);
            }
        }
        elements.sort_unstable_by_key(|(place, ..)| *place);
        run.recorded = elements.into_iter().map(|(_, l, n)| (l, n)).collect();
        Ok(Found::Something)
    }

    /// Files a sample of our own: at once, and in the sample log for a restart.
    pub(in crate::engine) fn keep(
        &mut self,
        book: &mut Book,
        key: &SeriesKey,
        at: Timestamp,
        value: Value,
    ) -> u32 {
        let number = self.own_number(book, key);
        self.file_own(number, key, at, value);
        number
    }

    /// Ends a series of our own at a time, or at its newest sample if that is later: an edit may have moved the times of
    /// its rule.
    pub(in crate::engine) fn end(&mut self, book: &mut Book, key: &SeriesKey, at: Timestamp) {
        let number = self.own_number(book, key);
        let newest = self.series.get(number).and_then(|s| s.newest_time());
        let at = newest.map_or(at, |newest| newest.max(at));
        self.file_own(number, key, at, Value::Float(f64::from_bits(STALE_BITS)));
    }

    fn own_number(&mut self, book: &mut Book, key: &SeriesKey) -> u32 {
        let (number, new) = self.series.number(key);
        if new {
            self.meet(book, number);
        }
        number
    }

    fn file_own(&mut self, number: u32, key: &SeriesKey, at: Timestamp, value: Value) {
        self.asked.get_mut().forget_answers();
        match value {
            Value::Float(value) => {
                self.series.file_one(number, self.now, at, value);
                self.own.push(key.bytes(), at, value);
            }
            Value::Histogram(histogram) => {
                self.series
                    .file_native(number, self.now, at, histogram.clone());
                self.own.push_native(key.bytes(), at, histogram);
            }
        }
    }
}
