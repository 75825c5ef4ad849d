//! The engine's clock: the wall clock at start, moved on by the monotonic one. A step of the wall clock, forwards or
//! back, moves nothing: no alert fires or ends because of it. The difference is shown on `/ready` and `/metrics`.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::model::time::Timestamp;

/// A clock that never goes back.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    anchor: Timestamp,
    started: Instant,
}

impl Clock {
    /// A clock that starts now, but not before `not_before`: the time of the last record.
    pub fn start(not_before: Timestamp) -> Self {
        Self {
            anchor: wall().max(not_before),
            started: Instant::now(),
        }
    }
    /// The engine's time.
    pub fn now(&self) -> Timestamp {
        self.anchor
            .shifted(i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX))
    }
    /// How far the wall clock is ahead, in milliseconds.
    pub fn skew_ms(&self) -> i64 {
        wall().ms() - self.now().ms()
    }
}

/// The wall clock.
pub fn wall() -> Timestamp {
    let ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis());
    Timestamp::from_ms(i64::try_from(ms).unwrap_or(i64::MAX))
}
