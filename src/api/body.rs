//! Bodies that carry samples: read within their bounds, and inflated.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::Response;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::Shared;
use crate::api::push::{not_pushed, untaken};
use crate::api::reply::{problem, problem_with};
use crate::ingest::inflate::{InflateError, inflate};
use crate::model::time::Duration;
use crate::shell::drive::{PushFailure, Untaken};

/// Largest body as it is sent.
pub const BODY_BYTES_MAX: usize = 16 << 20;
/// Largest body once it is inflated.
pub const INFLATED_BYTES_MAX: usize = 64 << 20;
/// Bytes of all bodies that are on their way in; who would bring more is told to wait. A body that announces its length
/// counts with all of it from the start, another one with the pieces that have come.
pub const BODIES_BYTES_MAX: usize = 512 << 20;
/// Bytes of a body that is too large that are read all the same.
const DISCARDED_BYTES_MAX: usize = 64 << 20;
/// After so long without a piece of it, it is read no more.
const QUIET_MAX: Duration = Duration::from_ms(500);
/// How long a body may take to come in: its share of the room is wanted by others.
const BODY_TIME_MAX: Duration = Duration::from_mins(1);
/// Shares of the room are counted in so many bytes.
const SHARE_BYTES: usize = 1_024;

/// The room for bodies.
pub struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BODIES_BYTES_MAX / SHARE_BYTES)))
    }
}

impl Room {
    fn share(&self, bytes: usize) -> Result<OwnedSemaphorePermit, PushFailure> {
        self.shares(bytes / SHARE_BYTES + 1)
    }

    fn shares(&self, count: usize) -> Result<OwnedSemaphorePermit, PushFailure> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let shares = self.0.clone().try_acquire_many_owned(count);
        shares.map_err(|_| PushFailure::Busy)
    }

    /// Makes a share large enough for so many bytes.
    fn grow(&self, share: &mut OwnedSemaphorePermit, bytes: usize) -> Result<(), PushFailure> {
        let wanted = bytes / SHARE_BYTES + 1;
        let more = wanted.saturating_sub(share.num_permits());
        if more > 0 {
            share.merge(self.shares(more)?);
        }
        Ok(())
    }
}

/// Why a body is not there.
#[derive(Debug)]
enum Unread {
    TooLarge,
    Busy(PushFailure),
    Broken(axum::Error),
}

/// A body that is there, and its share of the room until it is dropped.
pub struct Sent {
    /// What came.
    pub bytes: Bytes,
    _share: OwnedSemaphorePermit,
}

/// A header's text; `None` if it is not there, or no text.
pub fn header_text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|v| v.to_str().ok())
}

/// The whole body as it was sent.
///
/// # Errors
/// It is too large, it breaks off or takes too long, or there is no room.
pub async fn whole(site: &Shared, headers: &HeaderMap, body: Body) -> Result<Sent, Box<Response>> {
    let announced = header_text(headers, header::CONTENT_LENGTH).and_then(|n| n.parse().ok());
    if announced.is_some_and(|bytes: usize| bytes > BODY_BYTES_MAX) {
        // Who asks first whether to send gets the answer to that.
        if !headers.contains_key(header::EXPECT) {
            discard(body).await;
        }
        return Err(Box::new(too_large("the body", BODY_BYTES_MAX)));
    }
    let busy = |e: PushFailure| Box::new(not_pushed(&e, headers));
    let mut share = site.bodies.share(announced.unwrap_or(0)).map_err(busy)?;
    let reading = read(body, &site.bodies, &mut share);
    let bytes = match tokio::time::timeout(BODY_TIME_MAX.std(), reading).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(Unread::TooLarge)) => return Err(Box::new(too_large("the body", BODY_BYTES_MAX))),
        Ok(Err(Unread::Busy(failure))) => return Err(busy(failure)),
        Ok(Err(Unread::Broken(error))) => {
            let detail = format!("the body could not be read to its end: {error}");
            let answer = problem(StatusCode::BAD_REQUEST, "body", detail);
            return Err(Box::new(untaken(Untaken::NotDecoded, answer)));
        }
        Err(_) => {
            let detail = format!("the body was not there within {BODY_TIME_MAX}");
            let answer = problem(StatusCode::REQUEST_TIMEOUT, "body", detail);
            return Err(Box::new(untaken(Untaken::Timeout, answer)));
        }
    };
    Ok(Sent {
        bytes,
        _share: share,
    })
}

/// The next piece of a body; `None` at its end.
async fn piece(body: &mut Body) -> Option<Result<Bytes, axum::Error>> {
    let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
    Some(frame.map(|f| f.into_data().unwrap_or_default()))
}

