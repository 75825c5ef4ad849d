//! `ops serve`.

use std::process::ExitCode;

use crate::cli::failed;
use crate::cli::flags::Flags;

/// Runs the command; it is not built into this branch.
pub fn run(_flags: Flags) -> ExitCode {
    failed("not built into this branch")
}
