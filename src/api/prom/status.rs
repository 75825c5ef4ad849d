//! What Prometheus tells of itself, as far as we have it.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::Uri;
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::Site;
use crate::api::prom::envelope::{Answered, Failure, success};
use crate::api::prom::params::Params;
use crate::model::time::Timestamp;

/// The version whose query language and API this is.
const SPEAKS: &str = "3.5.0";
/// The time that Go writes where there is none.
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";
/// Metrics that `/status/tsdb` lists where no limit is asked for.
const METRICS_SHOWN: usize = 10;

/// What is known of a metric, as it is written, in this order.
#[derive(Serialize)]
struct About<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    help: &'a str,
    unit: &'a str,
}

/// `/metadata`: what senders said of their metrics.
pub async fn metadata(State(site): State<Site>, params: Params) -> Answered {
    let (metric, limit) = (params.get("metric"), params.limit()?);
    let known = site.handle.metadata.lock();
    let known = known.unwrap_or_else(PoisonError::into_inner);
    let asked = known
        .iter()
        .filter(|(n, _)| metric.is_empty() || metric == *n);
    let limit = if limit == 0 { usize::MAX } else { limit };
    let told = asked.take(limit).map(|(name, d)| {
        let about = About {
            kind: d.kind.name(),
            help: &d.help,
            unit: &d.unit,
        };
        (name, [about])
    });
    success(&told.collect::<BTreeMap<_, _>>())
}

/// A path that is not there.
pub async fn unknown(uri: Uri, _: Params) -> Answered {
    Err(Failure::unknown(format!(
        "there is nothing at {}",
        uri.path()
    )))
}

/// `/targets`: whom we ask, and what came of it the last time. What relabelling dropped is not kept.
pub async fn targets(State(site): State<Site>, params: Params) -> Answered {
    let (state, pool) = (params.get("state"), params.get("scrapePool"));
    let all = site.handle.targets.list().into_iter();
    let asked = all
        .filter(|((job, ..), _)| state != "dropped" && (pool.is_empty() || pool == job.as_str()));
    let active: Vec<Value> = asked
        .map(|((job, labels, url), seen)| {
            let (health, error, at, seconds) = match &seen.last {
                None => ("unknown", "", ZERO_TIME.to_owned(), 0.0),
                Some(last) => {
                    let health = if last.error.is_some() { "down" } else { "up" };
                    let error = last.error.as_deref().or(last.refused.as_deref());
                    let at = last.at.rfc3339();
                    (health, error.unwrap_or(""), at, last.seconds)
                }
            };
            let labels: BTreeMap<&str, &str> = labels.iter().collect();
            json!({
                "discoveredLabels": {}, "labels": labels, "scrapePool": job, "scrapeUrl": url, "globalUrl": url,
                "lastError": error, "lastScrape": at, "lastScrapeDuration": seconds, "health": health,
                "scrapeInterval": seen.interval.to_string(), "scrapeTimeout": seen.timeout.to_string(),
            })
        })
        .collect();
    success(&json!({"activeTargets": active, "droppedTargets": [], "droppedTargetCounts": {}}))
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

/// `/status/config`: not shown, because secrets may stand in it.
pub async fn config(_: Params) -> Answered {
    success(&json!({"yaml": ""}))
}

/// How long samples are kept for queries.
async fn retention(site: &Site) -> Result<String, Failure> {
    let kept = site
        .handle
        .ask(|view| view.now.since(view.series.oldest(view.now)))
        .await;
    Ok(kept.ok_or_else(Failure::stopped)?.to_string())
}

/// `/status/flags`: those that have a counterpart here.
pub async fn flags(State(site): State<Site>, _: Params) -> Answered {
    let kept = retention(&site).await?;
    success(&json!({"storage.tsdb.retention.time": kept, "query.lookback-delta": "5m"}))
}

/// `/status/runtimeinfo`.
pub async fn runtime(State(site): State<Site>, _: Params) -> Answered {
    let kept = retention(&site).await?;
    let damaged = site.handle.status.damaged_total.load(Ordering::Relaxed);
    success(&json!({
        "serverTime": site.handle.clock.now().rfc3339(), "reloadConfigSuccess": site.loaded().problems.error_count() == 0,
        "corruptionCount": damaged, "storageRetention": kept,
    }))
}

/// What `/status/tsdb` counts.
struct Stored {
    series: usize,
    ended: usize,
    packed: usize,
    histograms: usize,
    oldest: Timestamp,
    newest: Timestamp,
    metrics: Vec<(String, usize)>,
}

/// `/status/tsdb`: series in all, and the metrics that have the most.
pub async fn tsdb(State(site): State<Site>, params: Params) -> Answered {
    let limit = match params.limit()? {
        0 => METRICS_SHOWN,
        limit => limit,
    };
    let stored = site.handle.ask(move |view| Stored {
        series: view.series.len(),
        ended: view.series.ended(),
        packed: view.series.packed_bytes(),
        histograms: view.series.histogram_bytes(),
        oldest: view.series.oldest(view.now),
        newest: view.now,
        metrics: view.series.largest(limit),
    });
    let s = stored.await.ok_or_else(Failure::stopped)?;
    let metrics = s.metrics.iter();
    let metrics: Vec<Value> = metrics
        .map(|(name, count)| json!({"name": name, "value": count}))
        .collect();
    success(&json!({
        "headStats": {
            "numSeries": s.series, "numEndedSeries": s.ended, "packedBytes": s.packed, "histogramBytes": s.histograms, "numLabelPairs": 0, "chunkCount": 0,
            "minTime": s.oldest.ms(), "maxTime": s.newest.ms(),
        },
        "seriesCountByMetricName": metrics, "labelValueCountByLabelName": [], "memoryInBytesByLabelName": [],
        "seriesCountByLabelValuePair": [],
    }))
}
