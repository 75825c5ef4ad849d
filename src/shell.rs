//! The real world: processes, files, sockets and the clock. It carries what the engine decided and reports what came of it.

pub mod exec;
