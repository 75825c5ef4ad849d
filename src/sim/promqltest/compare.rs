//! Whether an answer is the expected one, and what is different.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::promql::answer::{Answer, Outcome};
use crate::engine::promql::series_text::{self, Written};
use crate::engine::promql::source::{Value, is_stale};
use crate::model::histogram::Histogram;
use crate::model::labels::Labels;
use crate::model::number::close;
use crate::sim::promqltest::run::Difference;
use crate::sim::promqltest::script::{self, Expected, Remarks, Steps, Wanted};

/// How far two numbers may be apart, of the sum of both.
const TOLERANCE: f64 = 1e-6;

/// The numbers and the histograms of one label set, each with its time.
type Points = (Vec<(i64, Value)>, Vec<(i64, Value)>);

/// Whether a failure is the expected one.
pub(super) fn failure(expected: &Expected, text: &str) -> Result<(), Difference> {
    match &expected.fail {
        Some(wanted) if wanted.is(text) => Ok(()),
        Some(wanted) => Err(Difference::new(
            format!("error: {wanted}"),
            format!("error: {text}"),
        )),
        None => Err(Difference::new("no error", format!("error: {text}"))),
    }
}

/// Whether what a query remarks on is what is expected.
pub(super) fn remarks(expected: &Expected, outcome: &Outcome) -> Result<(), Difference> {
    remarks_of("warning", &expected.warnings, &outcome.warnings)?;
    remarks_of("info", &expected.infos, &outcome.infos)
}

fn remarks_of(grade: &str, expected: &Remarks, got: &BTreeSet<String>) -> Result<(), Difference> {
    let list = |texts: &mut dyn Iterator<Item = String>| texts.collect::<Vec<_>>().join("; ");
    let different = |wanted: String| {
        let got = list(&mut got.iter().cloned());
        let got = if got.is_empty() {
            "none".to_owned()
        } else {
            got
        };
        Err(Difference::new(
            format!("{grade}: {wanted}"),
            format!("{grade}: {got}"),
        ))
    };
    if expected.none && !got.is_empty() {
        return different("none".to_owned());
    }
    let all_came = expected
        .wanted
        .iter()
        .all(|w| got.iter().any(|text| w.is(text)));
    let all_wanted = expected.wanted.is_empty()
        || got
            .iter()
            .all(|text| expected.wanted.iter().any(|w| w.is(text)));
    if all_came && all_wanted {
        Ok(())
    } else {
        different(list(&mut expected.wanted.iter().map(Wanted::to_string)))
    }
}

/// Whether a value is the expected one; `steps` are those of the expected values.
pub(super) fn value(
    expected: &Expected,
    steps: Option<Steps>,
    answer: &Answer,
) -> Result<(), Difference> {
    let different = |what: &str| Err(Difference::new(wanted(&expected.value), what));
    match (&expected.value, answer) {
        (script::Value::Scalar(wanted), Answer::Scalar(got)) => {
            if same_number(*wanted, *got) {
                Ok(())
            } else {
                different(&series_text::write(&Value::Float(*got)))
            }
        }
        (script::Value::Text(wanted), Answer::Text(got)) => {
            if wanted.as_bytes() == got {
                Ok(())
            } else {
                different(&shown(answer))
            }
        }
        (script::Value::Series(series), Answer::Vector(got)) => {
            vector(series, expected.ordered, got)
        }
        (script::Value::Series(series), Answer::Matrix(got)) => match steps {
            Some(steps) => matrix(series, steps, got),
            None => different(&shown(answer)),
        },
        (script::Value::Windows(steps, series), Answer::Matrix(got)) => matrix(series, *steps, got),
        _ => different(&shown(answer)),
    }
}

fn wanted(value: &script::Value) -> String {
    match value {
        script::Value::Scalar(value) => series_text::write(&Value::Float(*value)),
        script::Value::Text(text) => format!("the string {text:?}"),
        script::Value::Series(series) | script::Value::Windows(_, series) => {
            format!("{} label sets", series.len())
        }
    }
}

fn shown(answer: &Answer) -> String {
    match answer {
        Answer::Scalar(value) => {
            format!("the number {}", series_text::write(&Value::Float(*value)))
        }
        Answer::Text(text) => format!("the string {:?}", String::from_utf8_lossy(text)),
        Answer::Vector(all) => format!("a vector of {} label sets", all.len()),
        Answer::Matrix(all) => format!("a matrix of {} label sets", all.len()),
    }
}

fn item(item: Option<&Written>) -> String {
    item.map_or("_".to_owned(), |w| series_text::write(&w.value()))
}

