//! The real world: processes, files, sockets and the clock. It carries what the engine decided and reports what came of it.

pub mod exec;

//! Where the program touches the machine: files, sockets, processes, clocks. It decides nothing.
//!
//! [`store`] keeps what must outlive a crash.
pub mod store;

//! The real world: everything that touches sockets, clocks and files on behalf of the pure rooms.
pub mod carry;
pub mod inbox;
