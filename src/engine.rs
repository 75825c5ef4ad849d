//! The only room that decides.
//!
//! How to drive it: give it one input with [`Engine::handle`], take effects with [`Engine::next_effect`] until there
//! are none, then wait for the next input or for [`Engine::wake_at`]. It reads no clock, file or chance: `now` comes
//! first. The first effect of an input, if it made anything happen, is [`Effect::Record`]; what follows it may leave
//! only after that record is durable.
//!
//! In the order in which a sample travels: [`intake`] lets it in, [`series`] files it, [`rule`] judges the window,
//! [`alert`] takes the edge, [`notify`] and [`heal`] decide what is told and tried; [`own`] has alerts about ourselves,
//! [`pace`] leads its time.
//! All decisions are [`event`]s, and [`state`] is their fold: after a restart the same fold gives the same state.

pub mod alert;
pub mod asked;
pub mod blind;
pub mod command;
pub mod echo;
pub mod event;
pub mod group;
pub mod heal;
pub mod intake;
pub mod limits;
pub mod notify;
pub mod own;
pub mod pace;
pub mod policy;
pub mod promql;
pub mod rule;
pub mod series;
pub mod state;
pub mod template;
pub mod transcript;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::engine::asked::Asked;
use crate::engine::command::Command;
use crate::engine::echo::Echo;
use crate::engine::event::{AlertKey, Entry, Event, Run, RunEnd};
use crate::engine::group::left::Abandoned;
use crate::engine::heal::verify::Judging;
use crate::engine::intake::{Admitted, Batch};
use crate::engine::limits::BROKEN_NAMED_MAX;
use crate::engine::own::Own;
use crate::engine::policy::{Policy, Rule};
use crate::engine::promql::Workspace;
use crate::engine::promql::settings::Settings;
use crate::engine::rule::Book;
use crate::engine::series::{SeriesCopy, SeriesSet};
use crate::engine::state::{Outgoing, State};
use crate::model::labels::SeriesKey;
use crate::model::page::{Page, Verdict};
use crate::model::time::{Duration, Timestamp};

/// What the world tells the engine.
#[derive(Debug)]
pub enum Input {
    /// Durable samples.
    Samples(Admitted),
    /// A slot: everything is judged.
    Tick,
    /// Another policy, checked.
    Policy(Arc<Policy>),
    /// What a person asks for.
    Command(Command),
    /// What came of an attempt to deliver a page.
    Delivered {
        /// The page.
        key: String,
        /// Which attempt.
        attempt: u32,
        /// What came of it.
        verdict: Verdict,
    },
    /// A script ended.
    Ended {
        /// The run.
        run: String,
        /// How.
        end: RunEnd,
        /// How long it took.
        took: Duration,
        /// The end of what it printed.
        output: String,
    },
    /// How it stands with ourselves.
    Own {
        /// What.
        what: Own,
        /// About what of its kind; empty where there is only one.
        about: String,
        /// In a sentence for people; `None`: it is not so, or no longer.
        is: Option<String>,
    },
    /// A step of the wall clock is believed from now on: so many milliseconds is it ahead.
    Clock(i64),
    /// Slots were missed.
    Skipped {
        /// The first.
        from: Timestamp,
        /// The last.
        to: Timestamp,
        /// Why.
        why: String,
    },
}

/// What the engine asks of the world.
#[must_use]
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Make this durable before anything that follows leaves.
    Record(Entry),
    /// Deliver a page, once; answer with [`Input::Delivered`].
    Page(Box<Page>, u32),
    /// Start a script; answer with [`Input::Ended`].
    Start(Box<Run>),
    /// Write samples of our own to the sample log: the engine has filed them. They come back in [`Admitted::own`].
    Store(Box<Batch>),
    /// After a restart: find out what became of a run; answer with [`Input::Ended`].
    Adopt(Box<Run>),
}

/// The engine.
pub struct Engine {
    now: Timestamp,
    /// The last trace of the engine before it was started.
    replayed: Timestamp,
    /// How often a tick comes.
    every: Duration,
    state: State,
    series: SeriesSet,
    policy: Option<Arc<Policy>>,
    book: Book,
    /// Series that groups recorded that are gone.
    abandoned: Vec<Abandoned>,
    /// Series that the engine made before it was started.
    recalled: BTreeSet<u32>,
    /// By the door's number of a series: ours. We also have series of our own.
    numbers: Vec<u32>,
    /// How expressions are evaluated, and room for it.
    settings: Settings,
    room: Workspace,
    /// What was worked out for runs that are being judged by an expression.
    judging: BTreeMap<String, Judging>,
    /// What templates asked in this tick.
    asked: RefCell<Asked>,
    /// Samples of our own that are to be stored.
    own: Batch,
    echo: Echo,
    /// When it was last looked whether samples come in at all.
    watched_at: Option<Timestamp>,
    /// Events of the input at hand.
    events: Vec<Event>,
    /// Effects that may leave once these events are durable.
    behind: Vec<Effect>,
    effects: VecDeque<Effect>,
    /// Pages that were tried before [`Engine::resume`]: they left already.
    left: Vec<String>,
    /// Pages that were under way when the engine stopped: what became of that attempt, nobody will ever say.
    doubtful: BTreeSet<String>,
    resumed: bool,
}

