//! `GET /live`: a WebSocket that sends the board each second, and what happens as it happens.

use std::sync::Arc;
use std::time::Duration as Wait;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Site;
use crate::api::auth::{Reader, is_foreign};
use crate::api::board::{Board, Found, window_of};
use crate::api::chart::svg;
use crate::api::pages::table;
use crate::api::reply::problem;
use crate::engine::event::{Entry, Event};
use crate::model::time::Duration;

/// A reader that takes longer for one message is let go.
const SEND_WAIT: Wait = Wait::from_secs(10);
/// Largest message that is read; nothing is expected.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// Which board is followed.
#[derive(Deserialize)]
pub struct Follow {
    metric: Option<String>,
    window: Option<String>,
}

/// Opens the WebSocket.
pub async fn live(
    _: Reader,
    State(site): State<Site>,
    Query(follow): Query<Follow>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if is_foreign(&headers) {
        return problem(
            StatusCode::FORBIDDEN,
            "foreign-origin",
            "a page from another origin may not listen",
        );
    }
    let window = match window_of(follow.window.as_deref()) {
        Ok(window) => window,
        Err(response) => return *response,
    };
    upgrade
        .max_message_size(MESSAGE_BYTES_MAX)
        .on_upgrade(move |socket| follow_board(site, follow.metric, window, socket))
}

async fn follow_board(site: Site, metric: Option<String>, window: Duration, mut socket: WebSocket) {
    let mut entries = site.handle.entries();
    let mut second = tokio::time::interval(Wait::from_secs(1));
    second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut found = Found::default();
    loop {
        let message = tokio::select! {
            _ = second.tick() => {
                let Some(metric) = metric.clone() else { continue };
                let (now, mut known) = (site.handle.clock.now(), std::mem::take(&mut found));
                let read = site.handle.ask(move |view| {
                    let board = Board::of(view, now, &metric, window, &mut known);
                    (board, known)
                });
                let Some((board, known)) = read.await else { return };
                found = known;
                json!({"at": now.ms(), "svg": svg(&board), "table": table(&board)})
            }
            entry = entries.next() => match entry.map(|e| notable(&e)) {
                Some(Some(message)) => message,
                Some(None) => continue,
                None => return,
            },
            received = socket.recv() => match received {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => continue,
            },
        };
        let sent = socket.send(Message::Text(message.to_string().into()));
        if !matches!(tokio::time::timeout(SEND_WAIT, sent).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// What people want to hear of an entry.
fn notable(entry: &Arc<Entry>) -> Option<Value> {
    let events: Vec<&Event> = entry
        .events
        .iter()
        .filter(|e| {
            matches!(
                e,
                Event::AlertFired { .. }
                    | Event::AlertLost { .. }
                    | Event::AlertResolved { .. }
                    | Event::IncidentOpened { .. }
                    | Event::IncidentClosed { .. }
                    | Event::IncidentAcked { .. }
                    | Event::PageQueued { .. }
                    | Event::PageJudged { .. }
                    | Event::PageHeld { .. }
                    | Event::Silenced { .. }
                    | Event::SilenceEnded { .. }
                    | Event::HealClaimed { .. }
                    | Event::HealExited { .. }
                    | Event::HealClosed { .. }
                    | Event::HealExhausted { .. }
                    | Event::HealSwitched { .. }
                    | Event::PolicyChanged { .. }
                    | Event::SlotsSkipped { .. }
            )
        })
        .collect();
    (!events.is_empty()).then(|| json!({"at": entry.at.ms(), "events": events}))
}
