//! Properties over random expressions and random data: nothing panics, an instant query is a step of a range query,
//! and the ways to read the same samples yield the same.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use proptest::prelude::*;

use super::{Data, query};
use crate::engine::promql::answer::Answer;
use crate::engine::promql::settings::Settings;
use crate::engine::promql::source::{Point, Value};
use crate::engine::promql::{Dialect, Plan, Workspace, parse};
use crate::model::labels::Labels;

fn series() -> impl Strategy<Value = (Labels, Vec<Point>)> {
    let value = prop_oneof![
        8 => (-20_i32..20).prop_map(|v| Some(f64::from(v))),
        1 => Just(Some(f64::NAN)),
        1 => Just(Some(f64::INFINITY)),
        2 => Just(None),
    ];
    (
        prop::sample::select(vec!["a_total", "b", "h_bucket"]),
        prop::sample::select(vec!["", "1", "2"]),
        prop::sample::select(vec!["", "0.5", "1", "+Inf", "no"]),
        prop::collection::vec(value, 0..24),
    )
        .prop_map(|(name, i, le, values)| {
            let labels = Labels::new()
                .with("__name__", name)
                .with("i", i)
                .with("le", le);
            let points = (0_i64..)
                .zip(values)
                .filter_map(|(n, v)| {
                    Some(Point {
                        ts: n * 15_000,
                        start_ts: None,
                        value: Value::Float(v?),
                    })
                })
                .collect();
            (labels, points)
        })
}

fn data() -> impl Strategy<Value = Data> {
    prop::collection::vec(series(), 0..8).prop_map(|series| {
        let mut data = Data {
            floats: true,
            settled: i64::MIN,
            ..Data::default()
        };
        for (labels, points) in series {
            if !data.series.iter().any(|(l, _)| *l == labels) {
                data.series.push((labels, points));
            }
        }
        data
    })
}

fn vector() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("a_total".to_owned()),
        Just("b{i='1'}".to_owned()),
        Just("{__name__=~'.+'}".to_owned()),
        Just("h_bucket offset 30s".to_owned()),
        Just("b @ 60".to_owned()),
        Just("b @ end()".to_owned()),
        Just("vector(time())".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let op = prop::sample::select(vec![
            "+", "-", "*", "/", "%", "^", "atan2", "==", "!=", ">", "<=", "> bool",
        ]);
        let set = prop::sample::select(vec!["and", "or", "unless"]);
        let matching = prop::sample::select(vec![
            "",
            "on (i)",
            "on (i) group_left ()",
            "ignoring (le) group_right ()",
            "on ()",
        ]);
        let aggregation = prop::sample::select(vec![
            "sum", "avg", "count", "min", "max", "group", "stddev", "stdvar",
        ]);
        let with_param = prop::sample::select(vec![
            "topk(2,",
            "bottomk(1,",
            "quantile(0.3,",
            "limitk(2,",
            "limit_ratio(0.5,",
            "count_values('v',",
        ]);
        let by = prop::sample::select(vec!["", "by (i)", "without (le)", "by (__name__)"]);
        let function = prop::sample::select(vec![
            "abs",
            "ceil",
            "sgn",
            "absent",
            "sort",
            "timestamp",
            "hour",
            "ln",
            "-",
        ]);
        let over = prop::sample::select(vec![
            "rate",
            "increase",
            "delta",
            "irate",
            "resets",
            "changes",
            "deriv",
            "avg_over_time",
            "sum_over_time",
            "min_over_time",
            "count_over_time",
            "last_over_time",
            "stddev_over_time",
            "mad_over_time",
            "absent_over_time",
            "present_over_time",
            "ts_of_max_over_time",
        ]);
        let window = prop::sample::select(vec!["[1m:15s]", "[2m:30s] offset 15s", "[45s:]"]);
        prop_oneof![
            (inner.clone(), op, matching, inner.clone())
                .prop_map(|(a, op, m, b)| format!("({a}) {op} {m} ({b})")),
            (inner.clone(), set, inner.clone()).prop_map(|(a, op, b)| format!("({a}) {op} ({b})")),
            (aggregation, by.clone(), inner.clone())
                .prop_map(|(f, by, a)| format!("{f} {by} ({a})")),
            (with_param, by, inner.clone()).prop_map(|(f, by, a)| {
                let (name, param) = f.split_once('(').unwrap();
                format!("{name} {by} ({param} {a})")
            }),
            (function, inner.clone()).prop_map(|(f, a)| format!("{f}({a})")),
            (over.clone(), inner.clone(), window).prop_map(|(f, a, w)| format!("{f}(({a}){w})")),
            over.prop_map(|f| format!("{f}(a_total[1m])")),
            inner
                .clone()
                .prop_map(|a| format!("histogram_quantile(0.9, {a})")),
            inner
                .clone()
                .prop_map(|a| format!("label_replace({a}, 'i', 'x$1', 'i', '(.)')")),
            inner.prop_map(|a| format!("({a}) > 2")),
        ]
    })
}

