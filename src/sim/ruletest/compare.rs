//! What differs between what must come and what came, in lines for people: `-` is expected, `+` was found.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::BTreeMap;

use crate::config::ruletest::{ExpectedAlert, ExpectedSample};
use crate::engine::promql::series_text;
use crate::engine::promql::source::Value;
use crate::model::labels::Labels;

/// The differences of alerts; none: they are the same, in any order.
pub fn alerts(expected: &[ExpectedAlert], got: Vec<ExpectedAlert>) -> Vec<String> {
    let mut missing: Vec<&ExpectedAlert> = expected.iter().collect();
    missing.sort_unstable();
    let mut more = got;
    more.sort_unstable();
    missing.retain(|wanted| match more.iter().position(|g| g == *wanted) {
        Some(at) => {
            more.remove(at);
            false
        }
        None => true,
    });
    let mut lines = Vec::new();
    for wanted in missing {
        let same_labels = more.iter().position(|g| g.labels == wanted.labels);
        let Some(got) = same_labels.map(|at| more.remove(at)) else {
            lines.push(format!("- {}", braced(&wanted.labels)));
            lines.extend(wanted.annotations.iter().map(|a| annotation('-', a)));
            continue;
        };
        lines.push(format!("  {}", braced(&wanted.labels)));
        let (a, b) = (&wanted.annotations, &got.annotations);
        let gone = a.iter().filter(|(n, v)| b.get(*n) != Some(v));
        lines.extend(gone.map(|a| annotation('-', a)));
        let new = b.iter().filter(|(n, v)| a.get(*n) != Some(v));
        lines.extend(new.map(|a| annotation('+', a)));
    }
    for got in more {
        lines.push(format!("+ {}", braced(&got.labels)));
        lines.extend(got.annotations.iter().map(|a| annotation('+', a)));
    }
    lines
}

fn braced(labels: &BTreeMap<String, String>) -> String {
    let labels = labels.iter().map(|(n, v)| format!("{n}={v:?}"));
    format!("{{{}}}", labels.collect::<Vec<_>>().join(", "))
}

fn annotation(sign: char, (name, value): (&String, &String)) -> String {
    format!("{sign}   {name}: {value:?}")
}

/// The differences of samples; none: they are the same, in any order. `fuzzy`: a number may be the next one.
pub fn samples(expected: &[ExpectedSample], got: Vec<(Labels, Value)>, fuzzy: bool) -> Vec<String> {
    let mut missing: Vec<&ExpectedSample> = expected.iter().collect();
    missing.sort_by(|a, b| a.labels.cmp(&b.labels));
    let mut more = got;
    more.sort_by(|a, b| a.0.cmp(&b.0));
    missing.retain(|wanted| {
        let same = |(labels, value): &(Labels, Value)| {
            wanted.labels == *labels && is_same(wanted, value, fuzzy)
        };
        match more.iter().position(same) {
            Some(at) => {
                more.remove(at);
                false
            }
            None => true,
        }
    });
    let wanted = missing.iter().map(|wanted| {
        let value = match &wanted.histogram {
            Some(histogram) => Value::Histogram(histogram.clone()),
            None => Value::Float(wanted.value),
        };
        ((&wanted.labels, 0), line('-', &wanted.labels, &value))
    });
    let got = more.iter();
    let got = got.map(|(labels, value)| ((labels, 1), line('+', labels, value)));
    let mut lines: Vec<_> = wanted.chain(got).collect();
    lines.sort_by(|a, b| a.0.cmp(&b.0));
    let mut lines: Vec<String> = lines.into_iter().map(|(_, line)| line).collect();
    if missing.iter().any(|wanted| wanted.value.is_nan()) {
        lines.push("  NaN is equal to nothing, itself included: ask whether `x != x`".to_owned());
    }
    lines
}

fn line(sign: char, labels: &Labels, value: &Value) -> String {
    let name = labels.get("__name__");
    let others: Labels = labels.iter().filter(|(n, _)| *n != "__name__").collect();
    let others = match others.is_empty() && !name.is_empty() {
        true => String::new(),
        false => others.to_string(),
    };
    format!("{sign} {name}{others} {}", series_text::write(value))
}

fn is_same(wanted: &ExpectedSample, got: &Value, fuzzy: bool) -> bool {
    let number = |got: f64| {
        let near = || wanted.value.next_down() == got || wanted.value.next_up() == got;
        wanted.value == got || fuzzy && near()
    };
    match (&wanted.histogram, got) {
        (None, Value::Float(got)) => number(*got),
        // Beside a histogram, the number that a sample has as well is zero.
        (Some(wanted), Value::Histogram(_)) if number(0.0) => {
            series_text::write(&Value::Histogram(wanted.clone())) == series_text::write(got)
        }
        (Some(_), Value::Histogram(_) | Value::Float(_)) | (None, Value::Histogram(_)) => false,
    }
}
