//! `GET /api/openapi.json`: what there is, made from one table.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::api::auth::Reader;
use crate::api::reply::json;

/// One operation.
pub struct Operation {
    /// In small letters.
    pub method: &'static str,
    /// With `{names}` for what varies.
    pub path: &'static str,
    /// The scope that a token needs; empty: none.
    pub scope: &'static str,
    /// The status when all is well.
    pub fine: u16,
    /// What it does.
    pub about: &'static str,
}

const fn op(
    method: &'static str,
    path: &'static str,
    scope: &'static str,
    fine: u16,
    about: &'static str,
) -> Operation {
    Operation {
        method,
        path,
        scope,
        fine,
        about,
    }
}

/// Every operation for programs.
pub const OPERATIONS: &[Operation] = &[
    op(
        "post",
        "/metric",
        "push",
        204,
        "Takes samples; answers when they are durable.",
    ),
    op(
        "post",
        "/api/v1/write",
        "push",
        204,
        "Takes Prometheus remote write 1.0; answers when the samples are durable.",
    ),
    op(
        "post",
        "/api/v1/import/prometheus",
        "push",
        204,
        "Takes text exposition or OpenMetrics; answers when the samples are durable.",
    ),
    op("get", "/health", "", 200, "Whether the process answers."),
    op(
        "get",
        "/ready",
        "",
        200,
        "Whether everything works that a pager needs; 503 if not.",
    ),
    op(
        "get",
        "/metrics",
        "read",
        200,
        "Ourselves, as Prometheus reads it.",
    ),
    op(
        "post",
        "/-/reload",
        "admin",
        200,
        "Loads rules and settings again; 400 with the problems.",
    ),
    op(
        "get",
        "/api/ops/v1/alerts",
        "read",
        200,
        "Active alerts, and rules that see nothing (`blind`).",
    ),
    op(
        "get",
        "/api/ops/v1/incidents",
        "read",
        200,
        "Incidents; `state` is open, closed or all.",
    ),
    op(
        "get",
        "/api/ops/v1/incidents/{id}",
        "read",
        200,
        "One incident.",
    ),
    op(
        "get",
        "/api/ops/v1/incidents/{id}/why",
        "read",
        200,
        "Why somebody was or was not told, and what was tried.",
    ),
    op(
        "post",
        "/api/ops/v1/incidents/{id}/ack",
        "operate",
        200,
        "Someone has it: {by?, note?}.",
    ),
    op(
        "get",
        "/api/ops/v1/silences",
        "read",
        200,
        "Silences that have not ended.",
    ),
    op(
        "post",
        "/api/ops/v1/silences",
        "operate",
        201,
        "Makes a silence: {matchers, duration, by?, comment?}.",
    ),
    op(
        "post",
        "/api/ops/v1/silences/preview",
        "read",
        200,
        "Which firing alerts would be muted: {matchers}.",
    ),
    op(
        "delete",
        "/api/ops/v1/silences/{id}",
        "operate",
        204,
        "Ends a silence now.",
    ),
    op(
        "get",
        "/api/ops/v1/heals",
        "read",
        200,
        "Script runs, open and recently closed.",
    ),
    op(
        "get",
        "/api/ops/v1/heals/switch",
        "read",
        200,
        "Whether heals may start.",
    ),
    op(
        "post",
        "/api/ops/v1/heals/switch",
        "heal",
        200,
        "Switches all heals: {on, by?, reason?}.",
    ),
    op(
        "get",
        "/api/ops/v1/problems",
        "read",
        200,
        "What is wrong in rule files and settings.",
    ),
    op(
        "get",
        "/api/ops/v1/board/{metric}",
        "read",
        200,
        "Series, threshold and markers; `window` as 1h.",
    ),
    op(
        "get",
        "/api/v1/query",
        "read",
        200,
        "Value of a PromQL expression: `query`, `time`, `timeout`, `limit`; POST takes a form too.",
    ),
    op(
        "get",
        "/api/v1/query_range",
        "read",
        200,
        "Values over time: `query`, `start`, `end`, `step`.",
    ),
    op(
        "get",
        "/api/v1/query_exemplars",
        "read",
        200,
        "Always empty; `query` must be one.",
    ),
    op(
        "get",
        "/api/v1/format_query",
        "read",
        200,
        "The expression as Prometheus prints it.",
    ),
    op(
        "get",
        "/api/v1/parse_query",
        "read",
        200,
        "The expression as a tree.",
    ),
    op(
        "get",
        "/api/v1/series",
        "read",
        200,
        "Series that `match[]` picks: `start`, `end`, `limit`; POST takes a form too.",
    ),
    op("get", "/api/v1/labels", "read", 200, "Names of labels."),
    op(
        "get",
        "/api/v1/label/{name}/values",
        "read",
        200,
        "Values of a label.",
    ),
    op(
        "get",
        "/api/v1/metadata",
        "read",
        200,
        "Kind, meaning and unit of metrics, as their senders said: `metric`, `limit`.",
    ),
    op(
        "get",
        "/api/v1/rules",
        "read",
        200,
        "Rules with their alerts, as Prometheus shows them; with its filters and pages.",
    ),
    op(
        "get",
        "/api/v1/alerts",
        "read",
        200,
        "Active alerts, as Prometheus shows them.",
    ),
    op(
        "get",
        "/api/v1/targets",
        "read",
        200,
        "Targets that are asked, and what came of it: `state`, `scrapePool`.",
    ),
    op("get", "/api/v1/alertmanagers", "read", 200, "Always empty."),
    op(
        "get",
        "/api/v1/status/buildinfo",
        "read",
        200,
        "Which Prometheus this speaks like.",
    ),
    op("get", "/api/v1/status/config", "read", 200, "Always empty."),
    op(
        "get",
        "/api/v1/status/flags",
        "read",
        200,
        "Flags of Prometheus that have a counterpart.",
    ),
    op(
        "get",
        "/api/v1/status/runtimeinfo",
        "read",
        200,
        "The server's time, and how far back samples are kept.",
    ),
    op(
        "get",
        "/api/v1/status/tsdb",
        "read",
        200,
        "How many series there are, and of which metrics most.",
    ),
];

/// The description.
pub async fn openapi(_: Reader) -> Response {
    json(StatusCode::OK, &description())
}

fn description() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for op in OPERATIONS {
        let path = paths.entry(op.path).or_insert_with(|| json!({}));
        path[op.method] = operation(op);
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": "ops", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}, "password": {"type": "http", "scheme": "basic"}}},
    })
}

fn operation(op: &Operation) -> Value {
    let parameters: Vec<Value> = op
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| {
            let kind = if name == "id" { "integer" } else { "string" };
            json!({"name": name, "in": "path", "required": true, "schema": {"type": kind}})
        })
        .collect();
    let fine = op.fine.to_string();
    let mut shown = json!({
        "summary": op.about,
        "parameters": parameters,
        "responses": {
            fine: {"description": "fine"},
            "default": {"description": "a problem", "content": {"application/problem+json": {}}},
        },
    });
    if op.method == "post" && op.path != "/-/reload" {
        let kind = match op.path {
            "/api/v1/write" => "application/x-protobuf",
            "/api/v1/import/prometheus" => "text/plain",
            _ => "application/json",
        };
        shown["requestBody"] = json!({"content": {kind: {}}});
    }
    if !op.scope.is_empty() {
        shown["description"] = format!("Needs the scope `{}`.", op.scope).into();
        shown["security"] = json!([{}, {"token": []}, {"password": []}]);
    }
    shown
}
