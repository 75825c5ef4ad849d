//! How the engine's time follows the wall clock without ever jumping: pure arithmetic on two readings, the monotonic
//! clock's and the wall clock's. docs/SELF.md is the story.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::engine::limits::{CLOCK_STEP_LASTS, CLOCK_STEP_MIN};
use crate::model::time::{Duration, Timestamp};

/// The engine's time goes faster or slower by one part in this many until it is the wall clock's.
const GENTLY: i64 = 10;

/// The engine's time as a function of the monotonic clock, and the wall clock as it is believed.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// At this reading of the monotonic clock …
    turn: Duration,
    /// … the engine's time was this …
    time: Timestamp,
    /// … and the believed wall clock was ahead of it by this many milliseconds.
    ahead_ms: i64,
    /// How far the wall clock was from the believed one when a step was seen, and the reading then.
    step: Option<(i64, Duration)>,
}

impl Pace {
    /// The engine's time begins `ahead_ms` behind the wall clock, but not before `not_before`: the last record.
    pub fn start(mono: Duration, wall: Timestamp, ahead_ms: i64, not_before: Timestamp) -> Self {
        let time = wall.shifted(ahead_ms.saturating_neg()).max(not_before);
        Self {
            turn: mono,
            time,
            ahead_ms: wall.ms().saturating_sub(time.ms()),
            step: None,
        }
    }

    /// The engine's time. It never goes back if `mono` does not.
    pub fn now(&self, mono: Duration) -> Timestamp {
        let passed = passed_ms(mono, self.turn);
        self.time
            .shifted(passed.saturating_add(made_up_ms(self.ahead_ms, passed / GENTLY)))
    }

    /// How far the believed wall clock is ahead of the engine's time, in milliseconds.
    pub fn ahead_ms(&self, mono: Duration) -> i64 {
        let made_up = made_up_ms(self.ahead_ms, passed_ms(mono, self.turn) / GENTLY);
        self.ahead_ms.saturating_sub(made_up)
    }

    /// Takes a reading of the wall clock. Once a step of it has lasted, it is believed: how far it is ahead then.
    pub fn read(&mut self, mono: Duration, wall: Timestamp) -> Option<i64> {
        let time = self.now(mono);
        let ahead = wall.ms().saturating_sub(time.ms());
        let off = ahead.saturating_sub(self.ahead_ms(mono));
        let small = |a: i64| a.unsigned_abs() < CLOCK_STEP_MIN.ms();
        if small(off) {
            self.step = None;
            return None;
        }
        match self.step {
            Some((seen, since)) if small(off.saturating_sub(seen)) => {
                if mono.ms().saturating_sub(since.ms()) < CLOCK_STEP_LASTS.ms() {
                    return None;
                }
                *self = Self {
                    turn: mono,
                    time,
                    ahead_ms: ahead,
                    step: None,
                };
                Some(ahead)
            }
            // Another step begins its time anew.
            Some(_) | None => {
                self.step = Some((off, mono));
                None
            }
        }
    }
}

/// What is left of a difference that was `ahead_ms` when the engine's time was `then`.
pub fn left_ms(ahead_ms: i64, then: Timestamp, now: Timestamp) -> i64 {
    let passed = i64::try_from(now.since(then).ms()).unwrap_or(i64::MAX);
    // The engine's own time went by faster or slower meanwhile.
    let steps = passed / (GENTLY + ahead_ms.signum());
    ahead_ms.saturating_sub(made_up_ms(ahead_ms, steps))
}

fn passed_ms(mono: Duration, since: Duration) -> i64 {
    i64::try_from(mono.ms().saturating_sub(since.ms())).unwrap_or(i64::MAX)
}

/// How much of a difference `most_ms` of making up take away, with its sign.
fn made_up_ms(ahead_ms: i64, most_ms: i64) -> i64 {
    ahead_ms.signum() * most_ms.min(ahead_ms.saturating_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: i64 = 3_600_000;

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }
    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    #[test]
    fn a_step_that_does_not_last_moves_nothing() {
        let mut pace = Pace::start(secs(0), at(0), 0, at(0));
        for s in 1..100 {
            let off = if s % 20 < 15 { HOUR } else { 0 };
            assert_eq!(pace.read(secs(s), at(s as i64 * 1_000 + off)), None);
            assert_eq!(pace.now(secs(s)), at(s as i64 * 1_000));
            assert_eq!(pace.ahead_ms(secs(s)), 0);
        }
    }

    #[test]
    fn a_step_that_lasts_is_believed_and_made_up_for_gently() {
        for step in [HOUR, -HOUR] {
            let mut pace = Pace::start(secs(0), at(10 * HOUR), 0, at(0));
            let wall = |s: u64| at(10 * HOUR + s as i64 * 1_000 + step);
            let followed: Vec<u64> = (1..60)
                .filter(|s| pace.read(secs(*s), wall(*s)).is_some())
                .collect();
            assert_eq!(followed, [21]);
            assert_eq!(pace.ahead_ms(secs(21)), step);
            let half = 21 + 18_000;
            assert_eq!(pace.ahead_ms(secs(half)), step / 2);
            assert_eq!(pace.now(secs(half)), wall(half).shifted(-step / 2));
            let done = 21 + 36_000;
            assert_eq!(pace.now(secs(done)), wall(done));
            assert_eq!(pace.now(secs(done + 99)), wall(done + 99));
        }
    }

    #[test]
    fn a_restart_goes_on_with_what_is_left() {
        for step in [HOUR, -HOUR] {
            let pace = Pace::start(secs(0), at(10 * HOUR), step, at(0));
            let began = pace.now(secs(0));
            let later = secs(7_000);
            let left = left_ms(step, began, pace.now(later));
            assert!((left - pace.ahead_ms(later)).abs() <= 1, "{left}");
            let wall = at(10 * HOUR + 7_000_000);
            let again = Pace::start(secs(0), wall, left, pace.now(later));
            let jump = again.now(secs(0)).ms() - pace.now(later).ms();
            assert!((0..=1).contains(&jump), "{jump}");
        }
    }

    #[test]
    fn a_clock_that_was_set_back_while_nobody_ran_finds_the_records_ahead() {
        let pace = Pace::start(secs(0), at(10 * HOUR), 0, at(11 * HOUR));
        assert_eq!(pace.now(secs(0)), at(11 * HOUR));
        assert_eq!(pace.ahead_ms(secs(0)), -HOUR);
        assert_eq!(pace.now(secs(36_000)), at(20 * HOUR));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn whatever_the_wall_clock_does_time_goes_on_between_nine_and_eleven_tenths(
            readings in prop::collection::vec((1_u64..5_000, prop_oneof![Just(0), Just(HOUR), Just(-HOUR), any::<i64>()]), 1..200),
        ) {
            let mut pace = Pace::start(Duration::ZERO, at(HOUR), 0, at(0));
            let (mut mono, mut last) = (0, pace.now(Duration::ZERO));
            for (step, off) in readings {
                mono += step;
                let now = Duration::from_ms(mono);
                pace.read(now, at((HOUR + mono as i64).saturating_add(off)));
                let time = pace.now(now);
                let (least, most) = (step as i64 * 9 / 10 - 1, step as i64 * 11 / 10 + 1);
                let passed = time.ms() - last.ms();
                prop_assert!((least..=most).contains(&passed), "{} in {}", passed, step);
                last = time;
            }
        }
    }
}
