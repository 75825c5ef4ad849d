//! Groups evaluated as Prometheus evaluates them, bug for bug: an alert is named by its labels after templates, what is
//! not in a result is over, annotations follow every evaluation, `ALERTS` is written after each rule.
//!
//! The engine names alerts by what they are about and tells people once, which a log and a restart survive; that is what
//! differs. Resolving, evaluating, what a rule makes of a result, and when an alert fires and ends are the engine's.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::ruletest::ExpectedAlert;
use crate::engine::alert::Turn;
use crate::engine::asked::answer_from;
use crate::engine::group::found::{
    Recorded, Resolved, TWICE_IN_ALERTS, alert_labels_by, over_limit,
};
use crate::engine::policy::{ExprTest, Group, GroupRule, Recording, Rule, Test};
use crate::engine::promql::ast::Expr;
use crate::engine::promql::reads::{Read, reads};
use crate::engine::promql::settings::Settings;
use crate::engine::promql::source::{Point, STALE_BITS, Value};
use crate::engine::promql::{ValueRef, Workspace};
use crate::engine::state::Phase;
use crate::engine::template::{self, Ask, Context};
use crate::model::labels::Labels;
use crate::model::time::Timestamp;
use crate::sim::promqltest::store::Store;

/// What templates know of the program that sends alerts.
#[derive(Clone, Copy, Debug)]
pub struct Outside<'a> {
    /// `$externalLabels`
    pub labels: &'a Labels,
    /// `$externalURL`
    pub url: &'a str,
}

/// Groups with the state of their rules.
#[derive(Debug, Default)]
pub struct Rules {
    groups: Vec<(Arc<Group>, Vec<State>)>,
    room: Workspace,
}

/// What is kept of a rule from one evaluation to the next.
#[derive(Debug, Default)]
struct State {
    resolved: Option<Resolved>,
    /// Series that were there when it was resolved.
    seen: usize,
    /// The metrics that it reads; `None`: any.
    metrics: Option<BTreeSet<String>>,
    /// The series that it wrote last.
    written: BTreeSet<usize>,
    /// Active alerts by their labels.
    alerts: BTreeMap<Labels, Active>,
}

/// An active alert.
#[derive(Debug)]
struct Active {
    phase: Phase,
    since: Timestamp,
    /// When it was in the result last, with which labels and value: what its annotations speak of.
    at: Timestamp,
    about: Labels,
    value: f64,
}

impl Active {
    fn is_firing(&self) -> bool {
        matches!(self.phase, Phase::Firing | Phase::Kept { .. })
    }
    fn expand(&self, text: &str, outside: Outside<'_>, ask: &Ask<'_>) -> String {
        expand(text, &self.about, self.value, self.at, outside, ask)
    }
}

fn expand(
    text: &str,
    about: &Labels,
    value: f64,
    now: Timestamp,
    outside: Outside<'_>,
    ask: &Ask<'_>,
) -> String {
    let context = Context {
        labels: about,
        external_labels: outside.labels,
        external_url: outside.url,
        value,
        now,
        ask,
    };
    template::expand_in(text, &context)
}

impl Rules {
    /// Groups that were never evaluated.
    pub fn new(groups: &[Arc<Group>]) -> Self {
        let fresh = |group: &Arc<Group>| {
            let rules = group.rules.iter().map(|_| State::default());
            (group.clone(), rules.collect())
        };
        Self {
            groups: groups.iter().map(fresh).collect(),
            room: Workspace::default(),
        }
    }

    /// Evaluates every rule once, in order; those that failed, and why.
    pub fn evaluate(
        &mut self,
        store: &mut Store,
        settings: &Settings,
        outside: Outside<'_>,
        now: Timestamp,
    ) -> Vec<(String, String)> {
        let mut failed = Vec::new();
        for (group, states) in &mut self.groups {
            let mut turn = Evaluation {
                group,
                store,
                settings,
                outside,
                room: &mut self.room,
                now,
            };
            for (rule, state) in group.rules.iter().zip(states) {
                let (name, done) = match rule {
                    GroupRule::Record(rule) => (&rule.name, turn.record(rule, state)),
                    GroupRule::Alert(rule) => match &rule.test {
                        Test::Expr(test) => (&rule.name, turn.judge(rule, test, state)),
                        Test::Window(_) => continue,
                    },
                };
                failed.extend(done.err().map(|error| (format!("rule {name}"), error)));
            }
        }
        failed
    }

    /// The firing alerts of a name, of whatever rule; their templates ask `store`.
    pub fn firing(
        &self,
        store: &Store,
        settings: &Settings,
        name: &str,
        outside: Outside<'_>,
    ) -> Vec<ExpectedAlert> {
        let mut all = Vec::new();
        for (group, states) in &self.groups {
            for (rule, state) in group.rules.iter().zip(states) {
                let GroupRule::Alert(rule) = rule else {
                    continue;
                };
                if rule.name != name {
                    continue;
                }
                let firing = state.alerts.iter().filter(|(_, a)| a.is_firing());
                all.extend(firing.map(|(labels, alert)| {
                    let at = alert.at - group.query_offset;
                    let ask = |text: &str| answer_from(store, settings, text, at).0;
                    ExpectedAlert {
                        labels: labels.clone().into_map(),
                        annotations: rule
                            .annotations
                            .iter()
                            .map(|(name, text)| (name.clone(), alert.expand(text, outside, &ask)))
                            .collect(),
                    }
                }));
            }
        }
        all
    }
}

/// One evaluation of a group.
struct Evaluation<'a> {
    group: &'a Group,
    store: &'a mut Store,
    settings: &'a Settings,
    outside: Outside<'a>,
    room: &'a mut Workspace,
    now: Timestamp,
}

