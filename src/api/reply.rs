//! Answers: JSON, problems (RFC 9457) and pages.

use axum::body::{Body, Bytes};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::shell::drive::CommandFailure;

/// An answer in JSON.
pub fn json(status: StatusCode, body: &impl Serialize) -> Response {
    typed(status, "application/json", body)
}

fn typed(status: StatusCode, kind: &'static str, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => (status, [(header::CONTENT_TYPE, kind)], bytes).into_response(),
        Err(error) => {
            tracing::error!(%error, "Answer not written as JSON.");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A problem: `code` names its kind, `detail` says what to do.
pub fn problem(status: StatusCode, code: &str, detail: impl Into<String>) -> Response {
    problem_with(status, code, detail, json!({}))
}

/// A problem with more members.
pub fn problem_with(
    status: StatusCode,
    code: &str,
    detail: impl Into<String>,
    mut more: Value,
) -> Response {
    if let Some(members) = more.as_object_mut() {
        members.insert("type".into(), format!("urn:ops:problem:{code}").into());
        members.insert(
            "title".into(),
            status.canonical_reason().unwrap_or("Problem").into(),
        );
        members.insert("status".into(), status.as_u16().into());
        members.insert("detail".into(), detail.into().into());
    }
    typed(status, "application/problem+json", &more)
}

/// The same answer with one more header.
pub fn with_header(mut response: Response, name: HeaderName, value: &str) -> Response {
    if let Ok(value) = value.parse() {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Why a request was not carried out.
pub fn failure(failure: &CommandFailure) -> Response {
    use crate::engine::command::CommandError as E;
    let text = failure.to_string();
    match failure {
        CommandFailure::Refused(E::NoIncident(_) | E::NoSilence(_)) => {
            problem(StatusCode::NOT_FOUND, "not-found", text)
        }
        CommandFailure::Refused(E::MutesAll | E::NoTime) => {
            problem(StatusCode::BAD_REQUEST, "bad-request", text)
        }
        CommandFailure::NotDurable => with_header(
            problem(StatusCode::SERVICE_UNAVAILABLE, "not-durable", text),
            header::RETRY_AFTER,
            "5",
        ),
        CommandFailure::Stopped => stopped(),
    }
}

/// The engine does not answer any more.
pub fn stopped() -> Response {
    with_header(
        problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "stopping",
            "ops is stopping",
        ),
        header::RETRY_AFTER,
        "5",
    )
}

/// Largest request in JSON that is no delivery of samples.
pub const REQUEST_BYTES_MAX: usize = 64 << 10;

/// Reads a small request in JSON.
pub async fn read<T: DeserializeOwned>(body: Body) -> Result<T, Box<Response>> {
    let bytes: Bytes = axum::body::to_bytes(body, REQUEST_BYTES_MAX)
        .await
        .map_err(|_| {
            problem(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                format!("the body could not be read; the limit is {REQUEST_BYTES_MAX} bytes"),
            )
        })?;
    let bytes = if bytes.trim_ascii().is_empty() {
        Bytes::from_static(b"{}")
    } else {
        bytes
    };
    serde_json::from_slice(&bytes).map_err(|e| {
        Box::new(problem(
            StatusCode::BAD_REQUEST,
            "bad-request",
            format!("the body is not the JSON that is expected here: {e}"),
        ))
    })
}

/// A page of HTML; nothing from elsewhere is loaded by it.
pub fn html(status: StatusCode, scripts: bool, body: String) -> Response {
    let policy = if scripts {
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'"
    } else {
        "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; base-uri 'none'; form-action 'none'"
    };
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, body).into_response()
}

/// What no route knows.
pub async fn no_such_page(uri: Uri) -> Response {
    problem(
        StatusCode::NOT_FOUND,
        "not-found",
        format!("there is nothing at {}", uri.path()),
    )
}

/// A path that is known, but not with this method.
pub async fn no_such_method(method: axum::http::Method, uri: Uri) -> Response {
    problem(
        StatusCode::METHOD_NOT_ALLOWED,
        "method",
        format!("{} does not take {method}", uri.path()),
    )
}

/// A number in the path.
pub struct Id(pub u64);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Response;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let read = axum::extract::Path::<u64>::from_request_parts(parts, state).await;
        read.map(|path| Self(path.0)).map_err(|_| {
            let wanted = "the last part that names something must be a whole number";
            problem(StatusCode::BAD_REQUEST, "id", wanted)
        })
    }
}

/// Text as it may stand in HTML, in attributes too.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
