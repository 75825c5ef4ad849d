//! Groups of PromQL rules: when one is due, its expressions are evaluated in order; a recording rule's result becomes
//! series that the next rule already sees, an alerting rule's result becomes edges.
//!
//! What is not in a result was fine, or was not seen. [`known`](crate::engine::promql::known) tells the two apart: only
//! the first is a recovery. An expression that fails changes nothing: its alerts stay as they are, and the failure is
//! shown until it is over.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

mod edited;
pub mod found;
pub(in crate::engine) mod left;
mod quiet;
mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::engine::Engine;
use crate::engine::asked::too_much;
use crate::engine::echo::OF_ALERTS;
use crate::engine::event::{AlertKey, of_rule};
use crate::engine::group::found::{
    Resolved, TWICE_IN_ALERTS, alert_labels_by, nameless, over_limit,
};
use crate::engine::group::quiet::Quiet;
use crate::engine::limits::START_QUICK;
use crate::engine::policy::{ExprTest, Group, GroupRule, Rule, RuleId, Test, Written};
use crate::engine::promql::ast::Expr;
use crate::engine::promql::known::unfiltered;
use crate::engine::promql::reads::reads;
use crate::engine::promql::source::Source;
use crate::engine::promql::{Filter, ValueRef};
use crate::engine::rule::{Book, Judged};
use crate::engine::template;
use crate::model::labels::Labels;
use crate::model::time::{Duration, Timestamp};

/// A group in force.
#[derive(Debug)]
pub struct GroupRun {
    /// The group.
    pub group: Arc<Group>,
    /// The slot that was evaluated last.
    pub slot: Option<Timestamp>,
    /// Its rules, in order.
    pub rules: Vec<RuleRun>,
    /// Series that rules of it recorded before an edit. What is not recorded any more has ended.
    orphans: Vec<u32>,
    /// Those that have nothing to say.
    quiet: Quiet,
}

/// A rule of a group in force.
#[derive(Debug, Default)]
pub struct RuleRun {
    /// Why the last evaluation failed.
    pub error: Option<String>,
    /// Since when evaluations fail.
    pub failing_since: Option<Timestamp>,
    /// For which time it was evaluated last, and did not fail.
    pub evaluated: Option<Timestamp>,
    /// Whether that was only taken to be so after a start.
    presumed: bool,
    /// The values of the last evaluation, by alert.
    pub values: BTreeMap<String, f64>,
    main: Option<Resolved>,
    /// The expression without its filters, once it was needed.
    known: Option<Resolved>,
    /// The easier condition to clear.
    resolve: Option<Resolved>,
    /// What was recorded last: the labels of each element, as the resolved expression has them, and its series.
    recorded: Vec<(Arc<Labels>, u32)>,
    /// Where alerts of the rule are among all alerts, once it was needed.
    first: Option<AlertKey>,
}

impl GroupRun {
    /// The groups of a new policy. A group of the same name and interval goes on at its slot, a rule of it with the same text keeps
    /// what was worked out for it. Series that groups recorded that are gone are handed to `left`, with the group's interval.
    pub fn carry_over(
        groups: &[Arc<Group>],
        before: Vec<GroupRun>,
        mut left: impl FnMut(u32, Duration),
    ) -> Vec<GroupRun> {
        let mut before: BTreeMap<String, GroupRun> = before
            .into_iter()
            .map(|g| (g.group.id.clone(), g))
            .collect();
        let next = groups.iter().map(|group| {
            let mut old = before.remove(&group.id);
            old.iter_mut().for_each(GroupRun::wake_all);
            let orphans = old.as_mut().map(|o| std::mem::take(&mut o.orphans));
            let mut orphans = orphans.unwrap_or_default();
            let slots = old.as_ref().filter(|o| o.group.interval == group.interval);
            let slot = slots.and_then(|o| o.slot);
            let mut kept: Vec<(GroupRule, RuleRun)> = old
                .map(|o| o.group.rules.iter().cloned().zip(o.rules).collect())
                .unwrap_or_default();
            let rules = group.rules.iter().map(|rule| {
                let same = kept.iter().position(|(k, _)| is_same(k, rule));
                same.map_or_else(RuleRun::default, |at| kept.swap_remove(at).1)
            });
            let rules = rules.collect();
            orphans.extend(kept.iter().flat_map(|(_, run)| run.recorded()));
            GroupRun {
                slot,
                rules,
                orphans,
                quiet: Quiet::default(),
                group: group.clone(),
            }
        });
        let next = next.collect();
        for group in before.into_values() {
            let recorded = group.rules.iter().flat_map(RuleRun::recorded);
            for series in recorded.chain(group.orphans.iter().copied()) {
                left(series, group.group.interval);
            }
        }
        next
    }