impl Evaluation<'_> {
    /// The time for which expressions are evaluated and results are written.
    fn at(&self) -> Timestamp {
        self.now - self.group.query_offset
    }

    fn evaluate(
        &mut self,
        expr: &Arc<Expr>,
        state: &mut State,
        take: impl FnMut(&Arc<Labels>, ValueRef<'_>),
    ) -> Result<(), String> {
        let at = self.at();
        let stale = self.store.metrics_from(state.seen).any(|new| {
            let metrics = state.metrics.as_ref();
            metrics.is_none_or(|metrics| metrics.contains(new))
        });
        if stale {
            state.resolved = None;
        }
        state.seen = self.store.len();
        let resolved = match &mut state.resolved {
            Some(resolved) => resolved,
            empty => {
                let read = reads(expr, self.settings);
                let metrics = read.iter().map(Read::metric);
                state.metrics = metrics.map(|m| m.map(str::to_owned)).collect();
                empty.insert(Resolved::new(expr, &*self.store, self.settings)?)
            }
        };
        resolved.evaluate(at, &*self.store, self.room, take)
    }

    fn record(&mut self, rule: &Recording, state: &mut State) -> Result<(), String> {
        let mut found = Recorded::default();
        self.evaluate(&rule.expr.expr, state, |labels, value| {
            found.add(rule, labels, owned_value(value));
        })?;
        let found = found.finish(self.group.limit)?;
        let found = found.into_iter().map(|(key, value)| {
            let labels = key.labels().with("__name__", key.metric());
            (labels, value)
        });
        self.write(state, found.collect())
    }

    fn judge(&mut self, rule: &Rule, test: &ExprTest, state: &mut State) -> Result<(), String> {
        let mut found: Vec<(Labels, f64)> = Vec::new();
        self.evaluate(&test.expr.expr, state, |labels, value| {
            let value = match value {
                ValueRef::Float(value) => value,
                ValueRef::Histogram(_) => 0.0,
            };
            found.push((Labels::clone(labels), value));
        })?;
        let ask = |text: &str| answer_from(&*self.store, self.settings, text, self.at()).0;
        let mut seen: BTreeMap<Labels, (Labels, f64)> = BTreeMap::new();
        for (about, value) in found {
            let labels = alert_labels_by(rule, &about, |text| {
                expand(text, &about, value, self.now, self.outside, &ask)
            });
            if seen.insert(labels, (about, value)).is_some() {
                return Err(TWICE_IN_ALERTS.to_owned());
            }
        }
        let now = self.now;
        state.alerts.retain(|labels, alert| {
            let holds = seen.remove(labels);
            let turn = alert.phase.turn(alert.since, holds.is_some(), rule, now);
            if let Some((about, value)) = holds {
                (alert.at, alert.about, alert.value) = (now, about, value);
            }
            alert.take(turn, now)
        });
        for (labels, (about, value)) in seen {
            let mut alert = Active {
                phase: Phase::Pending,
                since: now,
                at: now,
                about,
                value,
            };
            let turn = alert.phase.turn(now, true, rule, now);
            if alert.take(turn, now) {
                state.alerts.insert(labels, alert);
            }
        }
        let limit = self.group.limit;
        if limit > 0 && state.alerts.len() > limit {
            let count = state.alerts.len();
            state.alerts.clear();
            return Err(over_limit(limit, count, "alerts"));
        }
        let mut series = Vec::new();
        for (labels, alert) in &state.alerts {
            // The rule's own labels stand below: one that its template makes empty shows as it is written.
            let mut all = rule.labels.clone();
            labels.iter().for_each(|(n, v)| all.set(n, v));
            let word = if alert.is_firing() {
                "firing"
            } else {
                "pending"
            };
            let for_state = all.clone().with("__name__", "ALERTS_FOR_STATE");
            let alerts = all.with("__name__", "ALERTS").with("alertstate", word);
            series.push((alerts, Value::Float(1.0)));
            let since = alert.since.ms().div_euclid(1_000) as f64;
            series.push((for_state, Value::Float(since)));
        }
        self.write(state, series)
    }

    /// Stores what a rule has found; the series that it no longer has end. The first that cannot be stored is told.
    fn write(&mut self, state: &mut State, found: Vec<(Labels, Value)>) -> Result<(), String> {
        let ts = self.at().ms();
        let point = |value: Value| Point {
            ts,
            start_ts: None,
            value,
        };
        let mut done = Ok(());
        let mut written = BTreeSet::new();
        for (labels, value) in found {
            let number = self.store.number(&labels);
            match self.store.push(number, point(value)) {
                Ok(()) => {
                    written.insert(number);
                }
                Err(error) => done = done.and(Err(error)),
            }
        }
        for gone in state.written.difference(&written) {
            let marker = Value::Float(f64::from_bits(STALE_BITS));
            // If another rule writes the series now, it has not ended.
            let _ = self.store.push(*gone, point(marker));
        }
        state.written = written;
        done
    }
}

impl Active {
    /// Takes a turn; whether it is active afterwards.
    fn take(&mut self, turn: Turn, now: Timestamp) -> bool {
        match turn {
            Turn::Stays => {}
            Turn::Fires | Turn::Again => self.phase = Phase::Firing,
            Turn::IsKept => self.phase = Phase::Kept { since: now },
            Turn::Calms | Turn::Resolves => return false,
        }
        true
    }
}

fn owned_value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Float(value) => Value::Float(value),
        ValueRef::Histogram(histogram) => Value::Histogram(histogram.clone()),
    }
}
