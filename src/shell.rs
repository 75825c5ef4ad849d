//! The real world: files, sockets, processes and the clock. It carries what the engine decided and reports what came of
//! it; it decides nothing. Start with [`drive`], the loop.

pub mod drive;
pub mod clock;
pub mod store;
pub mod load;
pub mod deliver;
pub mod carry;
pub mod exec;
pub mod inbox;
