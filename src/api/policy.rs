//! What is wrong in the files, and loading them again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use crate::api::Site;
use crate::api::auth::{Admin, Reader};
use crate::api::reply::{json, problem_with, stopped};
use crate::model::written::Severity;
use crate::shell::load::Loaded;

/// How long a reload is waited for. A load that finds no byte changed says nothing, so this is also its answer time.
const RELOAD_WAIT: Duration = Duration::from_secs(2);

/// Problems and broken files that are listed in one answer; `ops check` lists more.
const LISTED_MAX: usize = 200;

/// What is wrong with rule files and settings: the first of it, and how much there is.
pub async fn problems(_: Reader, State(site): State<Site>) -> Response {
    let loaded = site.loaded();
    let count = loaded.problems.0.len();
    json(
        StatusCode::OK,
        &json!({"count": count, "problems": shown(&loaded)}),
    )
}

/// Loads everything again: 200, or 400 with the problems.
pub async fn reload(_: Admin, State(site): State<Site>) -> Response {
    let before = site.loaded();
    if site.reload.send(()).is_err() {
        return stopped();
    }
    let asked = Instant::now();
    let mut loaded = site.loaded();
    while Arc::ptr_eq(&loaded.problems, &before.problems) && asked.elapsed() < RELOAD_WAIT {
        tokio::time::sleep(Duration::from_millis(25)).await;
        loaded = site.loaded();
    }
    let errors = loaded.problems.error_count();
    if errors == 0 {
        return json(
            StatusCode::OK,
            &json!({"status": "ok", "rules": loaded.rule_count(), "problems": shown(&loaded)}),
        );
    }
    let broken: Vec<&String> = loaded.policy.broken.iter().take(LISTED_MAX).collect();
    problem_with(
        StatusCode::BAD_REQUEST,
        "policy",
        format!("{errors} errors; broken files keep their last good version"),
        json!({"count": loaded.problems.0.len(), "problems": shown(&loaded), "broken": broken}),
    )
}

fn shown(loaded: &Loaded) -> Vec<Value> {
    let severity = |s: Severity| match s {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    loaded
        .problems
        .0
        .iter()
        .take(LISTED_MAX)
        .map(|(p, text)| {
            json!({
                "severity": severity(p.severity), "code": p.code, "file": p.file, "line": p.line,
                "column": p.column, "message": p.message, "hint": p.hint, "rendered": p.render(text),
            })
        })
        .collect()
}
