//! The real world: files, sockets, processes and the clock. It carries what the engine decided and reports what came of
//! it; it decides nothing. Start with [`drive`], the loop.

pub mod carry;
pub mod clock;
pub mod deliver;
pub mod drive;
pub mod exec;
pub mod inbox;
pub mod load;
pub mod scrape;
pub mod store;
