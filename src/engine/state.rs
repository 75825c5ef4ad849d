//! What is true now, as far as people are concerned: alerts, incidents, pages, silences, heals. It changes only by
//! [`State::apply`]: live and after a restart alike, so that a restart cannot change anything.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::engine::event::{About, AlertKey, Cause, Entry, Event, Outcome, Run, RunEnd, Silence};
use crate::engine::limits::{HEALS_CLOSED_MAX, INCIDENTS_CLOSED_MAX};
use crate::engine::own::Own;
use crate::engine::pace::left_ms;
use crate::engine::policy::RuleId;
use crate::model::labels::Labels;
use crate::model::page::{Page, PageKind, Verdict};
use crate::model::time::{Duration, Timestamp};

/// How far an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Phase {
    /// The condition holds, not yet long enough.
    Pending,
    /// It holds.
    Firing,
    /// It is false since then, but the rule keeps it firing for a while.
    Kept {
        /// Since when.
        since: Timestamp,
    },
}

/// An active alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// All its labels, `alertname` among them.
    pub labels: Labels,
    /// Rendered when it fired.
    pub annotations: Labels,
    /// How far it is.
    pub phase: Phase,
    /// When the condition became true.
    pub since: Timestamp,
    /// The value at the last edge.
    pub value: f64,
    /// Since when its series is missing.
    pub lost_since: Option<Timestamp>,
    /// Whether it is missing because it has ended: then it was heard until that time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
}

impl Alert {
    /// Whether people are concerned.
    pub fn is_firing(&self) -> bool {
        match self.phase {
            Phase::Pending => false,
            Phase::Firing | Phase::Kept { .. } => true,
        }
    }
}

/// What a person handles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Its number.
    pub id: u64,
    /// The rule whose alerts it gathers.
    pub rule: RuleId,
    /// What it keeps of the rule.
    pub about: About,
    /// When it opened.
    pub opened_at: Timestamp,
    /// When and why it closed.
    pub closed: Option<(Timestamp, Cause)>,
    /// Who has it.
    pub acked: Option<Acked>,
    /// The alerts that belonged to it, by series.
    pub alerts: BTreeMap<String, Member>,
    /// Receivers that accepted a page about it, with the time of the last.
    pub told: BTreeMap<String, Timestamp>,
    /// Receivers that accepted the closing message.
    #[serde(default)]
    pub told_end: BTreeSet<String>,
    /// When a page was last queued.
    pub paged_at: Option<Timestamp>,
    /// Why nobody is told at the moment.
    pub held: Option<String>,
    /// Whether the loss of its series was told.
    pub silence_told: bool,
    /// What is tried, by target.
    pub plans: BTreeMap<String, Plan>,
}

/// An alert of an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The alert as it was at its last edge.
    pub alert: Alert,
    /// When it was resolved.
    pub resolved_at: Option<Timestamp>,
    /// Why it was resolved.
    pub cause: Option<Cause>,
    /// Whether a page named it.
    pub told: bool,
}

/// An acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acked {
    /// Who.
    pub by: String,
    /// What they said.
    pub note: String,
    /// When.
    pub at: Timestamp,
}

/// How far the heal of one target is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Its number within the incident, from 0, in order of first sight: it goes into the ids of runs.
    pub number: usize,
    /// The next step, from 0.
    pub step: usize,
    /// Attempts of that step so far.
    pub attempts: u32,
    /// The run under way.
    pub run: Option<String>,
    /// Why nothing runs at the moment.
    pub held: Option<String>,
    /// How the last run ended.
    pub last: Option<Outcome>,
    /// Why nothing will run any more.
    pub exhausted: Option<String>,
}

/// A page on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outgoing {
    /// The page.
    pub page: Page,
    /// When it was queued.
    pub queued_at: Timestamp,
    /// Attempts so far.
    pub attempts: u32,
    /// Whether an attempt is under way: recorded, and not judged.
    pub in_flight: bool,
    /// Whether an attempt may have been accepted without our knowing.
    pub maybe_told: bool,
    /// When it is tried next.
    pub next: Timestamp,
    /// The last answer that was no acceptance.
    pub trouble: Option<String>,
    /// Whether the fallback receiver was told.
    pub fallback_told: bool,
}

