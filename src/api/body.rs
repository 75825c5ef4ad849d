//! Bodies that carry samples: read within their bounds, and inflated.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::Response;
use serde_json::json;

use crate::api::reply::{problem, problem_with};
use crate::ingest::inflate::{InflateError, inflate};

/// Largest body as it is sent.
pub const BODY_BYTES_MAX: usize = 16 << 20;
/// Largest body once it is inflated.
pub const INFLATED_BYTES_MAX: usize = 64 << 20;

/// A header's text; `None` if it is not there, or no text.
pub fn header_text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|v| v.to_str().ok())
}

/// The whole body as it was sent.
///
/// # Errors
/// It is too large, or it breaks off.
pub async fn whole(headers: &HeaderMap, body: Body) -> Result<Bytes, Box<Response>> {
    let announced = header_text(headers, header::CONTENT_LENGTH).and_then(|n| n.parse().ok());
    if announced.is_some_and(|n: usize| n > BODY_BYTES_MAX) {
        return Err(Box::new(too_large("the body", BODY_BYTES_MAX)));
    }
    axum::body::to_bytes(body, BODY_BYTES_MAX)
        .await
        .map_err(|e| Box::new(unread(&e)))
}

/// The whole body, inflated if it is gzip.
///
/// # Errors
/// As [`whole`]; it is encoded in another way, or no gzip.
pub async fn plain(headers: &HeaderMap, body: Body) -> Result<Bytes, Box<Response>> {
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
    if !gzip {
        return Ok(bytes);
    }
    let inflated = inflate(&bytes, INFLATED_BYTES_MAX).map_err(|error| match error {
        InflateError::TooLarge(limit) => too_large("the inflated body", limit),
        InflateError::NotGzip(_) => problem(StatusCode::BAD_REQUEST, "gzip", error.to_string()),
    });
    inflated.map(Bytes::from).map_err(Box::new)
}

/// A body is too large.
pub fn too_large(what: &str, limit: usize) -> Response {
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
