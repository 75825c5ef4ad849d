//! How what is wrong in an expression is told.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::fmt;

use crate::engine::limits::EXPRESSION_DEPTH_MAX;
use crate::engine::promql::ast::{Aggregation, Span};
use crate::engine::promql::signature::SIGNATURES;
use crate::model::written::did_you_mean;

/// Why a text is not an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    /// Where: bytes of the text, on boundaries of characters.
    pub span: Span,
    /// What is wrong; where Prometheus has words for it, with these words.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl ParseError {
    pub(in crate::engine::promql) fn new(span: Span, message: impl Into<String>) -> Self {
        Self {
            span,
            message: message.into(),
            hint: None,
        }
    }
    pub(in crate::engine::promql) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    /// As Prometheus prints it: `1:7: parse error: …`.
    pub fn located(&self, text: &str) -> String {
        let place = Place::of(text, self.span.start);
        format!("{place}: parse error: {}", self.message)
    }
}

/// A place in a text; prints as `line:column`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// In bytes, from 1, as Prometheus counts.
    pub column: usize,
}

impl Place {
    /// Where the byte `at` of `text` stands; the end of the text if it has no such byte.
    pub fn of(text: &str, at: usize) -> Self {
        let before = text.as_bytes().split_at(at.min(text.len())).0;
        let lines = before.split(|b| *b == b'\n');
        let column = before.rsplit(|b| *b == b'\n').next().map_or(0, <[u8]>::len) + 1;
        Self {
            line: lines.count(),
            column,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

pub(super) fn too_deep(span: Span) -> ParseError {
    let what = format!("more than {EXPRESSION_DEPTH_MAX} expressions lie in each other here");
    ParseError::new(span, what).hint("divide the expression with recording rules")
}

pub(super) fn experimental(span: Span, what: &str) -> ParseError {
    ParseError::new(span, what)
        .hint("this is experimental in Prometheus and is not switched on here")
}

pub(super) fn unknown_function(name: &str, span: Span) -> ParseError {
    let error = ParseError::new(span, format!("unknown function with name {name:?}"));
    let names = SIGNATURES.iter().map(|s| s.name);
    let near = did_you_mean(
        &name.to_ascii_lowercase(),
        names.chain(Aggregation::ALL.iter().map(|a| a.name())),
    );
    match (name, near) {
        ("holt_winters", _) => {
            error.hint("since Prometheus 3 it is called `double_exponential_smoothing`")
        }
        (_, Some(near)) => error.hint(format!("did you mean `{near}`?")),
        (_, None) => error,
    }
}