/// Reads a body; its share of the room grows with it.
async fn read(
    mut body: Body,
    room: &Room,
    share: &mut OwnedSemaphorePermit,
) -> Result<Bytes, Unread> {
    let (mut first, mut all) = (Bytes::new(), Vec::new());
    while let Some(data) = piece(&mut body).await {
        let data = data.map_err(Unread::Broken)?;
        let count = first.len().max(all.len()) + data.len();
        let refused = match room.grow(share, count) {
            _ if count > BODY_BYTES_MAX => Some(Unread::TooLarge),
            Ok(()) => None,
            Err(failure) => Some(Unread::Busy(failure)),
        };
        if let Some(refused) = refused {
            drop((first, all));
            discard(body).await;
            return Err(refused);
        }
        // Most bodies come in one piece, which need not be copied.
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&data);
        }
    }
    Ok(if all.is_empty() { first } else { all.into() })
}

/// Reads on, and keeps nothing: who is cut off while it sends takes that for a broken line, does not see our answer, and
/// sends the same again. Somebody who waits for the answer sends nothing meanwhile.
async fn discard(mut body: Body) {
    let mut count = 0;
    while let Ok(Some(Ok(data))) = tokio::time::timeout(QUIET_MAX.std(), piece(&mut body)).await {
        count += data.len();
        if count > DISCARDED_BYTES_MAX {
            return;
        }
    }
}

/// The whole body, inflated if it is gzip.
///
/// # Errors
/// As [`whole`]; it is encoded in another way, or no gzip.
pub async fn plain(site: &Shared, headers: &HeaderMap, body: Body) -> Result<Sent, Box<Response>> {
    let gzip = match headers.get(header::CONTENT_ENCODING).map(|v| v.as_bytes()) {
        None | Some(b"" | b"identity") => false,
        Some(b"gzip" | b"x-gzip") => true,
        Some(_) => {
            let answer = problem(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "encoding",
                "`Content-Encoding` may be gzip or identity",
            );
            return Err(Box::new(untaken(Untaken::NotDecoded, answer)));
        }
    };
    let sent = whole(site, headers, body).await?;
    if !gzip {
        return Ok(sent);
    }
    let inflated = inflate(&sent.bytes, INFLATED_BYTES_MAX).map_err(|error| match error {
        InflateError::TooLarge(limit) => too_large("the inflated body", limit),
        InflateError::NotGzip(_) => {
            let answer = problem(StatusCode::BAD_REQUEST, "gzip", error.to_string());
            untaken(Untaken::NotDecoded, answer)
        }
    });
    Ok(Sent {
        bytes: Bytes::from(inflated.map_err(Box::new)?),
        ..sent
    })
}

/// A body is too large.
pub fn too_large(what: &str, limit: usize) -> Response {
    let answer = problem_with(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too-large",
        format!(
            "{what} is larger than {} MiB ({limit} bytes): send it in parts",
            limit >> 20
        ),
        json!({ "limit_bytes": limit }),
    );
    untaken(Untaken::TooLarge, answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_share_a_room_and_give_it_back() {
        let room = Room::default();
        let held: Vec<_> = (0..BODIES_BYTES_MAX / BODY_BYTES_MAX - 1)
            .map(|_| room.share(BODY_BYTES_MAX).unwrap())
            .collect();
        assert!(matches!(
            room.share(BODY_BYTES_MAX).map(drop),
            Err(PushFailure::Busy)
        ));
        assert!(room.share(100).is_ok(), "a small one still fits");
        drop(held);
        assert!(room.share(BODY_BYTES_MAX).is_ok());
    }

    #[tokio::test]
    async fn a_body_is_read_whole_or_not_at_all() {
        let room = Room::default();
        let mut share = room.share(0).unwrap();
        let whole = vec![7; BODY_BYTES_MAX];
        let read_whole = read(Body::from(whole.clone()), &room, &mut share).await;
        assert_eq!(read_whole.unwrap().len(), BODY_BYTES_MAX);
        let more = read(Body::from([whole, vec![0]].concat()), &room, &mut share).await;
        assert!(matches!(more, Err(Unread::TooLarge)));
        let none = read(Body::empty(), &room, &mut share).await;
        assert_eq!(none.unwrap(), Bytes::new());
    }

    #[tokio::test]
    async fn a_body_that_does_not_say_how_long_it_is_takes_room_as_it_comes() {
        let room = Room::default();
        let free = || room.0.available_permits();
        let all = free();
        let mut share = room.share(0).unwrap();
        assert_eq!(all - free(), 1, "many that say nothing yet take little");
        let came = read(Body::from(vec![7; 100 * SHARE_BYTES]), &room, &mut share).await;
        assert_eq!(
            (came.unwrap().len(), all - free()),
            (100 * SHARE_BYTES, 101)
        );
        let others = room.shares(free() - 10).unwrap();
        let mut slow = room.share(0).unwrap();
        let came = read(Body::from(vec![7; 100 * SHARE_BYTES]), &room, &mut slow).await;
        assert!(matches!(came, Err(Unread::Busy(_))));
        drop((share, slow, others));
        assert_eq!(free(), all);
    }
}
