//! Functions over time: for each series its window, and what the function makes of it.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::ops::Range;
use std::sync::Arc;

use crate::engine::promql::annotate::Notes;
use crate::engine::promql::ast::Edges;
use crate::engine::promql::column::Column;
use crate::engine::promql::evaluate::Run;
use crate::engine::promql::functions::rate::{Growth, Kept};
use crate::engine::promql::functions::window::{Split, Window};
use crate::engine::promql::functions::{Ask, RangeFn, Tools, Yield, apply, over_time, rate};
use crate::engine::promql::part::{Doubts, Input, OverTime};
use crate::engine::promql::plan::NodeId;
use crate::engine::promql::settings::EvalError;
use crate::engine::promql::source::{Samples, Scratch, Source, Value, is_stale};
use crate::engine::promql::workspace::Workspace;
use crate::model::histogram::Histogram;
use crate::model::labels::Labels;

/// Whose samples they are, before that is known.
static NO_LABELS: Labels = Labels::new();

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
        id: NodeId,
        over: &OverTime,
        at: i64,
        out: &mut Column,
    ) -> Result<(), EvalError> {
        // The functions of most rules have loops of their own.
        match over.function {
            RangeFn::Rate => self.each_growth(id, over, at, out, true)?,
            RangeFn::Increase => self.each_growth(id, over, at, out, false)?,
            RangeFn::Avg => self.each_window(id, over, at, out, |ask, window, tools| {
                Ok(over_time::avg(ask, window, tools.notes))
            })?,
            _ => self.each_window(id, over, at, out, apply)?,
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
        id: NodeId,
        over: &OverTime,
        at: i64,
        out: &mut Column,
        function: impl Fn(&Ask<'_>, Window<'_>, &mut Tools<'_>) -> Result<Yield, EvalError>,
    ) -> Result<(), EvalError> {
        if let Some((select, range)) = self.windows_ahead(id, over) {
            return self.each_window_ahead(id, (over, select, range), at, out, function);
        }
        self.windows_of(over, 0..over.of.len(), at, out, function)
    }

    /// Applies a function to the windows of some slots.
    #[inline(always)]
    pub(super) fn windows_of(
        &mut self,
        over: &OverTime,
        slots: Range<usize>,
        at: i64,
        out: &mut Column,
        function: impl Fn(&Ask<'_>, Window<'_>, &mut Tools<'_>) -> Result<Yield, EvalError>,
    ) -> Result<(), EvalError> {
        let mut ask = self.ask(over, at);
        let (after, upto) = (ask.start, ask.end);
        if let Input::Steps(subquery) = &over.input {
            self.fill_ring(subquery, after, upto)?;
        }
        let bounds = self.bounds(&over.input, &ask);
        let (source, limit) = (self.source, self.plan.settings.limits.samples);
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
                let all = select.series.iter().enumerate().zip(over.of.iter());
                for ((slot, series), of) in all.take(slots.end).skip(slots.start) {
                    let room = (&mut *scratch, &mut *spare, &mut *split);
                    let window = read(source, *series, &bounds, room, &mut ask);
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

    /// As [`Run::each_window`] for `rate` and `increase`. Of rules, whose windows often hold the same samples from one
    /// evaluation to the next, what was found in them is kept, and then no sample is looked at.
    fn each_growth(
        &mut self,
        id: NodeId,
        over: &OverTime,
        at: i64,
        out: &mut Column,
        per_second: bool,
    ) -> Result<(), EvalError> {
        let source = self.source;
        let kept = over.kept.filter(|place| *place < self.ws.growths.len());
        let (Input::Series { select, .. }, Some(place)) = (&over.input, kept) else {
            return self.each_window(id, over, at, out, |ask, window, tools| {
                Ok(rate::extrapolated(ask, window, true, per_second, tools))
            });
        };
        let mut ask = self.ask(over, at);
        let (after, upto) = (ask.start, ask.end);
        let bounds = self.bounds(&over.input, &ask);
        let limit = self.plan.settings.limits.samples;
        let Workspace {
            scratch,
            spare,
            split,
            notes,
            floats,
            touched,
            growths,
            ..
        } = &mut *self.ws;
        let mut tools = Tools {
            notes,
            floats,
            memo: rate::Memo::default(),
        };
        let Some(kept) = growths.get_mut(place) else {
            return Ok(());
        };
        kept.resize(select.series.len(), Kept::default());
        let slots = select.series.iter().zip(over.of.iter()).zip(kept);
        for (slot, ((series, of), kept)) in slots.enumerate() {
            let head = source.head(*series);
            if let Some(growth) = head.and_then(|head| kept.follow(head, after, upto)) {
                *touched += growth.samples();
                if *touched > limit {
                    return Err(EvalError::samples());
                }
                if let Some(v) = growth.extrapolated(&ask, true, per_second, &mut tools.memo) {
                    out.put(slot, v);
                }
                continue;
            }
            *kept = Kept::default();
            let room = (&mut *scratch, &mut *spare, &mut *split);
            let window = read(source, *series, &bounds, room, &mut ask);
            *touched += window.len();
            if *touched > limit {
                return Err(EvalError::samples());
            }
            ask.labels = &of.labels;
            if !window.is_of_numbers() {
                let growth = rate::extrapolated(&ask, window, true, per_second, &mut tools);
                put(out, slot, growth);
                continue;
            }
            let Some(growth) = Growth::of(&ask, window, true) else {
                continue;
            };
            if let Some(v) = growth.extrapolated(&ask, true, per_second, &mut tools.memo) {
                out.put(slot, v);
            }
            // What lies ahead of the window would enter it without a change.
            if let Some(head) = head
                && head.ms <= upto
            {
                *kept = Kept::new(growth, window, after, head);
            }
        }
        Ok(())
    }

    /// What a function is asked at a time; whose samples they are is not said yet.
    #[inline(always)]
    pub(super) fn ask(&self, over: &OverTime, at: i64) -> Ask<'static> {
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
        Ask {
            function: over.function,
            args,
            at,
            start: after,
            end: upto,
            seconds: range as f64 / 1_000.0,
            edges,
            from: over.args_from,
            labels: &NO_LABELS,
            last_drop: i64::MAX,
        }
    }

    fn bounds(&self, input: &Input, ask: &Ask<'_>) -> Bounds {
        let (from, to) = self.around(ask.edges, ask.start, ask.end);
        let stats = match input {
            Input::Series { select, range, .. } if select.stats => {
                let first = select.when.time(self.period.start, self.period);
                Some(first.saturating_sub(*range).saturating_sub(1))
            }
            Input::Series { .. } | Input::Steps(_) => None,
        };
        Bounds {
            from,
            to,
            after: ask.start,
            starts: self.plan.settings.start_timestamps,
            stats,
        }
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

/// Which samples of a series are read.
struct Bounds {
    /// Later than that.
    from: i64,
    /// Not later than that.
    to: i64,
    /// The window itself begins after that.
    after: i64,
    /// Whether start timestamps count.
    starts: bool,
    /// Where of histograms only count and sum are wanted: the one before the window is looked for from here on.
    stats: Option<i64>,
}

/// The window of a series.
#[inline(always)]
fn read<'w, S: Source>(
    source: &'w S,
    series: u32,
    bounds: &Bounds,
    (scratch, spare, split): (&'w mut Scratch, &mut Scratch, &'w mut Split),
    ask: &mut Ask<'_>,
) -> Window<'w> {
    match source.samples(series, bounds.from, bounds.to, scratch) {
        Samples::Floats { times, values } => {
            ask.last_drop = source.last_drop(series);
            Window {
                times,
                values,
                ..Window::default()
            }
        }
        Samples::Mixed(points) => {
            ask.last_drop = i64::MAX;
            split.fill(points, bounds.starts);
            if let Some(begin) = bounds.stats {
                split.keep_stats(piece_before(source, series, begin, bounds.after, spare));
            }
            split.window()
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
