//! Values → edges: began, fired, calmed, kept, lost, resolved; and the incidents that gather alerts.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::Engine;
use crate::engine::event::{About, AlertKey, Cause, Event};
use crate::engine::own::Own;
use crate::engine::policy::{Missing, Rule, RuleId, Test};
use crate::engine::rule::Judged;
use crate::engine::series::Series;
use crate::engine::state::Phase;
use crate::engine::template;
use crate::model::labels::{Labels, SeriesKey};
use crate::model::time::Timestamp;

/// What an evaluation makes of an active alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing changes.
    Stays,
    /// It held for long enough.
    Fires,
    /// It was pending and is over; nobody was told.
    Calms,
    /// It is false, but goes on firing for a while.
    IsKept,
    /// It was only kept and holds again.
    Again,
    /// It fired and is over.
    Resolves,
}

impl Phase {
    /// What becomes of an alert that is active since `since`, now that its condition was judged at `at`.
    pub fn turn(self, since: Timestamp, holds: bool, rule: &Rule, at: Timestamp) -> Turn {
        match (self, holds) {
            (Phase::Pending, true) if at.since(since) >= rule.for_ => Turn::Fires,
            (Phase::Pending | Phase::Firing, true) => Turn::Stays,
            (Phase::Pending, false) => Turn::Calms,
            (Phase::Firing, false) if rule.keep_firing_for.is_zero() => Turn::Resolves,
            (Phase::Firing, false) => Turn::IsKept,
            (Phase::Kept { .. }, true) => Turn::Again,
            (Phase::Kept { since }, false) if at.since(since) < rule.keep_firing_for => Turn::Stays,
            (Phase::Kept { .. }, false) => Turn::Resolves,
        }
    }
}

/// The end of an alert that is not judged any more. Nobody was told of one that does not fire.
pub(super) fn ending(key: AlertKey, firing: bool, cause: Cause) -> Event {
    if firing {
        return Event::AlertResolved {
            key,
            cause,
            value: None,
        };
    }
    Event::AlertCalmed { key }
}

impl Engine {
    /// Judges every rule on every series it has. All edges of a tick are taken before anything is told.
    pub(super) fn judge_rules(&mut self) {
        let mut book = std::mem::take(&mut self.book);
        for entry in &mut book.rules {
            let Test::Window(test) = &entry.rule.test else {
                continue;
            };
            let (rule, from) = (&entry.rule, self.now - test.window);
            for judge in &mut entry.judges {
                let Some(series) = self.series.get(judge.series) else {
                    continue;
                };
                let window = series.window(from, self.now);
                let mut judged = test.condition.judge(window);
                if judged == Judged::NoData
                    && rule.missing == Missing::Fire
                    && series.last().is_some_and(|(t, _)| t <= self.now)
                {
                    judged = Judged::Bad(series.last().map_or(0.0, |(_, v)| v));
                }
                if !judge.active && !matches!(judged, Judged::Bad(_)) {
                    continue;
                }
                if judged == Judged::NoData && series.has_ended() {
                    judged = Judged::Ended;
                }
                // A firing alert with an easier condition to clear stays bad until that one holds.
                if judge.active
                    && let Some(resolve) = &test.resolve
                {
                    judged = match (judged, resolve.judge(window)) {
                        (Judged::Bad(v), _) => Judged::Bad(v),
                        (Judged::Ended, _) => Judged::Ended,
                        (Judged::NoData, _) | (_, Judged::NoData | Judged::Ended) => Judged::NoData,
                        (Judged::Good(v), Judged::Bad(_)) => Judged::Good(v),
                        (Judged::Good(v), Judged::Good(_)) => {
                            if self.fires(rule, series) {
                                Judged::Bad(v)
                            } else {
                                Judged::Good(v)
                            }
                        }
                    };
                }
                let key = AlertKey {
                    rule: rule.id.clone(),
                    series: series.key().to_string(),
                };
                let series_labels = series.key().labels();
                judge.active = self.take_edge(rule, key, &series_labels, judged, self.now);
            }
        }
        self.book = book;
    }

