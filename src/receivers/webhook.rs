//! Webhooks: Alertmanager's version 4 body, so that what understands Alertmanager understands us.
//!
//! What is ours stands under `ops`, where strangers ignore it. Every request says who it is:
//!
//! ```text
//! POST /hook
//! Idempotency-Key: <page.key>          the same in every attempt
//! X-Ops-Signature: sha256=<hex>        HMAC-SHA256 of the body, where a signing key is set
//! ```

use aws_lc_rs::hmac;
use serde::Serialize;

use crate::model::labels::Labels;
use crate::model::page::{Page, PageAlert, PageKind, Verdict};
use crate::model::secret::Secret;
use crate::model::time::{Duration, Timestamp};
use crate::receivers::{HttpRequest, ended, excerpt, join_url, runbook_url};

/// The longest wish to wait that is granted: a receiver may slow us, not silence us.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// What Alertmanager writes where an alert has not ended: Go's zero time.
const NO_END: &str = "0001-01-01T00:00:00Z";

/// How one webhook wants to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookTerms {
    /// Where to POST.
    pub url: Secret<String>,
    /// Sent as `Authorization: Bearer …`.
    pub bearer: Option<Secret<String>>,
    /// Signs the body: `X-Ops-Signature: sha256=<hex HMAC-SHA256>`.
    pub signing_key: Option<Secret<String>>,
    /// At most this many alerts in the body; 0 is no limit. `truncatedAlerts` counts the rest.
    pub max_alerts: usize,
    /// Our own address as people reach it; links begin with it.
    pub external_url: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    version: &'static str,
    group_key: String,
    truncated_alerts: usize,
    receiver: &'a str,
    status: &'static str,
    alerts: Vec<BodyAlert<'a>>,
    group_labels: Labels,
    common_labels: Labels,
    common_annotations: Labels,
    route_labels: Labels,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
    #[serde(rename = "notification_reason")]
    notification_reason: &'static str,
    ops: Ours<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BodyAlert<'a> {
    status: &'static str,
    labels: &'a Labels,
    annotations: &'a Labels,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
    fingerprint: String,
}

#[derive(Serialize)]
struct Ours<'a> {
    incident: u64,
    kind: PageKind,
    key: &'a str,
    condition: &'a str,
    threshold: Option<f64>,
    /// Of the first alert, which is a firing one if any is; null where it is not a finite number.
    value: Option<f64>,
    /// Why it is over, in words; empty while it is not.
    over: &'a str,
    heal: &'a str,
    runbook: Option<String>,
    board: &'a str,
}

/// The request that tells a webhook this page.
pub fn render(page: &Page, terms: &WebhookTerms) -> HttpRequest {
    let body = body(page, terms);
    let mut headers = vec![
        ("Content-Type", Secret::new("application/json".to_owned())),
        ("Idempotency-Key", Secret::new(header_text(&page.key))),
    ];
    if let Some(token) = &terms.bearer {
        let value = format!("Bearer {}", token.reveal());
        headers.push(("Authorization", Secret::new(value)));
    }
    if let Some(key) = &terms.signing_key {
        let value = format!("sha256={}", sign(key, &body));
        headers.push(("X-Ops-Signature", Secret::new(value)));
    }
    HttpRequest {
        url: terms.url.clone(),
        headers,
        body,
    }
}

