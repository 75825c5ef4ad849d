//! How a query is evaluated, within which bounds, and why it may fail.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How expressions are evaluated.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A sample counts for this long, in milliseconds.
    pub lookback_ms: i64,
    /// The step of a subquery that names none, in milliseconds.
    pub subquery_step_ms: i64,
    /// Whether the metric's name is dropped at the end of a query instead of in each function, so that
    /// `label_replace` still sees it.
    pub delayed_name_removal: bool,
    /// Whether counters are known to start anew by the start timestamps of their samples.
    pub start_timestamps: bool,
    /// Whether `rate` judges by the label `__type__` instead of by the name whether it is applied to a counter.
    pub type_and_unit_labels: bool,
    /// The bounds.
    pub limits: Limits,
    /// Set from outside to stop an evaluation.
    pub cancel: Option<Arc<AtomicBool>>,
}

/// As a Prometheus without experimental features: for rules and queries alike.
impl Default for Settings {
    fn default() -> Self {
        Self {
            lookback_ms: 300_000,
            subquery_step_ms: 60_000,
            delayed_name_removal: false,
            start_timestamps: false,
            type_and_unit_labels: false,
            limits: Limits::default(),
            cancel: None,
        }
    }
}

impl Settings {
    /// Stops if someone asked for it.
    pub(super) fn go_on(&self) -> Result<(), EvalError> {
        match &self.cancel {
            Some(flag) if flag.load(Ordering::Relaxed) => Err(EvalError::canceled()),
            Some(_) | None => Ok(()),
        }
    }
}

/// The bounds of a query.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Samples looked at in one step, together with those of the result so far.
    pub samples: usize,
    /// Label sets in any part of the expression.
    pub series: usize,
    /// Steps of a range query.
    pub steps: usize,
    /// Points of the result of a range query.
    pub points: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            samples: 50_000_000,
            series: 1_000_000,
            steps: 11_000,
            points: 50_000_000,
        }
    }
}

/// What kind of failure it was; decides the HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The query cannot be right.
    BadData,
    /// The data does not allow it.
    Execution,
    /// Someone stopped it.
    Canceled,
    /// It would cost more than it may.
    Limit,
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct EvalError {
    /// Of which kind.
    pub kind: ErrorKind,
    /// In Prometheus' words where it has some.
    pub text: String,
}

impl EvalError {
    pub(super) fn bad(text: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::BadData,
            text: text.into(),
        }
    }
    pub(super) fn execution(text: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Execution,
            text: text.into(),
        }
    }
    pub(super) fn canceled() -> Self {
        Self {
            kind: ErrorKind::Canceled,
            text: "query was canceled in query execution".to_owned(),
        }
    }
    pub(super) fn samples() -> Self {
        Self {
            kind: ErrorKind::Limit,
            text: "query processing would load too many samples into memory in query execution"
                .to_owned(),
        }
    }
    pub(super) fn series(most: usize) -> Self {
        Self {
            kind: ErrorKind::Limit,
            text: format!("a part of the query has more than {most} label sets"),
        }
    }
    pub(super) fn points(most: usize) -> Self {
        Self {
            kind: ErrorKind::Limit,
            text: format!(
                "the result has more than {most} points: ask for fewer series or a longer step"
            ),
        }
    }
    pub(super) fn same_labels() -> Self {
        Self::execution("vector cannot contain metrics with the same labelset")
    }
}
