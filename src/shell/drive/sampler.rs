//! The sample log's thread: door, log, disk, and only then the acknowledgement and the engine.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use crate::engine::intake::{Admitted, Batch, Intake, Refusal};
use crate::engine::limits::RECORD_BYTES_MAX;
use crate::engine::series::Sample as Filed;
use crate::engine::series::native::NativeSample;
use crate::journal::samples::{Encoder, Sample};
use crate::model::labels::SeriesKey;
use crate::model::time::{Duration, Timestamp};
use crate::shell::clock::Clock;
use crate::shell::drive::health::Written;
use crate::shell::drive::queue::Sender;
use crate::shell::drive::reply::{Outcome, Reply, tell_all};
use crate::shell::drive::{
    KIND_HISTOGRAMS, KIND_OWN_HISTOGRAMS, KIND_OWN_SAMPLES, KIND_SAMPLES, Message, PushFailure,
    Pushed, Status,
};
use crate::shell::store::log::Keep;
use crate::shell::store::{Log, Pos, StoreError};

/// Samples between the disk and the engine; beyond it, senders are told to slow down.
pub const QUEUED_SAMPLES_MAX: usize = 5_000_000;
/// Samples that wait for the disk; beyond it, senders are told to slow down. A sample takes about 100 bytes there.
pub const WAITING_SAMPLES_MAX: usize = 2_000_000;
/// Bytes of their batches, which long keys make large.
pub const WAITING_BYTES_MAX: usize = 100 * WAITING_SAMPLES_MAX;
/// Batches that wait for the disk; beyond it, senders are told to slow down.
pub const QUEUED_BATCHES_MAX: usize = 4_096;
/// Samples of one group: what is admitted before the disk is asked.
const GROUP_SAMPLES_MAX: usize = 200_000;
/// Samples of our own that wait for a log that takes no records: 24 MiB.
const OWN_CARRIED_MAX: usize = 1 << 20;
/// Bytes of our own native histograms that wait for it.
const OWN_NATIVES_CARRIED_MAX: usize = 64 << 20;
/// A sample in a record, without its series' key: three numbers of up to ten bytes, and the value.
const SAMPLE_BYTES_MAX: usize = 40;
/// A delivery's id in a record.
const DELIVERY_BYTES: usize = 16;
/// What stands before the deliveries and the samples of a record.
const RECORD_HEAD_BYTES_MAX: usize = 64;

