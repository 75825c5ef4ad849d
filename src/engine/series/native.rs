//! The native histograms of a series, in order of time. A series of numbers has none and pays one empty pointer.
//!
//! One that equals the one before it is shared: a histogram in which nothing was observed costs a time and a pointer.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::VecDeque;
use std::sync::Arc;

use crate::engine::limits::{
    HISTOGRAM_BYTES_MAX, HISTOGRAM_WINDOW, HISTORY_SAMPLES_MAX, SERIES_BYTES_MAX,
    SERIES_SAMPLES_MAX,
};
use crate::engine::promql::source::{Point, Samples, Scratch, Value};
use crate::engine::series::history::History;
use crate::engine::series::{Series, SeriesSet};
use crate::model::histogram::Histogram;
use crate::model::time::Timestamp;

/// A histogram at a time, in milliseconds since the epoch.
pub type Native = (i64, Arc<Histogram>);

/// One histogram of the series with that number.
#[derive(Clone, Debug, PartialEq)]
pub struct NativeSample {
    /// The series' number.
    pub series: u32,
    /// When it was measured.
    pub ts: Timestamp,
    /// The histogram; a staleness marker if its sum is one.
    pub histogram: Arc<Histogram>,
}

/// Histograms in order of time, those of equal time in order of arrival.
#[derive(Clone, Debug, Default)]
pub(super) struct Natives {
    samples: VecDeque<Native>,
    bytes: usize,
}

/// Bytes of a histogram behind another one.
fn cost(before: Option<&Native>, one: &Native) -> usize {
    let shared = before.is_some_and(|b| Arc::ptr_eq(&b.1, &one.1));
    size_of::<Native>() + if shared { 0 } else { one.1.bytes() }
}

impl Natives {
    /// Of histograms that ascend in time.
    pub fn new(samples: Vec<Native>) -> Option<Box<Self>> {
        let mut all = Self::default();
        samples.into_iter().for_each(|(ts, h)| all.push(ts, h));
        (!all.samples.is_empty()).then(|| Box::new(all))
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.samples.len()
    }
    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
    /// The newest one.
    pub fn last(&self) -> Option<&Native> {
        self.samples.back()
    }
    /// All of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Native> {
        self.samples.iter()
    }
    /// Those in (after, upto].
    pub fn range(&self, after: i64, upto: i64) -> impl DoubleEndedIterator<Item = &Native> {
        let a = self.samples.partition_point(|n| n.0 <= after);
        let b = self.samples.partition_point(|n| n.0 <= upto).max(a);
        self.samples.range(a..b)
    }

    /// Files one at its place in time.
    fn push(&mut self, ts: i64, histogram: Arc<Histogram>) {
        let at = match self.samples.back() {
            Some(last) if last.0 > ts => self.samples.partition_point(|n| n.0 <= ts),
            Some(_) | None => self.samples.len(),
        };
        let before = at.checked_sub(1).and_then(|i| self.samples.get(i));
        let same = before.filter(|b| {
            Arc::ptr_eq(&b.1, &histogram) || *b.1 == *histogram && b.1.hint() == histogram.hint()
        });
        let one = (ts, same.map_or(histogram, |b| b.1.clone()));
        if at == self.samples.len() {
            self.bytes += cost(before, &one);
            self.samples.push_back(one);
            return;
        }
        self.samples.insert(at, one);
        let mut before = None;
        self.bytes = 0;
        for one in &self.samples {
            self.bytes += cost(before, one);
            before = Some(one);
        }
    }

    /// Gives up the oldest one.
    fn pop(&mut self) {
        if let Some(gone) = self.samples.pop_front() {
            // The next one now counts in full, if they were the same.
            let next = self.samples.front();
            let shared = next.is_some_and(|n| Arc::ptr_eq(&n.1, &gone.1));
            let kept = if shared { gone.1.bytes() } else { 0 };
            self.bytes = (self.bytes + kept).saturating_sub(cost(None, &gone));
        }
    }
}

