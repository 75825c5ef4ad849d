//! The loop. Two threads own everything that changes:
//!
//! - [`sampler`]: batches → the door ([`Intake`](crate::engine::intake::Intake)) → the sample log → *then* the
//!   acknowledgement and the engine. What is not durable was never seen by anybody.
//! - this one: durable samples, ticks, requests and reports → the engine → the event log → *then* replies and effects.
//!
//! Crash between any two lines: before the commit nothing has left and nobody was answered; after it, a replay of the
//! two logs gives the same state, deliveries without a verdict are made again under the same key, and claimed runs are
//! looked for in their run folders.

pub mod follow;
pub mod health;
pub mod imager;
pub mod queue;
pub mod reply;
pub mod sampler;
pub mod start;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{broadcast, oneshot};

use crate::engine::command::{Command, CommandError};
use crate::engine::event::{Entry, Event};
use crate::engine::intake::spellings::Spellings;
use crate::engine::intake::{Admitted, Batch, Named, Refusal};
use crate::engine::limits::RECORD_BYTES_MAX;
use crate::engine::own::Own;
use crate::engine::{Effect, Engine, Input, View};
use crate::ingest::metadata::Metadata;
use crate::model::time::{Duration, Timestamp};
use crate::shell::clock::Clock;
use crate::shell::drive::follow::Follow;
use crate::shell::drive::health::{Places, Slots, Written};
use crate::shell::drive::imager::Imager;
use crate::shell::drive::queue::{Receiver, Sender};
use crate::shell::drive::reply::reply;
use crate::shell::drive::sampler::Submit;
use crate::shell::scrape::seen::Targets;
use crate::shell::store::log::Keep;
use crate::shell::store::{Log, Pos, StoreError, snapshot};

/// Record kind of an [`Entry`] as JSON.
pub const KIND_ENTRY: u8 = 1;
/// Record kind of a batch of samples.
pub const KIND_SAMPLES: u8 = 2;
/// Record kind of a batch of samples that the engine made.
pub const KIND_OWN_SAMPLES: u8 = 3;
/// Record kind of a batch of native histograms.
pub const KIND_HISTOGRAMS: u8 = 4;
/// Record kind of a batch of native histograms that the engine made.
pub const KIND_OWN_HISTOGRAMS: u8 = 5;
/// Version of the state in snapshots; another one is passed over and the whole log is folded.
pub const STATE_VERSION: u32 = 1;
/// Entries between two snapshots: the most that a restart folds.
const SNAPSHOT_ENTRIES: u64 = 20_000;
/// How long entries are kept for people who ask why. Part of the log by part, and never before a snapshot has them.
const ENTRIES_KEPT: Duration = Duration::from_hours(24 * 90);
/// Time between two looks for entries that may go.
const RETAIN_EVERY: Duration = Duration::from_hours(1);
/// Missed slots that are still judged one by one after a stall; more are recorded as skipped.
const CATCH_UP_SLOTS: u64 = 60;

/// Why a log takes no records at the moment, if it does not.
#[derive(Debug, Default)]
pub struct Refusing(Mutex<Option<String>>);

