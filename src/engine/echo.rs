//! `ALERTS` and `ALERTS_FOR_STATE`: active alerts as series, as Prometheus writes them, so that rules and boards can
//! read them. Written at the end of a tick when an alert's phase has changed, and now and then, so that it is not taken for
//! gone; those of a strict group after each evaluation of their rule, with its time, so that the next rule of the group
//! already reads them.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::Engine;
use crate::engine::event::{AlertKey, Event, of_rule};
use crate::engine::limits::ALERTS_EVERY;
use crate::engine::policy::Rule;
use crate::engine::promql::source::Value;
use crate::engine::rule::Book;
use crate::engine::state::Alert;
use crate::model::labels::SeriesKey;
use crate::model::time::Timestamp;

/// The metrics that alerts become.
pub const OF_ALERTS: [&str; 2] = ["ALERTS", "ALERTS_FOR_STATE"];

/// What was written of active alerts.
#[derive(Debug, Default)]
pub(super) struct Echo {
    /// The two series of each alert that was active.
    written: BTreeMap<AlertKey, [SeriesKey; 2]>,
    /// When all of them were written.
    at: Timestamp,
}

impl Engine {
    /// After replay: what is active was written.
    pub(super) fn recall_alerts(&mut self) {
        let active = self.state.alerts.iter();
        self.echo.written = active.map(|(key, a)| (key.clone(), series(a))).collect();
    }

    /// Writes what the edges of this tick have changed, or everything if it is time.
    pub(super) fn echo_alerts(&mut self) {
        let all = self.now.since(self.echo.at) >= ALERTS_EVERY;
        let keys: BTreeSet<AlertKey> = if all {
            self.echo.at = self.now;
            let active = self.state.alerts.keys();
            active.chain(self.echo.written.keys()).cloned().collect()
        } else {
            self.events.iter().filter_map(edge).cloned().collect()
        };
        if keys.is_empty() {
            return;
        }
        let mut book = std::mem::take(&mut self.book);
        let at_once = |key: &AlertKey| book.is_strict(&key.rule);
        let keys = keys.into_iter().filter(|key| !at_once(key)).collect();
        self.write_alerts(&mut book, keys, self.now);
        self.book = book;
    }

    /// Writes the alerts of a rule of a strict group, which was evaluated for a time.
    pub(super) fn echo_rule(&mut self, book: &mut Book, rule: &Rule, at: Timestamp) {
        let written = of_rule(&self.echo.written, &rule.id).map(|(key, _)| key);
        let active = of_rule(&self.state.alerts, &rule.id).map(|(key, _)| key);
        let keys = written.chain(active).cloned().collect();
        self.write_alerts(book, keys, at);
    }

    fn write_alerts(&mut self, book: &mut Book, keys: BTreeSet<AlertKey>, at: Timestamp) {
        let mut gone: BTreeSet<SeriesKey> = BTreeSet::new();
        let mut there = Vec::new();
        for key in keys {
            let next = self.state.alerts.get(&key).map(|a| (series(a), a.since));
            let last = match &next {
                Some((series, _)) => self.echo.written.insert(key, series.clone()),
                None => self.echo.written.remove(&key),
            };
            gone.extend(last.into_iter().flatten());
            there.extend(next);
        }
        for ([alerts, for_state], _) in &there {
            gone.remove(alerts);
            gone.remove(for_state);
        }
        // Another alert may have the same labels, as that of a rule that was moved to another group.
        if !gone.is_empty() {
            for series in self.echo.written.values().flatten() {
                gone.remove(series);
            }
        }
        for series in gone {
            self.end(book, &series, at);
        }
        for ([alerts, for_state], since) in there {
            self.keep(book, &alerts, at, Value::Float(1.0));
            let seconds = since.ms().div_euclid(1_000) as f64;
            self.keep(book, &for_state, at, Value::Float(seconds));
        }
    }
}

/// The alert whose phase an event changes.
fn edge(event: &Event) -> Option<&AlertKey> {
    match event {
        Event::AlertBegan { key, .. }
        | Event::AlertCalmed { key }
        | Event::AlertFired { key, .. }
        | Event::AlertResolved { key, .. } => Some(key),
        _ => None,
    }
}

fn series(alert: &Alert) -> [SeriesKey; 2] {
    let state = if alert.is_firing() {
        "firing"
    } else {
        "pending"
    };
    let with_state = alert.labels.clone().with("alertstate", state);
    [
        SeriesKey::new(OF_ALERTS[0], &with_state),
        SeriesKey::new(OF_ALERTS[1], &alert.labels),
    ]
}
