//! `POST /api/v1/write`: Prometheus remote write 1.0.
//!
//! What a sender does with the answer decides about its samples: 2xx, they are ours; 400, it drops them, as sending them
//! again would not help (those beside the refused ones are ours all the same); 5xx, it sends them again.
//! [`not_pushed`] says which of these means *wait*. Source: the remote write specification 1.0 and Prometheus's own client.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::json;

use crate::api::body::{self, INFLATED_BYTES_MAX, header_text};
use crate::api::push::{not_pushed, store, told, untaken};
use crate::api::reply::{problem, problem_with};
use crate::api::{Site, push};
use crate::config::settings::Scope;
use crate::ingest::remote_write::{DecodeError, decode};
use crate::shell::drive::Untaken;

/// The message that is understood.
const MESSAGE: &str = "prometheus.WriteRequest";

/// Takes samples; 204 when they are durable.
pub async fn write(State(site): State<Site>, headers: HeaderMap, body: Body) -> Response {
    told(&site, take(&site, &headers, body).await)
}

async fn take(site: &Site, headers: &HeaderMap, body: Body) -> Result<Response, Box<Response>> {
    site.allow(headers, Scope::Push)?;
    check_kind(headers)?;
    let sent = body::whole(site, headers, body).await?;
    let decoded = decode(
        &sent.bytes,
        INFLATED_BYTES_MAX,
        &site.handle.spellings.read(),
    )
    .map_err(|e| Box::new(not_decoded(&e)))?;
    drop(sent);
    site.handle.describe(decoded.metadata);
    let stored = store(site, decoded.batch, decoded.refused).await;
    let stored = stored.map_err(|e| Box::new(not_pushed(&e, headers)))?;
    Ok(counted(stored))
}

/// The answer, with how much was written: Prometheus 3 takes a 2xx without these for a failure where it sends 2.0.
fn counted(stored: push::Stored) -> Response {
    let (natives, numbers) = (stored.natives, stored.accepted - stored.natives);
    let mut response = stored.answer();
    for (name, count) in [
        ("x-prometheus-remote-write-samples-written", numbers),
        ("x-prometheus-remote-write-histograms-written", natives),
        ("x-prometheus-remote-write-exemplars-written", 0),
    ] {
        let name = HeaderName::from_static(name);
        response
            .headers_mut()
            .insert(name, HeaderValue::from(count));
    }
    response
}

/// What is not said is taken for right: early senders say nothing.
fn check_kind(headers: &HeaderMap) -> Result<(), Box<Response>> {
    let unsupported = |code, detail: String| {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        let answer = problem(status, code, detail);
        Err(Box::new(untaken(Untaken::NotDecoded, answer)))
    };
    let kind = header_text(headers, header::CONTENT_TYPE).unwrap_or("");
    let mut parts = kind.split(';').map(str::trim);
    let media = parts.next().unwrap_or("");
    if !(media.is_empty() || media.eq_ignore_ascii_case("application/x-protobuf")) {
        return unsupported(
            "content-type",
            format!("`Content-Type` is application/x-protobuf here, not {media}"),
        );
    }
    let message = parts.find_map(|p| p.strip_prefix("proto=")).unwrap_or("");
    if !matches!(message.trim_matches('"'), "" | MESSAGE) {
        return unsupported(
            "content-type",
            format!("remote write 1.0 is spoken here, the message {MESSAGE}, not {message}"),
        );
    }
    match header_text(headers, header::CONTENT_ENCODING).unwrap_or("") {
        "" => Ok(()),
        encoding if encoding.eq_ignore_ascii_case("snappy") => Ok(()),
        encoding => unsupported(
            "encoding",
            format!("`Content-Encoding` is snappy here, not {encoding}"),
        ),
    }
}

fn not_decoded(error: &DecodeError) -> Response {
    match error {
        DecodeError::TooLarge { limit, .. } => body::too_large("the decompressed body", *limit),
        DecodeError::Snappy(_) | DecodeError::Protobuf(_) | DecodeError::TooMany => {
            let answer = problem_with(
                StatusCode::BAD_REQUEST,
                "not-decoded",
                format!("{error}; nothing was taken"),
                json!({"accepted": 0}),
            );
            untaken(Untaken::NotDecoded, answer)
        }
    }
}
