//! A query: an expression at one time, or at each step between two.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use crate::engine::promql::answer::{Answer, Outcome};
use crate::engine::promql::ast::{Expr, Type};
use crate::engine::promql::column::Sample;
use crate::engine::promql::evaluate::Run;
use crate::engine::promql::plan::{Index, Period, Plan, Root};
use crate::engine::promql::resolve::Frame;
use crate::engine::promql::settings::{EvalError, Settings};
use crate::engine::promql::source::{Source, Value};
use crate::engine::promql::type_of;
use crate::engine::promql::workspace::Workspace;
use crate::model::labels::Labels;

/// An expression with the way it is to be evaluated.
#[derive(Clone, Debug)]
pub struct Query {
    expr: Arc<Expr>,
    text: Option<String>,
    settings: Settings,
}

impl Query {
    /// A query; its text is taken to be one line, where remarks name their place.
    pub fn new(expr: Arc<Expr>, settings: Settings) -> Self {
        Self {
            expr,
            text: None,
            settings,
        }
    }
    /// The same with its text, which may have many lines.
    pub fn written(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// The value at a time, in milliseconds.
    ///
    /// # Errors
    /// As Prometheus words them, and bounds.
    pub fn instant<S: Source>(&self, source: &S, at: i64) -> Result<Outcome, EvalError> {
        let mut ws = Workspace::default();
        let mut plan = Plan::new(self.expr.clone(), source, &self.settings)?;
        plan.evaluate(at, source, &mut ws)?;
        Ok(plan.outcome(&ws, self.text.as_deref()))
    }

    /// The values at `start`, `start + step`, … up to `end`, in milliseconds.
    ///
    /// # Errors
    /// As [`Query::instant`]; also if there are too many steps, or none.
    pub fn range<S: Source>(
        &self,
        source: &S,
        start: i64,
        end: i64,
        step: i64,
    ) -> Result<Outcome, EvalError> {
        let kind = type_of(&self.expr);
        if !matches!(kind, Type::Scalar | Type::Vector) {
            return Err(EvalError::bad(format!(
                "invalid expression type \"{}\" for range query, must be Scalar or instant Vector",
                kind.name()
            )));
        }
        if step <= 0 {
            return Err(EvalError::bad(
                "zero or negative query resolution step widths are not accepted. Try a positive integer",
            ));
        }
        let length = end.saturating_sub(start);
        if length < 0 {
            return Err(EvalError::bad(
                "end timestamp must not be before start time",
            ));
        }
        if length / step >= self.settings.limits.steps as i64 {
            return Err(EvalError::bad(format!(
                "exceeded maximum resolution of {} points per timeseries. Try decreasing the query resolution (?step=XX)",
                self.settings.limits.steps
            )));
        }
        let frame = Frame {
            range_ms: length,
            step_ms: if length == 0 { 0 } else { step },
        };
        let mut plan = Plan::within(self.expr.clone(), source, &self.settings, frame)?;
        let mut ws = Workspace::default();
        let series = loop {
            let collected = steps(&plan, source, &mut ws, (start, end, step));
            if !plan.has_fresh(&ws) {
                break collected?;
            }
            plan.take_fresh(source, &mut ws)?;
        };
        let mut matrix: Vec<(Labels, Vec<(i64, Value)>)> = series
            .into_iter()
            .filter(|(_, points)| !points.is_empty())
            .map(|(labels, points)| (labels.as_ref().clone(), points))
            .collect();
        matrix.sort_by(|a, b| a.0.cmp(&b.0));
        let (warnings, infos) = ws.notes.told(self.text.as_deref());
        Ok(Outcome {
            answer: Answer::Matrix(matrix),
            warnings,
            infos,
        })
    }
}

/// Points for which there is room from the start; it may turn out that most steps have none.
const RESERVED_MAX: usize = 1_000_000;

/// The values of each label set over time.
type Rows = Vec<(Arc<Labels>, Vec<(i64, Value)>)>;

/// Evaluates each step; the result is not complete if the plan must grow.
fn steps<S: Source>(
    plan: &Plan,
    source: &S,
    ws: &mut Workspace,
    (start, end, step): (i64, i64, i64),
) -> Result<Rows, EvalError> {
    ws.prepare(plan, source.settled());
    let (mut rows, row_of) = rows(plan);
    let count = usize::try_from(end.saturating_sub(start) / step + 1).unwrap_or(0);
    if count.saturating_mul(rows.len()) <= RESERVED_MAX {
        rows.iter_mut()
            .for_each(|(_, points)| points.reserve_exact(count));
    }
    let mut at = start;
    while at <= end {
        Run {
            plan,
            source,
            period: Period { start, end },
            step,
            instant: start == end,
            ws,
        }
        .step(at)?;
        let mut add = |slot: usize, value: Value| {
            if let Some((_, points)) = row_of.get(slot).and_then(|r| rows.get_mut(*r)) {
                points.push((at, value));
            }
        };
        let before = ws.kept;
        match &plan.root {
            Root::Scalar(_) => add(0, Value::Float(ws.number)),
            Root::Vector { node, .. } => {
                if let Some(column) = ws.columns.get(*node as usize) {
                    for (slot, sample) in column.samples() {
                        add(slot, Sample::to_value(sample));
                    }
                    ws.kept = before + column.count() + column.weight();
                    if ws.kept > plan.settings.limits.points {
                        return Err(EvalError::points(plan.settings.limits.points));
                    }
                }
            }
            Root::Text(_) | Root::Matrix { .. } => {}
        }
        let Some(next) = at.checked_add(step) else {
            break;
        };
        at = next;
    }
    Ok(rows)
}

/// A row for each different label set of the result, and the row of each slot.
fn rows(plan: &Plan) -> (Rows, Vec<usize>) {
    let Root::Vector { labels, .. } = &plan.root else {
        return (vec![(Arc::new(Labels::new()), Vec::new())], vec![0]);
    };
    let mut numbers: Index<&Labels, usize> = Index::default();
    let mut rows: Rows = Vec::new();
    let row_of = labels
        .iter()
        .map(|l| {
            *numbers.entry(l).or_insert_with(|| {
                rows.push((l.clone(), Vec::new()));
                rows.len() - 1
            })
        })
        .collect();
    (rows, row_of)
}

impl Plan {
    /// What was evaluated last in this workspace, to keep; `text` is that of the expression, for the places of remarks.
    pub fn outcome(&self, ws: &Workspace, text: Option<&str>) -> Outcome {
        let answer = match &self.root {
            Root::Scalar(_) => Answer::Scalar(ws.number),
            Root::Text(text) => Answer::Text(text.clone()),
            Root::Vector { node, labels, .. } => {
                let column = ws.columns.get(*node as usize);
                let all = column.into_iter().flat_map(|c| c.samples());
                Answer::Vector(
                    all.filter_map(|(slot, sample)| {
                        Some((labels.get(slot)?.as_ref().clone(), sample.to_value()))
                    })
                    .collect(),
                )
            }
            Root::Matrix { labels, .. } => {
                let mut matrix: Vec<(Labels, Vec<(i64, Value)>)> = labels
                    .iter()
                    .zip(&ws.windows)
                    .filter(|(_, points)| !points.is_empty())
                    .map(|(labels, points)| {
                        let points = points.iter().map(|p| (p.ts, p.value.clone()));
                        (labels.as_ref().clone(), points.collect())
                    })
                    .collect();
                matrix.sort_by(|a, b| a.0.cmp(&b.0));
                Answer::Matrix(matrix)
            }
        };
        let (warnings, infos) = ws.notes.told(text);
        Outcome {
            answer,
            warnings,
            infos,
        }
    }
}
