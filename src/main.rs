//! Arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = ops::shell::exec::shim::dispatch(std::env::args_os()) {
        return code;
    }
    ops::cli::run()
}
