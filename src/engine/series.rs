//! Samples → windows. Series are numbered in order of first sight; a window is two slices, times and values.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::engine::limits::{BOARD_SAMPLES_MAX, BOARD_WINDOW, SERIES_SAMPLES_MAX};
use crate::engine::policy::Aggregate;
use crate::model::labels::SeriesKey;
use crate::model::time::{Duration, Timestamp};

/// One measured value of the series with that number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The series' number.
    pub series: u32,
    /// When it was measured.
    pub ts: Timestamp,
    /// The value; never NaN or infinite.
    pub value: f64,
}

/// The samples of one series, in order of time, those of equal time in order of arrival.
#[derive(Debug)]
pub struct Series {
    key: SeriesKey,
    times: Vec<i64>,
    values: Vec<f64>,
    /// Samples before this index are out of every window; they are dropped in bulk.
    start: usize,
    /// What the rules that judge it look back.
    horizon: Duration,
}

/// The part of a series that a rule looks at.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// Milliseconds since the epoch, ascending.
    pub times: &'a [i64],
    /// The values at these times.
    pub values: &'a [f64],
}

impl Series {
    fn new(key: SeriesKey) -> Self {
        Self {
            key,
            times: Vec::new(),
            values: Vec::new(),
            start: 0,
            horizon: Duration::ZERO,
        }
    }
    /// Who it is.
    pub fn key(&self) -> &SeriesKey {
        &self.key
    }
    /// The newest sample.
    pub fn last(&self) -> Option<(Timestamp, f64)> {
        let t = self.times.get(self.start..)?.last()?;
        Some((Timestamp::from_ms(*t), *self.values.last()?))
    }
    /// Samples in (from, to].
    pub fn window(&self, from: Timestamp, to: Timestamp) -> Window<'_> {
        let a = self
            .times
            .partition_point(|t| *t <= from.ms())
            .max(self.start);
        let b = match self.times.last() {
            Some(t) if *t <= to.ms() => self.times.len(),
            _ => self.times.partition_point(|t| *t <= to.ms()).max(a),
        };
        Window {
            times: self.times.get(a..b).unwrap_or(&[]),
            values: self.values.get(a..b).unwrap_or(&[]),
        }
    }

    /// Files a sample; true if the oldest had to be shed for it.
    fn push(&mut self, ts: Timestamp, value: f64) -> bool {
        let ts = ts.ms();
        if self.times.len() == self.times.capacity() {
            let more = (self.times.len() / 4).max(4);
            self.times.reserve_exact(more);
            self.values.reserve_exact(more);
        }
        match self.times.last() {
            Some(last) if *last > ts => {
                let at = self.times.partition_point(|t| *t <= ts).max(self.start);
                self.times.insert(at, ts);
                self.values.insert(at, value);
            }
            Some(_) | None => {
                self.times.push(ts);
                self.values.push(value);
            }
        }
        let shed = self.times.len() - self.start > SERIES_SAMPLES_MAX;
        if shed {
            self.start += 1;
        }
        shed
    }

    fn expire(&mut self, newest_ms: i64) {
        let newest = Timestamp::from_ms(newest_ms);
        let (need, board) = ((newest - self.horizon).ms(), (newest - BOARD_WINDOW).ms());
        while let Some(t) = self.times.get(self.start) {
            let kept =
                *t > need || (*t > board && self.times.len() - self.start < BOARD_SAMPLES_MAX);
            if kept {
                break;
            }
            self.start += 1;
        }
        if self.start > 32 && self.start * 2 > self.times.len() {
            self.times.drain(..self.start);
            self.values.drain(..self.start);
            self.start = 0;
        }
    }
}

impl Window<'_> {
    /// The aggregate of the values; `None` where there is no sample (or, for `rate`, fewer than two).
    pub fn aggregate(&self, what: Aggregate) -> Option<f64> {
        let n = self.values.len();
        if n == 0 {
            return None;
        }
        let mean = || sum(self.values) / n as f64;
        match what {
            Aggregate::Avg => Some(mean()),
            Aggregate::Min => self.values.iter().copied().reduce(f64::min),
            Aggregate::Max => self.values.iter().copied().reduce(f64::max),
            Aggregate::Sum => Some(sum(self.values)),
            Aggregate::Count => Some(n as f64),
            Aggregate::Last => self.values.last().copied(),
            Aggregate::P50 => quantile(self.values, 0.5),
            Aggregate::P90 => quantile(self.values, 0.9),
            Aggregate::P95 => quantile(self.values, 0.95),
            Aggregate::P99 => quantile(self.values, 0.99),
            Aggregate::Stddev => {
                let mean = mean();
                Some(
                    (self.values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64).sqrt(),
                )
            }
            Aggregate::Rate => self.rate(),
        }
    }

    /// Increase per second between the first and the last sample; a fall is a counter that started again from 0.
    fn rate(&self) -> Option<f64> {
        let (first, last) = (self.times.first()?, self.times.last()?);
        if last <= first {
            return None;
        }
        let mut increase = 0.0;
        for (a, b) in self.values.iter().zip(self.values.iter().skip(1)) {
            increase += if b < a { *b } else { b - a };
        }
        Some(increase * 1_000.0 / (last - first) as f64)
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
fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let rank = q * (sorted.len().checked_sub(1)? as f64);
    let (low, part) = (rank.floor(), rank.fract());
    let a = *sorted.get(low as usize)?;
    let b = sorted.get(low as usize + 1).copied().unwrap_or(a);
    Some(a * (1.0 - part) + b * part)
}

/// All series, by number.
#[derive(Debug, Default)]
pub struct SeriesSet {
    all: Vec<Series>,
    /// Nothing is dropped yet: nobody knows how far back rules will look.
    pub(super) keep_all: bool,
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
    /// Takes a new series; its number is the count of those before it.
    pub fn add(&mut self, key: SeriesKey) {
        self.all.push(Series::new(key));
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
    /// Files samples that came at that time.
    pub fn file(&mut self, at: Timestamp, samples: &[Sample]) {
        for sample in samples {
            if let Some(series) = self.all.get_mut(sample.series as usize) {
                // What a sender's fast clock says is no reason to drop what the present is judged by.
                if !self.keep_all {
                    series.expire(sample.ts.min(at).ms());
                }
                self.shed_total += u64::from(series.push(sample.ts, sample.value));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::labels::Labels;

    fn series(samples: &[(i64, f64)]) -> SeriesSet {
        let mut set = SeriesSet::default();
        set.add(SeriesKey::new("m", &Labels::new()));
        set.need(0, Duration::from_mins(3));
        for (t, v) in samples {
            set.file(
                Timestamp::from_ms(*t * 1_000),
                &[Sample {
                    series: 0,
                    ts: Timestamp::from_ms(*t * 1_000),
                    value: *v,
                }],
            );
        }
        set
    }

    #[test]
    fn a_window_is_open_on_the_left_and_closed_on_the_right() {
        let set = series(&[(10, 1.0), (20, 2.0), (30, 3.0), (40, 4.0)]);
        let w = set
            .get(0)
            .unwrap()
            .window(Timestamp::from_ms(10_000), Timestamp::from_ms(30_000));
        assert_eq!(w.values, [2.0, 3.0]);
    }

    #[test]
    fn late_samples_take_their_place_and_equal_times_are_all_kept() {
        let set = series(&[(10, 1.0), (30, 3.0), (20, 2.0), (20, 2.5)]);
        assert_eq!(
            set.get(0)
                .unwrap()
                .window(Timestamp::from_ms(0), Timestamp::from_ms(99_000))
                .values,
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
