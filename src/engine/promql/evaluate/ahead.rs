//! Selectors and windows of range queries: the samples of a series are walked through once for many steps, as it is cheaper
//! to stay with one series than to come back to each of them at every step.
//!
//! Only numbers are read ahead. Where there are histograms, they are read at each step as ever.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::engine::promql::ast::Edges;
use crate::engine::promql::column::Column;
use crate::engine::promql::evaluate::Run;
use crate::engine::promql::functions::rate::Memo;
use crate::engine::promql::functions::window::Window;
use crate::engine::promql::functions::{Ask, Tools, Yield};
use crate::engine::promql::part::{Input, OverTime, Select};
use crate::engine::promql::plan::NodeId;
use crate::engine::promql::resolve::classic::constant;
use crate::engine::promql::settings::EvalError;
use crate::engine::promql::source::{Glance, Samples, Source, Steps};
use crate::engine::promql::workspace::{Ahead, Workspace};

/// Values that are read ahead for all parts of a query: 9 MB.
const VALUES_MAX: usize = 1_000_000;
/// How much longer than a window a step may be: to walk past samples that nobody asks for is dearer than to look for others.
const GAP_MAX_MS: i64 = 30 * 60 * 1_000;
/// Steps that are read ahead: rows are written for one series after the other, and must stay in the processor's caches.
const STEPS_MAX: usize = 128;
/// For fewer steps at a time it is not worth it.
const STEPS_MIN: usize = 4;

