//! Functions over time: for each series its window, and what the function makes of it.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use crate::engine::promql::annotate::Notes;
use crate::engine::promql::ast::Edges;
use crate::engine::promql::column::Column;
use crate::engine::promql::evaluate::Run;
use crate::engine::promql::functions::window::Window;
use crate::engine::promql::functions::{Ask, RangeFn, Tools, Yield, apply, over_time, rate};
use crate::engine::promql::part::{Doubts, Input, OverTime};
use crate::engine::promql::settings::EvalError;
use crate::engine::promql::source::{Samples, Scratch, Source, Value, is_stale};
use crate::engine::promql::workspace::Workspace;
use crate::model::histogram::Histogram;
use crate::model::labels::Labels;

impl<S: Source> Run<'_, S> {
    /// The samples of a series in (after, upto].
    pub(super) fn series_window<R>(
        &mut self,
        series: u32,
        after: i64,
        upto: i64,
        with: impl FnOnce(Window<'_>, &mut Notes) -> R,
    ) -> R {
        let Workspace {
            scratch,
            split,
            notes,
            ..
        } = &mut *self.ws;
        match self.source.samples(series, after, upto, scratch) {
            Samples::Floats { times, values } => {
                let window = Window {
                    times,
                    values,
                    ..Window::default()
                };
                with(window, notes)
            }
            Samples::Mixed(points) => {
                split.fill(points, self.plan.settings.start_timestamps);
                with(split.window(), notes)
            }
        }
    }

    pub(super) fn over_time(
        &mut self,
        over: &OverTime,
        at: i64,
        out: &mut Column,
    ) -> Result<(), EvalError> {
        // The functions of most rules have loops of their own.
        match over.function {
            RangeFn::Rate => self.each_window(over, at, out, |ask, window, tools| {
                Ok(rate::extrapolated(ask, window, true, true, tools))
            })?,
            RangeFn::Increase => self.each_window(over, at, out, |ask, window, tools| {
                Ok(rate::extrapolated(ask, window, true, false, tools))
            })?,
            RangeFn::Avg => self.each_window(over, at, out, |ask, window, tools| {
                Ok(over_time::avg(ask, window, tools.notes))
            })?,
            _ => self.each_window(over, at, out, apply)?,
        }
        if let Some(doubts) = &over.doubts {
            self.doubt(over, doubts, out);
        }
        Ok(())
    }

    /// Applies a function to the window of each slot that has a sample in it.
    #[inline(always)]
    fn each_window(
        &mut self,
        over: &OverTime,
        at: i64,
        out: &mut Column,
        function: impl Fn(&Ask<'_>, Window<'_>, &mut Tools<'_>) -> Result<Yield, EvalError>,
    ) -> Result<(), EvalError> {
        let mut args = [0.0; 2];
        for (value, scalar) in args.iter_mut().zip(&over.args) {
            *value = self.scalar(scalar, at);
        }
        let (when, range, edges) = match &over.input {
            Input::Series {
                select,
                range,
                edges,
            } => (select.when, *range, *edges),
            Input::Steps(subquery) => (subquery.when, subquery.range, Edges::Plain),
        };
        let upto = when.time(at, self.period);
        let after = upto.saturating_sub(range);
        let mut ask = Ask {
            function: over.function,
            args,
            at,
            start: after,
            end: upto,
            seconds: range as f64 / 1_000.0,
            edges,
            from: over.args_from,
            labels: &Labels::new(),
            last_drop: i64::MAX,
        };
        let (from, to) = self.around(edges, after, upto);
        if let Input::Steps(subquery) = &over.input {
            self.fill_ring(subquery, after, upto)?;
        }
        let (limit, starts) = (
            self.plan.settings.limits.samples,
            self.plan.settings.start_timestamps,
        );
        let source = self.source;
        let Workspace {
            scratch,
            spare,
            split,
            rings,
            notes,
            floats,
            touched,
            ..
        } = &mut *self.ws;
        let mut tools = Tools {
            notes,
            floats,
            memo: rate::Memo::default(),
        };
        match &over.input {
            Input::Series { select, .. } => {
                for ((slot, series), of) in select.series.iter().enumerate().zip(over.of.iter()) {
                    let window = match source.samples(*series, from, to, scratch) {
                        Samples::Floats { times, values } => {
                            ask.last_drop = source.last_drop(*series);
                            Window {
                                times,
                                values,
                                ..Window::default()
                            }
                        }
                        Samples::Mixed(points) => {
                            ask.last_drop = i64::MAX;
                            split.fill(points, starts);
                            if select.stats {
                                let first = when.time(self.period.start, self.period);
                                let begin = first.saturating_sub(range).saturating_sub(1);
                                let before = piece_before(source, *series, begin, after, spare);
                                split.keep_stats(before);
                            }
                            split.window()
                        }
                    };
                    if window.is_empty() {
                        continue;
                    }
                    *touched += window.len();
                    if *touched > limit {
                        return Err(EvalError::samples());
                    }
                    ask.labels = &of.labels;
                    put(out, slot, function(&ask, window, &mut tools)?);
                }
            }
            Input::Steps(subquery) => {
                let rows = rings.get(subquery.ring).map_or(&[][..], |r| &r.rows);
                for ((slot, row), of) in rows.iter().enumerate().zip(over.of.iter()) {
                    let window = row.window(after, upto);
                    if window.is_empty() {
                        continue;
                    }
                    ask.labels = &of.labels;
                    put(out, slot, function(&ask, window, &mut tools)?);
                }
            }
        }
        Ok(())
    }

    /// Which samples are read for a window (after, upto]: with such ends more than lie in it.
    pub(super) fn around(&self, edges: Edges, after: i64, upto: i64) -> (i64, i64) {
        let lookback = self.plan.settings.lookback_ms;
        match edges {
            Edges::Plain => (after, upto),
            Edges::Anchored => (after.saturating_sub(lookback), upto),
            Edges::Smoothed => (
                after.saturating_sub(lookback),
                upto.saturating_add(lookback),
            ),
        }
    }

    /// Says of which metrics with a result it is doubted that they are counters.
    fn doubt(&mut self, over: &OverTime, doubts: &Doubts, out: &Column) {
        use crate::engine::promql::column::Kind;
        for (i, (metric, kind)) in (0_u32..).zip(&doubts.metrics) {
            let concerned = doubts
                .of_slot
                .iter()
                .zip(&out.kinds)
                .any(|(of, k)| *of == i && *k == Kind::Float);
            if concerned && self.plan.settings.type_and_unit_labels {
                self.ws
                    .notes
                    .maybe_no_counter_type(over.args_from, metric, kind);
            } else if concerned {
                self.ws.notes.maybe_no_counter(over.args_from, metric);
            }
        }
    }

    /// Whether there is any sample in a window.
    pub(super) fn any_sample(&mut self, input: &Input, at: i64) -> Result<bool, EvalError> {
        match input {
            Input::Series { select, range, .. } => {
                let upto = select.when.time(at, self.period);
                let after = upto.saturating_sub(*range);
                self.ws.touched += select.series.len();
                for series in &select.series {
                    if self.series_window(*series, after, upto, |w, _| !w.is_empty()) {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Input::Steps(subquery) => {
                let upto = subquery.when.time(at, self.period);
                let after = upto.saturating_sub(subquery.range);
                self.fill_ring(subquery, after, upto)?;
                let rows = self
                    .ws
                    .rings
                    .get(subquery.ring)
                    .map_or(&[][..], |r| &r.rows);
                Ok(rows.iter().any(|r| !r.window(after, upto).is_empty()))
            }
        }
    }
}

/// The newest histogram of a series in (after, upto].
#[cold]
fn piece_before<S: Source>(
    source: &S,
    series: u32,
    after: i64,
    upto: i64,
    scratch: &mut Scratch,
) -> Option<Arc<Histogram>> {
    let Samples::Mixed(points) = source.samples(series, after, upto, scratch) else {
        return None;
    };
    points.iter().rev().find_map(|p| match &p.value {
        Value::Histogram(h) if !is_stale(h.sum()) => Some(h.clone()),
        Value::Histogram(_) | Value::Float(_) => None,
    })
}

#[inline(always)]
fn put(out: &mut Column, slot: usize, value: Yield) {
    match value {
        Yield::Nothing => {}
        Yield::Float(v) => out.put(slot, v),
        Yield::Histogram(h) => out.put_histogram(slot, h),
    }
}
