//! Subqueries: a part at steps of its own, kept in a ring for as long as steps follow each other; and windows as such.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::engine::promql::ast::Edges;
use crate::engine::promql::evaluate::{Run, column};
use crate::engine::promql::functions::extended::extended;
use crate::engine::promql::functions::window::Window;
use crate::engine::promql::part::{Input, Subquery};
use crate::engine::promql::settings::EvalError;
use crate::engine::promql::source::{Point, Source, Value};

impl<S: Source> Run<'_, S> {
    /// Makes the ring of a subquery hold the values of its steps in (after, upto].
    pub(super) fn fill_ring(
        &mut self,
        subquery: &Subquery,
        after: i64,
        upto: i64,
    ) -> Result<(), EvalError> {
        let step = subquery.step.max(1);
        let first = after
            .div_euclid(step)
            .saturating_add(1)
            .saturating_mul(step);
        let slots = self.plan.node(subquery.inner).map_or(0, |n| n.slots.len());
        self.check_fixed(subquery, first, upto)?;
        let Some(ring) = self.ws.rings.get_mut(subquery.ring) else {
            return Ok(());
        };
        if first > upto {
            ring.clear();
            return Ok(());
        }
        let mut ring = std::mem::take(ring);
        let next = ring.begin(first, step, slots);
        let instant = self.instant;
        self.instant = instant && first.saturating_add(step) > upto;
        let mut result = Ok(());
        let mut ts = next;
        while ts <= upto {
            result = self.scope(subquery.first, subquery.scope, ts);
            self.ws.touched += 1 + column(self.ws, subquery.inner).weight();
            if result.is_err() {
                break;
            }
            let values = column(self.ws, subquery.inner);
            for (slot, sample) in values.samples() {
                if let Some(row) = ring.rows.get_mut(slot) {
                    row.push(ts, sample);
                }
            }
            let begun = ring.span.map_or(ts, |(first, _)| first);
            ring.span = Some((begun, ts));
            ts = ts.saturating_add(step);
        }
        self.instant = instant;
        if result.is_err() {
            ring.clear();
        }
        if let Some(place) = self.ws.rings.get_mut(subquery.ring) {
            *place = ring;
        }
        result
    }

    /// What does not depend on time touches no sample in a step, but leaves one: how many is known before the first.
    fn check_fixed(&self, subquery: &Subquery, first: i64, upto: i64) -> Result<(), EvalError> {
        let inner = self.plan.node(subquery.inner).filter(|n| n.fixed);
        let steps = upto.saturating_sub(first) / subquery.step.max(1) + 1;
        let steps = usize::try_from(steps).unwrap_or(0);
        let samples = inner.map_or(0, |n| steps.saturating_mul(n.slots.len().max(1)));
        if samples > self.plan.settings.limits.samples {
            return Err(EvalError::samples());
        }
        Ok(())
    }

    /// The samples of windows, as the result of a query.
    pub(super) fn windows(&mut self, input: &Input, at: i64) -> Result<(), EvalError> {
        let mut all = std::mem::take(&mut self.ws.windows);
        all.clear();
        match input {
            Input::Series {
                select,
                range,
                edges,
            } => {
                let upto = select.when.time(at, self.period);
                let after = upto.saturating_sub(*range);
                let (from, to) = self.around(*edges, after, upto);
                for series in &select.series {
                    let points =
                        self.series_window(*series, from, to, |window, _| match edges {
                            Edges::Plain => Ok(points(window)),
                            Edges::Anchored => {
                                floats_only(&window, "anchored")?;
                                Ok(extended(window, after, upto, false))
                            }
                            Edges::Smoothed => {
                                floats_only(&window, "smoothed")?;
                                Ok(extended(window, after, upto, true))
                            }
                        })?;
                    self.ws.touched += points.len();
                    if self.ws.touched > self.plan.settings.limits.samples {
                        return Err(EvalError::samples());
                    }
                    all.push(points);
                }
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
                all.extend(rows.iter().map(|r| points(r.window(after, upto))));
            }
        }
        self.ws.windows = all;
        Ok(())
    }
}

fn points(window: Window<'_>) -> Vec<Point> {
    window
        .merged()
        .map(|s| Point {
            ts: s.ts,
            start_ts: (s.start != 0).then_some(s.start),
            value: match s.histogram {
                Some(h) => Value::Histogram(h.clone()),
                None => Value::Float(s.value),
            },
        })
        .collect()
}

/// Ends between samples are made of numbers alone where the samples themselves are the result.
fn floats_only(window: &Window<'_>, modifier: &str) -> Result<(), EvalError> {
    if window.pieces.is_empty() {
        return Ok(());
    }
    Err(EvalError::execution(format!(
        "{modifier} modifier is not supported with histograms"
    )))
}
