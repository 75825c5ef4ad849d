//! `ops completions`: a script that makes a shell complete our commands and flags.

use clap::CommandFactory as _;

use crate::cli::Cli;

/// For which shell.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// The script.
pub fn script(args: &Args) -> String {
    let mut out = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "ops", &mut out);
    String::from_utf8_lossy(&out).into_owned()
}
