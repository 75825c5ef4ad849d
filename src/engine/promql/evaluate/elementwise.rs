//! What happens to each value by itself: functions, signs, operators with a scalar.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use crate::engine::promql::annotate::{Deed, Notes, Origin};
use crate::engine::promql::ast::BinaryOp;
use crate::engine::promql::column::{Column, Kind, Sample};
use crate::engine::promql::evaluate::{Run, column, filters};
use crate::engine::promql::functions::HistogramFn;
use crate::engine::promql::functions::math::{Map, arithmetic, compare};
use crate::engine::promql::part::Scalar;
use crate::engine::promql::plan::NodeId;
use crate::engine::promql::settings::EvalError;
use crate::engine::promql::source::Source;
use crate::model::histogram::trim::Keep;
use crate::model::histogram::{Histogram, Incompatible, ResetHint};

/// How an operator stands between a vector and a scalar.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub op: BinaryOp,
    pub scalar_left: bool,
    pub returns_bool: bool,
}

impl<S: Source> Run<'_, S> {
    pub(super) fn map(
        &mut self,
        of: NodeId,
        function: Map,
        args: &[Scalar; 2],
        at: i64,
        out: &mut Column,
    ) -> Result<(), EvalError> {
        let [a, b] = args;
        let (a, b) = (self.scalar(a, at), self.scalar(b, at));
        if function == Map::Clamp && b < a {
            return Ok(());
        }
        let of = column(self.ws, of);
        each_float(of, out, |v| function.apply(v, a, b));
        Ok(())
    }
}

/// Fills a column with what is made of the numbers of another; histograms are left out.
#[inline(always)]
fn each_float(of: &Column, out: &mut Column, make: impl Fn(f64) -> f64) {
    let from = of.kinds.iter().zip(&of.values);
    for ((kind, value), (k, v)) in out.kinds.iter_mut().zip(out.values.iter_mut()).zip(from) {
        if *k == Kind::Float {
            *kind = Kind::Float;
            *value = make(*v);
        }
    }
    out.ordered_as(of);
}

pub(super) fn of_histogram(of: &Column, function: HistogramFn, out: &mut Column) {
    for (slot, sample) in of.samples() {
        if let Sample::Histogram(h) = sample {
            out.put(
                slot,
                match function {
                    HistogramFn::Count => h.count(),
                    HistogramFn::Sum => h.sum(),
                    HistogramFn::Avg => h.mean(),
                    HistogramFn::Stddev => h.variance().sqrt(),
                    HistogramFn::Stdvar => h.variance(),
                },
            );
        }
    }
    out.ordered_as(of);
}

pub(super) fn negate(of: &Column, out: &mut Column) {
    each_float(of, out, |v| -v);
    if of.mixed {
        for (slot, sample) in of.samples() {
            if let Sample::Histogram(h) = sample {
                let mut negative = h.as_ref().clone();
                negative.mul(-1.0);
                out.put_histogram(slot, Arc::new(negative));
            }
        }
    }
}

/// An operator between a vector and a scalar.
#[inline(always)]
pub(super) fn with_scalar(
    of: &Column,
    scalar: f64,
    shape: Shape,
    from: Origin,
    notes: &mut Notes,
    out: &mut Column,
) {
    if of.mixed {
        mixed_with_scalar(of, scalar, shape, from, notes, out);
    } else if filters(shape.op, shape.returns_bool) {
        match (shape.op, shape.scalar_left) {
            (BinaryOp::Greater, false) | (BinaryOp::Less, true) => keep(of, out, |v| v > scalar),
            (BinaryOp::Less, false) | (BinaryOp::Greater, true) => keep(of, out, |v| v < scalar),
            (BinaryOp::GreaterEqual, false) | (BinaryOp::LessEqual, true) => {
                keep(of, out, |v| v >= scalar);
            }
            (BinaryOp::LessEqual, false) | (BinaryOp::GreaterEqual, true) => {
                keep(of, out, |v| v <= scalar);
            }
            (BinaryOp::Equal, _) => keep(of, out, |v| v == scalar),
            (_, _) => keep(of, out, |v| v != scalar),
        }
    } else if matches!(shape.op, BinaryOp::TrimUpper | BinaryOp::TrimLower) {
        if !of.is_empty() {
            notes.incompatible_types(from, "float", shape.op.sign(), "float");
        }
    } else if shape.scalar_left {
        each_float(of, out, |v| arithmetic(shape.op, scalar, v));
    } else {
        match shape.op {
            BinaryOp::Mul => each_float(of, out, |v| v * scalar),
            BinaryOp::Div => each_float(of, out, |v| v / scalar),
            BinaryOp::Add => each_float(of, out, |v| v + scalar),
            BinaryOp::Sub => each_float(of, out, |v| v - scalar),
            op => each_float(of, out, |v| arithmetic(op, v, scalar)),
        }
    }
}

