//! Samples → windows. Series are numbered in order of first sight. The newest samples of a series lie in plain arrays,
//! which is all that a short window reads; older ones are packed into [`chunk`]s with a summary each, so that a long
//! window costs little memory and most of its aggregates ([`fold`]) little time.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

pub mod chunk;
pub mod fold;
mod history;
mod names;
pub mod native;
pub mod part;
mod source;

use std::sync::Arc;

use crate::engine::limits::{
    CHUNK_SAMPLES, LATE_MAX, PLAIN_SAMPLES_MAX, SERIES_SAMPLES_MAX, UNSETTLED,
};
use crate::engine::policy::Aggregate;
use crate::engine::promql::source::{Head, is_stale};
use crate::engine::series::chunk::Chunk;
use crate::engine::series::fold::Fold;
use crate::engine::series::history::{History, Round};
use crate::engine::series::names::Names;
use crate::engine::series::native::{Native, Natives};
use crate::model::labels::SeriesKey;
use crate::model::time::{Duration, Timestamp};

/// One measured value of the series with that number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The series' number.
    pub series: u32,
    /// When it was measured.
    pub ts: Timestamp,
    /// The value; also NaN, the staleness marker and the infinities.
    pub value: f64,
}

/// The samples of one series, in order of time, those of equal time in order of arrival: older ones packed in chunks,
/// the newest ones in plain arrays.
#[derive(Debug)]
pub struct Series {
    key: SeriesKey,
    /// Packed, ascending; every sample in them is at or before every plain one.
    closed: Vec<Arc<Chunk>>,
    /// Samples in `closed`.
    closed_count: u32,
    /// Plain samples before this index are out of every window; they are dropped in bulk.
    start: u32,
    times: Vec<i64>,
    values: Vec<f64>,
    /// Histograms, if there are any.
    native: Option<Box<Natives>>,
    /// What the rules that judge it look back.
    horizon: Duration,
    /// Time of the newest value that is smaller than the one before it, or a later time; ms since the epoch.
    drop_ms: i64,
    /// Time of the newest staleness marker, or a later time; ms since the epoch.
    stale_ms: i64,
}

/// What a series holds, apart from the series: for an image on disk, or for a reader that must not hold up a tick.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesCopy {
    /// Who it is.
    pub key: SeriesKey,
    /// The packed part, shared.
    pub closed: Vec<Arc<Chunk>>,
    /// Times of the plain part, ms since the epoch.
    pub times: Vec<i64>,
    /// Values at these times.
    pub values: Vec<f64>,
    /// Histograms, shared.
    pub natives: Vec<Native>,
}

/// The part of a series that a rule looks at: samples in (after, upto].
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    after_ms: i64,
    upto_ms: i64,
    /// Whether staleness markers may be in it: they are no samples.
    stale: bool,
    /// Chunks that reach into it.
    closed: &'a [Arc<Chunk>],
    /// Plain samples in it, all later than those of the chunks.
    times: &'a [i64],
    values: &'a [f64],
}

