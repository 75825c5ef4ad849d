//! The samples that a script has loaded, as a store would give them back.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::promql::series_text::parse_number;
use crate::engine::promql::source::{Point, Samples, Scratch, Source, Value, is_stale};
use crate::model::histogram::classic::{self, Cumulative};
use crate::model::histogram::{Histogram, ResetHint};
use crate::model::labels::{Labels, Matcher};
use crate::sim::promqltest::script::{Load, Loaded, ScriptError};

/// Series in memory.
#[derive(Clone, Debug, Default)]
pub struct Store {
    series: Vec<Series>,
    numbers: BTreeMap<Labels, usize>,
}

#[derive(Clone, Debug, Default)]
struct Series {
    labels: Labels,
    points: Vec<Point>,
    /// The same as numbers, NaN for anything else.
    times: Vec<i64>,
    values: Vec<f64>,
    /// Whether there is anything but numbers without start timestamps, staleness markers not counted.
    mixed: bool,
    /// The time of the newest number that is smaller than the one before it.
    last_drop: Option<i64>,
}

impl Store {
    /// How many series there are.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// The metrics of the series from a number on.
    pub fn metrics_from(&self, number: usize) -> impl Iterator<Item = &str> {
        let new = self.series.iter().skip(number);
        new.map(|series| series.labels.get("__name__"))
    }

    /// The number of a series; it is there from now on.
    pub fn number(&mut self, labels: &Labels) -> usize {
        if let Some(number) = self.numbers.get(labels) {
            return *number;
        }
        let number = self.series.len();
        self.numbers.insert(labels.clone(), number);
        self.series.push(Series {
            labels: labels.clone(),
            ..Series::default()
        });
        number
    }

    /// Appends a sample to a series. One that is the same as the newest is there already.
    ///
    /// # Errors
    /// If the series has another sample at this time already, or one after it.
    pub fn append(&mut self, labels: &Labels, point: Point) -> Result<(), String> {
        let number = self.number(labels);
        self.push(number, point)
    }

    /// As [`Store::append`], by the number of the series.
    ///
    /// # Errors
    /// As [`Store::append`].
    pub fn push(&mut self, number: usize, mut point: Point) -> Result<(), String> {
        let Some(series) = self.series.get_mut(number) else {
            return Ok(());
        };
        let last = series.points.last();
        if let Some(last) = last.filter(|last| last.ts >= point.ts) {
            if last.ts == point.ts && is_same(&last.value, &point.value) {
                return Ok(());
            }
            return Err(format!(
                "{} has a sample at {} ms or later already",
                series.labels, point.ts
            ));
        }
        if let Value::Histogram(histogram) = &mut point.value {
            let before = last.and_then(|last| match &last.value {
                Value::Histogram(before) => Some(before.as_ref()),
                Value::Float(_) => None,
            });
            let hint = stored_hint(before, histogram);
            if hint != histogram.hint() {
                Arc::make_mut(histogram).set_hint(hint);
            }
        }
        series.push(point);
        Ok(())
    }

    /// Appends what a script loads.
    ///
    /// # Errors
    /// As [`Store::append`]; also if a classic histogram is none.
    pub fn load(&mut self, load: &Load) -> Result<(), ScriptError> {
        for (labels, loaded) in &load.series {
            for point in points(load, loaded) {
                self.append(labels, point).map_err(|what| ScriptError {
                    line: loaded.line,
                    what,
                })?;
            }
        }
        if load.with_native {
            self.load_native(load).map_err(|what| ScriptError {
                line: load.line,
                what,
            })?;
        }
        Ok(())
    }

    /// Appends native histograms with custom bounds, put together from the classic ones of a load.
    fn load_native(&mut self, load: &Load) -> Result<(), String> {
        #[derive(Default)]
        struct Classic {
            buckets: Vec<Cumulative>,
            count: Option<f64>,
            sum: f64,
        }
        let mut found: BTreeMap<Labels, BTreeMap<i64, Classic>> = BTreeMap::new();
        for (labels, loaded) in &load.series {
            let name = labels.get("__name__");
            let parts = ["_bucket", "_count", "_sum"];
            let part = parts
                .iter()
                .find_map(|part| Some((*part, name.strip_suffix(part)?)));
            let Some((part, base)) = part else {
                continue;
            };
            let upper = match part {
                "_bucket" => match parse_number(labels.get("le")) {
                    Some(upper) if !upper.is_nan() => upper,
                    Some(_) | None => continue,
                },
                _ => 0.0,
            };
            let mut of = labels.clone();
            of.set("__name__", base);
            of.set("le", "");
            let histograms = found.entry(of).or_default();
            for point in points(load, loaded) {
                let Value::Float(value) = point.value else {
                    continue;
                };
                let histogram = histograms.entry(point.ts).or_default();
                match part {
                    "_bucket" => histogram.buckets.push(Cumulative {
                        upper,
                        count: value,
                    }),
                    "_count" => histogram.count = Some(value),
                    _ => histogram.sum = value,
                }
            }
        }
        for (labels, histograms) in found {
            for (ts, classic) in histograms {
                let native = classic::to_native(classic.buckets, classic.count, classic.sum)
                    .map_err(|error| format!("{labels} at {ts} ms: {error}"))?;
                self.append(
                    &labels,
                    Point {
                        ts,
                        start_ts: None,
                        value: Value::Histogram(Arc::new(native)),
                    },
                )?;
            }
        }
        Ok(())
    }