/// Keeps the numbers for which something holds.
#[inline(always)]
fn keep(of: &Column, out: &mut Column, holds: impl Fn(f64) -> bool) {
    let from = of.kinds.iter().zip(&of.values);
    for ((kind, value), (k, v)) in out.kinds.iter_mut().zip(out.values.iter_mut()).zip(from) {
        *value = *v;
        *kind = if *k == Kind::Float && holds(*v) {
            Kind::Float
        } else {
            Kind::Absent
        };
    }
    out.ordered_as(of);
}

#[cold]
fn mixed_with_scalar(
    of: &Column,
    scalar: f64,
    shape: Shape,
    from: Origin,
    notes: &mut Notes,
    out: &mut Column,
) {
    for (slot, sample) in of.samples() {
        let lone = Sample::Float(scalar);
        let (left, right) = if shape.scalar_left {
            (lone, sample)
        } else {
            (sample, lone)
        };
        let Ok(done) = operate(shape.op, left, right, from, notes) else {
            continue;
        };
        if shape.returns_bool {
            out.put(slot, f64::from(u8::from(done.keep)));
        } else if done.keep {
            match done.value {
                // What is kept is the value of the vector, on whichever side it stands.
                _ if shape.op.is_comparison() => out.put_sample(slot, sample),
                Operated::Float(v) => out.put(slot, v),
                Operated::Histogram(h) => out.put_histogram(slot, h),
            }
        }
    }
    out.ordered_as(of);
}

/// What an operator yields for two values.
#[derive(Clone, Debug)]
pub(super) enum Operated {
    Float(f64),
    Histogram(Arc<Histogram>),
}

/// The value, and for comparisons whether they hold.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub value: Operated,
    pub keep: bool,
}

/// The operator does not work on these.
pub(super) struct Unfit;

/// An operator between two values of any kind.
pub(super) fn operate(
    op: BinaryOp,
    left: Sample<'_>,
    right: Sample<'_>,
    from: Origin,
    notes: &mut Notes,
) -> Result<Done, Unfit> {
    let histogram = |h: Histogram| Done {
        value: Operated::Histogram(Arc::new(h)),
        keep: true,
    };
    let mut unfit = |a: &str, b: &str| {
        notes.incompatible_types(from, a, op.sign(), b);
        Err(Unfit)
    };
    match (left, right) {
        (Sample::Float(a), Sample::Float(b)) => match op {
            BinaryOp::TrimUpper | BinaryOp::TrimLower => unfit("float", "float"),
            op if op.is_comparison() => Ok(Done {
                value: Operated::Float(a),
                keep: compare(op, a, b),
            }),
            op => Ok(Done {
                value: Operated::Float(arithmetic(op, a, b)),
                keep: true,
            }),
        },
        (Sample::Float(a), Sample::Histogram(h)) => match op {
            BinaryOp::Mul => Ok(histogram(scaled(h, |h| h.mul(a)))),
            _ => unfit("float", "histogram"),
        },
        (Sample::Histogram(h), Sample::Float(b)) => match op {
            BinaryOp::Mul => Ok(histogram(scaled(h, |h| h.mul(b)))),
            BinaryOp::Div => Ok(histogram(scaled(h, |h| h.div(b)))),
            BinaryOp::TrimUpper => Ok(histogram(h.trim(b, Keep::Below))),
            BinaryOp::TrimLower => Ok(histogram(h.trim(b, Keep::Above))),
            _ => unfit("histogram", "float"),
        },
        (Sample::Histogram(a), Sample::Histogram(b)) => match op {
            BinaryOp::Add => combined(op, a, b, from, notes).map(histogram),
            BinaryOp::Sub => combined(op, a, b, from, notes).map(histogram),
            BinaryOp::Equal | BinaryOp::NotEqual => Ok(Done {
                value: Operated::Histogram(a.clone()),
                keep: (a == b) == (op == BinaryOp::Equal),
            }),
            _ => unfit("histogram", "histogram"),
        },
    }
}

fn scaled(h: &Histogram, scale: impl FnOnce(&mut Histogram)) -> Histogram {
    let mut scaled = h.clone();
    scale(&mut scaled);
    scaled.compact();
    scaled
}

fn combined(
    op: BinaryOp,
    a: &Histogram,
    b: &Histogram,
    from: Origin,
    notes: &mut Notes,
) -> Result<Histogram, Unfit> {
    let mut result = a.clone();
    let (added, deed) = if op == BinaryOp::Add {
        (result.add(b), Deed::Addition)
    } else {
        (result.sub(b), Deed::Subtraction)
    };
    match added {
        Err(Incompatible) => {
            notes.incompatible_layout(from, op.sign());
            Err(Unfit)
        }
        Ok(added) => {
            if op == BinaryOp::Sub {
                result.set_hint(ResetHint::Gauge);
            }
            if added.collision {
                notes.reset_collision(from, deed);
            }
            if added.bounds_reconciled {
                notes.reconciled(from, deed);
            }
            result.compact();
            Ok(result)
        }
    }
}
