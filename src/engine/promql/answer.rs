//! What a query answers, and what it remarks on.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::BTreeSet;

use crate::engine::promql::source::Value;
use crate::model::labels::Labels;

/// The value of a query.
#[derive(Clone, Debug)]
pub enum Answer {
    /// One number.
    Scalar(f64),
    /// A string.
    Text(Vec<u8>),
    /// One value for each label set, at the query's time; in the order that the query gave them.
    Vector(Vec<(Labels, Value)>),
    /// Values over time (milliseconds since the epoch) for each label set.
    Matrix(Vec<(Labels, Vec<(i64, Value)>)>),
}

/// What a query answers.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The value.
    pub answer: Answer,
    /// What a person should know about it, each once, as Prometheus words it: `PromQL warning: … (1:6)`.
    pub warnings: BTreeSet<String>,
    /// As `warnings`, less grave: `PromQL info: …`.
    pub infos: BTreeSet<String>,
}
