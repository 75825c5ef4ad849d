//! What to try: guards before a run, verification after it, the next step, or a person.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

mod fresh;
pub mod verify;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::event::{AlertKey, Event, Outcome, Run, RunEnd, of_rule};
use crate::engine::heal::verify::Said;
use crate::engine::limits::HEAL_BUSY_MAX;
use crate::engine::policy::{Compare, Condition, Heal as Terms, Rule, Test};
use crate::engine::rule::Judged;
use crate::engine::state::{Alert, Heal, Incident, Phase, Plan};
use crate::engine::{Effect, Engine};
use crate::model::page::PageKind;
use crate::model::time::{Duration, Timestamp};

impl RunEnd {
    /// The outcome, if the end alone decides it; `None` where the verify does.
    fn outcome(&self) -> Option<Outcome> {
        match self {
            RunEnd::Exited { code: 0 } | RunEnd::Unknown { .. } => None,
            RunEnd::Exited { code: 75 } => Some(Outcome::Busy),
            RunEnd::Exited { code: 77 } => Some(Outcome::NotApplicable),
            RunEnd::Exited { code: 78 } => Some(Outcome::Refused),
            RunEnd::Exited { .. } | RunEnd::Signalled { .. } => Some(Outcome::Failed),
            RunEnd::TimedOut => Some(Outcome::TimedOut),
            RunEnd::NotStarted { .. } => Some(Outcome::NotStarted),
        }
    }
}

/// The label's value that a heal acts on, or the rule as a whole.
fn target_of(terms: &Terms, rule: &Rule, alert: &Alert) -> String {
    match &terms.target {
        Some(label) => alert.labels.get(label).to_owned(),
        None => rule.name.clone(),
    }
}

impl Engine {
    /// Verifies runs that ended, then starts what may start.
    pub(super) fn step_heals(&mut self) {
        let open: Vec<Heal> = self
            .state
            .heals
            .values()
            .filter(|h| h.closed.is_none())
            .cloned()
            .collect();
        for heal in open {
            self.verify(&heal);
        }
        let heals = &self.state.heals;
        let is_open = |run: &String| heals.get(run).is_some_and(|h| h.closed.is_none());
        self.judging.retain(|run, _| is_open(run));
        let incidents: Vec<u64> = self.state.open.values().copied().collect();
        for id in incidents {
            self.step_incident(id);
        }
    }

    /// A script ended.
    pub(super) fn ended(&mut self, run: &str, end: RunEnd, took: Duration, output: String) {
        let known = self
            .state
            .heals
            .get(run)
            .is_some_and(|h| h.ended.is_none() && h.closed.is_none());
        if !known {
            return;
        }
        let outcome = end.outcome();
        self.emit(Event::HealExited {
            run: run.to_owned(),
            end,
            took,
            output,
        });
        if let Some(outcome) = outcome {
            self.close_run(run, outcome, None);
        }
        self.step_heals();
        self.send_pages();
    }

    /// `why`: what the rule's `verify` says, if it does not hold.
    fn close_run(&mut self, run: &str, outcome: Outcome, why: Option<String>) {
        let words = match &why {
            Some(why) => format!("{}: {why}", outcome.words()),
            None => outcome.words().to_owned(),
        };
        self.emit(Event::HealClosed {
            run: run.to_owned(),
            outcome,
            why,
        });
        let Some((incident, target)) = self
            .state
            .heals
            .get(run)
            .map(|h| (h.run.incident, h.run.target.clone()))
        else {
            return;
        };
        match outcome {
            Outcome::Healed => {}
            // The target recovered, or the rule was edited and knows it no more: no step will follow, and what the
            // script left behind is still to be looked at.
            Outcome::NoEffect | Outcome::Failed | Outcome::TimedOut => {
                if !self.fires_still(incident, Some(&target)) {
                    self.exhaust(incident, &target, words);
                }
            }
            Outcome::NotStarted | Outcome::NotApplicable | Outcome::Busy => {
                let elsewhere = self.fires_still(incident, None);
                if elsewhere && !self.fires_still(incident, Some(&target)) {
                    self.exhaust(incident, &target, words);
                }
            }
            Outcome::Worse | Outcome::Unverifiable | Outcome::Unknown | Outcome::Refused => {
                self.exhaust(incident, &target, words)
            }
        }
    }

