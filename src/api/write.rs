//! `POST /api/v1/write`: Prometheus as the sender.
//!
//! It drops what is answered 4xx, 429 among them unless it is told otherwise, and sends again what is answered 5xx: so
//! here everything that passes is 503, with `Retry-After`, and 400 means that sending it again would not help.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::Site;
use crate::api::push::{INFLATED_BYTES_MAX, not_pushed, partly, store, too_large, whole};
use crate::api::reply::problem;
use crate::config::settings::Scope;
use crate::ingest::remote_write::{DecodeError, decode};
use crate::shell::drive::PushFailure;

/// Takes samples; 204 when they are durable.
pub async fn write(State(site): State<Site>, headers: HeaderMap, body: Body) -> Response {
    match take(&site, &headers, body).await {
        Ok(response) => response,
        Err(response) => *response,
    }
}

async fn take(site: &Site, headers: &HeaderMap, body: Body) -> Result<Response, Box<Response>> {
    site.allow(headers, Scope::Push)?;
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok());
    let kind = text(header::CONTENT_TYPE).unwrap_or("application/x-protobuf");
    if !kind.starts_with("application/x-protobuf") || kind.contains("io.prometheus.write.v2") {
        return Err(Box::new(problem(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "content-type",
            "send `application/x-protobuf`, a `prometheus.WriteRequest` of remote write 1.0",
        )));
    }
    if text(header::CONTENT_ENCODING).is_some_and(|e| e != "snappy") {
        return Err(Box::new(problem(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "encoding",
            "`Content-Encoding` is snappy, its block format",
        )));
    }
    let bytes = whole(headers, body).await?;
    let (batch, refused) =
        decode(&bytes, INFLATED_BYTES_MAX).map_err(|e| Box::new(not_decoded(&e)))?;
    drop(bytes);
    let (accepted, refused) = store(site, batch, refused).await.map_err(|failure| {
        let wait = match &failure {
            PushFailure::Busy => "1",
            PushFailure::Unavailable(_) => "5",
        };
        Box::new(not_pushed(
            &failure,
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            wait,
        ))
    })?;
    let mut response = if refused.is_empty() {
        StatusCode::NO_CONTENT.into_response()
    } else {
        partly(accepted, refused)
    };
    let written = [
        ("x-prometheus-remote-write-samples-written", accepted),
        ("x-prometheus-remote-write-histograms-written", 0),
        ("x-prometheus-remote-write-exemplars-written", 0),
    ];
    for (name, count) in written {
        response.headers_mut().insert(name, count.into());
    }
    Ok(response)
}

fn not_decoded(error: &DecodeError) -> Response {
    if let DecodeError::TooLarge { limit, .. } = error {
        return too_large("the decompressed body", *limit);
    }
    problem(
        StatusCode::BAD_REQUEST,
        "not-decoded",
        format!("{error}; nothing was taken"),
    )
}
