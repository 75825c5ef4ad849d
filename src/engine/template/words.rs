//! Numbers and names as people read them, in the words of Prometheus's templates.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::fmt::Write as _;

const LARGE: [&str; 9] = ["", "k", "M", "G", "T", "P", "E", "Z", "Y"];
const SMALL: [&str; 9] = ["", "m", "u", "n", "p", "f", "a", "z", "y"];
const BINARY: [&str; 9] = ["", "ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];

/// A number in four digits, as Go's `%.4g`.
pub(super) fn four_digits(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let text = format!("{value:.3e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |t: &str| match t.contains('.') {
        true => t.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => t.to_owned(),
    };
    if !(-4..4).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim(mantissa), exponent.abs());
    }
    let digits = usize::try_from(3 - exponent).unwrap_or(0);
    trim(&format!("{value:.digits$}"))
}

/// `1234567` → `1.235M`, `0.00001234` → `12.34u`.
pub(super) fn humanize(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return four_digits(value);
    }
    if value.abs() >= 1.0 {
        return scaled(value, 1_000.0, &LARGE);
    }
    let (small, prefix) = shrunk(value);
    format!("{}{prefix}", four_digits(small))
}

/// `1048576` → `1Mi`.
pub(super) fn humanize_1024(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return four_digits(value);
    }
    scaled(value, 1_024.0, &BINARY)
}

fn scaled(mut value: f64, by: f64, prefixes: &[&str]) -> String {
    let mut last = "";
    for prefix in prefixes {
        last = prefix;
        if value.abs() < by {
            break;
        }
        if Some(prefix) != prefixes.last() {
            value /= by;
        }
    }
    format!("{}{last}", four_digits(value))
}

fn shrunk(mut value: f64) -> (f64, &'static str) {
    let mut last = "";
    for prefix in SMALL {
        last = prefix;
        if value.abs() >= 1.0 {
            break;
        }
        if Some(&prefix) != SMALL.last() {
            value *= 1_000.0;
        }
    }
    (value, last)
}

/// Seconds: `93784` → `1d 2h 3m 4s`, `0.00001234` → `12.34us`.
pub(super) fn humanize_duration(value: f64) -> String {
    if !value.is_finite() {
        return four_digits(value);
    }
    if value == 0.0 {
        return "0s".to_owned();
    }
    if value.abs() < 1.0 {
        let (small, prefix) = shrunk(value);
        return format!("{}{prefix}s", four_digits(small));
    }
    let (sign, whole) = (if value < 0.0 { "-" } else { "" }, value.abs());
    let s = whole as u64;
    let (days, hours, minutes, seconds) = (s / 86_400, s / 3_600 % 24, s / 60 % 60, s % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", four_digits(whole)),
        (0, 0, _) => format!("{sign}{minutes}m {seconds}s"),
        (0, _, _) => format!("{sign}{hours}h {minutes}m {seconds}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {seconds}s"),
    }
}

/// `0.1234` → `12.34%`.
pub(super) fn humanize_percentage(value: f64) -> String {
    format!("{}%", four_digits(value * 100.0))
}

/// Seconds since the epoch → `2026-11-24 10:00:00 +0000 UTC`.
pub(super) fn humanize_timestamp(value: f64) -> String {
    if !value.is_finite() {
        return four_digits(value);
    }
    let ms = (value * 1e9) as i64 / 1_000_000;
    match chrono::DateTime::from_timestamp_millis(ms) {
        None => four_digits(value),
        Some(at) => {
            let mut text = at.format("%Y-%m-%d %H:%M:%S").to_string();
            let part = ms.rem_euclid(1_000);
            if part > 0 {
                let _ = write!(text, ".{}", format!("{part:03}").trim_end_matches('0'));
            }
            text.push_str(" +0000 UTC");
            text
        }
    }
}

/// Seconds as Go prints a duration: `1h2m3.5s`.
pub(super) fn go_duration(value: f64) -> String {
    let (sign, whole) = (if value < 0.0 { "-" } else { "" }, value.abs());
    if whole == 0.0 || !whole.is_finite() {
        return "0s".to_owned();
    }
    if whole < 1.0 {
        let (unit, by) = if whole < 1e-6 {
            ("ns", 1e9)
        } else if whole < 1e-3 {
            ("µs", 1e6)
        } else {
            ("ms", 1e3)
        };
        return format!("{sign}{}{unit}", whole * by);
    }
    let minutes = (whole / 60.0).floor();
    let seconds = whole - minutes * 60.0;
    let (hours, minutes) = ((minutes / 60.0).floor(), minutes % 60.0);
    match (hours > 0.0, minutes > 0.0) {
        (true, _) => format!("{sign}{hours}h{minutes}m{seconds}s"),
        (false, true) => format!("{sign}{minutes}m{seconds}s"),
        (false, false) => format!("{sign}{seconds}s"),
    }
}

/// A capital at the beginning of each word.
pub(super) fn title(text: &str) -> String {
    let mut before = ' ';
    let capital = |c: char| {
        let starts = !(before.is_alphanumeric() || before == '_' || before == '\'');
        before = c;
        if starts {
            c.to_uppercase().next().unwrap_or(c)
        } else {
            c
        }
    };
    text.chars().map(capital).collect()
}

/// `host:9100` → `host`; what has no port stays.
pub(super) fn strip_port(text: &str) -> String {
    match text.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => {
            let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
            match bare {
                Some(bare) => bare.to_owned(),
                None if host.contains(':') => text.to_owned(),
                None => host.to_owned(),
            }
        }
        _ => text.to_owned(),
    }
}

/// `host.example.org:9100` → `host:9100`; an address stays.
pub(super) fn strip_domain(text: &str) -> String {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host, Some(port)),
        _ => (text, None),
    };
    if text.parse::<std::net::IpAddr>().is_ok() || host.parse::<std::net::IpAddr>().is_ok() {
        return text.to_owned();
    }
    let bare = host.split('.').next().unwrap_or(host);
    port.map_or_else(|| bare.to_owned(), |port| format!("{bare}:{port}"))
}

/// A text as a part of a query in a URL.
pub(super) fn url_query_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}