impl Refusing {
    /// Why.
    pub fn why(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
    /// Says why, or that it takes them; true if whether it does has changed.
    pub fn set(&self, why: Option<String>) -> bool {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = held.is_some() != why.is_some();
        *held = why;
        changed
    }
}

/// What is shown of ourselves: counters and conditions, read without asking the engine.
#[derive(Debug, Default)]
pub struct Status {
    /// Samples accepted, durable.
    pub samples_total: AtomicU64,
    /// Items refused at the door, by [`Refusal::place`].
    pub refused_total: [AtomicU64; Refusal::ALL.len()],
    /// Pushes of which nothing was taken, in the order of [`Untaken::ALL`].
    pub untaken_total: [AtomicU64; Untaken::ALL.len()],
    /// Items that could not be read.
    pub malformed_total: AtomicU64,
    /// Items whose delivery id was known.
    pub repeated_total: AtomicU64,
    /// Ticks judged.
    pub ticks_total: AtomicU64,
    /// Slots skipped.
    pub skipped_total: AtomicU64,
    /// Samples of our own that are in the windows and will be missing after a restart.
    pub own_lost_total: AtomicU64,
    /// Time of the last slot that was late, ms; 0: none was.
    pub late_at: AtomicI64,
    /// How late that slot was, ms.
    pub late_ms: AtomicU64,
    /// Time of the last tick, ms.
    pub tick_at: AtomicI64,
    /// How long the last tick took, µs.
    pub tick_micros: AtomicU64,
    /// Whether the sample log takes records.
    pub samples_refused: Refusing,
    /// Whether the event log takes records.
    pub events_refused: Refusing,
    /// Places where the start found a log damaged.
    pub damaged_total: AtomicU64,
    /// Samples that wait for the disk.
    pub waiting_samples: AtomicUsize,
    /// Bytes that their batches take.
    pub waiting_bytes: AtomicUsize,
    /// Samples on the way to the engine.
    pub queued_samples: AtomicUsize,
    /// Deliveries that were accepted, and that were not.
    pub pages_total: [AtomicU64; 2],
    /// Scrapes whose answer was taken, those whose was not, and those whose samples were not stored.
    pub scrapes_total: [AtomicU64; 3],
    /// Active series.
    pub series_count: AtomicUsize,
}

impl Status {
    /// So many samples, and bytes of their batch, wait for the disk from now on; how many did before.
    fn wait(&self, [samples, bytes]: [usize; 2]) -> [usize; 2] {
        let waiting = [&self.waiting_samples, &self.waiting_bytes];
        [
            waiting[0].fetch_add(samples, Ordering::Relaxed),
            waiting[1].fetch_add(bytes, Ordering::Relaxed),
        ]
    }

