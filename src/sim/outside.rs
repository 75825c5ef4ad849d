//! What is outside the engine: receivers that accept, fail or keep silent, and scripts that go on whatever happens to it.

use crate::engine::event::{Run, RunEnd};
use crate::model::page::{Page, Verdict};
use crate::model::time::{Duration, Timestamp};
use crate::sim::world::{Crash, Due, World};

/// How a receiver answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It accepts.
    Ok,
    /// It cannot be reached.
    Down,
    /// It will not have it.
    Refuse,
    /// It accepts, and the answer is lost.
    Unknown,
    /// It does not get it, and nobody can tell.
    Lost,
}

/// A receiver and how it behaves at the moment.
#[derive(Clone, Copy, Debug)]
pub struct Receiver {
    /// Its answer.
    pub answer: Answer,
    /// How long that takes.
    pub latency: Duration,
}

/// A script and what running it does.
#[derive(Clone, Debug)]
pub struct Script {
    /// Its exit code.
    pub code: i32,
    /// How long it takes; longer than its timeout: it is killed.
    pub takes: Duration,
    /// A metric whose feeds get another value this long after it ended.
    pub sets: Option<(String, f64, Duration)>,
}

/// What really became of a run.
#[derive(Clone, Debug)]
pub(super) struct RunFact {
    pub(super) ends_at: Timestamp,
    pub(super) end: RunEnd,
    pub(super) took: Duration,
}

impl World {
    pub(super) fn deliver(&mut self, page: Page, attempt: u32) {
        let under_way = self
            .due
            .values()
            .any(|d| matches!(d, Due::Verdict(key, a, _) if *key == page.key && *a == attempt));
        if under_way {
            if self.crash == Crash::Hard {
                self.faults
                    .push(format!("attempt {attempt} of {} left twice", page.key));
            }
            return;
        }
        let receiver = self
            .receivers
            .get(&page.receiver)
            .copied()
            .unwrap_or(Receiver {
                answer: Answer::Ok,
                latency: Duration::from_ms(100),
            });
        let (arrives, verdict) = match receiver.answer {
            Answer::Ok => (true, Verdict::Done),
            Answer::Down => (
                false,
                Verdict::Retry {
                    why: "connection refused".to_owned(),
                    after: None,
                },
            ),
            Answer::Refuse => (
                false,
                Verdict::Refused {
                    why: "404 not found".to_owned(),
                },
            ),
            Answer::Unknown | Answer::Lost => (
                receiver.answer == Answer::Unknown,
                Verdict::Unknown {
                    why: "no answer".to_owned(),
                },
            ),
        };
        let key = page.key.clone();
        if arrives {
            if self.keys.insert(page.key.clone()) {
                self.accepted.push(page);
            } else {
                self.duplicates += 1;
            }
        }
        self.later(receiver.latency, Due::Verdict(key, attempt, verdict));
    }

    pub(super) fn start(&mut self, run: Run) {
        if self.facts.contains_key(&run.id) {
            self.faults
                .push(format!("run {} was started twice", run.id));
            return;
        }
        let busy = self.started.iter().any(|r| {
            r.group == run.group && self.facts.get(&r.id).is_some_and(|f| f.ends_at > self.now)
        });
        if busy {
            self.faults
                .push(format!("two runs at once in group {}", run.group));
        }
        let script = self.scripts.get(&run.script).cloned().unwrap_or(Script {
            code: 127,
            takes: Duration::ZERO,
            sets: None,
        });
        let took = script.takes.min(run.timeout);
        let end = if script.takes > run.timeout {
            RunEnd::TimedOut
        } else {
            RunEnd::Exited { code: script.code }
        };
        if let Some((metric, value, after)) = script.sets {
            self.later(
                Duration::from_ms(took.ms() + after.ms()),
                Due::Set(metric, value),
            );
        }
        self.later(took, Due::Ended(run.id.clone()));
        let fact = RunFact {
            ends_at: self.now + took,
            end,
            took,
        };
        self.facts.insert(run.id.clone(), fact);
        self.started.push(run);
    }

    pub(super) fn adopt(&mut self, run: Run) {
        let known = self
            .due
            .values()
            .any(|d| matches!(d, Due::Ended(id) if *id == run.id));
        if known {
            return;
        }
        let now = self.now;
        let fact = self.facts.entry(run.id.clone()).or_insert(RunFact {
            ends_at: now,
            end: RunEnd::NotStarted {
                why: "the engine stopped before it could start".to_owned(),
            },
            took: Duration::ZERO,
        });
        let after = fact.ends_at.since(now);
        self.later(after, Due::Ended(run.id));
    }

    fn later(&mut self, after: Duration, due: Due) {
        self.sequence += 1;
        self.due.insert((self.now + after, self.sequence), due);
    }
}
