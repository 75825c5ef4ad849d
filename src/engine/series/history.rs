//! How long samples stay: what rules look back at and the board's hour always, and for queries a history within bounds.
//! Without room for all of it, it reaches back less far, equally for all series. One that has ended keeps its newest
//! sample only.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::engine::limits::{
    BOARD_SAMPLES_MAX, BOARD_WINDOW, ENDED_LOOK, HISTORY_BYTES_MAX, HISTORY_SAMPLES_MAX,
};
use crate::engine::series::chunk::Chunk;
use crate::engine::series::{Series, SeriesSet};
use crate::model::time::{Duration, Timestamp};

/// What is kept for queries.
#[derive(Debug)]
pub struct History {
    /// For how long at most, whatever rules look back at; zero: not at all.
    keep: Duration,
    /// For how long as there is room.
    reach: Duration,
    /// Bytes of packed samples of all series, beyond which it reaches back less far.
    pub bytes_max: usize,
    /// Bytes of packed samples so far.
    pub bytes: usize,
    /// Bytes of native histograms so far.
    pub histogram_bytes: usize,
}

impl Default for History {
    fn default() -> Self {
        Self {
            keep: Duration::ZERO,
            reach: Duration::ZERO,
            bytes_max: HISTORY_BYTES_MAX,
            bytes: 0,
            histogram_bytes: 0,
        }
    }
}

impl History {
    /// Keeps samples for this long.
    pub fn keep(&mut self, keep: Duration) {
        (self.keep, self.reach) = (keep, keep);
    }
    /// Reaches back a little less without room, and a little further with plenty of it: called on every tick. Series
    /// that come each minute follow in time, so that not much more goes than must.
    fn adjust(&mut self) {
        let little = Duration::from_ms(self.reach.ms() / 512 + 1_000);
        let bytes = self.bytes + self.histogram_bytes;
        if bytes > self.bytes_max {
            self.reach = Duration::from_ms(self.reach.ms().saturating_sub(little.ms()));
        } else if self.reach < self.keep && bytes < self.bytes_max / 8 * 7 {
            self.reach = Duration::from_ms(self.reach.ms() + little.ms()).min(self.keep);
        }
    }
    pub(super) fn add(&mut self, chunk: &Chunk) {
        self.bytes += chunk.bytes();
    }
    pub(super) fn remove(&mut self, chunk: &Chunk) {
        self.bytes = self.bytes.saturating_sub(chunk.bytes());
    }
    /// The histograms of a series took so many bytes before and take so many now.
    pub(super) fn histograms(&mut self, before: usize, now: usize) {
        self.histogram_bytes = (self.histogram_bytes + now).saturating_sub(before);
    }
    /// How far back it reaches.
    pub(super) fn reach(&self) -> Duration {
        self.reach
    }
}

/// The round of looks for series that have ended.
#[derive(Debug, Default)]
pub(super) struct Round {
    next: u32,
    found: usize,
    /// How many the last whole round has found.
    pub ended: usize,
}

impl Series {
    /// Drops what nobody asks for any more, seen from a time.
    pub(super) fn expire(&mut self, newest_ms: i64, history: &mut History) {
        let newest = Timestamp::from_ms(newest_ms);
        let (need, board) = ((newest - self.horizon).ms(), (newest - BOARD_WINDOW).ms());
        let past = (newest - history.reach).ms();
        let kept = |last: i64, left: usize| {
            last > need
                || (last > board && left < BOARD_SAMPLES_MAX)
                || (last > past && left < HISTORY_SAMPLES_MAX)
        };
        let (mut gone, mut left) = (0, self.floats_len());
        for chunk in &self.closed {
            let after = left - chunk.count as usize;
            if kept(chunk.last_ms, after) {
                break;
            }
            history.remove(chunk);
            (gone, left) = (gone + 1, after);
        }
        if gone > 0 {
            self.closed.drain(..gone);
            self.closed_count = self.closed.iter().map(|c| c.count).sum();
        }
        if !self.closed.is_empty() {
            return;
        }
        while let Some(t) = self.times.get(self.start()) {
            if kept(*t, self.plain_len()) {
                break;
            }
            self.start += 1;
        }
        if self.start > 32 && self.start() * 2 > self.times.len() {
            self.drop_expired();
        }
    }

    /// Whether it is silent for longer than anybody looks back, or was never heard.
    fn is_ended(&self, now: Timestamp, reach: Duration) -> bool {
        let kept = self.horizon.max(reach).max(BOARD_WINDOW);
        self.newest_time().is_none_or(|t| now.since(t) > kept)
    }

    /// Drops all samples but the newest.
    fn release(&mut self, history: &mut History) {
        self.release_natives(history);
        self.closed.iter().for_each(|c| history.remove(c));
        (self.closed, self.closed_count) = (Vec::new(), 0);
        if self.plain_len() > 1 {
            self.start = u32::try_from(self.times.len() - 1).unwrap_or(u32::MAX);
        }
        self.drop_expired();
        self.times.shrink_to_fit();
        self.values.shrink_to_fit();
    }
}

