//! What the evaluation of a rule finds, and what the rule makes of it. Groups in the engine and tests of rules both go
//! through here, so that a rule means the same in both.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::policy::{Recording, Rule};
use crate::engine::promql::ast::Expr;
use crate::engine::promql::settings::Settings;
use crate::engine::promql::source::Source;
use crate::engine::promql::{Filter, Plan, ValueRef, Workspace};
use crate::model::labels::{Labels, SeriesKey};
use crate::model::time::Timestamp;

/// Why nothing of an evaluation counts: two alerts of it could not be told apart.
pub const TWICE_IN_ALERTS: &str =
    "vector contains metrics with the same labelset after applying alert labels";

/// An expression over a set of series, with room of its own if it keeps anything. It holds for as long as no series is
/// new that the expression reads.
#[derive(Debug)]
pub struct Resolved {
    plan: Plan,
    room: Option<Box<Workspace>>,
}

impl Resolved {
    /// Resolves an expression.
    ///
    /// # Errors
    /// What can be judged without looking at a sample, as Prometheus words it.
    pub fn new<S: Source>(
        expr: &Arc<Expr>,
        source: &S,
        settings: &Settings,
    ) -> Result<Self, String> {
        let plan = Plan::new(expr.clone(), source, settings).map_err(|e| e.to_string())?;
        let room = plan.keeps().then(Box::default);
        Ok(Self { plan, room })
    }

    /// Evaluates it and gives each element to `take`; `shared` is the room of those that keep nothing.
    ///
    /// # Errors
    /// As Prometheus words them, and bounds.
    pub fn evaluate<S: Source>(
        &mut self,
        at: Timestamp,
        source: &S,
        shared: &mut Workspace,
        take: impl FnMut(&Arc<Labels>, ValueRef<'_>),
    ) -> Result<(), String> {
        let room = self.room.as_deref_mut().unwrap_or(shared);
        self.plan
            .evaluate(at.ms(), source, room)
            .map_err(|e| e.to_string())?;
        self.plan.each(room, take);
        Ok(())
    }

    /// The expression as a filter, if it is no more than that.
    pub fn filter(&self) -> Option<Filter> {
        self.plan.filter()
    }

    /// Gives each element of the last evaluation to `take` again, if nothing else was evaluated in `shared` since.
    pub fn each(&self, shared: &Workspace, take: impl FnMut(&Arc<Labels>, ValueRef<'_>)) {
        self.plan.each(self.room.as_deref().unwrap_or(shared), take);
    }
}

/// What a recording rule makes of the elements of a result.
#[derive(Debug)]
pub struct Recorded<V> {
    series: BTreeMap<SeriesKey, V>,
    twice: bool,
}

impl<V> Default for Recorded<V> {
    fn default() -> Self {
        Self {
            series: BTreeMap::new(),
            twice: false,
        }
    }
}

impl<V> Recorded<V> {
    /// Takes one element: it gets the rule's name and labels.
    pub fn add(&mut self, rule: &Recording, labels: &Labels, value: V) {
        let mut labels = nameless(labels);
        rule.clears.iter().for_each(|n| labels.set(n, ""));
        rule.labels.iter().for_each(|(n, v)| labels.set(n, v));
        let key = SeriesKey::new(&rule.name, &labels);
        self.twice |= self.series.insert(key, value).is_some();
    }

    /// The series to be written; 0 as the limit is none.
    ///
    /// # Errors
    /// If two elements became one series, or there are too many.
    pub fn finish(self, limit: usize) -> Result<BTreeMap<SeriesKey, V>, String> {
        if self.twice {
            return Err(
                "vector contains metrics with the same labelset after applying rule labels"
                    .to_owned(),
            );
        }
        if limit > 0 && self.series.len() > limit {
            return Err(over_limit(limit, self.series.len(), "series"));
        }
        Ok(self.series)
    }
}

/// That a rule has more than it may, in Prometheus's words.
pub fn over_limit(limit: usize, count: usize, what: &str) -> String {
    format!("exceeded limit of {limit} with {count} {what}")
}

/// The labels of an alert: those of what it is about, the rule's own after `expand`, and its name.
pub fn alert_labels_by(
    rule: &Rule,
    about: &Labels,
    mut expand: impl FnMut(&str) -> String,
) -> Labels {
    let mut labels = nameless(about);
    rule.clears.iter().for_each(|n| labels.set(n, ""));
    for (name, text) in rule.labels.iter() {
        labels.set(name, expand(text));
    }
    labels.set("alertname", &rule.name);
    labels
}

/// Labels without the metric's name.
pub fn nameless(labels: &Labels) -> Labels {
    labels.iter().filter(|(n, _)| *n != "__name__").collect()
}
