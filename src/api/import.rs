//! `POST /api/v1/import/prometheus`: text exposition and OpenMetrics, pushed.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde_json::json;

use crate::api::body::{self, header_text};
use crate::api::push::{not_pushed, store, told, untaken};
use crate::api::reply::{problem, problem_with};
use crate::api::{Site, push};
use crate::config::settings::Scope;
use crate::ingest::exposition::{ExpositionError, Format, batch};
use crate::shell::drive::Untaken;

/// Takes samples; 204 when they are durable.
pub async fn import(State(site): State<Site>, headers: HeaderMap, body: Body) -> Response {
    told(&site, take(&site, &headers, body).await)
}

async fn take(site: &Site, headers: &HeaderMap, body: Body) -> Result<Response, Box<Response>> {
    site.allow(headers, Scope::Push)?;
    let kind = header_text(headers, header::CONTENT_TYPE);
    let Some(format) = Format::of_content_type(kind) else {
        let answer = problem(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "content-type",
            "`Content-Type` is text/plain (text format 0.0.4) or application/openmetrics-text here",
        );
        return Err(Box::new(untaken(Untaken::NotDecoded, answer)));
    };
    let sent = body::plain(site, headers, body).await?;
    let decoded = batch::decode(&sent.bytes, format).map_err(|e| Box::new(not_decoded(&e)))?;
    drop(sent);
    site.handle.describe(decoded.metadata);
    let stored = store(site, decoded.batch, decoded.refused).await;
    stored
        .map(push::Stored::answer)
        .map_err(|e| Box::new(not_pushed(&e, headers)))
}

fn not_decoded(error: &ExpositionError) -> Response {
    let answer = problem_with(
        StatusCode::BAD_REQUEST,
        "not-decoded",
        format!("{error}; nothing was taken"),
        json!({"accepted": 0, "line": error.line, "column": error.column}),
    );
    untaken(Untaken::NotDecoded, answer)
}
