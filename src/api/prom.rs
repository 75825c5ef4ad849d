//! The HTTP API of Prometheus 3.x, as far as Grafana's data source and `promtool query` use it. A query copies the
//! series that it reads, some at a time between two inputs of the engine, and is evaluated beside the engine: no tick
//! waits for it. `docs/QUERY.md` says what a caller gets, and every bound below.

mod envelope;
mod find;
mod params;
mod place;
mod query;
mod rules;
mod status;
mod tree;
mod written;

pub use place::Places;

use axum::Router;
use axum::routing::{any, get};

use crate::api::Site;
use crate::model::time::Duration;

/// Queries that run at one time.
pub const QUERIES_MAX: usize = 4;
/// Queries that wait for those, until their timeout; more are refused.
pub const QUERIES_WAITING_MAX: usize = 60;
/// What one ask of the engine copies, in values that are moved: about a millisecond of its time.
const ASK_WEIGHT: usize = 65_536;
/// Series that one ask of the engine looks at by their labels: some milliseconds of its time.
const ASK_SERIES: usize = 2_000;
/// Series that a query reads at most, and that an answer may list.
const QUERY_SERIES_MAX: usize = 200_000;
/// Label sets in all parts of a query together, each with its values: some hundred bytes each.
const QUERY_CELLS_MAX: usize = 1_000_000;
/// What a query copies at most; packed samples are shared and do not count.
const QUERY_COPIED_BYTES_MAX: usize = 256 << 20;
/// Samples that a query looks at in one step, with those of its result; some may lie in memory at once, 16 bytes each.
/// Half of Prometheus's default.
const QUERY_SAMPLES_MAX: usize = 25_000_000;
/// Steps of a range query after the first.
const QUERY_STEPS_MAX: i64 = 11_000;
/// Points of the result of a range query, 24 bytes each.
const RESULT_POINTS_MAX: usize = 3_000_000;
/// The longest answer.
const RESULT_BYTES_MAX: usize = 64 << 20;
/// A query takes no longer than this, whatever `timeout` says.
const TIMEOUT_MAX: Duration = Duration::from_mins(2);

/// All routes below `/api/v1`.
pub fn routes() -> Router<Site> {
    let at = |path: &str| format!("/api/v1/{path}");
    Router::new()
        .route(&at("query"), get(query::instant).post(query::instant))
        .route(&at("query_range"), get(query::range).post(query::range))
        .route(
            &at("query_exemplars"),
            get(query::exemplars).post(query::exemplars),
        )
        .route(&at("format_query"), get(query::format).post(query::format))
        .route(&at("parse_query"), get(query::parsed).post(query::parsed))
        .route(&at("series"), get(find::series).post(find::series))
        .route(&at("labels"), get(find::labels).post(find::labels))
        .route(&at("label/{name}/values"), get(find::values))
        .route(&at("metadata"), get(status::metadata))
        .route(&at("rules"), get(rules::rules))
        .route(&at("alerts"), get(rules::alerts))
        .route(&at("targets"), get(status::targets))
        .route(&at("alertmanagers"), get(status::alertmanagers))
        .route(&at("status/buildinfo"), get(status::build))
        .route(&at("status/config"), get(status::config))
        .route(&at("status/flags"), get(status::flags))
        .route(&at("status/runtimeinfo"), get(status::runtime))
        .route(&at("status/tsdb"), get(status::tsdb))
        .route(&at("{*path}"), any(status::unknown))
}