impl<S: Source> Run<'_, S> {
    /// Whether a selector that looks so far back is read ahead: at the steps of the query, each at its own time.
    pub(super) fn looks_ahead(&self, id: NodeId, select: &Select, back: i64) -> bool {
        let scope = self.plan.node(id).map(|node| node.scope);
        self.step > 0
            && self.step <= back.saturating_add(GAP_MAX_MS)
            && self.period.end > self.period.start
            && scope == Some(0)
            && select.when.at.is_none()
            && self.room_ahead(select.series.len()) >= STEPS_MIN
    }

    /// For how many steps there is room: all parts that may read ahead share it.
    fn room_ahead(&self, slots: usize) -> usize {
        let all = slots.saturating_mul(self.plan.readers).max(1);
        (VALUES_MAX / all).min(STEPS_MAX)
    }

    /// The selector and the range of a function whose windows are read ahead.
    #[inline(always)]
    pub(super) fn windows_ahead<'o>(
        &self,
        id: NodeId,
        over: &'o OverTime,
    ) -> Option<(&'o Select, i64)> {
        match &over.input {
            Input::Series {
                select,
                range,
                edges: Edges::Plain,
            } if self.looks_ahead(id, select, *range)
                && !select.stats
                && over.args.iter().all(|a| constant(a).is_some()) =>
            {
                Some((select, *range))
            }
            Input::Series { .. } | Input::Steps(_) => None,
        }
    }

    /// Fills a column with the newest sample of each series.
    pub(super) fn newest_ahead(
        &mut self,
        id: NodeId,
        select: &Select,
        at: i64,
        out: &mut Column,
    ) -> Result<(), EvalError> {
        let place = match self.place_ahead(id, at) {
            Some(place) => place,
            None => {
                self.read_ahead(id, select, at)?;
                0
            }
        };
        let upto = select.when.time(at, self.period);
        let ahead = self.ws.ahead.get(id as usize);
        for slot in ahead.map_or_else(Vec::new, |a| a.copy(place, out)) {
            self.newest_histogram(select, slot, upto, out);
        }
        Ok(())
    }

    /// Applies a function to the window of each series.
    #[inline(always)]
    pub(super) fn each_window_ahead(
        &mut self,
        id: NodeId,
        (over, select, range): (&OverTime, &Select, i64),
        at: i64,
        out: &mut Column,
        function: impl Fn(&Ask<'_>, Window<'_>, &mut Tools<'_>) -> Result<Yield, EvalError>,
    ) -> Result<(), EvalError> {
        let place = match self.place_ahead(id, at) {
            Some(place) => place,
            None => {
                self.read_windows_ahead(id, (over, select, range), at, &function)?;
                0
            }
        };
        let Some(ahead) = self.ws.ahead.get(id as usize) else {
            return Ok(());
        };
        let mixed = ahead.copy(place, out);
        self.ws.touched += ahead.touched.get(place).copied().unwrap_or(0);
        for slot in mixed {
            self.windows_of(over, slot..slot + 1, at, out, &function)?;
        }
        Ok(())
    }

    /// Where a step is among those that have been read ahead for a part.
    fn place_ahead(&mut self, id: NodeId, at: i64) -> Option<usize> {
        let id = id as usize;
        if self.ws.ahead.len() <= id {
            self.ws.ahead.resize_with(id + 1, Ahead::default);
        }
        self.ws.ahead.get(id)?.steps.place(at)
    }

    /// The steps that are read ahead, from one on.
    fn steps_ahead(&self, at: i64, slots: usize) -> Steps {
        let left = self.period.end.saturating_sub(at).checked_div(self.step);
        let left = left.and_then(|n| usize::try_from(n).ok()).unwrap_or(0) + 1;
        Steps {
            first: at,
            step: self.step,
            count: left.min(self.room_ahead(slots)).max(1),
        }
    }

    fn read_ahead(&mut self, id: NodeId, select: &Select, at: i64) -> Result<(), EvalError> {
        let slots = select.series.len();
        let steps = self.steps_ahead(at, slots);
        let lookback = self.plan.settings.lookback_ms;
        let looked = Steps {
            first: select.when.time(at, self.period),
            ..steps
        };
        let Workspace { ahead, scratch, .. } = &mut *self.ws;
        let Some(ahead) = ahead.get_mut(id as usize) else {
            return Ok(());
        };
        ahead.begin(steps, slots);
        for (slot, series) in select.series.iter().enumerate() {
            self.plan.settings.go_on()?;
            let take = |place: usize, glance| match glance {
                Glance::Nothing => {}
                Glance::Number(value) => ahead.put(place * slots + slot, value),
                Glance::Histogram => ahead.put_histogram(place * slots + slot),
            };
            self.source
                .glances(*series, looked, lookback, scratch, take);
        }
        Ok(())
    }

    #[inline(always)]
    fn read_windows_ahead(
        &mut self,
        id: NodeId,
        (over, select, range): (&OverTime, &Select, i64),
        at: i64,
        function: impl Fn(&Ask<'_>, Window<'_>, &mut Tools<'_>) -> Result<Yield, EvalError>,
    ) -> Result<(), EvalError> {
        let slots = select.series.len();
        let steps = self.steps_ahead(at, slots);
        let mut ask = self.ask(over, at);
        let begin = ask.start;
        let ends = Steps {
            first: ask.end,
            ..steps
        };
        let (source, settings) = (self.source, &self.plan.settings);
        let Workspace {
            ahead,
            scratch,
            notes,
            floats,
            ..
        } = &mut *self.ws;
        let Some(ahead) = ahead.get_mut(id as usize) else {
            return Ok(());
        };
        ahead.begin(steps, slots);
        let mut tools = Tools {
            notes,
            floats,
            memo: Memo::default(),
        };
        // Of one step the windows of all series are often extrapolated alike.
        let mut memos = vec![Memo::default(); steps.count];
        for ((slot, series), of) in select.series.iter().enumerate().zip(over.of.iter()) {
            settings.go_on()?;
            let samples = source.samples(*series, begin, ends.last(), scratch);
            let Samples::Floats { times, values } = samples else {
                (0..steps.count).for_each(|place| ahead.put_histogram(place * slots + slot));
                continue;
            };
            (ask.labels, ask.last_drop) = (&of.labels, source.last_drop(*series));
            let (mut from, mut to) = (0, 0);
            let places = steps.times().zip(ends.times()).zip(&mut memos).enumerate();
            for (place, ((at, upto), memo)) in places {
                let after = upto.saturating_sub(range);
                while times.get(to).is_some_and(|t| *t <= upto) {
                    to += 1;
                }
                while from < to && times.get(from).is_some_and(|t| *t <= after) {
                    from += 1;
                }
                let (Some(times @ [_, ..]), Some(values)) =
                    (times.get(from..to), values.get(from..to))
                else {
                    continue;
                };
                if let Some(touched) = ahead.touched.get_mut(place) {
                    *touched += times.len();
                    if *touched > settings.limits.samples {
                        return Err(EvalError::samples());
                    }
                }
                (ask.at, ask.start, ask.end, tools.memo) = (at, after, upto, *memo);
                let window = Window {
                    times,
                    values,
                    ..Window::default()
                };
                match function(&ask, window, &mut tools)? {
                    Yield::Nothing => {}
                    Yield::Float(value) => ahead.put(place * slots + slot, value),
                    Yield::Histogram(_) => ahead.put_histogram(place * slots + slot),
                }
                *memo = tools.memo;
            }
        }
        Ok(())
    }
}
