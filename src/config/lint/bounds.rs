//! Between which numbers the values of an expression lie, as far as the expression itself says: `count` is never below
//! one, `hour()` never above 23. Enough to see comparisons that no sample can change.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::engine::promql::ast::{Aggregation, BinaryOp, Expr, Kind, Type};
use crate::engine::promql::type_of;

/// The least and the greatest value; both may be infinite, none is NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// No value is below.
    pub low: f64,
    /// No value is above.
    pub high: f64,
}

/// Nothing is known.
const ANY: Bounds = Bounds {
    low: f64::NEG_INFINITY,
    high: f64::INFINITY,
};

/// What a comparison makes of all values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Of each it is true.
    Always,
    /// Of none.
    Never,
    /// The values decide.
    Depends,
}

impl Bounds {
    fn new(low: f64, high: f64) -> Self {
        if low.is_nan() || high.is_nan() || low > high {
            ANY
        } else {
            Self { low, high }
        }
    }
    fn at_least(low: f64) -> Self {
        Self::new(low, f64::INFINITY)
    }
    fn one(value: f64) -> Self {
        Self::new(value, value)
    }
    /// The value, if there is only one.
    fn only(self) -> Option<f64> {
        (self.low == self.high).then_some(self.low)
    }
    fn through(self, f: impl Fn(f64) -> f64) -> Self {
        Self::new(f(self.low), f(self.high))
    }
    fn or(self, other: Self) -> Self {
        Self::new(self.low.min(other.low), self.high.max(other.high))
    }
    /// A sum of at least one such value.
    fn summed(self) -> Self {
        if self.low >= 0.0 {
            Self::at_least(self.low)
        } else if self.high <= 0.0 {
            Self::new(f64::NEG_INFINITY, self.high)
        } else {
            ANY
        }
    }
}

/// What a comparison of values within these bounds gives.
pub fn compare(left: Bounds, op: BinaryOp, right: Bounds) -> Holds {
    let less = |a: Bounds, b: Bounds, equal_too: bool| {
        let (always, never) = if equal_too {
            (a.high <= b.low, a.low > b.high)
        } else {
            (a.high < b.low, a.low >= b.high)
        };
        match (always, never) {
            (true, _) => Holds::Always,
            (false, true) => Holds::Never,
            (false, false) => Holds::Depends,
        }
    };
    let apart = left.high < right.low || right.high < left.low;
    let same = left.only().is_some() && left.only() == right.only();
    match (op, apart, same) {
        (BinaryOp::Less, ..) => less(left, right, false),
        (BinaryOp::LessEqual, ..) => less(left, right, true),
        (BinaryOp::Greater, ..) => less(right, left, false),
        (BinaryOp::GreaterEqual, ..) => less(right, left, true),
        (BinaryOp::Equal, true, _) | (BinaryOp::NotEqual, _, true) => Holds::Never,
        (BinaryOp::NotEqual, true, _) | (BinaryOp::Equal, _, true) => Holds::Always,
        _ => Holds::Depends,
    }
}

/// The bounds of an expression's values. Depth is bounded by the parser.
pub fn bounds(expr: &Expr) -> Bounds {
    match &expr.kind {
        Kind::Number(value) => Bounds::one(*value),
        Kind::Text(_) | Kind::Vector(_) | Kind::Matrix { .. } => ANY,
        Kind::Paren(inner) | Kind::Subquery { expr: inner, .. } => bounds(inner),
        Kind::Unary { negate, expr } => {
            let inner = bounds(expr);
            if *negate {
                Bounds::new(-inner.high, -inner.low)
            } else {
                inner
            }
        }
        Kind::Call { function, args, .. } => call(function, args),
        Kind::Aggregate {
            op, param, expr, ..
        } => match op {
            Aggregation::Sum => bounds(expr).summed(),
            Aggregation::Count | Aggregation::CountValues => Bounds::at_least(1.0),
            Aggregation::Group => Bounds::one(1.0),
            Aggregation::Stddev | Aggregation::Stdvar => Bounds::at_least(0.0),
            Aggregation::Quantile => quantile(param.as_deref(), bounds(expr)),
            Aggregation::Avg
            | Aggregation::Min
            | Aggregation::Max
            | Aggregation::TopK
            | Aggregation::BottomK
            | Aggregation::LimitK
            | Aggregation::LimitRatio => bounds(expr),
        },
        Kind::Binary {
            op,
            lhs,
            rhs,
            returns_bool,
            matching,
            ..
        } => {
            if matching.fill_left.is_some() || matching.fill_right.is_some() {
                return ANY;
            }
            let (left, right) = (bounds(lhs), bounds(rhs));
            if *returns_bool {
                return match compare(left, *op, right) {
                    Holds::Never => Bounds::one(0.0),
                    Holds::Always | Holds::Depends => Bounds::new(0.0, 1.0),
                };
            }
            if op.is_comparison() && type_of(lhs) == Type::Scalar {
                return right;
            }
            arithmetic(*op, left, right)
        }
    }
}

/// A quantile between 0 and 1 lies among the values.
fn quantile(phi: Option<&Expr>, of: Bounds) -> Bounds {
    match phi.map(|p| bounds(p).only()) {
        Some(Some(phi)) if (0.0..=1.0).contains(&phi) => of,
        _ => ANY,
    }
}

