//! Selectors: the newest sample of each series.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use crate::engine::promql::annotate::Notes;
use crate::engine::promql::column::Column;
use crate::engine::promql::evaluate::Run;
use crate::engine::promql::functions::Yield;
use crate::engine::promql::functions::extended::{interpolated, interpolated_histogram};
use crate::engine::promql::functions::window::{Window, stats_only};
use crate::engine::promql::part::{Node, Select};
use crate::engine::promql::plan::NodeId;
use crate::engine::promql::settings::EvalError;
use crate::engine::promql::source::{Glance, Point, Source, Value};
use crate::model::histogram::{Histogram, ResetHint};

impl<S: Source> Run<'_, S> {
    pub(super) fn newest(
        &mut self,
        id: NodeId,
        select: &Select,
        at: i64,
        out: &mut Column,
    ) -> Result<(), EvalError> {
        self.ws.touched += select.series.len();
        if self.looks_ahead(id, select, self.plan.settings.lookback_ms) {
            return self.newest_ahead(id, select, at, out);
        }
        let upto = select.when.time(at, self.period);
        let after = upto.saturating_sub(self.plan.settings.lookback_ms);
        for (slot, series) in select.series.iter().enumerate() {
            match self.source.glance(*series, after, upto) {
                Glance::Nothing => {}
                Glance::Number(value) => out.put(slot, value),
                Glance::Histogram => self.newest_histogram(select, slot, upto, out),
            }
        }
        Ok(())
    }

    /// Puts the newest sample of a slot's series, which is a histogram.
    #[cold]
    pub(super) fn newest_histogram(
        &mut self,
        select: &Select,
        slot: usize,
        upto: i64,
        out: &mut Column,
    ) {
        let lookback = self.plan.settings.lookback_ms;
        let Some(series) = select.series.get(slot) else {
            return;
        };
        let newest = self
            .source
            .newest(*series, upto.saturating_sub(lookback), upto);
        let Some(point) = live(newest) else {
            return;
        };
        match point.value {
            Value::Float(v) => out.put(slot, v),
            Value::Histogram(h) if select.stats => {
                let h = self.stats(select, *series, lookback, point.ts, &h);
                out.put_histogram(slot, h);
            }
            Value::Histogram(h) => out.put_histogram(slot, h),
        }
    }

    /// Count and sum of a histogram, with what is known of a reset since the one before it. Only these are read where
    /// only these are wanted; then nobody can say later whether buckets fell.
    pub(super) fn stats(
        &mut self,
        select: &Select,
        series: u32,
        back: i64,
        ts: i64,
        h: &Arc<Histogram>,
    ) -> Arc<Histogram> {
        let mut hint = h.hint();
        if hint == ResetHint::Unknown {
            // What a query over time has read before its window counts too.
            let first = select.when.time(self.period.start, self.period);
            let after = first.saturating_sub(back).saturating_sub(1);
            let anew = self.series_window(series, after, ts.saturating_sub(1), |before, _| {
                let before = before.pieces.last()?;
                Some(h.detect_reset(&before.histogram))
            });
            hint = match anew {
                None => ResetHint::Unknown,
                Some(true) => ResetHint::Reset,
                Some(false) => ResetHint::NotReset,
            };
        }
        Arc::new(stats_only(h, hint))
    }

    pub(super) fn timestamp(&mut self, select: &Select, at: i64, out: &mut Column) {
        let upto = select.when.time(at, self.period);
        let after = upto.saturating_sub(self.plan.settings.lookback_ms);
        self.ws.touched += select.series.len();
        for (slot, series) in select.series.iter().enumerate() {
            if let Some(point) = live(self.source.newest(*series, after, upto)) {
                out.put(slot, point.ts as f64 / 1_000.0);
            }
        }
    }

    pub(super) fn start_timestamp(&mut self, select: &Select, at: i64, out: &mut Column) {
        if !self.plan.settings.start_timestamps {
            return;
        }
        let upto = select.when.time(at, self.period);
        let after = upto.saturating_sub(self.plan.settings.lookback_ms);
        self.ws.touched += select.series.len();
        for (slot, series) in select.series.iter().enumerate() {
            if let Some(point) = live(self.source.newest(*series, after, upto)) {
                out.put(slot, point.start_ts.unwrap_or(0) as f64 / 1_000.0);
            }
        }
    }

    /// The value between the samples before and after; the one before it where there is none after.
    pub(super) fn smoothed(
        &mut self,
        node: &Node,
        select: &Select,
        at: i64,
        out: &mut Column,
    ) -> Result<(), EvalError> {
        let time = select.when.time(at, self.period);
        let lookback = self.plan.settings.lookback_ms;
        let (after, upto) = (time.saturating_sub(lookback), time.saturating_add(lookback));
        for (slot, series) in select.series.iter().enumerate() {
            let touched = self.series_window(*series, after, upto, |window, notes| {
                let metric = node
                    .slots
                    .get(slot)
                    .map_or("", |s| s.labels.get("__name__"));
                match smooth(window, time, node.from, metric, notes) {
                    Yield::Nothing => {}
                    Yield::Float(v) => out.put(slot, v),
                    Yield::Histogram(h) => out.put_histogram(slot, h),
                }
                window.len()
            });
            self.ws.touched += touched;
        }
        Ok(())
    }
}

/// A point unless it says that its series has ended.
fn live(point: Option<Point>) -> Option<Point> {
    point.filter(Point::is_live)
}

fn smooth(
    window: Window<'_>,
    time: i64,
    from: crate::engine::promql::annotate::Origin,
    metric: &str,
    notes: &mut Notes,
) -> Yield {
    if window.is_mixed() {
        notes.mixed_floats(from, metric);
        return Yield::Nothing;
    }
    if !window.pieces.is_empty() {
        let next = window.pieces.partition_point(|p| p.ts < time);
        let before = next.checked_sub(1).and_then(|i| window.pieces.get(i));
        return match (before, window.pieces.get(next)) {
            (_, Some(p)) if p.ts == time => Yield::Histogram(p.histogram.clone()),
            (Some(a), Some(b)) if a.histogram.is_custom() != b.histogram.is_custom() => {
                notes.mixed_schemas(from, metric);
                Yield::Nothing
            }
            (Some(a), Some(b)) => {
                let counter = a.histogram.hint() != ResetHint::Gauge
                    || b.histogram.hint() != ResetHint::Gauge;
                match interpolated_histogram(a, b, time, counter, from, notes) {
                    Ok(h) => Yield::Histogram(Arc::new(h)),
                    Err(_) => {
                        notes.mixed_schemas(from, metric);
                        Yield::Nothing
                    }
                }
            }
            // The hint tells of a pair of samples, and this is no pair.
            (Some(a), None) => {
                let mut h = a.histogram.as_ref().clone();
                h.set_hint(ResetHint::Unknown);
                Yield::Histogram(Arc::new(h))
            }
            (None, _) => Yield::Nothing,
        };
    }
    let next = window.times.partition_point(|t| *t < time);
    let get = |i: usize| Some((*window.times.get(i)?, *window.values.get(i)?));
    match (next.checked_sub(1).and_then(get), get(next)) {
        (_, Some((t, v))) if t == time => Yield::Float(v),
        (Some(a), Some(b)) => Yield::Float(interpolated(a, b, time, false)),
        (Some((_, v)), None) => Yield::Float(v),
        (None, _) => Yield::Nothing,
    }
}
