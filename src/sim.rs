//! A world made of numbers around the real engine: fake clock, receivers that fail, scripts that heal, restarts at any
//! record. Scenario files are played in it, by our tests and by `ops test`.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

pub mod outside;
pub mod promqltest;
pub mod ruletest;
pub mod scenario;
pub mod world;

#[cfg(test)]
mod never;
#[cfg(test)]
mod property;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod tests;
