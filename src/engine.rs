//! The only room that decides.

pub mod limits;
pub mod series;
pub mod intake;
pub mod policy;
pub mod event;
pub mod state;
pub mod rule;
pub mod template;