impl Series {
    /// How many histograms it holds.
    pub fn natives_len(&self) -> usize {
        self.native.as_ref().map_or(0, |n| n.len())
    }
    /// Bytes of its histograms.
    pub fn natives_bytes(&self) -> usize {
        self.native.as_ref().map_or(0, |n| n.bytes())
    }
    /// Its histograms.
    pub(super) fn natives(&self) -> Vec<Native> {
        let natives = self.native.iter();
        natives.flat_map(|n| n.iter().cloned()).collect()
    }
    /// Its histograms after a time, in milliseconds.
    pub(super) fn natives_after(&self, after: i64) -> Option<Box<Natives>> {
        let natives = self.native.as_ref()?.range(after, i64::MAX);
        Natives::new(natives.cloned().collect())
    }

    /// Puts histograms, which ascend in time, in place of those that it holds.
    pub(super) fn set_natives(&mut self, natives: Vec<Native>, history: &mut History) {
        let before = self.natives_bytes();
        self.native = Natives::new(natives);
        history.histograms(before, self.natives_bytes());
    }

    /// Files a histogram; how many of the oldest had to be shed for it.
    fn push_native(&mut self, ts: i64, histogram: Arc<Histogram>, history: &mut History) -> usize {
        let floats = self.bytes() - self.natives_bytes();
        let natives = self.native.get_or_insert_default();
        let (before, mut shed) = (natives.bytes(), 0);
        natives.push(ts, histogram);
        loop {
            let here =
                natives.bytes() + floats > SERIES_BYTES_MAX || natives.len() > SERIES_SAMPLES_MAX;
            // Two, so that what is too much becomes less with each new one.
            let in_all = shed < 2
                && history.histogram_bytes + natives.bytes() > HISTOGRAM_BYTES_MAX + before;
            if natives.len() < 2 || !(here || in_all) {
                break;
            }
            natives.pop();
            shed += 1;
        }
        history.histograms(before, natives.bytes());
        shed
    }

    /// Drops the histograms that nobody asks for any more, seen from a time.
    pub(super) fn expire_natives(&mut self, newest_ms: i64, history: &mut History) {
        let Some(natives) = &mut self.native else {
            return;
        };
        let newest = Timestamp::from_ms(newest_ms);
        let (need, past) = (
            (newest - self.horizon.max(HISTOGRAM_WINDOW)).ms(),
            (newest - history.reach()).ms(),
        );
        let before = natives.bytes();
        while let Some((ts, _)) = natives.samples.front() {
            if *ts > need || (*ts > past && natives.len() <= HISTORY_SAMPLES_MAX) {
                break;
            }
            natives.pop();
        }
        history.histograms(before, natives.bytes());
        if natives.len() == 0 {
            self.native = None;
        }
    }

    /// Drops all histograms but the newest, and that one too where a number is newer.
    pub(super) fn release_natives(&mut self, history: &mut History) {
        let number = self.last().map(|(ts, _)| ts.ms());
        let newest = self.native.as_ref().and_then(|n| n.last());
        let newest = newest.filter(|n| number.is_none_or(|ts| ts < n.0)).cloned();
        self.set_natives(newest.into_iter().collect(), history);
    }

    /// The time of its newest sample of any kind.
    pub fn newest_time(&self) -> Option<Timestamp> {
        let native = self.native.as_ref().and_then(|n| n.last());
        let native = native.map(|n| Timestamp::from_ms(n.0));
        self.last().map(|(ts, _)| ts).max(native)
    }

