//! The windows as PromQL reads them.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::engine::promql::source::{Glance, Head, Point, Samples, Scratch, Source, Steps};
use crate::engine::series::{Series, SeriesSet};
use crate::model::labels::{Labels, MatchOp, Matcher, SeriesKey};
use crate::model::time::Timestamp;

/// The label that is the metric's name.
const NAME: &str = "__name__";

impl Source for SeriesSet {
    fn select(&self, matchers: &[Matcher]) -> Vec<u32> {
        let (names, others): (Vec<&Matcher>, Vec<&Matcher>) =
            matchers.iter().partition(|m| m.name == NAME);
        let exact = names.iter().find(|m| m.op == MatchOp::Equal);
        let named = |metric: &str| names.iter().all(|m| m.matches(metric));
        let mut found: Vec<u32> = match exact {
            Some(m) if named(&m.value) => self.of_metric(&m.value).to_vec(),
            Some(_) => Vec::new(),
            None => {
                let metrics = self.names.metrics().filter(|(metric, _)| named(metric));
                metrics
                    .flat_map(|(_, numbers)| numbers.iter().copied())
                    .collect()
            }
        };
        if !others.is_empty() {
            let others: Vec<Matcher> = others.into_iter().cloned().collect();
            found.retain(|n| self.get(*n).is_some_and(|s| s.key().matches(&others)));
        }
        if exact.is_none() {
            found.sort_unstable();
        }
        found
    }

    fn labels(&self, series: u32) -> Labels {
        let key = self.get(series).map(Series::key);
        key.map_or_else(Labels::new, SeriesKey::all_labels)
    }

    fn samples<'a>(
        &'a self,
        series: u32,
        after: i64,
        upto: i64,
        scratch: &'a mut Scratch,
    ) -> Samples<'a> {
        let Some(series) = self.get(series) else {
            return Samples::Floats {
                times: &[],
                values: &[],
            };
        };
        if series.native.is_some() {
            return series.either(after, upto, scratch);
        }
        series.floats(after, upto, scratch)
    }

    fn newest(&self, series: u32, after: i64, upto: i64) -> Option<Point> {
        self.get(series)?.newest_point(after, upto)
    }

    fn glance(&self, series: u32, after: i64, upto: i64) -> Glance {
        match self.heads.get(series as usize) {
            Some(head) if head.ms <= after => Glance::Nothing,
            Some(head) if head.ms <= upto => Glance::of_number(head.value),
            Some(_) => self.look(series, after, upto),
            None => Glance::Nothing,
        }
    }

    fn glances(
        &self,
        series: u32,
        steps: Steps,
        lookback: i64,
        scratch: &mut Scratch,
        mut take: impl FnMut(usize, Glance),
    ) {
        let Some(of) = self.get(series) else {
            return;
        };
        if of.native.is_some() {
            for (place, upto) in steps.times().enumerate() {
                take(
                    place,
                    self.look(series, upto.saturating_sub(lookback), upto),
                );
            }
            return;
        }
        let after = steps.first.saturating_sub(lookback);
        let (times, values) = of.numbers(after, steps.last(), scratch);
        let (mut samples, mut newest) = (times.iter().zip(values).peekable(), None);
        for (place, upto) in steps.times().enumerate() {
            while let Some(sample) = samples.next_if(|(ts, _)| **ts <= upto) {
                newest = Some(sample);
            }
            if let Some((ts, value)) = newest
                && *ts > upto.saturating_sub(lookback)
            {
                take(place, Glance::of_number(*value));
            }
        }
    }

    fn last_drop(&self, series: u32) -> i64 {
        self.get(series).map_or(i64::MAX, |s| s.drop_ms)
    }

    fn head(&self, series: u32) -> Option<&Head> {
        self.heads.get(series as usize)
    }

    fn settled(&self) -> i64 {
        self.settled_ms
    }
}

impl SeriesSet {
    /// As [`Source::glance`], in the series itself.
    fn look(&self, series: u32, after: i64, upto: i64) -> Glance {
        let Some(series) = self.get(series) else {
            return Glance::Nothing;
        };
        if series.native.is_some() {
            return Glance::of(series.newest_point(after, upto));
        }
        let number = series.newest(after, upto);
        number.map_or(Glance::Nothing, |(_, value)| Glance::of_number(value))
    }
}

impl Series {
    /// The numbers in (after, upto].
    fn floats<'a>(&'a self, after: i64, upto: i64, scratch: &'a mut Scratch) -> Samples<'a> {
        let window = self.window(Timestamp::from_ms(after), Timestamp::from_ms(upto));
        if window.closed.is_empty() && self.stale_ms <= after {
            return Samples::Floats {
                times: window.times,
                values: window.values,
            };
        }
        scratch.times.clear();
        scratch.values.clear();
        window.each(|t, v| {
            scratch.times.push(t);
            scratch.values.push(v);
        });
        Samples::Floats {
            times: &scratch.times,
            values: &scratch.values,
        }
    }

    /// The numbers in (after, upto], staleness markers among them.
    fn numbers<'a>(
        &'a self,
        after: i64,
        upto: i64,
        scratch: &'a mut Scratch,
    ) -> (&'a [i64], &'a [f64]) {
        let window = self.window(Timestamp::from_ms(after), Timestamp::from_ms(upto));
        if window.closed.is_empty() {
            return (window.times, window.values);
        }
        scratch.times.clear();
        scratch.values.clear();
        window.each_or_marker(|t, v| {
            scratch.times.push(t);
            scratch.values.push(v);
        });
        (&scratch.times, &scratch.values)
    }

    /// The samples in (after, upto], of whichever kind.
    #[cold]
    fn either<'a>(&'a self, after: i64, upto: i64, scratch: &'a mut Scratch) -> Samples<'a> {
        if self.has_native(after, upto) {
            return self.mixed(after, upto, scratch);
        }
        self.floats(after, upto, scratch)
    }

    /// The newest number in (after, upto], both in milliseconds.
    pub(super) fn newest(&self, after: i64, upto: i64) -> Option<(i64, f64)> {
        if let (Some(t), Some(v)) = (self.times.last(), self.values.last())
            && *t <= upto
            && self.times.len() > self.start()
        {
            return (*t > after).then_some((*t, *v));
        }
        let window = self.window(Timestamp::from_ms(after), Timestamp::from_ms(upto));
        if let (Some(t), Some(v)) = (window.times.last(), window.values.last()) {
            return Some((*t, *v));
        }
        let mut last = None;
        window.each_or_marker(|t, v| last = Some((t, v)));
        last
    }
}
