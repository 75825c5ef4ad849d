//! Results as Prometheus writes them in JSON.

use std::fmt::Write as _;

use serde_json::json;

use crate::api::prom::RESULT_BYTES_MAX;
use crate::engine::promql::answer::Answer;
use crate::engine::promql::source::Value;
use crate::model::histogram::Histogram;
use crate::model::labels::Labels;

/// An answer at a time (milliseconds), at most `limit` series of it; and whether something was left off. `None`: it is
/// longer than [`RESULT_BYTES_MAX`].
pub fn answer(answer: &Answer, at: i64, limit: usize) -> Option<(String, bool)> {
    let mut out = String::new();
    let mut cut = false;
    match answer {
        // These two have their times as Go writes any number.
        Answer::Scalar(value) => {
            let (at, value) = (at as f64 / 1_000.0, plain(*value));
            let _ = write!(
                out,
                "{{\"resultType\":\"scalar\",\"result\":[{at},\"{value}\"]"
            );
        }
        Answer::Text(text) => {
            let (at, text) = (at as f64 / 1_000.0, json!(String::from_utf8_lossy(text)));
            let _ = write!(out, "{{\"resultType\":\"string\",\"result\":[{at},{text}]");
        }
        Answer::Vector(series) => {
            cut = series.len() > limit;
            out.push_str("{\"resultType\":\"vector\",\"result\":[");
            for (i, (labels, value)) in series.iter().take(limit).enumerate() {
                metric(&mut out, i, labels);
                out.push_str(match value {
                    Value::Float(_) => ",\"value\":",
                    Value::Histogram(_) => ",\"histogram\":",
                });
                point(&mut out, at, value);
                out.push('}');
                within(&out)?;
            }
            out.push(']');
        }
        Answer::Matrix(series) => {
            cut = series.len() > limit;
            out.push_str("{\"resultType\":\"matrix\",\"result\":[");
            for (i, (labels, points)) in series.iter().take(limit).enumerate() {
                metric(&mut out, i, labels);
                for (name, floats) in [("values", true), ("histograms", false)] {
                    let is_wanted = |v: &Value| matches!(v, Value::Float(_)) == floats;
                    let mut first = true;
                    for (t, value) in points.iter().filter(|(_, v)| is_wanted(v)) {
                        if first {
                            let _ = write!(out, ",\"{name}\":[");
                        } else {
                            out.push(',');
                        }
                        first = false;
                        point(&mut out, *t, value);
                        within(&out)?;
                    }
                    if !first {
                        out.push(']');
                    }
                }
                out.push('}');
            }
            out.push(']');
        }
    }
    out.push('}');
    Some((out, cut))
}

fn within(out: &str) -> Option<()> {
    (out.len() <= RESULT_BYTES_MAX).then_some(())
}

fn metric(out: &mut String, place: usize, labels: &Labels) {
    if place > 0 {
        out.push(',');
    }
    out.push_str("{\"metric\":{");
    for (i, (name, value)) in labels.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        let _ = write!(out, "{comma}{}:{}", json!(name), json!(value));
    }
    out.push('}');
}

fn point(out: &mut String, at: i64, value: &Value) {
    out.push('[');
    time(out, at);
    match value {
        Value::Float(value) => {
            out.push_str(",\"");
            number(out, *value);
            out.push_str("\"]");
        }
        Value::Histogram(h) => {
            out.push(',');
            histogram(out, h);
            out.push(']');
        }
    }
}

fn histogram(out: &mut String, h: &Histogram) {
    out.push_str("{\"count\":\"");
    number(out, h.count());
    out.push_str("\",\"sum\":\"");
    number(out, h.sum());
    out.push('"');
    let mut open = "";
    for (rule, lower, upper, count) in h.api_buckets() {
        out.push_str(if open.is_empty() {
            ",\"buckets\":["
        } else {
            ","
        });
        open = "]";
        let _ = write!(out, "[{rule}");
        for v in [lower, upper, count] {
            out.push_str(",\"");
            number(out, v);
            out.push('"');
        }
        out.push(']');
    }
    out.push_str(open);
    out.push('}');
}

/// Seconds, with three digits after the point where they are not whole.
fn time(out: &mut String, ms: i64) {
    if ms < 0 {
        out.push('-');
    }
    let ms = ms.unsigned_abs();
    let _ = write!(out, "{}", ms / 1_000);
    if !ms.is_multiple_of(1_000) {
        let _ = write!(out, ".{:03}", ms % 1_000);
    }
}

