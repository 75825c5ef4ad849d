//! Start: open both logs, fold them, take up what was under way, and set the two threads going. A restart, a first
//! start and a takeover are this one function.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use tokio::sync::broadcast;

use crate::engine::event::Entry;
use crate::engine::intake::{Admitted, Intake};
use crate::engine::limits::DELIVERY_ID_MEMORY;
use crate::engine::own::Own;
use crate::engine::policy::Policy;
use crate::engine::series::native::NativeSample;
use crate::engine::series::{Sample, SeriesCopy};
use crate::engine::state::State;
use crate::engine::{Effect, Engine, Input};
use crate::journal::samples::{
    Batch, DecodeError, Encoder, Keys, decode, decode_deliveries, decode_histograms,
};
use crate::model::histogram::Histogram;
use crate::model::time::{Duration, Timestamp};
use crate::shell::clock::{Clock, wall};
use crate::shell::drive::health::{Places, Slots, Written};
use crate::shell::drive::imager::Imager;
use crate::shell::drive::queue::queue;
use crate::shell::drive::sampler::{QUEUED_BATCHES_MAX, Sampler};
use crate::shell::drive::{
    Drive, Handle, KIND_ENTRY, KIND_HISTOGRAMS, KIND_OWN_HISTOGRAMS, KIND_OWN_SAMPLES,
    KIND_SAMPLES, STATE_VERSION, Status,
};
use crate::shell::store::log::{Options, SegLog};
use crate::shell::store::replay::{replay, segment_start, written_since};
use crate::shell::store::{Damage, Log, Pos, StoreError, snapshot, windows};

/// Size of an event segment; the space is reserved ahead, so that pages go on when the disk is full.
const EVENT_SEGMENT_BYTES: u64 = 8 << 20;
/// Entries that a slow reader of the live feed may lag behind.
const LIVE_ENTRIES_MAX: usize = 1_024;

/// What a start needs.
pub struct Start<'a> {
    /// The data folder.
    pub data: &'a Path,
    /// The policy that is in force.
    pub policy: Arc<Policy>,
    /// How often rules are judged.
    pub tick: Duration,
    /// How long samples are kept.
    pub retention: Duration,
    /// How often an image of the windows is written: the most that a restart replays.
    pub snapshot_interval: Duration,
    /// Samples are synced this often instead of before they are acknowledged.
    pub sync_every: Option<Duration>,
}

/// Both logs folded, nothing running yet.
pub struct Ready {
    drive: Drive,
    sampler: Sampler,
    handle: Handle,
}

impl Start<'_> {
    /// Opens and folds the logs.
    ///
    /// # Errors
    /// [`StoreError`]: another process has the data folder, or it cannot be read.
    pub fn open(self) -> Result<Ready, StoreError> {
        let status = Arc::new(Status::default());
        let (events, samples, snapshots) = (
            self.data.join("events"),
            self.data.join("samples"),
            self.data.join("snapshots"),
        );
        let (event_log, _) = SegLog::open(
            &events,
            Options {
                segment_bytes_max: EVENT_SEGMENT_BYTES,
                preallocate: true,
            },
        )?;
        let (sample_log, _) = SegLog::open(
            &samples,
            Options {
                preallocate: true,
                ..Options::default()
            },
        )?;
        // Opening reports on the last segments only; folding reads all that matter, the last ones too.
        let mut damaged = Vec::new();
        let (state, folded) = fold_events(&events, &snapshots, &mut damaged)?;
        let mut engine = Engine::new(state);
        engine.ticks_every(self.tick);
        engine.keep_history(self.retention);
        engine.foresee(&self.policy);
        let mut intake = Intake::default();
        let since = wall() - self.retention;
        let refiled = refile(self.data, wall(), since, &mut intake, &mut engine)?;
        damaged.extend(refiled.damaged);
        let last = engine.view().now;
        let clock = Clock::start(engine.view().state.clock_ahead_ms(last), last);
        engine.handle(clock.now(), Input::Policy(self.policy));
        let places = Places::of(self.data);
        places.found(clock.now(), &damaged, &mut engine);
        status
            .damaged_total
            .store(damaged.len() as u64, Ordering::Relaxed);

        let (entries, _) = broadcast::channel(LIVE_ENTRIES_MAX);
        let (to_engine, inbox) = queue();
        let (to_sampler, batches) = mpsc::sync_channel(QUEUED_BATCHES_MAX);
        let durable = Arc::new(AtomicU64::new(event_log.durable().number()));
        let handle = Handle {
            engine: to_engine.clone(),
            sampler: to_sampler.clone(),
            entries: entries.clone(),
            events: Arc::new(events),
            durable: durable.clone(),
            spellings: intake.spellings(),
            metadata: Arc::default(),
            targets: Arc::default(),
            clock: clock.clone(),
            status: status.clone(),
        };
        let session = u64::try_from(wall().ms()).unwrap_or(0);
        let drive = Drive {
            engine,
            log: Box::new(event_log),
            inbox,
            slots: Slots::unknown(clock.now()),
            written: Written::unknown(Own::EventsRefused),
            places,
            clock: clock.clone(),
            tick: self.tick,
            snapshots,
            entries,
            durable,
            status: status.clone(),
            sampler: to_sampler,
            carry: Box::new(|_| {}),
            pending: Vec::new(),
            behind: Vec::new(),
            replies: Vec::new(),
            since_snapshot: folded,
            imager: Imager::new(
                self.data.join("windows"),
                self.snapshot_interval,
                refiled.upto,
                refiled.samples,
                clock.now(),
            ),
            retained_at: clock.now(),
            stop: None,
            fenced: false,
        };
        let sampler = Sampler {
            intake,
            log: Box::new(sample_log),
            encoder: Encoder::new(session),
            inbox: batches,
            engine: to_engine,
            clock,
            written: Written::unknown(Own::SamplesRefused),
            status,
            retention: self.retention,
            sync_every: self.sync_every,
        };
        Ok(Ready {
            drive,
            sampler,
            handle,
        })
    }
}

