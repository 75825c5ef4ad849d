//! `POST /metric`: the fast path.

use std::io::Read;
use std::sync::atomic::Ordering;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::api::Site;
use crate::api::reply::{problem, problem_with, with_header};
use crate::config::settings::Scope;
use crate::engine::intake::{Batch, Refusal};
use crate::engine::limits::{FUTURE_MAX, LATE_MAX, METRIC_SERIES_MAX, SERIES_COUNT_MAX};
use crate::ingest::Refused;
use crate::ingest::json::decode;
use crate::shell::drive::PushFailure;

/// Largest body as it is sent.
pub const BODY_BYTES_MAX: usize = 16 << 20;
/// Largest body once it is inflated.
pub const INFLATED_BYTES_MAX: usize = 64 << 20;
/// Refused items that are named one by one.
const ERRORS_SHOWN_MAX: usize = 20;

/// Takes samples; 204 when they are durable.
pub async fn metric(State(site): State<Site>, headers: HeaderMap, body: Body) -> Response {
    match take(&site, &headers, body).await {
        Ok(response) => response,
        Err(response) => *response,
    }
}

async fn take(site: &Site, headers: &HeaderMap, body: Body) -> Result<Response, Box<Response>> {
    site.allow(headers, Scope::Push)?;
    let gzip = match headers.get(header::CONTENT_ENCODING).map(|v| v.as_bytes()) {
        None | Some(b"" | b"identity") => false,
        Some(b"gzip" | b"x-gzip") => true,
        Some(_) => {
            return Err(Box::new(problem(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "encoding",
                "`Content-Encoding` may be gzip or identity",
            )));
        }
    };
    let bytes = whole(headers, body).await?;
    let inflated = if gzip { Some(inflate(&bytes)?) } else { None };
    let (batch, refused) =
        decode(inflated.as_deref().unwrap_or(&bytes)).map_err(|e| Box::new(not_decoded(&e)))?;
    drop((bytes, inflated));
    let (accepted, refused) = store(site, batch, refused).await.map_err(|failure| {
        let (status, code, wait) = match &failure {
            PushFailure::Busy => (StatusCode::TOO_MANY_REQUESTS, "busy", "1"),
            PushFailure::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "5"),
        };
        Box::new(not_pushed(&failure, status, code, wait))
    })?;
    if refused.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(partly(accepted, refused))
}

/// The body, within its bound.
pub(super) async fn whole(headers: &HeaderMap, body: Body) -> Result<Bytes, Box<Response>> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|n| n > BODY_BYTES_MAX) {
        return Err(Box::new(too_large("the body", BODY_BYTES_MAX)));
    }
    axum::body::to_bytes(body, BODY_BYTES_MAX)
        .await
        .map_err(|e| Box::new(unread(&e)))
}

/// Stores what was decoded: how many items are durable, and all that were refused.
pub(super) async fn store(
    site: &Site,
    batch: Batch,
    mut refused: Vec<Refused>,
) -> Result<(usize, Vec<Refused>), PushFailure> {
    let (malformed, mut accepted) = (refused.len() as u64, 0);
    if !batch.items.is_empty() {
        let pushed = site.handle.push(batch).await?;
        accepted = pushed.accepted;
        refused.extend(pushed.refused.iter().map(|(i, why)| at_the_door(*i, *why)));
    }
    // Counted only now: what is sent again because nothing was taken counts once.
    site.handle
        .status
        .malformed_total
        .fetch_add(malformed, Ordering::Relaxed);
    Ok((accepted, refused))
}

fn unread(error: &axum::Error) -> Response {
    use std::error::Error;
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(e) = cause {
        if e.to_string().contains("length limit") {
            return too_large("the body", BODY_BYTES_MAX);
        }
        cause = e.source();
    }
    problem(
        StatusCode::BAD_REQUEST,
        "body",
        format!("the body could not be read to its end: {error}"),
    )
}

pub(super) fn too_large(what: &str, limit: usize) -> Response {
    problem_with(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too-large",
        format!(
            "{what} is larger than {} MiB ({limit} bytes): send it in parts",
            limit >> 20
        ),
        json!({ "limit_bytes": limit }),
    )
}

fn inflate(bytes: &[u8]) -> Result<Vec<u8>, Box<Response>> {
    let mut out = Vec::with_capacity((bytes.len() * 4).min(INFLATED_BYTES_MAX));
    let mut reader =
        flate2::bufread::MultiGzDecoder::new(bytes).take(INFLATED_BYTES_MAX as u64 + 1);
    if let Err(error) = reader.read_to_end(&mut out) {
        return Err(Box::new(problem(
            StatusCode::BAD_REQUEST,
            "gzip",
            format!("the body is not gzip, or it is cut short: {error}"),
        )));
    }
    if out.len() > INFLATED_BYTES_MAX {
        return Err(Box::new(too_large("the inflated body", INFLATED_BYTES_MAX)));
    }
    Ok(out)
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

pub(super) fn not_pushed(
    failure: &PushFailure,
    status: StatusCode,
    code: &'static str,
    wait: &str,
) -> Response {
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
            format!("too late: the limit is {LATE_MAX} in the past"),
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
            format!("one series too many: the limit is {METRIC_SERIES_MAX} of one metric"),
        ),
        Refusal::OutOfOrder => (
            "ts",
            "out of order: the series has a newer sample".to_owned(),
        ),
        Refusal::Duplicate => (
            "ts",
            "duplicate: the series has another value at that time".to_owned(),
        ),
    };
    Refused {
        index,
        field,
        reason,
    }
}

pub(super) fn partly(accepted: usize, mut refused: Vec<Refused>) -> Response {
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