/// A script run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heal {
    /// What was claimed.
    pub run: Run,
    /// When.
    pub claimed_at: Timestamp,
    /// When and how the script ended.
    pub ended: Option<Ended>,
    /// Since when the verify is true.
    pub good_since: Option<Timestamp>,
    /// When it was closed, and how.
    pub closed: Option<(Timestamp, Outcome)>,
    /// What the rule's `verify` said when it was closed, if it did not hold.
    #[serde(default)]
    pub why: Option<String>,
}

/// How a script ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// How.
    pub end: RunEnd,
    /// How long it took.
    pub took: Duration,
    /// The end of what it printed.
    pub output: String,
}

/// The master switch of all heals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// Whether heals may start.
    pub on: bool,
    /// Who set it.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl Default for Switch {
    fn default() -> Self {
        Self {
            on: true,
            by: String::new(),
            reason: String::new(),
        }
    }
}

/// The fold of the event log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Time of the last entry.
    pub at: Timestamp,
    /// Active alerts.
    #[serde(with = "pairs")]
    pub alerts: BTreeMap<AlertKey, Alert>,
    /// Open and recently closed incidents.
    pub incidents: BTreeMap<u64, Incident>,
    /// The open incident of each rule.
    #[serde(with = "pairs")]
    pub open: BTreeMap<RuleId, u64>,
    /// Number of the last incident.
    pub incident_last: u64,
    /// Pages on their way, by key.
    pub outbox: BTreeMap<String, Outgoing>,
    /// How many pages were ever queued: it goes into their keys.
    pub pages: u64,
    /// When a page about each rule was last queued.
    #[serde(with = "pairs")]
    pub paged: BTreeMap<RuleId, Timestamp>,
    /// Silences that have not ended.
    pub silences: BTreeMap<u64, Silence>,
    /// Number of the last silence.
    pub silence_last: u64,
    /// Runs, open and recently closed, by id.
    pub heals: BTreeMap<String, Heal>,
    /// Ids of closed runs, oldest first.
    pub heals_closed: Vec<String>,
    /// Starts by group and target, within the longest limit.
    #[serde(with = "pairs")]
    pub starts: BTreeMap<(String, String), Vec<Timestamp>>,
    /// The master switch.
    pub switch: Switch,
    /// Files that are broken, and since when.
    pub broken: BTreeMap<String, Timestamp>,
    /// What is wrong with ourselves: what, about what, and since when.
    #[serde(with = "pairs", default)]
    pub own: BTreeMap<(Own, String), Ailing>,
    /// Since when samples come in.
    #[serde(default)]
    pub watching: Option<Timestamp>,
    /// Rules that see nothing.
    #[serde(with = "pairs", default)]
    pub blind: BTreeMap<RuleId, Blind>,
    /// When a step of the wall clock was last followed, and how far it was ahead then, in milliseconds.
    #[serde(default)]
    pub clock: Option<(Timestamp, i64)>,
}

/// Something that is wrong with ourselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ailing {
    /// Since when.
    pub since: Timestamp,
    /// In a sentence, as it was when it began.
    pub text: String,
}

/// A rule that sees nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blind {
    /// When that was said; it has been so for 10 minutes by then.
    pub since: Timestamp,
    /// The rule's name.
    pub name: String,
    /// The selector that nothing fits.
    pub selector: String,
}

/// JSON objects have text keys only; maps with other keys are written as lists of pairs.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        s.collect_seq(map)
    }

    pub fn deserialize<
        'de,
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    >(
        d: D,
    ) -> Result<BTreeMap<K, V>, D::Error> {
        Ok(Vec::<(K, V)>::deserialize(d)?.into_iter().collect())
    }
}

impl State {
    /// Takes in what happened. The only way in which anything here changes.
    pub fn apply(&mut self, entry: &Entry) {
        for event in &entry.events {
            self.apply_one(entry.at, event);
        }
    }

    /// The open incident of a rule.
    pub fn open_incident(&self, rule: &RuleId) -> Option<&Incident> {
        self.incidents.get(self.open.get(rule)?)
    }

    /// What is wrong with ourselves in this way and not over: about what, and in a sentence. Places that someone has seen
    /// are over, although they are still known.
    pub fn own_alerts(&self, what: Own) -> impl Iterator<Item = (&str, &Ailing)> {
        let all = self.own.iter().filter(move |((w, _), _)| *w == what);
        all.filter(move |((_, about), _)| self.alerts.contains_key(&what.key(about)))
            .map(|((_, about), ailing)| (about.as_str(), ailing))
    }

