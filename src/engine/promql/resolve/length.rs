//! Lengths of time as written → milliseconds.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::engine::promql::ast::{
    BinaryOp, Edges, Expr, Kind, Length, Placed, Selector, Shift, Span,
};
use crate::engine::promql::number::{max, min};
use crate::engine::promql::resolve::Frame;
use crate::engine::promql::settings::EvalError;

/// A length that must be longer than nothing: a range or a step.
pub(super) fn positive(length: &Placed<Length>, frame: Frame) -> Result<i64, EvalError> {
    let ms = milliseconds(length, frame)?;
    if ms <= 0 {
        return Err(wrong(&length.span, "duration must be greater than 0"));
    }
    Ok(ms)
}

/// A length that may be negative.
pub(super) fn offset(length: &Placed<Length>, frame: Frame) -> Result<i64, EvalError> {
    milliseconds(length, frame)
}

fn milliseconds(length: &Placed<Length>, frame: Frame) -> Result<i64, EvalError> {
    if let Length::Ms(ms) = length.value {
        return Ok(ms);
    }
    let ms = seconds(length, frame)? * 1_000.0;
    // Nothing in the field is older than the year 1000 or newer than 3000.
    if !ms.is_finite() || ms.abs() > 9.2e15 {
        return Err(wrong(&length.span, "duration is out of range"));
    }
    Ok(ms as i64)
}

fn wrong(span: &Span, what: &str) -> EvalError {
    EvalError::bad(format!("{}:{}: {what}", span.start, span.end))
}

fn seconds(length: &Placed<Length>, frame: Frame) -> Result<f64, EvalError> {
    Ok(match &length.value {
        Length::Ms(ms) => *ms as f64 / 1_000.0,
        Length::Secs(secs) => *secs,
        Length::Step => frame.step_ms as f64 / 1_000.0,
        Length::Range => frame.range_ms as f64 / 1_000.0,
        Length::Sign { negate, of } => {
            let v = seconds(of, frame)?;
            if *negate { -v } else { v }
        }
        Length::Min(a, b) => min(seconds(a, frame)?, seconds(b, frame)?),
        Length::Max(a, b) => max(seconds(a, frame)?, seconds(b, frame)?),
        Length::Arithmetic { op, lhs, rhs } => {
            let (a, b) = (seconds(lhs, frame)?, seconds(rhs, frame)?);
            match op {
                BinaryOp::Div if b == 0.0 => return Err(wrong(&length.span, "division by zero")),
                BinaryOp::Mod if b == 0.0 => return Err(wrong(&length.span, "modulo by zero")),
                op => crate::engine::promql::functions::math::arithmetic(*op, a, b),
            }
        }
    })
}

/// How far ahead of the time at which it is evaluated an expression looks, in milliseconds; `None` where its value may
/// depend on the query itself or on any time.
pub(super) fn ahead(expr: &Expr, lookback: i64, frame: Frame) -> Option<i64> {
    let shifted = |shift: &Shift| match (&shift.at, &shift.offset) {
        (Some(_), _) => None,
        (None, None) => Some(0_i64),
        (None, Some(length)) => Some(offset(length, frame).ok()?.saturating_neg()),
    };
    let selected = |selector: &Selector| {
        let ahead = shifted(&selector.shift)?;
        Some(match selector.edges {
            Edges::Smoothed => ahead.saturating_add(lookback),
            Edges::Plain | Edges::Anchored => ahead,
        })
    };
    match &expr.kind {
        Kind::Number(_) | Kind::Text(_) => Some(0),
        Kind::Vector(selector) | Kind::Matrix { selector, .. } => selected(selector),
        Kind::Subquery {
            expr: of, shift, ..
        } => Some(shifted(shift)?.saturating_add(ahead(of, lookback, frame)?)),
        Kind::Call { function, args, .. } => {
            if matches!(*function, "start" | "end" | "range" | "step" | "info") {
                return None;
            }
            args.iter()
                .try_fold(0, |most, a| Some(most.max(ahead(a, lookback, frame)?)))
        }
        Kind::Aggregate {
            param, expr: of, ..
        } => {
            let of = ahead(of, lookback, frame)?;
            match param {
                Some(p) => Some(of.max(ahead(p, lookback, frame)?)),
                None => Some(of),
            }
        }
        Kind::Binary { lhs, rhs, .. } => {
            Some(ahead(lhs, lookback, frame)?.max(ahead(rhs, lookback, frame)?))
        }
        Kind::Unary { expr: of, .. } | Kind::Paren(of) => ahead(of, lookback, frame),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(value: Length) -> Box<Placed<Length>> {
        Box::new(Placed { span: 3..7, value })
    }

    #[test]
    fn lengths_are_worked_out() {
        let frame = Frame {
            range_ms: 600_000,
            step_ms: 15_000,
        };
        let sum = placed(Length::Arithmetic {
            op: BinaryOp::Add,
            lhs: placed(Length::Max(placed(Length::Step), placed(Length::Ms(5_000)))),
            rhs: placed(Length::Secs(0.5)),
        });
        assert_eq!(positive(&sum, frame), Ok(15_500));
        let negative = placed(Length::Sign {
            negate: true,
            of: placed(Length::Range),
        });
        assert_eq!(offset(&negative, frame), Ok(-600_000));
        assert_eq!(
            positive(&negative, frame).unwrap_err().text,
            "3:7: duration must be greater than 0"
        );
    }
}
