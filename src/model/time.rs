//! Points and spans of time: [`Timestamp`] is a UTC instant, [`Duration`] a length. Both count milliseconds.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An instant: milliseconds since the Unix epoch, UTC.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant `ms` milliseconds after the epoch.
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }
    /// Milliseconds since the epoch.
    pub const fn ms(self) -> i64 {
        self.0
    }
    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
    /// The last multiple of `step` at or before this instant.
    pub fn aligned(self, step: Duration) -> Timestamp {
        let step_ms = i64::try_from(step.0.max(1)).unwrap_or(i64::MAX);
        Timestamp(self.0 - self.0.rem_euclid(step_ms))
    }
    /// This instant moved by a signed number of milliseconds (a clock step).
    pub fn shifted(self, by_ms: i64) -> Timestamp {
        Timestamp(self.0.saturating_add(by_ms))
    }
    /// RFC 3339 with milliseconds, UTC.
    pub fn rfc3339(self) -> String {
        match chrono::DateTime::from_timestamp_millis(self.0) {
            Some(t) => t.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            None => format!("@{}ms", self.0),
        }
    }
    /// Reads RFC 3339, of any zone; what is finer than a millisecond is cut off.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let time = chrono::DateTime::parse_from_rfc3339(text).ok()?;
        Some(Self(time.timestamp_millis()))
    }
    /// `HH:MM:SS`, UTC.
    pub fn clock(self) -> String {
        chrono::DateTime::from_timestamp_millis(self.0)
            .map_or_else(|| self.to_string(), |t| t.format("%H:%M:%S").to_string())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;
    fn add(self, d: Duration) -> Timestamp {
        Timestamp(
            self.0
                .saturating_add(i64::try_from(d.0).unwrap_or(i64::MAX)),
        )
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Timestamp;
    fn sub(self, d: Duration) -> Timestamp {
        Timestamp(
            self.0
                .saturating_sub(i64::try_from(d.0).unwrap_or(i64::MAX)),
        )
    }
}

/// A length of time in milliseconds, written as the field writes it: `500ms`, `30s`, `1h30m`, `7d`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Duration(u64);

const UNITS: [(&str, u64); 7] = [
    ("y", 31_536_000_000),
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

impl Duration {
    /// No time at all.
    pub const ZERO: Duration = Duration(0);
    /// `n` milliseconds.
    pub const fn from_ms(n: u64) -> Self {
        Self(n)
    }
    /// `n` seconds.
    pub const fn from_secs(n: u64) -> Self {
        Self(n.saturating_mul(1_000))
    }
    /// `n` minutes.
    pub const fn from_mins(n: u64) -> Self {
        Self(n.saturating_mul(60_000))
    }
    /// `n` hours.
    pub const fn from_hours(n: u64) -> Self {
        Self(n.saturating_mul(3_600_000))
    }
    /// Milliseconds.
    pub const fn ms(self) -> u64 {
        self.0
    }
    /// Seconds with fraction.
    pub fn secs_f64(self) -> f64 {
        self.0 as f64 / 1_000.0
    }
    /// Whether it is no time at all.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
    /// This length as the standard library's.
    pub const fn std(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
    /// Twice as long, at most `cap`.
    pub fn doubled(self, cap: Duration) -> Duration {
        Duration(self.0.saturating_mul(2).min(cap.0))
    }
    /// For people: at most two units, `38 s`, `4 min 10 s`.
    pub fn human(self) -> String {
        let s = self.0 / 1_000;
        match s {
            0..60 if self.0 < 10_000 && !self.0.is_multiple_of(1_000) => {
                format!("{:.1} s", self.secs_f64())
            }
            0..60 => format!("{s} s"),
            60..3_600 if s.is_multiple_of(60) => format!("{} min", s / 60),
            60..3_600 => format!("{} min {} s", s / 60, s % 60),
            3_600..86_400 => format!("{} h {} min", s / 3_600, s % 3_600 / 60),
            _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3_600),
        }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, ms) in UNITS.iter().skip(2) {
            let n = rest / ms;
            if n > 0 {
                write!(f, "{n}{unit}")?;
                rest %= ms;
            }
        }
        Ok(())
    }
}

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a duration: write a number and a unit, largest first, as in `30s`, `5m` or `1h30m`"
)]
pub struct DurationError {
    text: String,
}

impl FromStr for Duration {
    type Err = DurationError;
    fn from_str(text: &str) -> Result<Self, DurationError> {
        let bad = || DurationError {
            text: text.to_owned(),
        };
        if text == "0" {
            return Ok(Duration::ZERO);
        }
        let (mut rest, mut total, mut last) = (text, 0_u64, u64::MAX);
        if rest.is_empty() {
            return Err(bad());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
            let (number, tail) = rest.split_at(digits);
            let end = tail
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(end);
            let (_, ms) = UNITS
                .iter()
                .find(|(name, _)| *name == unit)
                .ok_or_else(bad)?;
            if *ms >= last {
                return Err(bad());
            }
            last = *ms;
            let n: u64 = number.parse().map_err(|_| bad())?;
            total = n
                .checked_mul(*ms)
                .and_then(|v| total.checked_add(v))
                .ok_or_else(bad)?;
            rest = tail;
        }
        Ok(Duration(total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_read_as_the_field_writes_them() {
        assert_eq!("1h30m".parse(), Ok(Duration::from_mins(90)));
        assert_eq!("250ms".parse(), Ok(Duration::from_ms(250)));
        assert_eq!(
            "1m30s".parse::<Duration>().map(|d| d.human()),
            Ok("1 min 30 s".to_owned())
        );
        for bad in [
            "",
            "5",
            "m5",
            "5 m",
            "30m1h",
            "1m1m",
            "-5m",
            "99999999999999999999s",
            "5x",
        ] {
            assert!(bad.parse::<Duration>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_printed_duration_reads_back(ms in 0_u64..1_u64 << 50) {
            let d = Duration::from_ms(ms);
            prop_assert_eq!(d.to_string().parse(), Ok(d));
        }
    }
}