    /// How far the wall clock is ahead of the engine's time at `now`, as far as steps of it were followed.
    pub fn clock_ahead_ms(&self, now: Timestamp) -> i64 {
        self.clock
            .map_or(0, |(then, ahead_ms)| left_ms(ahead_ms, then, now))
    }

    /// One event of an entry that is being made.
    pub fn apply_one(&mut self, at: Timestamp, event: &Event) {
        self.at = self.at.max(at);
        match event {
            Event::AlertBegan { key, labels, value } => {
                let alert = Alert {
                    labels: labels.clone(),
                    annotations: Labels::new(),
                    phase: Phase::Pending,
                    since: at,
                    value: *value,
                    lost_since: None,
                    ended: false,
                };
                self.alerts.insert(key.clone(), alert);
            }
            Event::AlertCalmed { key } => {
                self.alerts.remove(key);
            }
            Event::AlertFired {
                key,
                annotations,
                value,
            } => {
                if let Some(alert) = self.alerts.get_mut(key) {
                    (alert.phase, alert.annotations, alert.value) =
                        (Phase::Firing, annotations.clone(), *value);
                }
                self.join(key);
            }
            Event::AlertKept { key } => {
                self.set_alert(key, |a| a.phase = Phase::Kept { since: at })
            }
            Event::AlertAgain { key } => self.set_alert(key, |a| a.phase = Phase::Firing),
            Event::AlertLost { key, ended } => {
                self.set_alert(key, |a| (a.lost_since, a.ended) = (Some(at), *ended));
            }
            Event::AlertHeard { key } => {
                self.set_alert(key, |a| (a.lost_since, a.ended) = (None, false));
                // The next loss is news again.
                if let Some(id) = self.open.get(&key.rule).copied() {
                    self.set_incident(id, |i| {
                        i.silence_told &= i
                            .alerts
                            .values()
                            .any(|m| m.resolved_at.is_none() && m.alert.lost_since.is_some());
                    });
                }
            }
            Event::AlertResolved { key, value, cause } => {
                if let Some(mut alert) = self.alerts.remove(key) {
                    alert.value = value.unwrap_or(alert.value);
                    if let Some(member) = self
                        .open
                        .get(&key.rule)
                        .and_then(|id| self.incidents.get_mut(id))
                        .and_then(|i| i.alerts.get_mut(&key.series))
                    {
                        (member.alert, member.resolved_at, member.cause) =
                            (alert, Some(at), Some(*cause));
                    }
                }
            }
            Event::IncidentOpened { id, rule, about } => self.open_one(at, *id, rule, about),
            Event::IncidentClosed { id, cause } => self.close_one(at, *id, *cause),
            Event::IncidentAcked { id, by, note } => {
                if let Some(i) = self.incidents.get_mut(id) {
                    i.acked = Some(Acked {
                        by: by.clone(),
                        note: note.clone(),
                        at,
                    });
                }
            }
            Event::PageHeld { incident, why } => {
                self.set_incident(*incident, |i| i.held = Some(why.clone()))
            }
            Event::PageReleased { incident } => self.set_incident(*incident, |i| i.held = None),
            Event::PageQueued { .. }
            | Event::PageTried { .. }
            | Event::PageJudged { .. }
            | Event::PageDropped { .. } => self.apply_page(at, event),
            Event::Silenced { silence } => {
                self.silence_last = self.silence_last.max(silence.id);
                self.silences.insert(silence.id, silence.clone());
            }
            Event::SilenceEnded { id, by: _ } => {
                self.silences.remove(id);
            }
            Event::HealClaimed { .. }
            | Event::HealExited { .. }
            | Event::HealVerifying { .. }
            | Event::HealClosed { .. } => self.apply_heal(at, event),
            Event::HealHeld {
                incident,
                target,
                why,
            } => self.set_plan(*incident, target, |p| p.held = Some(why.clone())),
            Event::HealExhausted {
                incident,
                target,
                why,
            } => self.set_plan(*incident, target, |p| p.exhausted = Some(why.clone())),
            Event::HealSwitched { on, by, reason } => {
                self.switch = Switch {
                    on: *on,
                    by: by.clone(),
                    reason: reason.clone(),
                }
            }
            Event::PolicyChanged { broken, rules: _ } => {
                self.broken = broken
                    .iter()
                    .map(|f| (f.clone(), self.broken.get(f).copied().unwrap_or(at)))
                    .collect();
            }
            Event::SlotsSkipped { .. } => {}
            Event::Watching { since } => self.watching = *since,
            Event::RuleBlind {
                rule,
                name,
                selector,
            } => {
                let since = self.blind.get(rule).map_or(at, |b| b.since);
                let blind = Blind {
                    since,
                    name: name.clone(),
                    selector: selector.clone(),
                };
                self.blind.insert(rule.clone(), blind);
            }
            Event::RuleSees { rule } => {
                self.blind.remove(rule);
            }
            Event::ClockFollowed { ahead_ms } => self.clock = Some((at, *ahead_ms)),
            Event::OwnBegan { what, about, text } => {
                let ailing = Ailing {
                    since: at,
                    text: text.clone(),
                };
                self.own.insert((*what, about.clone()), ailing);
            }
            Event::OwnEnded { what, about } => {
                self.own.remove(&(*what, about.clone()));
            }
        }
    }

