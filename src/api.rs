//! HTTP in: samples, questions, requests, and the pages that people look at.
//!
//! What comes in is decoded and handed to the engine's door ([`Handle`]); what goes out is read from a
//! [`View`](crate::engine::View). Nothing is decided here and nothing is kept here.

pub mod auth;
pub mod board;
pub mod body;
pub mod chart;
pub mod heals;
pub mod health;
pub mod import;
pub mod incidents;
pub mod live;
pub mod metrics;
pub mod openapi;
pub mod pages;
pub mod policy;
pub mod prom;
pub mod push;
pub mod reply;
pub mod silences;
pub mod story;
pub mod write;

use std::future::Future;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::routing::{delete, get, post};

use crate::shell::drive::Handle;
use crate::shell::load::Loaded;

/// What the API stands on.
pub struct Api {
    /// The door to the engine.
    pub handle: Handle,
    /// What the last load gave.
    pub loaded: Arc<RwLock<Loaded>>,
    /// Asks for a load.
    pub reload: std::sync::mpsc::Sender<()>,
    /// The data folder.
    pub data: PathBuf,
    /// The folder of runbooks.
    pub runbooks: PathBuf,
    /// Whether others than this machine can reach it: then, without tokens, nobody may do anything.
    pub exposed: bool,
}

impl Api {
    /// What the last load gave.
    pub fn loaded(&self) -> Loaded {
        self.loaded
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// What requests share.
pub struct Shared {
    api: Api,
    /// Held while a silence is made, so that its number can be told from others made at that moment.
    silencing: tokio::sync::Mutex<()>,
    /// Places for PromQL queries.
    queries: prom::Places,
    /// Room for bodies of samples.
    bodies: body::Room,
}

impl Deref for Shared {
    type Target = Api;
    fn deref(&self) -> &Api {
        &self.api
    }
}

/// The state of every route.
pub type Site = Arc<Shared>;

/// All routes.
pub fn router(api: Api) -> Router {
    let site: Site = Arc::new(Shared {
        api,
        silencing: tokio::sync::Mutex::new(()),
        queries: prom::Places::default(),
        bodies: body::Room::default(),
    });
    Router::new()
        .route("/metric", post(push::metric))
        .route("/api/v1/write", post(write::write))
        .route("/api/v1/import/prometheus", post(import::import))
        .route("/health", get(health::alive))
        .route("/healthz", get(health::alive))
        .route("/-/healthy", get(health::alive))
        .route("/ready", get(health::ready))
        .route("/readyz", get(health::ready))
        .route("/-/ready", get(health::ready))
        .route("/-/reload", post(policy::reload))
        .route("/metrics", get(metrics::metrics))
        .route("/api/ops/v1/alerts", get(incidents::alerts))
        .route("/api/ops/v1/incidents", get(incidents::list))
        .route("/api/ops/v1/incidents/{id}", get(incidents::one))
        .route("/api/ops/v1/incidents/{id}/why", get(incidents::why))
        .route("/api/ops/v1/incidents/{id}/ack", post(incidents::ack))
        .route(
            "/api/ops/v1/silences",
            get(silences::list).post(silences::make),
        )
        .route("/api/ops/v1/silences/preview", post(silences::preview))
        .route("/api/ops/v1/silences/{id}", delete(silences::end))
        .route("/api/ops/v1/heals", get(heals::list))
        .route(
            "/api/ops/v1/heals/switch",
            get(heals::switch).post(heals::set_switch),
        )
        .route("/api/ops/v1/problems", get(policy::problems))
        .route("/api/ops/v1/board/{metric}", get(board::board))
        .route("/api/openapi.json", get(openapi::openapi))
        .route("/board/{metric}", get(pages::board))
        .route("/live", get(live::live))
        .route("/", get(pages::index))
        .route("/incidents/{id}", get(pages::incident))
        .route("/runbooks/{*path}", get(pages::runbook))
        .merge(prom::routes())
        .fallback(reply::no_such_page)
        .method_not_allowed_fallback(reply::no_such_method)
        .with_state(site)
}

/// Serves until `shutdown` is ready; requests that are under way are answered.
///
/// # Errors
/// The listener fails.
pub async fn serve(
    listener: tokio::net::TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    use axum::serve::ListenerExt;
    let listener = listener.tap_io(|tcp| {
        let _ = tcp.set_nodelay(true);
    });
    axum::serve(listener, router)
        .with_graceful_shutdown(shutdown)
        .await
}

#[cfg(test)]
mod tests;
