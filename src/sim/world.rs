//! The virtual world: it drives [`Engine`] as the shell does, with two logs, and can lose everything but those logs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::engine::command::Command;
use crate::engine::event::{Entry, Event, Run};
use crate::engine::intake::{Admitted, Batch, Intake};
use crate::engine::pace::Pace;
use crate::engine::policy::Policy;
use crate::engine::series::{Sample, SeriesCopy};
use crate::engine::transcript;
use crate::engine::{Effect, Engine, Input};
use crate::model::labels::SeriesKey;
use crate::model::page::{Page, Verdict};
use crate::model::time::{Duration, Timestamp};
use crate::sim::outside::{Receiver, RunFact, Script};

/// A series that is pushed at intervals.
#[derive(Clone, Debug)]
struct Feed {
    push: Push,
    until: Timestamp,
    next: Timestamp,
}

/// What is pushed, how often and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Push {
    /// The value.
    pub value: f64,
    /// The interval.
    pub every: Duration,
    /// The time from the first to the last.
    pub lasts: Duration,
    /// How far the sender's clock is ahead; behind, if negative.
    pub ahead_ms: i64,
}

/// What comes by itself, later.
#[derive(Clone, Debug)]
pub(super) enum Due {
    Verdict(String, u32, Verdict),
    Ended(String),
    Set(String, f64),
}

/// One record of the sample log.
#[derive(Clone, Debug)]
struct SampleRecord {
    at: Timestamp,
    new: Vec<SeriesKey>,
    samples: Vec<Sample>,
    own: Vec<Sample>,
}

/// Records between two images of the windows; an image is taken in two slices, a record apart.
const IMAGE_RECORDS: usize = 16;

/// A series as an image has it, and how many records of the sample log that knows of.
#[derive(Clone, Debug)]
struct Imaged {
    covers: usize,
    copy: SeriesCopy,
}

/// What a restart does to deliveries under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// Their verdicts still arrive when they would have: a restart that takes no time.
    Gentle,
    /// Their verdicts are lost; the receiver may have accepted.
    Hard,
}

/// The world.
pub struct World {
    /// The time, by a clock that nobody sets.
    pub now: Timestamp,
    /// How far the wall clock of the engine's machine is ahead of it.
    pub wall_ahead_ms: i64,
    /// The engine's time. It outlives the engine: what a restart makes of it is tested where it is made.
    pace: Pace,
    /// Receivers by name; others accept after 100 ms.
    pub receivers: BTreeMap<String, Receiver>,
    /// Scripts by path; others exit 127 at once.
    pub scripts: BTreeMap<String, Script>,
    /// Pages in the order in which receivers accepted them, each key once.
    pub accepted: Vec<Page>,
    /// Deliveries of a key that its receiver had.
    pub duplicates: u64,
    /// Runs that were started.
    pub started: Vec<Run>,
    /// What should never be, as it was seen.
    pub faults: Vec<String>,
    /// One line for each event.
    pub transcript: Vec<String>,
    /// Whether the transcript is written.
    pub talks: bool,
    /// The event log: one JSON object for each entry.
    pub log: Vec<String>,
    /// The same, as it was before it was written.
    pub entries: Vec<Entry>,
    /// How deliveries and scripts under way meet a restart.
    pub crash: Crash,
    tick: Duration,
    next_tick: Timestamp,
    intake: Intake,
    engine: Engine,
    policy: Arc<Policy>,
    samples: Vec<SampleRecord>,
    /// The last whole image, and the one being taken.
    image: [Vec<Imaged>; 2],
    feeds: BTreeMap<Vec<u8>, Feed>,
    pub(super) due: BTreeMap<(Timestamp, u64), Due>,
    pub(super) sequence: u64,
    pub(super) keys: BTreeSet<String>,
    pub(super) facts: BTreeMap<String, RunFact>,
}

