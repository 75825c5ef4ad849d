//! How to tell each kind of receiver: a page becomes a request, a reply becomes a verdict.
//!
//! Everything here is pure. A receiver is one file with `render` and `judge`; it opens no socket, keeps no state
//! and retries nothing. `shell/carry` carries what is rendered here; the engine decides what follows a verdict.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

pub mod email;
pub mod webhook;

use crate::model::page::{Page, PageAlert, PageKind};
use crate::model::secret::Secret;
use crate::model::time::Timestamp;

/// One HTTP POST, ready to be carried. Printing it shows neither the address nor a header's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// Where to; it may hold a token, so it is a secret.
    pub url: Secret<String>,
    /// Header names and values; no name twice.
    pub headers: Vec<(&'static str, Secret<String>)>,
    /// The body, as it is signed.
    pub body: Vec<u8>,
}

/// Bytes of a receiver's answer that are kept in a verdict.
pub const WHY_BYTES_MAX: usize = 300;

/// A receiver's words, fit for one line of a log: control characters out, cut at [`WHY_BYTES_MAX`].
pub(crate) fn excerpt(text: &str) -> String {
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        for c in word.chars() {
            if line.len() >= WHY_BYTES_MAX {
                line.push('…');
                return line;
            }
            line.push(c);
        }
    }
    line
}

/// When an alert of this page ended, if it did: in a closing page every alert has ended, whatever closed it.
pub(crate) fn ended(page: &Page, alert: &PageAlert) -> Option<Timestamp> {
    match (alert.resolved_at, page.kind) {
        (Some(at), _) => Some(at),
        (None, PageKind::Closed) => Some(page.at),
        (
            None,
            PageKind::Opened
            | PageKind::Joined
            | PageKind::Repeat
            | PageKind::Silent
            | PageKind::HealFailed,
        ) => None,
    }
}

/// `external_url` and `path` with exactly one slash between them.
pub(crate) fn join_url(external_url: &str, path: &str) -> String {
    format!(
        "{}/{}",
        external_url.trim_end_matches('/'),
        path.trim_start_matches('/')
    )
}

/// Where the runbook is, as a link: the rule names a URL or a path below `/runbooks/`.
pub(crate) fn runbook_url(page: &Page, external_url: &str) -> Option<String> {
    let runbook = page.runbook.as_deref()?;
    if runbook.starts_with("https://") || runbook.starts_with("http://") {
        return Some(runbook.to_owned());
    }
    Some(join_url(
        external_url,
        &format!("runbooks/{}", runbook.trim_start_matches('/')),
    ))
}

#[cfg(test)]
pub(crate) mod samples {
    use super::*;
    use crate::model::labels::Labels;

    /// A page with one firing alert, as the demo sends it.
    pub(crate) fn page(kind: PageKind) -> Page {
        let opened_at = Timestamp::from_ms(1_763_913_903_000);
        Page {
            key: format!("7/{kind:?}/oncall"),
            incident: 7,
            kind,
            receiver: "oncall@opm.gov".into(),
            rule: "county_api_ms".into(),
            metric: "county_api_ms".into(),
            condition: "avg over 3m > 1000".into(),
            threshold: Some(1000.0),
            alerts: vec![alert("east", 1580.25, None)],
            more: 0,
            opened_at,
            at: Timestamp::from_ms(1_763_914_003_000),
            over: match kind {
                PageKind::Closed => "recovered".into(),
                _ => String::new(),
            },
            runbook: Some("wiki/slow-county-api".into()),
            heal: "rollback_docket_rule.sh success in 0.4 s, verifying".into(),
            board: "/board/county_api_ms".into(),
        }
    }

    /// One alert of the county API.
    pub(crate) fn alert(region: &str, value: f64, resolved_at: Option<Timestamp>) -> PageAlert {
        PageAlert {
            labels: Labels::new()
                .with("alertname", "county_api_ms")
                .with("region", region),
            annotations: Labels::new().with("summary", "The county API is <slow> & getting slower"),
            since: Timestamp::from_ms(1_763_913_783_000),
            resolved_at,
            value,
        }
    }
}
