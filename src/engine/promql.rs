//! PromQL, the language of Prometheus 3.x: text → [`ast`] → plan → values.
//!
//! In the order in which an expression travels: the parser reads it (a span on every node, all problems with
//! their place), *resolve* turns it into a plan over the series of a [`source::Source`] (selectors become series
//! numbers, groupings and joins become index arrays, the labels of every possible result are built once), and
//! *evaluate* fills the plan's columns for one instant: arithmetic over arrays, no strings, no hashing. Rules resolve
//! when they load or when the set of series changes and evaluate each tick; a query resolves once and evaluates each
//! step. There is one evaluator for both.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

pub mod ast;
mod lex;
mod literal;
pub mod parse;
mod check;
pub mod signature;
mod print;
pub mod source;
pub mod settings;
mod number;
mod annotate;
mod functions;
mod column;
mod part;
mod plan;
mod resolve;
mod workspace;
mod filter;
mod evaluate;
pub mod answer;
pub mod series_text;
mod query;
pub mod reads;
pub mod known;

pub use crate::engine::promql::check::type_of;
pub use crate::engine::promql::evaluate::ValueRef;
pub use crate::engine::promql::filter::Filter;
pub use crate::engine::promql::parse::{Dialect, ParseError, Place, parse};
pub use crate::engine::promql::plan::Plan;
pub use crate::engine::promql::query::Query;
pub use crate::engine::promql::workspace::Workspace;

#[cfg(test)]
mod tests;
