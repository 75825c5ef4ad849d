//! The conformance scripts of PromQL: load samples, evaluate expressions, compare with what is expected.
//!
//! ```text
//! load 5m
//!   requests{job="api"}   0+10x10
//!
//! eval instant at 50m sum by (job) (requests)
//!   {job="api"} 100
//! ```
//!
//! [`script`] reads such a file, [`store`] holds the samples, [`run`] asks each question in several ways that must all
//! give the same answer, and [`compare`] says what is different about one. The format is that of the public
//! conformance suite, so that its files and a user's own play alike.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

pub mod script;
pub mod store;
pub mod compare;
pub mod run;

pub use crate::sim::promqltest::run::{Checked, Difference, play, settings};
