//! Why somebody was or was not told of an incident, and what was tried: everything that bears on it, in plain words.

use std::collections::BTreeSet;

use crate::api::incidents::word;
use crate::api::silences::{mutes, words};
use crate::engine::View;
use crate::engine::event::{RunEnd, Silence};
use crate::engine::state::{Heal, Incident, Outgoing, Switch};

/// Summaries of alerts that are told.
const SUMMARIES_MAX: usize = 10;

/// Everything that bears on one incident.
pub struct Story {
    /// The incident.
    pub incident: Incident,
    /// Pages about it that are on their way.
    pub pages: Vec<Outgoing>,
    /// Runs for it.
    pub heals: Vec<Heal>,
    /// Silences that mute one of its alerts.
    pub silences: Vec<Silence>,
    /// The heal switch.
    pub switch: Switch,
}

impl Story {
    /// Reads it; `None` if there is no such incident.
    pub fn of(view: View<'_>, id: u64) -> Option<Self> {
        let state = view.state;
        let incident = state.incidents.get(&id)?.clone();
        let muted = |s: &&Silence| {
            let mut alerts = incident.alerts.values();
            alerts.any(|m| mutes(&s.matchers, &m.alert.labels))
        };
        let outbox = state.outbox.values();
        let heals = state.heals.values();
        Some(Self {
            pages: outbox.filter(|o| o.page.incident == id).cloned().collect(),
            heals: heals.filter(|h| h.run.incident == id).cloned().collect(),
            silences: state.silences.values().filter(muted).cloned().collect(),
            switch: state.switch.clone(),
            incident,
        })
    }

    /// In plain words, in the order in which one would ask.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        self.what(&mut lines);
        self.told(&mut lines);
        for silence in &self.silences {
            lines.push(format!(
                "Silence {} ({}) by {} mutes it until {}: {}",
                silence.id,
                words(&silence.matchers),
                silence.by,
                silence.until.rfc3339(),
                silence.comment
            ));
        }
        self.tried(&mut lines);
        lines
    }

    fn what(&self, lines: &mut Vec<String>) {
        let i = &self.incident;
        let of = match i.about.metric.as_str() {
            "" => i.about.condition.clone(),
            metric => format!("{} of {metric}", i.about.condition),
        };
        lines.push(format!(
            "Incident {} opened at {}: {} ({of}).",
            i.id,
            i.opened_at.rfc3339(),
            i.about.name,
        ));
        let firing = i.alerts.values().filter(|m| m.resolved_at.is_none());
        lines.push(format!(
            "{} of its {} alerts still fire.",
            firing.count(),
            i.alerts.len()
        ));
        let summaries = i
            .alerts
            .values()
            .map(|m| m.alert.annotations.get("summary"));
        let summaries: BTreeSet<&str> = summaries.filter(|s| !s.is_empty()).collect();
        for summary in summaries.iter().take(SUMMARIES_MAX) {
            lines.push((*summary).to_owned());
        }
        for (series, m) in i.alerts.iter().filter(|(_, m)| m.resolved_at.is_none()) {
            if let Some(lost) = m.alert.lost_since {
                lines.push(format!(
                    "Nothing is heard of {series} since {}; that is not taken for recovery.",
                    lost.rfc3339()
                ));
            }
        }
        if let Some((at, cause)) = &i.closed {
            lines.push(format!(
                "Closed at {}: {}.",
                at.rfc3339(),
                word(cause).replace('_', " ")
            ));
        }
    }

    fn told(&self, lines: &mut Vec<String>) {
        let i = &self.incident;
        if i.about.notify.is_empty() {
            lines.push("Nobody is named to page.".to_owned());
        } else {
            lines.push(format!("It pages {}.", i.about.notify.join(", ")));
        }
        for (receiver, at) in &i.told {
            lines.push(format!("{receiver} accepted a page at {}.", at.rfc3339()));
        }
        if i.told.is_empty() && self.pages.is_empty() {
            lines.push("Nobody has been told.".to_owned());
        }
        for out in &self.pages {
            let trouble = out.trouble.as_deref().unwrap_or("no answer yet");
            lines.push(if out.in_flight {
                format!(
                    "A page to {} is on its way (attempt {}).",
                    out.page.receiver, out.attempts
                )
            } else {
                format!(
                    "A page to {} was tried {} times ({trouble}); the next attempt is at {}.",
                    out.page.receiver,
                    out.attempts,
                    out.next.rfc3339()
                )
            });
            if out.fallback_told {
                lines.push(format!(
                    "The fallback of {} was told as well.",
                    out.page.receiver
                ));
            }
        }
        if let Some(held) = &i.held {
            lines.push(format!("Pages are held: {held}."));
        }
        if let Some(acked) = &i.acked {
            let note = if acked.note.is_empty() {
                String::new()
            } else {
                format!(": {}", acked.note)
            };
            lines.push(format!(
                "{} has it since {}{note}; no repeats are sent.",
                acked.by,
                acked.at.rfc3339()
            ));
        }
    }

    fn tried(&self, lines: &mut Vec<String>) {
        for heal in &self.heals {
            let run = &heal.run;
            let end = match &heal.ended {
                None => "runs".to_owned(),
                Some(e) => format!("{} after {}", how(&e.end), e.took.human()),
            };
            let outcome = match &heal.closed {
                None => "not judged yet".to_owned(),
                Some((at, outcome)) => {
                    let why = heal.why.iter().map(|why| format!(", as {why}"));
                    let why: String = why.collect();
                    format!(
                        "{} at {}{why}",
                        word(outcome).replace('_', " "),
                        at.rfc3339()
                    )
                }
            };
            lines.push(format!(
                "Heal {}: {} for {} started at {}, {end}; {outcome}.",
                run.id,
                run.script,
                run.target,
                heal.claimed_at.rfc3339()
            ));
        }
        for (target, plan) in &self.incident.plans {
            if let Some(why) = &plan.held {
                lines.push(format!("The heal of {target} is held: {why}."));
            }
            if let Some(why) = &plan.exhausted {
                lines.push(format!("No more is tried for {target}: {why}."));
            }
        }
        if !self.switch.on {
            lines.push(format!(
                "All heals are switched off by {}: {}",
                self.switch.by, self.switch.reason
            ));
        }
    }
}

fn how(end: &RunEnd) -> String {
    match end {
        RunEnd::Exited { code } => format!("exited with {code}"),
        RunEnd::Signalled { signal } => format!("was ended by signal {signal}"),
        RunEnd::TimedOut => "was killed at its deadline".to_owned(),
        RunEnd::NotStarted { why } => format!("was not started ({why})"),
        RunEnd::Unknown { why } => format!("ended in a way nobody knows ({why})"),
    }
}
