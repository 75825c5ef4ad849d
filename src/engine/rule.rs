//! Which series each rule judges, and what it says of one window. Strings are touched only when a series or a rule is
//! new; a tick walks numbers.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::engine::group::GroupRun;
use crate::engine::policy::{
    Aggregate, Condition, GroupRule, Policy, Rule, RuleId, Test, WindowTest,
};
use crate::engine::promql::reads::{Read, reads};
use crate::engine::promql::settings::Settings;
use crate::engine::series::{SeriesSet, Window};
use crate::model::labels::SeriesKey;
use crate::model::time::Duration;

/// What a condition says of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Judged {
    /// It holds; the value that decided.
    Bad(f64),
    /// It does not.
    Good(f64),
    /// There is nothing to judge: never taken for good.
    NoData,
    /// As that, and its series has just ended: until then it was heard.
    Ended,
}

/// An aggregate as a number that can be compared and written down: a sum beyond all numbers is the greatest one.
pub fn value(window: Window<'_>, aggregate: Aggregate) -> Option<f64> {
    window
        .aggregate(aggregate)
        .filter(|v| !v.is_nan())
        .map(|v| v.clamp(f64::MIN, f64::MAX))
}

impl Condition {
    /// Judges a window.
    pub fn judge(&self, window: Window<'_>) -> Judged {
        match self {
            Condition::Threshold {
                aggregate,
                compare,
                threshold,
            } => match value(window, *aggregate) {
                Some(v) if compare.holds(v, *threshold) => Judged::Bad(v),
                Some(v) => Judged::Good(v),
                None => Judged::NoData,
            },
            Condition::Guard { node, reads, .. } => {
                let mut context = evalexpr::HashMapContext::new();
                let mut first = None;
                for aggregate in reads {
                    let Some(v) = value(window, *aggregate) else {
                        return Judged::NoData;
                    };
                    first.get_or_insert(v);
                    let set = evalexpr::ContextWithMutableVariables::set_value(
                        &mut context,
                        aggregate.name().to_owned(),
                        evalexpr::Value::Float(v),
                    );
                    if set.is_err() {
                        return Judged::NoData;
                    }
                }
                match (node.eval_boolean_with_context(&context), first) {
                    (Ok(true), v) => Judged::Bad(v.unwrap_or(1.0)),
                    (Ok(false), v) => Judged::Good(v.unwrap_or(0.0)),
                    (Err(_), _) => Judged::NoData,
                }
            }
        }
    }

    /// The number it compares with, if it is one comparison.
    pub fn threshold(&self) -> Option<f64> {
        match self {
            Condition::Threshold { threshold, .. } => Some(*threshold),
            Condition::Guard { .. } => None,
        }
    }

    /// In words, without the window.
    pub fn words(&self) -> String {
        match self {
            Condition::Threshold {
                aggregate,
                compare,
                threshold,
            } => format!("{} {} {threshold}", aggregate.name(), compare.sign()),
            Condition::Guard { text, .. } => text.clone(),
        }
    }

    /// The aggregate that a page shows as the value.
    pub fn shown(&self) -> Aggregate {
        match self {
            Condition::Threshold { aggregate, .. } => *aggregate,
            Condition::Guard { reads, .. } => reads.first().copied().unwrap_or(Aggregate::Last),
        }
    }
}

/// A series that a rule judges.
#[derive(Clone, Copy, Debug)]
pub struct Judge {
    /// Its number.
    pub series: u32,
    /// Whether an alert is active: only then is anything looked up by name.
    pub active: bool,
}

/// A rule over windows, with the series that it judges.
#[derive(Debug)]
pub struct WindowRule {
    /// The rule.
    pub rule: Arc<Rule>,
    /// Its series.
    pub judges: Vec<Judge>,
}

impl WindowRule {
    /// The rule's test.
    pub fn test(&self) -> Option<&WindowTest> {
        match &self.rule.test {
            Test::Window(test) => Some(test),
            Test::Expr(_) => None,
        }
    }
}

/// The rules in force.
#[derive(Debug, Default)]
pub struct Book {
    /// Rules over windows, in the policy's order.
    pub rules: Vec<WindowRule>,
    /// Groups of PromQL rules, in the policy's order.
    pub groups: Vec<GroupRun>,
    by_metric: BTreeMap<String, Vec<usize>>,
    by_id: BTreeMap<RuleId, Arc<Rule>>,
    /// Which of `rules` an id is.
    windows: BTreeMap<RuleId, usize>,
    /// Group and place of an alerting rule of a group.
    pub(super) places: BTreeMap<RuleId, (usize, usize)>,
    /// Group and place of rules that read a metric.
    readers: BTreeMap<String, Vec<(usize, usize)>>,
    /// … and of those that may read any metric.
    read_any: Vec<(usize, usize)>,
    /// Metrics that rules record.
    pub(super) recorded: BTreeSet<String>,
    /// What the `verify` of rules reads, by metric, and what may be of any metric: it is kept before it is needed.
    verify_reads: BTreeMap<String, Vec<Read>>,
    verify_read_any: Vec<Read>,
    /// Group and place of rules that must be resolved anew: there are more series than when they were.
    pub(super) unresolved: BTreeSet<(usize, usize)>,
}