impl Series {
    fn new(key: SeriesKey) -> Self {
        Self {
            key,
            closed: Vec::new(),
            closed_count: 0,
            times: Vec::new(),
            values: Vec::new(),
            start: 0,
            native: None,
            horizon: Duration::ZERO,
            drop_ms: i64::MIN,
            stale_ms: i64::MIN,
        }
    }
    /// Who it is.
    pub fn key(&self) -> &SeriesKey {
        &self.key
    }
    /// The newest number.
    pub fn last(&self) -> Option<(Timestamp, f64)> {
        let t = self.times.get(self.start()..)?.last()?;
        Some((Timestamp::from_ms(*t), *self.values.last()?))
    }
    /// What is known of it without a look at its samples.
    fn head(&self, changes: u32) -> Head {
        let last = self.last().map(|(ts, value)| (ts.ms(), value));
        let (ms, value) = match self.native {
            Some(_) => (i64::MAX, f64::NAN),
            None => last.unwrap_or((i64::MIN, f64::NAN)),
        };
        Head {
            ms,
            value,
            last_drop: self.drop_ms,
            changes,
        }
    }
    fn start(&self) -> usize {
        self.start as usize
    }
    /// Whether its newest sample is a marker: it has ended.
    pub fn has_ended(&self) -> bool {
        let newest = self.newest_point(i64::MIN, i64::MAX);
        newest.is_some_and(|point| !point.is_live())
    }
    /// How many samples it holds.
    pub fn len(&self) -> usize {
        self.floats_len() + self.natives_len()
    }
    /// How many of them are numbers.
    fn floats_len(&self) -> usize {
        self.closed_count as usize + self.plain_len()
    }
    /// How many of them lie in plain arrays.
    pub fn plain_len(&self) -> usize {
        self.times.len() - self.start()
    }
    /// What a copy of it costs, in values that are moved: plain samples, chunks, histograms, and itself.
    pub fn weight(&self) -> usize {
        16 + self.plain_len() + self.closed.len() + self.natives_len()
    }
    /// Bytes of its samples, packed, plain and histograms.
    pub fn bytes(&self) -> usize {
        16 * self.plain_len()
            + self.closed.iter().map(|c| c.bytes()).sum::<usize>()
            + self.natives_bytes()
    }
    /// How far back the rules that judge it look.
    pub fn horizon(&self) -> Duration {
        self.horizon
    }
    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Samples in (from, to].
    pub fn window(&self, from: Timestamp, to: Timestamp) -> Window<'_> {
        let (after_ms, upto_ms) = (from.ms(), to.ms());
        let a = self
            .times
            .partition_point(|t| *t <= after_ms)
            .max(self.start());
        let b = match self.times.last() {
            Some(t) if *t <= upto_ms => self.times.len(),
            _ => self.times.partition_point(|t| *t <= upto_ms).max(a),
        };
        // Most windows begin after the last chunk.
        let closed = match self.closed.last() {
            Some(last) if last.last_ms > after_ms => {
                let a = self.closed.partition_point(|c| c.last_ms <= after_ms);
                let b = self.closed.partition_point(|c| c.first_ms <= upto_ms);
                self.closed.get(a..b).unwrap_or(&[])
            }
            Some(_) | None => &[],
        };
        Window {
            after_ms,
            upto_ms,
            stale: self.stale_ms > after_ms,
            closed,
            times: self.times.get(a..b).unwrap_or(&[]),
            values: self.values.get(a..b).unwrap_or(&[]),
        }
    }

    /// What it holds, chunks shared.
    pub fn copy(&self) -> SeriesCopy {
        let plain = |n: usize| self.start()..n;
        SeriesCopy {
            key: self.key.clone(),
            closed: self.closed.clone(),
            times: self
                .times
                .get(plain(self.times.len()))
                .unwrap_or(&[])
                .to_vec(),
            values: self
                .values
                .get(plain(self.values.len()))
                .unwrap_or(&[])
                .to_vec(),
            natives: self.natives(),
        }
    }

    /// Files a sample; how many of the oldest had to be shed for it.
    fn push(&mut self, ts: Timestamp, value: f64, history: &mut History) -> usize {
        let ts = ts.ms();
        if self.times.len() == self.times.capacity() {
            let more = (self.times.len() / 4).max(4);
            self.times.reserve_exact(more);
            self.values.reserve_exact(more);
        }
        match self.times.last() {
            Some(last) if *last > ts => {
                // Which of its neighbours is smaller now, nobody looks.
                self.drop_ms = self.drop_ms.max(*last);
                if is_stale(value) {
                    self.stale_ms = self.stale_ms.max(ts);
                }
                self.insert(ts, value, history);
            }
            Some(_) | None => {
                // Beside a NaN, a marker among them, nothing is known.
                let before = self.values.last();
                if value.is_nan() || before.is_some_and(|b| b.is_nan() || value < *b) {
                    self.drop_ms = ts;
                }
                if is_stale(value) {
                    self.stale_ms = ts;
                }
                self.times.push(ts);
                self.values.push(value);
            }
        }
        if self.plain_len() > PLAIN_SAMPLES_MAX {
            self.close(history);
        }
        if self.floats_len() > SERIES_SAMPLES_MAX {
            return self.shed(history);
        }
        0
    }

    /// A late sample takes its place in time.
    fn insert(&mut self, ts: i64, value: f64, history: &mut History) {
        if self.closed.last().is_some_and(|last| last.last_ms > ts) {
            let after = self.closed.partition_point(|c| c.first_ms <= ts);
            return self.insert_closed(after.saturating_sub(1), ts, value, history);
        }
        let at = self.times.partition_point(|t| *t <= ts).max(self.start());
        self.times.insert(at, ts);
        self.values.insert(at, value);
    }

    /// The chunk is packed anew; one that has grown to twice its size becomes two.
    fn insert_closed(&mut self, which: usize, ts: i64, value: f64, history: &mut History) {
        let Some(chunk) = self.closed.get(which) else {
            return;
        };
        let (mut times, mut values) = (Vec::new(), Vec::new());
        chunk.unpack(&mut times, &mut values);
        history.remove(chunk);
        let at = times.partition_point(|t| *t <= ts);
        times.insert(at, ts);
        values.insert(at, value);
        let half = if times.len() < 2 * CHUNK_SAMPLES {
            times.len()
        } else {
            CHUNK_SAMPLES
        };
        let (times, later_times) = times.split_at(half);
        let (values, later_values) = values.split_at(half);
        let packed = [
            Chunk::pack(times, values),
            Chunk::pack(later_times, later_values),
        ];
        let packed = packed.into_iter().flatten();
        self.closed.splice(
            which..=which,
            packed.map(|chunk| {
                history.add(&chunk);
                Arc::new(chunk)
            }),
        );
        self.closed_count += 1;
    }

    /// Packs the oldest plain samples.
    fn close(&mut self, history: &mut History) {
        let part = self.start()..self.start() + CHUNK_SAMPLES;
        let (times, values) = (self.times.get(part.clone()), self.values.get(part));
        if let (Some(times), Some(values)) = (times, values)
            && let Some(chunk) = Chunk::pack(times, values)
        {
            history.add(&chunk);
            self.closed.push(Arc::new(chunk));
            self.closed_count += CHUNK_SAMPLES as u32;
            self.start += CHUNK_SAMPLES as u32;
            self.drop_expired();
        }
    }

    /// Gives up the oldest samples; how many.
    fn shed(&mut self, history: &mut History) -> usize {
        if self.closed.is_empty() {
            self.start += 1;
            return 1;
        }
        let chunk = self.closed.remove(0);
        history.remove(&chunk);
        self.closed_count -= chunk.count;
        chunk.count as usize
    }

    fn drop_expired(&mut self) {
        let start = self.start();
        self.times.drain(..start);
        self.values.drain(..start);
        self.start = 0;
    }
}

