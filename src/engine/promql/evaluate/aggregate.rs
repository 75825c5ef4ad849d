//! Aggregations with one value for each group, and `count_values`.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use crate::engine::promql::annotate::{Deed, Notes, Origin};
use crate::engine::promql::ast::Aggregation;
use crate::engine::promql::column::{Column, Kind, Sample};
use crate::engine::promql::evaluate::{Run, column};
use crate::engine::promql::functions::native::{Hints, written};
use crate::engine::promql::functions::over_time::quantile;
use crate::engine::promql::number::plain;
use crate::engine::promql::part::{CountValues, Gather, Node};
use crate::engine::promql::plan::Slot;
use crate::engine::promql::settings::EvalError;
use crate::engine::promql::source::Source;
use crate::engine::promql::workspace::{Group, Workspace};
use crate::model::histogram::sum::{Mean, Sum};
use crate::model::histogram::{Histogram, Incompatible};
use crate::model::labels::Labels;
use crate::model::number::kahan;

impl<S: Source> Run<'_, S> {
    pub(super) fn gather(
        &mut self,
        node: &Node,
        gather: &Gather,
        at: i64,
        out: &mut Column,
    ) -> Result<(), EvalError> {
        let param = self.scalar(&gather.param, at);
        let slots = self.plan.node(gather.of).map_or(&[][..], |n| &n.slots);
        let Workspace {
            columns,
            groups,
            notes,
            floats,
            marks,
            ..
        } = &mut *self.ws;
        let Some(of) = columns.get(gather.of as usize) else {
            return Ok(());
        };
        if of.mixed {
            match gather.op {
                Aggregation::Sum | Aggregation::Avg => {
                    groups.clear();
                    groups.resize(node.slots.len(), Group::default());
                    mixed_gather(gather, of, slots, groups, notes, out);
                    return Ok(());
                }
                Aggregation::Count | Aggregation::Group => {}
                op => notes.ignored_in_aggregation(gather.of_from, op.name()),
            }
        }
        groups.clear();
        groups.resize(node.slots.len(), Group::default());
        if gather.op == Aggregation::Quantile {
            notes.quantile_of_aggregation(gather.param_from, param);
            quantiles(gather, of, param, floats, marks, out);
            return Ok(());
        }
        if of.order.is_empty() {
            let all = of.kinds.iter().zip(&of.values).zip(&gather.group_of);
            for ((kind, value), group) in all {
                if *kind != Kind::Absent
                    && let Some(group) = groups.get_mut(*group as usize)
                {
                    take(gather.op, group, *kind, *value);
                }
            }
        } else {
            for slot in of.present() {
                let (Some(kind), Some(value), Some(group)) = (
                    of.kinds.get(slot),
                    of.values.get(slot),
                    gather.group_of.get(slot),
                ) else {
                    continue;
                };
                if let Some(group) = groups.get_mut(*group as usize) {
                    take(gather.op, group, *kind, *value);
                }
            }
        }
        for (slot, group) in groups.iter().enumerate() {
            if group.seen {
                out.put(slot, result(gather.op, group));
            }
        }
        Ok(())
    }

    pub(super) fn count_values(
        &mut self,
        count: &CountValues,
        out: &mut Column,
    ) -> Result<(), EvalError> {
        let slots = self
            .plan
            .node(count.of)
            .map(|n| n.slots.clone())
            .unwrap_or_else(|| Arc::from([]));
        let mut keys: Vec<Labels> = Vec::new();
        for (slot, sample) in column(self.ws, count.of).samples() {
            let value = match sample {
                Sample::Float(v) => plain(v),
                Sample::Histogram(h) => written(h),
            };
            if let Some(Slot { labels, .. }) = slots.get(slot) {
                let labels = labels.as_ref().clone().with(&count.label, &value);
                keys.push(count.grouping.of(&labels));
            }
        }
        for key in keys {
            if let Some(slot) = self.dynamic(count.table, key) {
                let before = match out.get(slot) {
                    Some(Sample::Float(v)) => v,
                    Some(Sample::Histogram(_)) | None => 0.0,
                };
                out.put(slot, before + 1.0);
            }
        }
        Ok(())
    }
}

/// Takes a value into its group.
#[inline(always)]
fn take(op: Aggregation, group: &mut Group, kind: Kind, v: f64) {
    let first = !group.seen;
    match op {
        Aggregation::Count => {
            group.seen = true;
            group.count += 1.0;
            return;
        }
        Aggregation::Group => {
            group.seen = true;
            return;
        }
        _ if kind == Kind::Histogram => return,
        _ => group.seen = true,
    }
    group.count += 1.0;
    match op {
        Aggregation::Sum if first => group.value = v,
        Aggregation::Sum => (group.value, group.lost) = kahan(v, group.value, group.lost),
        Aggregation::Avg if first => group.value = v,
        Aggregation::Avg => mean(group, v),
        Aggregation::Min if first || v < group.value || group.value.is_nan() => group.value = v,
        Aggregation::Max if first || v > group.value || group.value.is_nan() => group.value = v,
        Aggregation::Stddev | Aggregation::Stdvar if first => {
            group.mean = v;
            group.value = if v.is_finite() { 0.0 } else { f64::NAN };
        }
        Aggregation::Stddev | Aggregation::Stdvar => {
            let delta = v - group.mean;
            group.mean += delta / group.count;
            group.value += delta * (v - group.mean);
        }
        _ => {}
    }
}