    /// Ends the rest of all rules.
    fn wake_all(&mut self) {
        for (place, last) in self.quiet.wake_all() {
            if let Some(run) = self.rules.get_mut(place) {
                run.evaluated = Some(last);
            }
        }
    }

    /// The last slot. Groups of one interval are spread over it, each always at the same place, which is a tick.
    fn slot_of(&self, now: Timestamp, tick: Duration) -> Timestamp {
        let (interval, tick_ms) = (self.group.interval, tick.ms().max(1));
        let id = xxh3_64(self.group.id.as_bytes());
        let place = id.checked_rem(interval.ms()).unwrap_or(0) / tick_ms * tick_ms;
        let place = Duration::from_ms(place);
        (now - place).aligned(interval) + place
    }

    /// The slot that is due: the last one, unless it was evaluated. Of one before the last tick before the start it is taken that it was, as
    /// late samples could make its second evaluation another one.
    fn due(&mut self, now: Timestamp, tick: Duration) -> Option<Timestamp> {
        let interval = self.group.interval;
        if interval.is_zero() {
            self.slot = Some(now);
            return self.slot;
        }
        let slot = self.slot_of(now, tick);
        let due = match self.slot {
            Some(last) => slot > last,
            None => now.since(slot) < tick,
        };
        self.slot = Some(slot);
        due.then_some(slot)
    }
}

impl RuleRun {
    /// What takes its place while it rests; `found`: what its last evaluation did.
    fn filter(&self, found: Found) -> Option<Filter> {
        match (found, &self.main, &self.error) {
            (Found::Nothing, Some(main), None) => main.filter(),
            _ => None,
        }
    }

    /// The series that it recorded last.
    fn recorded(&self) -> impl Iterator<Item = u32> {
        self.recorded.iter().map(|(_, number)| *number)
    }
}

/// Whether two rules are one: what was worked out for the first still holds for the second.
fn is_same(a: &GroupRule, b: &GroupRule) -> bool {
    match (a, b) {
        (GroupRule::Record(a), GroupRule::Record(b)) => {
            (&a.name, &a.labels, &a.clears, &a.expr.text)
                == (&b.name, &b.labels, &b.clears, &b.expr.text)
        }
        (GroupRule::Alert(a), GroupRule::Alert(b)) => a.id == b.id && texts(a).eq(&texts(b)),
        (GroupRule::Alert(_), GroupRule::Record(_))
        | (GroupRule::Record(_), GroupRule::Alert(_)) => false,
    }
}

fn texts(rule: &Rule) -> Option<(&str, Option<&str>)> {
    match &rule.test {
        Test::Window(_) => None,
        Test::Expr(t) => Some((&t.expr.text, t.resolve.as_ref().map(|r| r.text.as_str()))),
    }
}

impl GroupRule {
    /// The metric that it records.
    fn record(&self) -> Option<&str> {
        match self {
            GroupRule::Record(r) => Some(&r.name),
            GroupRule::Alert(_) => None,
        }
    }

    /// Its expressions.
    pub fn exprs(&self) -> impl Iterator<Item = &Written> {
        let (main, resolve) = match self {
            GroupRule::Record(r) => (Some(&r.expr), None),
            GroupRule::Alert(rule) => match &rule.test {
                Test::Window(_) => (None, None),
                Test::Expr(t) => (Some(&t.expr), t.resolve.as_ref()),
            },
        };
        main.into_iter().chain(resolve)
    }
}

/// What came of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// Nothing, and there was nothing before: no alert, no series that was recorded.
    Nothing,
    Something,
}

/// Elements of a result: by the text that names the alert, its labels and its value.
pub(super) type Elements = BTreeMap<String, (Labels, f64)>;

/// Enters an element of a result.
pub(super) fn enter(found: &mut Elements, labels: &Labels, value: ValueRef<'_>) {
    let labels = nameless(labels);
    let value = match value {
        ValueRef::Float(value) => value,
        ValueRef::Histogram(h) => h.count(),
    };
    found.insert(labels.to_string(), (labels, value));
}

