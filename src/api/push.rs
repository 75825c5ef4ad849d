//! `POST /metric`: the fast path.

use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::api::reply::{problem, problem_with, with_header};
use crate::api::{Site, body};
use crate::config::settings::Scope;
use crate::engine::intake::{Batch, NAMED_MAX, Named, Refusal};
use crate::ingest::Refused;
use crate::ingest::json::decode;
use crate::shell::drive::{PushFailure, Untaken};

/// Takes samples; 204 when they are durable.
pub async fn metric(State(site): State<Site>, headers: HeaderMap, body: Body) -> Response {
    told(&site, take(&site, &headers, body).await)
}

async fn take(site: &Site, headers: &HeaderMap, body: Body) -> Result<Response, Box<Response>> {
    site.allow(headers, Scope::Push)?;
    let sent = body::plain(site, headers, body).await?;
    let (batch, refused) = decode(&sent.bytes).map_err(|e| Box::new(not_decoded(&e)))?;
    drop(sent);
    let stored = store(site, batch, refused).await;
    stored
        .map(Stored::answer)
        .map_err(|e| Box::new(not_pushed(&e, headers)))
}

/// The answer to a push; that nothing of it was taken is counted.
pub fn told(site: &Site, answer: Result<Response, Box<Response>>) -> Response {
    answer.unwrap_or_else(|refused| {
        if let Some(why) = refused.extensions().get::<Untaken>() {
            site.handle.status.count_untaken(*why);
        }
        *refused
    })
}

/// An answer that says why nothing of a push was taken.
pub fn untaken(why: Untaken, mut answer: Response) -> Response {
    answer.extensions_mut().insert(why);
    answer
}

/// What became of a request's samples.
pub struct Stored {
    /// Durable, or known already.
    pub accepted: usize,
    /// How many of them are native histograms.
    pub natives: usize,
    /// All that were refused, by the decoder or at the door.
    pub refused: Vec<Refused>,
}

/// Makes samples durable; `refused` are those that could not be read.
///
/// # Errors
/// Nothing was taken.
pub async fn store(
    site: &Site,
    batch: Batch,
    mut refused: Vec<Refused>,
) -> Result<Stored, PushFailure> {
    let (malformed, mut accepted, mut natives) = (refused.len() as u64, 0, 0);
    let exact = batch.exact;
    if !batch.items.is_empty() {
        let pushed = site.handle.push(batch).await?;
        (accepted, natives) = (pushed.accepted, pushed.natives);
        let about = |index| pushed.named.iter().find(|n| n.index == index);
        let named = |(i, why): &(u32, Refusal)| at_the_door(*i, *why, about(*i), exact);
        refused.extend(pushed.refused.iter().map(named));
    }
    // Counted only now: what is sent again because nothing was taken counts once.
    let counted = &site.handle.status.malformed_total;
    counted.fetch_add(malformed, Ordering::Relaxed);
    Ok(Stored {
        accepted,
        natives,
        refused,
    })
}

impl Stored {
    /// 204, or 400 with what was refused.
    pub fn answer(self) -> Response {
        if self.refused.is_empty() {
            StatusCode::NO_CONTENT.into_response()
        } else {
            partly(self.accepted, self.refused)
        }
    }
}

fn not_decoded(error: &crate::ingest::json::DecodeError) -> Response {
    use crate::ingest::json::DecodeError as E;
    let place = match error {
        E::Syntax { line, column, .. } => json!({"accepted": 0, "line": line, "column": column}),
        E::Empty | E::TooMany => json!({"accepted": 0}),
    };
    let answer = problem_with(
        StatusCode::BAD_REQUEST,
        "not-decoded",
        format!("{error}; nothing was taken"),
        place,
    );
    untaken(Untaken::NotDecoded, answer)
}

/// Nothing was taken: try again later. Where too much is under way that is 429; but on 429 Prometheus drops what it sent,
/// unless `retry_on_http_429` is set, so it is told 503, on which it always tries again.
pub fn not_pushed(failure: &PushFailure, headers: &HeaderMap) -> Response {
    let prometheus = body::header_text(headers, header::USER_AGENT)
        .is_some_and(|agent| agent.starts_with("Prometheus/"));
    let (status, code, wait) = match failure {
        PushFailure::Busy if prometheus => (StatusCode::SERVICE_UNAVAILABLE, "busy", "1"),
        PushFailure::Busy => (StatusCode::TOO_MANY_REQUESTS, "busy", "1"),
        PushFailure::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "5"),
    };
    let answer = with_header(
        problem(status, code, format!("{failure}; nothing was taken")),
        header::RETRY_AFTER,
        wait,
    );
    let why = match failure {
        PushFailure::Busy => Untaken::Busy,
        PushFailure::Unavailable(_) => Untaken::Unavailable,
    };
    untaken(why, answer)
}

fn at_the_door(index: u32, why: Refusal, about: Option<&Named>, exact: bool) -> Refused {
    let field = match why {
        Refusal::Late | Refusal::Future | Refusal::OutOfOrder => "ts",
        Refusal::SeriesLimit | Refusal::MetricLimit => "labels",
        Refusal::Duplicate => "value",
    };
    Refused {
        index,
        field,
        reason: why.words(about, exact).into(),
    }
}

fn partly(accepted: usize, mut refused: Vec<Refused>) -> Response {
    refused.sort_by_key(|r| r.index);
    let count = refused.len();
    refused.truncate(NAMED_MAX);
    let first = refused.first().map_or(String::new(), |r| {
        format!(": item {}, field `{}`: {}", r.index, r.field, r.reason)
    });
    problem_with(
        StatusCode::BAD_REQUEST,
        "items-refused",
        format!("{count} refused, {accepted} taken{first}"),
        json!({"accepted": accepted, "refused": count, "errors": refused}),
    )
}
