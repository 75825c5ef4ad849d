//! Whether something was looked at and found fine, or not seen at all.
//!
//! An alert's expression filters: what is fine is not in its result, and neither is what has vanished. The same
//! expression without its filters tells the two apart: its result has the label sets of everything that was judged. A
//! target whose metrics are gone is not in there, so its alert is without data, and no recovery is read into that.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::engine::promql::ast::{Aggregation, BinaryOp, Expr, Kind, Matching};
use crate::engine::promql::reads::parts;

/// The expression without its filters. `None`: its result says nothing about who was looked at, as that of `absent`;
/// then what is not in the result of the expression itself is fine.
pub fn unfiltered(expr: &Expr) -> Option<Expr> {
    let with = |kind: Kind| {
        Some(Expr {
            span: expr.span.clone(),
            kind,
        })
    };
    match &expr.kind {
        Kind::Number(_) | Kind::Text(_) | Kind::Vector(_) | Kind::Matrix { .. } => {
            Some(expr.clone())
        }
        Kind::Paren(inner) => with(Kind::Paren(Box::new(unfiltered(inner)?))),
        Kind::Unary { negate, expr } => with(Kind::Unary {
            negate: *negate,
            expr: Box::new(unfiltered(expr)?),
        }),
        Kind::Subquery {
            expr,
            range,
            step,
            shift,
        } => with(Kind::Subquery {
            expr: Box::new(unfiltered(expr)?),
            range: range.clone(),
            step: step.clone(),
            shift: shift.clone(),
        }),
        Kind::Call {
            function,
            name_span,
            args,
        } => {
            if function.starts_with("absent") {
                return None;
            }
            let args: Option<Vec<Expr>> = args.iter().map(unfiltered).collect();
            with(Kind::Call {
                function,
                name_span: name_span.clone(),
                args: args?,
            })
        }
        Kind::Aggregate {
            op,
            grouping,
            param,
            expr: inner,
        } => match op {
            // These choose; whom they did not choose was looked at as well.
            Aggregation::TopK
            | Aggregation::BottomK
            | Aggregation::LimitK
            | Aggregation::LimitRatio => unfiltered(inner),
            // A count of values that nobody has any more is no count.
            Aggregation::CountValues => None,
            _ => with(Kind::Aggregate {
                op: *op,
                grouping: grouping.clone(),
                param: param.clone(),
                expr: Box::new(unfiltered(inner)?),
            }),
        },
        Kind::Binary { .. } => binary(expr),
    }
}

fn binary(expr: &Expr) -> Option<Expr> {
    let Kind::Binary {
        op,
        op_span,
        lhs,
        rhs,
        returns_bool,
        matching,
    } = &expr.kind
    else {
        return None;
    };
    let join = |op: BinaryOp, lhs: Expr, rhs: Expr, matching: Matching| {
        Some(Expr {
            span: expr.span.clone(),
            kind: Kind::Binary {
                op,
                op_span: op_span.clone(),
                lhs: Box::new(lhs),
                rhs: Box::new(rhs),
                returns_bool: *returns_bool,
                matching,
            },
        })
    };
    let (left, right) = (unfiltered(lhs), unfiltered(rhs));
    let on = Matching {
        on: matching.on.clone(),
        ..Matching::default()
    };
    match op {
        // What is unless something else is was looked at wherever it is.
        BinaryOp::Unless => left,
        BinaryOp::And => match (left, right) {
            (Some(left), Some(right)) => join(BinaryOp::And, left, right, on),
            (left, right) => left.filter(|_| right.is_none()),
        },
        BinaryOp::Or => join(BinaryOp::Or, left?, right?, on),
        _ if op.is_comparison() && !returns_bool => {
            use crate::engine::promql::ast::{Side, Type};
            use crate::engine::promql::type_of;
            let many = |e: &Expr| type_of(e) != Type::Scalar;
            match (many(lhs), many(rhs)) {
                (true, false) => left,
                (false, true) => right,
                (false, false) => Some(expr.clone()),
                // The result has other labels than either side: those of all pairs, equal or not.
                (true, true) if relabels(matching, left.as_ref(), right.as_ref()) => {
                    let (left, right) = (left?, right?);
                    let pairs = |op| join(op, left.clone(), right.clone(), matching.clone());
                    let (equal, other) = (pairs(BinaryOp::Equal)?, pairs(BinaryOp::NotEqual)?);
                    join(BinaryOp::Or, equal, other, Matching::default())
                }
                (true, true) if matching.side == Side::Right => {
                    join(BinaryOp::And, right?, left?, on)
                }
                (true, true) => join(BinaryOp::And, left?, right?, on),
            }
        }
        _ => join(*op, left?, right?, matching.clone()),
    }
}