impl Default for Engine {
    fn default() -> Self {
        Self::new(State::default())
    }
}

impl Engine {
    /// An engine that goes on from a state; series and samples are filed with [`Engine::refile`].
    pub fn new(state: State) -> Self {
        Self {
            now: state.at,
            replayed: state.at,
            every: Duration::from_secs(1),
            state,
            series: SeriesSet::keep_all(),
            policy: None,
            book: Book::default(),
            abandoned: Vec::new(),
            recalled: BTreeSet::new(),
            numbers: Vec::new(),
            settings: promql::settings::Settings::default(),
            room: Workspace::default(),
            judging: BTreeMap::new(),
            asked: RefCell::default(),
            own: Batch::default(),
            echo: Echo::default(),
            watched_at: None,
            events: Vec::new(),
            behind: Vec::new(),
            effects: VecDeque::new(),
            left: Vec::new(),
            doubtful: BTreeSet::new(),
            resumed: false,
        }
    }
    /// Keeps samples for queries for this long, as far as there is room for them.
    pub fn keep_history(&mut self, keep: Duration) {
        self.series.history.keep(keep);
    }

    /// Says how often [`Input::Tick`] comes, at multiples of this; a second if it is not said.
    pub fn ticks_every(&mut self, tick: Duration) {
        self.every = tick;
    }

