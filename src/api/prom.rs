//! The HTTP API of Prometheus 3.x, as far as Grafana's data source and `promtool query` use it. A query copies the
//! series that it reads, some at a time between two inputs of the engine, and is evaluated beside the engine: no tick
//! waits for it.

mod envelope;
mod find;
mod params;
mod query;
mod rules;
mod status;
mod written;

use axum::Router;
use axum::routing::get;

use crate::api::Site;
use crate::model::time::Duration;

/// Queries that run at one time; others wait, until their timeout.
pub const QUERIES_MAX: usize = 4;
/// Series that one ask of the engine looks at: some milliseconds of its time.
const ASK_SERIES: usize = 2_000;
/// Series that a query reads at most.
const QUERY_SERIES_MAX: usize = 200_000;
/// Samples that a query copies at most: 128 MiB; packed ones are shared and do not count.
const QUERY_COPIED_MAX: usize = 8_000_000;
/// Samples that a query looks at in one step, with those of its result.
const QUERY_SAMPLES_MAX: usize = 10_000_000;
/// A query takes no longer than this, whatever `timeout` says.
const TIMEOUT_MAX: Duration = Duration::from_mins(2);

/// All routes below `/api/v1`.
pub fn routes() -> Router<Site> {
    let both = |path: &str| format!("/api/v1/{path}");
    Router::new()
        .route(&both("query"), get(query::instant).post(query::instant))
        .route(&both("query_range"), get(query::range).post(query::range))
        .route(
            &both("query_exemplars"),
            get(status::list).post(status::list),
        )
        .route(
            &both("format_query"),
            get(query::format).post(query::format),
        )
        .route(&both("parse_query"), get(query::parsed).post(query::parsed))
        .route(&both("series"), get(find::series).post(find::series))
        .route(&both("labels"), get(find::labels).post(find::labels))
        .route(&both("label/{name}/values"), get(find::values))
        .route(&both("metadata"), get(status::nothing))
        .route(&both("rules"), get(rules::rules))
        .route(&both("alerts"), get(rules::alerts))
        .route(&both("targets"), get(status::targets))
        .route(&both("alertmanagers"), get(status::alertmanagers))
        .route(&both("status/buildinfo"), get(status::build))
        .route(&both("status/config"), get(status::config))
        .route(&both("status/flags"), get(status::nothing))
        .route(&both("status/runtimeinfo"), get(status::runtime))
        .route(&both("status/tsdb"), get(status::tsdb))
}