/// Elements by label set, to the last bit but for NaNs.
pub(super) fn elements(answer: &Answer, at: i64) -> Vec<(String, u64)> {
    let bits = |v: &Value| match v {
        Value::Float(v) if v.is_nan() => 1,
        Value::Float(v) => v.to_bits(),
        Value::Histogram(_) => 2,
    };
    let mut all: Vec<(String, u64)> = match answer {
        Answer::Vector(v) => v.iter().map(|(l, v)| (l.to_string(), bits(v))).collect(),
        Answer::Matrix(m) => m
            .iter()
            .flat_map(|(l, points)| {
                let found = points.iter().find(|p| p.0 == at);
                found.map(|(_, v)| (l.to_string(), bits(v)))
            })
            .collect(),
        other => panic!("{other:?}"),
    };
    all.sort();
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_instant_is_a_step_of_a_range(data in data(), text in vector(), step in 0_i64..8) {
        let asks_for_ends = text.contains("end()");
        // What is chosen among equals, and which label set a value is counted under first, may differ. So does what is chosen
        // of what was chosen: only an instant has it in an order.
        let choices: usize = ["topk", "bottomk", "limitk"].map(|c| text.matches(c).count()).iter().sum();
        prop_assume!(!asks_for_ends && !text.contains("sort") && choices < 2);
        let (start, end, width) = (30_000, 30_000 + 7 * 45_000, 45_000);
        let at = start + step * width;
        if let Ok(range) = query(&text).range(&data, start, end, width) {
            let instant = query(&text).instant(&data, at);
            prop_assert!(instant.is_ok(), "{}: {:?}", text, instant);
            if let Ok(instant) = instant {
                prop_assert_eq!(elements(&instant.answer, at), elements(&range.answer, at), "{}", text);
            }
        }
    }

    #[test]
    fn a_plan_that_is_kept_says_what_a_new_one_says(mut data in data(), text in vector()) {
        let expr = Arc::new(parse(&text, Dialect::ALL).unwrap());
        let settings = Settings::default();
        let mut kept = Plan::new(expr.clone(), &data, &settings).unwrap();
        let mut ws = Workspace::default();
        data.settled = 1_000_000;
        for at in [0, 60_000, 75_000, 90_000, 240_000, 120_000] {
            let mut fresh = Plan::new(expr.clone(), &data, &settings).unwrap();
            let mut room = Workspace::default();
            let (a, b) = (kept.evaluate(at, &data, &mut ws), fresh.evaluate(at, &data, &mut room));
            prop_assert_eq!(&a, &b, "{}", text);
            if a.is_ok() {
                let (a, b) = (kept.outcome(&ws, None), fresh.outcome(&room, None));
                prop_assert_eq!(elements(&a.answer, at), elements(&b.answer, at), "{}", text);
            }
        }
    }

    #[test]
    fn the_fast_way_to_read_yields_what_the_general_one_yields(data in data(), text in vector()) {
        let general = Data { floats: false, ..data.clone() };
        let (a, b) = (query(&text).instant(&data, 150_000), query(&text).instant(&general, 150_000));
        match (a, b) {
            (Ok(a), Ok(b)) => prop_assert_eq!(elements(&a.answer, 0), elements(&b.answer, 0), "{}", text),
            (a, b) => prop_assert_eq!(a.err(), b.err(), "{}", text),
        }
    }
}