fn vector(
    expected: &[(Labels, Vec<Option<Written>>)],
    ordered: bool,
    got: &[(Labels, Value)],
) -> Result<(), Difference> {
    // Of a label set that is written twice, the last line counts.
    let wanted: BTreeMap<&Labels, (usize, Option<&Written>)> = expected
        .iter()
        .enumerate()
        .map(|(at, (labels, items))| (labels, (at, items.first().and_then(Option::as_ref))))
        .collect();
    for (at, (labels, value)) in got.iter().enumerate() {
        let is = format!("{labels} {}", series_text::write(value));
        let Some((place, sample)) = wanted.get(labels) else {
            return Err(Difference::new("no such label set", is));
        };
        if ordered && *place != at {
            return Err(Difference::new(
                format!("{labels} at place {}", place + 1),
                format!("{labels} at place {}", at + 1),
            ));
        }
        if !sample.is_some_and(|sample| same(sample, value)) {
            return Err(Difference::new(format!("{labels} {}", item(*sample)), is));
        }
    }
    let came: BTreeSet<&Labels> = got.iter().map(|(labels, _)| labels).collect();
    match wanted.iter().find(|(labels, _)| !came.contains(*labels)) {
        Some((labels, (_, sample))) => Err(Difference::new(
            format!("{labels} {}", item(*sample)),
            "no such label set",
        )),
        None => Ok(()),
    }
}

fn matrix(
    expected: &[(Labels, Vec<Option<Written>>)],
    steps: Steps,
    got: &[(Labels, Vec<(i64, Value)>)],
) -> Result<(), Difference> {
    if let Some(((a, _), (b, _))) = got.iter().zip(got.iter().skip(1)).find(|(a, b)| a.0 > b.0) {
        return Err(Difference::new(
            "label sets in order",
            format!("{a} before {b}"),
        ));
    }
    let wanted: BTreeMap<&Labels, &Vec<Option<Written>>> = expected
        .iter()
        .map(|(labels, items)| (labels, items))
        .collect();
    let line = |labels: &Labels, values: &[(i64, Value)]| {
        let values: Vec<String> = values
            .iter()
            .map(|(ts, value)| format!("{}@{}", series_text::write(value), *ts as f64 / 1000.0))
            .collect();
        format!("{labels} {}", values.join(" "))
    };
    for (labels, values) in got {
        let Some(items) = wanted.get(labels) else {
            return Err(Difference::new("no such label set", line(labels, values)));
        };
        let times = (0_i64..).map(|i| steps.start.saturating_add(i.saturating_mul(steps.step)));
        let items: Vec<(i64, &Written)> = times
            .zip(items.iter())
            .filter_map(|(ts, item)| Some((ts, item.as_ref()?)))
            .collect();
        let hopeless = items.iter().find(|(ts, _)| *ts > steps.end);
        let (floats, histograms) = split(values);
        let mut rest = (floats.iter(), histograms.iter());
        let all_match = items.iter().all(|(ts, wanted)| {
            let next = match wanted {
                Written::Float(_) => rest.0.next(),
                Written::Histogram { .. } => rest.1.next(),
            };
            next.is_some_and(|(at, value)| at == ts && same(wanted, value))
        });
        if hopeless.is_some() || !all_match || rest.0.next().is_some() || rest.1.next().is_some() {
            let items: Vec<(i64, Value)> = items.iter().map(|(ts, w)| (*ts, w.value())).collect();
            return Err(Difference::new(line(labels, &items), line(labels, values)));
        }
    }
    let came: BTreeSet<&Labels> = got.iter().map(|(labels, _)| labels).collect();
    match wanted.keys().find(|labels| !came.contains(*labels)) {
        Some(labels) => Err(Difference::new(labels.to_string(), "no such label set")),
        None => Ok(()),
    }
}

/// Numbers and histograms apart: at one time there may be one of each.
fn split(values: &[(i64, Value)]) -> Points {
    values
        .iter()
        .cloned()
        .partition(|(_, value)| matches!(value, Value::Float(_)))
}

fn same(wanted: &Written, got: &Value) -> bool {
    match (wanted, got) {
        (Written::Float(wanted), Value::Float(got)) => same_number(*wanted, *got),
        (
            Written::Histogram {
                value,
                hint_written,
            },
            Value::Histogram(got),
        ) => same_histogram(value, got) && (!hint_written || value.hint() == got.hint()),
        (Written::Float(_), Value::Histogram(_)) | (Written::Histogram { .. }, Value::Float(_)) => {
            false
        }
    }
}

fn same_number(wanted: f64, got: f64) -> bool {
    is_stale(wanted) == is_stale(got) && close(wanted, got, TOLERANCE)
}

fn same_histogram(wanted: &Histogram, got: &Histogram) -> bool {
    let parts = |h: &Histogram| {
        let mut h = h.clone();
        h.compact();
        h.parts()
    };
    let (wanted, got) = (parts(wanted), parts(got));
    let same_side = |a: &[(i32, f64)], b: &[(i32, f64)]| {
        a.len() == b.len()
            && a.iter()
                .zip(b)
                .all(|(a, b)| a.0 == b.0 && same_number(a.1, b.1))
    };
    wanted.schema == got.schema
        && wanted.zero_threshold == got.zero_threshold
        && wanted.bounds == got.bounds
        && same_number(wanted.zero_count, got.zero_count)
        && same_number(wanted.count, got.count)
        && same_number(wanted.sum, got.sum)
        && same_side(&wanted.positive, &got.positive)
        && same_side(&wanted.negative, &got.negative)
}
