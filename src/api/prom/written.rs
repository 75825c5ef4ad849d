//! Results as Prometheus writes them in JSON.

use std::io::Write as _;

use serde_json::json;

use crate::api::prom::RESULT_BYTES_MAX;
use crate::engine::promql::answer::Answer;
use crate::engine::promql::source::Value;
use crate::model::histogram::Histogram;
use crate::model::labels::Labels;

/// Text under construction: bytes, because a long result is some million short pieces.
type Out = Vec<u8>;

/// Appends an answer at a time (milliseconds), at most `limit` series of it; whether something was left off. `None`: it
/// is longer than [`RESULT_BYTES_MAX`].
pub fn answer(out: &mut Out, answer: &Answer, at: i64, limit: usize) -> Option<bool> {
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
            out.extend_from_slice(b"{\"resultType\":\"vector\",\"result\":[");
            for (i, (labels, value)) in series.iter().take(limit).enumerate() {
                metric(out, i, labels);
                let name = match value {
                    Value::Float(_) => ",\"value\":",
                    Value::Histogram(_) => ",\"histogram\":",
                };
                out.extend_from_slice(name.as_bytes());
                point(out, at, value);
                out.push(b'}');
                within(out)?;
            }
            out.push(b']');
        }
        Answer::Matrix(series) => {
            cut = series.len() > limit;
            out.extend_from_slice(b"{\"resultType\":\"matrix\",\"result\":[");
            let mut times = Times::default();
            for (i, (labels, points)) in series.iter().take(limit).enumerate() {
                metric(out, i, labels);
                for (name, floats) in [("values", true), ("histograms", false)] {
                    let is_wanted = |v: &Value| matches!(v, Value::Float(_)) == floats;
                    let mut first = true;
                    let points = points.iter().filter(|(_, v)| is_wanted(v));
                    for (place, (t, value)) in points.enumerate() {
                        if first {
                            let _ = write!(out, ",\"{name}\":[");
                        } else {
                            out.push(b',');
                        }
                        first = false;
                        out.push(b'[');
                        times.write(out, place, *t);
                        rest(out, value);
                        within(out)?;
                    }
                    if !first {
                        out.push(b']');
                    }
                }
                out.push(b'}');
            }
            out.push(b']');
        }
    }
    out.push(b'}');
    Some(cut)
}

fn within(out: &Out) -> Option<()> {
    (out.len() <= RESULT_BYTES_MAX).then_some(())
}

fn metric(out: &mut Out, place: usize, labels: &Labels) {
    if place > 0 {
        out.push(b',');
    }
    out.extend_from_slice(b"{\"metric\":{");
    for (i, (name, value)) in labels.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        let _ = write!(out, "{comma}{}:{}", json!(name), json!(value));
    }
    out.push(b'}');
}

fn point(out: &mut Out, at: i64, value: &Value) {
    out.push(b'[');
    time(out, at);
    rest(out, value);
}

/// What stands behind the time of a point.
fn rest(out: &mut Out, value: &Value) {
    match value {
        Value::Float(value) => {
            out.extend_from_slice(b",\"");
            number(out, *value);
            out.extend_from_slice(b"\"]");
        }
        Value::Histogram(h) => {
            out.push(b',');
            histogram(out, h);
            out.push(b']');
        }
    }
}

fn histogram(out: &mut Out, h: &Histogram) {
    out.extend_from_slice(b"{\"count\":\"");
    number(out, h.count());
    out.extend_from_slice(b"\",\"sum\":\"");
    number(out, h.sum());
    out.push(b'"');
    let mut open = "";
    for (rule, lower, upper, count) in h.api_buckets() {
        let next = if open.is_empty() {
            ",\"buckets\":["
        } else {
            ","
        };
        out.extend_from_slice(next.as_bytes());
        open = "]";
        let _ = write!(out, "[{rule}");
        for v in [lower, upper, count] {
            out.extend_from_slice(b",\"");
            number(out, v);
            out.push(b'"');
        }
        out.push(b']');
    }
    out.extend_from_slice(open.as_bytes());
    out.push(b'}');
}

/// Times as they were written last at each place of a series: nearly all series of a matrix have the same.
#[derive(Default)]
struct Times(Vec<(i64, Out)>);