    /// The newest sample of either kind in (after, upto], both in milliseconds.
    pub(super) fn newest_point(&self, after: i64, upto: i64) -> Option<Point> {
        let float = self.newest(after, upto);
        let natives = self.native.as_ref();
        let native = natives.and_then(|n| n.range(after, upto).next_back());
        let (ts, value) = match (float, native) {
            (Some((ts, value)), other) if other.is_none_or(|n| n.0 < ts) => {
                (ts, Value::Float(value))
            }
            (_, Some((ts, histogram))) => (*ts, Value::Histogram(histogram.clone())),
            (_, None) => return None,
        };
        Some(Point {
            ts,
            start_ts: None,
            value,
        })
    }

    /// Whether there is a histogram in (after, upto].
    pub(super) fn has_native(&self, after: i64, upto: i64) -> bool {
        let natives = self.native.as_ref();
        natives.is_some_and(|n| n.range(after, upto).next().is_some())
    }

    /// The samples in (after, upto]: both kinds by time, a number only where there is no histogram of its time.
    pub(super) fn mixed<'a>(&self, after: i64, upto: i64, scratch: &'a mut Scratch) -> Samples<'a> {
        let natives = self.native.iter();
        let mut natives = natives.flat_map(|n| n.range(after, upto)).peekable();
        let points = &mut scratch.points;
        points.clear();
        let point = |ts, value| Point {
            ts,
            start_ts: None,
            value,
        };
        let native = |n: &Native| point(n.0, Value::Histogram(n.1.clone()));
        let window = self.window(Timestamp::from_ms(after), Timestamp::from_ms(upto));
        window.each(|ts, value| {
            while let Some(earlier) = natives.next_if(|n| n.0 < ts) {
                points.push(native(earlier));
            }
            if natives.peek().is_none_or(|n| n.0 != ts) {
                points.push(point(ts, Value::Float(value)));
            }
        });
        points.extend(natives.map(native));
        Samples::Mixed(points)
    }
}

impl SeriesSet {
    /// Files a histogram that came at `at`.
    pub fn file_native(
        &mut self,
        number: u32,
        at: Timestamp,
        ts: Timestamp,
        histogram: Arc<Histogram>,
    ) {
        self.look_for_late(at, ts);
        if let Some(series) = self.all.get_mut(number as usize) {
            self.shed_total += series.push_native(ts.ms(), histogram, &mut self.history) as u64;
            if !self.keep_all {
                series.expire_natives(ts.min(at).ms(), &mut self.history);
            }
        }
        self.changed(number);
    }

