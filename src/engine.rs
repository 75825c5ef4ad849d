//! The only room that decides.

pub mod policy;