impl Ready {
    /// The door to the threads that [`Ready::go`] starts.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Sets the threads going. `carry` takes each effect once it may leave.
    pub fn go(mut self, carry: impl FnMut(Effect) + Send + 'static) -> std::thread::JoinHandle<()> {
        self.drive.carry = Box::new(carry);
        std::thread::spawn(move || self.sampler.run());
        std::thread::spawn(move || self.drive.run())
    }
}

/// The state after the last entry, and how many entries were folded for it.
fn fold_events(
    events: &Path,
    snapshots: &Path,
    damaged: &mut Vec<Damage>,
) -> Result<(State, u64), StoreError> {
    let (found, ignored) = snapshot::load(snapshots, STATE_VERSION)?;
    for passed in ignored {
        tracing::warn!(path = %passed.path.display(), why = %passed.why, "Snapshot passed over; the log is folded instead.");
    }
    let (mut state, mut covers) = (State::default(), Pos::START);
    if let Some(s) = found
        && let Ok(read) = serde_json::from_slice::<State>(&s.body)
    {
        (state, covers) = (read, s.covers.get("events").copied().unwrap_or(Pos::START));
    }
    let mut folded = 0;
    let report = replay(events, covers.next(), &mut |record| {
        if record.kind != KIND_ENTRY {
            return;
        }
        match serde_json::from_slice::<Entry>(record.payload) {
            Ok(entry) => {
                state.apply(&entry);
                folded += 1;
            }
            Err(error) => {
                tracing::error!(pos = %record.pos, %error, "Event record not understood; passed over.")
            }
        }
    })?;
    damaged.extend(report.damaged);
    Ok((state, folded))
}

/// What the windows were made of.
#[derive(Debug, Default)]
struct Refiled {
    /// The last record that was filed.
    upto: Pos,
    /// Samples filed from the log, not from the image.
    samples: u64,
    /// Damaged places that were stepped over.
    damaged: Vec<Damage>,
}

/// Fills the windows: from the newest image, then from the sample log behind it.
fn refile(
    data: &Path,
    now: Timestamp,
    since: Timestamp,
    intake: &mut Intake,
    engine: &mut Engine,
) -> Result<Refiled, StoreError> {
    let (slices, ignored) = windows::load(&data.join("windows"))?;
    for path in ignored {
        tracing::warn!(path = %path.display(), "Image of the windows passed over; more of the sample log is read instead.");
    }
    // By series: the last position of the log that the image knows of.
    let mut covers = Vec::new();
    for slice in slices {
        for copy in slice.series {
            let mut new = Vec::new();
            let number = intake.recall(copy.key.bytes(), &mut new);
            covers.resize(intake.series_count(), Pos::START);
            if let Some(at) = covers.get_mut(number as usize) {
                *at = Pos::new(slice.covers);
            }
            note(intake, number, &copy);
            engine.put_back(new, number, copy);
        }
    }
    let covered = covers.iter().min().copied().unwrap_or(Pos::START);
    let dir = data.join("samples");
    let from = segment_start(&dir, covered.next())?;
    let remembered = written_since(&dir, now - DELIVERY_ID_MEMORY)?;
    refile_log(
        &dir,
        from,
        remembered.min(from),
        since,
        &covers,
        intake,
        engine,
    )
}

/// Tells the door of the newest sample of a series.
fn note(intake: &mut Intake, series: u32, copy: &SeriesCopy) {
    if let (Some(ts), Some(value)) = (copy.times.last(), copy.values.last()) {
        intake.note(&Sample {
            series,
            ts: Timestamp::from_ms(*ts),
            value: *value,
        });
    }
    if let Some((ts, histogram)) = copy.natives.last() {
        intake.note_native(&NativeSample {
            series,
            ts: Timestamp::from_ms(*ts),
            histogram: histogram.clone(),
        });
    }
}

