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

pub mod found;
pub(in crate::engine) mod left;
mod quiet;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::engine::Engine;
use crate::engine::asked::TOO_MUCH;
use crate::engine::event::{AlertKey, Cause, Event};
use crate::engine::group::found::{
    Recorded, Resolved, TWICE_IN_ALERTS, alert_labels_by, nameless, over_limit,
};
use crate::engine::group::quiet::Quiet;
use crate::engine::limits::START_QUICK;
use crate::engine::policy::{ExprTest, Group, GroupRule, Recording, Rule, RuleId, Test, Written};
use crate::engine::promql::ast::Expr;
use crate::engine::promql::known::unfiltered;
use crate::engine::promql::reads::reads;
use crate::engine::promql::source::{STALE_BITS, Source, Value};
use crate::engine::promql::{Filter, ValueRef};
use crate::engine::rule::{Book, Judged};
use crate::engine::state::Alert;
use crate::engine::template;
use crate::model::histogram::Histogram;
use crate::model::labels::{Labels, SeriesKey};
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

    fn record(
        &mut self,
        book: &mut Book,
        rule: &Recording,
        run: &mut RuleRun,
        group: &Group,
        slot: Timestamp,
    ) -> Result<Found, String> {
        let at = slot - group.query_offset;
        let RuleRun { main, recorded, .. } = run;
        // As long as the same elements come, their series are known, and no name is looked at.
        let (mut values, mut same) = (Vec::with_capacity(recorded.len()), true);
        let mut natives: Vec<(usize, Arc<Histogram>)> = Vec::new();
        self.evaluate(main, &rule.expr.expr, at, |labels, value| {
            match recorded.get(values.len()) {
                Some((known, _)) if same => {
                    same = Arc::ptr_eq(known, labels);
                    values.push(match value {
                        ValueRef::Float(value) => value,
                        ValueRef::Histogram(histogram) => {
                            natives.push((values.len(), histogram.clone()));
                            0.0
                        }
                    });
                }
                _ => same = false,
            }
        })?;
        let within = group.limit == 0 || values.len() <= group.limit;
        if same && values.is_empty() && recorded.is_empty() {
            return Ok(Found::Nothing);
        }
        if same && values.len() == recorded.len() && within {
            let mut natives = natives.into_iter().peekable();
            for (place, ((_, number), value)) in recorded.iter().zip(values).enumerate() {
                let native = natives.next_if(|(of, _)| *of == place);
                let value = native.map_or(Value::Float(value), |(_, h)| Value::Histogram(h));
                if let Some(key) = self.series.get(*number).map(|s| s.key().clone()) {
                    self.file_own(*number, &key, at, value);
                }
            }
            return Ok(Found::Something);
        }
        let (mut results, mut place) = (Recorded::default(), 0);
        if let Some(main) = main {
            main.each(&self.room, |labels, value| {
                place += 1;
                let value = match value {
                    ValueRef::Float(value) => Value::Float(value),
                    ValueRef::Histogram(histogram) => Value::Histogram(histogram.clone()),
                };
                results.add(rule, labels, (place, labels.clone(), value));
            });
        }
        let results = results.finish(group.limit)?;
        let mut gone: BTreeSet<u32> = recorded.drain(..).map(|(_, number)| number).collect();
        let mut elements = Vec::with_capacity(results.len());
        for (key, (place, labels, value)) in results {
            let number = self.keep(book, &key, at, value);
            gone.remove(&number);
            elements.push((place, labels, number));
        }
        for number in gone {
            if let Some(key) = self.series.get(number).map(|s| s.key().clone()) {
                self.end(book, &key, at);
            }
        }
        elements.sort_unstable_by_key(|(place, ..)| *place);
        run.recorded = elements.into_iter().map(|(_, l, n)| (l, n)).collect();
        Ok(Found::Something)
    }

    /// Files a sample of our own: at once, and in the sample log for a restart.
    pub(super) fn keep(
        &mut self,
        book: &mut Book,
        key: &SeriesKey,
        at: Timestamp,
        value: Value,
    ) -> u32 {
        let (number, new) = self.series.number(key);
        if new {
            self.meet(book, number);
        }
        self.file_own(number, key, at, value);
        number
    }

    /// Ends a series of our own at a time, or at its newest sample if that is later: an edit may have moved the times of its rule.
    pub(super) fn end(&mut self, book: &mut Book, key: &SeriesKey, at: Timestamp) {
        let (number, new) = self.series.number(key);
        if new {
            self.meet(book, number);
        }
        let newest = self.series.get(number).and_then(|s| s.newest_time());
        let at = newest.map_or(at, |newest| newest.max(at));
        self.file_own(number, key, at, Value::Float(f64::from_bits(STALE_BITS)));
    }

    fn file_own(&mut self, number: u32, key: &SeriesKey, at: Timestamp, value: Value) {
        self.asked.get_mut().forget_answers();
        match value {
            Value::Float(value) => {
                self.series.file_one(number, self.now, at, value);
                self.own.push(key.bytes(), at, value);
            }
            Value::Histogram(histogram) => {
                self.series
                    .file_native(number, self.now, at, histogram.clone());
                self.own.push_native(key.bytes(), at, histogram);
            }
        }
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
            if group.strict {
                found = self.by_own_labels(rule, found, slot)?;
            }
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
            let last = |(key, _): &(AlertKey, Labels)| Judged::Good(self.last_value(run, key));
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
                None => self.last_value(run, key),
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

    fn last_value(&self, run: &RuleRun, key: &AlertKey) -> f64 {
        let seen = run.values.get(&key.series).copied();
        seen.or_else(|| Some(self.state.alerts.get(key)?.value))
            .unwrap_or_default()
    }

    /// Incidents whose rule has another expression now: alerts about which it says nothing any more are over, as nothing
    /// would end them later. Those without data stay, unless the new expression's alerts have other labels altogether. In
    /// a strict group the next evaluation ends what is not in its result.
    pub(super) fn end_edited(&mut self, book: &mut Book) {
        let edited: Vec<(Arc<Rule>, (usize, usize))> = self
            .state
            .open
            .iter()
            .filter_map(|(id, incident)| {
                let rule = book.rule(id)?;
                let about = &self.state.incidents.get(incident)?.about;
                let place = book
                    .places
                    .get(id)
                    .filter(|_| about.condition != rule.words() && !book.is_strict(id))?;
                Some((rule.clone(), *place))
            })
            .collect();
        for (rule, (group, place)) in edited {
            let (Test::Expr(test), Some(run)) = (
                &rule.test,
                book.groups
                    .get_mut(group)
                    .and_then(|g| g.rules.get_mut(place)),
            ) else {
                continue;
            };
            let Some(expr) = unfiltered(&test.expr.expr).map(Arc::new) else {
                continue;
            };
            let Ok(known) = self.elements(&mut run.known, &expr, self.now) else {
                continue;
            };
            // Label names of what an alert of the rule is about.
            let names = |labels: &Labels| -> Vec<String> {
                let own = |n: &str| n != "alertname" && rule.labels.get(n).is_empty();
                let names = labels.iter().map(|(n, _)| n).filter(|n| own(n));
                names.map(str::to_owned).collect()
            };
            let forms: BTreeSet<Vec<String>> = known.values().map(|(l, _)| names(l)).collect();
            let ends = |series: &str, alert: &Alert| {
                let may_come_back = alert.lost_since.is_some()
                    && (forms.is_empty() || forms.contains(&names(&alert.labels)));
                alert.is_firing() && !known.contains_key(series) && !may_come_back
            };
            let over: Vec<AlertKey> = self
                .active(&rule, |_| true)
                .into_iter()
                .filter(|(key, _)| {
                    self.state
                        .alerts
                        .get(key)
                        .is_some_and(|a| ends(&key.series, a))
                })
                .map(|(key, _)| key)
                .collect();
            for key in over {
                self.emit(Event::AlertResolved {
                    key,
                    cause: Cause::RuleRemoved,
                    value: None,
                });
            }
        }
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

    /// Alerts that are told apart by all their labels, also by those that a template makes of the value: with another value
    /// it is another alert.
    fn by_own_labels(
        &self,
        rule: &Rule,
        found: Elements,
        at: Timestamp,
    ) -> Result<Elements, String> {
        self.asked.borrow_mut().take_refused();
        let own = |(about, value): (Labels, f64)| {
            let labels = self.alert_labels(rule, &about, value, at);
            (labels.to_string(), (about, value))
        };
        let named = found.into_values().map(own).collect();
        // What our own bounds make of a label is nobody's name.
        if self.asked.borrow_mut().take_refused() {
            return Err(TOO_MUCH.to_owned());
        }
        Ok(named)
    }

    /// Ends alerts that were told apart in the other way, before `strict` was edited: nobody would find them again.
    fn end_named_otherwise(&mut self, rule: &Rule, by_own: bool) {
        for (key, labels) in self.active(rule, |_| true) {
            if (key.series == labels.to_string()) == by_own {
                continue;
            }
            let firing = self.state.alerts.get(&key).is_some_and(Alert::is_firing);
            self.emit(if firing {
                Event::AlertResolved {
                    key,
                    cause: Cause::RuleRemoved,
                    value: None,
                }
            } else {
                Event::AlertCalmed { key }
            });
        }
    }

    /// Whether a rule has any alert. Nearly always it has none, and then no name is made for asking.
    fn has_alerts(&self, rule: &Rule, run: &mut RuleRun) -> bool {
        let first = run.first.get_or_insert_with(|| alert_key(rule, ""));
        let next = self.state.alerts.range(&*first..).next();
        next.is_some_and(|(key, _)| key.rule == rule.id)
    }

    /// The active alerts of a rule, by what names them.
    fn active(&self, rule: &Rule, which: impl Fn(&str) -> bool) -> Vec<(AlertKey, Labels)> {
        let from = alert_key(rule, "");
        let all = self.state.alerts.range(from..);
        all.take_while(|(key, _)| key.rule == rule.id)
            .filter(|(key, _)| which(&key.series))
            .map(|(key, alert)| (key.clone(), alert.labels.clone()))
            .collect()
    }
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

    /// Whether a rule is of a strict group.
    pub(super) fn is_strict(&self, id: &RuleId) -> bool {
        let group = self.places.get(id).and_then(|(at, _)| self.groups.get(*at));
        group.is_some_and(|g| g.group.strict)
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