/// Parts of two sides that are written twice: where such comparisons lie in each other it must not double for ever.
const TWICE_MAX: usize = 128;

/// Whether a match gives other labels than its sides have, and can be written twice.
fn relabels(matching: &Matching, left: Option<&Expr>, right: Option<&Expr>) -> bool {
    let other = matching.on.is_some() || !matching.include.is_empty();
    let parts = left.map_or(0, parts) + right.map_or(0, parts);
    other && parts <= TWICE_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::promql::{Dialect, parse};

    #[test]
    fn filters_go_and_what_they_look_at_stays() {
        let check = |text: &str, want: Option<&str>| {
            let plain = |e: &Expr| format!("{:?}", places_gone(e.clone()));
            let got = unfiltered(&parse(text, Dialect::PLAIN).unwrap());
            let want = want.map(|w| parse(w, Dialect::PLAIN).unwrap());
            assert_eq!(got.as_ref().map(plain), want.as_ref().map(plain), "{text}");
        };
        check("up == 0", Some("up"));
        check("0 == up", Some("up"));
        check("count by (job) (up == 0) > 2", Some("count by (job) (up)"));
        check("a / b > 0.05 and c > 10", Some("a / b and c"));
        check("a > b", Some("a and b"));
        check(
            "a > on (job) group_left b",
            Some("a == on (job) group_left b or a != on (job) group_left b"),
        );
        check("a unless b", Some("a"));
        check("topk(3, a) > 5", Some("a"));
        check("absent(up)", None);
        check("a > 1 and absent(b)", Some("a"));
        check(
            "max_over_time((a > 1)[1h:]) > 5",
            Some("max_over_time((a)[1h:])"),
        );
        check("a > bool 1", Some("a > bool 1"));
    }

    #[test]
    fn it_grows_within_bounds() {
        let chain = "a > on (job) ".repeat(60) + "a";
        let known = unfiltered(&parse(&chain, Dialect::PLAIN).unwrap()).unwrap();
        assert!(parts(&known) < 1_000, "{}", parts(&known));
    }

    /// Spans differ between two texts.
    fn places_gone(mut expr: Expr) -> Expr {
        expr.span = 0..0;
        match &mut expr.kind {
            Kind::Number(_) | Kind::Text(_) | Kind::Vector(_) => {}
            Kind::Matrix { range, .. } => range.span = 0..0,
            Kind::Subquery { expr, range, .. } => {
                range.span = 0..0;
                **expr = places_gone((**expr).clone());
            }
            Kind::Call {
                name_span, args, ..
            } => {
                *name_span = 0..0;
                args.iter_mut().for_each(|a| *a = places_gone(a.clone()));
            }
            Kind::Aggregate { expr, .. } | Kind::Unary { expr, .. } | Kind::Paren(expr) => {
                **expr = places_gone((**expr).clone());
            }
            Kind::Binary {
                op_span, lhs, rhs, ..
            } => {
                *op_span = 0..0;
                **lhs = places_gone((**lhs).clone());
                **rhs = places_gone((**rhs).clone());
            }
        }
        expr
    }
}