impl SeriesSet {
    /// Whether a series is silent for longer than anybody looks back, or was never heard.
    pub fn is_ended(&self, number: u32, now: Timestamp) -> bool {
        let series = self.get(number);
        series.is_none_or(|s| s.is_ended(now, self.history.reach))
    }

    /// How many series have ended, as far as the last whole round of looks has found. Their numbers stay theirs until
    /// a restart.
    pub fn ended(&self) -> usize {
        self.round.ended
    }

    /// The earliest time of which samples are kept for queries.
    pub fn oldest(&self, now: Timestamp) -> Timestamp {
        now - self.history.reach.max(BOARD_WINDOW)
    }

    /// Bytes of packed samples.
    pub fn packed_bytes(&self) -> usize {
        self.history.bytes
    }

    /// Looks at the next few series, and takes their samples from those that have ended.
    pub(in crate::engine) fn sweep(&mut self, now: Timestamp) {
        if self.keep_all {
            return;
        }
        self.history.adjust();
        for _ in 0..ENDED_LOOK {
            let number = self.round.next;
            let Some(series) = self.all.get_mut(number as usize) else {
                self.round = Round {
                    ended: self.round.found,
                    ..Round::default()
                };
                return;
            };
            self.round.next += 1;
            // A series that sends numbers by now has nobody else who drops its histograms.
            let natives = series.natives_len();
            series.expire_natives(now.ms(), &mut self.history);
            let mut changed = series.natives_len() != natives;
            if series.is_ended(now, self.history.reach) {
                self.round.found += 1;
                if series.len() > 1 {
                    series.release(&mut self.history);
                    changed = true;
                }
            }
            if changed {
                self.changed(number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::labels::{Labels, SeriesKey};

    fn set(count: u32, keep: Duration, bytes_max: usize) -> SeriesSet {
        let mut set = SeriesSet {
            history: History {
                keep,
                reach: keep,
                bytes_max,
                ..History::default()
            },
            ..SeriesSet::default()
        };
        for n in 0..count {
            set.number(&SeriesKey::new(
                "m",
                &Labels::new().with("n", &n.to_string()),
            ));
        }
        set
    }

    fn push(set: &mut SeriesSet, number: u32, second: i64) {
        let at = Timestamp::from_ms(second * 1_000);
        set.file_one(number, at, at, (second % 977) as f64);
    }

    fn packed(set: &SeriesSet) -> usize {
        let all = set.all.iter().flat_map(|s| &s.closed);
        all.map(|c| c.bytes()).sum()
    }

    #[test]
    fn a_history_reaches_as_far_as_it_is_kept_and_has_room() {
        let mut set = set(2, Duration::from_hours(24), usize::MAX);
        for second in 0..200_000 {
            push(&mut set, 0, second);
            if second % 60 == 0 {
                push(&mut set, 1, second);
            }
        }
        let len = |n| set.get(n).map_or(0, Series::len);
        assert!(
            (HISTORY_SAMPLES_MAX..HISTORY_SAMPLES_MAX + 200).contains(&len(0)),
            "a fast one has its share: {}",
            len(0)
        );
        assert!((1_440..1_600).contains(&len(1)), "a day: {}", len(1));
        assert_eq!(set.packed_bytes(), packed(&set));
    }

    #[test]
    fn without_room_all_histories_become_shorter_but_not_what_rules_need() {
        let mut set = set(4, Duration::from_hours(24), 40_000);
        set.need(0, Duration::from_hours(2));
        for second in (0..86_400).step_by(5) {
            (0..4).for_each(|n| push(&mut set, n, second));
            set.sweep(Timestamp::from_ms(second * 1_000));
        }
        assert!(set.packed_bytes() < 50_000, "{}", set.packed_bytes());
        assert_eq!(set.packed_bytes(), packed(&set));
        let len: Vec<usize> = set.all.iter().map(Series::len).collect();
        assert!(len[0] >= 1_440, "{len:?}");
        assert!(
            len[1] > BOARD_SAMPLES_MAX && len[1].abs_diff(len[3]) <= 128,
            "{len:?}"
        );
        let reach = set.history.reach;
        assert!(reach < Duration::from_hours(24));
        set.history.bytes_max = usize::MAX;
        (0..10_000).for_each(|_| set.sweep(Timestamp::from_ms(86_400_000)));
        assert_eq!(set.history.reach, set.history.keep);
    }

    #[test]
    fn an_ended_series_keeps_its_newest_sample_and_goes_on_when_it_comes_back() {
        let mut set = set(3, Duration::from_hours(1), usize::MAX);
        for second in 0..2_000 {
            (0..3).for_each(|n| push(&mut set, n, second));
        }
        set.need(1, Duration::from_hours(9));
        let late = Timestamp::from_ms(6_000_000);
        push(&mut set, 2, 5_000);
        for _ in 0..2 {
            set.sweep(late);
        }
        let len: Vec<usize> = set.all.iter().map(Series::len).collect();
        assert_eq!((len[0], len[1], set.ended()), (1, 2_000, 1));
        assert!(len[2] >= 600, "{len:?}");
        assert_eq!(set.packed_bytes(), packed(&set));
        push(&mut set, 0, 6_001);
        assert_eq!(
            set.get(0).and_then(Series::last).map(|l| l.0.ms()),
            Some(6_001_000)
        );
    }
}
