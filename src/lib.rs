//! `ops`: metrics in, pages and verified rollbacks out.

pub mod engine;
pub mod model;
pub mod shell;
pub mod sim;
