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
use crate::engine::promql::functions::{Ask, Tools, Yield, apply};
use crate::engine::promql::plan::{Doubts, Input, Node, OverTime};
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
        node: &Node,
        over: &OverTime,
        at: i64,
        out: &mut Column,
    ) -> Result<(), EvalError> {
        let mut args = [0.0; 2];
        for (value, scalar) in args.iter_mut().zip(&over.args) {
            *value = self.scalar(scalar, at)?;
        }
        let (upto, range, edges) = match &over.input {
            Input::Series {
                select,
                range,
                edges,
            } => (select.when.time(at, self.period), *range, *edges),
            Input::Steps(subquery) => (
                subquery.when.time(at, self.period),
                subquery.range,
                Edges::Plain,
            ),
        };
        let after = upto.saturating_sub(range);
        let mut ask = Ask {
            function: over.function,
            args,
            at,
            start: after,
            end: upto,
            range,
            edges,
            from: over.args_from,
            labels: &Labels::new(),
            last_drop: i64::MAX,
        };
        match &over.input {
            Input::Series { select, .. } => {
                let lookback = self.plan.settings.lookback_ms;
                let (after, upto) = match edges {
                    Edges::Plain => (after, upto),
                    Edges::Anchored => (after.saturating_sub(lookback), upto),
                    Edges::Smoothed => (
                        after.saturating_sub(lookback),
                        upto.saturating_add(lookback),
                    ),
                };
                let (limit, starts) = (
                    self.plan.settings.limits.samples,
                    self.plan.settings.start_timestamps,
                );
                let source = self.source;
                let Workspace {
                    scratch,
                    split,
                    notes,
                    floats,
                    touched,
                    spare,
                    ..
                } = &mut *self.ws;
                let mut tools = Tools { notes, floats };
                for ((slot, series), of) in select.series.iter().enumerate().zip(node.slots.iter())
                {
                    let window = match source.samples(*series, after, upto, scratch) {
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
                                let first = select.when.time(self.period.start, self.period);
                                let from = first.saturating_sub(range).saturating_sub(1);
                                let before = piece_before(source, *series, from, after, spare);
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
                    put(out, slot, apply(&ask, window, &mut tools)?);
                }
            }
            Input::Steps(subquery) => {
                self.fill_ring(subquery, after, upto)?;
                let Workspace {
                    rings,
                    notes,
                    floats,
                    ..
                } = &mut *self.ws;
                let mut tools = Tools { notes, floats };
                let rows = rings.get(subquery.ring).map_or(&[][..], |r| &r.rows);
                for ((slot, row), of) in rows.iter().enumerate().zip(node.slots.iter()) {
                    let window = row.window(after, upto);
                    if window.is_empty() {
                        continue;
                    }
                    ask.labels = &of.labels;
                    put(out, slot, apply(&ask, window, &mut tools)?);
                }
            }
        }
        if let Some(doubts) = &over.doubts {
            self.doubt(over, doubts, out);
        }
        Ok(())
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
