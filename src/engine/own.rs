//! Alerts about ourselves: what is reported of our own health takes the way of every other alert, under rules that
//! nobody wrote. docs/SELF.md is the story.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::engine::event::{About, AlertKey, Cause, Event};
use crate::engine::limits::{
    BROKEN_AFTER, EVENTS_REFUSED_AFTER, OWN_ALERTS_MAX, SAMPLES_REFUSED_AFTER, TICKS_LATE_AFTER,
};
use crate::engine::policy::RuleId;
use crate::engine::state::Phase;
use crate::model::labels::{Labels, SeriesKey};
use crate::model::time::Duration;

/// What can be wrong with ourselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Own {
    /// A rule file is broken; about the file.
    RuleFileBroken,
    /// Records that were on the disk are lost; about the place.
    LogDamaged,
    /// The sample log takes no records, so samples are refused.
    SamplesRefused,
    /// The event log takes no records, so nothing leaves.
    EventsRefused,
    /// Rules are judged late, or not at all.
    TicksLate,
}

/// What stands for everything beyond [`OWN_ALERTS_MAX`].
const THE_REST: &str = "…";

impl Own {
    /// All of them.
    pub const ALL: [Own; 5] = [
        Own::RuleFileBroken,
        Own::LogDamaged,
        Own::SamplesRefused,
        Own::EventsRefused,
        Own::TicksLate,
    ];

    /// The `alertname`.
    pub fn name(self) -> &'static str {
        match self {
            Own::RuleFileBroken => "ops_rule_file_broken",
            Own::LogDamaged => "ops_log_damaged",
            Own::SamplesRefused => "ops_samples_refused",
            Own::EventsRefused => "ops_events_refused",
            Own::TicksLate => "ops_ticks_late",
        }
    }

    /// The rule that its alerts stand under: no file of rules can hold one of this name.
    pub fn rule(self) -> RuleId {
        RuleId::new("ops", self.name(), &Labels::new())
    }

    /// What a rule stands for, if it is one of these.
    pub fn of(rule: &RuleId) -> Option<Own> {
        Self::ALL.into_iter().find(|own| own.rule() == *rule)
    }

    /// In words, as a rule's condition.
    fn condition(self) -> &'static str {
        match self {
            Own::RuleFileBroken => "a rule file is broken for 5 minutes",
            Own::LogDamaged => "records that were on the disk cannot be read",
            Own::SamplesRefused => "the sample log cannot be written",
            Own::EventsRefused => "the event log cannot be written",
            Own::TicksLate => "rules are judged late for a minute",
        }
    }

    /// What a person does about it.
    fn advice(self) -> &'static str {
        match self {
            Own::RuleFileBroken => "`ops check` shows what is wrong, with line and column.",
            Own::LogDamaged => {
                "Look at the health of the disk (kernel log, SMART). Nothing brings the records back: acknowledge this when you have seen it, and it is closed."
            }
            Own::SamplesRefused => {
                "Free space on the disk of the data folder. Senders get 503 and try again; rules see no new data until then."
            }
            Own::EventsRefused => {
                "Look at the disk of the data folder. While this lasts no page leaves and no heal starts; watch the services by other means."
            }
            Own::TicksLate => {
                "The machine is overloaded or was stopped: look at its load. Alerts and pages come late while this lasts."
            }
        }
    }

    /// How long it must go on before someone is told.
    fn patience(self) -> Duration {
        match self {
            // The time that a file has been broken is counted from the policy that first had it so.
            Own::RuleFileBroken | Own::LogDamaged => Duration::ZERO,
            Own::SamplesRefused => SAMPLES_REFUSED_AFTER,
            Own::EventsRefused => EVENTS_REFUSED_AFTER,
            Own::TicksLate => TICKS_LATE_AFTER,
        }
    }

    /// What has happened once does not get worse: no repeats, and over when someone has seen it.
    pub fn is_past(self) -> bool {
        match self {
            Own::LogDamaged => true,
            Own::RuleFileBroken | Own::SamplesRefused | Own::EventsRefused | Own::TicksLate => {
                false
            }
        }
    }

    fn labels(self, about: &str) -> Labels {
        let label = match self {
            Own::RuleFileBroken => "file",
            Own::LogDamaged => "place",
            Own::SamplesRefused | Own::EventsRefused | Own::TicksLate => return Labels::new(),
        };
        Labels::new().with(label, about)
    }

    /// The alert about this.
    pub fn key(self, about: &str) -> AlertKey {
        AlertKey {
            rule: self.rule(),
            series: SeriesKey::new(self.name(), &self.labels(about)).to_string(),
        }
    }

    /// What an incident says of it.
    pub(super) fn about(self, default_receiver: Option<&str>) -> About {
        About {
            name: self.name().to_owned(),
            metric: String::new(),
            condition: self.condition().to_owned(),
            threshold: None,
            runbook: None,
            notify: default_receiver.map(str::to_owned).into_iter().collect(),
            silence_window: None,
        }
    }
}