impl World {
    /// A world at time 0 with these rules, judged every `tick`.
    pub fn new(policy: Arc<Policy>, tick: Duration) -> Self {
        let mut world = Self {
            now: Timestamp::default(),
            wall_ahead_ms: 0,
            pace: Pace::start(
                Duration::ZERO,
                Timestamp::default(),
                0,
                Timestamp::default(),
            ),
            receivers: BTreeMap::new(),
            scripts: BTreeMap::new(),
            accepted: Vec::new(),
            duplicates: 0,
            started: Vec::new(),
            faults: Vec::new(),
            transcript: Vec::new(),
            talks: true,
            log: Vec::new(),
            entries: Vec::new(),
            crash: Crash::Hard,
            tick,
            next_tick: Timestamp::default() + tick,
            intake: Intake::default(),
            engine: Engine::default(),
            policy: policy.clone(),
            samples: Vec::new(),
            image: Default::default(),
            feeds: BTreeMap::new(),
            due: BTreeMap::new(),
            sequence: 0,
            keys: BTreeSet::new(),
            facts: BTreeMap::new(),
        };
        world.engine.ticks_every(tick);
        world.give(Input::Policy(policy));
        world
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Other rules.
    pub fn reload(&mut self, policy: Arc<Policy>) {
        self.policy = policy.clone();
        self.give(Input::Policy(policy));
    }

    /// The same rules once more.
    pub fn reload_same(&mut self) {
        self.give(Input::Policy(self.policy.clone()));
    }

    /// What someone asks for; refused requests are faults.
    pub fn command(&mut self, command: Command) {
        if let Err(error) = self.engine.check(&command) {
            self.faults.push(format!("a request was refused: {error}"));
        }
        self.give(Input::Command(command));
    }

    /// Pushes a series now and then at intervals; an earlier feed of the same series ends.
    pub fn feed(&mut self, series: &SeriesKey, push: Push) {
        let feed = Feed {
            push,
            until: self.now + push.lasts,
            next: self.now,
        };
        self.feeds.insert(series.bytes().to_vec(), feed);
    }

    /// Lives until `end`, that instant included.
    pub fn run_until(&mut self, end: Timestamp) {
        while let Some(at) = self.next_at().filter(|at| *at <= end) {
            self.step(at);
        }
        self.now = self.now.max(end);
    }

    /// When something happens next: a push, a verdict, the end of a script, a tick.
    pub fn next_at(&self) -> Option<Timestamp> {
        let feed = self.feeds.values().map(|f| f.next).min();
        let due = self.due.keys().next().map(|(t, _)| *t);
        [feed, due, Some(self.next_tick)]
            .into_iter()
            .flatten()
            .min()
    }

    fn mono(&self) -> Duration {
        self.now.since(Timestamp::default())
    }

    /// The engine's time.
    pub fn engine_now(&self) -> Timestamp {
        self.pace.now(self.mono())
    }

    /// Whether a delivery is under way that will not be accepted: after a restart nobody can know.
    pub fn in_doubt(&self) -> bool {
        self.due
            .values()
            .any(|d| matches!(d, Due::Verdict(_, _, v) if *v != Verdict::Done))
    }

    /// One happening.
    pub fn step(&mut self, at: Timestamp) {
        self.now = self.now.max(at);
        if self.push_feeds() {
            return;
        }
        if let Some(first) = self.due.first_entry().filter(|e| e.key().0 <= self.now) {
            let due = first.remove();
            return self.come(due);
        }
        if self.next_tick <= self.now {
            self.next_tick = self.now + self.tick;
            let wall = self.now.shifted(self.wall_ahead_ms);
            if let Some(ahead_ms) = self.pace.read(self.mono(), wall) {
                self.give(Input::Clock(ahead_ms));
            }
            self.give(Input::Tick);
        }
    }

    fn push_feeds(&mut self) -> bool {
        let mut batch = Batch::default();
        for (key, feed) in &mut self.feeds {
            if feed.next > self.now || feed.next > feed.until {
                continue;
            }
            feed.next = feed.next + feed.push.every;
            let ts = self.now.shifted(feed.push.ahead_ms);
            batch.push(key, ts, feed.push.value);
        }
        self.feeds.retain(|_, f| f.next <= f.until);
        if batch.items.is_empty() {
            return false;
        }
        let mut admitted = Admitted::default();
        let (now, ahead_ms) = (self.engine_now(), self.pace.ahead_ms(self.mono()));
        let refused = self.intake.admit(now, ahead_ms, &batch, &mut admitted);
        // Who is refused because a clock was set sends on; it is not what this world was made for otherwise.
        if !refused.is_empty() && (self.wall_ahead_ms, ahead_ms) == (0, 0) {
            self.faults.push(format!("samples refused: {refused:?}"));
        }
        self.samples.push(SampleRecord {
            at: admitted.at,
            new: admitted.new.clone(),
            samples: admitted.samples.clone(),
            own: Vec::new(),
        });
        self.give(Input::Samples(admitted));
        self.take_image();
        true
    }

    fn take_image(&mut self) {
        let covers = self.samples.len();
        let series = self.engine.view().series;
        let [whole, taking] = &mut self.image;
        let upto = match covers % IMAGE_RECORDS {
            0 => series.len() / 2,
            1 => series.len(),
            _ => return,
        };
        let copies = series.iter().take(upto).skip(taking.len());
        let slice = copies.map(|(_, s)| Imaged {
            covers,
            copy: s.copy(),
        });
        taking.extend(slice);
        if covers % IMAGE_RECORDS == 1 {
            *whole = std::mem::take(taking);
        }
    }

    fn come(&mut self, due: Due) {
        match due {
            Due::Verdict(key, attempt, verdict) => self.give(Input::Delivered {
                key,
                attempt,
                verdict,
            }),
            Due::Ended(run) => {
                let Some(fact) = self.facts.get(&run).cloned() else {
                    return;
                };
                self.give(Input::Ended {
                    run,
                    end: fact.end,
                    took: fact.took,
                    output: String::new(),
                });
            }
            Due::Set(metric, value) => {
                for (key, feed) in &mut self.feeds {
                    if SeriesKey::from_canonical(key).metric() == metric {
                        feed.push.value = value;
                    }
                }
            }
        }
    }

    /// Hands one input to the engine and carries out what it asks for.
    pub fn give(&mut self, input: Input) {
        self.engine.handle(self.engine_now(), input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(effect) = self.engine.next_effect() {
            match effect {
                Effect::Record(entry) => self.record(&entry),
                Effect::Page(page, attempt) => self.deliver(*page, attempt),
                Effect::Store(batch) => self.store(&batch),
                Effect::Start(run) => self.start(*run),
                Effect::Adopt(run) => self.adopt(*run),
            }
        }
    }

    fn store(&mut self, batch: &Batch) {
        let (now, mut admitted) = (self.engine_now(), Admitted::default());
        let refused = self.intake.admit(now, 0, batch, &mut admitted);
        if !refused.is_empty() {
            self.faults
                .push(format!("own samples refused: {refused:?}"));
        }
        self.samples.push(SampleRecord {
            at: admitted.at,
            new: admitted.new.clone(),
            samples: Vec::new(),
            own: admitted.samples.clone(),
        });
        admitted.own = std::mem::take(&mut admitted.samples);
        self.engine.handle(now, Input::Samples(admitted));
    }

    fn record(&mut self, entry: &Entry) {
        self.entries.push(entry.clone());
        for event in entry.events.iter().filter(|_| self.talks) {
            if let Some(words) = transcript::words(event, self.engine.view().state) {
                self.transcript
                    .push(format!("{}  {words}", entry.at.clock()));
            }
        }
        match serde_json::to_string(entry) {
            Ok(line) => self.log.push(line),
            Err(error) => self
                .faults
                .push(format!("an entry is not writable: {error}")),
        }
    }

    /// The sample log is gone: all of it was older than what is kept.
    pub fn lose_samples(&mut self) {
        self.samples.clear();
        self.image = Default::default();
    }

    /// Nobody runs for a while; senders drop what nobody takes.
    pub fn be_away(&mut self, lasts: Duration) {
        self.now = self.now + lasts;
        self.next_tick = self.now + self.tick;
        for feed in self.feeds.values_mut() {
            while feed.next <= self.now {
                feed.next = feed.next + feed.push.every;
            }
        }
    }

    /// Dies and comes back with nothing but the two logs. The state before must be the state after.
    pub fn restart(&mut self) {
        let before = serde_json::to_string(self.engine.view().state).unwrap_or_default();
        self.read_back();
        let after = serde_json::to_string(self.engine.view().state).unwrap_or_default();
        if before != after {
            self.faults.push(difference(&before, &after));
        }
        self.go_on();
    }

    /// A new engine reads both logs.
    fn read_back(&mut self) {
        self.engine = Engine::default();
        self.engine.ticks_every(self.tick);
        self.intake = Intake::default();
        if self.crash == Crash::Hard {
            self.due.retain(|_, d| matches!(d, Due::Set(..)));
        }
        self.refile();
        for line in &self.log {
            match serde_json::from_str::<Entry>(line) {
                Ok(entry) => self.engine.replay(&entry),
                Err(error) => self
                    .faults
                    .push(format!("an entry is not readable: {error}: {line}")),
            }
        }
    }

    fn go_on(&mut self) {
        self.engine
            .handle(self.engine_now(), Input::Policy(self.policy.clone()));
        self.engine.resume();
        self.drain();
    }

    /// Fills the windows of a new engine: from the last whole image, then from the records behind it.
    fn refile(&mut self) {
        let mut covers = Vec::new();
        let [whole, taking] = &mut self.image;
        taking.clear();
        for one in whole {
            let mut new = Vec::new();
            let number = self.intake.number(one.copy.key.bytes(), &mut new);
            self.engine
                .put_back(new, number.unwrap_or_default(), one.copy.clone());
            covers.push(one.covers);
        }
        for (at, record) in self.samples.iter().enumerate() {
            let mut new = Vec::new();
            for key in &record.new {
                let _ = self.intake.number(key.bytes(), &mut new);
            }
            let unknown = |s: &&Sample| {
                covers
                    .get(s.series as usize)
                    .is_none_or(|covers| at >= *covers)
            };
            self.engine.refile(Admitted {
                at: record.at,
                new,
                samples: record.samples.iter().filter(unknown).copied().collect(),
                own: record.own.clone(),
                of_own: record.own.iter().map(|s| s.series).collect(),
                ..Admitted::default()
            });
        }
    }

    /// A tick at once whose decisions were too many for one record; only the first records were durable.
    pub fn tick_and_tear(&mut self) {
        self.next_tick = self.now + self.tick;
        self.engine.handle(self.engine_now(), Input::Tick);
        while let Some(effect) = self.engine.next_effect() {
            if let Effect::Record(entry) = effect {
                let parts = entry.parts(10, |event| match event {
                    Event::PageHeld { .. } | Event::PageReleased { .. } => 0,
                    _ => 6,
                });
                for part in parts.iter().take(parts.len().div_ceil(2)) {
                    self.record(part);
                }
            }
        }
        self.read_back();
        self.go_on();
    }

    /// A tick at once whose record is durable, and none of whose effects leaves: the worst moment to die.
    pub fn tick_and_die(&mut self) {
        self.next_tick = self.now + self.tick;
        self.engine.handle(self.engine_now(), Input::Tick);
        while let Some(effect) = self.engine.next_effect() {
            if let Effect::Record(entry) = effect {
                self.record(&entry);
            }
        }
        self.restart();
    }
}

/// Where two states part.
fn difference(before: &str, after: &str) -> String {
    let same = before.bytes().zip(after.bytes());
    let at = same.take_while(|(a, b)| a == b).count();
    let part = |s: &str| {
        let bytes: Vec<u8> = s.bytes().skip(at.saturating_sub(100)).take(200).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    format!(
        "a restart changed the state\nbefore …{}…\nafter  …{}…",
        part(before),
        part(after)
    )
}
