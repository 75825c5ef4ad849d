//! Parameters, from the address and from a form.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use crate::api::Site;
use crate::api::prom::TIMEOUT_MAX;
use crate::api::prom::envelope::Failure;
use crate::config::settings::Scope;
use crate::model::time::Duration;

/// Largest form.
const FORM_BYTES_MAX: usize = 1 << 20;

/// A time that is given as seconds lies within this many milliseconds of the epoch: further off is a slip of the pen.
const MS_MAX: i64 = 9_000_000_000_000_000;
/// The longest length, in milliseconds: Go counts nanoseconds in 64 bits.
const LENGTH_MS_MAX: f64 = 9_223_372_036_854.0;
/// How Go clients write the beginning and the end of time.
const TIME_MIN: &str = "-292273086-05-16T16:47:06Z";
const TIME_MAX: &str = "+292277025-08-18T07:12:54.999999999Z";

/// The parameters of a caller who may look.
pub struct Params(Vec<(String, String)>);

impl FromRequest<Site> for Params {
    type Rejection = Response;
    async fn from_request(request: Request, site: &Site) -> Result<Self, Response> {
        site.allow(request.headers(), Scope::Read).map_err(|r| *r)?;
        let (parts, body): (_, Body) = request.into_parts();
        let mut found = Vec::new();
        let body = axum::body::to_bytes(body, FORM_BYTES_MAX)
            .await
            .map_err(|_| {
                Failure::bad(format!(
                    "error parsing form values: the limit is {FORM_BYTES_MAX} bytes"
                ))
                .into_response()
            })?;
        // As in Go, what the form says comes before what the address says.
        read(&String::from_utf8_lossy(&body), &mut found);
        read(parts.uri.query().unwrap_or_default(), &mut found);
        Ok(Self(found))
    }
}

fn read(text: &str, found: &mut Vec<(String, String)>) {
    for pair in text.split('&').filter(|p| !p.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        found.push((decode(name), decode(value)));
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        let digits = tail.get(..2).and_then(|d| std::str::from_utf8(d).ok());
        match (first, digits.and_then(|d| u8::from_str_radix(d, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            (b'+', _) => bytes.push(b' '),
            (other, _) => bytes.push(*other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Params {
    /// A parameter; "" if it is not there.
    pub fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(n, _)| n == name);
        found.map_or("", |(_, v)| v)
    }
    /// All values of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let same = self.0.iter().filter(move |(n, _)| n == name);
        same.map(|(_, v)| v.as_str())
    }
    /// A time that need not be said, in milliseconds.
    pub fn time(&self, name: &str) -> Result<Option<i64>, Failure> {
        if self.get(name).is_empty() {
            return Ok(None);
        }
        let wrong = |why| Failure::param(name, format!("invalid time value for '{name}': {why}"));
        self.moment(name).map(Some).map_err(wrong)
    }
    /// A time that must be said, in milliseconds.
    pub fn must(&self, name: &str) -> Result<i64, Failure> {
        self.moment(name).map_err(|why| Failure::param(name, why))
    }
    fn moment(&self, name: &str) -> Result<i64, String> {
        let text = self.get(name);
        let wrong = || format!("cannot parse \"{text}\" to a valid timestamp");
        if let Ok(seconds) = text.parse::<f64>() {
            let ms = (seconds * 1_000.0).round();
            if !ms.is_finite() || ms.abs() > MS_MAX as f64 {
                return Err(wrong());
            }
            return Ok(ms as i64);
        }
        match (chrono::DateTime::parse_from_rfc3339(text), text) {
            (Ok(t), _) => Ok(t.timestamp_millis()),
            (_, TIME_MIN) => Ok(-MS_MAX),
            (_, TIME_MAX) => Ok(MS_MAX),
            _ => Err(wrong()),
        }
    }
    /// A length of time, in milliseconds.
    pub fn length(&self, name: &str) -> Result<Option<i64>, Failure> {
        let text = self.get(name);
        if text.is_empty() {
            return Ok(None);
        }
        let wrong = || Failure::param(name, format!("cannot parse \"{text}\" to a valid duration"));
        if let Ok(seconds) = text.parse::<f64>() {
            let ms = seconds * 1_000.0;
            if !ms.is_finite() || ms.abs() > LENGTH_MS_MAX {
                let why =
                    format!("cannot parse \"{text}\" to a valid duration. It overflows int64");
                return Err(Failure::param(name, why));
            }
            return Ok(Some(ms as i64));
        }
        let length: Duration = text.parse().map_err(|_| wrong())?;
        Ok(Some(i64::try_from(length.ms()).unwrap_or(i64::MAX)))
    }
    /// When a query must be done, by `timeout` within its bound.
    pub fn deadline(&self) -> Result<Instant, Failure> {
        let asked = self.length("timeout")?;
        let timeout = asked.map_or(TIMEOUT_MAX, |ms| {
            Duration::from_ms(u64::try_from(ms).unwrap_or(0)).min(TIMEOUT_MAX)
        });
        Ok(Instant::now() + timeout.std())
    }
    /// `limit`; 0: none.
    pub fn limit(&self) -> Result<usize, Failure> {
        match self.get("limit") {
            "" => Ok(0),
            text => text
                .parse()
                .map_err(|_| Failure::param("limit", "limit must be non-negative")),
        }
    }
    /// `start` and `end`; what is not said reaches as far as can be.
    pub fn span(&self) -> Result<(i64, i64), Failure> {
        let (start, end) = (self.time("start")?, self.time("end")?);
        Ok((start.unwrap_or(i64::MIN), end.unwrap_or(i64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(text: &str) -> Params {
        let mut found = Vec::new();
        read(text, &mut found);
        Params(found)
    }

    #[test]
    fn what_is_encoded_is_read_and_the_first_value_counts() {
        let p = params("a=1%2B1+x&b&a=2&%63=%zz%C3%A9");
        assert_eq!(
            (p.get("a"), p.get("b"), p.get("c")),
            ("1+1 x", "", "%zz\u{e9}")
        );
        assert_eq!(p.all("a").collect::<Vec<_>>(), ["1+1 x", "2"]);
    }

    #[test]
    fn times_and_lengths_are_seconds_or_written_out() {
        let time = |text: &str| params(&format!("t={text}")).time("t").ok().flatten();
        for (text, want) in [
            ("1.5", Some(1_500)),
            ("1e3", Some(1_000_000)),
            ("1435781430.7819", Some(1_435_781_430_782)),
            ("-1.5", Some(-1_500)),
            ("2015-07-01T20:10:51.781Z", Some(1_435_781_451_781)),
            ("2015-07-01T22:10:51%2B02:00", Some(1_435_781_451_000)),
            (TIME_MIN, Some(-MS_MAX)),
            ("%2B292277025-08-18T07:12:54.999999999Z", Some(MS_MAX)),
            ("NaN", None),
            ("1e300", None),
            ("yesterday", None),
        ] {
            assert_eq!(time(text), want, "{text}");
        }
        let length = |text: &str| params(&format!("t={text}")).length("t").ok().flatten();
        for (text, want) in [
            ("15", Some(15_000)),
            ("0.5", Some(500)),
            ("-1", Some(-1_000)),
            ("1h30m", Some(5_400_000)),
            ("1e300", None),
            ("1x", None),
        ] {
            assert_eq!(length(text), want, "{text}");
        }
    }
}