impl Engine {
    /// A report about ourselves: it is so, or it no longer is. The next tick gathers what came together into one page.
    pub(super) fn own(&mut self, what: Own, about: &str, is: Option<String>) {
        match is {
            Some(text) => self.own_is(what, about, &text),
            None => self.own_is_not(what, about),
        }
    }

    fn own_is(&mut self, what: Own, about: &str, text: &str) {
        let of_this = self.state.own.keys().filter(|(w, _)| *w == what).count();
        let known = |about: &str| self.state.own.contains_key(&(what, about.to_owned()));
        let (about, text) = if known(about) || of_this < OWN_ALERTS_MAX {
            (about, text.to_owned())
        } else if known(THE_REST) {
            return;
        } else {
            let text = format!("there is more of this than the {OWN_ALERTS_MAX} that are listed");
            (THE_REST, text)
        };
        let key = what.key(about);
        if !known(about) {
            self.emit(Event::OwnBegan {
                what,
                about: about.to_owned(),
                text: text.clone(),
            });
            let mut labels = what.labels(about);
            labels.set("alertname", what.name());
            self.emit(Event::AlertBegan {
                key: key.clone(),
                labels,
                value: 1.0,
            });
        }
        let ripe = self.state.alerts.get(&key).is_some_and(|alert| {
            alert.phase == Phase::Pending && self.now.since(alert.since) >= what.patience()
        });
        if ripe {
            let annotations = Labels::new()
                .with("summary", &text)
                .with("what_to_do", what.advice());
            self.emit(Event::AlertFired {
                key,
                annotations,
                value: 1.0,
            });
        }
    }

    fn own_is_not(&mut self, what: Own, about: &str) {
        if !self.state.own.contains_key(&(what, about.to_owned())) {
            return;
        }
        self.emit(Event::OwnEnded {
            what,
            about: about.to_owned(),
        });
        let cause = if what.is_past() {
            Cause::Gone
        } else {
            Cause::Recovered
        };
        self.end_own_alert(what.key(about), cause);
        // What is counted as the rest is over once there is room to name it.
        let left = self.state.own.keys().filter(|(w, _)| *w == what).count();
        if about != THE_REST && left < OWN_ALERTS_MAX {
            self.own_is_not(what, THE_REST);
        }
    }

    fn end_own_alert(&mut self, key: AlertKey, cause: Cause) {
        match self.state.alerts.get(&key).map(|a| a.is_firing()) {
            Some(true) => self.emit(Event::AlertResolved {
                key,
                cause,
                value: Some(0.0),
            }),
            Some(false) => self.emit(Event::AlertCalmed { key }),
            None => {}
        }
    }

    /// Someone has seen an incident about the past: nothing more can be done about it.
    pub(super) fn close_if_past(&mut self, incident: u64) {
        let Some(incident) = self.state.incidents.get(&incident) else {
            return;
        };
        let Some(what) = Own::of(&incident.rule).filter(|own| own.is_past()) else {
            return;
        };
        let rule = incident.rule.clone();
        let open = incident
            .alerts
            .iter()
            .filter(|(_, m)| m.resolved_at.is_none());
        let series: Vec<String> = open.map(|(series, _)| series.clone()).collect();
        for series in series {
            let rule = rule.clone();
            self.end_own_alert(AlertKey { rule, series }, Cause::Acknowledged);
        }
        // What was not listed is forgotten, so that more of it is told again.
        let rest = (what, THE_REST.to_owned());
        if self.state.own.contains_key(&rest) {
            let (what, about) = rest;
            self.emit(Event::OwnEnded { what, about });
        }
        self.group_alerts();
        self.send_pages();
    }

    /// Rule files that have been broken for long, and those that no longer are.
    pub(super) fn judge_rule_files(&mut self) {
        let what = Own::RuleFileBroken;
        let broken = &self.state.broken;
        let over = self
            .state
            .own
            .keys()
            .filter(|(w, file)| *w == what && file != THE_REST && !broken.contains_key(file));
        let over: Vec<String> = over.map(|(_, file)| file.clone()).collect();
        for file in over {
            self.own_is_not(what, &file);
        }
        let named = self.state.own.keys().filter(|(w, _)| *w == what).count();
        if named > OWN_ALERTS_MAX {
            return;
        }
        let due: Vec<String> = self
            .state
            .broken
            .iter()
            .filter(|(_, since)| self.now.since(**since) >= BROKEN_AFTER)
            .filter(|(file, _)| !self.state.own.contains_key(&(what, (*file).clone())))
            .take(OWN_ALERTS_MAX + 1)
            .map(|(file, _)| file.clone())
            .collect();
        for file in due {
            let text = format!(
                "{file} has been broken for {}; its last good version is in force.",
                BROKEN_AFTER.human()
            );
            self.own_is(what, &file, &text);
        }
    }

    /// Whether an alert about ourselves stands for something that is so; other alerts are no question here.
    pub(super) fn own_alerts(&self) -> BTreeSet<AlertKey> {
        let own = self.state.own.keys();
        own.map(|(what, about)| what.key(about)).collect()
    }
}
