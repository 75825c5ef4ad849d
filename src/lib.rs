//! `ops`: metrics in, pages and verified rollbacks out.

pub mod config;
pub mod engine;
pub mod ingest;

pub mod journal;
pub mod model;

pub mod receivers;
pub mod shell;
