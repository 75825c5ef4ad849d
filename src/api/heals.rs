//! Script runs and the master switch.

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Site;
use crate::api::auth::{Healer, Reader};
use crate::api::reply::{failure, json, read, stopped};
use crate::engine::command::Command;
use crate::engine::state::Heal;
use crate::model::time::Timestamp;

/// Runs, open and recently closed.
pub async fn list(_: Reader, State(site): State<Site>) -> Response {
    let heals = site
        .handle
        .ask(|view| view.state.heals.values().cloned().collect::<Vec<_>>())
        .await;
    heals.map_or_else(stopped, |heals| {
        let shown: Vec<Value> = heals.iter().map(shown).collect();
        json(StatusCode::OK, &json!({ "heals": shown }))
    })
}

/// A run as it is shown.
pub fn shown(heal: &Heal) -> Value {
    let run = &heal.run;
    let ended = heal.ended.as_ref().map(
        |e| json!({"at": e.at.rfc3339(), "end": e.end, "took_ms": e.took.ms(), "output": e.output}),
    );
    json!({
        "id": run.id, "incident": run.incident, "rule": run.rule, "target": run.target, "group": run.group,
        "step": run.step, "attempt": run.attempt, "script": run.script, "args": run.args,
        "claimed_at": heal.claimed_at.rfc3339(), "ended": ended,
        "good_since": heal.good_since.map(Timestamp::rfc3339),
        "closed": heal.closed.map(|(at, outcome)| json!({"at": at.rfc3339(), "outcome": outcome, "why": heal.why})),
    })
}

/// Whether heals may start.
pub async fn switch(_: Reader, State(site): State<Site>) -> Response {
    let switch = site.handle.ask(|view| view.state.switch.clone()).await;
    switch.map_or_else(stopped, |switch| json(StatusCode::OK, &switch))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetSwitch {
    on: bool,
    by: Option<String>,
    #[serde(default)]
    reason: String,
}

/// Switches all heals on or off.
pub async fn set_switch(caller: Healer, State(site): State<Site>, body: Body) -> Response {
    let SetSwitch { on, by, reason } = match read(body).await {
        Ok(request) => request,
        Err(response) => return *response,
    };
    let by = caller.who(by);
    let command = Command::Switch {
        on,
        by: by.clone(),
        reason: reason.clone(),
    };
    match site.handle.command(command).await {
        Ok(()) => json(
            StatusCode::OK,
            &json!({"on": on, "by": by, "reason": reason}),
        ),
        Err(error) => failure(&error),
    }
}
