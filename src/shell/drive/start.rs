//! Start: open both logs, fold them, take up what was under way, and set the two threads going. A restart, a first
//! start and a takeover are this one function.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

use tokio::sync::broadcast;

use crate::engine::event::Entry;
use crate::engine::intake::{Admitted, Intake};
use crate::engine::own::Own;
use crate::engine::policy::Policy;
use crate::engine::series::Sample;
use crate::engine::state::State;
use crate::engine::{Effect, Engine, Input};
use crate::journal::samples::{Encoder, Keys, decode};
use crate::model::time::{Duration, Timestamp};
use crate::shell::clock::{Clock, wall};
use crate::shell::drive::health::{Places, Slots, Written};
use crate::shell::drive::sampler::{QUEUED_BATCHES_MAX, Sampler};
use crate::shell::drive::{Drive, Handle, KIND_ENTRY, KIND_SAMPLES, STATE_VERSION, Status};
use crate::shell::store::log::{Options, SegLog};
use crate::shell::store::replay::{replay, segment_start};
use crate::shell::store::{Damage, Pos, StoreError, snapshot};

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
        engine.foresee(&self.policy);
        let mut intake = Intake::default();
        let since = wall() - self.retention;
        damaged.extend(refile_samples(&samples, since, &mut intake, &mut engine)?);
        let last = engine.view().now;
        let clock = Clock::start(engine.view().state.clock_ahead_ms(last), last);
        engine.handle(clock.now(), Input::Policy(self.policy));
        let places = Places::of(self.data);
        places.found(clock.now(), &damaged, &mut engine);
        status
            .damaged_total
            .store(damaged.len() as u64, Ordering::Relaxed);

        let (entries, _) = broadcast::channel(LIVE_ENTRIES_MAX);
        let (to_engine, inbox) = mpsc::channel();
        let (to_sampler, batches) = mpsc::sync_channel(QUEUED_BATCHES_MAX);
        let handle = Handle {
            engine: to_engine.clone(),
            sampler: to_sampler,
            entries: entries.clone(),
            clock: clock.clone(),
            status: status.clone(),
        };
        let session = u64::try_from(wall().ms()).unwrap_or(0);
        let drive = Drive {
            engine,
            log: event_log,
            inbox,
            slots: Slots::unknown(clock.now()),
            written: Written::unknown(Own::EventsRefused),
            places,
            clock: clock.clone(),
            tick: self.tick,
            snapshots,
            entries,
            status: status.clone(),
            carry: Box::new(|_| {}),
            pending: Vec::new(),
            behind: Vec::new(),
            replies: Vec::new(),
            since_snapshot: folded,
            stop: None,
        };
        let sampler = Sampler {
            intake,
            log: sample_log,
            encoder: Encoder::new(session),
            inbox: batches,
            engine: to_engine,
            clock,
            written: Written::unknown(Own::SamplesRefused),
            status,
            retention: self.retention,
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

/// Files every kept sample again; which damaged places were stepped over.
fn refile_samples(
    dir: &Path,
    since: Timestamp,
    intake: &mut Intake,
    engine: &mut Engine,
) -> Result<Vec<Damage>, StoreError> {
    let mut unresolved = 0;
    let mut keys: Keys<Option<u32>> = Keys::default();
    let from = segment_start(dir, Pos::new(1))?;
    let report = replay(dir, from, &mut |record| {
        if record.kind != KIND_SAMPLES {
            return;
        }
        let mut new = Vec::new();
        let decoded = decode(record.payload, record.segment_no, &mut keys, |key| {
            intake.number(key, &mut new)
        });
        let Ok(batch) = decoded else {
            tracing::error!(pos = %record.pos, "Sample record not understood; passed over.");
            return;
        };
        unresolved += batch.unresolved;
        for id in &batch.deliveries {
            intake.remember(batch.at, *id);
        }
        let samples = batch.samples.iter().filter_map(|(series, ts, value)| {
            Some(Sample {
                series: (*series)?,
                ts: Timestamp::from_ms(*ts),
                value: *value,
            })
        });
        let samples = if batch.at < since {
            Vec::new()
        } else {
            samples.collect()
        };
        engine.refile(Admitted {
            at: batch.at,
            new,
            samples,
            ids: Vec::new(),
        });
    })?;
    if unresolved > 0 {
        tracing::error!(
            samples = unresolved,
            "Samples left out: the record that names their series is lost."
        );
    }
    Ok(report.damaged)
}