fn call(function: &str, args: &[Expr]) -> Bounds {
    let arg = |i: usize| args.get(i).map_or(ANY, bounds);
    match function {
        "vector" | "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc"
        | "label_replace" | "label_join" | "avg_over_time" | "min_over_time" | "max_over_time"
        | "first_over_time" | "last_over_time" => arg(0),
        "quantile_over_time" => quantile(args.first(), arg(1)),
        "sum_over_time" => arg(0).summed(),
        "absent" | "absent_over_time" | "present_over_time" => Bounds::one(1.0),
        "pi" => Bounds::one(std::f64::consts::PI),
        "count_over_time" => Bounds::at_least(1.0),
        "rate" | "irate" | "increase" | "changes" | "resets" | "stddev_over_time"
        | "stdvar_over_time" | "abs" | "exp" | "time" => Bounds::at_least(0.0),
        "sgn" => Bounds::new(-1.0, 1.0),
        "minute" => Bounds::new(0.0, 59.0),
        "hour" => Bounds::new(0.0, 23.0),
        "day_of_week" => Bounds::new(0.0, 6.0),
        "day_of_month" => Bounds::new(1.0, 31.0),
        "day_of_year" => Bounds::new(1.0, 366.0),
        "days_in_month" => Bounds::new(28.0, 31.0),
        "month" => Bounds::new(1.0, 12.0),
        "ceil" => arg(0).through(f64::ceil),
        "floor" => arg(0).through(f64::floor),
        "clamp_min" => arg(1)
            .only()
            .map_or(ANY, |least| arg(0).through(|v| v.max(least))),
        "clamp_max" => arg(1)
            .only()
            .map_or(ANY, |most| arg(0).through(|v| v.min(most))),
        "clamp" => match (arg(1).only(), arg(2).only()) {
            (Some(least), Some(most)) if least <= most => arg(0).through(|v| v.clamp(least, most)),
            _ => ANY,
        },
        _ => ANY,
    }
}

fn arithmetic(op: BinaryOp, left: Bounds, right: Bounds) -> Bounds {
    let constants = left.only().zip(right.only());
    match (op, constants) {
        (BinaryOp::Add, _) => Bounds::new(left.low + right.low, left.high + right.high),
        (BinaryOp::Sub, _) => Bounds::new(left.low - right.high, left.high - right.low),
        (BinaryOp::Mul, Some((a, b))) => Bounds::one(a * b),
        (BinaryOp::Div, Some((a, b))) => Bounds::one(a / b),
        (BinaryOp::Mod, Some((a, b))) => Bounds::one(a % b),
        (BinaryOp::Pow, Some((a, b))) => Bounds::one(a.powf(b)),
        (BinaryOp::Mul, None) if left.low >= 0.0 && right.low >= 0.0 => {
            Bounds::new(left.low * right.low, f64::INFINITY)
        }
        (BinaryOp::Div, None) if left.low >= 0.0 && right.low >= 0.0 => Bounds::at_least(0.0),
        (BinaryOp::Or, _) => left.or(right),
        (BinaryOp::And | BinaryOp::Unless, _) => left,
        _ if op.is_comparison() => left,
        _ => ANY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::promql::{Dialect, parse};

    #[test]
    fn an_expression_bounds_its_values() {
        let told: Vec<String> = [
            "up",
            "count(up)",
            "-count(up)",
            "absent(up)",
            "sum(rate(a[5m]))",
            "rate(a[5m]) / rate(b[5m])",
            "a / b",
            "100 * (1 - clamp(a, 0, 1))",
            "2 * 3 ^ 2",
            "vector(1) or vector(5)",
            "hour() + 1",
            "quantile(0.9, changes(a[5m]))",
            "quantile(2, changes(a[5m]))",
            "max_over_time(count(a)[1h:])",
            "(a > bool 3) + 1",
            "count(a) < bool 0",
            "1 < a",
            "0 / 0",
        ]
        .iter()
        .map(|text| {
            let Bounds { low, high } = bounds(&parse(text, Dialect::PLAIN).unwrap());
            format!("{text}: {low} to {high}")
        })
        .collect();
        expect_test::expect![[r#"
            up: -inf to inf
            count(up): 1 to inf
            -count(up): -inf to -1
            absent(up): 1 to 1
            sum(rate(a[5m])): 0 to inf
            rate(a[5m]) / rate(b[5m]): 0 to inf
            a / b: -inf to inf
            100 * (1 - clamp(a, 0, 1)): 0 to inf
            2 * 3 ^ 2: 18 to 18
            vector(1) or vector(5): 1 to 5
            hour() + 1: 1 to 24
            quantile(0.9, changes(a[5m])): 0 to inf
            quantile(2, changes(a[5m])): -inf to inf
            max_over_time(count(a)[1h:]): 1 to inf
            (a > bool 3) + 1: 1 to 2
            count(a) < bool 0: 0 to 0
            1 < a: -inf to inf
            0 / 0: -inf to inf"#]]
        .assert_eq(&told.join("\n"));
    }
}
