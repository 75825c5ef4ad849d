//! What the parser reads, and how that is printed.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

mod properties;
mod refusals;

use expect_test::{Expect, expect};

use super::*;
use crate::engine::promql::ast::{Length, Placed, Selector, Shift};

/// The expression without places and with its matchers in order: what printing and reading must keep.
fn bare(expr: &Expr) -> String {
    let mut expr = expr.clone();
    forget(&mut expr);
    format!("{expr:?}")
}

fn forget(expr: &mut Expr) {
    expr.span = 0..0;
    match &mut expr.kind {
        Kind::Number(_) | Kind::Text(_) => {}
        Kind::Vector(selector) => forget_selector(selector),
        Kind::Matrix { selector, range } => {
            forget_selector(selector);
            forget_length(range);
        }
        Kind::Subquery {
            expr,
            range,
            step,
            shift,
        } => {
            forget(expr);
            forget_length(range);
            step.iter_mut().for_each(forget_length);
            forget_shift(shift);
        }
        Kind::Call {
            name_span, args, ..
        } => {
            *name_span = 0..0;
            args.iter_mut().for_each(forget);
        }
        Kind::Aggregate { param, expr, .. } => {
            param.iter_mut().for_each(|param| forget(param));
            forget(expr);
        }
        Kind::Binary {
            op_span, lhs, rhs, ..
        } => {
            *op_span = 0..0;
            forget(lhs);
            forget(rhs);
        }
        Kind::Unary { expr, .. } | Kind::Paren(expr) => forget(expr),
    }
}

fn forget_selector(selector: &mut Selector) {
    selector.matchers.sort_by_key(ToString::to_string);
    forget_shift(&mut selector.shift);
}

fn forget_shift(shift: &mut Shift) {
    shift.offset.iter_mut().for_each(forget_length);
}

fn forget_length(length: &mut Placed<Length>) {
    length.span = 0..0;
    match &mut length.value {
        Length::Ms(_) | Length::Secs(_) | Length::Step | Length::Range => {}
        Length::Sign { of, .. } => forget_length(of),
        Length::Min(a, b) | Length::Max(a, b) => {
            forget_length(a);
            forget_length(b);
        }
        Length::Arithmetic { lhs, rhs, .. } => {
            forget_length(lhs);
            forget_length(rhs);
        }
    }
}

/// The expression with brackets around everything that is made of parts.
fn shape(expr: &Expr) -> String {
    match &expr.kind {
        Kind::Binary { op, lhs, rhs, .. } => {
            format!("[{} {} {}]", shape(lhs), op.sign(), shape(rhs))
        }
        Kind::Unary { negate, expr } => {
            format!("[{} {}]", if *negate { "neg" } else { "pos" }, shape(expr))
        }
        Kind::Paren(expr) => shape(expr),
        Kind::Call { function, args, .. } => {
            let args: Vec<String> = args.iter().map(shape).collect();
            format!("{function}<{}>", args.join(" "))
        }
        Kind::Subquery { expr, .. } => format!("[sub {}]", shape(expr)),
        _ => expr.to_string(),
    }
}

fn read(text: &str) -> Expr {
    parse(text, Dialect::ALL).unwrap_or_else(|e| panic!("{text}: {}", e.located(text)))
}

#[track_caller]
fn grouped(text: &str, expected: Expect) {
    expected.assert_eq(&shape(&read(text)));
}

