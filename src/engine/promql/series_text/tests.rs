//! Lines and what they say.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use expect_test::{Expect, expect};
use proptest::prelude::*;

use crate::engine::promql::series_text::{
    Content, ITEMS_MAX, Written, parse, parse_histogram, parse_number, parse_string, write,
};
use crate::engine::promql::source::is_stale;

fn shown(line: &str) -> String {
    let line = match parse(line) {
        Ok(line) => line,
        Err(error) => return format!("{}: {error}", error.at),
    };
    let items: Vec<String> = match &line.content {
        Content::Samples(items) => items
            .iter()
            .map(|item| match item {
                None => "_".to_owned(),
                Some(Written::Float(v)) if is_stale(*v) => "stale".to_owned(),
                Some(Written::Float(v)) => v.to_string(),
                Some(Written::Histogram {
                    value,
                    hint_written,
                }) => {
                    let parts = value.parts();
                    let hint = if *hint_written { "!" } else { "" };
                    format!(
                        "h{}({} {} {:?}{:?}{:?}{:?}{hint})",
                        parts.schema.number(),
                        parts.count,
                        parts.sum,
                        parts.negative,
                        (parts.zero_threshold, parts.zero_count),
                        parts.positive,
                        parts.bounds,
                    )
                }
            })
            .collect(),
        Content::Starts(items) => items
            .iter()
            .map(|item| item.map_or("_".to_owned(), |ms| format!("{ms}ms")))
            .collect(),
    };
    format!("{} {}", line.labels, items.join(" "))
}

fn check(lines: &[&str], expected: Expect) {
    let all: Vec<String> = lines.iter().map(|l| shown(l)).collect();
    expected.assert_eq(&(all.join("\n") + "\n"));
}

