//! The command line: arguments in, text on stdout, an exit code out. Logs and errors go to stderr.
//!
//! Exit codes: 0 fine, 1 problems found or the deed failed, 2 wrong usage. A file per command; [`flags`] says what flags,
//! environment and `ops.yaml` mean together, [`client`] talks to a running engine, [`table`] aligns what it said.

use std::io::Write as _;
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use crate::cli::client::Client;
use crate::cli::flags::Flags;

pub mod ack;
pub mod alerts;
pub mod check;
pub mod client;
pub mod completions;
pub mod dashboard;
pub mod demo;
pub mod explain;
pub mod flags;
pub mod heal;
pub mod incidents;
pub mod kinds;
pub mod serve;
pub mod silence;
pub mod table;
pub mod test;
pub mod why;

/// What is printed on stdout, or why the deed failed.
pub type Answer = Result<String, String>;

/// Metrics in, pages and verified rollbacks out.
#[derive(Debug, Parser)]
#[command(name = "ops", version, disable_help_subcommand = true)]
pub struct Cli {
    /// Flags of all commands.
    #[command(flatten)]
    pub flags: Flags,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How a client command prints what it learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the engine: ingest, rules, pages, heals, API and web UI
    Serve,
    /// Watch a slow service being paged about and healed; nothing to configure
    Demo,
    /// Show every problem of the settings, rules, scripts and runbooks; nothing is run
    Check(check::Args),
    /// Say what the code of a problem means, with an example and what to do
    Explain(explain::Args),
    /// Test rules: promtool's rule tests, scenarios in virtual time, PromQL scripts
    Test(test::Args),
    /// Print the URL of a metric's board
    Dashboard(dashboard::Args),
    /// List the alerts of the running engine
    Alerts,
    /// List incidents
    Incidents(incidents::Args),
    /// Say why people were or were not paged, and why a heal ran or was held
    Why(why::Args),
    /// Take an incident into your hands
    Ack(ack::Args),
    /// Silence alerts
    #[command(subcommand)]
    Silence(silence::Command),
    /// See heals and switch them
    #[command(subcommand)]
    Heal(heal::Command),
    /// Show the kinds of receivers, with examples
    Receivers,
    /// Show the kinds of actions, with examples
    Actions,
    /// Print a shell's completion script
    Completions(completions::Args),
}

/// Reads the arguments of this process, does what they say, and gives the exit code.
pub fn run() -> ExitCode {
    let matches = Cli::command().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let mut flags = cli.flags;
    // A flag beats the environment, also where the two have different names.
    if written(&matches, "listen") {
        flags.host = flags.host.filter(|_| written(&matches, "host"));
        flags.port = flags.port.filter(|_| written(&matches, "port"));
    }
    match cli.command {
        Command::Serve => serve::run(flags),
        Command::Demo => demo::run(flags),
        Command::Test(args) => test::run(&args),
        Command::Check(args) => check::run(&flags, &args),
        Command::Explain(args) => told(explain::run(&args)),
        Command::Dashboard(args) => told(dashboard::run(&flags, &args)),
        Command::Receivers => told(Ok(kinds::receivers())),
        Command::Actions => told(Ok(kinds::actions())),
        Command::Completions(args) => told(Ok(completions::script(&args))),
        Command::Alerts => asked(&flags, alerts::run),
        Command::Incidents(args) => asked(&flags, |c| incidents::run(c, &args)),
        Command::Why(args) => asked(&flags, |c| why::run(c, &args)),
        Command::Ack(args) => asked(&flags, |c| ack::run(c, &args)),
        Command::Silence(command) => asked(&flags, |c| silence::run(c, &command)),
        Command::Heal(command) => asked(&flags, |c| heal::run(c, &command)),
    }
}

/// Whether a flag stands on the command line, before or after the subcommand.
fn written(matches: &ArgMatches, id: &str) -> bool {
    matches.value_source(id) == Some(ValueSource::CommandLine)
        || matches
            .subcommand()
            .is_some_and(|(_, inner)| written_below(inner, id))
}

fn written_below(matches: &ArgMatches, id: &str) -> bool {
    matches!(matches.try_contains_id(id), Ok(true)) && written(matches, id)
}

fn asked(flags: &Flags, ask: impl FnOnce(&Client) -> Answer) -> ExitCode {
    told(Client::new(flags).and_then(|client| ask(&client)))
}

fn told(answer: Answer) -> ExitCode {
    match answer {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error),
    }
}

/// Writes to stdout. Whoever reads may stop reading (`ops alerts | head`): that is no failure of ours.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let end = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    let _ = write!(out, "{text}{end}").and_then(|()| out.flush());
}

/// Says on stderr what went wrong; exit code 1.
pub fn failed(error: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "error: {error}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_stand_before_or_after_the_command() {
        for args in [
            ["ops", "--port", "1", "check"],
            ["ops", "check", "--port", "1"],
        ] {
            let matches = Cli::command().try_get_matches_from(args).unwrap();
            assert!(written(&matches, "port"), "{args:?}");
            assert!(!written(&matches, "host"), "{args:?}");
        }
    }
}
