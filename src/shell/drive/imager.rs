//! Images of the windows, taken slice by slice between ticks, so that a restart replays only the samples after one.
//!
//! The engine's thread copies some series at a time (chunks are shared, plain samples copied) and hands them to a thread
//! of the image's own, which packs and writes them. Each slice knows the position up to which samples had been filed
//! when it was taken. An image that cannot be written is given up; the sample log is there all the same.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use crate::engine::series::SeriesSet;
use crate::journal::windows::Slice;
use crate::model::time::{Duration, Timestamp};
use crate::shell::drive::sampler::chain;
use crate::shell::store::Pos;
use crate::shell::store::windows::Making;

/// An image is due after this many samples, however short a time they took.
const IMAGE_SAMPLES: u64 = 10_000_000;
/// Plain samples and chunks copied in one go; about a quarter of a millisecond.
const SLICE_WEIGHT: usize = 16_384;
/// Bytes of samples in one go; with the largest series as the last one, they fit into a record.
const SLICE_BYTES: usize = 4 << 20;
/// Slices that wait to be written.
const SLICES_QUEUED: usize = 16;

/// When images are made, and the one under way.
pub struct Imager {
    dir: PathBuf,
    /// An image is due this long after the last one was begun, if any sample came.
    every: Duration,
    /// The last record of the sample log that the engine has filed.
    filed: Pos,
    /// Samples filed since the last image was begun.
    since: u64,
    begun_at: Timestamp,
    job: Option<Job>,
}

struct Job {
    /// The series that comes next.
    next: u32,
    /// A slice that found the queue full.
    waiting: Option<Slice>,
    to: SyncSender<Slice>,
    failed: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Imager {
    /// One that knows what a start has filed.
    pub fn new(dir: PathBuf, every: Duration, filed: Pos, replayed: u64, now: Timestamp) -> Self {
        Self {
            dir,
            every,
            filed,
            since: replayed,
            begun_at: now,
            job: None,
        }
    }

    /// The engine has filed the samples of a record.
    pub fn filed(&mut self, pos: Pos, samples: usize) {
        self.filed = self.filed.max(pos);
        self.since += samples as u64;
    }

    /// Whether an image is being made: then [`Imager::step`] wants to be called again soon.
    pub fn is_busy(&self) -> bool {
        self.job.is_some()
    }

    /// Begins an image if one is due, or takes one slice of the one under way.
    pub fn step(&mut self, series: &SeriesSet, now: Timestamp) {
        if self.job.is_none() {
            let due = self.since >= IMAGE_SAMPLES
                || (self.since > 0 && now.since(self.begun_at) >= self.every);
            if due {
                self.begin(now);
            }
            return;
        }
        self.slice(series, now, false);
    }

    /// Makes a whole image now, unless nothing came since the last one.
    pub fn finish(&mut self, series: &SeriesSet, now: Timestamp) {
        if self.since > 0 && self.job.is_none() {
            self.begin(now);
        }
        while self.job.is_some() {
            self.slice(series, now, true);
        }
    }

    fn begin(&mut self, now: Timestamp) {
        (self.since, self.begun_at) = (0, now);
        let making = match Making::begin(&self.dir) {
            Ok(making) => making,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "Image of the windows not begun; the sample log is kept.");
                return;
            }
        };
        let (to, slices) = sync_channel::<Slice>(SLICES_QUEUED);
        let failed = Arc::new(AtomicBool::new(false));
        let flag = failed.clone();
        let thread = std::thread::spawn(move || {
            let mut making = making;
            let mut whole = false;
            for slice in slices {
                if slice.series.is_empty() {
                    whole = true;
                    break;
                }
                if let Err(error) = making.add(&slice) {
                    flag.store(true, Ordering::Relaxed);
                    tracing::warn!(error = %chain(&error), "Image of the windows not written; the sample log is kept.");
                    break;
                }
            }
            if !whole {
                return making.abandon();
            }
            if let Err(error) = making.finish() {
                tracing::warn!(error = %chain(&error), "Image of the windows not finished; the sample log is kept.");
            }
        });
        self.job = Some(Job {
            next: 0,
            waiting: None,
            to,
            failed,
            thread,
        });
    }

    fn slice(&mut self, series: &SeriesSet, now: Timestamp, wait: bool) {
        let Some(job) = &mut self.job else {
            return;
        };
        if job.failed.load(Ordering::Relaxed) {
            self.job = None;
            return;
        }
        let slice = job
            .waiting
            .take()
            .unwrap_or_else(|| cut(series, &mut job.next, self.filed, now));
        let last = slice.series.is_empty();
        let sent = if wait {
            job.to.send(slice).map_err(|_| None)
        } else {
            job.to.try_send(slice).map_err(|e| match e {
                TrySendError::Full(slice) => Some(slice),
                TrySendError::Disconnected(_) => None,
            })
        };
        match sent {
            Ok(()) if !last => {}
            Err(Some(slice)) => job.waiting = Some(slice),
            Ok(()) | Err(None) => {
                if let Some(job) = self.job.take()
                    && wait
                {
                    let _ = job.thread.join();
                }
            }
        }
    }
}