    /// Bytes of native histograms.
    pub fn histogram_bytes(&self) -> usize {
        self.history.histogram_bytes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::engine::promql::settings::{Limits, Settings};
    use crate::engine::promql::source::{Glance, STALE_BITS, Source, Steps};
    use crate::engine::promql::{Dialect, Query, parse};
    use crate::engine::series::part::Copied;
    use crate::model::histogram::Parts;
    use crate::model::labels::{Labels, SeriesKey};
    use crate::model::time::Duration;

    fn of(count: u32) -> Arc<Histogram> {
        let parts = Parts {
            count: f64::from(count),
            positive: (0..8).map(|i| (i, f64::from(count))).collect(),
            ..Parts::default()
        };
        Arc::new(Histogram::new(parts).unwrap())
    }

    fn set() -> SeriesSet {
        let mut set = SeriesSet::default();
        set.number(&SeriesKey::new("m", &Labels::new()));
        set
    }

    fn file(set: &mut SeriesSet, second: i64, count: u32) {
        let at = Timestamp::from_ms(second * 1_000);
        set.file_native(0, at, at, of(count));
    }

    /// Bytes of all histograms, counted anew.
    fn counted(set: &SeriesSet) -> usize {
        let natives = set.get(0).unwrap().natives();
        let before = std::iter::once(None).chain(natives.iter().map(Some));
        before.zip(&natives).map(|(b, n)| cost(b, n)).sum()
    }

    #[test]
    fn a_series_of_numbers_is_no_larger_for_them() {
        assert_eq!(size_of::<Series>(), 128);
    }

    #[test]
    fn what_was_not_observed_anew_is_shared() {
        let mut set = set();
        (0..100).for_each(|second| file(&mut set, second, 5));
        assert_eq!(
            set.histogram_bytes(),
            of(5).bytes() + 100 * size_of::<Native>()
        );
        assert_eq!(set.histogram_bytes(), counted(&set));
        file(&mut set, 50, 6);
        assert_eq!(set.histogram_bytes(), counted(&set));
    }

    #[test]
    fn histograms_stay_as_long_as_rules_and_history_ask_for_them() {
        let mut set = set();
        let len = |set: &SeriesSet| set.get(0).unwrap().natives_len();
        (0..3_600).for_each(|second| file(&mut set, second, second as u32));
        assert_eq!(len(&set), 600, "what a query of the present looks at");
        set.need(0, Duration::from_mins(30));
        (3_600..7_200).for_each(|second| file(&mut set, second, second as u32));
        assert_eq!(len(&set), 1_800, "what a rule looks back at");
        set.history.keep(Duration::from_hours(1));
        (7_200..14_400).for_each(|second| file(&mut set, second, second as u32));
        assert_eq!(len(&set), 3_600, "what is kept for queries");
        assert_eq!(set.histogram_bytes(), counted(&set));
        // It sends numbers now: the sweep drops what is past.
        let late = Timestamp::from_ms(17_000_000);
        set.file_one(0, late, late, 1.0);
        set.sweep(late);
        assert_eq!(len(&set), 999);
        // And then nothing for a day.
        let later = late + Duration::from_hours(24);
        (0..2).for_each(|_| set.sweep(later));
        assert_eq!((len(&set), set.histogram_bytes(), set.ended()), (0, 0, 1));
        assert_eq!(set.get(0).and_then(Series::last), Some((late, 1.0)));
    }

    #[test]
    fn a_series_takes_no_more_than_its_share_and_no_more_than_all_may_have() {
        let mut set = set();
        set.need(0, Duration::from_hours(24));
        (0..60_000).for_each(|second| file(&mut set, second, second as u32));
        let one = of(1).bytes() + size_of::<Native>();
        let kept = SERIES_BYTES_MAX / one;
        assert_eq!(set.get(0).unwrap().natives_len(), kept);
        assert_eq!(set.shed_total, 60_000 - kept as u64);
        set.history.histogram_bytes += HISTOGRAM_BYTES_MAX;
        (60_000..60_010).for_each(|second| file(&mut set, second, second as u32));
        assert_eq!(set.get(0).unwrap().natives_len(), kept - 10);
    }

    #[test]
    fn in_a_query_they_count_as_much_as_they_take() {
        let mut set = set();
        set.need(0, Duration::from_hours(1));
        (0..100).for_each(|n| file(&mut set, 15 * n, 9));
        let told = |samples, points, start, text: &str| {
            let settings = Settings {
                limits: Limits {
                    samples,
                    points,
                    ..Limits::default()
                },
                ..Settings::default()
            };
            let expr = Arc::new(parse(text, Dialect::PLAIN).unwrap());
            let outcome = Query::new(expr, settings).range(&set, start, 1_485_000, 15_000);
            outcome.map_or_else(|e| e.text, |_| "fine".to_owned())
        };
        let all = [
            told(100_000, 500, 0, "histogram_count(m)"),
            told(100_000, 500, 0, "m"),
            told(100_000, 5_000, 0, "m"),
            told(300, 500, 1_485_000, "histogram_count(sum_over_time(m[5m]))"),
            told(
                300,
                500,
                1_485_000,
                "histogram_count(sum_over_time(m[5m:15s]))",
            ),
        ];
        expect_test::expect![[r#"
            fine
            the result has more than 500 points: ask for fewer series or a longer step
            fine
            fine
            query processing would load too many samples into memory in query execution"#]]
        .assert_eq(&all.join("\n"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

        /// Whatever comes when, of whichever kind: the series is the list of its samples by time, and so are a copy of a
        /// part of it and what an image puts back.
        #[test]
        fn a_mixed_series_is_the_sorted_list_of_its_samples(
            steps in prop::collection::vec((1_i64..3_000, 0_u8..10, 0_u32..4, any::<bool>()), 1..600),
            windows in prop::collection::vec((0_i64..900_000, 0_i64..900_000), 6),
        ) {
            let mut set = set();
            set.need(0, Duration::from_hours(24));
            let (mut all, mut now) = (BTreeMap::new(), 0_i64);
            for (step, late, value, native) in steps {
                now += step;
                let ts = if late == 0 { (now - 100_000).max(0) } else { now };
                // One sample for each time, as the door lets them in.
                if all.contains_key(&ts) {
                    continue;
                }
                let (at, time) = (Timestamp::from_ms(now), Timestamp::from_ms(ts));
                if native {
                    set.file_native(0, at, time, of(value));
                    all.insert(ts, format!("{:?}", Value::Histogram(of(value))));
                } else {
                    let value = if value == 3 { f64::from_bits(STALE_BITS) } else { f64::from(value) };
                    set.file_one(0, at, time, value);
                    all.insert(ts, format!("{:?}", Value::Float(value)));
                }
            }
            prop_assert_eq!(set.get(0).unwrap().len(), all.len());
            prop_assert_eq!(set.histogram_bytes(), counted(&set));
            let newest = set.get(0).unwrap().newest_time();
            prop_assert_eq!(newest.map(|t| t.ms()), all.keys().next_back().copied());
            let mut again = super::tests::set();
            again.put_back(0, set.get(0).unwrap().copy());
            // What came late may be shared only now.
            prop_assert_eq!(again.histogram_bytes(), counted(&again));
            prop_assert!(again.histogram_bytes() <= set.histogram_bytes());
            for (a, b) in windows {
                let (after, upto) = (a.min(b), a.max(b));
                let mut copied = Copied::default();
                copied.append(set.copy_part(&[0], &[], after, 1).0);
                let part = copied.into_set();
                let inside: Vec<(i64, String)> =
                    all.range(after + 1..upto + 1).map(|(t, v)| (*t, v.clone())).collect();
                let live = |v: &String| !v.contains("NaN");
                for set in [&set, &again, &part] {
                    let newest = set.newest(0, after, upto).map(|p| (p.ts, format!("{:?}", p.value)));
                    prop_assert_eq!(newest.as_ref(), inside.last());
                    let seen = set.newest(0, after, upto);
                    prop_assert_eq!(set.glance(0, after, upto), Glance::of(seen));
                    let mut scratch = Scratch::default();
                    let steps = Steps { first: after, step: 7_000, count: 50 };
                    let mut glances = vec![Glance::Nothing; 50];
                    set.glances(0, steps, 60_000, &mut scratch, |place, seen| glances[place] = seen);
                    let each = steps.times().map(|at| set.glance(0, at - 60_000, at));
                    prop_assert_eq!(glances, each.collect::<Vec<_>>());
                    let seen: Vec<(i64, String)> = match set.samples(0, after, upto, &mut scratch) {
                        Samples::Floats { times, values } => times
                            .iter()
                            .zip(values)
                            .map(|(t, v)| (*t, format!("{:?}", Value::Float(*v))))
                            .collect(),
                        Samples::Mixed(points) => points
                            .iter()
                            .map(|p| (p.ts, format!("{:?}", p.value)))
                            .collect(),
                    };
                    let wanted: Vec<(i64, String)> =
                        inside.iter().filter(|(_, v)| live(v)).cloned().collect();
                    prop_assert_eq!(seen, wanted);
                }
                let touches = set.get(0).unwrap().touches(after, upto);
                prop_assert!(touches || inside.is_empty());
            }
        }
    }
}
