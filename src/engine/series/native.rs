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
        let same = before.filter(|b| *b.1 == *histogram && b.1.hint() == histogram.hint());
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
        let newest = Timestamp::from_ms(newest_ms);
        let (need, past) = (
            (newest - self.horizon.max(HISTOGRAM_WINDOW)).ms(),
            (newest - history.reach()).ms(),
        );
        let Some(natives) = &mut self.native else {
            return;
        };
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
        self.changed(number);
        if let Some(series) = self.all.get_mut(number as usize) {
            self.shed_total += series.push_native(ts.ms(), histogram, &mut self.history) as u64;
            if !self.keep_all {
                series.expire_natives(ts.min(at).ms(), &mut self.history);
            }
        }
    }

    /// Bytes of native histograms.
    pub fn histogram_bytes(&self) -> usize {
        self.history.histogram_bytes
    }
}