    /// Whether an incident's alert still fires, on that target or on any.
    fn fires_still(&self, incident: u64, target: Option<&str>) -> bool {
        let Some(incident) = self.state.incidents.get(&incident) else {
            return false;
        };
        let rule = self.book.rule(&incident.rule);
        let heal = rule.and_then(|r| r.heal.as_ref().map(|h| (r, h)));
        let hit = |alert: &Alert| match (target, heal) {
            (None, _) => true,
            (Some(target), Some((rule, heal))) => target_of(heal, rule, alert) == target,
            (Some(_), None) => false,
        };
        let mut firing = incident.alerts.values().filter(|m| m.resolved_at.is_none());
        firing.any(|m| hit(&m.alert))
    }

    /// No further step: a person is needed, whatever the incident's page said so far.
    fn exhaust(&mut self, incident: u64, target: &str, why: String) {
        self.emit(Event::HealExhausted {
            incident,
            target: target.to_owned(),
            why,
        });
        if self
            .state
            .incidents
            .get(&incident)
            .is_some_and(|i| i.closed.is_none())
        {
            self.queue_pages(incident, PageKind::HealFailed);
        }
    }

    /// Judges a run by what came in after it: data from before the heal says nothing about it.
    fn verify(&mut self, heal: &Heal) {
        let Some(ended) = &heal.ended else { return };
        let Some(incident) = self.state.incidents.get(&heal.run.incident) else {
            return;
        };
        let Some((rule, terms)) = self
            .book
            .rule(&incident.rule)
            .and_then(|r| r.heal.clone().map(|h| (Arc::clone(r), h)))
        else {
            self.close_run(&heal.run.id, Outcome::Unverifiable, None);
            return;
        };
        let fresh_from = ended.at + terms.settle;
        if self.now <= fresh_from {
            return;
        }
        let deadline = ended.at + terms.within.max(terms.settle);
        let own = self.judge_target(&rule, &terms, incident, &heal.run.target, fresh_from);
        let said = match &terms.verify {
            Some(verify) => {
                let target = terms.target.as_deref();
                self.judge_verify(verify, &heal.run, target, fresh_from, deadline)
            }
            None => Said::from(own),
        };
        let (judged, why) = (said.judged, said.why);
        let run = heal.run.id.clone();
        match (judged, heal.good_since) {
            // Where `settle` is as long as `within`, this is the first look.
            (Judged::Good(_), None) if self.now <= deadline.max(fresh_from + self.every) => {
                self.emit(Event::HealVerifying {
                    run: run.clone(),
                    good_since: Some(self.now),
                });
                if terms.hold.is_zero() {
                    self.close_run(&run, Outcome::Healed, None);
                }
            }
            (Judged::Good(_), Some(since)) if self.now.since(since) >= terms.hold => {
                self.close_run(&run, Outcome::Healed, None)
            }
            (Judged::Good(_), Some(_)) => {}
            (Judged::Bad(_), Some(_)) if self.now < deadline => self.emit(Event::HealVerifying {
                run,
                good_since: None,
            }),
            (Judged::NoData | Judged::Ended, _) if self.now < deadline + terms.hold => {}
            (_, _) if self.now < deadline => {}
            (_, _) if matches!(ended.end, RunEnd::Unknown { .. }) => {
                self.close_run(&run, Outcome::Unknown, why)
            }
            (Judged::NoData | Judged::Ended, _) => self.close_run(&run, Outcome::Unverifiable, why),
            (Judged::Bad(_), _) if matches!(own, Judged::Bad(value) if worse(&rule, heal.run.value, value)) => {
                self.close_run(&run, Outcome::Worse, why)
            }
            (Judged::Bad(_) | Judged::Good(_), _) => self.close_run(&run, Outcome::NoEffect, why),
        }
    }

