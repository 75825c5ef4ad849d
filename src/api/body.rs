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
use crate::api::push::not_pushed;
use crate::api::reply::{problem, problem_with};
use crate::ingest::inflate::{InflateError, inflate};
use crate::model::time::Duration;
use crate::shell::drive::PushFailure;

/// Largest body as it is sent.
pub const BODY_BYTES_MAX: usize = 16 << 20;
/// Largest body once it is inflated.
pub const INFLATED_BYTES_MAX: usize = 64 << 20;
/// Bytes of all bodies that are on their way in; who would bring more is told to wait. A body that does not announce its
/// length counts as the largest.
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
        let shares = u32::try_from(bytes / SHARE_BYTES + 1).unwrap_or(u32::MAX);
        self.0
            .clone()
            .try_acquire_many_owned(shares)
            .map_err(|_| PushFailure::Busy)
    }
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
    let most = announced.unwrap_or(BODY_BYTES_MAX);
    if most > BODY_BYTES_MAX {
        // Who asks first whether to send gets the answer to that.
        if !headers.contains_key(header::EXPECT) {
            discard(body).await;
        }
        return Err(Box::new(too_large("the body", BODY_BYTES_MAX)));
    }
    let share = site.bodies.share(most);
    let share = share.map_err(|e| Box::new(not_pushed(&e, headers)))?;
    match tokio::time::timeout(BODY_TIME_MAX.std(), read(body)).await {
        Ok(Ok(Some(bytes))) => Ok(Sent {
            bytes,
            _share: share,
        }),
        Ok(Ok(None)) => Err(Box::new(too_large("the body", BODY_BYTES_MAX))),
        Ok(Err(error)) => Err(Box::new(problem(
            StatusCode::BAD_REQUEST,
            "body",
            format!("the body could not be read to its end: {error}"),
        ))),
        Err(_) => Err(Box::new(problem(
            StatusCode::REQUEST_TIMEOUT,
            "body",
            format!("the body was not there within {BODY_TIME_MAX}"),
        ))),
    }
}

/// The next piece of a body; `None` at its end.
async fn piece(body: &mut Body) -> Option<Result<Bytes, axum::Error>> {
    let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
    Some(frame.map(|f| f.into_data().unwrap_or_default()))
}

/// Reads a body; `None` if it is too large.
async fn read(mut body: Body) -> Result<Option<Bytes>, axum::Error> {
    let (mut first, mut all) = (Bytes::new(), Vec::new());
    while let Some(data) = piece(&mut body).await {
        let data = data?;
        if first.len().max(all.len()) + data.len() > BODY_BYTES_MAX {
            drop((first, all));
            discard(body).await;
            return Ok(None);
        }
        // Most bodies come in one piece, which need not be copied.
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&data);
        }
    }
    Ok(Some(if all.is_empty() { first } else { all.into() }))
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
            return Err(Box::new(problem(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "encoding",
                "`Content-Encoding` may be gzip or identity",
            )));
        }
    };
    let sent = whole(site, headers, body).await?;
    if !gzip {
        return Ok(sent);
    }
    let inflated = inflate(&sent.bytes, INFLATED_BYTES_MAX).map_err(|error| match error {
        InflateError::TooLarge(limit) => too_large("the inflated body", limit),
        InflateError::NotGzip(_) => problem(StatusCode::BAD_REQUEST, "gzip", error.to_string()),
    });
    Ok(Sent {
        bytes: Bytes::from(inflated.map_err(Box::new)?),
        ..sent
    })
}

/// A body is too large.
pub fn too_large(what: &str, limit: usize) -> Response {
    problem_with(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too-large",
        format!(
            "{what} is larger than {} MiB ({limit} bytes): send it in parts",
            limit >> 20
        ),
        json!({ "limit_bytes": limit }),
    )
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
        let whole = vec![7; BODY_BYTES_MAX];
        let read_whole = read(Body::from(whole.clone())).await.unwrap();
        assert_eq!(read_whole.map(|b| b.len()), Some(BODY_BYTES_MAX));
        assert_eq!(
            read(Body::from([whole, vec![0]].concat())).await.unwrap(),
            None
        );
        assert_eq!(read(Body::empty()).await.unwrap(), Some(Bytes::new()));
    }
}