    fn set_alert(&mut self, key: &AlertKey, change: impl Fn(&mut Alert)) {
        if let Some(alert) = self.alerts.get_mut(key) {
            change(alert);
        }
        if let Some(member) = self
            .open
            .get(&key.rule)
            .and_then(|id| self.incidents.get_mut(id))
            .and_then(|i| i.alerts.get_mut(&key.series))
        {
            change(&mut member.alert);
        }
    }

    fn set_incident(&mut self, id: u64, change: impl FnOnce(&mut Incident)) {
        if let Some(incident) = self.incidents.get_mut(&id) {
            change(incident);
        }
    }

    fn set_plan(&mut self, incident: u64, target: &str, change: impl FnOnce(&mut Plan)) {
        self.set_incident(incident, |i| {
            let number = i.plans.len();
            change(i.plans.entry(target.to_owned()).or_insert_with(|| Plan {
                number,
                ..Plan::default()
            }))
        });
    }

    /// An alert that fires belongs to its rule's open incident.
    fn join(&mut self, key: &AlertKey) {
        let (Some(alert), Some(id)) = (self.alerts.get(key), self.open.get(&key.rule)) else {
            return;
        };
        if let Some(incident) = self.incidents.get_mut(id) {
            let told = incident
                .alerts
                .get(&key.series)
                .is_some_and(|m| m.told && m.resolved_at.is_none());
            incident.alerts.insert(
                key.series.clone(),
                Member {
                    alert: alert.clone(),
                    resolved_at: None,
                    cause: None,
                    told,
                },
            );
        }
    }

    fn open_one(&mut self, at: Timestamp, id: u64, rule: &RuleId, about: &About) {
        self.incident_last = self.incident_last.max(id);
        self.open.insert(rule.clone(), id);
        self.incidents.insert(
            id,
            Incident {
                id,
                rule: rule.clone(),
                about: about.clone(),
                opened_at: at,
                closed: None,
                acked: None,
                alerts: BTreeMap::new(),
                told: BTreeMap::new(),
                told_end: BTreeSet::new(),
                paged_at: None,
                held: None,
                silence_told: false,
                plans: BTreeMap::new(),
            },
        );
        let firing: Vec<AlertKey> = self
            .alerts
            .iter()
            .filter(|(k, a)| k.rule == *rule && a.is_firing())
            .map(|(k, _)| k.clone())
            .collect();
        firing.iter().for_each(|key| self.join(key));
    }

    fn close_one(&mut self, at: Timestamp, id: u64, cause: Cause) {
        let Some(incident) = self.incidents.get_mut(&id) else {
            return;
        };
        incident.closed = Some((at, cause));
        incident.held = None;
        self.open.remove(&incident.rule);
        let waiting: BTreeSet<u64> = self.outbox.values().map(|o| o.page.incident).collect();
        let running: BTreeSet<u64> = self
            .heals
            .values()
            .filter(|h| h.closed.is_none())
            .map(|h| h.run.incident)
            .collect();
        let closed: Vec<u64> = self
            .incidents
            .values()
            .filter(|i| i.closed.is_some() && !waiting.contains(&i.id) && !running.contains(&i.id))
            .map(|i| i.id)
            .collect();
        for old in closed
            .iter()
            .take(closed.len().saturating_sub(INCIDENTS_CLOSED_MAX))
        {
            self.incidents.remove(old);
        }
    }