    fn fires(&self, rule: &Rule, series: &Series) -> bool {
        self.state
            .alerts
            .get(&AlertKey {
                rule: rule.id.clone(),
                series: series.key().to_string(),
            })
            .is_some_and(|a| a.is_firing())
    }

    /// One transition of one alert, judged for the time `at`; true if it is active afterwards.
    pub(super) fn take_edge(
        &mut self,
        rule: &Rule,
        key: AlertKey,
        series_labels: &Labels,
        judged: Judged,
        at: Timestamp,
    ) -> bool {
        let Some(alert) = self.state.alerts.get(&key) else {
            let Judged::Bad(value) = judged else {
                return false;
            };
            let labels = self.alert_labels(rule, series_labels, value, at);
            self.emit(Event::AlertBegan {
                key: key.clone(),
                labels,
                value,
            });
            if rule.for_.is_zero() {
                self.fire(rule, key, series_labels, value, at);
            }
            return true;
        };
        let (phase, since, lost) = (alert.phase, alert.since, alert.lost_since.is_some());
        if lost && matches!(judged, Judged::Bad(_) | Judged::Good(_)) {
            self.emit(Event::AlertHeard { key: key.clone() });
        }
        let (holds, value) = match judged {
            Judged::Bad(value) => (true, value),
            Judged::Good(value) => (false, value),
            Judged::NoData | Judged::Ended => {
                let loss = (!lost).then(|| Event::AlertLost {
                    key: key.clone(),
                    ended: judged == Judged::Ended,
                });
                return self.go_without_data(rule, key, phase, loss);
            }
        };
        match phase.turn(since, holds, rule, at) {
            Turn::Stays => true,
            Turn::Fires => {
                self.fire(rule, key, series_labels, value, at);
                true
            }
            Turn::Calms => {
                self.emit(Event::AlertCalmed { key });
                false
            }
            Turn::IsKept => {
                self.emit(Event::AlertKept { key });
                true
            }
            Turn::Again => {
                self.emit(Event::AlertAgain { key });
                true
            }
            Turn::Resolves => {
                self.emit(Event::AlertResolved {
                    key,
                    cause: Cause::Recovered,
                    value: Some(value),
                });
                false
            }
        }
    }

    /// An active alert about which there is nothing to judge; true if it is active afterwards. `loss`: unless it is lost
    /// already.
    fn go_without_data(
        &mut self,
        rule: &Rule,
        key: AlertKey,
        phase: Phase,
        loss: Option<Event>,
    ) -> bool {
        match (phase, rule.missing) {
            (Phase::Pending, Missing::Hold | Missing::Fire) => true,
            (Phase::Pending, Missing::Resolve) => {
                self.emit(Event::AlertCalmed { key });
                false
            }
            (Phase::Firing | Phase::Kept { .. }, Missing::Resolve) => {
                self.emit(Event::AlertResolved {
                    key,
                    cause: Cause::SeriesMissing,
                    value: None,
                });
                false
            }
            (Phase::Firing | Phase::Kept { .. }, Missing::Hold | Missing::Fire) => {
                if let Some(loss) = loss {
                    self.emit(loss);
                }
                true
            }
        }
    }

    /// Templates speak of what the alert is about; the rule's own labels are not in `$labels`, as in Prometheus.
    fn fire(&mut self, rule: &Rule, key: AlertKey, labels: &Labels, value: f64, at: Timestamp) {
        let ask = |query: &str| self.answer(query, at);
        let annotations = rule
            .annotations
            .iter()
            .map(|(n, t)| {
                let text = template::expand(t, labels, value, self.now, &ask);
                (n.as_str(), text)
            })
            .collect();
        self.emit(Event::AlertFired {
            key,
            annotations,
            value,
        });
    }