fn body(page: &Page, terms: &WebhookTerms) -> Vec<u8> {
    let shown = match terms.max_alerts {
        0 => page.alerts.len(),
        max => max.min(page.alerts.len()),
    };
    let board = join_url(&terms.external_url, &page.board);
    let firing = page.alerts.iter().any(|a| ended(page, a).is_none());
    let body = Body {
        version: "4",
        group_key: format!(
            "{{}}/{{incident=\"{}\"}}:{{alertname={:?}}}",
            page.incident, page.rule
        ),
        truncated_alerts: page.alerts.len() - shown + page.more,
        receiver: &page.receiver,
        status: if firing { "firing" } else { "resolved" },
        alerts: page
            .alerts
            .iter()
            .take(shown)
            .map(|a| body_alert(page, a, &board))
            .collect(),
        group_labels: Labels::new().with("alertname", &page.rule),
        common_labels: common(page.alerts.iter().map(|a| &a.labels)),
        common_annotations: common(page.alerts.iter().map(|a| &a.annotations)),
        route_labels: Labels::new(),
        external_url: &terms.external_url,
        notification_reason: reason(page.kind),
        ops: Ours {
            incident: page.incident,
            kind: page.kind,
            key: &page.key,
            condition: &page.condition,
            threshold: page.threshold.filter(|t| t.is_finite()),
            value: page
                .alerts
                .first()
                .map(|a| a.value)
                .filter(|v| v.is_finite()),
            over: &page.over,
            heal: &page.heal,
            runbook: runbook_url(page, &terms.external_url),
            board: &board,
        },
    };
    // Strings, numbers and maps with string keys: there is nothing here that JSON cannot hold.
    serde_json::to_vec(&body).unwrap_or_default()
}

fn body_alert<'a>(page: &Page, alert: &'a PageAlert, board: &'a str) -> BodyAlert<'a> {
    let end = ended(page, alert);
    BodyAlert {
        status: if end.is_some() { "resolved" } else { "firing" },
        labels: &alert.labels,
        annotations: &alert.annotations,
        starts_at: alert.since.rfc3339(),
        ends_at: end.map_or_else(|| NO_END.to_owned(), Timestamp::rfc3339),
        generator_url: board,
        fingerprint: fingerprint(&alert.labels),
    }
}

/// Alertmanager's words for why a notification goes out; it has none for a failed heal.
fn reason(kind: PageKind) -> &'static str {
    match kind {
        PageKind::Opened => "first notification",
        PageKind::Joined => "new alerts added",
        PageKind::Repeat => "repeat interval elapsed",
        PageKind::Silent => "no data",
        PageKind::HealFailed => "heal failed",
        PageKind::Closed => "all alerts resolved",
    }
}

/// The pairs that all of these have.
fn common<'a>(mut sets: impl Iterator<Item = &'a Labels>) -> Labels {
    let Some(first) = sets.next() else {
        return Labels::new();
    };
    sets.fold(first.clone(), |common, set| {
        let mut kept = Labels::new();
        for (name, value) in common.iter().filter(|(n, v)| set.get(n) == *v) {
            kept.set(name, value);
        }
        kept
    })
}

/// Prometheus's fingerprint of a label set: FNV-1a over names and values, each followed by a byte 0xff.
fn fingerprint(labels: &Labels) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    for (name, value) in labels.iter() {
        name.bytes().chain([0xff]).for_each(&mut add);
        value.bytes().chain([0xff]).for_each(&mut add);
    }
    format!("{hash:016x}")
}

fn sign(key: &Secret<String>, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.reveal().as_bytes());
    let tag = hmac::sign(&key, body);
    tag.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// A header's value holds visible ASCII only; anything else would make the request unsendable.
fn header_text(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_ascii_graphic() { c } else { '_' })
        .collect()
}

/// What an answer means. `retry_after` is the header of that name, read by [`retry_after`].
pub fn judge(status: u16, retry_after: Option<Duration>, body: &str) -> Verdict {
    let why = match excerpt(body) {
        said if said.is_empty() => format!("answered {status}"),
        said => format!("answered {status}: {said}"),
    };
    match status {
        200..=299 => Verdict::Done,
        408 | 429 | 500..=599 => Verdict::Retry {
            why,
            after: retry_after.map(|d| d.min(RETRY_AFTER_MAX)),
        },
        _ => Verdict::Refused { why },
    }
}

/// Reads a `Retry-After` header: seconds, or an HTTP date seen from `now`.
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(secs) = value.parse::<u64>() {
        return Some(Duration::from_secs(secs));
    }
    let date = chrono::DateTime::parse_from_rfc2822(value).ok()?;
    Some(Timestamp::from_ms(date.timestamp_millis()).since(now))
}

#[cfg(test)]
mod tests;