    fn apply_page(&mut self, at: Timestamp, event: &Event) {
        match event {
            Event::PageQueued { page, fallback_for } => {
                self.pages += 1;
                if let Some(i) = self.incidents.get_mut(&page.incident) {
                    i.held = None;
                    if page.kind != PageKind::Closed && fallback_for.is_none() {
                        i.paged_at = Some(at);
                        i.alerts.values_mut().for_each(|m| m.told = true);
                        i.silence_told |= page.kind == PageKind::Silent;
                        self.paged.insert(i.rule.clone(), at);
                    }
                }
                if let Some(o) = fallback_for.as_ref().and_then(|k| self.outbox.get_mut(k)) {
                    o.fallback_told = true;
                }
                let page = Page::clone(page);
                let out = Outgoing {
                    queued_at: at,
                    attempts: 0,
                    in_flight: false,
                    maybe_told: false,
                    next: at,
                    trouble: None,
                    fallback_told: fallback_for.is_some(),
                    page,
                };
                self.outbox.insert(out.page.key.clone(), out);
            }
            Event::PageTried { key, attempt } => {
                if let Some(o) = self.outbox.get_mut(key) {
                    (o.attempts, o.in_flight) = (*attempt, true);
                }
            }
            Event::PageJudged {
                key,
                attempt: _,
                verdict,
                next,
            } => {
                let Some(o) = self.outbox.get_mut(key) else {
                    return;
                };
                o.in_flight = false;
                match verdict {
                    Verdict::Done => {
                        if let Some(i) = self.incidents.get_mut(&o.page.incident) {
                            i.told.insert(o.page.receiver.clone(), at);
                            if o.page.kind == PageKind::Closed {
                                i.told_end.insert(o.page.receiver.clone());
                            }
                        }
                    }
                    Verdict::Unknown { why } => {
                        (o.maybe_told, o.trouble) = (true, Some(why.clone()))
                    }
                    Verdict::Retry { why, .. } | Verdict::Refused { why } => {
                        o.trouble = Some(why.clone())
                    }
                }
                // An earlier attempt may have been accepted: then the end is owed as well.
                if next.is_none()
                    && o.maybe_told
                    && let Some(i) = self.incidents.get_mut(&o.page.incident)
                {
                    i.told.entry(o.page.receiver.clone()).or_insert(at);
                }
                match next {
                    Some(next) => o.next = *next,
                    None => {
                        self.outbox.remove(key);
                    }
                }
            }
            Event::PageDropped { key, why: _ } => {
                self.outbox.remove(key);
            }
            _ => {}
        }
    }

    fn apply_heal(&mut self, at: Timestamp, event: &Event) {
        match event {
            Event::HealClaimed { run } => {
                let starts = self
                    .starts
                    .entry((run.group.clone(), run.target.clone()))
                    .or_default();
                starts.push(at);
                let excess = starts.len().saturating_sub(100);
                starts.drain(..excess);
                self.set_plan(run.incident, &run.target, |p| {
                    (p.attempts, p.run, p.held) = (run.attempt, Some(run.id.clone()), None)
                });
                self.heals.insert(
                    run.id.clone(),
                    Heal {
                        run: Run::clone(run),
                        claimed_at: at,
                        ended: None,
                        good_since: None,
                        closed: None,
                        why: None,
                    },
                );
            }
            Event::HealExited {
                run,
                end,
                took,
                output,
            } => {
                if let Some(h) = self.heals.get_mut(run) {
                    h.ended = Some(Ended {
                        at,
                        end: end.clone(),
                        took: *took,
                        output: output.clone(),
                    });
                }
            }
            Event::HealVerifying { run, good_since } => {
                if let Some(h) = self.heals.get_mut(run) {
                    h.good_since = *good_since;
                }
            }
            Event::HealClosed { run, outcome, why } => {
                let Some(h) = self.heals.get_mut(run) else {
                    return;
                };
                (h.closed, h.why) = (Some((at, *outcome)), why.clone());
                let (incident, target, step) = (h.run.incident, h.run.target.clone(), h.run.step);
                self.set_plan(incident, &target, |p| {
                    (p.run, p.last) = (None, Some(*outcome));
                    if *outcome != Outcome::Busy {
                        (p.step, p.attempts) = (step + 1, 0);
                    }
                });
                self.heals_closed.push(run.clone());
                if self.heals_closed.len() > HEALS_CLOSED_MAX {
                    self.heals.remove(&self.heals_closed.remove(0));
                }
            }
            _ => {}
        }
    }
}
