//! `ops silence`: pages about some alerts are held back for a while.

use serde_json::{Value, json};

use crate::cli::Answer;
use crate::cli::check::counted;
use crate::cli::client::{Client, encoded, person};
use crate::cli::flags::above_zero;
use crate::cli::table::{field, instant, items, table, worded};
use crate::model::labels::parse_matchers;
use crate::model::time::Duration;

/// What is done with silences.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Begin a silence
    Add(Add),
    /// List silences
    List,
    /// End a silence before its time
    End(End),
}

/// A new silence.
#[derive(Debug, clap::Args)]
pub struct Add {
    /// Which alerts: `rule=county_api`, `region=~"east|west"`; all must match
    #[arg(required = true)]
    pub matchers: Vec<String>,
    /// How long
    #[arg(long = "for", value_name = "DURATION", value_parser = above_zero)]
    pub duration: Duration,
    /// Why
    #[arg(long)]
    pub comment: String,
    /// Who says so [default: $USER]
    #[arg(long)]
    pub by: Option<String>,
}

/// Which silence ends.
#[derive(Debug, clap::Args)]
pub struct End {
    /// The silence's id
    pub id: String,
}

/// Does what the command says.
pub fn run(client: &Client, command: &Command) -> Answer {
    match command {
        Command::Add(add) => begin(client, add),
        Command::List => list(client),
        Command::End(end) => {
            let answer = client.delete(&format!("silences/{}", encoded(&end.id)))?;
            Ok(client.shown(&answer, |_| format!("silence {} has ended", end.id)))
        }
    }
}

fn begin(client: &Client, add: &Add) -> Answer {
    let matchers = add.matchers.join(", ");
    parse_matchers(&matchers).map_err(|e| format!("`{matchers}`: {e}"))?;
    let preview = client.post("silences/preview", &json!({"matchers": matchers}))?;
    let answer = client.post(
        "silences",
        &json!({
            "matchers": matchers,
            "duration": add.duration.to_string(),
            "by": person(&add.by),
            "comment": add.comment,
        }),
    )?;
    let matched = items(&preview, "alerts");
    if !client.for_people() {
        let mut answer = answer;
        if let Value::Object(map) = &mut answer {
            map.insert("matched".to_owned(), Value::Array(matched.to_vec()));
        }
        return Ok(format!("{answer:#}"));
    }
    let mut out = format!(
        "silence {} for {}: it holds back {} at the moment",
        field(&answer, "id"),
        add.duration,
        counted(matched.len(), "firing alert"),
    );
    for alert in matched {
        out.push_str("\n  ");
        out.push_str(&worded(alert));
    }
    Ok(out)
}

fn list(client: &Client) -> Answer {
    let answer = client.get("silences")?;
    Ok(client.shown(&answer, |answer| {
        let rows: Vec<[String; 6]> = items(answer, "silences")
            .iter()
            .map(|silence| {
                [
                    field(silence, "id"),
                    field(silence, "matchers"),
                    instant(silence, "from"),
                    instant(silence, "until"),
                    field(silence, "by"),
                    field(silence, "comment"),
                ]
            })
            .collect();
        table(
            ["ID", "MATCHERS", "FROM", "UNTIL", "BY", "COMMENT"],
            &rows,
            "no silences",
        )
    }))
}
