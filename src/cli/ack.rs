//! `ops ack`: somebody takes an incident into their hands.

use serde_json::json;

use crate::cli::Answer;
use crate::cli::client::{Client, encoded, person};

/// What is taken.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The incident's id
    pub id: String,
    /// What others should know
    #[arg(long, default_value = "", hide_default_value = true)]
    pub note: String,
    /// Who takes it [default: $USER]
    #[arg(long)]
    pub by: Option<String>,
}

/// Takes it.
pub fn run(client: &Client, args: &Args) -> Answer {
    let by = person(&args.by);
    let answer = client.post(
        &format!("incidents/{}/ack", encoded(&args.id)),
        &json!({"by": by, "note": args.note}),
    )?;
    Ok(client.shown(&answer, |_| {
        format!("incident {} is acked by {by}", args.id)
    }))
}