    /// The rule's condition over the target's series, on samples after `fresh_from` only. One bad series makes it bad;
    /// one without data leaves it open.
    fn judge_target(
        &self,
        rule: &Rule,
        terms: &Terms,
        incident: &Incident,
        target: &str,
        fresh_from: Timestamp,
    ) -> Judged {
        let Some((entry, test)) = self
            .book
            .window_rule(&rule.id)
            .and_then(|e| Some((e, e.test()?)))
        else {
            // What was evaluated before that says nothing about the heal, and neither does what failed since.
            let evaluated = self.book.evaluated(&rule.id);
            if evaluated.is_none_or(|at| at <= fresh_from) {
                return Judged::NoData;
            }
            return self.judge_members(rule, terms, incident, target);
        };
        let from = (self.now - test.window).max(fresh_from);
        let mut all = None;
        let judges = &entry.judges;
        for series in judges.iter().filter_map(|j| self.series.get(j.series)) {
            let Some(member) = incident.alerts.get(&series.key().to_string()) else {
                continue;
            };
            if target_of(terms, rule, &member.alert) != target {
                continue;
            }
            all = match (all, test.condition.judge(series.window(from, self.now))) {
                (Some(Judged::Bad(v)), _) | (_, Judged::Bad(v)) => Some(Judged::Bad(v)),
                (None | Some(Judged::Good(_)), Judged::Good(v)) => Some(Judged::Good(v)),
                (_, _) => Some(Judged::NoData),
            };
        }
        all.unwrap_or(Judged::NoData)
    }

    /// For an expression: what its last evaluation said of the target's alerts.
    fn judge_members(
        &self,
        rule: &Rule,
        terms: &Terms,
        incident: &Incident,
        target: &str,
    ) -> Judged {
        let mut all = Judged::NoData;
        for (series, member) in &incident.alerts {
            if target_of(terms, rule, &member.alert) != target {
                continue;
            }
            let key = AlertKey {
                rule: rule.id.clone(),
                series: series.clone(),
            };
            all = match (self.state.alerts.get(&key), all) {
                (Some(alert), _) if alert.lost_since.is_some() => return Judged::NoData,
                // It is kept firing for a while although it is fine.
                (Some(alert), all) if matches!(alert.phase, Phase::Kept { .. }) => match all {
                    Judged::NoData => Judged::Good(alert.value),
                    other => other,
                },
                (Some(alert), _) => {
                    let value = self.book.value(&rule.id, series);
                    Judged::Bad(value.unwrap_or(alert.value))
                }
                (None, Judged::NoData) => Judged::Good(member.alert.value),
                (None, other) => other,
            };
        }
        // Where another value makes another alert, that one says that the condition still holds, also while it is pending.
        let other = |(key, alert): &(&AlertKey, &Alert)| {
            !incident.alerts.contains_key(&key.series)
                && !matches!(alert.phase, Phase::Kept { .. })
                && target_of(terms, rule, alert) == target
        };
        let group = self.book.group(&rule.id);
        if group.is_some_and(|group| rule.names_by_own_labels(group))
            && let Some((_, alert)) = of_rule(&self.state.alerts, &rule.id).find(other)
        {
            return Judged::Bad(alert.value);
        }
        all
    }

    fn step_incident(&mut self, id: u64) {
        let Some(incident) = self.state.incidents.get(&id) else {
            return;
        };
        let Some((rule, terms)) = self
            .book
            .rule(&incident.rule)
            .and_then(|r| r.heal.clone().map(|h| (Arc::clone(r), h)))
        else {
            return;
        };
        let mut targets: BTreeMap<String, Alert> = BTreeMap::new();
        for member in incident.alerts.values().filter(|m| m.resolved_at.is_none()) {
            targets
                .entry(target_of(&terms, &rule, &member.alert))
                .or_insert_with(|| member.alert.clone());
        }
        for (target, alert) in targets {
            let plan = self
                .state
                .incidents
                .get(&id)
                .and_then(|i| i.plans.get(&target))
                .cloned()
                .unwrap_or_default();
            if plan.run.is_some() || plan.exhausted.is_some() {
                continue;
            }
            if plan.last == Some(Outcome::Healed) {
                if plan.held.is_none() && self.has_relapsed(id, &target, &alert) {
                    self.emit(Event::HealHeld {
                        incident: id,
                        target,
                        why: "it was healed in this incident, and fires again".to_owned(),
                    });
                }
                continue;
            }
            let Some(step) = terms
                .steps
                .get(plan.step)
                .filter(|_| plan.attempts <= HEAL_BUSY_MAX)
            else {
                let why = plan.last.map_or("no step left", Outcome::words);
                self.exhaust(id, &target, format!("no step left, the last one: {why}"));
                continue;
            };
            if let Some(why) = self.guard(&terms, &plan, &target, &alert) {
                if plan.held.as_ref() != Some(&why) {
                    self.emit(Event::HealHeld {
                        incident: id,
                        target,
                        why,
                    });
                }
                continue;
            }
            let attempt = plan.attempts + 1;
            // Given once: a place among the targets would move when another one joins, and two runs would share an id.
            let number = self.state.incidents.get(&id).map_or(0, |i| {
                i.plans.get(&target).map_or(i.plans.len(), |p| p.number)
            });
            let args = step
                .args
                .iter()
                .map(|a| {
                    a.strip_prefix('$')
                        .map_or(a.clone(), |label| alert.labels.get(label).to_owned())
                })
                .collect();
            let run = Run {
                id: format!(
                    "{:x}-{id}-{number}-{}-{attempt}",
                    self.state
                        .incidents
                        .get(&id)
                        .map_or(0, |i| i.opened_at.ms()),
                    plan.step
                ),
                incident: id,
                group: terms.group.clone(),
                step: plan.step,
                attempt,
                script: step.script.clone(),
                args,
                timeout: step.timeout,
                rule: rule.name.clone(),
                labels: alert.labels.clone(),
                value: alert.value,
                threshold: rule.threshold(),
                fired_at: alert.since,
                runbook: rule.runbook.clone(),
                target,
            };
            self.emit(Event::HealClaimed {
                run: Box::new(run.clone()),
            });
            self.behind.push(Effect::Start(Box::new(run)));
        }
    }

