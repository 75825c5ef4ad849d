//! `ops`: metrics in, pages and verified rollbacks out.

pub mod config;
pub mod engine;
pub mod model;
