//! Whether an alert's expression can ever be false, and whether it can ever be true.
//!
//! Only what is certain is said. `vector(1)` fires always and is meant to: it is a heartbeat. `count(x) > 0` fires
//! wherever there is an x, which is what its author wants.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::config::lint::bounds::{Holds, bounds, compare};
use crate::engine::promql::ast::{BinaryOp, Expr, Kind, Span, Type};
use crate::engine::promql::type_of;

/// What is wrong with when an alert fires, and where in the expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Odd {
    /// No sample can make this comparison true.
    Never(Span),
    /// No sample can make this comparison false.
    Always(Span),
    /// A comparison with `bool` gives 0 or 1, and both fire.
    Bool(Span),
    /// There is no condition at all: it fires wherever there is data.
    NoCondition(Span),
}

/// What is odd about an alert's expression.
pub fn odd(expr: &Expr) -> Option<Odd> {
    if let Some(span) = never(expr) {
        return Some(Odd::Never(span));
    }
    if let Some(span) = always(expr) {
        return Some(Odd::Always(span));
    }
    let top = bare(expr);
    if let Kind::Binary {
        returns_bool: true,
        op_span,
        ..
    } = &top.kind
        && type_of(top) == Type::Vector
    {
        return Some(Odd::Bool(op_span.clone()));
    }
    let seen = Seen::of(expr);
    (seen.measures && seen.reads && !seen.chooses).then(|| Odd::NoCondition(expr.span.clone()))
}

/// Without brackets around it.
fn bare(expr: &Expr) -> &Expr {
    match &expr.kind {
        Kind::Paren(inner) => bare(inner),
        _ => expr,
    }
}

/// Where a comparison stands that leaves the whole expression without a result, whatever the samples.
fn never(expr: &Expr) -> Option<Span> {
    match &expr.kind {
        Kind::Number(_) | Kind::Text(_) | Kind::Vector(_) | Kind::Matrix { .. } => None,
        Kind::Paren(inner)
        | Kind::Subquery { expr: inner, .. }
        | Kind::Unary { expr: inner, .. }
        | Kind::Aggregate { expr: inner, .. } => never(inner),
        // `absent` of nothing is something, and `scalar` of nothing is a number.
        Kind::Call { function, .. } if function.starts_with("absent") || *function == "scalar" => {
            None
        }
        Kind::Call { args, .. } => args.iter().find_map(never),
        Kind::Binary {
            op,
            op_span,
            lhs,
            rhs,
            returns_bool,
            matching,
        } => {
            let inner = match op {
                BinaryOp::Or => never(lhs).filter(|_| never(rhs).is_some()),
                BinaryOp::Unless => never(lhs),
                _ if matching.fill_left.is_some() || matching.fill_right.is_some() => None,
                _ => never(lhs).or_else(|| never(rhs)),
            };
            let filters = op.is_comparison() && !returns_bool;
            let here = filters && compare(bounds(lhs), *op, bounds(rhs)) == Holds::Never;
            inner.or_else(|| here.then(|| op_span.clone()))
        }
    }
}

/// Where a comparison stands that no sample can make false, if the alert hangs on it.
fn always(expr: &Expr) -> Option<Span> {
    let expr = bare(expr);
    let Kind::Binary {
        op,
        op_span,
        lhs,
        rhs,
        returns_bool: false,
        matching,
    } = &expr.kind
    else {
        return None;
    };
    match op {
        BinaryOp::And => always(lhs).filter(|_| always(rhs).is_some()),
        BinaryOp::Or => always(lhs).or_else(|| always(rhs)),
        _ if op.is_comparison()
            && matching.fill_left.is_none()
            && matching.fill_right.is_none() =>
        {
            let (left, right) = (bounds(lhs), bounds(rhs));
            // What is one or more as soon as it is there is asked for whether it is there.
            let presence = Seen::of(expr).reads && (left.low >= 1.0 || right.low >= 1.0);
            let holds = compare(left, *op, right) == Holds::Always;
            (holds && !presence).then(|| op_span.clone())
        }
        _ => None,
    }
}

/// What occurs in an expression.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// A selector.
    reads: bool,
    /// Something that leaves series out, or may have been made by something that does.
    chooses: bool,
    /// A number is worked out, as opposed to a series that may only be there when something is wrong.
    measures: bool,
}

/// Functions whose result is a measured number.
const MEASURES: &[&str] = &[
    "rate",
    "irate",
    "increase",
    "delta",
    "idelta",
    "deriv",
    "predict_linear",
    "histogram_quantile",
    "changes",
    "resets",
];

