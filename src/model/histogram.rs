//! Native histograms: observations counted in buckets whose bounds follow from a schema.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

/// A native histogram with counts that need not be whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {}
