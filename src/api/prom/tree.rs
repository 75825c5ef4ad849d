//! An expression as a tree in JSON, in the shape that Prometheus gives to its user interface.

use serde_json::{Value, json};

use crate::api::prom::written::plain;
use crate::engine::promql::ast::{
    At, Edges, Expr, Grouping, Kind, Length, Matching, On, Placed, Selector, Shift, Side, Type,
};
use crate::engine::promql::signature::{Repeat, signature};
use crate::engine::promql::type_of;
use crate::model::labels::{MatchOp, Matcher};

/// The tree of an expression.
pub fn tree(expr: &Expr) -> Value {
    match &expr.kind {
        Kind::Number(value) => json!({"type": "numberLiteral", "val": plain(*value)}),
        Kind::Text(text) => {
            json!({"type": "stringLiteral", "val": String::from_utf8_lossy(text)})
        }
        Kind::Vector(s) => selector("vectorSelector", s),
        Kind::Matrix { selector: s, range } => {
            let mut shown = selector("matrixSelector", s);
            shown["range"] = ms(range).into();
            shown
        }
        Kind::Subquery {
            expr,
            range,
            step,
            shift,
        } => {
            let mut shown = json!({
                "type": "subquery", "expr": tree(expr), "range": ms(range),
                "step": step.as_ref().map_or(0, ms),
            });
            shifted(&mut shown, shift);
            shown
        }
        Kind::Call { function, args, .. } => {
            let args: Vec<Value> = args.iter().map(tree).collect();
            json!({"type": "call", "func": called(function), "args": args})
        }
        Kind::Aggregate {
            op,
            grouping,
            param,
            expr,
        } => {
            let (labels, without) = match grouping {
                Grouping::By(labels) => (labels, false),
                Grouping::Without(labels) => (labels, true),
            };
            json!({
                "type": "aggregation", "op": op.name(), "expr": tree(expr),
                "param": param.as_deref().map(tree), "grouping": labels, "without": without,
            })
        }
        Kind::Binary {
            op,
            lhs,
            rhs,
            returns_bool,
            matching,
            ..
        } => {
            let vectors = type_of(lhs) == Type::Vector && type_of(rhs) == Type::Vector;
            let shown = vectors.then(|| matched(matching, op.is_set()));
            json!({
                "type": "binaryExpr", "op": op.sign(), "lhs": tree(lhs), "rhs": tree(rhs),
                "matching": shown, "bool": returns_bool,
            })
        }
        Kind::Unary { negate, expr } => {
            let op = if *negate { "-" } else { "+" };
            json!({"type": "unaryExpr", "op": op, "expr": tree(expr)})
        }
        Kind::Paren(expr) => json!({"type": "parenExpr", "expr": tree(expr)}),
    }
}

fn selector(kind: &str, s: &Selector) -> Value {
    let matchers: Vec<Value> = s.matchers.iter().map(matcher).collect();
    let mut shown = json!({
        "type": kind, "name": s.name.as_deref().unwrap_or(""), "matchers": matchers,
        "anchored": s.edges == Edges::Anchored, "smoothed": s.edges == Edges::Smoothed,
    });
    shifted(&mut shown, &s.shift);
    shown
}

fn matcher(m: &Matcher) -> Value {
    let op = match m.op {
        MatchOp::Equal => "=",
        MatchOp::NotEqual => "!=",
        MatchOp::Regex => "=~",
        MatchOp::NotRegex => "!~",
    };
    json!({"name": m.name, "value": m.value, "type": op})
}

fn shifted(shown: &mut Value, shift: &Shift) {
    shown["offset"] = shift.offset.as_ref().map_or(0, ms).into();
    let (at, end) = match shift.at {
        None => (None, None),
        Some(At::Ms(at)) => (Some(at), None),
        Some(At::Start) => (None, Some("start")),
        Some(At::End) => (None, Some("end")),
    };
    shown["timestamp"] = at.into();
    shown["startOrEnd"] = end.into();
}

/// Milliseconds; 0 where they are worked out when the query runs.
fn ms(length: &Placed<Length>) -> i64 {
    match &length.value {
        Length::Ms(ms) => *ms,
        Length::Secs(s) => (s * 1_000.0) as i64,
        Length::Step
        | Length::Range
        | Length::Sign { .. }
        | Length::Arithmetic { .. }
        | Length::Min(..)
        | Length::Max(..) => 0,
    }
}