#[test]
fn numbers_and_how_they_repeat() {
    check(
        &[
            "up 1 -2.5 1e10 .5 +3 Inf -Inf NaN 1_000 stale",
            "up 1x2 _ _x2 0x2 -1x1",
            "up  1+2x3\t10-2.5x2 1e1-1e0x1 -1-1x1",
            "up",
            "up ",
        ],
        expect![[r#"
            {__name__="up"} 1 -2.5 10000000000 0.5 3 inf -inf NaN 1000 stale
            {__name__="up"} 1 1 1 _ _ _ 0 0 0 -1 -1
            {__name__="up"} 1 3 5 7 10 7.5 5 10 9 -1 -2
            {__name__="up"} 
            {__name__="up"} 
        "#]],
    );
}

#[test]
fn series_are_named_in_four_ways() {
    check(
        &[
            r#"a:b{c="d", e='f' , g=`\`,} 1"#,
            r#"{__name__="a", "é é"="\u00e9\n"} 1"#,
            r#"{"a.b", c="d"} 1"#,
            "{} 1",
            r#"sum{by=""} 1"#,
        ],
        expect![[r#"
            {__name__="a:b",c="d",e="f",g="\\"} 1
            {__name__="a",é é="é\n"} 1
            {__name__="a.b",c="d"} 1
            {} 1
            {__name__="sum"} 1
        "#]],
    );
}

#[test]
fn histograms_and_how_they_grow() {
    check(
        &[
            "h {{}} {{ schema:1 sum:-0.3 count:32.1 z_bucket:7.1 z_bucket_w:0.05 buckets:[5.1 10 7] offset:-3 n_buckets:[4.1 5] n_offset:-5 }}",
            "h {{schema:-53 count:3 custom_values:[1 2.5] buckets:[1 2] counter_reset_hint:gauge}}x1",
            "h {{count:2 buckets:[2]}}+{{count:1 buckets:[1]}}x2 {{count:2 buckets:[2]}}-{{schema:1 count:1 buckets:[0 1] counter_reset_hint:reset}}x1",
        ],
        expect![[r#"
            {__name__="h"} h0(0 0 [](0.0, 0.0)[][]) h1(32.1 -0.3 [(-5, 4.1), (-4, 5.0)](0.05, 7.1)[(-3, 5.1), (-2, 10.0), (-1, 7.0)][])
            {__name__="h"} h-53(3 0 [](0.0, 0.0)[(0, 1.0), (1, 2.0)][1.0, 2.5]!) h-53(3 0 [](0.0, 0.0)[(0, 1.0), (1, 2.0)][1.0, 2.5]!)
            {__name__="h"} h0(2 0 [](0.0, 0.0)[(0, 2.0)][]) h0(3 0 [](0.0, 0.0)[(0, 3.0)][]) h0(4 0 [](0.0, 0.0)[(0, 4.0)][]) h0(2 0 [](0.0, 0.0)[(0, 2.0)][]!) h0(1 0 [](0.0, 0.0)[(0, 2.0), (1, -1.0)][]!)
        "#]],
    );
}

#[test]
fn start_timestamps() {
    check(
        &["up{a=\"b\"}@st _ _x2 -30s-1mx2 -59999ms-1mx1 0 0-1mx1 1h30mx1"],
        expect![[r#"
            {__name__="up",a="b"} _ _ _ -30000ms -90000ms -150000ms -59999ms -119999ms 0ms 0ms -60000ms 5400000ms 5400000ms
        "#]],
    );
}

#[test]
fn errors_say_where() {
    check(
        &[
            "",
            "5 6",
            "up 1 x",
            "up 1xx",
            "up 1x",
            "up 1x200001",
            "up 1x199999 2",
            "up 1+2",
            "up 1,2",
            "up 0x1f",
            "up nope",
            "up{a} 1",
            "up{a=1} 1",
            "up{a=\"b\" c=\"d\"} 1",
            "up{\"x\"} 1",
            "up{\"x\" 5} 1",
            "up{a=\"b} 1",
            r#"up{a="\xff"} 1"#,
            r#"up{a="x\q"} 1"#,
            "up{a=\"b\"",
            "up{a=\"b\"}1",
            "up@st 1",
            "up@st -",
            "h {{schema:9}}",
            "h {{sum:1 sum:1}}",
            "h {{colour:1}}",
            "h {{buckets:[1 a]}}",
            "h {{buckets:[1",
            "h {{offset:1.5}}",
            "h {{counter_reset_hint:maybe}}",
            "h {{schema:-53 custom_values:[2 1]}}",
            "h {{buckets:[1] offset:99999999999}}",
            "h {{schema:1}}+{{}}x1",
            "h {{}}+{{}}",
        ],
        expect![[r#"
            0: expected a series, but the line ends
            0: expected a series, but found '5'
            5: expected a number, `_`, `stale` or `{{`, but found 'x'
            5: expected a number of repetitions, but found 'x'
            5: expected a number of repetitions, but the line ends
            5: a line has at most 200000 samples
            13: a line has at most 200000 samples
            6: expected `x` and a number of repetitions, but the line ends
            4: expected a space, but found ','
            6: expected a space, but found 'f'
            3: error parsing number: invalid syntax in "nope"
            4: expected `=`, but found '}'
            5: expected a value in quotes, but found '1'
            9: expected `,` or `}`, but found 'c'
            3: the metric has a name already
            7: expected `=`, but found '5'
            5: the string is never closed
            5: the string is no UTF-8
            7: unknown escape sequence `\q`
            8: expected `,` or `}`, but the line ends
            9: expected a space, but found '1'
            6: not a valid duration string: "1"
            6: expected a duration or `_`, but found '-'
            11: there is no schema 9: -4 to 8, or -53
            10: `sum` is there twice
            4: expected a key of a histogram or `}}`, but found 'c'
            15: error parsing number: invalid syntax in "a"
            14: expected a number, `_`, `stale` or `{{`, but the line ends
            12: expected a key of a histogram or `}}`, but found '.'
            23: a hint is `unknown`, `reset`, `not_reset` or `gauge`
            2: custom bounds must be numbers that ascend, without +Inf
            2: there is no bucket with index 2147483647 in schema 0
            2: a histogram with schema 1 cannot grow by one with schema 0
            11: expected `x` and a number of repetitions, but the line ends
        "#]],
    );
}

#[test]
fn a_line_is_bounded() {
    let many = format!("up 1x{}", ITEMS_MAX - 1);
    assert!(parse(&many).is_ok());
    let buckets: String = (0..16_000).map(|i| format!("{i} ")).collect();
    let wide = format!("h {{{{schema:8 buckets:[{buckets}]}}}}+{{{{schema:8}}}}x1000");
    let error = parse(&wide).unwrap_err();
    assert!(error.what.contains("too large"), "{error}");
}

#[test]
fn what_is_written_reads_back() {
    for text in [
        "{{}}",
        "{{schema:1 count:32.1 sum:-0.3 z_bucket:7.1 z_bucket_w:0.05 offset:-3 buckets:[5.1 0 7] n_offset:-5 n_buckets:[4.1 5]}}",
        "{{schema:-53 count:3 custom_values:[1 2.5] counter_reset_hint:gauge buckets:[1 2]}}",
        "stale",
        "1e+21",
        "-0.5",
        "+Inf",
    ] {
        let line = parse(&format!("a {text}")).unwrap();
        let Content::Samples(items) = line.content else {
            panic!("samples");
        };
        let Some(Some(item)) = items.first() else {
            panic!("one sample");
        };
        assert_eq!(write(&item.value()), text);
    }
    let far = parse_histogram("{{buckets:[1]}}").unwrap();
    let mut parts = far.parts();
    parts.positive.push((2_000, 2.0));
    let far = crate::model::histogram::Histogram::new(parts).unwrap();
    assert_eq!(
        write(&crate::engine::promql::source::Value::Histogram(far.into())),
        "{{buckets:[1 (1999 empty) 2]}}"
    );
}

#[test]
fn scalars_and_strings_stand_alone() {
    assert_eq!(parse_number("-0x1f"), Some(-31.0));
    assert_eq!(parse_number("1e3"), Some(1000.0));
    assert_eq!(parse_number("1 2"), None);
    assert_eq!(parse_number("up"), None);
    assert_eq!(parse_string(r#""a\"b""#).unwrap(), "a\"b");
    assert_eq!(parse_string("`a`b").unwrap_err().at, 3);
    assert!(parse_string("a").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics(line in r#"(up|\{"a"|h\{a="b)?[ "}@st]{0,4}([ 0-9x+_.:e\[\]{}-]|\{\{|\}\}|stale|NaN|Inf|[0-9]m|buckets:\[|offset:|schema:|é){0,30}"#) {
        let _ = parse(&line);
    }

    #[test]
    fn a_run_has_one_sample_more_than_repetitions(a in -1000..1000_i32, b in 0..1000_i32, n in 0..100_usize) {
        let Ok(line) = parse(&format!("up {a}+{b}x{n} {a}-{b}x{n}")) else {
            return Err(TestCaseError::fail("no series"));
        };
        let Content::Samples(items) = line.content else {
            return Err(TestCaseError::fail("no samples"));
        };
        prop_assert_eq!(items.len(), 2 * (n + 1));
        let last = f64::from(a + b * n as i32);
        prop_assert_eq!(items.get(n), Some(&Some(Written::Float(last))));
    }
}
