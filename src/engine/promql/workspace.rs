//! The room in which a plan is evaluated. Kept between evaluations, so that they allocate nothing.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::engine::promql::annotate::Notes;
use crate::engine::promql::column::{Column, Kind, Sample};
use crate::engine::promql::functions::rate::Kept;
use crate::engine::promql::functions::window::{Piece, Split, Window};
use crate::engine::promql::plan::Plan;
use crate::engine::promql::source::{Point, Scratch, Steps};
use crate::model::histogram::ResetHint;
use crate::model::histogram::classic::Cumulative;
use crate::model::labels::Labels;

/// Columns and rings of a plan, and scratch room. One workspace may serve many plans in turn; then nothing is kept for
/// them between evaluations, which only subqueries would use.
#[derive(Debug, Default)]
pub struct Workspace {
    pub(super) columns: Vec<Column>,
    /// Parts that are the same at all times of a query and have been evaluated for it.
    pub(super) done: Vec<bool>,
    pub(super) rings: Vec<Ring>,
    /// By part: what a range query has read ahead.
    pub(super) ahead: Vec<Ahead>,
    /// What the plan keeps, lent for an evaluation.
    pub(super) growths: Vec<Vec<Kept>>,
    pub(super) scratch: Scratch,
    pub(super) spare: Scratch,
    pub(super) split: Split,
    pub(super) groups: Vec<Group>,
    pub(super) ones: Vec<u32>,
    pub(super) marks: Vec<u32>,
    pub(super) claims: Vec<u32>,
    pub(super) floats: Vec<f64>,
    pub(super) buckets: Vec<Cumulative>,
    pub(super) notes: Notes,
    /// The value, where it is a number.
    pub(super) number: f64,
    /// Windows, where the value is that.
    pub(super) windows: Vec<Vec<Point>>,
    /// Samples looked at in this step, and kept from the steps before.
    pub(super) touched: usize,
    pub(super) kept: usize,
    /// Label sets that no evaluation has seen before, for each dynamic part.
    pub(super) fresh: Vec<BTreeSet<Labels>>,
    plan: Option<Arc<()>>,
}

/// What a selector yields at the next steps of a range query: a row for each step, with a value for each slot.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    pub steps: Steps,
    /// Histograms are only known to be there.
    pub kinds: Vec<Kind>,
    pub values: Vec<f64>,
    /// Whether there are any.
    pub histograms: bool,
    /// For each step how many samples were looked at.
    pub touched: Vec<usize>,
}

impl Ahead {
    /// Empties it, for these steps.
    pub fn begin(&mut self, steps: Steps, slots: usize) {
        (self.steps, self.histograms) = (steps, false);
        self.kinds.clear();
        self.kinds.resize(steps.count * slots, Kind::Absent);
        self.values.resize(steps.count * slots, 0.0);
        self.touched.clear();
        self.touched.resize(steps.count, 0);
    }
    /// Puts a number into a cell.
    #[inline(always)]
    pub fn put(&mut self, cell: usize, value: f64) {
        if let (Some(k), Some(v)) = (self.kinds.get_mut(cell), self.values.get_mut(cell)) {
            (*k, *v) = (Kind::Float, value);
        }
    }
    /// Notes that there is a histogram.
    pub fn put_histogram(&mut self, cell: usize) {
        if let Some(kind) = self.kinds.get_mut(cell) {
            *kind = Kind::Histogram;
            self.histograms = true;
        }
    }
    /// Copies the numbers of a step into a column with as many slots, and says where there are histograms.
    pub fn copy(&self, place: usize, out: &mut Column) -> Vec<usize> {
        let slots = out.kinds.len();
        let row = place * slots..(place + 1) * slots;
        let (Some(kinds), Some(values)) = (self.kinds.get(row.clone()), self.values.get(row))
        else {
            return Vec::new();
        };
        out.kinds.copy_from_slice(kinds);
        out.values.copy_from_slice(values);
        if !self.histograms {
            return Vec::new();
        }
        let mut missing = Vec::new();
        for (slot, kind) in out.kinds.iter_mut().enumerate() {
            if *kind == Kind::Histogram {
                *kind = Kind::Absent;
                missing.push(slot);
            }
        }
        missing
    }
}

/// The state of one group while an aggregation runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    pub seen: bool,
    pub value: f64,
    pub lost: f64,
    pub mean: f64,
    pub count: f64,
    pub incremental: bool,
}

/// The values of a subquery: for each slot of its part those of consecutive steps.
#[derive(Debug, Default)]
pub(super) struct Ring {
    /// First and last step that are in it, if any, in milliseconds.
    pub span: Option<(i64, i64)>,
    /// Milliseconds between steps.
    pub step: i64,
    /// The values of each slot.
    pub rows: Vec<Row>,
}

/// The values of one slot of a subquery, ascending in time.
#[derive(Debug, Default)]
pub(super) struct Row {
    times: Vec<i64>,
    values: Vec<f64>,
    /// Numbers before this one are no longer part of it.
    start: usize,
    pieces: Vec<Piece>,
    piece_start: usize,
}