#[test]
fn operators_bind_as_in_prometheus() {
    grouped("1 + 2 * 3 ^ 4 ^ 5", expect!["[1 + [2 * [3 ^ [4 ^ 5]]]]"]);
    grouped("1 - 2 - 3 / 4 % 5", expect!["[[1 - 2] - [[3 / 4] % 5]]"]);
    grouped(
        "a or b and c unless d",
        expect!["[a or [[b and c] unless d]]"],
    );
    grouped("a == b + 1 and c", expect!["[[a == [b + 1]] and c]"]);
    grouped("a atan2 b * c", expect!["[[a atan2 b] * c]"]);
    grouped("a </ 5 >/ 2 + 1", expect!["[[a </ 5] >/ [2 + 1]]"]);
    grouped("-a ^ 2 * b", expect!["[[neg [a ^ 2]] * b]"]);
    grouped("2 ^ -a ^ 3 + 4", expect!["[[2 ^ [neg [a ^ 3]]] + 4]"]);
    grouped("-1 * -2", expect!["[-1 * -2]"]);
    grouped("-1 ^ 2", expect!["[neg [1 ^ 2]]"]);
    grouped("- - 1", expect!["1"]);
    grouped("+a", expect!["[pos a]"]);
    grouped("rate((-a)[1h:])", expect!["rate<[sub [neg a]]>"]);
    grouped("a offset 5m + b", expect!["[a offset 5m + b]"]);
}

/// What is printed, which reads back as the same.
#[track_caller]
fn printed(text: &str, expected: Expect) {
    let expr = read(text);
    let once = expr.to_string();
    expected.assert_eq(&once);
    assert_eq!(bare(&read(&once)), bare(&expr), "{text} => {once}");
}

#[test]
fn numbers_are_read_as_go_reads_them() {
    printed("1", expect!["1"]);
    printed(".5", expect!["0.5"]);
    printed("1.", expect!["1"]);
    printed("1e3", expect!["1000"]);
    printed("1E-3", expect!["0.001"]);
    printed("0x1F", expect!["31"]);
    printed("0x_1f", expect!["31"]);
    printed("017", expect!["15"]);
    printed("08", expect!["8"]);
    printed("1_000.5", expect!["1000.5"]);
    printed("iNf", expect!["+Inf"]);
    printed("-Inf", expect!["-Inf"]);
    printed("NaN", expect!["NaN"]);
    printed("-0", expect!["-0"]);
    printed("1h30m", expect!["5400"]);
    printed("1ms", expect!["0.001"]);
    printed("9223372036854775807", expect!["9223372036854776000"]);
    printed("Inf ^ 2", expect!["Inf ^ 2"]);
}

