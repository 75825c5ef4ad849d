//! `ops`: metrics in, pages and verified rollbacks out.
//!
//! Rooms in reading order: [`model`] has the nouns, [`engine`] decides, [`config`] and [`ingest`] translate what people
//! and services send, [`receivers`] words what people are told, [`journal`] is the log's grammar, [`shell`] does it all
//! for real.

pub mod api;
pub mod config;
pub mod engine;
pub mod ingest;
pub mod journal;
pub mod model;
pub mod receivers;
pub mod shell;
