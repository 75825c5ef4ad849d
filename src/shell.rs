//! The real world: everything that touches sockets, clocks and files on behalf of the pure rooms.

pub mod carry;
pub mod inbox;