/// The next series; none after the last.
fn cut(series: &SeriesSet, next: &mut u32, filed: Pos, now: Timestamp) -> Slice {
    let mut slice = Slice {
        covers: filed.number(),
        series: Vec::new(),
    };
    let (mut weight, mut bytes) = (0, 0);
    while weight < SLICE_WEIGHT && bytes < SLICE_BYTES {
        let Some(one) = series.get(*next) else {
            break;
        };
        let ended = series.is_ended(*next, now);
        *next += 1;
        // Ended ones are passed over in no time, so a slice without any series is the end.
        if !ended {
            weight += one.weight();
            bytes += one.bytes();
            slice.series.push(one.copy());
        }
    }
    slice
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::limits::{CHUNK_SAMPLES, HISTORY_SAMPLES_MAX};
    use crate::engine::series::SeriesCopy;
    use crate::engine::series::chunk::Chunk;
    use crate::journal::frame::PAYLOAD_BYTES_MAX;
    use crate::journal::windows::encode;
    use crate::model::labels::{Labels, SeriesKey};

    #[test]
    fn slices_of_long_histories_fit_into_records() {
        let mut bits = 1_u64;
        let mut noise = || {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            f64::from_bits(bits >> 2)
        };
        let chunk = |n: usize, noise: &mut dyn FnMut() -> f64| {
            let from = (n * CHUNK_SAMPLES) as i64;
            let times: Vec<i64> = (from..from + CHUNK_SAMPLES as i64).collect();
            let values: Vec<f64> = times.iter().map(|_| noise()).collect();
            Arc::new(Chunk::pack(&times, &values).unwrap())
        };
        let chunks = HISTORY_SAMPLES_MAX / CHUNK_SAMPLES;
        let closed: Vec<Arc<Chunk>> = (0..chunks).map(|n| chunk(n, &mut noise)).collect();
        let mut set = SeriesSet::default();
        for n in 0..400 {
            let key = SeriesKey::new("m", &Labels::new().with("n", &n.to_string()));
            let (number, _) = set.number(&key);
            let copy = SeriesCopy {
                key,
                closed: closed.clone(),
                times: vec![HISTORY_SAMPLES_MAX as i64],
                values: vec![1.0],
                natives: Vec::new(),
            };
            set.put_back(number, copy);
        }
        assert!(set.packed_bytes() > 2 * PAYLOAD_BYTES_MAX);
        let (mut next, mut count) = (0, 0);
        loop {
            let slice = cut(&set, &mut next, Pos::START, Timestamp::from_ms(20_000));
            if slice.series.is_empty() {
                break;
            }
            count += slice.series.len();
            assert!(encode(&slice).1.len() < PAYLOAD_BYTES_MAX);
        }
        assert_eq!(count, 400);
    }
}
