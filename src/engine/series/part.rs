//! A copy of some series for a query. It is a [`SeriesSet`] of its own, so it answers as the engine's does; the engine
//! goes on filing samples beside it. Chunks are shared, plain samples copied.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::engine::promql::source::Source;
use crate::engine::series::native::Native;
use crate::engine::series::{Series, SeriesSet};
use crate::model::labels::Matcher;

/// Series that were copied, in any order, with what they cost.
#[derive(Debug, Default)]
pub struct Copied {
    series: BTreeMap<u32, Series>,
    settled_ms: Option<i64>,
    /// Bytes of the copies; packed samples are shared and do not count.
    pub bytes: usize,
}

/// What one series costs to look at, as part of the weight of a copy.
const LOOK: usize = 4;

impl Copied {
    /// How many series there are.
    pub fn len(&self) -> usize {
        self.series.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }
    fn add(&mut self, number: u32, series: Series) {
        // Two selectors may pick the same series; the copies reach back equally far.
        if let Entry::Vacant(place) = self.series.entry(number) {
            self.bytes += size_of::<Series>()
                + 16 * series.times.len()
                + 8 * series.closed.len()
                + size_of::<Native>() * series.natives_len();
            place.insert(series);
        }
    }
    /// Adds what another ask has copied, back to the same time.
    pub fn append(&mut self, other: Copied) {
        for (number, series) in other.series {
            self.add(number, series);
        }
        // What was settled when the first part was copied is settled in every part.
        self.settled_ms = self.settled_ms.or(other.settled_ms);
    }
    /// The set, with the series in the order that the engine has them in.
    pub fn into_set(self) -> SeriesSet {
        let mut set = SeriesSet {
            settled_ms: self.settled_ms.unwrap_or(i64::MIN),
            ..SeriesSet::default()
        };
        for series in self.series.into_values() {
            set.add(series);
        }
        set
    }
}

impl SeriesSet {
    /// The series that can match, judged by their metrics only: quick however many there are. In any order.
    pub fn candidates(&self, matchers: &[Matcher]) -> Vec<u32> {
        let (names, _): (Vec<Matcher>, Vec<Matcher>) =
            matchers.iter().cloned().partition(|m| m.name == "__name__");
        if names.is_empty() {
            return (0..u32::try_from(self.len()).unwrap_or(u32::MAX)).collect();
        }
        self.select(&names)
    }

    /// The metrics with the most series, those first, at most `most` of them, and how many each has.
    pub fn largest(&self, most: usize) -> Vec<(String, usize)> {
        let mut all: Vec<(&str, usize)> = self.names.metrics().map(|(m, n)| (m, n.len())).collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        all.truncate(most);
        all.into_iter().map(|(m, n)| (m.to_owned(), n)).collect()
    }

    /// Copies those of some series that match, as they are after a time in milliseconds: as many of `numbers` as
    /// `weight` allows ([`Series::weight`]), at least one; how many that were.
    pub fn copy_part(
        &self,
        numbers: &[u32],
        matchers: &[Matcher],
        after: i64,
        weight: usize,
    ) -> (Copied, usize) {
        let mut copied = Copied {
            settled_ms: Some(self.settled_ms),
            ..Copied::default()
        };
        let (mut looked, mut spent) = (0, 0);
        for number in numbers {
            if spent >= weight {
                break;
            }
            looked += 1;
            spent += LOOK;
            let found = self.get(*number).filter(|s| s.key().matches(matchers));
            let Some(part) = found.map(|s| s.part(after)).filter(|p| !p.is_empty()) else {
                continue;
            };
            spent += part.weight();
            copied.add(*number, part);
        }
        (copied, looked)
    }
}

impl Series {
    /// Whether it may have a sample in (after, upto], both in milliseconds: exact for plain samples and histograms, by chunks for others.
    pub fn touches(&self, after: i64, upto: i64) -> bool {
        let plain = self.times.get(self.start()..).unwrap_or(&[]);
        let from = plain.partition_point(|t| *t <= after);
        let packed = self.closed.partition_point(|c| c.last_ms <= after);
        plain.get(from).is_some_and(|t| *t <= upto)
            || self.closed.get(packed).is_some_and(|c| c.first_ms <= upto)
            || self.has_native(after, upto)
    }

    /// The series as it is after a time.
    fn part(&self, after: i64) -> Series {
        let first = self.closed.partition_point(|c| c.last_ms <= after);
        let closed = self.closed.get(first..).unwrap_or(&[]).to_vec();
        let from = self
            .times
            .partition_point(|t| *t <= after)
            .max(self.start())
            .min(self.times.len());
        Series {
            key: self.key.clone(),
            closed_count: closed.iter().map(|c| c.count).sum(),
            closed,
            times: self.times.get(from..).unwrap_or(&[]).to_vec(),
            values: self.values.get(from..).unwrap_or(&[]).to_vec(),
            start: 0,
            native: self.natives_after(after),
            horizon: self.horizon,
            drop_ms: self.drop_ms,
            stale_ms: self.stale_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::engine::promql::settings::Settings;
    use crate::engine::promql::source::STALE_BITS;
    use crate::engine::promql::{Dialect, Query, parse};
    use crate::model::labels::{Labels, SeriesKey};
    use crate::model::time::Timestamp;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]
        #[test]
        fn a_copy_answers_as_the_engine_does(
            steps in prop::collection::vec((0_i64..3_000, 0_usize..6, -5_i32..50), 1..1_500),
            which in 0_usize..6,
            back in 0_i64..900_000,
        ) {
            let mut set = SeriesSet::keep_all();
            let mut now = 1_000_000_i64;
            for (step, series, value) in steps {
                now += step;
                let labels = Labels::new().with("n", &(series % 3).to_string());
                let (number, _) = set.number(&SeriesKey::new(if series < 3 { "a" } else { "b" }, &labels));
                let value = if value == -5 { f64::from_bits(STALE_BITS) } else { f64::from(value) };
                let late = if value == 7.0 { 200_000 } else { 0 };
                set.file_one(number, Timestamp::from_ms(now), Timestamp::from_ms(now - late), value);
            }
            set.settle(Timestamp::from_ms(now + 300_000));
            let text = ["a", "sum by (n) (rate(b[5m]))", "a - on (n) b", "{n=\"1\"}", "max_over_time(a[3m:20s])", "b{n!=\"2\"} > 20"][which];
            let expr = Arc::new(parse(text, Dialect::PLAIN).unwrap());
            let settings = Settings::default();
            let start = now - back;
            let mut copied = Copied::default();
            let reads = crate::engine::promql::reads::reads(&expr, &settings);
            let back = reads.iter().map(|r| r.back.ms() as i64).max().unwrap_or(0);
            let after = start - back - 1;
            for read in reads {
                let numbers = set.candidates(&read.matchers);
                let mut rest = numbers.as_slice();
                while !rest.is_empty() {
                    let (more, looked) = set.copy_part(rest, &read.matchers, after, 100);
                    copied.append(more);
                    rest = rest.split_at(looked).1;
                }
            }
            let query = Query::new(expr, settings);
            let copy = copied.into_set();
            let show = |o: Result<crate::engine::promql::answer::Outcome, _>| format!("{o:?}");
            prop_assert_eq!(show(query.range(&copy, start, now, 15_000)), show(query.range(&set, start, now, 15_000)));
            prop_assert_eq!(show(query.instant(&copy, now)), show(query.instant(&set, now)));
        }
    }
}