impl Window<'_> {
    /// Gives each sample to `take`, in order; markers are none.
    pub fn each(&self, mut take: impl FnMut(i64, f64)) {
        if self.stale {
            return self.each_or_marker(|t, v| {
                if !is_stale(v) {
                    take(t, v);
                }
            });
        }
        self.each_or_marker(take);
    }

    fn each_or_marker(&self, mut take: impl FnMut(i64, f64)) {
        for chunk in self.closed {
            chunk.each(|t, v| {
                if t > self.after_ms && t <= self.upto_ms {
                    take(t, v);
                }
            });
        }
        for (t, v) in self.times.iter().zip(self.values) {
            take(*t, *v);
        }
    }

    /// All values, in order.
    pub fn values(&self) -> Vec<f64> {
        let mut values = Vec::with_capacity(self.times.len());
        self.each(|_, v| values.push(v));
        values
    }

    /// The aggregate of the values; `None` where there is no sample (or, for `rate`, fewer than two), and where the
    /// series has ended.
    pub fn aggregate(&self, what: Aggregate) -> Option<f64> {
        if self.stale {
            return self.aggregate_of_rest(what);
        }
        match what {
            Aggregate::Last => match self.values.last() {
                Some(v) => Some(*v),
                None => Some(self.fold().summary?.last),
            },
            Aggregate::P50 => quantile(self.values(), 0.5),
            Aggregate::P90 => quantile(self.values(), 0.9),
            Aggregate::P95 => quantile(self.values(), 0.95),
            Aggregate::P99 => quantile(self.values(), 0.99),
            Aggregate::Stddev => {
                let values = self.values();
                let mean = self.sum_and_count()?.0 / values.len() as f64;
                let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
                Some((squares / values.len() as f64).sqrt())
            }
            Aggregate::Avg => self.sum_and_count().map(|(sum, n)| sum / n as f64),
            Aggregate::Sum => self.sum_and_count().map(|(sum, _)| sum),
            Aggregate::Count => self.sum_and_count().map(|(_, n)| n as f64),
            Aggregate::Min if self.closed.is_empty() => {
                self.values.iter().copied().reduce(f64::min)
            }
            Aggregate::Max if self.closed.is_empty() => {
                self.values.iter().copied().reduce(f64::max)
            }
            Aggregate::Min => Some(self.fold().summary?.min),
            Aggregate::Max => Some(self.fold().summary?.max),
            Aggregate::Rate => self.fold().rate(),
        }
    }

    /// The aggregate of what is left without markers; a marker at the end says that the series is gone.
    fn aggregate_of_rest(&self, what: Aggregate) -> Option<f64> {
        let (mut times, mut values, mut ended) = (Vec::new(), Vec::new(), true);
        self.each_or_marker(|t, v| {
            ended = is_stale(v);
            if !ended {
                times.push(t);
                values.push(v);
            }
        });
        if ended {
            return None;
        }
        Window {
            stale: false,
            closed: &[],
            times: &times,
            values: &values,
            ..*self
        }
        .aggregate(what)
    }

    /// Both at once, as nearly every rule asks for one of them; `None` where there is no sample.
    fn sum_and_count(&self) -> Option<(f64, u64)> {
        if self.closed.is_empty() {
            let n = self.values.len() as u64;
            return (n > 0).then(|| (sum(self.values), n));
        }
        let fold = self.fold();
        Some((fold.summary?.sum.total(), fold.count))
    }

    /// Whole chunks by their summaries, the rest sample by sample.
    fn fold(&self) -> Fold {
        let mut fold = Fold::default();
        let (mut times, mut values) = (Vec::new(), Vec::new());
        for chunk in self.closed {
            if chunk.first_ms > self.after_ms && chunk.last_ms <= self.upto_ms {
                fold.take(
                    u64::from(chunk.count),
                    chunk.first_ms,
                    chunk.last_ms,
                    &chunk.summary,
                );
                continue;
            }
            times.clear();
            values.clear();
            chunk.unpack(&mut times, &mut values);
            let a = times.partition_point(|t| *t <= self.after_ms);
            let b = times.partition_point(|t| *t <= self.upto_ms);
            if let (Some(times), Some(values)) = (times.get(a..b), values.get(a..b)) {
                fold.take_samples(times, values);
            }
        }
        fold.take_samples(self.times, self.values);
        fold
    }
}

