//! Probes: alive, and ready.

use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use crate::api::reply::json;
use crate::api::{Api, Site};
use crate::model::time::{Duration, Timestamp};
use crate::shell::clock::wall;

/// A tick this late (beyond its own interval) is not ready.
const TICK_LAG_MAX: Duration = Duration::from_secs(10);
/// A wall clock that differs by more is worth a look.
const SKEW_MS_MAX: u64 = 2_000;

/// One thing that is looked at.
struct Check {
    name: &'static str,
    status: &'static str,
    detail: String,
}

/// The process answers.
pub async fn alive() -> Response {
    json(
        StatusCode::OK,
        &json!({"status": "ok", "timestamp": wall().rfc3339()}),
    )
}

/// Everything works that a pager needs; 503 if not.
pub async fn ready(State(site): State<Site>) -> Response {
    let checks = [log(&site), rules(&site), clock(&site), tick(&site)];
    let is = |status| checks.iter().any(|c| c.status == status);
    let (code, status) = if is("failing") {
        (StatusCode::SERVICE_UNAVAILABLE, "failing")
    } else if is("degraded") {
        (StatusCode::OK, "degraded")
    } else {
        (StatusCode::OK, "ok")
    };
    let checks: serde_json::Map<String, Value> = checks
        .into_iter()
        .map(|c| {
            (
                c.name.to_owned(),
                json!({"status": c.status, "detail": c.detail}),
            )
        })
        .collect();
    json(
        code,
        &json!({"status": status, "timestamp": wall().rfc3339(), "checks": checks}),
    )
}

fn log(api: &Api) -> Check {
    let status = &api.handle.status;
    let (samples, events, damaged) = (
        status.samples_failing.load(Ordering::Relaxed),
        status.events_failing.load(Ordering::Relaxed),
        status.damaged_total.load(Ordering::Relaxed),
    );
    let (status, detail) = match (samples, events, damaged) {
        (true, true, _) => ("failing", "neither log can be written".to_owned()),
        (true, false, _) => ("failing", "the sample log cannot be written".to_owned()),
        (false, true, _) => (
            "failing",
            "the event log cannot be written; pages and heals wait".to_owned(),
        ),
        (false, false, 0) => ("ok", "both logs are written".to_owned()),
        (false, false, n) => (
            "degraded",
            format!("both logs are written; {n} damaged places were stepped over at the start"),
        ),
    };
    Check {
        name: "log",
        status,
        detail,
    }
}

fn rules(api: &Api) -> Check {
    let loaded = api.loaded();
    let (broken, errors) = (&loaded.policy.broken, loaded.problems.error_count());
    let (status, detail) = if !broken.is_empty() {
        (
            "degraded",
            format!(
                "broken, the last good version is in force: {}",
                broken.join(", ")
            ),
        )
    } else if errors > 0 {
        (
            "degraded",
            format!("{errors} problems: see /api/ops/v1/problems"),
        )
    } else {
        ("ok", format!("{} rules", loaded.rule_count()))
    };
    Check {
        name: "rules",
        status,
        detail,
    }
}

fn clock(api: &Api) -> Check {
    let skew = api.handle.clock.skew_ms();
    let status = if skew.unsigned_abs() > SKEW_MS_MAX {
        "degraded"
    } else {
        "ok"
    };
    Check {
        name: "clock",
        status,
        detail: format!("the wall clock is {skew} ms ahead of ours"),
    }
}

fn tick(api: &Api) -> Check {
    let last = api.handle.status.tick_at.load(Ordering::Relaxed);
    let interval = api.loaded().settings.tick.unwrap_or(Duration::ZERO);
    let lag = api.handle.clock.now().since(Timestamp::from_ms(last));
    let (status, detail) = if last == 0 {
        ("failing", "no tick yet".to_owned())
    } else if lag.ms() > TICK_LAG_MAX.ms() + interval.ms() {
        ("failing", format!("the last tick was {} ago", lag.human()))
    } else {
        ("ok", format!("the last tick was {} ago", lag.human()))
    };
    Check {
        name: "tick",
        status,
        detail,
    }
}