    /// What is true now.
    pub fn view(&self) -> View<'_> {
        View {
            now: self.now,
            state: &self.state,
            series: &self.series,
            book: &self.book,
            policy: self.policy.as_deref(),
        }
    }

    /// The next effect of the input that was handled last.
    pub fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When something is due although no input comes: the earliest page to be tried again.
    pub fn wake_at(&self) -> Option<Timestamp> {
        self.state
            .outbox
            .values()
            .filter(|o| !o.in_flight)
            .map(|o| o.next)
            .filter(|t| *t > self.now)
            .min()
    }

    /// During replay: an entry of the event log.
    pub fn replay(&mut self, entry: &Entry) {
        self.state.apply(entry);
        self.now = self.now.max(entry.at);
        self.replayed = self.now;
    }

    /// During replay: samples of the sample log.
    pub fn refile(&mut self, admitted: Admitted) {
        self.now = self.now.max(admitted.at);
        self.replayed = self.now;
        let of_own = admitted.of_own.clone();
        self.file(admitted);
        let numbers = of_own.iter().map(|n| self.numbers.get(*n as usize));
        self.recalled.extend(numbers.flatten());
    }

    /// During replay, before the samples behind it: a series from an image of the windows. `new` has its key if it is one.
    pub fn put_back(&mut self, new: Vec<SeriesKey>, number: u32, copy: SeriesCopy) {
        self.file(Admitted {
            new,
            ..Admitted::default()
        });
        if let Some(number) = self.numbers.get(number as usize) {
            self.series.put_back(*number, copy);
        }
    }

    /// After replay, once: takes up what was under way. Deliveries without a verdict are made again with the same key;
    /// claimed runs are looked for. What the first policy set going in the meantime has left already.
    pub fn resume(&mut self) {
        self.resumed = true;
        self.recall_alerts();
        self.recall_recorded();
        self.recall_evaluated();
        let left = std::mem::take(&mut self.left);
        let under_way = |o: &&Outgoing| o.in_flight && !left.contains(&o.page.key);
        for out in self.state.outbox.values().filter(under_way) {
            self.doubtful.insert(out.page.key.clone());
            self.effects
                .push_back(Effect::Page(Box::new(out.page.clone()), out.attempts));
        }
        for heal in self
            .state
            .heals
            .values()
            .filter(|h| h.ended.is_none() && h.closed.is_none())
        {
            self.effects
                .push_back(Effect::Adopt(Box::new(heal.run.clone())));
        }
    }

    /// Takes one input. `now` never goes back: an earlier one is taken for the last.
    pub fn handle(&mut self, now: Timestamp, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Samples(admitted) => self.file(admitted),
            Input::Tick => self.tick(now),
            Input::Policy(policy) => self.swap_policy(policy),
            Input::Command(command) => self.command(command),
            Input::Delivered {
                key,
                attempt,
                verdict,
            } => self.delivered(&key, attempt, verdict),
            Input::Ended {
                run,
                end,
                took,
                output,
            } => self.ended(&run, end, took, output),
            Input::Clock(ahead_ms) => self.emit(Event::ClockFollowed { ahead_ms }),
            Input::Own { what, about, is } => self.own(what, &about, is),
            Input::Skipped { from, to, why } => self.emit(Event::SlotsSkipped { from, to, why }),
        }
        if !self.events.is_empty() {
            let entry = Entry {
                at: self.now,
                events: std::mem::take(&mut self.events),
            };
            self.effects.push_back(Effect::Record(entry));
        }
        if !self.resumed {
            self.left.extend(self.behind.iter().filter_map(|e| match e {
                Effect::Page(page, _) => Some(page.key.clone()),
                Effect::Record(_) | Effect::Start(_) | Effect::Store(_) | Effect::Adopt(_) => None,
            }));
        }
        self.effects.extend(self.behind.drain(..));
        if !self.own.items.is_empty() {
            let own = std::mem::take(&mut self.own);
            self.effects.push_back(Effect::Store(Box::new(own)));
        }
    }

    fn tick(&mut self, slot: Timestamp) {
        self.series.settle(self.now);
        self.series.sweep(self.now);
        self.judge_rules();
        self.evaluate_groups();
        self.end_abandoned();
        self.judge_rule_files();
        self.look_for_blind(slot);
        self.echo_alerts();
        self.group_alerts();
        self.step_heals();
        self.end_silences();
        self.decide_pages();
        self.send_pages();
    }

    fn file(&mut self, admitted: Admitted) {
        self.meet_all(&admitted.new);
        for sample in &admitted.samples {
            if let Some(number) = self.numbers.get(sample.series as usize) {
                self.series
                    .file_one(*number, admitted.at, sample.ts, sample.value);
            }
        }
        for native in admitted.natives {
            if let Some(number) = self.numbers.get(native.series as usize) {
                self.series
                    .file_native(*number, admitted.at, native.ts, native.histogram);
            }
        }
        // They are filed already when they were stored, and in an image they may be although the log knows of them later.
        for native in admitted.own_natives {
            if let Some(number) = self.numbers.get(native.series as usize)
                && !self.series.has(*number, native.ts)
            {
                self.series
                    .file_native(*number, admitted.at, native.ts, native.histogram);
            }
        }
        for sample in &admitted.own {
            if let Some(number) = self.numbers.get(sample.series as usize)
                && !self.series.has(*number, sample.ts)
            {
                self.series
                    .file_one(*number, admitted.at, sample.ts, sample.value);
            }
        }
    }

    /// Series that the door has numbered on.
    fn meet_all(&mut self, new: &[SeriesKey]) {
        let mut book = std::mem::take(&mut self.book);
        for key in new {
            let (number, new) = self.series.number(key);
            self.numbers.push(number);
            if new {
                self.meet(&mut book, number);
            }
        }
        self.book = book;
    }

    /// Enters a new series with the rules.
    fn meet(&mut self, book: &mut Book, number: u32) {
        let alerts = &self.state.alerts;
        book.enter(&mut self.series, number, |rule, key| {
            alerts.contains_key(&AlertKey {
                rule: rule.id.clone(),
                series: key.to_string(),
            })
        });
    }

    /// Before replay, if the policy is known by then: only what its rules look back at is kept of refiled samples.
    /// Without it, all of them are kept until the first [`Input::Policy`].
    pub fn foresee(&mut self, policy: &Policy) {
        self.series.keep_all = false;
        self.book = Book::new(
            policy,
            &mut self.series,
            Vec::new(),
            |_, _| {},
            |_, _| false,
        );
    }

    fn swap_policy(&mut self, policy: Arc<Policy>) {
        self.series.keep_all = false;
        let alerts = &self.state.alerts;
        let groups = std::mem::take(&mut self.book.groups);
        let is_active = |rule: &Rule, key: &SeriesKey| {
            alerts.contains_key(&AlertKey {
                rule: rule.id.clone(),
                series: key.to_string(),
            })
        };
        let mut left = Vec::new();
        let leave = |series, interval| left.push((series, interval));
        self.book = Book::new(&policy, &mut self.series, groups, leave, is_active);
        for (series, interval) in left {
            self.abandon(series, interval);
        }
        let first = self.policy.is_none();
        let named = policy.broken.iter().take(BROKEN_NAMED_MAX);
        let known = self.state.broken.keys().eq(named.clone());
        if !first || !known {
            self.emit(Event::PolicyChanged {
                rules: policy.rule_count(),
                broken: named.cloned().collect(),
            });
        }
        self.policy = Some(policy);
        self.judging.clear();
        self.forget_blind();
        self.drop_removed_rules();
        let mut book = std::mem::take(&mut self.book);
        self.end_edited(&mut book);
        self.book = book;
        self.group_alerts();
        self.decide_pages();
        self.send_pages();
    }

    /// The one way in which anything is decided: it is applied and becomes part of the input's entry.
    fn emit(&mut self, event: Event) {
        self.state.apply_one(self.now, &event);
        self.events.push(event);
    }
}

/// What readers see: everything, and nothing that they could change.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The engine's time.
    pub now: Timestamp,
    /// Alerts, incidents, pages, silences, heals.
    pub state: &'a State,
    /// Series and their samples.
    pub series: &'a SeriesSet,
    /// Rules and what they judge.
    pub book: &'a Book,
    /// The policy in force.
    pub policy: Option<&'a Policy>,
}
