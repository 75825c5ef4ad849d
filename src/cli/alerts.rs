//! `ops alerts`: what the engine sees at the moment.

use crate::cli::Answer;
use crate::cli::client::Client;
use crate::cli::table::{field, instant, items, table};

/// Lists the alerts.
pub fn run(client: &Client) -> Answer {
    let answer = client.get("alerts")?;
    Ok(client.shown(&answer, |answer| {
        let rows: Vec<[String; 5]> = items(answer, "alerts")
            .iter()
            .map(|alert| {
                let lost = instant(alert, "lost_since");
                let phase = field(alert, "phase");
                let phase = if lost.is_empty() {
                    phase
                } else {
                    format!("{phase} (no data since {lost})")
                };
                let series = match field(alert, "series") {
                    none if none.is_empty() => field(alert, "labels"),
                    series => series,
                };
                [
                    field(alert, "rule"),
                    phase,
                    instant(alert, "since"),
                    field(alert, "value"),
                    series,
                ]
            })
            .collect();
        let alerts = table(
            ["RULE", "PHASE", "SINCE", "VALUE", "SERIES"],
            &rows,
            "no alerts",
        );
        let blind = items(answer, "blind").iter().map(|rule| {
            let (name, selector) = (field(rule, "name"), field(rule, "selector"));
            format!("\nblind: {name} cannot fire, nothing fits {selector}")
        });
        alerts.trim_end().to_owned() + &blind.collect::<String>()
    }))
}
