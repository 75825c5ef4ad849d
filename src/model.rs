//! The nouns. Plain data that every room may use; no clock, file or socket in sight.
//!
//! Start with [`time`] and [`labels`], then [`page`]: what a person is told, and what came of telling them.

pub mod number;
pub mod histogram;
pub mod labels;
pub mod page;
pub mod relabel;
pub mod pattern;
pub mod scrape;
pub mod secret;
pub mod time;
pub mod written;