fn called(name: &str) -> Value {
    let Some(s) = signature(name) else {
        return json!({"name": name});
    };
    let args: Vec<&str> = s.args.iter().map(|t| word(*t)).collect();
    let variadic = match s.last {
        Repeat::Never => 0,
        Repeat::UpTo(times) => i64::try_from(times).unwrap_or(i64::MAX),
        Repeat::Any => -1,
    };
    json!({"name": name, "argTypes": args, "variadic": variadic, "returnType": word(s.yields)})
}

fn word(kind: Type) -> &'static str {
    match kind {
        Type::Scalar => "scalar",
        Type::Text => "string",
        Type::Vector => "vector",
        Type::Matrix => "matrix",
    }
}

fn matched(matching: &Matching, is_set: bool) -> Value {
    let card = match matching.side {
        Side::One if is_set => "many-to-many",
        Side::One => "one-to-one",
        Side::Left => "many-to-one",
        Side::Right => "one-to-many",
    };
    let (on, labels) = match &matching.on {
        None => (false, &[][..]),
        Some(On::On(labels)) => (true, labels.as_slice()),
        Some(On::Ignoring(labels)) => (false, labels.as_slice()),
    };
    json!({
        "card": card, "labels": labels, "on": on, "include": matching.include,
        "fillValues": {"lhs": matching.fill_left, "rhs": matching.fill_right},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::promql::{Dialect, parse};

    fn check(text: &str, want: expect_test::Expect) {
        want.assert_eq(&tree(&parse(text, Dialect::ALL).unwrap()).to_string());
    }

    #[test]
    fn a_tree_has_the_field_names_of_prometheus() {
        check(
            "1.5",
            expect_test::expect![[r#"{"type":"numberLiteral","val":"1.5"}"#]],
        );
        check(
            "-(a{b=~\"c\"} offset 1m)",
            expect_test::expect![[
                r#"{"expr":{"expr":{"anchored":false,"matchers":[{"name":"b","type":"=~","value":"c"},{"name":"__name__","type":"=","value":"a"}],"name":"a","offset":60000,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},"type":"parenExpr"},"op":"-","type":"unaryExpr"}"#
            ]],
        );
        check(
            "round(rate(a[5m] @ end()), 2)",
            expect_test::expect![[
                r#"{"args":[{"args":[{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"a"}],"name":"a","offset":0,"range":300000,"smoothed":false,"startOrEnd":"end","timestamp":null,"type":"matrixSelector"}],"func":{"argTypes":["matrix"],"name":"rate","returnType":"vector","variadic":0},"type":"call"},{"type":"numberLiteral","val":"2"}],"func":{"argTypes":["vector","scalar"],"name":"round","returnType":"vector","variadic":1},"type":"call"}"#
            ]],
        );
        check(
            "sum by (x) (a) / on (x) group_left (y) max_over_time(b[1h:])",
            expect_test::expect![[
                r#"{"bool":false,"lhs":{"expr":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"a"}],"name":"a","offset":0,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},"grouping":["x"],"op":"sum","param":null,"type":"aggregation","without":false},"matching":{"card":"many-to-one","fillValues":{"lhs":null,"rhs":null},"include":["y"],"labels":["x"],"on":true},"op":"/","rhs":{"args":[{"expr":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"b"}],"name":"b","offset":0,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},"offset":0,"range":3600000,"startOrEnd":null,"step":0,"timestamp":null,"type":"subquery"}],"func":{"argTypes":["matrix"],"name":"max_over_time","returnType":"vector","variadic":0},"type":"call"},"type":"binaryExpr"}"#
            ]],
        );
        check(
            "topk(1, a) or b > bool 2",
            expect_test::expect![[
                r#"{"bool":false,"lhs":{"expr":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"a"}],"name":"a","offset":0,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},"grouping":[],"op":"topk","param":{"type":"numberLiteral","val":"1"},"type":"aggregation","without":false},"matching":{"card":"many-to-many","fillValues":{"lhs":null,"rhs":null},"include":[],"labels":[],"on":false},"op":"or","rhs":{"bool":true,"lhs":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"b"}],"name":"b","offset":0,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},"matching":null,"op":">","rhs":{"type":"numberLiteral","val":"2"},"type":"binaryExpr"},"type":"binaryExpr"}"#
            ]],
        );
    }
}
