//! Selectors of range queries: the samples of a series are walked through once for many steps, as it is cheaper to stay
//! with one series than to come back to each of them at every step.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::engine::promql::column::{Column, Kind};
use crate::engine::promql::evaluate::Run;
use crate::engine::promql::part::Select;
use crate::engine::promql::plan::NodeId;
use crate::engine::promql::source::{Glance, Source, Steps};
use crate::engine::promql::workspace::{Ahead, Workspace};

/// Values that are read ahead for one selector: 9 MB.
const VALUES_MAX: usize = 1_000_000;
/// Steps that are read ahead: rows are written for one series after the other, and must stay in the processor's caches.
const STEPS_MAX: usize = 128;
/// For fewer steps at a time it is not worth it.
const STEPS_MIN: usize = 4;

impl<S: Source> Run<'_, S> {
    /// Whether a selector is read ahead: at the steps of the query, each at its own time.
    pub(super) fn looks_ahead(&self, id: NodeId, select: &Select) -> bool {
        let scope = self.plan.node(id).map(|node| node.scope);
        self.step > 0
            && self.period.end > self.period.start
            && scope == Some(0)
            && select.when.at.is_none()
            && select.series.len().saturating_mul(STEPS_MIN) <= VALUES_MAX
    }

    /// Fills a column with the newest sample of each series, from what was read ahead.
    pub(super) fn newest_ahead(&mut self, id: NodeId, select: &Select, at: i64, out: &mut Column) {
        let (id, slots) = (id as usize, select.series.len());
        if self.ws.ahead.len() <= id {
            self.ws.ahead.resize_with(id + 1, Ahead::default);
        }
        let known = self.ws.ahead.get(id).and_then(|a| a.steps.place(at));
        let place = known.unwrap_or_else(|| {
            self.read_ahead(id, select, at);
            0
        });
        let Some(ahead) = self.ws.ahead.get(id) else {
            return;
        };
        let row = place * slots..(place + 1) * slots;
        if let (Some(kinds), Some(values)) = (ahead.kinds.get(row.clone()), ahead.values.get(row)) {
            out.kinds.copy_from_slice(kinds);
            out.values.copy_from_slice(values);
        }
        if ahead.histograms {
            let upto = select.when.time(at, self.period);
            for slot in 0..slots {
                if out.kinds.get(slot) == Some(&Kind::Histogram) {
                    self.newest_histogram(select, slot, upto, out);
                }
            }
        }
    }

    /// Reads ahead from a step on.
    fn read_ahead(&mut self, id: usize, select: &Select, at: i64) {
        let slots = select.series.len();
        let left = self.period.end.saturating_sub(at).checked_div(self.step);
        let left = left.and_then(|n| usize::try_from(n).ok()).unwrap_or(0) + 1;
        let steps = Steps {
            first: at,
            step: self.step,
            count: left.min(VALUES_MAX / slots.max(1)).clamp(1, STEPS_MAX),
        };
        let lookback = self.plan.settings.lookback_ms;
        let Workspace { ahead, scratch, .. } = &mut *self.ws;
        let Some(ahead) = ahead.get_mut(id) else {
            return;
        };
        (ahead.steps, ahead.histograms) = (steps, false);
        ahead.kinds.clear();
        ahead.kinds.resize(steps.count * slots, Kind::Absent);
        ahead.values.resize(steps.count * slots, 0.0);
        let looked = Steps {
            first: select.when.time(at, self.period),
            ..steps
        };
        for (slot, series) in select.series.iter().enumerate() {
            self.source
                .glances(*series, looked, lookback, scratch, |place, glance| {
                    let cell = place * slots + slot;
                    let (Some(kind), Some(value)) =
                        (ahead.kinds.get_mut(cell), ahead.values.get_mut(cell))
                    else {
                        return;
                    };
                    match glance {
                        Glance::Nothing => {}
                        Glance::Number(v) => (*kind, *value) = (Kind::Float, v),
                        Glance::Histogram => {
                            *kind = Kind::Histogram;
                            ahead.histograms = true;
                        }
                    }
                });
        }
    }
}