impl Engine {
    /// Evaluates the groups that are due.
    pub(super) fn evaluate_groups(&mut self) {
        let mut book = std::mem::take(&mut self.book);
        for at in 0..book.groups.len() {
            let (now, tick) = (self.now, self.every);
            let taken = book.groups.get_mut(at).and_then(|g| {
                let slot = g.due(now, tick)?;
                if !g.orphans.is_empty() {
                    g.wake_all();
                }
                let (rules, orphans) = (&mut g.rules, &mut g.orphans);
                let taken = (std::mem::take(rules), std::mem::take(orphans));
                Some((slot, g.group.clone(), taken, std::mem::take(&mut g.quiet)))
            });
            let Some((slot, group, (mut rules, mut orphans), mut quiet)) = taken else {
                continue;
            };
            let judged = slot - group.query_offset;
            for (place, (rule, run)) in group.rules.iter().zip(&mut rules).enumerate() {
                let anew = book.unresolved.remove(&(at, place));
                let (series, settings, room) = (&self.series, &self.settings, &mut self.room);
                if !anew && quiet.stays(place, judged, series, settings, room) {
                    continue;
                }
                if let Some(last) = quiet.wake(place) {
                    run.evaluated = Some(last);
                }
                if anew {
                    (run.main, run.known, run.resolve) = (None, None, None);
                }
                let done = match rule {
                    GroupRule::Record(r) => self.record(&mut book, r, run, &group, slot),
                    GroupRule::Alert(r) => self.judge(r, run, &group, slot),
                };
                if let (GroupRule::Alert(r), true, Ok(_)) = (rule, group.strict, &done) {
                    self.echo_rule(&mut book, r, judged);
                }
                let found = self.note(run, done, judged);
                // The next rule is not to see both what was recorded before an edit and what is now.
                if let GroupRule::Record(r) = rule
                    && run.error.is_none()
                    && !orphans.is_empty()
                {
                    let rest = group.rules.iter().skip(place + 1);
                    if !rest.filter_map(GroupRule::record).any(|n| n == r.name) {
                        self.end_orphans(&mut book, &group, &mut orphans, slot, Some(&r.name));
                    }
                }
                if let Some(filter) = run.filter(found) {
                    quiet.rest(place, filter);
                }
            }
            quiet.judged(judged);
            // What a rule recorded that fails is not ended by an error.
            if !orphans.is_empty() && rules.iter().all(|run| run.error.is_none()) {
                self.end_orphans(&mut book, &group, &mut orphans, slot, None);
            }
            if let Some(g) = book.groups.get_mut(at) {
                (g.rules, g.orphans, g.quiet) = (rules, orphans, quiet);
            }
        }
        self.book = book;
    }

    /// Takes down of a rule how its evaluation went.
    fn note(&self, run: &mut RuleRun, done: Result<Found, String>, at: Timestamp) -> Found {
        match done {
            Ok(found) => {
                (run.error, run.failing_since) = (None, None);
                (run.evaluated, run.presumed) = (Some(at), false);
                found
            }
            Err(error) => {
                run.error = Some(error);
                run.failing_since.get_or_insert(self.now);
                // It may have failed before the start as well.
                if std::mem::take(&mut run.presumed) {
                    run.evaluated = None;
                }
                Found::Something
            }
        }
    }

    /// After replay: what was active then was so at the last slot before the start, if the start took no time; else at the
    /// last one of which there is a trace.
    pub(super) fn recall_evaluated(&mut self) {
        let lived = match self.now.since(self.replayed) {
            away if away < START_QUICK => self.now,
            _ => self.replayed,
        };
        let tick = self.every;
        for run in &mut self.book.groups {
            let slot = match run.group.interval.is_zero() {
                true => lived,
                false => run.slot_of(lived, tick),
            };
            let at = slot - run.group.query_offset;
            run.rules
                .iter_mut()
                .for_each(|rule| (rule.evaluated, rule.presumed) = (Some(at), true));
        }
    }

