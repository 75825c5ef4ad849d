//! The sample log's thread: door, log, disk, and only then the acknowledgement and the engine.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};

use tokio::sync::oneshot;

use crate::engine::intake::{Admitted, Batch, Intake};
use crate::engine::series::Sample as Filed;
use crate::journal::samples::{Encoder, Sample};
use crate::model::labels::SeriesKey;
use crate::model::time::{Duration, Timestamp};
use crate::shell::clock::Clock;
use crate::shell::drive::health::Written;
use crate::shell::drive::{KIND_OWN_SAMPLES, KIND_SAMPLES, Message, PushFailure, Pushed, Status};
use crate::shell::store::log::Keep;
use crate::shell::store::{Log, Pos, StoreError};

/// Samples between the disk and the engine; beyond it, senders are told to slow down.
pub const QUEUED_SAMPLES_MAX: usize = 5_000_000;
/// Samples that wait for the disk; beyond it, senders are told to slow down. A sample takes about 100 bytes there.
pub const WAITING_SAMPLES_MAX: usize = 2_000_000;
/// Batches that wait for the disk; beyond it, senders are told to slow down.
pub const QUEUED_BATCHES_MAX: usize = 4_096;
/// Samples of one record.
const RECORD_SAMPLES_MAX: usize = 200_000;

/// A batch and whoever waits for it.
pub struct Submit {
    /// The batch.
    pub batch: Batch,
    /// The acknowledgement; `None`: the engine made these samples and has filed them.
    pub reply: Option<oneshot::Sender<Result<Pushed, PushFailure>>>,
}

/// The sample log's thread.
pub struct Sampler {
    /// The door.
    pub intake: Intake,
    /// The log.
    pub log: Box<dyn Log>,
    /// Its encoder.
    pub encoder: Encoder,
    /// Where batches come from.
    pub inbox: Receiver<Submit>,
    /// Where durable samples go.
    pub engine: Sender<Message>,
    /// The engine's clock.
    pub clock: Clock,
    /// Whether the log takes records, for the engine.
    pub written: Written,
    /// Counters.
    pub status: Arc<Status>,
    /// How long samples are kept.
    pub retention: Duration,
    /// Samples are acknowledged once the system has them, and synced this often; `None`: acknowledged once synced.
    pub sync_every: Option<Duration>,
}

type Waiting = (oneshot::Sender<Result<Pushed, PushFailure>>, Pushed);

impl Sampler {
    /// Runs until every sender is gone.
    pub fn run(mut self) {
        // Series numbered in a group that did not reach the disk: the engine hears of them with the next one.
        let mut new: Vec<SeriesKey> = Vec::new();
        let mut retained_at = Timestamp::default();
        let mut synced_at = self.clock.now();
        loop {
            let first = match self.sync_every {
                Some(every) if self.log.durable() < self.log.tail() => {
                    let wait = (synced_at + every).since(self.clock.now());
                    match self.inbox.recv_timeout(wait.std()) {
                        Ok(first) => first,
                        Err(RecvTimeoutError::Timeout) => {
                            self.sync();
                            synced_at = self.clock.now();
                            continue;
                        }
                        Err(RecvTimeoutError::Disconnected) => return self.sync(),
                    }
                }
                Some(_) | None => match self.inbox.recv() {
                    Ok(first) => first,
                    Err(_) => return,
                },
            };
            let now = self.clock.now();
            let mut group = Admitted {
                new: std::mem::take(&mut new),
                ..Admitted::default()
            };
            let mut waiting: Vec<Waiting> = Vec::new();
            let mut next = Some(first);
            while let Some(submit) = next {
                self.admit(now, submit, &mut group, &mut waiting);
                next = if group.samples.len() < RECORD_SAMPLES_MAX {
                    self.inbox.try_recv().ok()
                } else {
                    None
                };
            }
            match self.write(&group) {
                Ok(pos) => self.acknowledge(group, pos, waiting),
                Err(error) => {
                    let why = chain(&error);
                    self.failed(now, &why);
                    self.intake.forget(&group);
                    self.encoder.reset();
                    new = group.new;
                    for (reply, _) in waiting {
                        let _ = reply.send(Err(PushFailure::Unavailable(why.clone())));
                    }
                }
            }
            if now.since(retained_at) >= Duration::from_mins(1) {
                retained_at = now;
                if let Err(error) = self.log.retain(Keep::Since(now - self.retention)) {
                    tracing::warn!(%error, "Old samples not removed.");
                }
            }
        }
    }

