//! What every answer is wrapped in.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use crate::api::reply::with_header;

/// Why there is no answer, in Prometheus's kinds.
#[derive(Debug)]
pub struct Failure {
    status: StatusCode,
    kind: &'static str,
    text: String,
}

/// A failure as it is written, in this order.
#[derive(Serialize)]
struct Wrapped<'a> {
    status: &'static str,
    #[serde(rename = "errorType")]
    kind: &'static str,
    error: &'a str,
}

impl Failure {
    fn new(status: StatusCode, kind: &'static str, text: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            text: text.into(),
        }
    }
    /// The request cannot be right.
    pub fn bad(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_data", text)
    }
    /// A parameter cannot be right.
    pub fn param(name: &str, why: impl std::fmt::Display) -> Self {
        Self::bad(format!("invalid parameter \"{name}\": {why}"))
    }
    /// The data does not allow it, or it would cost too much.
    pub fn execution(text: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "execution", text)
    }
    /// It took too long.
    pub fn timeout(text: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", text)
    }
    /// Somebody stopped it.
    pub fn canceled(text: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(499).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        Self::new(status, "canceled", text)
    }
    /// Too much is under way.
    pub fn busy(text: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", text)
    }
    /// There is nothing of that name.
    pub fn unknown(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", text)
    }
    /// The engine has stopped.
    pub fn stopped() -> Self {
        Self::busy("ops is stopping")
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = Wrapped {
            status: "error",
            kind: self.kind,
            error: &self.text,
        };
        let response = crate::api::reply::json(self.status, &body);
        if self.kind == "unavailable" {
            return with_header(response, header::RETRY_AFTER, "5");
        }
        response
    }
}

/// An answer.
pub type Answered = Result<Response, Failure>;

/// What stands in an answer that was cut at `limit`.
pub const TRUNCATED: &str = "results truncated due to limit";

/// The beginning of an answer; its data follow, then [`end`].
pub fn begin() -> Vec<u8> {
    b"{\"status\":\"success\",\"data\":".to_vec()
}

/// An answer whose data are complete.
pub fn end(mut out: Vec<u8>, warnings: &[String], infos: &[String]) -> Response {
    for (name, texts) in [("warnings", warnings), ("infos", infos)] {
        if !texts.is_empty() {
            out.extend_from_slice(format!(",\"{name}\":{}", json!(texts)).as_bytes());
        }
    }
    out.push(b'}');
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (StatusCode::OK, kind, out).into_response()
}

/// Data without remarks.
pub fn success(data: &impl Serialize) -> Answered {
    answered(data, &[])
}

fn answered(data: &impl Serialize, warnings: &[String]) -> Answered {
    let mut out = begin();
    serde_json::to_writer(&mut out, data).map_err(|e| Failure::execution(e.to_string()))?;
    Ok(end(out, warnings, &[]))
}

/// A list, cut at `limit` with a warning; 0: no limit.
pub fn limited(mut list: Vec<impl Serialize>, limit: usize) -> Answered {
    let mut warnings = Vec::new();
    if limit > 0 && list.len() > limit {
        list.truncate(limit);
        warnings.push(TRUNCATED.to_owned());
    }
    answered(&list, &warnings)
}
