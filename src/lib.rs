//! `ops`: metrics in, pages and verified rollbacks out.
//!
//! Rooms in reading order: [`model`] has the nouns, [`engine`] decides, [`config`] and [`ingest`] translate what people
//! and services send, [`receivers`] words what people are told, [`journal`] is the log's grammar, [`shell`] does it all
//! for real, [`api`] and [`cli`] are how people and programs reach it; [`sim`] drives the same engine in a virtual world.

pub mod model;
pub mod engine;
pub mod config;
pub mod ingest;
pub mod receivers;
pub mod journal;
pub mod sim;
pub mod shell;
pub mod api;
pub mod cli;