impl Seen {
    fn of(expr: &Expr) -> Seen {
        let mut seen = Seen::default();
        seen.walk(expr);
        seen
    }
    fn walk(&mut self, expr: &Expr) {
        match &expr.kind {
            Kind::Number(_) | Kind::Text(_) => {}
            Kind::Vector(selector) | Kind::Matrix { selector, .. } => {
                self.reads = true;
                // A recorded series may hold what passed a comparison, and `ALERTS` does.
                let name = selector.matchers.iter().find(|m| m.name == "__name__");
                self.chooses |=
                    name.is_none_or(|m| m.value.contains(':') || m.value.starts_with("ALERTS"));
            }
            Kind::Paren(inner)
            | Kind::Subquery { expr: inner, .. }
            | Kind::Unary { expr: inner, .. } => self.walk(inner),
            Kind::Aggregate { param, expr, .. } => {
                param.iter().for_each(|p| self.walk(p));
                self.walk(expr);
            }
            Kind::Call { function, args, .. } => {
                self.measures |= MEASURES.contains(function);
                self.chooses |= function.starts_with("absent") || *function == "present_over_time";
                args.iter().for_each(|a| self.walk(a));
            }
            Kind::Binary {
                op,
                lhs,
                rhs,
                returns_bool,
                ..
            } => {
                self.chooses |= op.is_set() || op.is_comparison() && !returns_bool;
                self.measures |= !op.is_set() && !op.is_comparison();
                self.walk(lhs);
                self.walk(rhs);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::promql::{Dialect, parse};

    fn told(text: &str) -> String {
        let expr = parse(text, Dialect::PLAIN).unwrap();
        let at = |span: Span| text.get(span).unwrap_or("?").to_owned();
        let odd = match odd(&expr) {
            None => "fine".to_owned(),
            Some(Odd::Never(span)) => format!("never, by `{}`", at(span)),
            Some(Odd::Always(span)) => format!("always, by `{}`", at(span)),
            Some(Odd::Bool(span)) => format!("bool, by `{}`", at(span)),
            Some(Odd::NoCondition(span)) => format!("no condition in `{}`", at(span)),
        };
        format!("{text}: {odd}")
    }

    #[test]
    fn what_is_certain_is_said() {
        let all = [
            "1 > bool 2",
            "vector(1) > 2",
            "vector(2) > 1",
            "count(up) == 0",
            "count by (job) (up == 0) < 1",
            "absent(up) == 0",
            "(rate(a[5m]) < 0)",
            "rate(a[5m]) >= 0",
            "sum(rate(a[5m]) < 0) > 5 and up",
            "up == 0 or count(up) < 1",
            "count(a) < 1 or hour() > 23",
            "up > bool 0",
            "rate(a[5m])",
            "a / b",
            "topk(3, 100 * a)",
            "(a > bool 1) * (b > bool 2)",
        ];
        expect_test::expect![[r#"
            1 > bool 2: fine
            vector(1) > 2: never, by `>`
            vector(2) > 1: always, by `>`
            count(up) == 0: never, by `==`
            count by (job) (up == 0) < 1: never, by `<`
            absent(up) == 0: never, by `==`
            (rate(a[5m]) < 0): never, by `<`
            rate(a[5m]) >= 0: always, by `>=`
            sum(rate(a[5m]) < 0) > 5 and up: never, by `<`
            up == 0 or count(up) < 1: fine
            count(a) < 1 or hour() > 23: never, by `<`
            up > bool 0: bool, by `>`
            rate(a[5m]): no condition in `rate(a[5m])`
            a / b: no condition in `a / b`
            topk(3, 100 * a): no condition in `topk(3, 100 * a)`
            (a > bool 1) * (b > bool 2): no condition in `(a > bool 1) * (b > bool 2)`"#]]
        .assert_eq(&all.map(told).join("\n"));
    }

    #[test]
    fn what_may_be_meant_is_left_alone() {
        for text in [
            "vector(1)",
            "1",
            "up",
            "up == 0",
            "ALERTS{alertstate=\"firing\"}",
            "count(kube_broken_things) > 0",
            "absent(up)",
            "absent(up) == 1",
            "absent(count(up) < 1)",
            "sum(job:errors:rate5m / job:all:rate5m)",
            "rate(a[5m]) > 0 and on (job) count(b) > 0",
            "a unless b",
            "sum(kube_broken_things)",
            "present_over_time(a[5m]) * 2",
            "scalar(count(a) < 1) * b > 1",
            "hour() > 22",
            "a > 1 and a < 0",
        ] {
            assert_eq!(told(text), format!("{text}: fine"));
        }
    }
}
