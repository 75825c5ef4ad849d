//! Results as Prometheus writes them in JSON.

use std::fmt::Write as _;

use serde_json::json;

use crate::engine::promql::answer::Answer;
use crate::engine::promql::source::Value;
use crate::model::histogram::Histogram;
use crate::model::labels::Labels;

/// An answer at a time (milliseconds), at most `limit` series of it (0: all); whether something was left off.
pub fn answer(answer: &Answer, at: i64, limit: usize) -> (String, bool) {
    let most = if limit == 0 { usize::MAX } else { limit };
    let mut out = String::new();
    let mut cut = false;
    match answer {
        Answer::Scalar(value) => {
            out.push_str("{\"resultType\":\"scalar\",\"result\":");
            point(&mut out, at, *value);
        }
        Answer::Text(text) => {
            out.push_str("{\"resultType\":\"string\",\"result\":[");
            time(&mut out, at);
            let _ = write!(out, ",{}]", json!(String::from_utf8_lossy(text)));
        }
        Answer::Vector(series) => {
            cut = series.len() > most;
            out.push_str("{\"resultType\":\"vector\",\"result\":[");
            for (i, (labels, value)) in series.iter().take(most).enumerate() {
                metric(&mut out, i, labels);
                match value {
                    Value::Float(v) => {
                        out.push_str(",\"value\":");
                        point(&mut out, at, *v);
                    }
                    Value::Histogram(h) => {
                        out.push_str(",\"histogram\":");
                        histogram_point(&mut out, at, h);
                    }
                }
                out.push('}');
            }
            out.push(']');
        }
        Answer::Matrix(series) => {
            cut = series.len() > most;
            out.push_str("{\"resultType\":\"matrix\",\"result\":[");
            for (i, (labels, points)) in series.iter().take(most).enumerate() {
                metric(&mut out, i, labels);
                let mut open = "";
                for (t, value) in points {
                    if let Value::Float(v) = value {
                        out.push_str(if open.is_empty() {
                            ",\"values\":["
                        } else {
                            ","
                        });
                        open = "]";
                        point(&mut out, *t, *v);
                    }
                }
                out.push_str(open);
                let mut open = "";
                for (t, value) in points {
                    if let Value::Histogram(h) = value {
                        out.push_str(if open.is_empty() {
                            ",\"histograms\":["
                        } else {
                            ","
                        });
                        open = "]";
                        histogram_point(&mut out, *t, h);
                    }
                }
                out.push_str(open);
                out.push('}');
            }
            out.push(']');
        }
    }
    out.push('}');
    (out, cut)
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

fn point(out: &mut String, at: i64, value: f64) {
    out.push('[');
    time(out, at);
    let _ = write!(out, ",\"{}\"]", number(value));
}

fn histogram_point(out: &mut String, at: i64, h: &Histogram) {
    out.push('[');
    time(out, at);
    let _ = write!(
        out,
        ",{{\"count\":\"{}\",\"sum\":\"{}\"",
        number(h.count()),
        number(h.sum())
    );
    let mut open = "";
    for (rule, lower, upper, count) in h.api_buckets() {
        out.push_str(if open.is_empty() {
            ",\"buckets\":["
        } else {
            ","
        });
        open = "]";
        let _ = write!(
            out,
            "[{rule},\"{}\",\"{}\",\"{}\"]",
            number(lower),
            number(upper),
            number(count)
        );
    }
    out.push_str(open);
    out.push_str("}]");
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
pub fn number(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let size = value.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        return format!("{value}");
    }
    exponent(value)
}

/// With an exponent of two digits and a sign, always.
pub fn exponent(value: f64) -> String {
    if !value.is_finite() {
        return number(value);
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
        .map(number)
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
}
