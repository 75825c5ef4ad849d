//! The sample log's thread: door, log, disk, and only then the acknowledgement and the engine.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};

use tokio::sync::oneshot;

use crate::engine::Input;
use crate::engine::intake::{Admitted, Batch, Intake, Refusal};
use crate::journal::samples::{Encoder, Sample};
use crate::model::labels::SeriesKey;
use crate::model::time::{Duration, Timestamp};
use crate::shell::clock::Clock;
use crate::shell::drive::health::Written;
use crate::shell::drive::{KIND_SAMPLES, Message, PushFailure, Pushed, Status};
use crate::shell::store::StoreError;
use crate::shell::store::log::{Keep, SegLog};

/// Samples between the disk and the engine; beyond it, senders are told to slow down.
pub const QUEUED_SAMPLES_MAX: usize = 5_000_000;
/// Batches that wait for the disk; beyond it, senders are told to slow down.
pub const QUEUED_BATCHES_MAX: usize = 4_096;
/// Samples of one record.
const RECORD_SAMPLES_MAX: usize = 200_000;

/// A batch and whoever waits for it.
pub struct Submit {
    /// The batch.
    pub batch: Batch,
    /// The acknowledgement.
    pub reply: oneshot::Sender<Result<Pushed, PushFailure>>,
}

/// The sample log's thread.
pub struct Sampler {
    /// The door.
    pub intake: Intake,
    /// The log.
    pub log: SegLog,
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
}

type Waiting = (oneshot::Sender<Result<Pushed, PushFailure>>, Pushed);

impl Sampler {
    /// Runs until every sender is gone.
    pub fn run(mut self) {
        // Series numbered in a group that did not reach the disk: the engine hears of them with the next one.
        let mut new: Vec<SeriesKey> = Vec::new();
        let mut retained_at = Timestamp::default();
        while let Ok(first) = self.inbox.recv() {
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
                Ok(()) => self.acknowledge(group, waiting),
                Err(error) => {
                    let why = chain(&error);
                    if let Some(report) = self.written.no(now, &why) {
                        let _ = self.engine.send(Message::Input(report));
                    }
                    if self.status.samples_refused.set(Some(why.clone())) {
                        tracing::error!(error = %why, "Sample log not written; samples are refused.");
                    }
                    self.intake.forget(&group.ids);
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
        let refused = self
            .intake
            .admit(now, self.clock.ahead_ms(), &submit.batch, group);
        let accepted = submit.batch.items.len() - refused.len();
        self.status
            .repeated_total
            .fetch_add(self.intake.repeated_total - before, Ordering::Relaxed);
        for (_, why) in &refused {
            let slot = match why {
                Refusal::Late => 0,
                Refusal::Future => 1,
                Refusal::SeriesLimit => 2,
            };
            self.status.refused_total[slot].fetch_add(1, Ordering::Relaxed);
        }
        waiting.push((submit.reply, Pushed { accepted, refused }));
    }

    fn write(&mut self, group: &Admitted) -> Result<(), StoreError> {
        if group.samples.is_empty() {
            return Ok(());
        }
        let samples: Vec<Sample> = group
            .samples
            .iter()
            .map(|s| Sample {
                series: s.series,
                ts: s.ts.ms(),
                value: s.value,
            })
            .collect();
        let mut payload = Vec::new();
        let segment = self
            .log
            .reserve(64 + group.ids.len() * 16 + samples.len() * 24)?;
        let intake = &self.intake;
        self.encoder.encode(
            segment,
            group.at,
            &group.ids,
            &samples,
            |n| intake.key(n).map_or(&[][..], SeriesKey::bytes),
            &mut payload,
        );
        self.log.append(KIND_SAMPLES, &payload)?;
        self.log.commit()?;
        Ok(())
    }

    fn acknowledge(&mut self, group: Admitted, waiting: Vec<Waiting>) {
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
        let _ = self.engine.send(Message::Input(Input::Samples(group)));
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