    fn admit(
        &mut self,
        now: Timestamp,
        submit: Submit,
        group: &mut Admitted,
        waiting: &mut Vec<Waiting>,
    ) {
        let before = self.intake.repeated_total;
        let from = group.samples.len();
        // Samples of our own have the engine's time.
        let ahead_ms = match submit.reply {
            Some(_) => self.clock.ahead_ms(),
            None => 0,
        };
        let refused = self.intake.admit(now, ahead_ms, &submit.batch, group);
        let accepted = submit.batch.items.len() - refused.len();
        self.status
            .repeated_total
            .fetch_add(self.intake.repeated_total - before, Ordering::Relaxed);
        for (_, why) in &refused {
            self.status.refused_total[why.place()].fetch_add(1, Ordering::Relaxed);
        }
        match submit.reply {
            Some(reply) => {
                self.status
                    .waiting_samples
                    .fetch_sub(submit.batch.items.len(), Ordering::Relaxed);
                waiting.push((reply, Pushed { accepted, refused }));
            }
            None => group.own.extend(group.samples.drain(from..)),
        }
    }

    fn write(&mut self, group: &Admitted) -> Result<Pos, StoreError> {
        let parts = [
            (KIND_SAMPLES, &group.samples, &group.ids[..]),
            (KIND_OWN_SAMPLES, &group.own, &[]),
        ];
        for (kind, samples, ids) in parts.into_iter().filter(|(_, s, _)| !s.is_empty()) {
            self.append(kind, group.at, samples, ids)?;
        }
        if group.samples.is_empty() && group.own.is_empty() {
            return Ok(self.log.tail());
        }
        match self.sync_every {
            None => self.log.commit(),
            Some(_) => self.log.write(),
        }
    }

    fn append(
        &mut self,
        kind: u8,
        at: Timestamp,
        samples: &[Filed],
        ids: &[u128],
    ) -> Result<(), StoreError> {
        let samples: Vec<Sample> = samples
            .iter()
            .map(|s| Sample {
                series: s.series,
                ts: s.ts.ms(),
                value: s.value,
            })
            .collect();
        let mut payload = Vec::new();
        let segment = self.log.reserve(64 + ids.len() * 16 + samples.len() * 24)?;
        let intake = &self.intake;
        self.encoder.encode(
            segment,
            at,
            ids,
            &samples,
            |n| intake.key(n).map_or(&[][..], SeriesKey::bytes),
            &mut payload,
        );
        self.log.append(kind, &payload).map(|_| ())
    }

    /// Syncs what was acknowledged already.
    fn sync(&mut self) {
        if let Err(error) = self.log.commit() {
            self.failed(self.clock.now(), &chain(&error));
        }
    }

    fn failed(&mut self, now: Timestamp, why: &str) {
        if let Some(report) = self.written.no(now, why) {
            let _ = self.engine.send(Message::Input(report));
        }
        if self.status.samples_refused.set(Some(why.to_owned())) {
            tracing::error!(error = %why, "Sample log not written; samples are refused.");
        }
    }

    fn acknowledge(&mut self, group: Admitted, pos: Pos, waiting: Vec<Waiting>) {
        // A group of which nothing was taken says nothing about the disk.
        if !group.samples.is_empty() {
            if self.status.samples_refused.set(None) {
                tracing::info!("Sample log written again.");
            }
            if let Some(report) = self.written.yes() {
                let _ = self.engine.send(Message::Input(report));
            }
        }
        let count = group.samples.len();
        self.status
            .samples_total
            .fetch_add(count as u64, Ordering::Relaxed);
        self.status
            .queued_samples
            .fetch_add(count, Ordering::Relaxed);
        let _ = self.engine.send(Message::Samples(group, pos));
        for (reply, pushed) in waiting {
            let _ = reply.send(Ok(pushed));
        }
    }
}

/// An error with everything that caused it: "write X: No space left on device".
pub(super) fn chain(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(e) = cause {
        text = format!("{text}: {e}");
        cause = e.source();
    }
    text
}
