//! What the parser refuses, and how it says so.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use expect_test::{Expect, expect};

use super::super::*;

/// Each text, what is wrong in it where Prometheus would say so, and what to do.
#[track_caller]
fn refused(dialect: Dialect, texts: &[&str], expected: Expect) {
    let mut shown = String::new();
    for text in texts {
        let Err(error) = parse(text, dialect) else {
            panic!("{text} is read");
        };
        let place = Place::of(text, error.span.start);
        shown.push_str(&format!("{text}\n  {place} {}\n", error.message));
        if let Some(hint) = error.hint {
            shown.push_str(&format!("  help: {hint}\n"));
        }
    }
    expected.assert_eq(&shown);
}

#[test]
fn broken_texts() {
    refused(
        Dialect::ALL,
        &[
            "",
            " # nothing",
            "a +",
            "a b",
            "(a",
            "a)",
            "sum(a",
            "a{b=\"c\"",
            "a[5m",
            "a]",
            "a}",
            "a[[5m]",
            "a = b",
            "a =~ b",
            "a ! b",
            "a && b",
            "my.metric > 1",
            "ü",
            "1 2",
            "== 1",
            "bool",
            "a:b(c)",
            "a \"unclosed",
        ],
        expect![[r#"

              1:1 no expression found in input
              help: write for example `up == 0`
             # nothing
              1:1 no expression found in input
              help: write for example `up == 0`
            a +
              1:4 unexpected end of input, expected a metric, a number, a function, an aggregation or `(`
            a b
              1:3 unexpected identifier "b", expected an operator or the end of the expression
            (a
              1:1 unclosed left parenthesis
              help: close it with `)`
            a)
              1:2 unexpected right parenthesis ')'
              help: there is no `(` open that it could close
            sum(a
              1:4 unclosed left parenthesis
              help: close it with `)`
            a{b="c"
              1:2 unexpected end of input inside braces
              help: close it with `}`
            a[5m
              1:2 unclosed left bracket
              help: close it with `]`
            a]
              1:2 unexpected right bracket ']'
              help: there is no `[` open that it could close
            a}
              1:2 unexpected character: '}'
              help: there is no `{` open that it could close
            a[[5m]
              1:3 unexpected left bracket '['
              help: a range is open already: close it with `]`
            a = b
              1:3 unexpected "=", expected an operator or the end of the expression
              help: `=` belongs in braces; numbers are compared with `==`
            a =~ b
              1:3 unexpected character after '=': '~'
              help: `=~` stands between a label and a value inside braces; numbers are compared with `==`
            a ! b
              1:3 unexpected character after '!'
              help: the operator is `!=`; a condition is turned round with `unless`
            a && b
              1:3 unexpected character: '&'
              help: the operators are the words `and`, `or` and `unless`
            my.metric > 1
              1:3 unexpected character: '.'
              help: a metric's name with other characters than letters, digits, `_` and `:` is written `{"the.name"}`
            ü
              1:1 unexpected character: 'ü'
              help: a metric's name with other characters than letters, digits, `_` and `:` is written `{"the.name"}`
            1 2
              1:3 unexpected number "2", expected an operator or the end of the expression
            == 1
              1:1 unexpected <op:==>, expected a metric, a number, a function, an aggregation or `(`
            bool
              1:1 unexpected <bool>, expected a metric, a number, a function, an aggregation or `(`
            a:b(c)
              1:4 unexpected "(", expected an operator or the end of the expression
            a "unclosed
              1:3 unterminated quoted string
              help: end it with the same quote on the same line; a string over several lines stands in backticks
        "#]],
    );
}

#[test]
fn broken_numbers_and_strings() {
    refused(
        Dialect::ALL,
        &[
            "1__0",
            "0x",
            "0xffffffffffffffffff",
            "1e999",
            "1e",
            "1x",
            "1.5h",
            "a[5m1h]",
            "5m5m",
            "5hs",
            "a[400y]",
            "a[99999999999999999999y]",
            "a offset 1e300",
            "a[NaN]",
            "a @ Inf",
            "a @ 1e30",
            r#""a\qb""#,
            r#""\xf""#,
            r#""\400""#,
            r#""\ud800""#,
            "\"a\nb\"",
            "'a",
            "`a",
        ],
        expect![[r#"
            1__0
              1:1 error parsing number: `_` must stand between digits in "1__0"
            0x
              1:1 error parsing number: a hexadecimal number has 1 to 16 digits and is at most 0x7fffffffffffffff in "0x"
            0xffffffffffffffffff
              1:1 error parsing number: a hexadecimal number has 1 to 16 digits and is at most 0x7fffffffffffffff in "0xffffffffffffffffff"
            1e999
              1:1 error parsing number: value out of range in "1e999"
            1e
              1:1 bad number or duration syntax: "1e"
              help: numbers look like 1.5, 1e6 or 0x1f; durations like 90s, 5m or 1h30m, with the units ms, s, m, h, d, w, y
            1x
              1:1 bad number or duration syntax: "1x"
              help: numbers look like 1.5, 1e6 or 0x1f; durations like 90s, 5m or 1h30m, with the units ms, s, m, h, d, w, y
            1.5h
              1:1 bad number or duration syntax: "1.5h"
              help: numbers look like 1.5, 1e6 or 0x1f; durations like 90s, 5m or 1h30m, with the units ms, s, m, h, d, w, y
            a[5m1h]
              1:3 not a valid duration string: "5m1h"
            5m5m
              1:1 not a valid duration string: "5m5m"
            5hs
              1:1 not a valid duration string: "5hs"
            a[400y]
              1:3 duration out of range
            a[99999999999999999999y]
              1:3 duration out of range
            a offset 1e300
              1:10 duration out of range
            a[NaN]
              1:3 duration out of range
            a @ Inf
              1:1 timestamp out of bounds for @ modifier: inf
            a @ 1e30
              1:1 timestamp out of bounds for @ modifier: 1000000000000000000000000000000
            "a\qb"
              1:3 unknown escape sequence `\q`
              help: a backslash is written `\\`; in backticks it needs no second one
            "\xf"
              1:2 escape sequence not terminated
              help: a backslash is written `\\`; in backticks it needs no second one
            "\400"
              1:2 escape sequence is an invalid Unicode code point
              help: a backslash is written `\\`; in backticks it needs no second one
            "\ud800"
              1:2 escape sequence is an invalid Unicode code point
              help: a backslash is written `\\`; in backticks it needs no second one
            "a
            b"
              1:1 unterminated quoted string
              help: end it with the same quote on the same line; a string over several lines stands in backticks
            'a
              1:1 unterminated quoted string
              help: end it with the same quote on the same line; a string over several lines stands in backticks
            `a
              1:1 unterminated raw string
              help: end it with a backtick
        "#]],
    );
}

#[test]
fn broken_selectors() {
    refused(
        Dialect::ALL,
        &[
            "{}",
            "{a=\"\"}",
            "{a=~\".*\"}",
            "{a=~\".*\"}[5m]",
            "a{__name__=\"b\"}",
            "a{\"b\"}",
            "a{b}",
            "a{b=c}",
            "a{b=\"c\" d=\"e\"}",
            "a{b==\"c\"}",
            "a{b!\"c\"}",
            "a{=\"c\"}",
            "a{b:c=\"d\"}",
            "a{b=~\"(\"}",
            "a{,}",
            "a{b=\"\\xff\"}",
            "a[]",
            "a[5]m",
            "a[0]",
            "a[-5m]",
            "a[foo]",
            "a[5m:0s]",
            "a[5m:1m",
            "a[5m 1m]",
            "a[5m][5m]",
            "rate(a)[5m]",
            "a offset 5m[5m]",
            "a @ 5[5m]",
            "a offset",
            "a offset b",
            "a offset 5m offset 5m",
            "sum(a) offset 5m",
            "a @ b",
            "a @ 5 @ 6",
            "(a) @ 5",
            "a smoothed anchored",
            "a[5m:] anchored",
            "1 smoothed",
            "a[5m/0]",
            "a[5m%0s]",
        ],
        expect![[r#"
            {}
              1:1 vector selector must contain at least one non-empty matcher
              help: name a metric, or a label that must be there: `{job=~".+"}`
            {a=""}
              1:1 vector selector must contain at least one non-empty matcher
              help: name a metric, or a label that must be there: `{job=~".+"}`
            {a=~".*"}
              1:1 vector selector must contain at least one non-empty matcher
              help: name a metric, or a label that must be there: `{job=~".+"}`
            {a=~".*"}[5m]
              1:1 vector selector must contain at least one non-empty matcher
              help: name a metric, or a label that must be there: `{job=~".+"}`
            a{__name__="b"}
              1:1 metric name must not be set twice: "a" or "b"
              help: leave the name before the braces out, or the matcher in them
            a{"b"}
              1:1 metric name must not be set twice: "a" or "b"
              help: leave the name before the braces out, or the matcher in them
            a{b}
              1:4 unexpected "}" in label matching, expected label matching operator
            a{b=c}
              1:5 unexpected identifier "c" in label matching, expected string
              help: the value of a matcher stands in quotes
            a{b="c" d="e"}
              1:9 unexpected identifier "d" in label matching, expected "," or "}"
            a{b=="c"}
              1:5 unexpected "=" in label matching, expected string
              help: the value of a matcher stands in quotes
            a{b!"c"}
              1:4 unexpected character after '!' inside braces
              help: the operators of a matcher that begin so are `!=` and `!~`
            a{="c"}
              1:3 unexpected "=" in label matching, expected identifier or "}"
            a{b:c="d"}
              1:4 unexpected character inside braces: ':'
              help: a matcher is written `label="value"`; a label's name with other characters than letters, digits and `_` needs quotes
            a{b=~"("}
              1:3 error parsing regexp: `(` is not a regular expression: unclosed group
              help: a character with a meaning of its own, like `(` or `*`, is escaped with `\\`
            a{,}
              1:3 unexpected "," in label matching, expected identifier or "}"
            a{b="\xff"}
              1:5 a label's name or value must be UTF-8
              help: no series has such a label, so nothing would be found
            a[]
              1:3 unexpected "]" in subquery or range selector, expected number, duration, step(), or range()
            a[5]m
              1:5 unexpected identifier "m", expected an operator or the end of the expression
            a[0]
              1:3 duration must be greater than 0
            a[-5m]
              1:3 duration must be greater than 0
            a[foo]
              1:3 unexpected identifier "foo" in subquery or range selector, expected number, duration, step(), or range()
            a[5m:0s]
              1:6 duration must be greater than 0
            a[5m:1m
              1:2 unclosed left bracket
              help: close it with `]`
            a[5m 1m]
              1:6 unexpected duration "1m" in subquery or range, expected ":" or "]"
            a[5m][5m]
              1:6 ranges only allowed for vector selectors
              help: a range over any other expression is a subquery: put a colon after the range, as in `[5m:]`
            rate(a)[5m]
              1:8 ranges only allowed for vector selectors
              help: a range over any other expression is a subquery: put a colon after the range, as in `[5m:]`
            a offset 5m[5m]
              1:12 no offset modifiers allowed before range
              help: write the range first: `name[5m] offset 1h`
            a @ 5[5m]
              1:6 no @ modifiers allowed before range
              help: write the range first: `name[5m] @ 1609746000`
            a offset
              1:9 unexpected end of input in offset, expected number, duration, step(), or range()
            a offset b
              1:10 unexpected identifier "b" in offset, expected number, duration, step(), or range()
            a offset 5m offset 5m
              1:1 offset may not be set multiple times
              help: add the two up
            sum(a) offset 5m
              1:1 offset modifier must be preceded by an instant vector selector or range vector selector or a subquery
              help: put it after the metric, inside of the function or the brackets
            a @ b
              1:5 unexpected identifier "b" in @, expected timestamp
            a @ 5 @ 6
              1:1 @ <timestamp> may not be set multiple times
            (a) @ 5
              1:1 @ modifier must be preceded by an instant vector selector or range vector selector or a subquery
              help: put it after the metric, inside of the function or the brackets
            a smoothed anchored
              1:1 anchored and smoothed modifiers cannot be used together
            a[5m:] anchored
              1:1 anchored modifier is not supported for subqueries
            1 smoothed
              1:1 smoothed modifier not implemented
              help: it belongs right behind a selector
            a[5m/0]
              1:5 division by zero
            a[5m%0s]
              1:5 modulo by zero
        "#]],
    );
}

#[test]
fn broken_calls() {
    refused(
        Dialect::ALL,
        &[
            "foo(a)",
            "Rate(a[5m])",
            "rat(a[5m])",
            "holt_winters(a[5m], 1, 1)",
            "rate(a)",
            "rate(a[5m], 1)",
            "time(1)",
            "round(a, 1, 2)",
            "hour(a, b)",
            "label_join(a, \"b\")",
            "abs(a[5m])",
            "abs(1)",
            "clamp_max(a, b)",
            "label_replace(a, b, \"\", \"\", \"\")",
            "rate(a[5m],)",
            "rate(a[5m] b)",
            "info(a, b)",
            "info(a, sum(b))",
            "info(a, 1)",
            "deriv(a[5m] anchored)",
        ],
        expect![[r#"
            foo(a)
              1:1 unknown function with name "foo"
            Rate(a[5m])
              1:1 unknown function with name "Rate"
              help: did you mean `rate`?
            rat(a[5m])
              1:1 unknown function with name "rat"
              help: did you mean `rad`?
            holt_winters(a[5m], 1, 1)
              1:1 unknown function with name "holt_winters"
              help: since Prometheus 3 it is called `double_exponential_smoothing`
            rate(a)
              1:6 expected type range vector in call to function "rate", got instant vector
              help: give it a window: `name[5m]`, or `(expression)[5m:]`
            rate(a[5m], 1)
              1:1 expected 1 argument(s) in call to "rate", got 2
              help: it is called as `rate(range vector)`
            time(1)
              1:1 expected 0 argument(s) in call to "time", got 1
              help: it is called as `time()`
            round(a, 1, 2)
              1:1 expected at most 2 argument(s) in call to "round", got 3
              help: it is called as `round(instant vector, [scalar])`
            hour(a, b)
              1:1 expected at most 1 argument(s) in call to "hour", got 2
              help: it is called as `hour([instant vector])`
            label_join(a, "b")
              1:1 expected at least 3 argument(s) in call to "label_join", got 2
              help: it is called as `label_join(instant vector, string, string, [string, …])`
            abs(a[5m])
              1:5 expected type instant vector in call to function "abs", got range vector
              help: a window is read by a function such as `rate` or `avg_over_time`
            abs(1)
              1:5 expected type instant vector in call to function "abs", got scalar
              help: `vector(…)` makes a vector of a number
            clamp_max(a, b)
              1:14 expected type scalar in call to function "clamp_max", got instant vector
              help: `scalar(…)` makes a number of a vector with one element
            label_replace(a, b, "", "", "")
              1:18 expected type string in call to function "label_replace", got instant vector
              help: write it in quotes
            rate(a[5m],)
              1:11 trailing commas not allowed in function call args
              help: leave the last comma out
            rate(a[5m] b)
              1:12 unexpected identifier "b", expected an operator, `,` or `)`
            info(a, b)
              1:9 expected label selectors only, got vector selector instead
              help: leave the name out: `{version=~".+"}`; another info metric is `{__name__="…"}`
            info(a, sum(b))
              1:9 expected label selectors only
              help: the second argument names labels, as in `info(up, {version=~".+"})`
            info(a, 1)
              1:9 expected type instant vector in call to function "info", got scalar
              help: `vector(…)` makes a vector of a number
            deriv(a[5m] anchored)
              1:7 anchored modifier can only be used with: changes, delta, increase, rate, resets - not with deriv
        "#]],
    );
}

#[test]
fn broken_aggregations() {
    refused(
        Dialect::ALL,
        &[
            "sum()",
            "sum(a, b)",
            "topk(a)",
            "topk(a, b)",
            "count_values(a, b)",
            "sum(a[5m])",
            "sum(1)",
            "sum by (a)",
            "sum by a (b)",
            "sum by (a b) (c)",
            "sum by (,) (c)",
            "sum by (1) (c)",
            "sum by (without) (c)",
            "sum by (\"\") (c)",
            "sum by (a) (b) by (c)",
        ],
        expect![[r#"
            sum()
              1:1 no arguments for aggregate expression provided
              help: write what to aggregate: `sum(up)`
            sum(a, b)
              1:1 wrong number of arguments for aggregate expression provided, expected 1, got 2
              help: it is written `sum(instant vector)`
            topk(a)
              1:1 wrong number of arguments for aggregate expression provided, expected 2, got 1
              help: it is written `topk(scalar, instant vector)`
            topk(a, b)
              1:6 expected type scalar in aggregation parameter, got instant vector
              help: `scalar(…)` makes a number of a vector with one element
            count_values(a, b)
              1:14 expected type string in aggregation parameter, got instant vector
              help: write it in quotes
            sum(a[5m])
              1:5 expected type instant vector in aggregation expression, got range vector
              help: a window is read by a function such as `rate` or `avg_over_time`
            sum(1)
              1:5 expected type instant vector in aggregation expression, got scalar
              help: `vector(…)` makes a vector of a number
            sum by (a)
              1:11 unexpected end of input in aggregation, expected `(`
            sum by a (b)
              1:8 unexpected identifier "a" in grouping opts, expected "("
            sum by (a b) (c)
              1:11 unexpected identifier "b" in grouping opts, expected "," or ")"
            sum by (,) (c)
              1:9 unexpected "," in grouping opts, expected label
            sum by (1) (c)
              1:9 unexpected number "1" in grouping opts, expected label
            sum by (without) (c)
              1:9 unexpected <without> in grouping opts, expected label
              help: a label of this name needs quotes: `"without"`
            sum by ("") (c)
              1:9 invalid label name for grouping: ""
            sum by (a) (b) by (c)
              1:16 unexpected <by>, expected an operator or the end of the expression
        "#]],
    );
}

#[test]
fn broken_operators() {
    refused(
        Dialect::ALL,
        &[
            "1 == 1",
            "a + bool b",
            "a + group_left b",
            "a + on(x) group_left(x) b",
            "a + on(x) 1",
            "a and 1",
            "a and on(x) group_left b",
            "a and fill(0) b",
            "a + fill(0) 1",
            "a + fill(x) b",
            "a + \"b\"",
            "a[5m] + 1",
            "-\"a\"",
            "-a[5m]",
            "1[5m:]",
            "a[5m][5m:]",
            "a\n+\n  rate(b)",
        ],
        expect![[r#"
            1 == 1
              1:3 comparisons between scalars must use BOOL modifier
              help: two numbers have nothing to filter: `== bool` gives 0 or 1
            a + bool b
              1:3 bool modifier can only be used on comparison operators
              help: leave `bool` out
            a + group_left b
              1:5 unexpected <group_left>, expected `on (…)` or `ignoring (…)` before it
              help: say first which labels must be equal
            a + on(x) group_left(x) b
              1:3 label "x" must not occur in ON and GROUP clause at once
              help: a label that must be equal on both sides need not be copied
            a + on(x) 1
              1:1 vector matching only allowed between instant vectors
            a and 1
              1:1 set operator "and" not allowed in binary scalar expression
              help: `vector(…)` makes a vector of a number
            a and on(x) group_left b
              1:1 no grouping allowed for "and" operation
            a and fill(0) b
              1:1 filling in missing series not allowed for set operators
            a + fill(0) 1
              1:1 filling in missing series only allowed between instant vectors
            a + fill(x) b
              1:10 unexpected identifier "x" in fill, expected a number
            a + "b"
              1:5 binary expression must contain only scalar and instant vector types
              help: a string can only be an argument
            a[5m] + 1
              1:1 binary expression must contain only scalar and instant vector types
              help: a window is read by a function such as `rate` or `avg_over_time`
            -"a"
              1:1 unary expression only allowed on expressions of type scalar or instant vector, got "string"
            -a[5m]
              1:1 unary expression only allowed on expressions of type scalar or instant vector, got "range vector"
            1[5m:]
              1:1 subquery is only allowed on instant vector, got scalar instead
            a[5m][5m:]
              1:1 subquery is only allowed on instant vector, got matrix instead
            a
            +
              rate(b)
              3:8 expected type range vector in call to function "rate", got instant vector
              help: give it a window: `name[5m]`, or `(expression)[5m:]`
        "#]],
    );
}

#[test]
fn experiments_are_named_where_they_are_switched_off() {
    refused(
        Dialect::PLAIN,
        &[
            "limitk(1, a)",
            "info(a)",
            "start()",
            "a[5m + 1m]",
            "a[(5m)]",
            "a offset step()",
            "rate(a[5m] smoothed)",
            "a + fill(1) b",
        ],
        expect![[r#"
            limitk(1, a)
              1:1 limitk() is experimental and must be enabled with --enable-feature=promql-experimental-functions
              help: this is experimental in Prometheus and is not switched on here
            info(a)
              1:1 function "info" is not enabled
              help: this is experimental in Prometheus and is not switched on here
            start()
              1:1 function "start" is not enabled
              help: this is experimental in Prometheus and is not switched on here
            a[5m + 1m]
              1:3 experimental duration expression is not enabled
              help: this is experimental in Prometheus and is not switched on here
            a[(5m)]
              1:4 experimental duration expression is not enabled
              help: this is experimental in Prometheus and is not switched on here
            a offset step()
              1:10 experimental duration expression is not enabled
              help: this is experimental in Prometheus and is not switched on here
            rate(a[5m] smoothed)
              1:6 smoothed modifier is experimental and not enabled
              help: this is experimental in Prometheus and is not switched on here
            a + fill(1) b
              1:1 binop fill modifiers are experimental and not enabled
              help: this is experimental in Prometheus and is not switched on here
        "#]],
    );
}

/// Inputs that would be too deep to walk.
fn deep(open: &str, inside: &str, close: &str, times: usize) -> String {
    format!("{}{inside}{}", open.repeat(times), close.repeat(times))
}

#[test]
fn what_is_too_long_is_refused() {
    let long = format!("a{}", " ".repeat(EXPRESSION_BYTES_MAX));
    let error = parse(&long, Dialect::ALL).unwrap_err();
    assert_eq!(
        error.message,
        "the expression has 65537 bytes; at most 65536 are read"
    );
}

#[test]
fn what_is_too_deep_is_refused() {
    for times in [EXPRESSION_DEPTH_MAX + 1, 9_000] {
        for (open, inside, close) in [
            ("(", "a", ")"),
            ("-", "a", ""),
            ("- ", "1", ""),
            ("abs(", "a", ")"),
            ("sum(", "a", ")"),
            ("", "a", "[1m:]"),
            ("", "a", "+a"),
            ("", "a", " or a"),
            ("1^", "a", ""),
        ] {
            let text = deep(open, inside, close, times);
            let error = parse(&text, Dialect::ALL).unwrap_err();
            assert_eq!(
                error.message, "more than 200 expressions lie in each other here",
                "{open}{inside}{close}"
            );
        }
        for (open, inside, close) in [
            ("(", "1", ")"),
            ("-", "1", ""),
            ("", "1", "+1"),
            ("1^", "1", ""),
            ("min_of(1,", "1", ")"),
        ] {
            let text = format!("a[{}]", deep(open, inside, close, times));
            assert!(parse(&text, Dialect::ALL).is_err(), "{open}{inside}{close}");
        }
    }
}

/// All that walks an expression must do so on the stack of a test, which is a small one.
#[test]
fn what_is_just_not_too_deep_is_read() {
    for (open, inside, close, times) in [
        ("(", "a", ")", 199),
        ("-", "a", "", 199),
        ("abs(", "a", ")", 199),
        ("sum by (x) (", "a", ")", 199),
        ("", "a", "+a", 199),
        ("1^", "a", "", 199),
        ("(1+", "a", ")", 99),
    ] {
        let text = deep(open, inside, close, times);
        let expr = parse(&text, Dialect::ALL).unwrap();
        assert_eq!(
            parse(&expr.to_string(), Dialect::ALL).unwrap().to_string(),
            expr.to_string()
        );
    }
}