impl Book {
    /// The book of a policy over the series so far; `is_active` says whether an alert is. Groups that have not changed
    /// go on where they were; `left` takes what those recorded that are gone.
    pub fn new(
        policy: &Policy,
        series: &mut SeriesSet,
        before: Vec<GroupRun>,
        left: impl FnMut(u32, Duration),
        is_active: impl Fn(&Rule, &SeriesKey) -> bool,
    ) -> Self {
        let mut book = Self {
            groups: GroupRun::carry_over(&policy.groups, before, left),
            ..Self::default()
        };
        for rule in &policy.rules {
            book.by_metric
                .entry(rule.metric().to_owned())
                .or_default()
                .push(book.rules.len());
            book.by_id.insert(rule.id.clone(), rule.clone());
            book.windows.insert(rule.id.clone(), book.rules.len());
            book.rules.push(WindowRule {
                rule: rule.clone(),
                judges: Vec::new(),
            });
        }
        for (at, group) in policy.groups.iter().enumerate() {
            for (place, rule) in group.rules.iter().enumerate() {
                book.read(rule, (at, place));
            }
        }
        book.read_verifies();
        for number in 0..u32::try_from(series.len()).unwrap_or(u32::MAX) {
            book.enter(series, number, &is_active);
        }
        book
    }

    /// Enters what a rule of a group reads.
    fn read(&mut self, rule: &GroupRule, place: (usize, usize)) {
        if let GroupRule::Alert(rule) = rule {
            self.by_id.insert(rule.id.clone(), rule.clone());
            self.places.insert(rule.id.clone(), place);
        }
        if let GroupRule::Record(rule) = rule {
            self.recorded.insert(rule.name.clone());
        }
        let settings = Settings::default();
        for read in rule.exprs().flat_map(|e| reads(&e.expr, &settings)) {
            match read.metric() {
                Some(metric) => self
                    .readers
                    .entry(metric.to_owned())
                    .or_default()
                    .push(place),
                None => self.read_any.push(place),
            }
        }
    }

    /// Enters what the rules' `verify` reads.
    fn read_verifies(&mut self) {
        let settings = Settings::default();
        let heals = self.by_id.values().filter_map(|r| r.heal.as_ref());
        for verify in heals.filter_map(|h| h.verify.as_ref()) {
            for read in reads(&verify.written.expr, &settings) {
                match read.metric().map(str::to_owned) {
                    Some(metric) => self.verify_reads.entry(metric).or_default().push(read),
                    None => self.verify_read_any.push(read),
                }
            }
        }
    }

    /// Enters a series with every rule that judges it.
    pub fn enter(
        &mut self,
        series: &mut SeriesSet,
        number: u32,
        is_active: impl Fn(&Rule, &SeriesKey) -> bool,
    ) {
        let Some(key) = series.get(number).map(|s| s.key().clone()) else {
            return;
        };
        let readers = self.readers.get(key.metric()).into_iter().flatten();
        self.unresolved
            .extend(readers.chain(&self.read_any).copied());
        let verifies = self.verify_reads.get(key.metric()).into_iter().flatten();
        for read in verifies.chain(&self.verify_read_any) {
            if key.matches(&read.matchers) {
                series.need(number, read.back);
            }
        }
        let Some(candidates) = self.by_metric.get(key.metric()) else {
            return;
        };
        for at in candidates {
            let Some(entry) = self.rules.get_mut(*at) else {
                continue;
            };
            let Test::Window(test) = &entry.rule.test else {
                continue;
            };
            if test.selector.matches(&key) {
                entry.judges.push(Judge {
                    series: number,
                    active: is_active(&entry.rule, &key),
                });
                series.need(number, test.window);
            }
        }
    }

    /// A rule by its identity.
    pub fn rule(&self, id: &RuleId) -> Option<&Arc<Rule>> {
        self.by_id.get(id)
    }

    /// All alerting rules, by identity.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.by_id.values()
    }

    /// A rule over windows, with the series that it judges.
    pub fn window_rule(&self, id: &RuleId) -> Option<&WindowRule> {
        self.rules.get(*self.windows.get(id)?)
    }
}
