//! `ops why`: the story of an incident, from the log that drives the engine.

use serde_json::Value;

use crate::cli::Answer;
use crate::cli::client::{Client, encoded};
use crate::cli::table::{items, worded};

/// Which incident.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The incident's id
    pub id: String,
}

/// Tells the story.
pub fn run(client: &Client, args: &Args) -> Answer {
    let answer = client.get(&format!("incidents/{}/why", encoded(&args.id)))?;
    Ok(client.shown(&answer, told))
}

/// The lines of an answer.
pub fn told(answer: &Value) -> String {
    let lines: Vec<String> = items(answer, "lines").iter().map(worded).collect();
    if lines.is_empty() {
        "nothing is known of it".to_owned()
    } else {
        lines.join("\n")
    }
}
