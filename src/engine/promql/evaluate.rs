//! A plan at one time: each part fills its column from those of its parts.
//!
//! Arithmetic over arrays: no label is looked at and nothing is allocated that grows with the data, but for histograms
//! and for the few parts whose labels are made of values.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use crate::engine::promql::ast::BinaryOp;
use crate::engine::promql::column::{Column, Kind, Sample};
use crate::engine::promql::functions::math::arithmetic;
use crate::engine::promql::number::{max, min};
use crate::engine::promql::part::{Node, Scalar, What};
use crate::engine::promql::plan::{NodeId, Period, Plan, Root};
use crate::engine::promql::settings::EvalError;
use crate::engine::promql::source::Source;
use crate::engine::promql::workspace::Workspace;
use crate::model::labels::Labels;

mod aggregate;
mod ahead;
mod binary;
mod choose;
mod classic;
mod elementwise;
mod info;
mod over_time;
mod select;
mod set;
mod subquery;

/// One evaluation under way.
pub(super) struct Run<'p, S> {
    pub plan: &'p Plan,
    pub source: &'p S,
    pub period: Period,
    /// Milliseconds from one time to the next, if there are more.
    pub step: i64,
    /// Whether there is one time only, so that vectors have an order.
    pub instant: bool,
    pub ws: &'p mut Workspace,
}

impl Plan {
    /// Evaluates at a time, in milliseconds; the result is in the workspace until its next use.
    ///
    /// # Errors
    /// As Prometheus words them, and bounds.
    pub fn evaluate<S: Source>(
        &mut self,
        at: i64,
        source: &S,
        ws: &mut Workspace,
    ) -> Result<(), EvalError> {
        for turn in 0.. {
            ws.prepare(self, source.settled());
            let period = Period { start: at, end: at };
            std::mem::swap(&mut ws.growths, &mut self.growths);
            let result = Run {
                plan: self,
                source,
                period,
                step: 0,
                instant: true,
                ws,
            }
            .step(at);
            std::mem::swap(&mut ws.growths, &mut self.growths);
            if !self.has_fresh(ws) {
                return result;
            }
            if turn == 0 {
                self.forget_tables();
            }
            self.take_fresh(source, ws)?;
        }
        Ok(())
    }

    /// Whether the evaluation has met label sets that the plan does not have.
    pub(super) fn has_fresh(&self, ws: &Workspace) -> bool {
        ws.fresh.iter().any(|f| !f.is_empty())
    }
    /// Takes them into the plan.
    pub(super) fn take_fresh<S: Source>(
        &mut self,
        source: &S,
        ws: &mut Workspace,
    ) -> Result<(), EvalError> {
        self.grow(source, std::mem::take(&mut ws.fresh))
    }

    /// Calls `with` for each element of the vector that was evaluated last in this workspace, in its order; a scalar is
    /// one element without labels.
    pub fn each(&self, ws: &Workspace, mut with: impl FnMut(&Arc<Labels>, ValueRef<'_>)) {
        match &self.root {
            Root::Scalar(_) => with(&Arc::new(Labels::new()), ValueRef::Float(ws.number)),
            Root::Text(_) | Root::Matrix { .. } => {}
            Root::Vector { node, labels, .. } => {
                let Some(column) = ws.columns.get(*node as usize) else {
                    return;
                };
                for (slot, sample) in column.samples() {
                    if let Some(labels) = labels.get(slot) {
                        with(labels, sample.into());
                    }
                }
            }
        }
    }
}

/// A value, lent.
#[derive(Clone, Copy, Debug)]
pub enum ValueRef<'a> {
    /// A number.
    Float(f64),
    /// A native histogram.
    Histogram(&'a Arc<crate::model::histogram::Histogram>),
}

impl<'a> From<Sample<'a>> for ValueRef<'a> {
    fn from(sample: Sample<'a>) -> Self {
        match sample {
            Sample::Float(v) => ValueRef::Float(v),
            Sample::Histogram(h) => ValueRef::Histogram(h),
        }
    }
}

