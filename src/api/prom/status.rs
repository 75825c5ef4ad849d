//! What Prometheus tells of itself, as far as we have it.

use axum::extract::State;
use serde_json::json;

use crate::api::Site;
use crate::api::prom::envelope::{Answered, Failure, success};
use crate::api::prom::params::Params;

/// The version whose query language and API this is.
const SPEAKS: &str = "3.5.0";

/// An empty object.
pub async fn nothing(_: Params) -> Answered {
    success(&json!({}))
}

/// An empty list.
pub async fn list(_: Params) -> Answered {
    success(&json!([]))
}

/// `/targets`.
pub async fn targets(_: Params) -> Answered {
    success(&json!({"activeTargets": [], "droppedTargets": [], "droppedTargetCounts": {}}))
}

/// `/alertmanagers`.
pub async fn alertmanagers(_: Params) -> Answered {
    success(&json!({"activeAlertmanagers": [], "droppedAlertmanagers": []}))
}

/// `/status/buildinfo`: Grafana decides by the version what it may ask.
pub async fn build(_: Params) -> Answered {
    let ours = concat!("ops ", env!("CARGO_PKG_VERSION"));
    success(&json!({
        "version": SPEAKS, "revision": ours, "branch": "", "buildUser": "", "buildDate": "", "goVersion": "",
    }))
}

/// `/status/config`.
pub async fn config(_: Params) -> Answered {
    success(&json!({"yaml": ""}))
}

/// `/status/runtimeinfo`.
pub async fn runtime(State(site): State<Site>, _: Params) -> Answered {
    success(&json!({"serverTime": site.handle.clock.now().rfc3339(), "reloadConfigSuccess": true}))
}

/// `/status/tsdb`.
pub async fn tsdb(State(site): State<Site>, _: Params) -> Answered {
    let count = site.handle.ask(|view| view.series.len()).await;
    let count = count.ok_or_else(Failure::stopped)?;
    success(&json!({
        "headStats": {"numSeries": count, "numLabelPairs": 0, "chunkCount": 0, "minTime": 0, "maxTime": site.handle.clock.now().ms()},
        "seriesCountByMetricName": [], "labelValueCountByLabelName": [], "memoryInBytesByLabelName": [],
        "seriesCountByLabelValuePair": [],
    }))
}