    fn wait_no_more(&self, [samples, bytes]: [usize; 2]) {
        self.waiting_samples.fetch_sub(samples, Ordering::Relaxed);
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What comes to the engine's thread.
pub enum Message {
    /// An input other than samples.
    Input(Input),
    /// Samples that are durable, and the position of their record.
    Samples(Admitted, Pos),
    /// A request; answered when it is durable.
    Command(Command, oneshot::Sender<Result<(), CommandFailure>>),
    /// A question.
    Ask(Box<dyn FnOnce(&Engine) + Send>),
    /// The end: commit, snapshot, stop.
    Stop(oneshot::Sender<()>),
}

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CommandFailure {
    /// It makes no sense.
    #[error(transparent)]
    Refused(#[from] CommandError),
    /// The event log does not take records.
    #[error("the event log cannot be written: try again when /ready is fine")]
    NotDurable,
    /// The engine has stopped.
    #[error("ops is stopping")]
    Stopped,
}

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PushFailure {
    /// Too much is under way.
    #[error("too many samples are under way: slow down")]
    Busy,
    /// The sample log does not take records.
    #[error("the sample log cannot be written: {0}")]
    Unavailable(String),
}

/// What was taken of a batch.
#[derive(Debug, Default)]
pub struct Pushed {
    /// Durable samples.
    pub accepted: usize,
    /// How many of them are native histograms.
    pub natives: usize,
    /// Items refused at the door.
    pub refused: Vec<(u32, Refusal)>,
    /// What the first of them are about, in the same order.
    pub named: Vec<Named>,
}

/// Why nothing of a push was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untaken {
    /// Too much is under way.
    Busy,
    /// The sample log does not take records.
    Unavailable,
    /// It is larger than a push may be.
    TooLarge,
    /// It cannot be read: broken off, in another encoding, or not what it says it is.
    NotDecoded,
    /// It did not come in in time.
    Timeout,
}

impl Untaken {
    /// All of them, with the names under which they are counted.
    pub const ALL: [(&'static str, Untaken); 5] = [
        ("busy", Untaken::Busy),
        ("unavailable", Untaken::Unavailable),
        ("too_large", Untaken::TooLarge),
        ("not_decoded", Untaken::NotDecoded),
        ("timeout", Untaken::Timeout),
    ];
}

impl Status {
    /// Counts a push of which nothing was taken.
    pub fn count_untaken(&self, why: Untaken) {
        let counts = Untaken::ALL.iter().zip(&self.untaken_total);
        for (_, count) in counts.filter(|((_, w), _)| *w == why) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The door to the two threads, for the API and for everything that reports back.
#[derive(Clone)]
pub struct Handle {
    pub(super) engine: Sender<Message>,
    pub(super) sampler: SyncSender<Submit>,
    pub(super) entries: broadcast::Sender<(Pos, Arc<Entry>)>,
    /// The folder of the event log.
    pub(super) events: Arc<PathBuf>,
    /// The last entry that is durable.
    pub(super) durable: Arc<AtomicU64>,
    /// The door's spellings, for decoders.
    pub spellings: Arc<Spellings>,
    /// What senders said of their metrics.
    pub metadata: Arc<Mutex<Metadata>>,
    /// What became of the targets that are asked.
    pub targets: Arc<Targets>,
    /// The engine's clock.
    pub clock: Clock,
    /// Counters and conditions.
    pub status: Arc<Status>,
}

impl Handle {
    /// Hands in a batch; the answer comes when it is durable.
    ///
    /// # Errors
    /// [`PushFailure`]; nothing of the batch is kept then.
    pub async fn push(&self, batch: Batch) -> Result<Pushed, PushFailure> {
        if self.status.queued_samples.load(Ordering::Relaxed) > sampler::QUEUED_SAMPLES_MAX {
            return Err(PushFailure::Busy);
        }
        let weight = [batch.items.len(), batch.bytes()];
        let before = self.status.wait(weight);
        let (reply, waiter) = reply();
        let submit = Submit {
            batch,
            reply: Some(reply),
        };
        // One batch may always wait, whatever its size.
        let fits = |(before, more): (usize, usize), most| before == 0 || before + more <= most;
        let fits = fits((before[0], weight[0]), sampler::WAITING_SAMPLES_MAX)
            && fits((before[1], weight[1]), sampler::WAITING_BYTES_MAX);
        if !fits || self.sampler.try_send(submit).is_err() {
            self.status.wait_no_more(weight);
            return Err(PushFailure::Busy);
        }
        let stopping = || Err(PushFailure::Unavailable("ops is stopping".to_owned()));
        waiter.outcome().await.unwrap_or_else(stopping)
    }

    /// Takes down what a sender says of its metrics.
    pub fn describe(&self, newer: Metadata) {
        if !newer.is_empty() {
            let mut known = self.metadata.lock().unwrap_or_else(PoisonError::into_inner);
            known.merge(newer);
        }
    }

    /// Carries out a request; the answer comes when it is durable.
    ///
    /// # Errors
    /// [`CommandFailure`].
    pub async fn command(&self, command: Command) -> Result<(), CommandFailure> {
        let (reply, answer) = oneshot::channel();
        self.engine
            .send(Message::Command(command, reply))
            .map_err(|_| CommandFailure::Stopped)?;
        answer.await.unwrap_or(Err(CommandFailure::Stopped))
    }

    /// Asks the engine between two inputs; the question must be quick. `None`: it has stopped.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(View<'_>) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let ask = Box::new(move |engine: &Engine| drop(reply.send(question(engine.view()))));
        self.engine.send(Message::Ask(ask)).ok()?;
        answer.await.ok()
    }

    /// Tells the engine something.
    pub fn tell(&self, input: Input) {
        let _ = self.engine.send(Message::Input(input));
    }

    /// Entries as they become durable from now on, each once, however slowly they are read.
    pub fn entries(&self) -> Follow {
        let last = Pos::new(self.durable.load(Ordering::Acquire));
        Follow::new(self.entries.subscribe(), self.events.clone(), last)
    }

    /// Commits and stops.
    pub async fn stop(&self) {
        let (reply, answer) = oneshot::channel();
        if self.engine.send(Message::Stop(reply)).is_ok() {
            let _ = answer.await;
        }
    }
}

/// The engine's thread.
pub struct Drive {
    pub(super) engine: Engine,
    pub(super) log: Box<dyn Log>,
    pub(super) inbox: Receiver<Message>,
    pub(super) clock: Clock,
    pub(super) tick: Duration,
    pub(super) snapshots: PathBuf,
    pub(super) entries: broadcast::Sender<(Pos, Arc<Entry>)>,
    pub(super) durable: Arc<AtomicU64>,
    pub(super) status: Arc<Status>,
    /// Takes samples of our own.
    pub(super) sampler: SyncSender<Submit>,
    /// Takes effects that may leave.
    pub(super) carry: Box<dyn FnMut(Effect) + Send>,
    /// Entries that are not durable yet, oldest first.
    pub(super) pending: Vec<Entry>,
    /// What waits for them.
    pub(super) behind: Vec<Effect>,
    pub(super) replies: Vec<oneshot::Sender<Result<(), CommandFailure>>>,
    pub(super) since_snapshot: u64,
    /// Images of the windows.
    pub(super) imager: Imager,
    pub(super) retained_at: Timestamp,
    pub(super) slots: Slots,
    pub(super) written: Written,
    pub(super) places: Places,
    pub(super) stop: Option<oneshot::Sender<()>>,
    /// Someone else writes the event log: nothing may leave any more.
    pub(super) fenced: bool,
}

impl Drive {
    /// Runs until it is told to stop.
    pub fn run(mut self) {
        self.engine.resume();
        self.drain();
        self.commit();
        let mut slot = self.clock.now().aligned(self.tick) + self.tick;
        while self.stop.is_none() && !self.fenced {
            let idle = if self.imager.is_busy() {
                Duration::from_ms(1)
            } else {
                Duration::from_ms(200)
            };
            let wait = slot.since(self.clock.now()).min(idle);
            match self.inbox.recv_timeout(wait.std()) {
                Ok(message) => {
                    self.take(message);
                    // Whatever else waits shares the commit, up to a bound that keeps the tick on time.
                    for _ in 0..1_000 {
                        let Some(message) = self.inbox.try_recv() else {
                            break;
                        };
                        self.take(message);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if let Some(ahead_ms) = self.clock.look() {
                tracing::warn!(ahead_ms, "The wall clock was set; followed from now on.");
                self.give(Input::Clock(ahead_ms));
            }
            if self.clock.now() >= slot {
                slot = self.tick(slot);
            }
            self.commit();
            self.retain();
            self.imager
                .step(self.engine.view().series, self.clock.now());
        }
        if self.fenced {
            return;
        }
        self.write_snapshot();
        self.imager
            .finish(self.engine.view().series, self.clock.now());
        if let Some(reply) = self.stop.take() {
            let _ = reply.send(());
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Input(input) => {
                self.give(input);
            }
            // What already waits is tried again and again; more would only wait behind it, and be done late.
            Message::Command(_, reply)
                if !self.pending.is_empty() && self.status.events_refused.why().is_some() =>
            {
                drop(reply.send(Err(CommandFailure::NotDurable)));
            }
            Message::Samples(admitted, pos) => {
                let count = admitted.count();
                self.status
                    .queued_samples
                    .fetch_sub(admitted.weight(), Ordering::Relaxed);
                self.engine
                    .handle(self.clock.now(), Input::Samples(admitted));
                self.drain();
                self.imager.filed(pos, count);
            }
            Message::Command(command, reply) => match self.engine.check(&command) {
                Err(error) => drop(reply.send(Err(error.into()))),
                Ok(()) => {
                    self.give(Input::Command(command));
                    self.replies.push(reply);
                }
            },
            Message::Ask(ask) => ask(&self.engine),
            Message::Stop(reply) => self.stop = Some(reply),
        }
    }

    /// Hands the engine an input of now.
    fn give(&mut self, input: Input) {
        self.engine.handle(self.clock.now(), input);
        self.drain();
    }

    /// Judges the slot that is due; the next one. Missed slots are judged one by one, between other inputs, so that what
    /// they decide leaves at once; very many are skipped.
    fn tick(&mut self, slot: Timestamp) -> Timestamp {
        let now = self.clock.now();
        let (late, last) = (now.since(slot), now.aligned(self.tick));
        let missed = last.since(slot).ms() / self.tick.ms().max(1);
        let mut at = slot;
        if missed > CATCH_UP_SLOTS {
            let skipped = &self.status.skipped_total;
            skipped.fetch_add(missed, Ordering::Relaxed);
            self.give(Input::Skipped {
                from: slot,
                to: last - self.tick,
                why: format!("stalled for {}", late.human()),
            });
            at = last;
        }
        let started = std::time::Instant::now();
        self.engine.handle(at, Input::Tick);
        self.drain();
        let took = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let (status, series) = (&self.status, self.engine.view().series.len());
        status.ticks_total.fetch_add(1, Ordering::Relaxed);
        status.tick_at.store(at.ms(), Ordering::Relaxed);
        status.tick_micros.store(took, Ordering::Relaxed);
        status.series_count.store(series, Ordering::Relaxed);
        if late >= health::LATE_MIN {
            status.late_at.store(now.ms(), Ordering::Relaxed);
            status.late_ms.store(late.ms(), Ordering::Relaxed);
        }
        if let Some(report) = self.slots.judged(now, late) {
            self.give(report);
        }
        for report in self.places.gone(now, self.engine.view().state) {
            self.give(report);
        }
        at + self.tick
    }

    fn drain(&mut self) {
        while let Some(effect) = self.engine.next_effect() {
            match effect {
                Effect::Record(entry) => self.pending.extend(parts(entry)),
                Effect::Store(batch) => self.store(*batch),
                Effect::Page(..) | Effect::Start(_) | Effect::Adopt(_) => self.behind.push(effect),
            }
        }
    }

    /// Hands samples of our own to the sample log. Those that it has no room for are missing after a restart, no more.
    fn store(&mut self, batch: Batch) {
        let count = batch.items.len() as u64;
        if self
            .sampler
            .try_send(Submit { batch, reply: None })
            .is_err()
        {
            self.status
                .own_lost_total
                .fetch_add(count, Ordering::Relaxed);
            tracing::warn!("Recorded samples not stored: the sample log is behind.");
        }
    }

    /// Makes what is pending durable, then lets everything that waits for it go. A disk that refuses holds it back.
    fn commit(&mut self) {
        let mut written = None;
        if !self.pending.is_empty() {
            if let Err(error) = self.write() {
                if let StoreError::Conflict { tail } = error {
                    tracing::error!(%tail, "Another process writes the event log. This one stops: nothing leaves it any more.");
                    self.fenced = true;
                }
                let why = sampler::chain(&error);
                if self.status.events_refused.set(Some(why.clone())) {
                    tracing::error!(error = %why, "Event log not written; pages and heals wait.");
                }
                if let Some(report) = self.written.no(self.clock.now(), &why) {
                    self.give(report);
                }
                for reply in self.replies.drain(..) {
                    let _ = reply.send(Err(CommandFailure::NotDurable));
                }
                std::thread::sleep(Duration::from_ms(50).std());
                return;
            }
            if self.status.events_refused.set(None) {
                tracing::info!("Event log written again.");
            }
            written = self.written.yes();
        }
        for effect in self.behind.drain(..) {
            (self.carry)(effect);
        }
        for reply in self.replies.drain(..) {
            let _ = reply.send(Ok(()));
        }
        // Not before: what it decides is not durable yet.
        if let Some(report) = written {
            self.give(report);
        }
        if self.since_snapshot >= SNAPSHOT_ENTRIES {
            self.write_snapshot();
        }
    }

    /// Writes what is pending, where the log is expected to end. What became durable is no longer pending, whether or not
    /// the rest could be written too: beginning a new segment commits what comes before it.
    fn write(&mut self) -> Result<(), StoreError> {
        let mut positions = Vec::with_capacity(self.pending.len());
        let log = &mut self.log;
        let mut end = log.tail();
        let appended = self.pending.iter().try_for_each(|entry| {
            end = log.append_if(end, KIND_ENTRY, &json(entry))?;
            positions.push(end);
            Ok(())
        });
        let done = log.commit().and(appended);
        let durable = log.durable();
        positions.retain(|pos| *pos <= durable);
        self.since_snapshot += positions.len() as u64;
        for (pos, entry) in positions.iter().zip(self.pending.drain(..positions.len())) {
            say(&entry);
            self.durable.store(pos.number(), Ordering::Release);
            let _ = self.entries.send((*pos, Arc::new(entry)));
        }
        done
    }

    /// Lets entries go that are older than anybody asks for.
    fn retain(&mut self) {
        let now = self.clock.now();
        if now.since(self.retained_at) < RETAIN_EVERY {
            return;
        }
        self.retained_at = now;
        if self.since_snapshot > 0 {
            self.write_snapshot();
        }
        if self.since_snapshot == 0
            && let Err(error) = self.log.retain(Keep::Since(now - ENTRIES_KEPT))
        {
            tracing::warn!(error = %sampler::chain(&error), "Old entries not removed.");
        }
    }

    fn write_snapshot(&mut self) {
        // A snapshot must not know more than the log: what is not durable did not happen.
        if !self.pending.is_empty() {
            return;
        }
        let body = serde_json::to_vec(self.engine.view().state).unwrap_or_default();
        let covers: BTreeMap<String, Pos> = [("events".to_owned(), self.log.durable())]
            .into_iter()
            .collect();
        match snapshot::write(&self.snapshots, STATE_VERSION, &covers, &body) {
            Ok(_) => self.since_snapshot = 0,
            Err(error) => tracing::warn!(%error, "Snapshot not written; the log is kept."),
        }
    }
}

fn json(entry: &Entry) -> Vec<u8> {
    serde_json::to_vec(entry).unwrap_or_default()
}

/// An entry of so many events is short enough without looking.
const EVENTS_SHORT: usize = 32;

/// An entry in parts that each fit into a record of the log: nearly always one.
fn parts(entry: Entry) -> Vec<Entry> {
    // A page is bounded, and no other event is long.
    if entry.events.len() <= EVENTS_SHORT || json(&entry).len() <= RECORD_BYTES_MAX {
        return vec![entry];
    }
    let bytes = |event: &Event| serde_json::to_vec(event).map_or(0, |b| b.len() + 1);
    entry.parts(RECORD_BYTES_MAX, bytes)
}

/// Blind rules that are said in the log at once; the rest is counted.
const BLIND_SAID_MAX: usize = 20;

/// What is wrong with ourselves is said loudly in the log too: perhaps nobody can be paged about it.
fn say(entry: &Entry) {
    let mut blind = 0;
    for event in &entry.events {
        match event {
            Event::RuleBlind {
                rule,
                name,
                selector,
            } => {
                blind += 1;
                if blind <= BLIND_SAID_MAX {
                    tracing::warn!(rule = %rule.0, %name, %selector, "Rule is blind: nothing fits a selector of it for 10 minutes.");
                }
            }
            Event::RuleSees { rule } => {
                tracing::info!(rule = %rule.0, "Rule is no longer blind, or is gone.");
            }
            Event::OwnBegan { what, about, text } => {
                tracing::error!(what = what.name(), %about, "{text}");
            }
            Event::OwnEnded { what, about } => {
                tracing::info!(what = what.name(), %about, "No longer.");
            }
            Event::IncidentOpened { id, rule, about }
                if Own::of(rule).is_some() && about.notify.is_empty() =>
            {
                tracing::error!(incident = id, what = %about.name, "Nobody is told: there is no default receiver (`route.receiver` in ops.yaml).");
            }
            _ => {}
        }
    }
    if blind > BLIND_SAID_MAX {
        let more = blind - BLIND_SAID_MAX;
        tracing::warn!(more, "More rules are blind.");
    }
}

#[cfg(test)]
pub(crate) mod tests;
