//! What happened, as the event log keeps it. The engine's decisions are events first; its state is their fold.
//!
//! The JSON of these types is the record format: see the golden test below before changing a name.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

mod parts;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::own::Own;
use crate::engine::policy::RuleId;
use crate::model::labels::{Labels, Matcher};
use crate::model::page::{Page, Verdict};
use crate::model::time::{Duration, Timestamp};

/// All that one input made happen, at once: the unit of the event log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The engine's time.
    pub at: Timestamp,
    /// In order.
    pub events: Vec<Event>,
}

/// One alert: a rule and a series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AlertKey {
    /// The rule.
    pub rule: RuleId,
    /// The series, as `metric{label="value"}`.
    pub series: String,
}

/// What is known of the alerts of one rule, among those of all.
pub fn of_rule<'a, V>(
    all: &'a BTreeMap<AlertKey, V>,
    rule: &RuleId,
) -> impl Iterator<Item = (&'a AlertKey, &'a V)> {
    let first = AlertKey {
        rule: rule.clone(),
        series: String::new(),
    };
    let from = all.range(&first..);
    from.take_while(move |(key, _)| key.rule == first.rule)
}

/// Why an alert, or an incident, is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The condition is false on data.
    Recovered,
    /// The series vanished and the rule says that this means the end.
    SeriesMissing,
    /// The rule was removed.
    RuleRemoved,
    /// It was about the past, and someone has seen it.
    Acknowledged,
    /// It was about the past, and what it was about is not kept any more.
    Gone,
}

/// How a heal step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The condition is false on fresh data, and stayed so.
    Healed,
    /// The script succeeded, the condition is still true.
    NoEffect,
    /// It is clearly worse than before.
    Worse,
    /// The script failed.
    Failed,
    /// It was killed at its deadline.
    TimedOut,
    /// No fresh data: neither success nor failure.
    Unverifiable,
    /// Nobody knows whether it ran to its end.
    Unknown,
    /// It could not be started.
    NotStarted,
    /// The script says it does not apply (exit 77).
    NotApplicable,
    /// The script refuses (exit 78).
    Refused,
    /// The script says that it cannot now (exit 75).
    Busy,
}

/// How a script run ended, as the shell saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "how")]
pub enum RunEnd {
    /// It ended with this code.
    Exited {
        /// The exit code.
        code: i32,
    },
    /// A signal ended it.
    Signalled {
        /// Its number.
        signal: i32,
    },
    /// It was killed at its deadline.
    TimedOut,
    /// It never ran.
    NotStarted {
        /// Why.
        why: String,
    },
    /// Nobody knows.
    Unknown {
        /// Why.
        why: String,
    },
}

/// A script run, as it is claimed: everything the shell needs to start it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Unique: `<incident>-<target>-<step>-<attempt>` in numbers.
    pub id: String,
    /// The incident.
    pub incident: u64,
    /// What is acted on: a label's value, or the rule's name.
    pub target: String,
    /// One run at a time in this group.
    pub group: String,
    /// The step, from 0.
    pub step: usize,
    /// The attempt, from 1.
    pub attempt: u32,
    /// The script, below the project folder.
    pub script: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Killed after this long.
    pub timeout: Duration,
    /// The rule's name.
    pub rule: String,
    /// Labels of the alert.
    pub labels: Labels,
    /// The value that was judged last.
    pub value: f64,
    /// The threshold, if there is one.
    pub threshold: Option<f64>,
    /// When the incident opened.
    pub fired_at: Timestamp,
    /// The runbook.
    pub runbook: Option<String>,
}

/// Who must not be heard of, for how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Silence {
    /// Its number.
    pub id: u64,
    /// All must hold on an alert's labels (`alertname` among them).
    pub matchers: Vec<Matcher>,
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Who asked for it.
    pub by: String,
    /// Why.
    pub comment: String,
}

