//! Bodies that carry samples: read within their bounds, and inflated.

use std::io::Read;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::Response;
use serde_json::json;

use crate::api::reply::{problem, problem_with};

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
    if gzip {
        inflate(&bytes).map(Bytes::from)
    } else {
        Ok(bytes)
    }
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
