//! Probes: alive, and ready.

use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use crate::api::reply::json;
use crate::api::{Api, Site};
use crate::config::codes;
use crate::engine::View;
use crate::engine::own::Own;
use crate::model::time::{Duration, Timestamp};
use crate::shell::clock::wall;

/// A tick this late (beyond its own interval) is not ready.
const TICK_LAG_MAX: Duration = Duration::from_secs(10);
/// A late slot is shown for this long.
const LATE_SHOWN: Duration = Duration::from_mins(5);
/// A wall clock that differs by more is worth a look.
const SKEW_MS_MAX: u64 = 2_000;
/// How long the engine is waited for: between two inputs it answers at once.
const ENGINE_WAIT: Duration = Duration::from_secs(1);
/// Broken files and damaged places that are named; the rest is counted.
const NAMED_MAX: usize = 5;

/// One thing that is looked at.
struct Check {
    name: &'static str,
    status: &'static str,
    detail: String,
}

impl Check {
    fn new(name: &'static str, status: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self {
            name,
            status,
            detail,
        }
    }
}

/// What the engine knows that bears on it.
struct Known {
    damaged: Vec<String>,
    /// Alerts about ourselves that nobody is told of.
    untold: Vec<String>,
}

impl Known {
    fn of(view: View<'_>) -> Self {
        let state = view.state;
        let open = state.open.values().filter_map(|i| state.incidents.get(i));
        let own = open.filter(|i| Own::of(&i.rule).is_some());
        Self {
            damaged: state
                .own_alerts(Own::LogDamaged)
                .map(|(place, _)| place.to_owned())
                .collect(),
            untold: own
                .filter(|i| i.about.notify.is_empty())
                .map(|i| format!("{} (incident {})", i.about.name, i.id))
                .collect(),
        }
    }
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
    let asked = tokio::time::timeout(ENGINE_WAIT.std(), site.handle.ask(Known::of));
    let known = asked.await.ok().flatten();
    let checks = [
        log(&site, known.as_ref()),
        rules(&site),
        clock(&site),
        tick(&site),
        people(known.as_ref()),
    ];
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

fn log(api: &Api, known: Option<&Known>) -> Check {
    let status = &api.handle.status;
    let mut refused = Vec::new();
    if let Some(why) = status.samples_refused.why() {
        refused.push(format!(
            "the sample log cannot be written, samples are refused: {why}"
        ));
    }
    if let Some(why) = status.events_refused.why() {
        refused.push(format!(
            "the event log cannot be written, pages and heals wait: {why}"
        ));
    }
    let damaged = known.map_or(&[][..], |k| &k.damaged);
    if !refused.is_empty() {
        Check::new("log", "failing", refused.join("; "))
    } else if !damaged.is_empty() {
        let detail = format!(
            "both logs are written; damaged, and not acknowledged yet: {}",
            named(damaged)
        );
        Check::new("log", "degraded", detail)
    } else {
        Check::new("log", "ok", "both logs are written")
    }
}

/// The first few by name, the rest by number.
fn named(all: &[String]) -> String {
    let first: Vec<&str> = all.iter().take(NAMED_MAX).map(String::as_str).collect();
    match all.len().saturating_sub(NAMED_MAX) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

fn rules(api: &Api) -> Check {
    let loaded = api.loaded();
    let (broken, errors) = (&loaded.policy.broken, loaded.problems.error_count());
    let mut all = loaded.problems.0.iter().map(|(p, _)| p);
    let gone = all.find(|p| p.code == codes::NO_FOLDER);
    if let Some(problem) = gone {
        Check::new("rules", "degraded", problem.brief())
    } else if !broken.is_empty() {
        let detail = format!(
            "{} of {} rule files are broken (their last good version, if there was one, is in force): {}",
            broken.len(),
            loaded.files.len(),
            named(broken)
        );
        Check::new("rules", "degraded", detail)
    } else if errors > 0 {
        let detail = format!("{errors} problems: see /api/ops/v1/problems");
        Check::new("rules", "degraded", detail)
    } else {
        Check::new("rules", "ok", format!("{} rules", loaded.rule_count()))
    }
}

fn clock(api: &Api) -> Check {
    let (skew, ahead) = (api.handle.clock.skew_ms(), api.handle.clock.ahead_ms());
    let apart = |ms: i64| {
        let by = Duration::from_ms(ms.unsigned_abs()).human();
        let to = if ms < 0 { "behind" } else { "ahead of" };
        format!("the wall clock is {by} {to} ours")
    };
    if skew.unsigned_abs() <= SKEW_MS_MAX {
        Check::new("clock", "ok", apart(skew))
    } else if (skew - ahead).unsigned_abs() <= SKEW_MS_MAX {
        let detail = format!(
            "{}, which is led there by 6 minutes an hour; times that senders give are read by the wall clock",
            apart(skew)
        );
        Check::new("clock", "degraded", detail)
    } else {
        let detail = format!(
            "{}: it was set just now, and is followed if that lasts",
            apart(skew)
        );
        Check::new("clock", "degraded", detail)
    }
}

fn tick(api: &Api) -> Check {
    let status = &api.handle.status;
    let last = status.tick_at.load(Ordering::Relaxed);
    let interval = api.loaded().settings.tick.unwrap_or(Duration::ZERO);
    let now = api.handle.clock.now();
    let lag = now.since(Timestamp::from_ms(last));
    let late_at = Timestamp::from_ms(status.late_at.load(Ordering::Relaxed));
    let when = format!("the last tick was {} ago", lag.human());
    if last == 0 {
        Check::new("tick", "failing", "no tick yet")
    } else if lag.ms() > TICK_LAG_MAX.ms() + interval.ms() {
        Check::new("tick", "failing", when)
    } else if late_at.ms() != 0 && now.since(late_at) < LATE_SHOWN {
        let late = Duration::from_ms(status.late_ms.load(Ordering::Relaxed));
        let skipped = status.skipped_total.load(Ordering::Relaxed);
        let detail = format!(
            "{when}; at {} rules were judged {} late, and {skipped} slots were skipped since the start",
            late_at.clock(),
            late.human()
        );
        Check::new("tick", "degraded", detail)
    } else {
        Check::new("tick", "ok", when)
    }
}

fn people(known: Option<&Known>) -> Check {
    match known {
        None => Check::new("people", "degraded", "the engine is busy and does not say"),
        Some(known) if !known.untold.is_empty() => {
            let detail = format!(
                "nobody is told, for there is no default receiver (`route.receiver` in ops.yaml): {}",
                known.untold.join(", ")
            );
            Check::new("people", "degraded", detail)
        }
        Some(_) => Check::new("people", "ok", "whoever is to be told is known"),
    }
}
