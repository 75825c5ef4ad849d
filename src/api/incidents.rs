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
use crate::api::story::Story;
use crate::engine::View;
use crate::engine::command::Command;
use crate::engine::state::{Incident, Outgoing};
use crate::model::time::Timestamp;

/// The name of a variant without fields, as it is written in JSON.
pub fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

/// Rules that see nothing, as they are shown.
pub fn blind(view: View<'_>) -> Vec<Value> {
    let blind = view.state.blind.iter();
    let shown = blind.map(|(id, b)| {
        json!({"rule": id, "name": b.name, "selector": b.selector, "said_at": b.since.rfc3339()})
    });
    shown.collect()
}

/// Active alerts, and rules that cannot have any.
pub async fn alerts(_: Reader, State(site): State<Site>) -> Response {
    let alerts = site
        .handle
        .ask(|view| {
            let alerts = view.state.alerts.iter();
            let alerts =
                alerts.map(|(k, a)| (k.clone(), a.clone(), view.state.open.get(&k.rule).copied()));
            (alerts.collect::<Vec<_>>(), blind(view))
        })
        .await;
    let Some((alerts, blind)) = alerts else {
        return stopped();
    };
    let shown: Vec<Value> = alerts
        .into_iter()
        .map(|(key, a, incident)| {
            json!({
                "rule": key.rule, "series": key.series, "labels": a.labels, "annotations": a.annotations,
                "phase": if a.is_firing() { "firing" } else { "pending" }, "since": a.since.rfc3339(), "value": a.value,
                "lost_since": a.lost_since.map(|t| t.rfc3339()), "incident": incident,
            })
        })
        .collect();
    json(StatusCode::OK, &json!({ "alerts": shown, "blind": blind }))
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
        let shown: Vec<Value> = found.iter().map(shown).collect();
        json(StatusCode::OK, &json!({ "incidents": shown }))
    })
}

/// An incident as it is shown.
fn shown(i: &Incident) -> Value {
    let told: BTreeMap<&String, String> = i.told.iter().map(|(r, at)| (r, at.rfc3339())).collect();
    let alerts: Vec<Value> = i
        .alerts
        .iter()
        .map(|(series, m)| {
            json!({
                "series": series, "labels": m.alert.labels, "annotations": m.alert.annotations,
                "since": m.alert.since.rfc3339(), "value": m.alert.value, "told": m.told,
                "lost_since": m.alert.lost_since.map(Timestamp::rfc3339),
                "resolved_at": m.resolved_at.map(Timestamp::rfc3339),
            })
        })
        .collect();
    json!({
        "id": i.id, "state": if i.closed.is_some() { "closed" } else { "open" }, "rule": i.about.name,
        "rule_id": i.rule, "metric": i.about.metric, "condition": i.about.condition,
        "threshold": i.about.threshold, "runbook": i.about.runbook, "notify": i.about.notify,
        "opened_at": i.opened_at.rfc3339(),
        "closed": i.closed.map(|(at, cause)| json!({"at": at.rfc3339(), "cause": cause})),
        "acked": i.acked.as_ref().map(|a| json!({"by": a.by, "note": a.note, "at": a.at.rfc3339()})),
        "alerts": alerts, "told": told, "paged_at": i.paged_at.map(Timestamp::rfc3339), "held": i.held,
        "plans": i.plans,
    })
}

/// A page that is on its way, as it is shown.
fn page(out: &Outgoing) -> Value {
    json!({
        "key": out.page.key, "receiver": out.page.receiver, "kind": out.page.kind,
        "queued_at": out.queued_at.rfc3339(), "attempts": out.attempts, "in_flight": out.in_flight,
        "maybe_told": out.maybe_told, "next": out.next.rfc3339(), "trouble": out.trouble,
        "fallback_told": out.fallback_told,
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
        Some(Some(incident)) => json(StatusCode::OK, &shown(&incident)),
    }
}

/// Why somebody was or was not told, in words and in data.
pub async fn why(_: Reader, State(site): State<Site>, Id(id): Id) -> Response {
    let story = match site.handle.ask(move |view| Story::of(view, id)).await {
        None => return stopped(),
        Some(None) => return unknown(id),
        Some(Some(story)) => story,
    };
    let silences: Vec<Value> = story
        .silences
        .iter()
        .map(crate::api::silences::shown)
        .collect();
    let pages: Vec<Value> = story.pages.iter().map(page).collect();
    let heals: Vec<Value> = story.heals.iter().map(crate::api::heals::shown).collect();
    let body = json!({
        "lines": story.lines(), "incident": shown(&story.incident), "outbox": pages,
        "silences": silences, "heals": heals, "switch": story.switch,
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