    /// Alerts of a rule that is gone, or that no longer picks their series, are over: nothing would judge them again.
    /// Those whose series is not known any more (its samples were too old to be read back) are without data.
    pub(super) fn drop_removed_rules(&mut self) {
        let named: BTreeSet<&str> = self.state.alerts.keys().map(|k| &*k.series).collect();
        let mut known: BTreeMap<String, &SeriesKey> = BTreeMap::new();
        for (_, series) in self.series.iter().filter(|_| !named.is_empty()) {
            let name = series.key().to_string();
            if named.contains(&*name) {
                known.insert(name, series.key());
            }
        }
        let own = self.own_alerts();
        let mut edges = Vec::new();
        for (key, alert) in self.state.alerts.iter().filter(|(k, _)| !own.contains(k)) {
            let rule = self.book.rule(&key.rule);
            // Alerts of an expression are named by labels alone, those of windows by their series.
            let by_labels = key.series.starts_with('{');
            let test = match rule.map(|r| &r.test) {
                // Its next evaluation says what is to be thought of it.
                Some(Test::Expr(_)) if by_labels => continue,
                Some(Test::Window(test)) if !by_labels => Some(test),
                Some(Test::Expr(_) | Test::Window(_)) | None => None,
            };
            let cause = match (rule.zip(test), known.get(&key.series)) {
                (None, _) => Cause::RuleRemoved,
                (Some((_, test)), Some(series)) if !test.selector.matches(series) => {
                    Cause::RuleRemoved
                }
                (Some(_), Some(_)) => continue,
                (Some((rule, _)), None) if rule.missing == Missing::Resolve => Cause::SeriesMissing,
                (Some(_), None) => {
                    if alert.is_firing() && alert.lost_since.is_none() {
                        edges.push(Event::AlertLost {
                            key: key.clone(),
                            ended: false,
                        });
                    }
                    continue;
                }
            };
            let key = key.clone();
            edges.push(ending(key, alert.is_firing(), cause));
        }
        edges.into_iter().for_each(|edge| self.emit(edge));
    }

    /// Whether a script is at work for an incident, or is being judged by more than that the alerts are over: what comes
    /// of it decides what people are told.
    fn is_healing(&self, incident: u64) -> bool {
        let verifies = || {
            let rule = &self.state.incidents.get(&incident)?.rule;
            Some(self.book.rule(rule)?.heal.as_ref()?.verify.is_some())
        };
        let mut open = self.state.heals.values().filter(|h| h.closed.is_none());
        open.any(|h| {
            h.run.incident == incident && (h.ended.is_none() || verifies().unwrap_or(false))
        })
    }

    /// Opens an incident for each rule that fires and has none; closes those whose last alert is over.
    pub(super) fn group_alerts(&mut self) {
        let firing: BTreeSet<RuleId> = self
            .state
            .alerts
            .iter()
            .filter(|(_, a)| a.is_firing())
            .map(|(k, _)| k.rule.clone())
            .collect();
        let closing: Vec<u64> = self
            .state
            .open
            .iter()
            .filter(|(rule, _)| !firing.contains(*rule))
            .map(|(_, id)| *id)
            .collect();
        for id in closing {
            if self.is_healing(id) {
                continue;
            }
            let cause = self
                .state
                .incidents
                .get(&id)
                .and_then(|i| {
                    let over = i.alerts.values().filter(|m| m.resolved_at.is_some());
                    over.max_by_key(|m| m.resolved_at)?.cause
                })
                .unwrap_or(Cause::Recovered);
            self.emit(Event::IncidentClosed { id, cause });
            self.close_pages(id);
        }
        for id in firing {
            if self.state.open.contains_key(&id) {
                continue;
            }
            let default = self
                .policy
                .as_ref()
                .and_then(|p| p.default_receiver.as_deref());
            let about = match (Own::of(&id), self.book.rule(&id)) {
                (Some(own), _) => own.about(default),
                (None, Some(rule)) => about(rule, default),
                (None, None) => continue,
            };
            let number = self.state.incident_last + 1;
            self.emit(Event::IncidentOpened {
                id: number,
                rule: id,
                about,
            });
        }
    }
}

fn about(rule: &Rule, default_receiver: Option<&str>) -> About {
    let mut notify = rule.notify.clone();
    if notify.is_empty() {
        notify.extend(default_receiver.map(str::to_owned));
    }
    About {
        name: rule.name.clone(),
        metric: rule.metric().to_owned(),
        condition: rule.words(),
        threshold: rule.threshold(),
        runbook: rule.runbook.clone(),
        notify,
        silence_window: rule.silence_window,
    }
}
