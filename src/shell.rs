//! Where the program touches the machine: files, sockets, processes, clocks. It decides nothing.
//!
//! [`store`] keeps what must outlive a crash.

pub mod store;