    /// Evaluates an expression at a slot and gives each element to `take`.
    fn evaluate(
        &mut self,
        resolved: &mut Option<Resolved>,
        expr: &Arc<Expr>,
        at: Timestamp,
        take: impl FnMut(&Arc<Labels>, ValueRef<'_>),
    ) -> Result<(), String> {
        let one = match resolved {
            Some(one) => one,
            None => {
                let one = Resolved::new(expr, &self.series, &self.settings)?;
                for read in reads(expr, &self.settings) {
                    for number in self.series.select(&read.matchers) {
                        self.series.need(number, read.back);
                    }
                }
                resolved.insert(one)
            }
        };
        one.evaluate(at, &self.series, &mut self.room, take)
    }

    fn judge(
        &mut self,
        rule: &Arc<Rule>,
        run: &mut RuleRun,
        group: &Group,
        slot: Timestamp,
    ) -> Result<Found, String> {
        let Test::Expr(test) = &rule.test else {
            return Ok(Found::Something);
        };
        let at = slot - group.query_offset;
        let mut found = self.elements(&mut run.main, &test.expr.expr, at)?;
        self.check_twice(rule, &found, slot)?;
        if rule.has_label_templates() {
            self.end_named_otherwise(rule, group.strict);
        }
        if rule.names_by_own_labels(group) {
            found = self.by_own_labels(rule, found, slot)?;
        }
        let over = group.limit > 0 && found.len() > group.limit;
        if found.is_empty() && run.values.is_empty() && !self.has_alerts(rule, run) {
            return Ok(Found::Nothing);
        }
        let error = over_limit(group.limit, found.len(), "alerts");
        if over && group.strict {
            for (key, labels) in self.active(rule, |_| true) {
                self.take_edge(rule, key, &labels, Judged::Good(0.0), slot);
            }
            return Err(error);
        }
        for (series, (labels, value)) in &found {
            let key = alert_key(rule, series);
            // Over the limit, those that are there go on, and no more begin: a limit must not end an alert.
            if over && !self.state.alerts.contains_key(&key) {
                continue;
            }
            self.take_edge(rule, key, labels, Judged::Bad(*value), slot);
        }
        let absent = self.active(rule, |series| !found.contains_key(series));
        if !absent.is_empty() {
            let mut judged = self.judge_absent(test, run, group, at, &absent);
            let is_news = |((key, _), judged): (&(AlertKey, Labels), &Judged)| {
                let alert = self.state.alerts.get(key);
                *judged == Judged::NoData && alert.is_some_and(|a| a.lost_since.is_none())
            };
            if absent.iter().zip(&judged).any(is_news) {
                self.tell_ended(test, at, &mut judged);
            }
            for ((key, labels), judged) in absent.into_iter().zip(judged) {
                self.take_edge(rule, key, &labels, judged, slot);
            }
        }
        run.values = found.into_iter().map(|(s, (_, v))| (s, v)).collect();
        if over {
            Err(error)
        } else {
            Ok(Found::Something)
        }
    }

    /// What is to be thought of active alerts that are not in the result.
    fn judge_absent(
        &mut self,
        test: &ExprTest,
        run: &mut RuleRun,
        group: &Group,
        at: Timestamp,
        absent: &[(AlertKey, Labels)],
    ) -> Vec<Judged> {
        if group.strict {
            let last = |(key, _): &(AlertKey, Labels)| Judged::Good(self.fired_with(key));
            return absent.iter().map(last).collect();
        }
        // Where the expression without filters fails, it says nothing, as with `absent`.
        let known = unfiltered(&test.expr.expr).map(Arc::new).and_then(|expr| {
            let found = self.elements(&mut run.known, &expr, at);
            found.ok()
        });
        let clear = test.resolve.as_ref().map(|r| {
            self.elements(&mut run.resolve, &r.expr, at)
                .unwrap_or_default()
        });
        let judge = |(key, _): &(AlertKey, Labels)| {
            let holds = self.state.alerts.get(key).is_some_and(|a| a.is_firing());
            let value = match &known {
                None => self.fired_with(key),
                Some(known) => match known.get(&key.series) {
                    Some((_, value)) => *value,
                    // Nobody was told of it, so nobody waits to hear that it is over.
                    None if !holds => return Judged::Good(0.0),
                    None => return Judged::NoData,
                },
            };
            match &clear {
                Some(clear) if holds && !clear.contains_key(&key.series) => Judged::Bad(value),
                Some(_) | None => Judged::Good(value),
            }
        };
        absent.iter().map(judge).collect()
    }

    /// Where series that the expression reads have ended since it could look back at them, what is without data was heard
    /// until now.
    fn tell_ended(&self, test: &ExprTest, at: Timestamp, judged: &mut [Judged]) {
        let since = at - test.reach;
        let has_ended = |number: &u32| {
            self.series
                .get(*number)
                .is_some_and(|s| s.newest_time().is_some_and(|t| t > since) && s.has_ended())
        };
        let reads = reads(&test.expr.expr, &self.settings);
        let mut read = reads.iter().map(|r| self.series.select(&r.matchers));
        if read.any(|numbers| numbers.iter().any(has_ended)) {
            let lost = judged.iter_mut().filter(|j| **j == Judged::NoData);
            lost.for_each(|j| *j = Judged::Ended);
        }
    }

    /// The value with which an alert fired. What it had since is not in the state, and after a restart the same must be said.
    fn fired_with(&self, key: &AlertKey) -> f64 {
        self.state.alerts.get(key).map_or(0.0, |a| a.value)
    }

    fn elements(
        &mut self,
        resolved: &mut Option<Resolved>,
        expr: &Arc<Expr>,
        at: Timestamp,
    ) -> Result<Elements, String> {
        let mut found = Elements::new();
        self.evaluate(resolved, expr, at, |labels, value| {
            enter(&mut found, labels, value);
        })?;
        Ok(found)
    }

    /// Two alerts with the same labels cannot be told apart; then nothing of the evaluation counts.
    fn check_twice(&self, rule: &Rule, found: &Elements, at: Timestamp) -> Result<(), String> {
        if rule.labels.is_empty() && rule.clears.is_empty() || found.len() < 2 {
            return Ok(());
        }
        let mut seen = BTreeSet::new();
        for (labels, value) in found.values() {
            if !seen.insert(self.alert_labels(rule, labels, *value, at)) {
                return Err(TWICE_IN_ALERTS.to_owned());
            }
        }
        Ok(())
    }

    /// Alerts that are told apart by all their labels ([`own_name`]), also by those that a template makes of the value: with
    /// another value it is another alert.
    fn by_own_labels(
        &self,
        rule: &Rule,
        found: Elements,
        at: Timestamp,
    ) -> Result<Elements, String> {
        self.asked.borrow_mut().take_refused();
        let own = |(about, value): (Labels, f64)| {
            let labels = self.alert_labels(rule, &about, value, at);
            (own_name(&labels), (about, value))
        };
        let named = found.into_values().map(own).collect();
        // What our own bounds make of a label is nobody's name.
        if self.asked.borrow_mut().take_refused() {
            return Err(too_much());
        }
        Ok(named)
    }

    /// Whether a rule has any alert. Nearly always it has none, and then no name is made for asking.
    fn has_alerts(&self, rule: &Rule, run: &mut RuleRun) -> bool {
        let first = run.first.get_or_insert_with(|| alert_key(rule, ""));
        let next = self.state.alerts.range(&*first..).next();
        next.is_some_and(|(key, _)| key.rule == rule.id)
    }

    /// The active alerts of a rule, by what names them.
    fn active(&self, rule: &Rule, which: impl Fn(&str) -> bool) -> Vec<(AlertKey, Labels)> {
        of_rule(&self.state.alerts, &rule.id)
            .filter(|(key, _)| which(&key.series))
            .map(|(key, alert)| (key.clone(), alert.labels.clone()))
            .collect()
    }
}

/// What names an alert of a strict group whose labels have templates: the series that it is written as. Nothing that an
/// alert is about is named like that, as it has no metric's name.
fn own_name(labels: &Labels) -> String {
    labels.clone().with("__name__", OF_ALERTS[0]).to_string()
}

/// The key of a rule's alert; with an empty name it is before all of them.
pub(super) fn alert_key(rule: &Rule, series: &str) -> AlertKey {
    AlertKey {
        rule: rule.id.clone(),
        series: series.to_owned(),
    }
}

impl Engine {
    /// The labels of an alert: those of what it is about, the rule's own, and its name.
    pub(super) fn alert_labels(
        &self,
        rule: &Rule,
        about: &Labels,
        value: f64,
        at: Timestamp,
    ) -> Labels {
        let ask = |query: &str| self.answer(query, at);
        alert_labels_by(rule, about, |text| {
            template::expand(text, about, value, self.now, &ask)
        })
    }
}

impl Book {
    /// The value that a rule's last evaluation gave an alert.
    pub fn value(&self, id: &RuleId, series: &str) -> Option<f64> {
        self.run(id)?.values.get(series).copied()
    }

    /// The group of a rule, if it is of one.
    pub(super) fn group(&self, id: &RuleId) -> Option<&Group> {
        let (group, _) = self.places.get(id)?;
        Some(&self.groups.get(*group)?.group)
    }

    /// Whether a rule is of a strict group.
    pub(super) fn is_strict(&self, id: &RuleId) -> bool {
        self.group(id).is_some_and(|g| g.strict)
    }

    /// For which time a rule of a group was evaluated last, and did not fail.
    pub fn evaluated(&self, id: &RuleId) -> Option<Timestamp> {
        let (group, rule) = self.places.get(id)?;
        let group = self.groups.get(*group)?;
        let resting = group.quiet.last(*rule);
        resting.or(group.rules.get(*rule)?.evaluated)
    }

    fn run(&self, id: &RuleId) -> Option<&RuleRun> {
        let (group, rule) = self.places.get(id)?;
        self.groups.get(*group)?.rules.get(*rule)
    }
}
