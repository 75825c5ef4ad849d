//! Alerts and incidents: what there is, why somebody was or was not told, and "I have it".

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::Site;
use crate::api::auth::{Operator, Reader};
use crate::api::reply::{Id, failure, json, problem, read, stopped};
use crate::api::silences::{mutes, words};
use crate::engine::View;
use crate::engine::command::Command;
use crate::engine::event::{RunEnd, Silence};
use crate::engine::state::{Heal, Incident, Outgoing, Switch};

/// The name of a variant without fields, as it is written in JSON.
pub fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

/// Active alerts.
pub async fn alerts(_: Reader, State(site): State<Site>) -> Response {
    let alerts = site
        .handle
        .ask(|view| {
            view.state
                .alerts
                .iter()
                .map(|(k, a)| (k.clone(), a.clone(), view.state.open.get(&k.rule).copied()))
                .collect::<Vec<_>>()
        })
        .await;
    let Some(alerts) = alerts else {
        return stopped();
    };
    let shown: Vec<Value> = alerts
        .into_iter()
        .map(|(key, a, incident)| {
            json!({
                "rule": key.rule, "series": key.series, "labels": a.labels, "annotations": a.annotations,
                "phase": a.phase, "since": a.since.rfc3339(), "value": a.value,
                "lost_since": a.lost_since.map(|t| t.rfc3339()), "incident": incident,
            })
        })
        .collect();
    json(StatusCode::OK, &json!({ "alerts": shown }))
}

/// Which incidents are listed.
#[derive(Deserialize)]
pub struct Which {
    state: Option<String>,
}

/// Incidents, newest first: open ones unless others are asked for.
pub async fn list(_: Reader, State(site): State<Site>, Query(which): Query<Which>) -> Response {
    let (open, closed) = match which.state.as_deref() {
        None | Some("open") => (true, false),
        Some("closed") => (false, true),
        Some("all") => (true, true),
        Some(other) => {
            return problem(
                StatusCode::BAD_REQUEST,
                "state",
                format!("`state` may be open, closed or all; found {other:?}"),
            );
        }
    };
    let found = site
        .handle
        .ask(move |view| {
            let wanted = |i: &&Incident| if i.closed.is_some() { closed } else { open };
            let all = view.state.incidents.values().rev();
            all.filter(wanted).cloned().collect::<Vec<_>>()
        })
        .await;
    found.map_or_else(stopped, |found| {
        json(StatusCode::OK, &json!({ "incidents": found }))
    })
}

fn unknown(id: u64) -> Response {
    problem(
        StatusCode::NOT_FOUND,
        "not-found",
        format!("there is no incident {id}"),
    )
}

/// One incident.
pub async fn one(_: Reader, State(site): State<Site>, Id(id): Id) -> Response {
    match site
        .handle
        .ask(move |view| view.state.incidents.get(&id).cloned())
        .await
    {
        None => stopped(),
        Some(None) => unknown(id),
        Some(Some(incident)) => json(StatusCode::OK, &incident),
    }
}

/// Everything that bears on one incident.
pub struct Story {
    /// The incident.
    pub incident: Incident,
    /// Pages about it that are on their way.
    pub pages: Vec<Outgoing>,
    /// Runs for it.
    pub heals: Vec<Heal>,
    /// Silences that mute one of its alerts.
    pub silences: Vec<Silence>,
    /// The heal switch.
    pub switch: Switch,
}

impl Story {
    /// Reads it; `None` if there is no such incident.
    pub fn of(view: View<'_>, id: u64) -> Option<Self> {
        let state = view.state;
        let incident = state.incidents.get(&id)?.clone();
        let muted = |s: &&Silence| {
            let mut alerts = incident.alerts.values();
            alerts.any(|m| mutes(&s.matchers, &m.alert.labels))
        };
        let outbox = state.outbox.values();
        let heals = state.heals.values();
        Some(Self {
            pages: outbox.filter(|o| o.page.incident == id).cloned().collect(),
            heals: heals.filter(|h| h.run.incident == id).cloned().collect(),
            silences: state.silences.values().filter(muted).cloned().collect(),
            switch: state.switch.clone(),
            incident,
        })
    }