/// Sum in four lanes: fast, and the same for the same samples.
fn sum(values: &[f64]) -> f64 {
    let chunks = values.chunks_exact(4);
    let rest: f64 = chunks.remainder().iter().sum();
    let mut lanes = [0.0_f64; 4];
    for chunk in chunks {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane += v;
        }
    }
    lanes.iter().sum::<f64>() + rest
}

/// Quantile by linear interpolation between the closest ranks, as PromQL's `quantile_over_time`.
fn quantile(mut values: Vec<f64>, q: f64) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let rank = q * (values.len().checked_sub(1)? as f64);
    let (low, part) = (rank.floor(), rank.fract());
    let a = *values.get(low as usize)?;
    let b = values.get(low as usize + 1).copied().unwrap_or(a);
    Some(a * (1.0 - part) + b * part)
}

/// All series, by number.
#[derive(Debug, Default)]
pub struct SeriesSet {
    all: Vec<Series>,
    /// The newest sample of each series, and how often it has changed: all that most rules look at. Apart from the series, so
    /// that those of the many series of one rule lie side by side.
    heads: Vec<Head>,
    names: Names,
    /// No sample at or before this time comes any more, ms since the epoch.
    settled_ms: i64,
    /// Until when nothing is settled.
    unsettled_until: Timestamp,
    /// Nothing is dropped yet: nobody knows how far back rules will look.
    pub(super) keep_all: bool,
    /// What is kept for queries.
    pub(super) history: History,
    round: Round,
    /// Samples dropped at [`SERIES_SAMPLES_MAX`].
    pub shed_total: u64,
}

