//! Parameters, from the address and from a form.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};

use crate::api::Site;
use crate::api::prom::TIMEOUT_MAX;
use crate::api::prom::envelope::Failure;
use crate::config::settings::Scope;
use crate::model::time::Duration;

/// Largest form.
const FORM_BYTES_MAX: usize = 1 << 20;

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
    /// A time, in milliseconds.
    pub fn time(&self, name: &str) -> Result<Option<i64>, Failure> {
        let text = self.get(name);
        if text.is_empty() {
            return Ok(None);
        }
        let wrong = || {
            Failure::param(
                name,
                format!("cannot parse \"{text}\" to a valid timestamp"),
            )
        };
        if let Ok(seconds) = text.parse::<f64>() {
            let ms = (seconds * 1_000.0).round();
            if !ms.is_finite() || ms.abs() > 9e15 {
                return Err(wrong());
            }
            return Ok(Some(ms as i64));
        }
        chrono::DateTime::parse_from_rfc3339(text)
            .map(|t| Some(t.timestamp_millis()))
            .map_err(|_| wrong())
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
            if !ms.is_finite() || ms.abs() > 9e15 {
                return Err(wrong());
            }
            return Ok(Some(ms as i64));
        }
        let length: Duration = text.parse().map_err(|_| wrong())?;
        Ok(Some(i64::try_from(length.ms()).unwrap_or(i64::MAX)))
    }
    /// `timeout`, within bounds.
    pub fn timeout(&self) -> Result<Duration, Failure> {
        let asked = self.length("timeout")?;
        Ok(asked.map_or(TIMEOUT_MAX, |ms| {
            Duration::from_ms(u64::try_from(ms).unwrap_or(0)).min(TIMEOUT_MAX)
        }))
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
}