impl Times {
    fn write(&mut self, out: &mut Out, place: usize, ms: i64) {
        match self.0.get_mut(place) {
            Some((known, text)) => {
                if *known != ms {
                    *known = ms;
                    text.clear();
                    time(text, ms);
                }
                out.extend_from_slice(text);
            }
            None => {
                let mut text = Out::new();
                time(&mut text, ms);
                out.extend_from_slice(&text);
                self.0.push((ms, text));
            }
        }
    }
}

/// Seconds, with three digits after the point where they are not whole.
fn time(out: &mut Out, ms: i64) {
    if ms < 0 {
        out.push(b'-');
    }
    let ms = ms.unsigned_abs();
    digits(out, ms / 1_000);
    if !ms.is_multiple_of(1_000) {
        let _ = write!(out, ".{:03}", ms % 1_000);
    }
}

fn digits(out: &mut Out, mut n: u64) {
    let mut all = [b'0'; 20];
    let mut from = all.len();
    for digit in all.iter_mut().rev() {
        *digit += (n % 10) as u8;
        (n, from) = (n / 10, from - 1);
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(all.split_at(from).1);
}

/// Whole numbers below this are all exact.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// The shortest digits, with an exponent below 1e-6 and from 1e21 on.
fn number(out: &mut Out, value: f64) {
    let size = value.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        out.extend_from_slice(exponent(value).as_bytes());
        return;
    }
    if size < WHOLE_MAX && size.fract() == 0.0 {
        if value.is_sign_negative() {
            out.push(b'-');
        }
        return digits(out, size as u64);
    }
    // The writer of JSON finds the shortest digits in half the time, but takes an exponent sooner.
    let from = out.len();
    let written = serde_json::to_writer(&mut *out, &value);
    let found = out.get(from..).unwrap_or_default();
    if written.is_err() || found.contains(&b'e') || found.ends_with(b".0") {
        out.truncate(from);
        let _ = write!(out, "{value}");
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
            let mut out = Out::new();
            number(&mut out, v);
            String::from_utf8(out).unwrap()
        })
        .collect();
        expect_test::expect!["1 0.1 -0 0.000001 1.5e-07 1e+21 123456789012345680000 NaN +Inf -Inf"]
            .assert_eq(&shown.join(" "));
        let mut out = Out::new();
        for ms in [0, 1_100, 1_005, 60_000, -1_001] {
            time(&mut out, ms);
            out.push(b' ');
        }
        assert_eq!(out, b"0 1.100 1.005 60 -1.001 ");
        assert_eq!(exponent(81.0), "8.1e+01");
    }

    #[test]
    fn answers_of_every_type_have_the_form_of_prometheus() {
        use crate::model::histogram::{Histogram, Parts};
        let check = |a: Answer, limit: usize, want: expect_test::Expect| {
            let mut out = Out::new();
            let cut = answer(&mut out, &a, 1_500, limit).unwrap();
            want.assert_eq(&format!("{} {cut}", String::from_utf8(out).unwrap()));
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
        assert!(answer(&mut Out::new(), &Answer::Vector(vec![one("a")]), 0, 9).is_some());
        assert!(
            answer(
                &mut Out::new(),
                &Answer::Vector(vec![one("a"), one("b")]),
                0,
                9
            )
            .is_none()
        );
    }

    #[test]
    fn half_way_between_two_shortest_numbers_the_even_one_is_written() {
        let mut out = Out::new();
        number(&mut out, 1e15 + 0.25);
        assert_eq!(out, b"1000000000000000.2");
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]
        #[test]
        fn the_fast_ways_write_the_same(bits in proptest::prelude::any::<u64>(), whole in -1_000_000_000_000_i64..1_000_000_000_000) {
            for value in [f64::from_bits(bits), whole as f64, whole as f64 / 1_000.0, whole as f64 / 1e13] {
                let mut out = Out::new();
                number(&mut out, value);
                let size = value.abs();
                let want = if size == 0.0 || (1e-6..1e21).contains(&size) { format!("{value}") } else { exponent(value) };
                let text = String::from_utf8(out).unwrap();
                // Half way between two shortest ones, the standard library goes up, and Go and the fast way to the even one.
                let last = text.bytes().last().map(|digit| digit % 2);
                let tie = text.len() == want.len() && text.parse() == Ok(value) && last == Some(0);
                proptest::prop_assert!(text == want || tie, "{} is not {}", text, want);
            }
        }
    }
}
