//! Text exposition 0.0.4 and OpenMetrics 1.0 → entries, one after the other, without a copy.
//!
//! ```text
//! # TYPE http_requests_total counter
//! http_requests_total{code="200",path="/a"} 1027 1700000000000
//! {"temperature.celsius",room="kitchen"} 21.5
//! ```
//!
//! A [`Reader`] is as lenient as Prometheus is when it scrapes, not as strict as the two standards: what Prometheus
//! scrapes, we read, and what it refuses, we refuse. Names and values borrow from the body unless they hold an escape.
//! Exemplars are passed over. An error ends the body and names line and column. [`batch`] makes a batch of a body.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

pub mod batch;
mod bound;
mod open_metrics;
mod scan;
mod text;

use std::borrow::Cow;

use crate::ingest::exposition::scan::{Fault, Scan};
use crate::ingest::metadata::Kind;
use crate::model::time::Timestamp;

/// Which of the two formats a body has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus's text format 0.0.4: times in milliseconds, spaces where one likes.
    Text,
    /// OpenMetrics 1.0: times in seconds, one space, `# EOF` at the end.
    OpenMetrics,
}

impl Format {
    /// What a `Content-Type` announces; without one, the text format. `None`: something else, such as protobuf.
    pub fn of_content_type(kind: Option<&str>) -> Option<Self> {
        let kind = kind.unwrap_or("").split(';').next().unwrap_or("").trim();
        match kind.to_ascii_lowercase().as_str() {
            "application/openmetrics-text" => Some(Format::OpenMetrics),
            // What clients send that do not know what they send.
            ""
            | "text/plain"
            | "application/x-www-form-urlencoded"
            | "application/octet-stream" => Some(Format::Text),
            _ => None,
        }
    }
}

/// One thing that a body says.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry<'a> {
    /// A sample; its labels are [`Reader::labels`].
    Sample(Sample<'a>),
    /// `# TYPE`: of what kind a metric is.
    Type(Cow<'a, str>, Kind),
    /// `# HELP`: what a metric means.
    Help(Cow<'a, str>, Cow<'a, str>),
    /// `# UNIT`: what a metric is measured in.
    Unit(Cow<'a, str>, &'a str),
}

/// A sample without its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'a> {
    /// The metric's name: any text.
    pub name: Cow<'a, str>,
    /// The value; anything.
    pub value: f64,
    /// When it was measured, if the body says so.
    pub ts: Option<Timestamp>,
}

/// A label's name and value, in the order written; nothing is checked.
pub type Label<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Where and why a body cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
pub struct ExpositionError {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong there and what was expected.
    pub what: String,
}

/// Reads a body entry by entry.
#[derive(Debug)]
pub struct Reader<'a> {
    scan: Scan<'a>,
    format: Format,
    labels: Vec<Label<'a>>,
    /// The kind that the last `# TYPE` named.
    kind: Kind,
    done: bool,
}

impl<'a> Reader<'a> {
    /// A reader at the beginning of a body.
    ///
    /// # Errors
    /// The body is not UTF-8.
    pub fn new(body: &'a [u8], format: Format) -> Result<Self, ExpositionError> {
        let body = std::str::from_utf8(body).map_err(|e| {
            let good = body.get(..e.valid_up_to()).unwrap_or(&[]);
            let good = std::str::from_utf8(good).unwrap_or("");
            place(good, good.len(), "this is not UTF-8".to_owned())
        })?;
        Ok(Self {
            scan: Scan::new(body),
            format,
            labels: Vec::new(),
            kind: Kind::Unknown,
            done: false,
        })
    }

    /// The next entry; `None` at the end.
    ///
    /// # Errors
    /// [`ExpositionError`]; nothing more is read after it.
    pub fn read(&mut self) -> Result<Option<Entry<'a>>, ExpositionError> {
        if self.done {
            return Ok(None);
        }
        self.labels.clear();
        let entry = match self.format {
            Format::Text => text::entry(&mut self.scan, &mut self.labels),
            Format::OpenMetrics => open_metrics::entry(&mut self.scan, &mut self.labels),
        };
        match entry {
            Ok(Some(Entry::Sample(sample))) => {
                bound::normalize(self.kind, &mut self.labels);
                Ok(Some(Entry::Sample(sample)))
            }
            Ok(Some(Entry::Type(name, kind))) => {
                self.kind = kind;
                Ok(Some(Entry::Type(name, kind)))
            }
            Ok(Some(other)) => Ok(Some(other)),
            Ok(None) => {
                self.done = true;
                Ok(None)
            }
            Err(Fault { at, what }) => {
                self.done = true;
                Err(place(self.scan.body(), at, what))
            }
        }
    }

    /// The labels of the sample that was read last. They may be sorted, changed and taken.
    pub fn labels(&mut self) -> &mut Vec<Label<'a>> {
        &mut self.labels
    }

    /// An error at the place that was read last.
    pub fn error(&self, what: impl Into<String>) -> ExpositionError {
        place(self.scan.body(), self.scan.at(), what.into())
    }
}

fn place(body: &str, at: usize, what: String) -> ExpositionError {
    let before = body.get(..at).unwrap_or(body);
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    ExpositionError {
        line: before.matches('\n').count() + 1,
        column: before.get(line_start..).map_or(0, |l| l.chars().count()) + 1,
        what,
    }
}

#[cfg(test)]
mod tests;