    /// Whether an alert began after the target was healed in the same incident: what helped for a while is not done again.
    fn has_relapsed(&self, incident: u64, target: &str, alert: &Alert) -> bool {
        let runs = self.state.heals.values();
        let mut of_this = runs.filter(|h| h.run.incident == incident && h.run.target == target);
        of_this.any(|h| h.closed.is_some_and(|(at, _)| alert.since > at))
    }

    /// Why a run may not start now: the first refusal.
    fn guard(&self, terms: &Terms, plan: &Plan, target: &str, alert: &Alert) -> Option<String> {
        let switch = &self.state.switch;
        if !switch.on {
            let by = format!("heals are switched off by {}", switch.by);
            return Some(match switch.reason.as_str() {
                "" => by,
                reason => format!("{by}: {reason}"),
            });
        }
        if target.is_empty() {
            return Some(
                "the alert has no value in the target label: nothing is acted on".to_owned(),
            );
        }
        if alert.lost_since.is_some() {
            return Some("no fresh data: the alert's series vanished".to_owned());
        }
        if let Some(other) = self
            .state
            .heals
            .values()
            .find(|h| h.closed.is_none() && h.run.group == terms.group)
        {
            return Some(format!(
                "group {} is busy with run {}",
                terms.group, other.run.id
            ));
        }
        let starts = self
            .state
            .starts
            .get(&(terms.group.clone(), target.to_owned()))
            .map_or(&[][..], Vec::as_slice);
        let recent: Vec<Timestamp> = starts
            .iter()
            .copied()
            .filter(|t| self.now.since(*t) < terms.limit_per)
            .collect();
        if recent.len() >= terms.limit as usize {
            let until = recent.first().map_or(self.now, |t| *t + terms.limit_per);
            return Some(format!(
                "limit of {} starts in {} is used up until {until}",
                terms.limit, terms.limit_per
            ));
        }
        let again = plan.step == 0 || plan.attempts > 0;
        if let (true, Some(last)) = (again, recent.last()) {
            let wait = (1..recent.len().min(32))
                .fold(terms.backoff_min, |d, _| d.doubled(terms.backoff_max));
            if *last + wait > self.now {
                return Some(format!("backoff until {}", *last + wait));
            }
        }
        None
    }
}

/// Further past the threshold than before by a fifth.
fn worse(rule: &Rule, before: f64, after: f64) -> bool {
    let Test::Window(test) = &rule.test else {
        return false;
    };
    match test.condition {
        Condition::Threshold {
            compare: Compare::Greater | Compare::GreaterEqual,
            ..
        } => after > before + before.abs() * 0.2,
        Condition::Threshold {
            compare: Compare::Less | Compare::LessEqual,
            ..
        } => after < before - before.abs() * 0.2,
        Condition::Threshold {
            compare: Compare::Equal | Compare::NotEqual,
            ..
        }
        | Condition::Guard { .. } => false,
    }
}