    fn get(&self, series: u32) -> Option<&Series> {
        self.series.get(usize::try_from(series).ok()?)
    }
}

impl Series {
    fn push(&mut self, point: Point) {
        let value = match &point.value {
            Value::Float(value) => *value,
            Value::Histogram(_) => f64::NAN,
        };
        let before = self.values.iter().rev().find(|v| !is_stale(**v));
        if before.is_some_and(|before| value < *before) {
            self.last_drop = Some(point.ts);
        }
        self.mixed |= matches!(point.value, Value::Histogram(_)) || point.start_ts.is_some();
        self.times.push(point.ts);
        self.values.push(value);
        self.points.push(point);
    }

    /// The places of the samples in (after, upto].
    fn window(&self, after: i64, upto: i64) -> std::ops::Range<usize> {
        let start = self.times.partition_point(|ts| *ts <= after);
        let end = self.times.partition_point(|ts| *ts <= upto);
        start..end.max(start)
    }
}

/// Whether two values are the same to the last bit; what is known of a reset does not count.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
        (Value::Histogram(a), Value::Histogram(b)) => {
            let plain = |h: &Histogram| {
                let mut h = h.clone();
                h.set_hint(ResetHint::Unknown);
                h
            };
            plain(a) == plain(b)
        }
        (Value::Float(_), Value::Histogram(_)) | (Value::Histogram(_), Value::Float(_)) => false,
    }
}

/// Samples with their times.
pub(in crate::sim) fn points<'a>(
    load: &Load,
    loaded: &'a Loaded,
) -> impl Iterator<Item = Point> + use<'a> {
    let (start_ms, step_ms) = (load.start_ms, load.step_ms);
    let starts = loaded.starts.iter().copied().chain(std::iter::repeat(None));
    let times = (0_i64..).map(move |i| start_ms.saturating_add(i.saturating_mul(step_ms)));
    times
        .zip(&loaded.samples)
        .zip(starts)
        .filter_map(|((ts, sample), start)| {
            Some(Point {
                ts,
                start_ts: start.map(|offset| ts.saturating_add(offset)),
                value: sample.as_ref()?.value(),
            })
        })
}

/// What a store still knows of a hint when a sample is read back. It keeps the counters of a run without resets
/// together, and of the first of a run nothing is known, not even that it is a reset.
fn stored_hint(before: Option<&Histogram>, now: &Histogram) -> ResetHint {
    if now.hint() == ResetHint::Gauge {
        return ResetHint::Gauge;
    }
    let Some(before) = before.filter(|before| before.hint() != ResetHint::Gauge) else {
        return ResetHint::Unknown;
    };
    let same_buckets = before.schema() == now.schema()
        && before.zero_threshold() == now.zero_threshold()
        && before.bounds() == now.bounds();
    let mut counted = now.clone();
    if counted.hint() != ResetHint::Reset {
        // Its word for no reset is not taken: the counts are.
        counted.set_hint(ResetHint::Unknown);
    }
    if same_buckets && !counted.detect_reset(before) {
        ResetHint::NotReset
    } else {
        ResetHint::Unknown
    }
}

impl Source for Store {
    fn select(&self, matchers: &[Matcher]) -> Vec<u32> {
        let all = (0_u32..).zip(&self.series);
        all.filter(|(_, s)| matchers.iter().all(|m| m.matches(s.labels.get(&m.name))))
            .map(|(number, _)| number)
            .collect()
    }

    fn labels(&self, series: u32) -> Labels {
        self.get(series)
            .map(|s| s.labels.clone())
            .unwrap_or_default()
    }