impl Row {
    /// Adds the value of the next step.
    pub fn push(&mut self, ts: i64, sample: Sample<'_>) {
        match sample {
            Sample::Float(v) => {
                self.times.push(ts);
                self.values.push(v);
            }
            // Between steps nobody has looked: what a hint says of two neighbouring samples is not true of two steps.
            Sample::Histogram(h) => {
                let histogram = match h.hint() {
                    ResetHint::Reset | ResetHint::NotReset => {
                        let mut unknown = h.as_ref().clone();
                        unknown.set_hint(ResetHint::Unknown);
                        Arc::new(unknown)
                    }
                    ResetHint::Unknown | ResetHint::Gauge => h.clone(),
                };
                self.pieces.push(Piece {
                    ts,
                    start: 0,
                    histogram,
                });
            }
        }
    }
    /// What lies in (after, upto].
    pub fn window(&self, after: i64, upto: i64) -> Window<'_> {
        let from = self.times.partition_point(|t| *t <= after).max(self.start);
        let to = self.times.partition_point(|t| *t <= upto).max(from);
        let first = self
            .pieces
            .partition_point(|p| p.ts <= after)
            .max(self.piece_start);
        let last = self.pieces.partition_point(|p| p.ts <= upto).max(first);
        Window {
            times: self.times.get(from..to).unwrap_or_default(),
            values: self.values.get(from..to).unwrap_or_default(),
            starts: &[],
            pieces: self.pieces.get(first..last).unwrap_or_default(),
        }
    }
    /// Forgets what lies before a time.
    fn forget_before(&mut self, before: i64) {
        while self.times.get(self.start).is_some_and(|t| *t < before) {
            self.start += 1;
        }
        if self.start > 64 && self.start * 2 > self.times.len() {
            self.times.drain(..self.start);
            self.values.drain(..self.start);
            self.start = 0;
        }
        while self
            .pieces
            .get(self.piece_start)
            .is_some_and(|p| p.ts < before)
        {
            self.piece_start += 1;
        }
        if self.piece_start * 2 > self.pieces.len() {
            self.pieces.drain(..self.piece_start);
            self.piece_start = 0;
        }
    }
    fn forget_after(&mut self, after: i64) {
        let keep = self.times.partition_point(|t| *t <= after).max(self.start);
        self.times.truncate(keep);
        self.values.truncate(keep);
        let keep = self
            .pieces
            .partition_point(|p| p.ts <= after)
            .max(self.piece_start);
        self.pieces.truncate(keep);
    }
    fn clear(&mut self) {
        self.times.clear();
        self.values.clear();
        self.start = 0;
        self.pieces.clear();
        self.piece_start = 0;
    }
}

impl Ring {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.span = None;
        self.rows.iter_mut().for_each(Row::clear);
    }
    /// Makes it hold nothing before `first`; the step from which on values are missing.
    pub fn begin(&mut self, first: i64, step: i64, slots: usize) -> i64 {
        let reusable = self.step == step
            && self.rows.len() == slots
            && self
                .span
                .is_some_and(|(a, b)| first >= a && first <= b.saturating_add(step));
        if !reusable {
            self.clear();
            self.step = step;
            self.rows.resize_with(slots, Row::default);
        }
        match &mut self.span {
            Some((start, end)) => {
                *start = first;
                let next = end.saturating_add(step);
                self.rows.iter_mut().for_each(|r| r.forget_before(first));
                next
            }
            None => first,
        }
    }
    /// Forgets what lies after a time and so may still change.
    pub fn settle(&mut self, upto: i64) {
        let Some((first, last)) = self.span else {
            return;
        };
        if last <= upto {
            return;
        }
        if first > upto || self.step <= 0 {
            self.clear();
            return;
        }
        let keep = first + (upto - first) / self.step * self.step;
        self.span = Some((first, keep));
        self.rows.iter_mut().for_each(|r| r.forget_after(keep));
    }
}

impl Workspace {
    /// Samples that the last evaluation looked at.
    pub fn touched(&self) -> usize {
        self.touched
    }
    /// Makes room for a plan; what was kept for another one is gone.
    pub(super) fn prepare(&mut self, plan: &Plan, settled: i64) {
        let same = self
            .plan
            .as_ref()
            .is_some_and(|p| Arc::ptr_eq(p, &plan.token));
        if !same {
            // Of a plan that keeps nothing here there is nothing to be told from another's.
            let keeps = plan.keeps() || !plan.tables.is_empty();
            self.plan = keeps.then(|| plan.token.clone());
            if self.columns.len() < plan.nodes.len() {
                self.columns.resize_with(plan.nodes.len(), Column::default);
            }
            self.rings.clear();
            self.rings.resize_with(plan.rings.len(), Ring::default);
            self.fresh.clear();
            self.fresh.resize_with(plan.tables.len(), BTreeSet::new);
        }
        for (ring, ahead) in self.rings.iter_mut().zip(&plan.rings) {
            match ahead {
                Some(ahead) => ring.settle(settled.saturating_sub(*ahead)),
                None => ring.clear(),
            }
        }
        self.ahead.clear();
        self.done.clear();
        self.done.resize(plan.nodes.len(), false);
        self.notes.clear();
        self.touched = 0;
        self.kept = 0;
    }
}
