//! `histogram_quantile` and its like, over buckets and over native histograms.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use crate::engine::promql::annotate::{Bent, Notes};
use crate::engine::promql::column::{Column, Kind, Sample};
use crate::engine::promql::evaluate::Run;
use crate::engine::promql::number::open_metrics;
use crate::engine::promql::part::{Classic, ClassicFn, Scalar};
use crate::engine::promql::plan::{NONE, Slot};
use crate::engine::promql::settings::EvalError;
use crate::engine::promql::source::Source;
use crate::engine::promql::workspace::Workspace;
use crate::model::histogram::classic::{Cumulative, fraction, quantile};
use crate::model::histogram::quantile::Remark;
use crate::model::labels::Labels;

impl<S: Source> Run<'_, S> {
    pub(super) fn classic(
        &mut self,
        classic: &Classic,
        at: i64,
        out: &mut Column,
    ) -> Result<(), EvalError> {
        match &classic.function {
            ClassicFn::Fraction(lower, upper) => {
                let (lower, upper) = (self.scalar(lower, at), self.scalar(upper, at));
                self.each_histogram(classic, Asked::Fraction(lower, upper), 0, at, out)
            }
            ClassicFn::Quantile(scalar) => {
                let q = self.quantile(classic, 0, scalar, at)?;
                self.each_histogram(classic, Asked::Quantile(q), 0, at, out)
            }
            ClassicFn::Labelled {
                quantiles,
                label,
                values,
                table,
            } => {
                for (i, quantile) in quantiles.iter().enumerate() {
                    let q = self.quantile(classic, i, &quantile.scalar, at)?;
                    let turn = quantile.turn.or_else(|| {
                        let value = open_metrics(q);
                        let known = values.iter().position(|v| *v == value);
                        if let (None, Some(table)) = (known, table) {
                            self.dynamic(*table, Labels::new().with(label, &value));
                        }
                        known
                    });
                    if let Some(turn) = turn {
                        self.each_histogram(classic, Asked::Quantile(q), turn, at, out)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// The value of a quantile; remarks on it if it is none.
    fn quantile(
        &mut self,
        classic: &Classic,
        which: usize,
        scalar: &Scalar,
        at: i64,
    ) -> Result<f64, EvalError> {
        let q = self.scalar(scalar, at);
        if (q.is_nan() || !(0.0..=1.0).contains(&q))
            && let Some(from) = classic.args_from.get(which)
        {
            self.ws.notes.quantile(*from, q);
        }
        Ok(q)
    }

    /// Fills the results of the `turn`-th question.
    fn each_histogram(
        &mut self,
        classic: &Classic,
        asked: Asked,
        turn: usize,
        at: i64,
        out: &mut Column,
    ) -> Result<(), EvalError> {
        let slots = self.plan.node(classic.of).map_or(&[][..], |n| &n.slots);
        let Workspace {
            columns,
            buckets,
            notes,
            marks,
            ..
        } = &mut *self.ws;
        let Some(of) = columns.get(classic.of as usize) else {
            return Ok(());
        };
        // Where names are dropped at once, they are gone before anything is remarked on.
        let delayed = self.plan.settings.delayed_name_removal;
        let name = |l: Option<&Arc<Labels>>| match l {
            Some(labels) if delayed => labels.get("__name__").to_owned(),
            Some(_) | None => String::new(),
        };
        let groups = classic.metrics.len();
        // Groups that have a native histogram beside their buckets: neither counts.
        marks.clear();
        if of.mixed {
            marks.resize(groups, 0);
            natives(
                classic,
                asked,
                turn,
                of,
                slots,
                delayed,
                (notes, marks),
                out,
            )?;
        }
        for (slot, group) in classic.group_of.iter().enumerate() {
            if *group == NONE && of.kinds.get(slot) == Some(&Kind::Float) {
                let labels = slots.get(slot).map(|s| &s.labels);
                let le = labels.map_or("", |l| l.get("le"));
                notes.bad_bucket(classic.of_from, &name(labels), le);
            }
        }
        let bounds = classic.starts.iter().zip(classic.starts.iter().skip(1));
        for (group, (begin, end)) in bounds.enumerate() {
            if marks.get(group).is_some_and(|m| *m == 1) {
                continue;
            }
            let members = classic
                .members
                .get(*begin as usize..*end as usize)
                .unwrap_or_default();
            buckets.clear();
            for slot in members {
                let slot = *slot as usize;
                if let (Some(Kind::Float), Some(count), Some(upper)) = (
                    of.kinds.get(slot),
                    of.values.get(slot),
                    classic.bound_of.get(slot),
                ) {
                    buckets.push(Cumulative {
                        upper: *upper,
                        count: *count,
                    });
                }
            }
            let Some(to) = classic.classic_out.get(turn * groups + group) else {
                continue;
            };
            if buckets.is_empty() {
                continue;
            }
            let value = match asked {
                Asked::Fraction(lower, upper) => fraction(lower, upper, buckets),
                Asked::Quantile(q) => {
                    let (value, forced) = quantile(q, buckets);
                    if let Some(forced) = forced {
                        let metric = classic.metrics.get(group);
                        let bent = Bent {
                            buckets: (forced.lowest, forced.highest),
                            diff: forced.most,
                            times: (at, at),
                            count: 1,
                        };
                        notes.forced_monotonic(classic.of_from, &name(metric), bent);
                    }
                    value
                }
            };
            put(out, *to, value)?;
        }
        Ok(())
    }
}

/// What is asked of each histogram.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Quantile(f64),
    Fraction(f64, f64),
}

#[cold]
#[expect(clippy::too_many_arguments, reason = "they are the parts of one step")]
fn natives(
    classic: &Classic,
    asked: Asked,
    turn: usize,
    of: &Column,
    slots: &[Slot],
    delayed: bool,
    (notes, rivals): (&mut Notes, &mut [u32]),
    out: &mut Column,
) -> Result<(), EvalError> {
    for (slot, sample) in of.samples() {
        let Sample::Histogram(h) = sample else {
            continue;
        };
        let metric = slots.get(slot).map_or("", |s| s.labels.get("__name__"));
        let rival = classic.rival_of.get(slot).copied().unwrap_or(NONE);
        if rival != NONE && has_buckets(classic, of, rival as usize) {
            notes.mixed_classic(classic.of_from, if delayed { metric } else { "" });
            if let Some(mark) = rivals.get_mut(rival as usize) {
                *mark = 1;
            }
            continue;
        }
        let (value, remark) = match asked {
            Asked::Quantile(q) => h.quantile(q),
            Asked::Fraction(lower, upper) => {
                let (value, remark) = h.fraction(lower, upper);
                if remark.is_some() {
                    notes.nan_fraction(classic.of_from, metric);
                }
                (value, None)
            }
        };
        match remark {
            Some(Remark::NanResult) => notes.nan_result(classic.of_from, metric),
            Some(Remark::NanSkew) => notes.nan_skew(classic.of_from, metric),
            None => {}
        }
        if let Some(to) = classic.native_out.get(turn * slots.len() + slot) {
            put(out, *to, value)?;
        }
    }
    Ok(())
}

/// Whether a classic histogram has a bucket at this time.
fn has_buckets(classic: &Classic, of: &Column, group: usize) -> bool {
    let (begin, end) = (classic.starts.get(group), classic.starts.get(group + 1));
    let (Some(begin), Some(end)) = (begin, end) else {
        return false;
    };
    let members = classic.members.get(*begin as usize..*end as usize);
    members
        .unwrap_or_default()
        .iter()
        .any(|s| of.kinds.get(*s as usize) == Some(&Kind::Float))
}

fn put(out: &mut Column, slot: u32, value: f64) -> Result<(), EvalError> {
    if out.has(slot as usize) {
        return Err(EvalError::same_labels());
    }
    out.put(slot as usize, value);
    Ok(())
}
