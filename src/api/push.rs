//! `POST /metric`: the fast path.

use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::api::reply::{problem, problem_with, with_header};
use crate::api::{Site, body};
use crate::config::settings::Scope;
use crate::engine::intake::{Batch, Refusal};
use crate::engine::limits::{
    FUTURE_MAX, LATE_IN_ORDER_MAX, LATE_MAX, METRIC_SERIES_MAX, SERIES_COUNT_MAX,
};
use crate::ingest::Refused;
use crate::ingest::json::decode;
use crate::shell::drive::PushFailure;

/// Refused items that are named one by one.
const ERRORS_SHOWN_MAX: usize = 20;

/// Takes samples; 204 when they are durable.
pub async fn metric(State(site): State<Site>, headers: HeaderMap, body: Body) -> Response {
    take(&site, &headers, body)
        .await
        .unwrap_or_else(|refused| *refused)
}

async fn take(site: &Site, headers: &HeaderMap, body: Body) -> Result<Response, Box<Response>> {
    site.allow(headers, Scope::Push)?;
    let sent = body::plain(site, headers, body).await?;
    let (batch, refused) = decode(&sent.bytes).map_err(|e| Box::new(not_decoded(&e)))?;
    drop(sent);
    let stored = store(site, batch, refused).await;
    stored
        .map(Stored::answer)
        .map_err(|e| Box::new(not_pushed(&e, headers)))
}

/// What became of a request's samples.
pub struct Stored {
    /// Durable, or known already.
    pub accepted: usize,
    /// How many of them are native histograms.
    pub natives: usize,
    /// All that were refused, by the decoder or at the door.
    pub refused: Vec<Refused>,
}

/// Makes samples durable; `refused` are those that could not be read.
///
/// # Errors
/// Nothing was taken.
pub async fn store(
    site: &Site,
    batch: Batch,
    mut refused: Vec<Refused>,
) -> Result<Stored, PushFailure> {
    let (malformed, mut accepted, mut natives) = (refused.len() as u64, 0, 0);
    if !batch.items.is_empty() {
        let pushed = site.handle.push(batch).await?;
        (accepted, natives) = (pushed.accepted, pushed.natives);
        refused.extend(pushed.refused.iter().map(|(i, why)| at_the_door(*i, *why)));
    }
    // Counted only now: what is sent again because nothing was taken counts once.
    let counted = &site.handle.status.malformed_total;
    counted.fetch_add(malformed, Ordering::Relaxed);
    Ok(Stored {
        accepted,
        natives,
        refused,
    })
}

impl Stored {
    /// 204, or 400 with what was refused.
    pub fn answer(self) -> Response {
        if self.refused.is_empty() {
            StatusCode::NO_CONTENT.into_response()
        } else {
            partly(self.accepted, self.refused)
        }
    }
}

fn not_decoded(error: &crate::ingest::json::DecodeError) -> Response {
    use crate::ingest::json::DecodeError as E;
    let place = match error {
        E::Syntax { line, column, .. } => json!({"accepted": 0, "line": line, "column": column}),
        E::Empty | E::TooMany => json!({"accepted": 0}),
    };
    problem_with(
        StatusCode::BAD_REQUEST,
        "not-decoded",
        format!("{error}; nothing was taken"),
        place,
    )
}

/// Nothing was taken: try again later. Where too much is under way that is 429; but on 429 Prometheus drops what it sent,
/// unless `retry_on_http_429` is set, so it is told 503, on which it always tries again.
pub fn not_pushed(failure: &PushFailure, headers: &HeaderMap) -> Response {
    let prometheus = body::header_text(headers, header::USER_AGENT)
        .is_some_and(|agent| agent.starts_with("Prometheus/"));
    let (status, code, wait) = match failure {
        PushFailure::Busy if prometheus => (StatusCode::SERVICE_UNAVAILABLE, "busy", "1"),
        PushFailure::Busy => (StatusCode::TOO_MANY_REQUESTS, "busy", "1"),
        PushFailure::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "5"),
    };
    with_header(
        problem(status, code, format!("{failure}; nothing was taken")),
        header::RETRY_AFTER,
        wait,
    )
}

fn at_the_door(index: u32, why: Refusal) -> Refused {
    let (field, reason) = match why {
        Refusal::Late => (
            "ts",
            format!(
                "too late: the limit is {LATE_MAX} in the past, {LATE_IN_ORDER_MAX} for remote write"
            ),
        ),
        Refusal::Future => (
            "ts",
            format!("too far ahead: the limit is {FUTURE_MAX} in the future"),
        ),
        Refusal::SeriesLimit => (
            "labels",
            format!("one series too many: the limit is {SERIES_COUNT_MAX} active series"),
        ),
        Refusal::MetricLimit => (
            "labels",
            format!("one series of this metric too many: the limit is {METRIC_SERIES_MAX}"),
        ),
        Refusal::OutOfOrder => (
            "ts",
            "out of order: the series has a newer sample".to_owned(),
        ),
        Refusal::Duplicate => (
            "value",
            "duplicate: the series has another value at that time".to_owned(),
        ),
    };
    Refused {
        index,
        field,
        reason: reason.into(),
    }
}

fn partly(accepted: usize, mut refused: Vec<Refused>) -> Response {
    refused.sort_by_key(|r| r.index);
    let count = refused.len();
    refused.truncate(ERRORS_SHOWN_MAX);
    let first = refused.first().map_or(String::new(), |r| {
        format!(": item {}, field `{}`: {}", r.index, r.field, r.reason)
    });
    problem_with(
        StatusCode::BAD_REQUEST,
        "items-refused",
        format!("{count} refused, {accepted} taken{first}"),
        json!({"accepted": accepted, "refused": count, "errors": refused}),
    )
}