impl SeriesSet {
    /// An empty set that drops nothing until it is told what rules look back at.
    pub fn keep_all() -> Self {
        Self {
            keep_all: true,
            ..Self::default()
        }
    }
    /// The number of a series; a new one gets the count of those before it. Whether it is new.
    pub fn number(&mut self, key: &SeriesKey) -> (u32, bool) {
        if let Some(number) = self.names.find(key, &self.all) {
            return (number, false);
        }
        (self.add(Series::new(key.clone())), true)
    }
    /// Adds a series that is not there yet; its number.
    fn add(&mut self, series: Series) -> u32 {
        let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.names.add(series.key(), number, &self.all);
        self.heads.push(series.head(0));
        self.all.push(series);
        number
    }
    /// The numbers of a metric's series, ascending.
    pub fn of_metric(&self, metric: &str) -> &[u32] {
        self.names.of_metric(metric)
    }
    /// Says that it is `now`: samples come at most [`LATE_MAX`] late, unless it was seen lately that they do.
    pub fn settle(&mut self, now: Timestamp) {
        self.settled_ms = if now < self.unsettled_until {
            i64::MIN
        } else {
            // The door lets in what is exactly that late.
            self.settled_ms.max((now - LATE_MAX).ms().saturating_sub(1))
        };
    }
    /// Puts back what a series held, before anything else is filed for it. Samples must ascend.
    pub fn put_back(&mut self, number: u32, copy: SeriesCopy) {
        if let Some(series) = self.all.get_mut(number as usize) {
            series.closed.iter().for_each(|c| self.history.remove(c));
            copy.closed.iter().for_each(|c| self.history.add(c));
            series.closed_count = copy.closed.iter().map(|c| c.count).sum();
            series.set_natives(copy.natives, &mut self.history);
            (series.closed, series.times, series.values) = (copy.closed, copy.times, copy.values);
            series.start = 0;
            let newest = series.times.last().copied().unwrap_or(i64::MIN);
            (series.drop_ms, series.stale_ms) = (newest, newest);
        }
        self.changed(number);
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
    /// One of them.
    pub fn get(&self, number: u32) -> Option<&Series> {
        self.all.get(number as usize)
    }
    /// All of them with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Series)> {
        (0_u32..).zip(self.all.iter())
    }
    /// Keeps at least this much of a series for a rule's window.
    pub fn need(&mut self, number: u32, window: Duration) {
        if let Some(s) = self.all.get_mut(number as usize) {
            s.horizon = s.horizon.max(window);
        }
    }
    /// Whether a series has a sample of that time.
    pub fn has(&self, number: u32, ts: Timestamp) -> bool {
        let before = Timestamp::from_ms(ts.ms().saturating_sub(1));
        self.get(number)
            .is_some_and(|s| s.newest_point(before.ms(), ts.ms()).is_some())
    }
    /// Notes that something happened to the samples of a series.
    fn changed(&mut self, number: u32) {
        if let (Some(head), Some(series)) = (
            self.heads.get_mut(number as usize),
            self.all.get(number as usize),
        ) {
            *head = series.head(head.changes.wrapping_add(Head::OTHER));
        }
    }
    /// Notes that a sample of that time came at `at`.
    fn look_for_late(&mut self, at: Timestamp, ts: Timestamp) {
        // Settled may have passed it by while it waited for a slow disk.
        if ts.ms() <= self.settled_ms || ts < at - LATE_MAX {
            self.unsettled_until = at + UNSETTLED;
        }
    }
    /// Files a number that came at `at`.
    pub fn file_one(&mut self, number: u32, at: Timestamp, ts: Timestamp, value: f64) {
        self.look_for_late(at, ts);
        if let Some(series) = self.all.get_mut(number as usize) {
            // What a sender's fast clock says is no reason to drop what the present is judged by.
            if !self.keep_all {
                series.expire(ts.min(at).ms(), &mut self.history);
            }
            let shed = series.push(ts, value, &mut self.history);
            self.shed_total += shed as u64;
            if let Some(head) = self.heads.get_mut(number as usize) {
                if head.ms <= ts.ms() {
                    (head.ms, head.value) = (ts.ms(), value);
                }
                head.last_drop = series.drop_ms;
                let other = if shed > 0 { Head::OTHER } else { 0 };
                head.changes = head.changes.wrapping_add(1 + other);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::promql::source::Source;
    use crate::model::labels::Labels;
    use proptest::prelude::*;

    fn series(samples: &[(i64, f64)]) -> SeriesSet {
        let mut set = SeriesSet::default();
        set.number(&SeriesKey::new("m", &Labels::new()));
        set.need(0, Duration::from_mins(3));
        for (t, v) in samples {
            let at = Timestamp::from_ms(*t * 1_000);
            set.file_one(0, at, at, *v);
        }
        set
    }

    #[test]
    fn what_came_very_late_may_be_followed_by_more() {
        let mut set = SeriesSet::default();
        let (number, _) = set.number(&SeriesKey::new("m", &Labels::new()));
        let minute = |n: i64| Timestamp::from_ms(n * 60_000);
        set.settle(minute(200));
        assert_eq!(set.settled(), minute(190).ms() - 1);
        set.file_one(number, minute(200), minute(190), 1.0);
        set.settle(minute(201));
        assert_eq!(set.settled(), minute(191).ms() - 1);
        set.file_one(number, minute(201), minute(100), 1.0);
        set.settle(minute(202));
        assert_eq!(set.settled(), i64::MIN);
        set.settle(minute(201 + 24 * 60));
        assert_eq!(set.settled(), minute(191 + 24 * 60).ms() - 1);
    }

    #[test]
    fn what_waited_until_its_time_was_settled_may_be_followed_by_more() {
        let mut set = SeriesSet::default();
        let (number, _) = set.number(&SeriesKey::new("m", &Labels::new()));
        let minute = |n: i64| Timestamp::from_ms(n * 60_000);
        // It came at 195 and was on disk at 200.
        set.settle(minute(200));
        set.file_one(number, minute(195), minute(188), 1.0);
        set.settle(minute(201));
        assert_eq!(set.settled(), i64::MIN);
    }

    #[test]
    fn a_window_is_open_on_the_left_and_closed_on_the_right() {
        let set = series(&[(10, 1.0), (20, 2.0), (30, 3.0), (40, 4.0)]);
        let w = set
            .get(0)
            .unwrap()
            .window(Timestamp::from_ms(10_000), Timestamp::from_ms(30_000));
        assert_eq!(w.values(), [2.0, 3.0]);
    }

    #[test]
    fn late_samples_take_their_place_and_equal_times_are_all_kept() {
        let set = series(&[(10, 1.0), (30, 3.0), (20, 2.0), (20, 2.5)]);
        assert_eq!(
            set.get(0)
                .unwrap()
                .window(Timestamp::from_ms(0), Timestamp::from_ms(99_000))
                .values(),
            [1.0, 2.0, 2.5, 3.0]
        );
    }

    #[test]
    fn aggregates() {
        let set = series(&[
            (1, 2.0),
            (2, 4.0),
            (3, 4.0),
            (4, 4.0),
            (5, 5.0),
            (6, 5.0),
            (7, 7.0),
            (8, 9.0),
        ]);
        let w = set
            .get(0)
            .unwrap()
            .window(Timestamp::from_ms(0), Timestamp::from_ms(8_000));
        let got: Vec<String> = Aggregate::ALL
            .iter()
            .map(|(n, a)| format!("{n}={:.3}", w.aggregate(*a).unwrap()))
            .collect();
        expect_test::expect!["avg=5.000 min=2.000 max=9.000 sum=40.000 count=8.000 last=9.000 p50=4.500 p90=7.600 p95=8.300 p99=8.860 stddev=2.000 rate=1.000"]
            .assert_eq(&got.join(" "));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]
        #[test]
        fn a_series_is_the_sorted_list_of_its_samples_whatever_is_packed(
            steps in prop::collection::vec((0_i64..3_000, 0_u8..20, -50_i32..50), 1..1_500),
            windows in prop::collection::vec((0_i64..2_000_000, 0_i64..2_000_000), 4),
        ) {
            let mut set = SeriesSet::default();
            set.number(&SeriesKey::new("m", &Labels::new()));
            set.need(0, Duration::from_hours(24));
            let (mut all, mut now) = (Vec::<(i64, f64)>::new(), 0_i64);
            for (step, late, value) in steps {
                now += step;
                let (ts, v) = (if late == 0 { (now - 400_000).max(0) } else { now }, f64::from(value));
                let at = all.partition_point(|s| s.0 <= ts);
                all.insert(at, (ts, v));
                set.file_one(0, Timestamp::from_ms(now), Timestamp::from_ms(ts), v);
            }
            let series = set.get(0).unwrap();
            prop_assert_eq!(series.len(), all.len());
            prop_assert_eq!(series.last().map(|l| (l.0.ms(), l.1)), all.last().copied());
            prop_assert_eq!(all.len() > PLAIN_SAMPLES_MAX, !series.closed.is_empty());
            let mut again = SeriesSet::default();
            again.number(&SeriesKey::new("m", &Labels::new()));
            again.put_back(0, series.copy());
            for (a, b) in windows {
                let (from, to) = (Timestamp::from_ms(a.min(b)), Timestamp::from_ms(a.max(b)));
                let inside: Vec<(i64, f64)> =
                    all.iter().filter(|s| s.0 > from.ms() && s.0 <= to.ms()).copied().collect();
                let window = series.window(from, to);
                let mut seen = Vec::new();
                window.each(|t, v| seen.push((t, v)));
                prop_assert_eq!(&seen, &inside);
                for (name, what) in Aggregate::ALL {
                    let want = plain(&inside, what);
                    let got = window.aggregate(what);
                    let near = match (want, got) {
                        (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * (1.0 + a.abs()),
                        (a, b) => a == b,
                    };
                    prop_assert!(near, "{name}: want {want:?}, got {got:?}");
                    prop_assert_eq!(got, again.get(0).unwrap().window(from, to).aggregate(what));
                }
            }
        }
    }

    /// The aggregate of a plain list, by its definition.
    fn plain(samples: &[(i64, f64)], what: Aggregate) -> Option<f64> {
        let values: Vec<f64> = samples.iter().map(|s| s.1).collect();
        let n = values.len() as f64;
        let total: f64 = values.iter().sum();
        let (first, last) = (samples.first()?, samples.last()?);
        Some(match what {
            Aggregate::Avg => total / n,
            Aggregate::Sum => total,
            Aggregate::Count => n,
            Aggregate::Last => last.1,
            Aggregate::Min => values.iter().copied().fold(f64::INFINITY, f64::min),
            Aggregate::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Aggregate::Stddev => {
                (values.iter().map(|v| (v - total / n).powi(2)).sum::<f64>() / n).sqrt()
            }
            Aggregate::Rate => {
                let pairs = values
                    .windows(2)
                    .map(|p| if p[1] < p[0] { p[1] } else { p[1] - p[0] });
                let seconds = (last.0 - first.0) as f64 / 1_000.0;
                return (seconds > 0.0).then(|| pairs.sum::<f64>() / seconds);
            }
            Aggregate::P50 | Aggregate::P90 | Aggregate::P95 | Aggregate::P99 => {
                let q = [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)]
                    .iter()
                    .find(|(name, _)| *name == what.name())?
                    .1;
                return quantile(values, q);
            }
        })
    }

    #[test]
    fn a_marker_is_no_sample_and_ends_a_series_until_it_comes_back() {
        let stale = f64::from_bits(crate::engine::promql::source::STALE_BITS);
        let mut samples = vec![(10, 1.0), (20, 3.0), (30, stale)];
        let avg = |samples: &[(i64, f64)]| {
            let set = series(samples);
            let window = set
                .get(0)
                .unwrap()
                .window(Timestamp::from_ms(0), Timestamp::from_ms(60_000));
            (window.aggregate(Aggregate::Avg), window.values().len())
        };
        assert_eq!(avg(&samples), (None, 2));
        samples.push((40, 5.0));
        assert_eq!(avg(&samples), (Some(3.0), 3));
    }

    #[test]
    fn a_counter_that_starts_again_still_has_a_rate() {
        let set = series(&[(0, 90.0), (10, 100.0), (20, 5.0)]);
        let w = set
            .get(0)
            .unwrap()
            .window(Timestamp::from_ms(-1), Timestamp::from_ms(20_000));
        assert_eq!(w.aggregate(Aggregate::Rate), Some(0.75));
    }
}