    fn samples<'a>(
        &'a self,
        series: u32,
        after: i64,
        upto: i64,
        _: &'a mut Scratch,
    ) -> Samples<'a> {
        let Some(series) = self.get(series) else {
            return Samples::Mixed(&[]);
        };
        let window = series.window(after, upto);
        let points = series.points.get(window.clone()).unwrap_or(&[]);
        let plain = points.iter().all(|p| {
            p.start_ts.is_none() && matches!(p.value, Value::Float(value) if !is_stale(value))
        });
        match (series.times.get(window.clone()), series.values.get(window)) {
            (Some(times), Some(values)) if plain => Samples::Floats { times, values },
            _ => Samples::Mixed(points),
        }
    }

    fn newest(&self, series: u32, after: i64, upto: i64) -> Option<Point> {
        let series = self.get(series)?;
        let window = series.window(after, upto);
        series.points.get(window)?.last().cloned()
    }

    fn last_drop(&self, series: u32) -> i64 {
        self.get(series)
            .filter(|s| !s.mixed)
            .map_or(i64::MAX, |s| s.last_drop.unwrap_or(i64::MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::promql::series_text::parse_histogram;
    use crate::engine::promql::source::Glance;
    use crate::model::labels::MatchOp;
    use crate::sim::promqltest::script::{Command, parse};

    fn loaded(script: &str) -> Store {
        let mut store = Store::default();
        for command in parse(script).unwrap() {
            if let Command::Load(load) = command {
                store.load(&load).unwrap();
            }
        }
        store
    }

    fn hints(histograms: &[&str]) -> Vec<ResetHint> {
        let mut store = Store::default();
        let labels = Labels::new();
        for (ts, text) in (0..).zip(histograms) {
            let value = match *text {
                "stale" => Value::Float(f64::from_bits(crate::engine::promql::source::STALE_BITS)),
                text => Value::Histogram(Arc::new(parse_histogram(text).unwrap())),
            };
            let point = Point {
                ts,
                start_ts: None,
                value,
            };
            store.append(&labels, point).unwrap();
        }
        (0..)
            .zip(histograms)
            .filter_map(|(ts, _)| match store.newest(0, ts - 1, ts)?.value {
                Value::Histogram(h) => Some(h.hint()),
                Value::Float(_) => None,
            })
            .collect()
    }

    #[test]
    fn a_window_is_open_at_the_left() {
        let store = loaded("load 1m\n a 1 2 stale 3\n");
        let mut scratch = Scratch::default();
        let Samples::Floats { times, values } = store.samples(0, 0, 60_000, &mut scratch) else {
            panic!("numbers only");
        };
        assert_eq!((times, values), (&[60_000][..], &[2.0][..]));
        assert!(matches!(
            store.samples(0, 0, 120_000, &mut scratch),
            Samples::Mixed([_, _])
        ));
        assert_eq!(store.glance(0, 0, 119_999), Glance::Number(2.0));
        assert_eq!(store.glance(0, 0, 120_000), Glance::Nothing);
        assert!(store.newest(0, 180_000, 999_999).is_none());
        assert!(store.newest(0, 5, 3).is_none());
        assert_eq!(store.last_drop(0), i64::MIN);
    }

    #[test]
    fn loads_add_up_and_select_by_label() {
        let store = loaded("load 1m\n a{b=\"c\"} 1 2\n a 1\n\nload 1m\n\nload 1m\n a _ _ 3");
        let named = Matcher::new("__name__", MatchOp::Equal, "a").unwrap();
        let bare = Matcher::new("b", MatchOp::Equal, "").unwrap();
        assert_eq!(store.select(std::slice::from_ref(&named)).len(), 2);
        let one = store.select(&[named, bare]);
        assert_eq!(one.len(), 1);
        assert_eq!(store.glance(one[0], -1, 999_999), Glance::Number(3.0));
        let mut store = store;
        let same = parse("load 1m\n a _ _ 3").unwrap();
        if let Some(Command::Load(same)) = same.first() {
            store.load(same).unwrap();
        }
        let again = parse("load 1m\n a _ _ 4").unwrap();
        let Some(Command::Load(again)) = again.first() else {
            panic!("a load");
        };
        assert_eq!(store.load(again).unwrap_err().line, 2);
    }

    #[test]
    fn a_store_knows_of_no_reset_within_a_run() {
        use ResetHint::{Gauge, NotReset, Unknown};
        assert_eq!(
            hints(&[
                "{{count:1 buckets:[1] counter_reset_hint:not_reset}}",
                "{{count:2 buckets:[2]}}",
                "{{count:3 buckets:[3] counter_reset_hint:reset}}",
                "{{count:1 buckets:[1]}}",
                "{{count:1 buckets:[1]}}",
                "{{schema:1 count:1 buckets:[1]}}",
                "{{schema:1 count:1 buckets:[1] counter_reset_hint:gauge}}",
                "{{schema:1 count:1 buckets:[1]}}",
                "stale",
                "{{schema:1 count:1 buckets:[1]}}",
                "{{schema:1 count:2 buckets:[1]}}",
            ]),
            [
                Unknown, NotReset, Unknown, Unknown, NotReset, Unknown, Gauge, Unknown, Unknown,
                NotReset
            ]
        );
    }

    #[test]
    fn classic_histograms_are_stored_as_native_ones_too() {
        let store = loaded(
            "load_with_nhcb 1m\n h_bucket{le=\"1\"} 1 2\n h_bucket{le=\"+Inf\"} 2 4\n h_sum 3 5\n h_count 2 4\n",
        );
        let native = Matcher::new("__name__", MatchOp::Equal, "h").unwrap();
        let series = store.select(&[native]);
        let Some(Value::Histogram(h)) = store.newest(series[0], 0, 60_000).map(|p| p.value) else {
            panic!("a histogram");
        };
        assert_eq!(
            *h,
            parse_histogram("{{schema:-53 count:4 sum:5 custom_values:[1] buckets:[2 2]}}")
                .unwrap()
        );
    }
}
