//! Expressions over small sets of series, as a whole: text in, text out.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::answer::{Answer, Outcome};
use super::settings::{EvalError, Settings};
use super::source::{Point, Samples, Scratch, Source, Value};
use super::{Dialect, Plan, Query, Workspace, parse};
use crate::model::labels::{Labels, Matcher};

mod agree;
mod ahead;
mod bounds;
mod core;
mod filter;
mod growth;

/// Series in memory.
#[derive(Clone, Debug, Default)]
struct Data {
    series: Vec<(Labels, Vec<Point>)>,
    /// Whether windows are read as numbers, the fast way; then there must be nothing else.
    floats: bool,
    settled: i64,
    /// How often a window was read.
    reads: Cell<usize>,
}

impl Data {
    /// Reads lines of `name{label="value"} 1 2 _ 3+1x4`, one value each `step` milliseconds from 0 on; `s` is a
    /// staleness marker.
    fn load(step: i64, text: &str) -> Self {
        let mut data = Self {
            floats: !text.contains(" s"),
            settled: i64::MIN,
            ..Self::default()
        };
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
            let end = line
                .find('}')
                .map_or_else(|| line.find(' ').unwrap_or(line.len()), |brace| brace + 1);
            let (name, values) = line.split_at(end);
            let mut points = Vec::new();
            let mut at = 0;
            for item in values.split_whitespace() {
                for value in repeated(item) {
                    if let Some(v) = value {
                        points.push(Point {
                            ts: at,
                            start_ts: None,
                            value: Value::Float(v),
                        });
                    }
                    at += step;
                }
            }
            data.series.push((labels(name), points));
        }
        data
    }
}

fn labels(text: &str) -> Labels {
    let (name, inner) = text.split_once('{').unwrap_or((text, ""));
    let mut labels = Labels::new().with("__name__", name);
    for m in crate::model::labels::parse_matchers(inner.trim_end_matches('}')).unwrap() {
        labels.set(m.name, m.value);
    }
    labels
}

fn repeated(item: &str) -> Vec<Option<f64>> {
    let (one, times) = match item.split_once('x') {
        Some((one, times)) => (one, times.parse::<usize>().unwrap() + 1),
        None => (item, 1),
    };
    let plus = one.get(1..).and_then(|t| t.find(['+', '-'])).map(|i| i + 1);
    let (first, each) = match plus {
        Some(i) => (&one[..i], one[i..].parse::<f64>().unwrap()),
        None => (one, 0.0),
    };
    let first: f64 = match first {
        "_" => return vec![None; times.max(1)],
        // Not by way of an addition, which would make another NaN of it.
        "s" => return vec![Some(f64::from_bits(super::source::STALE_BITS)); times],
        number => number.parse().unwrap(),
    };
    (0..times).map(|i| Some(first + each * i as f64)).collect()
}

impl Source for Data {
    fn select(&self, matchers: &[Matcher]) -> Vec<u32> {
        let all = self.series.iter().zip(0..);
        all.filter(|((l, _), _)| matchers.iter().all(|m| m.matches(l.get(&m.name))))
            .map(|(_, i)| i)
            .collect()
    }
    fn labels(&self, series: u32) -> Labels {
        self.series[series as usize].0.clone()
    }
    fn samples<'a>(
        &'a self,
        series: u32,
        after: i64,
        upto: i64,
        scratch: &'a mut Scratch,
    ) -> Samples<'a> {
        self.reads.set(self.reads.get() + 1);
        let points = &self.series[series as usize].1;
        let from = points.partition_point(|p| p.ts <= after);
        let to = points.partition_point(|p| p.ts <= upto).max(from);
        if !self.floats {
            return Samples::Mixed(&points[from..to]);
        }
        scratch.times.clear();
        scratch.values.clear();
        for p in &points[from..to] {
            let Value::Float(v) = p.value else { continue };
            scratch.times.push(p.ts);
            scratch.values.push(v);
        }
        Samples::Floats {
            times: &scratch.times,
            values: &scratch.values,
        }
    }
    fn newest(&self, series: u32, after: i64, upto: i64) -> Option<Point> {
        let points = &self.series[series as usize].1;
        let last = points[..points.partition_point(|p| p.ts <= upto)].last()?;
        (last.ts > after).then(|| last.clone())
    }
    fn settled(&self) -> i64 {
        self.settled
    }
}

fn query(text: &str) -> Query {
    let expr = parse(text, Dialect::ALL).unwrap_or_else(|e| panic!("{text}: {e}"));
    Query::new(Arc::new(expr), Settings::default()).written(text)
}

fn value(value: &Value) -> String {
    match value {
        Value::Float(v) => super::number::shortest(*v),
        Value::Histogram(h) => super::functions::native::written(h),
    }
}

fn told(outcome: Result<Outcome, EvalError>) -> String {
    let outcome = match outcome {
        Err(error) => return format!("error: {error}\n"),
        Ok(outcome) => outcome,
    };
    let mut text = match &outcome.answer {
        Answer::Scalar(v) => format!("{}\n", super::number::shortest(*v)),
        Answer::Text(t) => format!("{}\n", String::from_utf8_lossy(t)),
        Answer::Vector(all) => all
            .iter()
            .map(|(l, v)| format!("{} {}\n", name(l), value(v)))
            .collect(),
        Answer::Matrix(all) => all
            .iter()
            .map(|(l, points)| {
                let points: Vec<String> = points
                    .iter()
                    .map(|(t, v)| format!("{}@{}", value(v), t / 1_000))
                    .collect();
                format!("{} {}\n", name(l), points.join(" "))
            })
            .collect(),
    };
    for remark in outcome.warnings.iter().chain(&outcome.infos) {
        text.push_str(remark);
        text.push('\n');
    }
    text
}

fn name(labels: &Labels) -> String {
    let metric = labels.get("__name__").to_owned();
    format!("{metric}{}", labels.clone().with("__name__", ""))
}

/// The value of an expression at a time in seconds.
fn at(data: &Data, secs: i64, text: &str) -> String {
    told(query(text).instant(data, secs * 1_000))
}

/// Its values from 0 on.
fn over(data: &Data, end: i64, step: i64, text: &str) -> String {
    told(query(text).range(data, 0, end * 1_000, step * 1_000))
}

#[test]
fn a_plan_is_evaluated_again_and_again() {
    let data = Data::load(15_000, "m{i=\"a\"} 0+1x100\nm{i=\"b\"} 100-1x100");
    let expr = Arc::new(parse("m > 60", Dialect::ALL).unwrap());
    let mut plan = Plan::new(expr, &data, &Settings::default()).unwrap();
    let mut ws = Workspace::default();
    let mut seen = BTreeMap::new();
    for tick in (0..=1_500).step_by(300) {
        plan.evaluate(tick * 1_000, &data, &mut ws).unwrap();
        plan.each(&ws, |labels, v| {
            seen.insert((tick, labels.get("i").to_owned()), format!("{v:?}"));
        });
    }
    let seen: Vec<String> = seen
        .into_iter()
        .map(|((t, i), v)| format!("{t} {i} {v}"))
        .collect();
    assert_eq!(
        seen,
        [
            "0 b Float(100.0)",
            "300 b Float(80.0)",
            "1200 a Float(80.0)",
            "1500 a Float(100.0)"
        ]
    );
}
