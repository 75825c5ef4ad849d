//! What every answer is wrapped in.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

/// Why there is no answer, in Prometheus's kinds.
#[derive(Debug)]
pub struct Failure {
    status: StatusCode,
    kind: &'static str,
    text: String,
}

impl Failure {
    /// The request cannot be right.
    pub fn bad(text: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "bad_data",
            text: text.into(),
        }
    }
    /// A parameter cannot be right.
    pub fn param(name: &str, why: impl std::fmt::Display) -> Self {
        Self::bad(format!("invalid parameter \"{name}\": {why}"))
    }
    /// The data does not allow it, or it would cost too much.
    pub fn execution(text: impl Into<String>) -> Self {
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            kind: "execution",
            text: text.into(),
        }
    }
    /// It took too long.
    pub fn timeout(text: impl Into<String>) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            kind: "timeout",
            text: text.into(),
        }
    }
    /// The engine has stopped.
    pub fn stopped() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            kind: "unavailable",
            text: "ops is stopping".to_owned(),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        crate::api::reply::json(
            self.status,
            &json!({"status": "error", "errorType": self.kind, "error": self.text}),
        )
    }
}

/// An answer.
pub type Answered = Result<Response, Failure>;

/// Data that is JSON already.
pub fn raw(data: &str, warnings: &[String], infos: &[String]) -> Response {
    let mut out = format!("{{\"status\":\"success\",\"data\":{data}");
    for (name, texts) in [("warnings", warnings), ("infos", infos)] {
        if !texts.is_empty() {
            out.push_str(&format!(",\"{name}\":{}", json!(texts)));
        }
    }
    out.push('}');
    (
        StatusCode::OK,
        [(header::CONTENT_TYPE, "application/json")],
        out,
    )
        .into_response()
}

/// Data without remarks.
pub fn success(data: &impl Serialize) -> Answered {
    serde_json::to_string(data).map_or_else(
        |e| Err(Failure::execution(e.to_string())),
        |text| Ok(raw(&text, &[], &[])),
    )
}

/// A list, cut at `limit` with a warning; 0: no limit.
pub fn limited(mut list: Vec<Value>, limit: usize) -> Answered {
    let mut warnings = Vec::new();
    if limit > 0 && list.len() > limit {
        list.truncate(limit);
        warnings.push("results truncated due to limit".to_owned());
    }
    Ok(raw(&Value::Array(list).to_string(), &warnings, &[]))
}
