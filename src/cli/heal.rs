//! `ops heal`: what ran, and the switch that stops all of it.

use serde_json::{Value, json};

use crate::cli::Answer;
use crate::cli::client::{Client, encoded, person};
use crate::cli::table::{field, instant, items, table};
use crate::cli::why::told;

/// What is done with heals.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List heals that run or ran
    List,
    /// Let heals run again
    On(Switch),
    /// Let no heal start
    Off(Switch),
    /// Say why heals of an incident ran or were held
    Why(Why),
}

/// Why the switch is turned, and by whom.
#[derive(Debug, clap::Args)]
pub struct Switch {
    /// Why; it is shown to everybody
    #[arg(required = true)]
    pub reason: Vec<String>,
    /// Who says so [default: $USER]
    #[arg(long)]
    pub by: Option<String>,
}

/// Which incident.
#[derive(Debug, clap::Args)]
pub struct Why {
    /// The incident's id
    pub incident: String,
}

/// Does what the command says.
pub fn run(client: &Client, command: &Command) -> Answer {
    match command {
        Command::List => {
            let answer = client.get("heals")?;
            Ok(client.shown(&answer, |answer| {
                listed(items(answer, "heals"), "no heal has run")
            }))
        }
        Command::On(switch) => turn(client, switch, true),
        Command::Off(switch) => turn(client, switch, false),
        Command::Why(why) => explain(client, &why.incident),
    }
}

fn turn(client: &Client, switch: &Switch, on: bool) -> Answer {
    let (by, reason) = (person(&switch.by), switch.reason.join(" "));
    let answer = client.post(
        "heals/switch",
        &json!({"on": on, "by": by, "reason": reason}),
    )?;
    Ok(client.shown(&answer, |_| {
        let what = if on { "may run" } else { "are off" };
        format!("heals {what}, says {by}: {reason}")
    }))
}

fn explain(client: &Client, incident: &str) -> Answer {
    let why = client.get(&format!("incidents/{}/why", encoded(incident)))?;
    let heals = client.get("heals")?;
    let own: Vec<Value> = items(&heals, "heals")
        .iter()
        .filter(|heal| field(heal, "run/incident") == incident)
        .cloned()
        .collect();
    let mut answer = json!({"lines": why.get("lines"), "heals": own});
    // Only people can be told about the switch in passing; an engine that does not show it is no failure.
    if let Ok(switch) = client.get("heals/switch")
        && let Some(map) = answer.as_object_mut()
    {
        map.insert("switch".to_owned(), switch);
    }
    Ok(client.shown(&answer, |answer| {
        let off = answer.get("switch").and_then(|s| s.get("on")) == Some(&Value::Bool(false));
        let switch = if off {
            format!("heals are off: {}\n\n", field(answer, "switch/reason"))
        } else {
            String::new()
        };
        format!(
            "{switch}{}\n\n{}",
            listed(&own, "no heal has run for this incident").trim_end(),
            told(answer)
        )
    }))
}

fn listed(heals: &[Value], none: &str) -> String {
    let rows: Vec<[String; 6]> = heals
        .iter()
        .map(|heal| {
            [
                field(heal, "run/id"),
                field(heal, "run/incident"),
                field(heal, "run/script"),
                field(heal, "run/target"),
                instant(heal, "claimed_at"),
                outcome(heal),
            ]
        })
        .collect();
    table(
        ["ID", "INCIDENT", "SCRIPT", "TARGET", "STARTED", "OUTCOME"],
        &rows,
        none,
    )
}

/// How it closed; before that how its script ended; before that that it runs.
fn outcome(heal: &Value) -> String {
    for key in ["closed", "ended"] {
        match heal.get(key) {
            None | Some(Value::Null | Value::Bool(false)) => {}
            Some(Value::Object(map)) => {
                for inner in ["outcome", "how", "end", "status"] {
                    if let Some(word) = map.get(inner).and_then(Value::as_str) {
                        return crate::cli::table::visible(word);
                    }
                }
                return field(heal, key);
            }
            Some(Value::Bool(true) | Value::Number(_)) => {
                return if key == "closed" { key } else { "ended" }.to_owned();
            }
            Some(_) => return field(heal, key),
        }
    }
    "running".to_owned()
}
