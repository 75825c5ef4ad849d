//! What was tried and what came of it, as people read it.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::engine::Engine;
use crate::engine::event::{Outcome, RunEnd};
use crate::engine::state::{Heal, Incident};
use crate::model::time::Timestamp;

impl Outcome {
    /// As people read it.
    pub fn words(self) -> &'static str {
        match self {
            Outcome::Healed => "healed",
            Outcome::NoEffect => "no effect",
            Outcome::Worse => "worse than before",
            Outcome::Failed => "failed",
            Outcome::TimedOut => "timed out",
            Outcome::Unverifiable => "not verifiable: no fresh data",
            Outcome::Unknown => "outcome unknown",
            Outcome::NotStarted => "not started",
            Outcome::NotApplicable => "not applicable",
            Outcome::Refused => "refused by the script",
            Outcome::Busy => "busy, to be tried again",
        }
    }
}

impl RunEnd {
    /// As people read it.
    pub fn words(&self) -> String {
        match self {
            RunEnd::Exited { code: 0 } => "success".to_owned(),
            RunEnd::Exited { code } => format!("failed with exit code {code}"),
            RunEnd::Signalled { signal } => format!("ended by signal {signal}"),
            RunEnd::TimedOut => "killed at its deadline".to_owned(),
            RunEnd::NotStarted { why } => format!("not started: {why}"),
            RunEnd::Unknown { why } => format!("outcome unknown: {why}"),
        }
    }
}

impl Heal {
    /// One run in one sentence, without its full stop. `over`: the incident is, so what ended well has healed it.
    fn words(&self, over: bool) -> String {
        let script = &self.run.script;
        let Some(ended) = &self.ended else {
            return match &self.closed {
                Some((_, outcome)) => format!("{script}: {}", outcome.words()),
                None => format!("{script} is running"),
            };
        };
        let (end, took) = (ended.end.words(), ended.took.human());
        if let (RunEnd::Exited { code: 0 }, Some(why)) = (&ended.end, &self.why) {
            return format!("{script} ended well in {took}, but {why}");
        }
        match (&ended.end, self.closed.map(|(_, outcome)| outcome)) {
            (_, Some(Outcome::Healed)) => format!("{script} healed it, in {took}"),
            (RunEnd::Exited { code: 0 }, None) if over => {
                format!("{script} healed it, in {took}")
            }
            (RunEnd::Exited { code: 0 }, None) => {
                format!("{script} ended well in {took}; whether it helped is not known yet")
            }
            (RunEnd::Exited { code: 0 }, Some(Outcome::NoEffect)) => {
                format!("{script} ended well in {took}, but it is as bad as before")
            }
            (RunEnd::Exited { code: 0 }, Some(Outcome::Worse)) => {
                format!("{script} ended well in {took}, but it is worse than before")
            }
            (RunEnd::Exited { code: 0 }, Some(Outcome::Unverifiable)) => {
                format!("{script} ended well in {took}, but no fresh data says whether it helped")
            }
            (RunEnd::Exited { code: 75 }, _) => {
                format!("{script} says that it cannot now (exit code 75)")
            }
            (RunEnd::Exited { code: 77 }, _) => {
                format!("{script} says that it does not apply (exit code 77)")
            }
            (RunEnd::Exited { code: 78 }, _) => format!("{script} refuses (exit code 78)"),
            (RunEnd::NotStarted { .. } | RunEnd::Unknown { .. }, _) => format!("{script}: {end}"),
            (RunEnd::TimedOut, _) => format!("{script} was {end}, after {took}"),
            (RunEnd::Exited { .. } | RunEnd::Signalled { .. }, _) => {
                format!("{script} {end} after {took}")
            }
        }
    }
}

impl Engine {
    /// What was tried so far, in one line; empty if nothing was.
    pub(in crate::engine) fn heal_words(&self, incident: &Incident) -> String {
        let runs = self.state.heals.values();
        let runs = runs.filter(|h| h.run.incident == incident.id);
        let over = incident.closed.is_some();
        let mut said: Vec<(Timestamp, String)> =
            runs.map(|h| (h.claimed_at, h.words(over))).collect();
        said.sort();
        let several = incident.plans.len() > 1;
        for (target, plan) in incident.plans.iter().filter(|(_, p)| p.run.is_none()) {
            let of = if several {
                format!("{target}: ")
            } else {
                String::new()
            };
            match (&plan.exhausted, &plan.held) {
                (Some(_), _) if !over => {
                    said.push((self.now, format!("{of}nothing more is tried")))
                }
                (None, Some(why)) => said.push((self.now, format!("{of}no script runs: {why}"))),
                (Some(_), _) | (None, None) => {}
            }
        }
        let said: Vec<String> = said.into_iter().map(|(_, s)| s).collect();
        said.join("; ")
    }
}
