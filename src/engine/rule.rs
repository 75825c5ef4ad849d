//! Which series each rule judges, and what it says of one window. Strings are touched only when a series or a rule is
//! new; a tick walks numbers.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::policy::{Aggregate, Condition, Policy, Rule};
use crate::engine::series::{SeriesSet, Window};
use crate::model::labels::SeriesKey;

/// What a condition says of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Judged {
    /// It holds; the value that decided.
    Bad(f64),
    /// It does not.
    Good(f64),
    /// There is nothing to judge: never taken for good.
    NoData,
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

/// The rules in force, with the series that each of them judges.
#[derive(Debug, Default)]
pub struct Book {
    /// In the policy's order.
    pub rules: Vec<(Arc<Rule>, Vec<Judge>)>,
    by_metric: BTreeMap<String, Vec<usize>>,
}

impl Book {
    /// The book of a policy over the series so far; `is_active` says whether an alert is.
    pub fn new(
        policy: &Policy,
        series: &mut SeriesSet,
        is_active: impl Fn(&Rule, &SeriesKey) -> bool,
    ) -> Self {
        let mut book = Self::default();
        for rule in &policy.rules {
            book.by_metric
                .entry(rule.selector.metric.clone())
                .or_default()
                .push(book.rules.len());
            book.rules.push((rule.clone(), Vec::new()));
        }
        for number in 0..u32::try_from(series.len()).unwrap_or(u32::MAX) {
            book.enter(series, number, &is_active);
        }
        book
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
        let Some(candidates) = self.by_metric.get(key.metric()) else {
            return;
        };
        for at in candidates {
            let Some((rule, judges)) = self.rules.get_mut(*at) else {
                continue;
            };
            if rule.selector.matches(&key) {
                judges.push(Judge {
                    series: number,
                    active: is_active(rule, &key),
                });
                series.need(number, rule.window);
            }
        }
    }

    /// A rule by its identity.
    pub fn rule(&self, id: &crate::engine::policy::RuleId) -> Option<&(Arc<Rule>, Vec<Judge>)> {
        self.rules.iter().find(|(r, _)| r.id == *id)
    }
}