/// One thing that happened.
#[expect(
    missing_docs,
    reason = "the fields are named after what they hold; the variants say what happened"
)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Event {
    /// The condition became true.
    AlertBegan {
        key: AlertKey,
        labels: Labels,
        value: f64,
    },
    /// It became false before it fired.
    AlertCalmed {
        key: AlertKey,
    },
    /// It held long enough.
    AlertFired {
        key: AlertKey,
        annotations: Labels,
        value: f64,
    },
    /// The condition is false, but `keep_firing_for` goes on from here.
    AlertKept {
        key: AlertKey,
    },
    /// The condition is true again while it was kept.
    AlertAgain {
        key: AlertKey,
    },
    /// Its series vanished.
    AlertLost {
        key: AlertKey,
        /// Whether its series has ended, and was heard until then; else it was last heard as long ago as its rule looks
        /// back.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        ended: bool,
    },
    /// Its series is back.
    AlertHeard {
        key: AlertKey,
    },
    /// It is over.
    AlertResolved {
        key: AlertKey,
        cause: Cause,
        value: Option<f64>,
    },
    /// People have something to handle.
    IncidentOpened {
        id: u64,
        rule: RuleId,
        about: About,
    },
    /// It is over.
    IncidentClosed {
        id: u64,
        cause: Cause,
    },
    /// Someone has it.
    IncidentAcked {
        id: u64,
        by: String,
        note: String,
    },
    /// Someone is to be told.
    PageQueued {
        page: Box<Page>,
        fallback_for: Option<String>,
    },
    /// An attempt leaves now.
    PageTried {
        key: String,
        attempt: u32,
    },
    /// What came of it, and when it is tried again.
    PageJudged {
        key: String,
        attempt: u32,
        verdict: Verdict,
        next: Option<Timestamp>,
    },
    /// It need not be told any more.
    PageDropped {
        key: String,
        why: String,
    },
    /// Why nobody is told, said when the reason changes.
    PageHeld {
        incident: u64,
        why: String,
    },
    /// A page is no longer held.
    PageReleased {
        incident: u64,
    },
    Silenced {
        silence: Silence,
    },
    SilenceEnded {
        id: u64,
        by: Option<String>,
    },
    /// A run is to start; durable before it does.
    HealClaimed {
        run: Box<Run>,
    },
    /// Why it does not run, said when the reason changes.
    HealHeld {
        incident: u64,
        target: String,
        why: String,
    },
    HealExited {
        run: String,
        end: RunEnd,
        took: Duration,
        output: String,
    },
    /// The verify became true, or (`None`) false again.
    HealVerifying {
        run: String,
        good_since: Option<Timestamp>,
    },
    HealClosed {
        run: String,
        outcome: Outcome,
        /// What the rule's `verify` said, where it has one and it did not hold.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// No step is left, or none may follow.
    HealExhausted {
        incident: u64,
        target: String,
        why: String,
    },
    /// The master switch.
    HealSwitched {
        on: bool,
        by: String,
        reason: String,
    },
    /// Another policy is in force.
    PolicyChanged {
        rules: usize,
        broken: Vec<String>,
    },
    /// Since when samples come in, after nothing was heard; `None`: nothing is heard.
    Watching {
        since: Option<Timestamp>,
    },
    /// A rule cannot fire: nothing fits a selector of it.
    RuleBlind {
        rule: RuleId,
        name: String,
        selector: String,
    },
    /// It can again, or is gone.
    RuleSees {
        rule: RuleId,
    },
    /// Slots that were not judged, and why.
    SlotsSkipped {
        from: Timestamp,
        to: Timestamp,
        why: String,
    },
    /// A step of the wall clock has lasted and is followed: so far is it ahead of the engine's time.
    ClockFollowed {
        ahead_ms: i64,
    },
    /// Something is wrong with ourselves.
    OwnBegan {
        what: Own,
        about: String,
        text: String,
    },
    /// It no longer is.
    OwnEnded {
        what: Own,
        about: String,
    },
}

/// What an incident keeps of its rule, so that it can be closed when the rule is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// The rule's name.
    pub name: String,
    /// The metric.
    pub metric: String,
    /// The condition in words.
    pub condition: String,
    /// The threshold, if there is one.
    pub threshold: Option<f64>,
    /// The runbook.
    pub runbook: Option<String>,
    /// Who is paged.
    pub notify: Vec<String>,
    /// No repeat for this long.
    pub silence_window: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records of earlier versions must read for ever: only ever add lines here.
    #[test]
    fn the_record_format_stays() {
        let entry = Entry {
            at: Timestamp::from_ms(1_000),
            events: vec![
                Event::AlertCalmed {
                    key: Own::TicksLate.key(""),
                },
                Event::OwnBegan {
                    what: Own::LogDamaged,
                    about: "samples/1.seg@64".to_owned(),
                    text: "lost".to_owned(),
                },
                Event::OwnEnded {
                    what: Own::RuleFileBroken,
                    about: "a.yml".to_owned(),
                },
                Event::ClockFollowed {
                    ahead_ms: -3_600_000,
                },
                Event::RuleBlind {
                    rule: RuleId("a.yml/a".to_owned()),
                    name: "a".to_owned(),
                    selector: "m".to_owned(),
                },
                Event::IncidentClosed {
                    id: 1,
                    cause: Cause::Acknowledged,
                },
            ],
        };
        let json = serde_json::to_string_pretty(&entry).unwrap();
        expect_test::expect![[r#"
            {
              "at": 1000,
              "events": [
                {
                  "type": "alert_calmed",
                  "key": {
                    "rule": "ops/ops_ticks_late",
                    "series": "ops_ticks_late"
                  }
                },
                {
                  "type": "own_began",
                  "what": "log_damaged",
                  "about": "samples/1.seg@64",
                  "text": "lost"
                },
                {
                  "type": "own_ended",
                  "what": "rule_file_broken",
                  "about": "a.yml"
                },
                {
                  "type": "clock_followed",
                  "ahead_ms": -3600000
                },
                {
                  "type": "rule_blind",
                  "rule": "a.yml/a",
                  "name": "a",
                  "selector": "m"
                },
                {
                  "type": "incident_closed",
                  "id": 1,
                  "cause": "acknowledged"
                }
              ]
            }"#]]
        .assert_eq(&json);
        assert_eq!(serde_json::from_str::<Entry>(&json).unwrap(), entry);
    }
}
