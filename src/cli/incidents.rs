//! `ops incidents`: what people have to handle, or had to.

use serde_json::Value;

use crate::cli::Answer;
use crate::cli::client::Client;
use crate::cli::table::{field, instant, items, table, worded};

/// Which incidents.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Closed ones too
    #[arg(long)]
    pub all: bool,
}

/// Lists the incidents.
pub fn run(client: &Client, args: &Args) -> Answer {
    let state = if args.all { "all" } else { "open" };
    let answer = client.get(&format!("incidents?state={state}"))?;
    Ok(client.shown(&answer, |answer| {
        let rows: Vec<[String; 6]> = items(answer, "incidents")
            .iter()
            .map(|incident| {
                [
                    field(incident, "id"),
                    field(incident, "rule"),
                    instant(incident, "opened_at"),
                    state_of(incident),
                    counted(incident.get("alerts")),
                    counted_or_named(incident.get("told")),
                ]
            })
            .collect();
        let none = if args.all {
            "no incidents"
        } else {
            "no open incidents"
        };
        table(
            ["ID", "RULE", "OPENED", "STATE", "ALERTS", "TOLD"],
            &rows,
            none,
        )
    }))
}

fn state_of(incident: &Value) -> String {
    let is = |key: &str| {
        !matches!(
            incident.get(key),
            None | Some(Value::Null | Value::Bool(false))
        )
    };
    if is("closed") {
        "closed".to_owned()
    } else if is("acked") {
        match field(incident, "acked/by") {
            by if !by.is_empty() => format!("acked by {by}"),
            _ => "acked".to_owned(),
        }
    } else if is("held") {
        "held".to_owned()
    } else {
        "open".to_owned()
    }
}

fn counted(value: Option<&Value>) -> String {
    match value {
        Some(Value::Array(list)) => list.len().to_string(),
        Some(Value::Object(map)) => map.len().to_string(),
        Some(other) => worded(other),
        None => String::new(),
    }
}

/// Names are shown; of anything richer only the number.
fn counted_or_named(value: Option<&Value>) -> String {
    match value {
        Some(Value::Array(list)) if list.iter().all(Value::is_string) => {
            list.iter().map(worded).collect::<Vec<_>>().join(", ")
        }
        Some(Value::Object(map)) => map.keys().cloned().collect::<Vec<_>>().join(", "),
        other => counted(other),
    }
}