    /// In plain words, in the order in which one would ask.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        self.what(&mut lines);
        self.told(&mut lines);
        for silence in &self.silences {
            lines.push(format!(
                "Silence {} ({}) by {} mutes it until {}: {}",
                silence.id,
                words(&silence.matchers),
                silence.by,
                silence.until.rfc3339(),
                silence.comment
            ));
        }
        self.tried(&mut lines);
        lines
    }

    fn what(&self, lines: &mut Vec<String>) {
        let i = &self.incident;
        lines.push(format!(
            "Incident {} opened at {}: {} ({} of {}).",
            i.id,
            i.opened_at.rfc3339(),
            i.about.name,
            i.about.condition,
            i.about.metric
        ));
        let firing = i.alerts.values().filter(|m| m.resolved_at.is_none());
        lines.push(format!(
            "{} of its {} alerts still fire.",
            firing.count(),
            i.alerts.len()
        ));
        for (series, m) in i.alerts.iter().filter(|(_, m)| m.resolved_at.is_none()) {
            if let Some(lost) = m.alert.lost_since {
                lines.push(format!(
                    "Nothing is heard of {series} since {}; that is not taken for recovery.",
                    lost.rfc3339()
                ));
            }
        }
        if let Some((at, cause)) = &i.closed {
            lines.push(format!(
                "Closed at {}: {}.",
                at.rfc3339(),
                word(cause).replace('_', " ")
            ));
        }
    }

    fn told(&self, lines: &mut Vec<String>) {
        let i = &self.incident;
        if i.about.notify.is_empty() {
            lines.push("The rule names nobody to page.".to_owned());
        } else {
            lines.push(format!("The rule pages {}.", i.about.notify.join(", ")));
        }
        for (receiver, at) in &i.told {
            lines.push(format!("{receiver} accepted a page at {}.", at.rfc3339()));
        }
        if i.told.is_empty() && self.pages.is_empty() {
            lines.push("Nobody has been told.".to_owned());
        }
        for out in &self.pages {
            let trouble = out.trouble.as_deref().unwrap_or("no answer yet");
            lines.push(if out.in_flight {
                format!(
                    "A page to {} is on its way (attempt {}).",
                    out.page.receiver, out.attempts
                )
            } else {
                format!(
                    "A page to {} was tried {} times ({trouble}); the next attempt is at {}.",
                    out.page.receiver,
                    out.attempts,
                    out.next.rfc3339()
                )
            });
            if out.fallback_told {
                lines.push(format!(
                    "The fallback of {} was told as well.",
                    out.page.receiver
                ));
            }
        }
        if let Some(held) = &i.held {
            lines.push(format!("Pages are held: {held}."));
        }
        if let Some(acked) = &i.acked {
            let note = if acked.note.is_empty() {
                String::new()
            } else {
                format!(": {}", acked.note)
            };
            lines.push(format!(
                "{} has it since {}{note}; no repeats are sent.",
                acked.by,
                acked.at.rfc3339()
            ));
        }
    }

    fn tried(&self, lines: &mut Vec<String>) {
        for heal in &self.heals {
            let run = &heal.run;
            let end = match &heal.ended {
                None => "runs".to_owned(),
                Some(e) => format!("{} after {}", how(&e.end), e.took.human()),
            };
            let outcome = match &heal.closed {
                None => "not judged yet".to_owned(),
                Some((at, outcome)) => {
                    format!("{} at {}", word(outcome).replace('_', " "), at.rfc3339())
                }
            };
            lines.push(format!(
                "Heal {}: {} for {} started at {}, {end}; {outcome}.",
                run.id,
                run.script,
                run.target,
                heal.claimed_at.rfc3339()
            ));
        }
        for (target, plan) in &self.incident.plans {
            if let Some(why) = &plan.held {
                lines.push(format!("The heal of {target} is held: {why}."));
            }
            if let Some(why) = &plan.exhausted {
                lines.push(format!("No more is tried for {target}: {why}."));
            }
        }
        if !self.switch.on {
            lines.push(format!(
                "All heals are switched off by {}: {}",
                self.switch.by, self.switch.reason
            ));
        }
    }
}

fn how(end: &RunEnd) -> String {
    match end {
        RunEnd::Exited { code } => format!("exited with {code}"),
        RunEnd::Signalled { signal } => format!("was ended by signal {signal}"),
        RunEnd::TimedOut => "was killed at its deadline".to_owned(),
        RunEnd::NotStarted { why } => format!("was not started ({why})"),
        RunEnd::Unknown { why } => format!("ended in a way nobody knows ({why})"),
    }
}

/// Why somebody was or was not told, in words and in data.
pub async fn why(_: Reader, State(site): State<Site>, Id(id): Id) -> Response {
    let story = match site.handle.ask(move |view| Story::of(view, id)).await {
        None => return stopped(),
        Some(None) => return unknown(id),
        Some(Some(story)) => story,
    };
    let told: BTreeMap<&String, String> = story
        .incident
        .told
        .iter()
        .map(|(r, at)| (r, at.rfc3339()))
        .collect();
    let silences: Vec<Value> = story
        .silences
        .iter()
        .map(crate::api::silences::shown)
        .collect();
    let body = json!({
        "lines": story.lines(), "incident": story.incident, "told": told, "outbox": story.pages,
        "silences": silences, "heals": story.heals, "plans": story.incident.plans, "switch": story.switch,
    });
    json(StatusCode::OK, &body)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ack {
    by: Option<String>,
    #[serde(default)]
    note: String,
}

/// Someone has it.
pub async fn ack(caller: Operator, State(site): State<Site>, Id(id): Id, body: Body) -> Response {
    let Ack { by, note } = match read(body).await {
        Ok(request) => request,
        Err(response) => return *response,
    };
    let by = caller.who(by);
    let command = Command::Ack {
        incident: id,
        by: by.clone(),
        note: note.clone(),
    };
    match site.handle.command(command).await {
        Ok(()) => json(
            StatusCode::OK,
            &json!({"incident": id, "by": by, "note": note}),
        ),
        Err(error) => failure(&error),
    }
}