/// The direct mean for as long as the sum is finite, the incremental one from then on.
#[inline(always)]
fn mean(group: &mut Group, v: f64) {
    if !group.incremental {
        let (sum, lost) = kahan(v, group.value, group.lost);
        if !sum.is_infinite() {
            (group.value, group.lost) = (sum, lost);
            return;
        }
        group.incremental = true;
        group.mean = group.value / (group.count - 1.0);
        group.lost /= group.count - 1.0;
    }
    let q = (group.count - 1.0) / group.count;
    (group.mean, group.lost) = kahan(v / group.count, q * group.mean, q * group.lost);
}

#[inline(always)]
fn result(op: Aggregation, group: &Group) -> f64 {
    match op {
        Aggregation::Sum => group.value + group.lost,
        Aggregation::Avg if group.incremental => group.mean + group.lost,
        Aggregation::Avg => group.value / group.count + group.lost / group.count,
        Aggregation::Count => group.count,
        Aggregation::Group => 1.0,
        Aggregation::Stdvar => group.value / group.count,
        Aggregation::Stddev => (group.value / group.count).sqrt(),
        _ => group.value,
    }
}

/// The quantile of each group: numbers are laid out group by group first.
fn quantiles(
    gather: &Gather,
    of: &Column,
    q: f64,
    floats: &mut Vec<f64>,
    ends: &mut Vec<u32>,
    out: &mut Column,
) {
    let groups = out.kinds.len();
    ends.clear();
    ends.resize(groups + 1, 0);
    let numbers = || {
        of.kinds
            .iter()
            .zip(&of.values)
            .zip(&gather.group_of)
            .filter(|((k, _), _)| **k == Kind::Float)
            .map(|((_, v), g)| (*v, *g as usize))
    };
    for (_, group) in numbers() {
        if let Some(n) = ends.get_mut(group + 1) {
            *n += 1;
        }
    }
    let mut total = 0;
    for end in ends.iter_mut() {
        total += *end;
        *end = total;
    }
    floats.clear();
    floats.resize(total as usize, 0.0);
    // Each group's begin moves to its end while it is filled.
    for (v, group) in numbers() {
        if let Some(next) = ends.get_mut(group) {
            if let Some(place) = floats.get_mut(*next as usize) {
                *place = v;
            }
            *next += 1;
        }
    }
    let mut begin = 0;
    for (group, end) in ends.iter().take(groups).enumerate() {
        let end = *end as usize;
        if let Some(values) = floats.get_mut(begin..end)
            && !values.is_empty()
        {
            out.put(group, quantile(q, values));
        }
        begin = end;
    }
}

/// The histograms of a group.
#[derive(Clone, Debug)]
enum Gathered {
    Sum(Sum),
    Mean(Mean),
}

/// A group in which there are histograms.
#[derive(Clone, Debug, Default)]
struct Mix {
    floats: bool,
    histograms: bool,
    /// What the histograms yield, if the first of the group was one.
    gathered: Option<Box<Gathered>>,
    hints: Hints,
    /// Only some have custom bounds: there is no value.
    unfit: bool,
}

#[cold]
fn mixed_gather(
    gather: &Gather,
    of: &Column,
    slots: &[Slot],
    groups: &mut [Group],
    notes: &mut Notes,
    out: &mut Column,
) {
    let mut mixes: Vec<Mix> = vec![Mix::default(); groups.len()];
    let from = gather.of_from;
    for (slot, sample) in of.samples() {
        let Some(group) = gather.group_of.get(slot) else {
            continue;
        };
        let (Some(mix), Some(group)) = (
            mixes.get_mut(*group as usize),
            groups.get_mut(*group as usize),
        ) else {
            continue;
        };
        if mix.unfit {
            continue;
        }
        match sample {
            Sample::Float(v) => {
                mix.floats = true;
                take(gather.op, group, Kind::Float, v);
            }
            Sample::Histogram(h) => {
                let metric = slots.get(slot).map_or("", |s| s.labels.get("__name__"));
                mix.take(gather.op, h, from, metric, notes);
            }
        }
    }
    for (slot, (mix, group)) in mixes.iter().zip(groups.iter()).enumerate() {
        if mix.floats && mix.histograms {
            notes.mixed_floats_in_aggregation(from);
        } else if mix.floats {
            out.put(slot, result(gather.op, group));
        } else if let (Some(gathered), false) = (&mix.gathered, mix.unfit) {
            let value = match gathered.as_ref() {
                Gathered::Sum(sum) => sum.value(),
                Gathered::Mean(mean) => mean.value(),
            };
            out.put_histogram(slot, Arc::new(value));
            mix.hints.tell_resets(from, notes);
        }
    }
}

impl Mix {
    fn take(
        &mut self,
        op: Aggregation,
        h: &Histogram,
        from: Origin,
        metric: &str,
        notes: &mut Notes,
    ) {
        let first = !self.floats && !self.histograms;
        self.histograms = true;
        if first {
            self.hints.see(h.hint());
            self.gathered = Some(Box::new(match op {
                Aggregation::Sum => Gathered::Sum(Sum::new(h)),
                _ => Gathered::Mean(Mean::new(h)),
            }));
            return;
        }
        // A group that began with a number has no value any more.
        let Some(gathered) = &mut self.gathered else {
            return;
        };
        self.hints.see(h.hint());
        let added = match gathered.as_mut() {
            Gathered::Sum(sum) => sum.add(h),
            Gathered::Mean(mean) => mean.add(h),
        };
        match added {
            Ok(added) if added.bounds_reconciled => notes.reconciled(from, Deed::Aggregation),
            Ok(_) => {}
            Err(Incompatible) => {
                notes.mixed_schemas(from, metric);
                self.unfit = true;
            }
        }
    }
}
