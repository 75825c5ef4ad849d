//! The engine's clock: real readings for [`Pace`], shared by everyone who needs the time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::engine::pace::Pace;
use crate::model::time::{Duration, Timestamp};

/// A clock that never goes back.
#[derive(Clone, Debug)]
pub struct Clock {
    started: Instant,
    pace: Arc<Mutex<Pace>>,
}

impl Clock {
    /// A clock that starts `ahead_ms` behind the wall clock, but not before `not_before`: the time of the last record.
    pub fn start(ahead_ms: i64, not_before: Timestamp) -> Self {
        let pace = Pace::start(Duration::ZERO, wall(), ahead_ms, not_before);
        Self {
            started: Instant::now(),
            pace: Arc::new(Mutex::new(pace)),
        }
    }
    /// The engine's time.
    pub fn now(&self) -> Timestamp {
        self.pace().now(self.mono())
    }
    /// How far the believed wall clock is ahead, in milliseconds: what is taken off times that senders give.
    pub fn ahead_ms(&self) -> i64 {
        self.pace().ahead_ms(self.mono())
    }
    /// How far the wall clock is ahead as it stands now, believed or not, in milliseconds.
    pub fn skew_ms(&self) -> i64 {
        wall().ms() - self.now().ms()
    }
    /// Looks at the wall clock. A step that has lasted is believed from now on: how far it is ahead.
    pub fn look(&self) -> Option<i64> {
        let mono = self.mono();
        self.pace().read(mono, wall())
    }

    fn mono(&self) -> Duration {
        Duration::from_ms(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The wall clock.
pub fn wall() -> Timestamp {
    let ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis());
    Timestamp::from_ms(i64::try_from(ms).unwrap_or(i64::MAX))
}
