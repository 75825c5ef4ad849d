//! Floats as Go has them: how they are printed, read and compared.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::model::labels::Labels;

/// Go's `math.Max`: NaN if one is NaN, unless the other is +Inf.
#[inline(always)]
pub(super) fn max(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.max(b)
    }
}

/// Go's `math.Min`: NaN if one is NaN, unless the other is -Inf.
#[inline(always)]
pub(super) fn min(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
        f64::NEG_INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.min(b)
    }
}

/// The digits and the decimal exponent of a finite number: 0.0123 is ("123", -2), that is 1.23e-2.
fn digits(value: f64) -> (String, i32) {
    let text = format!("{:e}", value.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text.as_str(), "0"));
    (
        mantissa.chars().filter(|c| *c != '.').collect(),
        exponent.parse().unwrap_or(0),
    )
}

fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value == f64::INFINITY {
        Some("+Inf")
    } else if value == f64::NEG_INFINITY {
        Some("-Inf")
    } else {
        None
    }
}

/// `%g`, and `FormatFloat(f, 'g', -1, 64)`: the shortest digits, with an exponent below -4 and from 6 on.
pub(super) fn shortest(value: f64) -> String {
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    let (digits, exponent) = digits(value);
    if (-4..6).contains(&exponent) {
        return plain(value);
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let (first, rest) = digits.split_at_checked(1).unwrap_or((&digits, ""));
    let dot = if rest.is_empty() { "" } else { "." };
    let direction = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{first}{dot}{rest}e{direction}{:02}", exponent.abs())
}

/// `FormatFloat(f, 'f', -1, 64)`: the shortest digits, never an exponent.
pub(super) fn plain(value: f64) -> String {
    special(value).map_or_else(|| format!("{value}"), str::to_owned)
}

/// As OpenMetrics writes it: whole numbers have `.0`.
pub(super) fn open_metrics(value: f64) -> String {
    let text = shortest(value);
    if value.is_finite() && !text.contains(['e', '.']) {
        format!("{text}.0")
    } else {
        text
    }
}

/// Reads a bucket's bound as Go's `ParseFloat` does; `None` where that fails.
pub(super) fn parse(text: &str) -> Option<f64> {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let negative = text.starts_with('-');
    let lower = body.to_ascii_lowercase();
    match lower.as_str() {
        "inf" | "infinity" => {
            return Some(if negative {
                f64::NEG_INFINITY
            } else {
                f64::INFINITY
            });
        }
        "nan" if body.len() == text.len() => return Some(f64::NAN),
        _ => {}
    }
    if !body.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    // Go calls a number that is too large an error.
    value.is_finite().then_some(value)
}

/// A text as Go's `%q` prints it.
pub(super) fn quoted(text: &str) -> String {
    quoted_bytes(text.as_bytes())
}

/// The same for bytes that need not be a text: what is none is written `\xff`.
pub(super) fn quoted_bytes(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                '\r' => out.push_str("\\r"),
                '\u{7}' => out.push_str("\\a"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                '\u{b}' => out.push_str("\\v"),
                c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                    let _ = write!(out, "\\x{:02x}", c as u32);
                }
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('"');
    out
}

/// A label set as Prometheus' messages show it: `{a="x", b="y"}`.
pub(super) fn shown(labels: &Labels) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(name, value)| {
            let plain = name
                .bytes()
                .next()
                .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            let name = if plain { name.to_owned() } else { quoted(name) };
            format!("{name}={}", quoted(value))
        })
        .collect();
    format!("{{{}}}", pairs.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        let all = [
            0.0,
            -0.0,
            1.0,
            -1.1,
            0.1,
            1e21,
            123_456_789.0,
            1e20,
            1.5e-5,
            0.0001,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            5e-324,
        ];
        let text: Vec<String> = all.iter().map(|v| shortest(*v)).collect();
        assert_eq!(
            text.join(" "),
            "0 -0 1 -1.1 0.1 1e+21 1.23456789e+08 1e+20 1.5e-05 0.0001 NaN +Inf -Inf 5e-324"
        );
        assert_eq!(plain(1e21), "1000000000000000000000");
        assert_eq!(open_metrics(1.0), "1.0");
        assert_eq!(open_metrics(0.99), "0.99");
    }

    #[test]
    fn bounds_of_buckets_are_read_as_go_reads_them() {
        assert_eq!(parse("+Inf"), Some(f64::INFINITY));
        assert_eq!(parse("0.1"), Some(0.1));
        assert_eq!(parse("1e3"), Some(1000.0));
        assert_eq!(parse(""), None);
        assert_eq!(parse("Hello World"), None);
        assert_eq!(parse("1 "), None);
    }
}
