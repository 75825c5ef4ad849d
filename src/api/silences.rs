//! Silences: list, try out, make, end.

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Site;
use crate::api::auth::{Operator, Reader};
use crate::api::reply::{Id, failure, json, problem, read, stopped};
use crate::engine::command::Command;
use crate::engine::event::Silence;
use crate::model::labels::{Labels, Matcher, parse_matchers};
use crate::model::time::Duration;

/// Silences that have not ended.
pub async fn list(_: Reader, State(site): State<Site>) -> Response {
    let silences = site
        .handle
        .ask(|view| view.state.silences.values().cloned().collect::<Vec<_>>())
        .await;
    silences.map_or_else(stopped, |silences| {
        let shown: Vec<Value> = silences.iter().map(shown).collect();
        json(StatusCode::OK, &json!({ "silences": shown }))
    })
}

/// A silence as it is shown.
pub fn shown(silence: &Silence) -> Value {
    json!({
        "id": silence.id, "matchers": words(&silence.matchers), "from": silence.from.rfc3339(),
        "until": silence.until.rfc3339(), "by": silence.by, "comment": silence.comment,
    })
}

/// Matchers as they are written.
pub fn words(matchers: &[Matcher]) -> String {
    let words: Vec<String> = matchers.iter().map(Matcher::to_string).collect();
    words.join(", ")
}

/// Whether all matchers hold on an alert's labels.
pub fn mutes(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers.iter().all(|m| m.matches(labels.get(&m.name)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Make {
    matchers: String,
    duration: Option<String>,
    by: Option<String>,
    #[serde(default)]
    comment: String,
}

fn matchers_of(text: &str) -> Result<Vec<Matcher>, Box<Response>> {
    parse_matchers(text).map_err(|e| {
        Box::new(problem(
            StatusCode::BAD_REQUEST,
            "matchers",
            format!("`matchers`: {e}; an example: alertname=\"x\", region=~\"e.*\""),
        ))
    })
}

/// Makes one; its number, once it is durable.
pub async fn make(caller: Operator, State(site): State<Site>, body: Body) -> Response {
    make_one(caller, &site, body).await.unwrap_or_else(|r| *r)
}

async fn make_one(caller: Operator, site: &Site, body: Body) -> Result<Response, Box<Response>> {
    let request: Make = read(body).await?;
    let matchers = matchers_of(&request.matchers)?;
    let lasts: Duration = request
        .duration
        .as_deref()
        .unwrap_or_default()
        .parse()
        .map_err(|e| {
            Box::new(problem(
                StatusCode::BAD_REQUEST,
                "duration",
                format!("`duration`: {e}; an example: 1h30m"),
            ))
        })?;
    let (by, comment) = (caller.who(request.by), request.comment);
    let _one_at_a_time = site.silencing.lock().await;
    let command = Command::Silence {
        matchers: matchers.clone(),
        lasts,
        by: by.clone(),
        comment: comment.clone(),
    };
    site.handle
        .command(command)
        .await
        .map_err(|e| Box::new(failure(&e)))?;
    let made = site
        .handle
        .ask(move |view| {
            let same = |s: &&Silence| s.matchers == matchers && s.by == by && s.comment == comment;
            view.state.silences.values().rev().find(same).cloned()
        })
        .await
        .ok_or_else(stopped)?;
    Ok(match made {
        Some(silence) => json(StatusCode::CREATED, &shown(&silence)),
        None => problem(
            StatusCode::GONE,
            "ended",
            "the silence was made and has ended already",
        ),
    })
}

/// Which firing alerts would be muted.
pub async fn preview(_: Reader, State(site): State<Site>, body: Body) -> Response {
    let request: Make = match read(body).await {
        Ok(request) => request,
        Err(response) => return *response,
    };
    let matchers = match matchers_of(&request.matchers) {
        Ok(matchers) => matchers,
        Err(response) => return *response,
    };
    let muted = site
        .handle
        .ask(move |view| {
            let firing = view.state.alerts.values().filter(|a| a.is_firing());
            firing
                .filter(|a| mutes(&matchers, &a.labels))
                .map(|a| a.labels.clone())
                .collect::<Vec<_>>()
        })
        .await;
    muted.map_or_else(stopped, |muted| {
        json(
            StatusCode::OK,
            &json!({"count": muted.len(), "alerts": muted}),
        )
    })
}

/// Ends one now.
pub async fn end(caller: Operator, State(site): State<Site>, Id(id): Id) -> Response {
    let by = caller.who(None);
    match site.handle.command(Command::EndSilence { id, by }).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => failure(&error),
    }
}