/// A batch and whoever waits for it.
pub struct Submit {
    /// The batch.
    pub batch: Batch,
    /// The acknowledgement; `None`: the engine made these samples and has filed them.
    pub reply: Option<Reply>,
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

/// Who waits, and what it is told if all goes well.
type Waiting = (Reply, Outcome);

impl Sampler {
    /// Runs until every sender is gone.
    pub fn run(mut self) {
        // Series numbered in a group that did not reach the disk: the engine hears of them with the next one.
        let mut new: Vec<SeriesKey> = Vec::new();
        // Samples of our own of such a group: the engine has them, and nobody sends them again.
        let mut own: Vec<Filed> = Vec::new();
        let mut own_natives: Vec<NativeSample> = Vec::new();
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
            // Where both cores are busy, those who are about to send get to it first: groups become larger, and a sync
            // costs more than what waits. Where a core is free, this returns at once.
            std::thread::yield_now();
            let now = self.clock.now();
            let mut group = Admitted {
                new: std::mem::take(&mut new),
                own: std::mem::take(&mut own),
                own_natives: std::mem::take(&mut own_natives),
                ..Admitted::default()
            };
            let mut waiting: Vec<Waiting> = Vec::new();
            let mut next = Some(first);
            while let Some(submit) = next {
                self.admit(now, submit, &mut group, &mut waiting);
                next = if group.weight() < GROUP_SAMPLES_MAX {
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
                    own = self.carry(group.own);
                    own_natives = self.carry_natives(group.own_natives);
                    let no = |(reply, _)| (reply, Err(PushFailure::Unavailable(why.clone())));
                    tell_all(waiting.into_iter().map(no).collect());
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

    /// Samples of our own that are to be written with the next group; the oldest are lost if they become too many.
    fn carry(&self, mut own: Vec<Filed>) -> Vec<Filed> {
        let lost = own.len().saturating_sub(OWN_CARRIED_MAX);
        own.drain(..lost);
        self.lost(lost);
        own
    }

    /// The same for native histograms.
    fn carry_natives(&self, mut own: Vec<NativeSample>) -> Vec<NativeSample> {
        let mut bytes = 0;
        let newest = own.iter().rev().take_while(|n| {
            bytes += n.histogram.bytes();
            bytes <= OWN_NATIVES_CARRIED_MAX
        });
        let lost = own.len() - newest.count();
        own.drain(..lost);
        self.lost(lost);
        own
    }

    fn lost(&self, count: usize) {
        let lost = &self.status.own_lost_total;
        lost.fetch_add(count as u64, Ordering::Relaxed);
    }

    fn admit(
        &mut self,
        now: Timestamp,
        submit: Submit,
        group: &mut Admitted,
        waiting: &mut Vec<Waiting>,
    ) {
        let before = self.intake.repeated_total;
        let (from, natives_from) = (group.samples.len(), group.natives.len());
        // Samples of our own have the engine's time.
        let ahead_ms = match submit.reply {
            Some(_) => {
                let known = submit.batch.ahead_ms;
                known.unwrap_or_else(|| self.clock.ahead_ms())
            }
            None => 0,
        };
        let refused = self.intake.admit(now, ahead_ms, &submit.batch, group);
        let accepted = submit.batch.items.len() - refused.len();
        let natives = natives(&submit.batch, &refused);
        self.status
            .repeated_total
            .fetch_add(self.intake.repeated_total - before, Ordering::Relaxed);
        for (_, why) in &refused {
            self.status.refused_total[why.place()].fetch_add(1, Ordering::Relaxed);
        }
        match submit.reply {
            Some(reply) => {
                let weight = [submit.batch.items.len(), submit.batch.bytes()];
                self.status.wait_no_more(weight);
                let named = self.intake.name(&submit.batch, &refused);
                let pushed = Pushed {
                    accepted,
                    natives,
                    refused,
                    named,
                };
                waiting.push((reply, Ok(pushed)));
            }
            None => {
                group.own.extend(group.samples.drain(from..));
                let natives = group.natives.drain(natives_from..);
                group.own_natives.extend(natives);
            }
        }
    }

    /// Writes a group, nearly always as one record. Each record names the deliveries of its own samples: if only the first
    /// ones outlive a crash, what is sent again is taken for what it is.
    fn write(&mut self, group: &Admitted) -> Result<Pos, StoreError> {
        let key = |series| self.intake.key(series).map_or(&[][..], SeriesKey::bytes);
        if group.is_empty() {
            return Ok(self.log.tail());
        }
        // All in one segment: a new one would make the first records durable whatever becomes of the others. In a new one
        // every series is defined again, and there is more to write.
        let mut segment = self.log.reserve(0)?;
        let (natives, numbers) = loop {
            let named = |series| match self.encoder.knows(series, segment) {
                true => 0,
                false => key(series).len(),
            };
            let of_native = |n: &NativeSample| named(n.series) + n.histogram.bytes();
            let of_number = |s: &Filed| named(s.series);
            let mut natives = parts(
                KIND_HISTOGRAMS,
                &group.natives,
                &group.native_ids,
                of_native,
            );
            natives.extend(parts(
                KIND_OWN_HISTOGRAMS,
                &group.own_natives,
                &[],
                of_native,
            ));
            let mut numbers = parts(KIND_SAMPLES, &group.samples, &group.ids, of_number);
            numbers.extend(parts(KIND_OWN_SAMPLES, &group.own, &[], of_number));
            let bytes = natives.iter().map(|part| part.bytes).sum::<usize>()
                + numbers.iter().map(|part| part.bytes).sum::<usize>();
            let reserved = self.log.reserve(bytes)?;
            if reserved == segment {
                break (natives, numbers);
            }
            segment = reserved;
        };
        for part in natives {
            let samples = part.samples.iter();
            let samples = samples.map(|n| (n.series, n.ts.ms(), &*n.histogram));
            let ids: Vec<u128> = part.ids.iter().map(|(_, id)| *id).collect();
            let mut payload = Vec::new();
            self.encoder
                .encode_histograms(segment, group.at, &ids, samples, key, &mut payload);
            self.log.append(part.kind, &payload)?;
        }
        for part in numbers {
            let samples: Vec<Sample> = part.samples.iter().map(stored).collect();
            let ids: Vec<u128> = part.ids.iter().map(|(_, id)| *id).collect();
            let mut payload = Vec::new();
            self.encoder
                .encode(segment, group.at, &ids, &samples, key, &mut payload);
            self.log.append(part.kind, &payload)?;
        }
        match self.sync_every {
            None => self.log.commit(),
            Some(_) => self.log.write(),
        }
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
        if group.count() > 0 {
            if self.status.samples_refused.set(None) {
                tracing::info!("Sample log written again.");
            }
            if let Some(report) = self.written.yes() {
                let _ = self.engine.send(Message::Input(report));
            }
        }
        let (count, weight) = (group.count(), group.weight());
        self.status
            .samples_total
            .fetch_add(count as u64, Ordering::Relaxed);
        self.status
            .queued_samples
            .fetch_add(weight, Ordering::Relaxed);
        // No tick is late for them: the engine wakes for its ticks by itself, and takes them before whatever is asked.
        let _ = self
            .engine
            .send_waiting(Message::Samples(group, pos), weight);
        tell_all(waiting);
    }
}

/// How many native histograms of a batch were not refused; both lists ascend.
fn natives(batch: &Batch, refused: &[(u32, Refusal)]) -> usize {
    let (mut refused, mut count) = (refused.iter().peekable(), 0);
    for (place, _) in &batch.natives {
        let index = batch.items[*place as usize].index;
        while refused.next_if(|(at, _)| *at < index).is_some() {}
        count += usize::from(refused.peek().is_none_or(|(at, _)| *at != index));
    }
    count
}

/// Samples of one record, and the ids of the deliveries that they came in.
struct Part<'a, S> {
    kind: u8,
    samples: &'a [S],
    ids: &'a [(usize, u128)],
    /// At most as long as its record.
    bytes: usize,
}

/// Samples in parts that each fit into a record of the log: nearly always one. `own_bytes`
/// says what it takes to name a sample's series, and what its histogram takes.
fn parts<'a, S>(
    kind: u8,
    samples: &'a [S],
    ids: &'a [(usize, u128)],
    own_bytes: impl Fn(&S) -> usize,
) -> Vec<Part<'a, S>> {
    let (mut parts, mut ids_left) = (Vec::new(), ids);
    let (mut from, mut bytes) = (0, 0);
    let mut cut = |from: usize, to: usize, bytes: usize| {
        let last = to == samples.len();
        let own = ids_left.partition_point(|(place, _)| last || *place < to);
        let (own, rest) = ids_left.split_at(own);
        ids_left = rest;
        parts.push(Part {
            kind,
            samples: &samples[from..to],
            ids: own,
            bytes: bytes + own.len() * DELIVERY_BYTES + RECORD_HEAD_BYTES_MAX,
        });
    };
    for (place, sample) in samples.iter().enumerate() {
        let more = SAMPLE_BYTES_MAX + own_bytes(sample);
        if place > from && bytes + more > RECORD_BYTES_MAX {
            cut(from, place, bytes);
            (from, bytes) = (place, 0);
        }
        bytes += more;
    }
    if from < samples.len() {
        cut(from, samples.len(), bytes);
    }
    parts
}

fn stored(sample: &Filed) -> Sample {
    Sample {
        series: sample.series,
        ts: sample.ts.ms(),
        value: sample.value,
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use proptest::prelude::*;

    use super::*;
    use crate::engine::own::Own;
    use crate::journal::samples::{Keys, decode};
    use crate::shell::drive::queue::queue;
    use crate::shell::drive::reply::reply;
    use crate::shell::store::Record;
    use crate::shell::store::log::{Options, Retained, SegLog};
    use crate::shell::store::replay::ReplayReport;

    /// A log on a disk that is full for a while.
    struct Refusing {
        log: SegLog,
        refuses: Arc<AtomicBool>,
    }

    impl Log for Refusing {
        fn tail(&self) -> Pos {
            self.log.tail()
        }
        fn durable(&self) -> Pos {
            self.log.durable()
        }
        fn reserve(&mut self, bytes: usize) -> Result<u32, StoreError> {
            if self.refuses.load(Ordering::Relaxed) {
                return Err(StoreError::Io {
                    deed: "write",
                    path: "samples".into(),
                    source: std::io::ErrorKind::StorageFull.into(),
                });
            }
            self.log.reserve(bytes)
        }
        fn append(&mut self, kind: u8, payload: &[u8]) -> Result<Pos, StoreError> {
            self.log.append(kind, payload)
        }
        fn append_if(&mut self, at: Pos, kind: u8, payload: &[u8]) -> Result<Pos, StoreError> {
            self.log.append_if(at, kind, payload)
        }
        fn commit(&mut self) -> Result<Pos, StoreError> {
            self.log.commit()
        }
        fn write(&mut self) -> Result<Pos, StoreError> {
            self.log.write()
        }
        fn replay(
            &self,
            from: Pos,
            each: &mut dyn FnMut(Record<'_>),
        ) -> Result<ReplayReport, StoreError> {
            self.log.replay(from, each)
        }
        fn retain(&mut self, keep: Keep) -> Result<Retained, StoreError> {
            self.log.retain(keep)
        }
    }

    #[test]
    fn what_we_record_ourselves_outlives_a_disk_that_was_full() {
        let dir = std::env::temp_dir().join(format!("ops-sampler-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let (log, _) = SegLog::open(&dir, Options::default()).unwrap();
        let refuses = Arc::new(AtomicBool::new(true));
        let (to_engine, mut engine) = queue();
        let (sender, inbox) = std::sync::mpsc::channel();
        let clock = Clock::start(0, Timestamp::default());
        let now = clock.now();
        let refusing = Refusing {
            log,
            refuses: refuses.clone(),
        };
        let sampler = sampler(Box::new(refusing), inbox, to_engine, clock);
        let thread = std::thread::spawn(move || sampler.run());
        let mut wait = |of: fn(&Message) -> bool| {
            // Samples do not wake anybody.
            let looks =
                (0..6_000).map(|_| engine.recv_timeout(std::time::Duration::from_millis(10)));
            assert!(
                looks.flatten().any(|m| of(&m)),
                "the sampler did not say so"
            );
        };
        let push = |value: f64| {
            let mut batch = Batch::default();
            batch.push(b"recorded", now, value);
            sender.send(Submit { batch, reply: None }).unwrap();
        };
        push(1.0);
        wait(|m| matches!(m, Message::Input(_)));
        refuses.store(false, Ordering::Relaxed);
        push(2.0);
        wait(|m| matches!(m, Message::Samples(group, _) if group.own.len() == 2));
        drop(sender);
        thread.join().unwrap();
        let (log, _) = SegLog::open(&dir, Options::default()).unwrap();
        let (mut keys, mut values) = (Keys::default(), Vec::new());
        log.replay(Pos::START.next(), &mut |record| {
            let read = decode(record.payload, record.segment_no, &mut keys, <[u8]>::to_vec);
            let samples = read.unwrap().samples;
            values.extend(samples.into_iter().map(|(key, _, value)| (key, value)));
        })
        .unwrap();
        let recorded = |value| (b"recorded".to_vec(), value);
        assert_eq!(values, [recorded(1.0), recorded(2.0)]);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    /// One that knows nothing yet.
    fn sampler(
        log: Box<dyn Log>,
        inbox: Receiver<Submit>,
        engine: Sender<Message>,
        clock: Clock,
    ) -> Sampler {
        Sampler {
            intake: Intake::default(),
            log,
            encoder: Encoder::new(1),
            inbox,
            engine,
            clock,
            written: Written::unknown(Own::SamplesRefused),
            status: Arc::default(),
            retention: Duration::from_hours(1),
            sync_every: None,
        }
    }

    #[test]
    fn what_is_taken_off_a_time_is_what_was_added_to_it() {
        let dir = std::env::temp_dir().join(format!("ops-sampler-ahead-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let (log, _) = SegLog::open(&dir, Options::default()).unwrap();
        let (to_engine, mut engine) = queue();
        let (sender, inbox) = std::sync::mpsc::channel();
        // An hour behind the wall clock, and catching up.
        let clock = Clock::start(3_600_000, Timestamp::default());
        let now = clock.now();
        let sampler = sampler(Box::new(log), inbox, to_engine, clock);
        let mut batch = Batch {
            exact: true,
            ahead_ms: Some(3_600_123),
            ..Batch::default()
        };
        batch.push(b"up", now.shifted(3_600_123), 1.0);
        let reply = Some(reply().0);
        sender.send(Submit { batch, reply }).unwrap();
        drop(sender);
        sampler.run();
        let mut said = std::iter::from_fn(|| engine.try_recv());
        let filed = said.find_map(|message| match message {
            Message::Samples(group, _) => Some(group.samples[0].ts),
            _ => None,
        });
        assert_eq!(filed, Some(now));
        std::fs::remove_dir_all(&dir).unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever the keys' lengths: nothing is lost, no record is too long, and an id is with its sample.
        #[test]
        fn a_group_is_cut_into_records_that_fit(
            keys in prop::collection::vec((0_usize..3 << 20, any::<bool>()), 0..12),
        ) {
            let samples: Vec<Filed> = (0..keys.len() as u32)
                .map(|series| Filed { series, ts: Timestamp::default(), value: 0.0 })
                .collect();
            let ids: Vec<(usize, u128)> = (0..keys.len())
                .filter(|i| keys[*i].1)
                .map(|i| (i, i as u128))
                .collect();
            let parts = parts(KIND_SAMPLES, &samples, &ids, |s| keys[s.series as usize].0);
            let mut next = 0;
            for part in &parts {
                let own = next..next + part.samples.len() as u32;
                prop_assert!(part.samples.iter().map(|s| s.series).eq(own.clone()));
                let expected = own.clone().filter(|i| keys[*i as usize].1);
                prop_assert!(part.ids.iter().map(|(_, id)| *id as u32).eq(expected));
                prop_assert!(part.bytes <= RECORD_BYTES_MAX + 1_024);
                next = own.end;
            }
            prop_assert_eq!(next as usize, samples.len());
        }

        /// Of the records of a group, in the order in which they are written, only the first may outlive a crash. A
        /// delivery that one of these names is there as a whole, of whichever kinds its samples are; and each is named.
        #[test]
        fn a_delivery_that_is_named_is_there_as_a_whole(
            deliveries in prop::collection::vec(
                (prop::collection::vec((0_usize..3 << 20, any::<bool>()), 0..5), any::<bool>()), 0..6),
        ) {
            let now = Timestamp::from_ms(3_600_000);
            let (mut door, mut group) = (Intake::default(), Admitted::default());
            let (mut sizes, mut of) = (Vec::new(), Vec::new());
            for (id, (samples, whole)) in (0..).zip(&deliveries) {
                let mut batch = Batch { id: whole.then_some(id), exact: true, ..Batch::default() };
                for (bytes, native) in samples {
                    let key = format!("m{}", sizes.len());
                    match native {
                        true => batch.push_native(key.as_bytes(), now, Arc::default()),
                        false => batch.push(key.as_bytes(), now, 0.0),
                    }
                    sizes.push(*bytes);
                    of.push(id);
                }
                prop_assert_eq!(door.admit(now, 0, &batch, &mut group), []);
            }
            let natives = parts(KIND_HISTOGRAMS, &group.natives, &group.native_ids, |n| sizes[n.series as usize]);
            let numbers = parts(KIND_SAMPLES, &group.samples, &group.ids, |s| sizes[s.series as usize]);
            let natives = natives.iter().map(|p| {
                (p.samples.iter().map(|n| n.series).collect::<Vec<u32>>(), p.ids, p.bytes)
            });
            let numbers = numbers.iter().map(|p| {
                (p.samples.iter().map(|s| s.series).collect::<Vec<u32>>(), p.ids, p.bytes)
            });
            let (mut there, mut named) = (Vec::new(), Vec::new());
            for (series, ids, bytes) in natives.chain(numbers) {
                prop_assert!(bytes <= RECORD_BYTES_MAX + 1_024);
                there.extend(series);
                named.extend(ids.iter().map(|(_, id)| *id));
                for id in &named {
                    let all = (0..).zip(&of).filter(|(_, o)| *o == id).map(|(series, _)| series);
                    for series in all {
                        prop_assert!(there.contains(&series), "{id} without {series}");
                    }
                }
            }
            prop_assert_eq!(there.len(), sizes.len());
            let wanted = (0..).zip(&deliveries).filter(|(_, (samples, whole))| *whole && !samples.is_empty());
            for (id, _) in wanted {
                prop_assert!(named.contains(&id), "{id}");
            }
        }
    }
}