/// The shortest digits, with an exponent below 1e-6 and from 1e21 on.
fn number(out: &mut String, value: f64) {
    let size = value.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        let _ = write!(out, "{value}");
    } else {
        out.push_str(&exponent(value));
    }
}

/// The shortest digits, never an exponent.
pub fn plain(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        format!("{value}")
    }
}

/// With an exponent of two digits and a sign, always.
pub fn exponent(value: f64) -> String {
    if !value.is_finite() {
        return plain(value);
    }
    let text = format!("{value:e}");
    let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, power) = match power.strip_prefix('-') {
        Some(power) => ('-', power),
        None => ('+', power),
    };
    format!("{digits}e{sign}{power:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_written_as_prometheus_does() {
        let shown: Vec<String> = [
            1.0,
            0.1,
            -0.0,
            1e-6,
            1.5e-7,
            1e21,
            123_456_789_012_345_680_000.0,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ]
        .into_iter()
        .map(|v| {
            let mut out = String::new();
            number(&mut out, v);
            out
        })
        .collect();
        expect_test::expect!["1 0.1 -0 0.000001 1.5e-07 1e+21 123456789012345680000 NaN +Inf -Inf"]
            .assert_eq(&shown.join(" "));
        let mut out = String::new();
        for ms in [0, 1_100, 1_005, 60_000, -1_001] {
            time(&mut out, ms);
            out.push(' ');
        }
        assert_eq!(out, "0 1.100 1.005 60 -1.001 ");
        assert_eq!(exponent(81.0), "8.1e+01");
    }

    #[test]
    fn answers_of_every_type_have_the_form_of_prometheus() {
        use crate::model::histogram::{Histogram, Parts};
        let check = |a: Answer, limit: usize, want: expect_test::Expect| {
            let (text, cut) = answer(&a, 1_500, limit).unwrap();
            want.assert_eq(&format!("{text} {cut}"));
        };
        let labels = |n: &str| Labels::new().with("__name__", "m").with("n", n);
        let h = Histogram::new(Parts {
            count: 3.0,
            sum: 4.5,
            positive: vec![(0, 1.0), (1, 2.0)],
            ..Parts::default()
        });
        let h = || Value::Histogram(std::sync::Arc::new(h.clone().unwrap()));
        check(
            Answer::Scalar(1e22),
            9,
            expect_test::expect![[
                r#"{"resultType":"scalar","result":[1.5,"10000000000000000000000"]} false"#
            ]],
        );
        check(
            Answer::Text(b"a\"<\xff".to_vec()),
            9,
            expect_test::expect![[r#"{"resultType":"string","result":[1.5,"a\"<�"]} false"#]],
        );
        let vector = vec![(labels("\u{1}\n"), Value::Float(0.1)), (labels("b"), h())];
        check(
            Answer::Vector(vector.clone()),
            9,
            expect_test::expect![[
                r#"{"resultType":"vector","result":[{"metric":{"__name__":"m","n":"\u0001\n"},"value":[1.500,"0.1"]},{"metric":{"__name__":"m","n":"b"},"histogram":[1.500,{"count":"3","sum":"4.5","buckets":[[0,"0.5","1","1"],[0,"1","2","2"]]}]}]} false"#
            ]],
        );
        check(
            Answer::Vector(vector),
            1,
            expect_test::expect![[
                r#"{"resultType":"vector","result":[{"metric":{"__name__":"m","n":"\u0001\n"},"value":[1.500,"0.1"]}]} true"#
            ]],
        );
        let points = vec![
            (1_000, Value::Float(1.0)),
            (1_500, h()),
            (2_000, Value::Float(2.0)),
        ];
        check(
            Answer::Matrix(vec![(labels("a"), points)]),
            9,
            expect_test::expect![[
                r#"{"resultType":"matrix","result":[{"metric":{"__name__":"m","n":"a"},"values":[[1,"1"],[2,"2"]],"histograms":[[1.500,{"count":"3","sum":"4.5","buckets":[[0,"0.5","1","1"],[0,"1","2","2"]]}]]}]} false"#
            ]],
        );
    }

    #[test]
    fn an_answer_that_is_too_long_is_none() {
        let value = "x".repeat(RESULT_BYTES_MAX / 2);
        let one = |n: &str| {
            (
                Labels::new().with("n", &format!("{n}{value}")),
                Value::Float(1.0),
            )
        };
        assert!(answer(&Answer::Vector(vec![one("a")]), 0, 9).is_some());
        assert!(answer(&Answer::Vector(vec![one("a"), one("b")]), 0, 9).is_none());
    }
}