#[test]
fn strings_have_the_escapes_of_go() {
    printed(r#""a\tb\"\\""#, expect![[r#""a\tb\"\\""#]]);
    printed(r#"'a"b\''"#, expect![[r#""a\"b'""#]]);
    printed("`a\\n\"'\n`", expect![[r#""a\\n\"'\n""#]]);
    printed(
        r#""\xff\377\u00ff\U0001F600é\a\x00""#,
        expect![[r#""\xff\xffÿ😀é\a\x00""#]],
    );
    assert_eq!(read(r#""\xff""#).kind, Kind::Text(vec![0xff]));
}

#[test]
fn selectors_are_spelt_in_one_way() {
    printed("up", expect!["up"]);
    printed("a:b:c", expect!["a:b:c"]);
    printed("up{}", expect!["up"]);
    printed(
        r#"up { b = 'x' , a =~ "y|z" , c!="", d!~`q` , }"#,
        expect![[r#"up{a=~"y|z",b="x",c!="",d!~"q"}"#]],
    );
    printed(
        r#"{"my.metric", "a.b"="v"}"#,
        expect![[r#"{"a.b"="v",__name__="my.metric"}"#]],
    );
    printed(r#"{__name__=~"a.+"}"#, expect![[r#"{__name__=~"a.+"}"#]]);
    printed(
        r#"x{sum="1",by="2",on="3"}"#,
        expect![[r#"x{by="2",on="3",sum="1"}"#]],
    );
    printed(
        "x[5m] offset -1h30m @ -1.5 smoothed",
        expect!["x[5m] smoothed @ -1.500 offset -1h30m"],
    );
    printed("x @ start() offset 90d", expect!["x @ start() offset 90d"]);
    printed("x @ END ( ) anchored", expect!["x @ end() anchored"]);
    printed("x @ 1h", expect!["x @ 3600.000"]);
    printed("x offset 0s", expect!["x"]);
    printed("x[300]", expect!["x[5m]"]);
    printed("x[1.5]", expect!["x[1s500ms]"]);
    printed("x[ 1y2w3d4h5m6s7ms ]", expect!["x[382d4h5m6s7ms]"]);
    printed("(a + b)[1h : 5m] @ 5", expect!["(a + b)[1h:5m] @ 5.000"]);
    printed("a[1w:] offset 2w", expect!["a[1w:] offset 2w"]);
    printed("a # comment }\n  [5m] # another", expect!["a[5m]"]);
}

#[test]
fn words_of_the_language_may_be_names() {
    for name in [
        "sum",
        "Sum",
        "topk",
        "by",
        "without",
        "and",
        "or",
        "unless",
        "offset",
        "start",
        "end",
        "step",
        "range",
        "min_of",
        "anchored",
        "smoothed",
        "fill",
        "fill_left",
        "FILL",
    ] {
        let text = format!("{name}{{a=\"b\"}} + {name}");
        assert_eq!(read(&text).to_string(), text);
    }
    printed(
        "sum by (sum, by, bool, on, offset, and, atan2, fill, group_left, start, a:b) (x)",
        expect![[
            r#"sum by (sum, by, bool, on, offset, and, atan2, fill, group_left, start, "a:b") (x)"#
        ]],
    );
    printed("and and and", expect!["and and and"]);
    printed("offset offset 5m", expect!["offset offset 5m"]);
}

#[test]
fn aggregations_have_one_spelling() {
    printed("SUM(x) BY (a, b,)", expect!["sum by (a, b) (x)"]);
    printed("sum by () (x)", expect!["sum(x)"]);
    printed("sum(x) without ()", expect!["sum without () (x)"]);
    printed("topk(5, x) by (a)", expect!["topk by (a) (5, x)"]);
    printed(
        r#"count_values("v", x)"#,
        expect![[r#"count_values("v", x)"#]],
    );
    printed(
        r#"sum by ("a.b", "without") (x)"#,
        expect![[r#"sum by ("a.b", "without") (x)"#]],
    );
    printed("limit_ratio(-0.5, x)", expect!["limit_ratio(-0.5, x)"]);
}

#[test]
fn operators_have_one_spelling() {
    printed(
        "a==bool on(x)group_left(y)b",
        expect!["a == bool on (x) group_left (y) b"],
    );
    printed(
        "a*ignoring(x)group_right b",
        expect!["a * ignoring (x) group_right () b"],
    );
    printed("a * on() b", expect!["a * on () b"]);
    printed("a * ignoring() b", expect!["a * b"]);
    printed("a + fill(0) b", expect!["a + fill (0) b"]);
    printed(
        "a + on(x) fill_right(-1)fill_left(1) b",
        expect!["a + on (x) fill_left (1) fill_right (-1) b"],
    );
    printed("a * on() group_left() 2", expect!["a * 2"]);
    printed("a AND B Or c", expect!["a and B or c"]);
}

#[test]
fn arithmetic_in_durations_reads_back() {
    printed("x[5m+1m]", expect!["x[5m + 1m]"]);
    printed("x[-5m+35m]", expect!["x[-5m + 35m]"]);
    printed("x[(5m)]", expect!["x[5m]"]);
    printed("x[30m1s-30m1s % 1m]", expect!["x[30m1s - 30m1s % 1m]"]);
    printed("x[1h-(2m-1m)]", expect!["x[1h - (2m - 1m)]"]);
    printed("x[(2^3)^2+2^3^2]", expect!["x[(2 ^ 3) ^ 2 + 2 ^ 3 ^ 2]"]);
    printed("x[(-2)^2*-3]", expect!["x[(-2) ^ 2 * -3]"]);
    printed("x[-2^2+1h]", expect!["x[-2 ^ 2 + 1h]"]);
    printed("x[2^-step()*4]", expect!["x[2 ^ -step() * 4]"]);
    printed(
        "x[min_of(step(),1m):MAX_OF(range(),2)]",
        expect!["x[min_of(step(), 1m):max_of(range(), 2)]"],
    );
    printed("x offset step()", expect!["x offset step()"]);
    printed("x offset -step()*2", expect!["x offset -step() * 2"]);
    printed("x offset (step()*2)", expect!["x offset (step() * 2)"]);
    printed(
        "x offset (step())*2 > 1",
        expect!["x offset (step() * 2) > 1"],
    );
    printed(
        "x offset -(step()*2)*2",
        expect!["x offset -(step() * 2) * 2"],
    );
    printed("x offset +(1+2)*2", expect!["x offset +(1 + 2) * 2"]);
    printed("x offset -(-step())", expect!["x offset -(-step())"]);
    printed("x offset 2 ^ 2", expect!["x offset 2s ^ 2"]);
    printed(
        "x offset -min_of(step(), 1s)^0",
        expect!["x offset -min_of(step(), 1s) ^ 0"],
    );
    printed("x[0.0001]", expect!["x[0.0001]"]);
}

#[test]
fn a_constant_length_is_milliseconds() {
    let range = |text: &str| match read(text).kind {
        Kind::Matrix { range, .. } => range,
        other => panic!("{other:?}"),
    };
    let placed = |span: Span, value| Placed { span, value };
    assert_eq!(range("x[90]"), placed(2..4, Length::Ms(90_000)));
    assert_eq!(range("x[1m]"), placed(2..4, Length::Ms(60_000)));
    assert_eq!(range("x[0.00025]"), placed(2..9, Length::Secs(0.000_25)));
    let offset = |text: &str| match read(text).kind {
        Kind::Vector(selector) => selector.shift.offset,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        offset("x offset -5m"),
        Some(placed(9..12, Length::Ms(-300_000)))
    );
    assert_eq!(offset("x offset 0"), None);
}

/// The text of every part, in the order of printing.
#[track_caller]
fn places(text: &str, expected: Expect) {
    let mut found = Vec::new();
    each(&read(text), &mut |expr| {
        found.push(text.get(expr.span.clone()).unwrap().to_owned());
    });
    expected.assert_eq(&found.join("\n"));
}

fn each(expr: &Expr, see: &mut impl FnMut(&Expr)) {
    see(expr);
    match &expr.kind {
        Kind::Number(_) | Kind::Text(_) | Kind::Vector(_) | Kind::Matrix { .. } => {}
        Kind::Subquery { expr, .. } | Kind::Unary { expr, .. } | Kind::Paren(expr) => {
            each(expr, see)
        }
        Kind::Call { args, .. } => args.iter().for_each(|arg| each(arg, see)),
        Kind::Aggregate { param, expr, .. } => {
            param.iter().for_each(|param| each(param, see));
            each(expr, see);
        }
        Kind::Binary { lhs, rhs, .. } => {
            each(lhs, see);
            each(rhs, see);
        }
    }
}

#[test]
fn every_part_knows_its_place() {
    places(
        " sum ( rate(x{a=\"b\"}[5m] offset 1m) ) by (a) / - (y @ 5) ",
        expect![[r#"
            sum ( rate(x{a="b"}[5m] offset 1m) ) by (a) / - (y @ 5)
            sum ( rate(x{a="b"}[5m] offset 1m) ) by (a)
            rate(x{a="b"}[5m] offset 1m)
            x{a="b"}[5m] offset 1m
            - (y @ 5)
            (y @ 5)
            y @ 5"#]],
    );
    places(
        "quantile_over_time( -1 , (a)[1h:] offset 5m )",
        expect![[r#"
            quantile_over_time( -1 , (a)[1h:] offset 5m )
            -1
            (a)[1h:] offset 5m
            (a)
            a"#]],
    );
}

#[test]
fn places_are_counted_as_prometheus_counts() {
    let place = |at| Place::of("ab\ncé\nd", at).to_string();
    assert_eq!(place(0), "1:1");
    assert_eq!(place(2), "1:3");
    assert_eq!(place(3), "2:1");
    assert_eq!(place(7), "3:1");
    assert_eq!(place(99), "3:2");
    assert_eq!(Place::of("", 0).to_string(), "1:1");
}