impl<S: Source> Run<'_, S> {
    /// The whole expression at one time.
    pub fn step(&mut self, at: i64) -> Result<(), EvalError> {
        self.ws.touched = self.ws.kept;
        self.scope(0, 0, at)?;
        match &self.plan.root {
            Root::Text(_) => Ok(()),
            Root::Scalar(scalar) => {
                self.ws.number = self.scalar(scalar, at);
                Ok(())
            }
            Root::Vector { node, clash, .. } => match clash {
                Some(first) => self.differ(*node, first),
                None => Ok(()),
            },
            Root::Matrix { input, .. } => self.windows(input, at),
        }
    }

    /// Evaluates the parts of the whole expression (0) or of a subquery, each after those that it is made of. A loop and
    /// no recursion: how deep an expression is nested costs no stack.
    pub fn scope(&mut self, first: NodeId, scope: u32, at: i64) -> Result<(), EvalError> {
        self.plan.settings.go_on()?;
        let nodes = self.plan.nodes.get(first as usize..).unwrap_or_default();
        for (id, node) in (first..).zip(nodes) {
            if node.scope == scope {
                self.node(id, node, at)?;
            } else if node.scope < scope {
                break;
            }
        }
        Ok(())
    }

    /// Evaluates a part into its column.
    fn node(&mut self, id: NodeId, node: &Node, at: i64) -> Result<(), EvalError> {
        if node.fixed && self.ws.done.get(id as usize).copied().unwrap_or(false) {
            return Ok(());
        }
        let mut out = self.take(id);
        out.reset(node.slots.len());
        let result = self.fill(id, node, at, &mut out);
        self.give(id, out);
        result?;
        if self.ws.touched > self.plan.settings.limits.samples {
            return Err(EvalError::samples());
        }
        if let Some(first) = &node.clash {
            self.differ(id, first)?;
        }
        if node.fixed
            && let Some(done) = self.ws.done.get_mut(id as usize)
        {
            *done = true;
        }
        Ok(())
    }

    /// A column to be filled; its place is empty meanwhile.
    fn take(&mut self, id: NodeId) -> Column {
        self.ws
            .columns
            .get_mut(id as usize)
            .map(std::mem::take)
            .unwrap_or_default()
    }
    fn give(&mut self, id: NodeId, column: Column) {
        if let Some(place) = self.ws.columns.get_mut(id as usize) {
            *place = column;
        }
    }

    fn fill(
        &mut self,
        id: NodeId,
        node: &Node,
        at: i64,
        out: &mut Column,
    ) -> Result<(), EvalError> {
        match &node.what {
            What::Newest(select) => self.newest(id, select, at, out)?,
            What::Smoothed(select) => self.smoothed(node, select, at, out)?,
            What::Timestamp(select) => self.timestamp(select, at, out),
            What::StartTimestamp(select) => self.start_timestamp(select, at, out),
            What::Nothing => {}
            What::TimeOf(of) => {
                let of = column(self.ws, *of);
                for slot in of.present() {
                    out.put(slot, at as f64 / 1_000.0);
                }
                out.ordered_as(of);
            }
            What::OverTime(over) => self.over_time(id, over, at, out)?,
            What::AbsentOverTime(input) => {
                if !self.any_sample(input, at)? {
                    out.put(0, 1.0);
                }
            }
            What::Absent(of) => {
                if column(self.ws, *of).is_empty() {
                    out.put(0, 1.0);
                }
            }
            What::Map { of, function, args } => self.map(*of, *function, args, at, out)?,
            What::OfHistogram { of, function } => {
                elementwise::of_histogram(column(self.ws, *of), *function, out);
            }
            What::Negate(of) => {
                elementwise::negate(column(self.ws, *of), out);
            }
            What::Lift(scalar) => {
                let value = self.scalar(scalar, at);
                out.put(0, value);
            }
            What::DateNow(part) => out.put(0, part.apply((at / 1_000) as f64, 0.0, 0.0)),
            What::WithScalar {
                op,
                of,
                scalar,
                scalar_left,
                returns_bool,
            } => {
                let scalar = self.scalar(scalar, at);
                let shape = elementwise::Shape {
                    op: *op,
                    scalar_left: *scalar_left,
                    returns_bool: *returns_bool,
                };
                let Workspace { columns, notes, .. } = &mut *self.ws;
                if let Some(of) = columns.get(*of as usize) {
                    elementwise::with_scalar(of, scalar, shape, node.from, notes, out);
                }
            }
            What::Binary(binary) => self.binary(node, binary, out)?,
            What::Set(set) => self.set(set, out)?,
            What::Gather(gather) => self.gather(node, gather, at, out)?,
            What::Choose(choose) => self.choose(node, choose, at, out)?,
            What::CountValues(count) => self.count_values(count, out)?,
            What::Relabel { of, out: to } => {
                self.relabelled(*of, to, out)?;
            }
            What::Sort { of, descending } => {
                self.sort(node, *of, *descending, out);
            }
            What::SortByLabel { of, rank } => {
                self.sort_by_label(node, *of, rank, out);
            }
            What::Classic(classic) => self.classic(classic, at, out)?,
            What::Info(info) => self.info(info, at, out)?,
        }
        Ok(())
    }

    /// The value of a scalar, whose parts have been evaluated.
    pub fn scalar(&self, scalar: &Scalar, at: i64) -> f64 {
        match scalar {
            Scalar::Number(v) => *v,
            Scalar::Time => at as f64 / 1_000.0,
            Scalar::Start => self.period.start as f64 / 1_000.0,
            Scalar::End => self.period.end as f64 / 1_000.0,
            Scalar::Of(node) => single(column(self.ws, *node)),
            Scalar::Negate(of) => -self.scalar(of, at),
            Scalar::Binary(op, a, b) => arithmetic(*op, self.scalar(a, at), self.scalar(b, at)),
            Scalar::Max(a, b) => max(self.scalar(a, at), self.scalar(b, at)),
            Scalar::Min(a, b) => min(self.scalar(a, at), self.scalar(b, at)),
        }
    }

    /// Fails if two present slots have the same labels; `first` is for each slot the first one with its labels.
    fn differ(&mut self, id: NodeId, first: &[u32]) -> Result<(), EvalError> {
        let Workspace { columns, marks, .. } = &mut *self.ws;
        marks.clear();
        marks.resize(first.len(), 0);
        let Some(column) = columns.get(id as usize) else {
            return Ok(());
        };
        for (kind, first) in column.kinds.iter().zip(first) {
            if *kind != Kind::Absent
                && let Some(mark) = marks.get_mut(*first as usize)
            {
                *mark += 1;
                if *mark > 1 {
                    return Err(EvalError::same_labels());
                }
            }
        }
        Ok(())
    }

    fn relabelled(&mut self, of: NodeId, to: &[u32], out: &mut Column) -> Result<(), EvalError> {
        let of = column(self.ws, of);
        for (slot, sample) in of.samples() {
            let Some(to) = to.get(slot) else { continue };
            if out.has(*to as usize) {
                return Err(EvalError::same_labels());
            }
            out.put_sample(*to as usize, sample);
            if !of.order.is_empty() {
                out.order.push(*to);
            }
        }
        Ok(())
    }

    /// The slot of a label set of a dynamic part; `None` if it is new: then it is noted, and the plan will grow.
    fn dynamic(&mut self, table: usize, labels: Labels) -> Option<usize> {
        if let Some(slot) = self.plan.tables.get(table).and_then(|t| t.find(&labels)) {
            return Some(slot);
        }
        if let Some(fresh) = self.ws.fresh.get_mut(table) {
            fresh.insert(labels);
        }
        None
    }
}

/// The one number of a vector; NaN if it has none or more than one.
fn single(column: &Column) -> f64 {
    let mut floats = column
        .kinds
        .iter()
        .zip(&column.values)
        .filter(|(k, _)| **k == Kind::Float);
    match (floats.next(), floats.next()) {
        (Some((_, v)), None) => *v,
        _ => f64::NAN,
    }
}

/// The column of a part.
fn column(ws: &Workspace, id: NodeId) -> &Column {
    const EMPTY: &Column = &Column {
        kinds: Vec::new(),
        values: Vec::new(),
        histograms: Vec::new(),
        mixed: false,
        order: Vec::new(),
    };
    ws.columns.get(id as usize).unwrap_or(EMPTY)
}

/// Whether an operator keeps of its vector what compares.
fn filters(op: BinaryOp, returns_bool: bool) -> bool {
    op.is_comparison() && !returns_bool
}
