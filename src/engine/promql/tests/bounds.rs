//! What is bounded, what can be stopped, and what is kept.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{Data, query, told};
use crate::engine::limits::{EXPRESSION_DEPTH_MAX, SUBQUERY_DEPTH_MAX};
use crate::engine::promql::settings::{ErrorKind, Limits, Settings};
use crate::engine::promql::{Dialect, Plan, Query, Workspace, parse};

fn data() -> Data {
    Data::load(15_000, "a_total{i=\"1\"} 0+1x100\nb_total{i=\"1\"} 0+2x100")
}

fn with(settings: Settings, text: &str) -> Query {
    Query::new(Arc::new(parse(text, Dialect::ALL).unwrap()), settings)
}

#[test]
fn the_deepest_expressions_that_can_be_read_can_be_evaluated() {
    let shapes: [fn(usize) -> String; 4] = [
        |n| format!("{}a_total{}", "abs(".repeat(n), ")".repeat(n)),
        |n| format!("a_total{}", " + a_total".repeat(n)),
        |n| format!("{}a_total{}", "sum(-".repeat(n), ")".repeat(n)),
        |n| {
            format!(
                "{}a_total{}",
                "max_over_time(".repeat(n),
                "[1m:1m])".repeat(n)
            )
        },
    ];
    for shape in shapes {
        let deepest = (1..=EXPRESSION_DEPTH_MAX)
            .rev()
            .find(|n| parse(&shape(*n), Dialect::ALL).is_ok())
            .unwrap();
        assert!(deepest > EXPRESSION_DEPTH_MAX / 4, "{deepest}");
        let limits = Limits {
            samples: 10_000,
            ..Limits::default()
        };
        let settings = Settings {
            limits,
            ..Settings::default()
        };
        let outcome = with(settings, &shape(deepest)).instant(&data(), 600_000);
        match outcome {
            Ok(_) => {}
            Err(error) => assert_eq!(
                error.text,
                format!("more than {SUBQUERY_DEPTH_MAX} subqueries lie in each other")
            ),
        }
    }
    // As many subqueries as may lie in each other: each has one step.
    let n = SUBQUERY_DEPTH_MAX;
    let text = format!(
        "{}a_total{}",
        "max_over_time(".repeat(n),
        "[1m:1m])".repeat(n)
    );
    assert_eq!(
        told(query(&text).instant(&data(), 600_000)),
        "{i=\"1\"} 40\n"
    );
}

#[test]
fn bounds_are_kept() {
    let limits = |limits| Settings {
        limits,
        ..Settings::default()
    };
    let samples = limits(Limits {
        samples: 50,
        ..Limits::default()
    });
    let error = |settings: &Settings, text: &str| {
        let error = with(settings.clone(), text)
            .instant(&data(), 1_500_000)
            .unwrap_err();
        format!("{:?}: {error}", error.kind)
    };
    assert_eq!(
        error(&samples, "rate(a_total[1h])"),
        "Limit: query processing would load too many samples into memory in query execution"
    );
    assert_eq!(
        error(&samples, "sum_over_time(vector(1)[1h:1s])"),
        "Limit: query processing would load too many samples into memory in query execution"
    );
    let series = limits(Limits {
        series: 1,
        ..Limits::default()
    });
    assert_eq!(
        error(&series, "{i='1'}"),
        "Limit: a part of the query has more than 1 label sets"
    );
    let steps = limits(Limits {
        steps: 10,
        ..Limits::default()
    });
    let range = |start, end, step| {
        let result = with(steps.clone(), "a_total").range(&data(), start, end, step);
        result.map(|_| ()).map_err(|e| format!("{:?}: {e}", e.kind))
    };
    assert_eq!(range(0, 9_000, 1_000), Ok(()));
    assert_eq!(
        range(0, 10_000, 1_000).unwrap_err(),
        "BadData: exceeded maximum resolution of 10 points per timeseries. Try decreasing the query resolution (?step=XX)"
    );
    assert_eq!(
        range(0, 10_000, 0).unwrap_err(),
        "BadData: zero or negative query resolution step widths are not accepted. Try a positive integer"
    );
    assert_eq!(
        range(1, 0, 1).unwrap_err(),
        "BadData: end timestamp must not be before start time"
    );
}

#[test]
fn a_query_can_be_stopped() {
    let cancel = Arc::new(AtomicBool::new(true));
    let settings = Settings {
        cancel: Some(cancel),
        ..Settings::default()
    };
    let error = with(settings, "a_total").instant(&data(), 0).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Canceled);
}

#[test]
fn a_subquery_keeps_what_is_settled_from_tick_to_tick() {
    let expr = Arc::new(parse("max_over_time(rate(a_total[1m])[5m:15s])", Dialect::ALL).unwrap());
    let mut data = data();
    let mut plan = Plan::new(expr, &data, &Settings::default()).unwrap();
    assert!(plan.keeps());
    let mut ws = Workspace::default();
    let mut reads = Vec::new();
    for (at, settled) in [
        (600_000, i64::MIN),
        (615_000, 600_000),
        (630_000, 585_000),
        (645_000, i64::MIN),
    ] {
        data.settled = settled;
        data.reads.set(0);
        plan.evaluate(at, &data, &mut ws).unwrap();
        reads.push(data.reads.get());
    }
    // All 20 steps; the new one; the new one and two that may have changed; all.
    assert_eq!(reads, [20, 1, 3, 20]);
}

#[test]
fn names_are_dropped_at_once_or_at_the_end() {
    let mut text = String::new();
    for e in [
        "rate(a_total[1m])",
        "rate({i='1'}[1m])",
        "sum(rate({i='1'}[1m]))",
        "label_replace(rate(a_total[1m]), 'n', '$1', '__name__', '(.*)')",
        "a_total > bool 1",
        "-{i='1'}",
        "a_total > on (i) b_total or b_total",
    ] {
        let outcome = query(e).instant(&data(), 600_000);
        text.push_str(&format!("> {e}\n{}", told(outcome)));
    }
    expect_test::expect![[r#"
        > rate(a_total[1m])
        {i="1"} 0.06666666666666665
        > rate({i='1'}[1m])
        error: vector cannot contain metrics with the same labelset
        > sum(rate({i='1'}[1m]))
        error: vector cannot contain metrics with the same labelset
        > label_replace(rate(a_total[1m]), 'n', '$1', '__name__', '(.*)')
        {i="1"} 0.06666666666666665
        > a_total > bool 1
        {i="1"} 1
        > -{i='1'}
        error: vector cannot contain metrics with the same labelset
        > a_total > on (i) b_total or b_total
        b_total{i="1"} 80
    "#]]
    .assert_eq(&text);
    let at_the_end = Settings {
        delayed_name_removal: true,
        ..Settings::default()
    };
    let sum = with(at_the_end, "sum(rate({i='1'}[1m]))").instant(&data(), 600_000);
    assert_eq!(told(sum), "{} 0.19999999999999996\n");
}
