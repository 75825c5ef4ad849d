//! `ops`: metrics in, pages and verified rollbacks out.

pub mod engine;
pub mod model;
pub mod receivers;
pub mod shell;