/// A record of numbers or of histograms.
enum Kind {
    Numbers(Batch<Option<u32>>),
    Natives(Batch<Option<u32>, Histogram>),
}

/// What of a record is to be filed.
struct Files<'a> {
    /// Samples before it are not kept any more.
    since: Timestamp,
    /// By series, the last position that the image knows of.
    covers: &'a [Pos],
    pos: Pos,
}

impl Files<'_> {
    fn of<V, S>(
        &self,
        batch: Batch<Option<u32>, V>,
        make: impl Fn(u32, Timestamp, V) -> S,
    ) -> Vec<S> {
        if batch.at < self.since {
            return Vec::new();
        }
        let known = |n: u32| self.covers.get(n as usize).is_some_and(|c| self.pos <= *c);
        let samples = batch.samples.into_iter();
        let samples = samples.filter_map(|(series, ts, value)| {
            let series = series.filter(|n| !known(*n))?;
            Some(make(series, Timestamp::from_ms(ts), value))
        });
        samples.collect()
    }
}

/// The series of a record's samples.
fn series_of<V>(samples: &[(Option<u32>, i64, V)]) -> Vec<u32> {
    samples.iter().filter_map(|(series, ..)| *series).collect()
}

/// Files the samples from `from` on that the image does not know of; before that, from `remembered` on, only the ids of
/// deliveries are read.
fn refile_log(
    dir: &Path,
    from: Pos,
    remembered: Pos,
    since: Timestamp,
    covers: &[Pos],
    intake: &mut Intake,
    engine: &mut Engine,
) -> Result<Refiled, StoreError> {
    let mut refiled = Refiled::default();
    let mut unresolved = 0;
    let mut keys: Keys<Option<u32>> = Keys::default();
    let report = replay(dir, remembered, &mut |record| {
        let natives = matches!(record.kind, KIND_HISTOGRAMS | KIND_OWN_HISTOGRAMS);
        if !natives && !matches!(record.kind, KIND_SAMPLES | KIND_OWN_SAMPLES) {
            return;
        }
        if record.pos < from {
            let Ok((at, deliveries)) = decode_deliveries(record.payload) else {
                return;
            };
            for id in deliveries {
                intake.remember(at, id);
            }
            return;
        }
        let mut new = Vec::new();
        let intern = |key: &[u8]| Some(intake.recall(key, &mut new));
        let (payload, segment_no) = (record.payload, record.segment_no);
        let decoded: Result<Kind, DecodeError> = if natives {
            decode_histograms(payload, segment_no, &mut keys, intern).map(Kind::Natives)
        } else {
            decode(payload, segment_no, &mut keys, intern).map(Kind::Numbers)
        };
        let Ok(batch) = decoded else {
            tracing::error!(pos = %record.pos, "Sample record not understood; passed over.");
            return;
        };
        let (at, deliveries, missing) = match &batch {
            Kind::Numbers(b) => (b.at, &b.deliveries, b.unresolved),
            Kind::Natives(b) => (b.at, &b.deliveries, b.unresolved),
        };
        unresolved += missing;
        for id in deliveries {
            intake.remember(at, *id);
        }
        let files = Files {
            since,
            covers,
            pos: record.pos,
        };
        let of_own = match (&batch, record.kind) {
            (Kind::Numbers(b), KIND_OWN_SAMPLES) => series_of(&b.samples),
            (Kind::Natives(b), KIND_OWN_HISTOGRAMS) => series_of(&b.samples),
            _ => Vec::new(),
        };
        let mut admitted = Admitted {
            at,
            new,
            of_own,
            ..Admitted::default()
        };
        match batch {
            Kind::Numbers(batch) => {
                let samples = files.of(batch, |series, ts, value| Sample { series, ts, value });
                samples.iter().for_each(|s| intake.note(s));
                refiled.samples += samples.len() as u64;
                match record.kind {
                    KIND_OWN_SAMPLES => admitted.own = samples,
                    _ => admitted.samples = samples,
                }
            }
            Kind::Natives(batch) => {
                let natives = files.of(batch, |series, ts, histogram| NativeSample {
                    series,
                    ts,
                    histogram: Arc::new(histogram),
                });
                natives.iter().for_each(|n| intake.note_native(n));
                refiled.samples += natives.len() as u64;
                match record.kind {
                    KIND_OWN_HISTOGRAMS => admitted.own_natives = natives,
                    _ => admitted.natives = natives,
                }
            }
        }
        engine.refile(admitted);
    })?;
    if unresolved > 0 {
        tracing::error!(
            samples = unresolved,
            "Samples left out: the record that names their series is lost."
        );
    }
    (refiled.upto, refiled.damaged) = (report.tail, report.damaged);
    Ok(refiled)
}
