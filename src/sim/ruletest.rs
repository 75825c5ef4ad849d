//! Tests of rules in promtool's format, played in virtual time with promtool's verdicts.
//!
//! Time goes from the test's start to its last check, one evaluation interval a step. At each step the samples up to then
//! are stored, every group is evaluated once in order ([`rules`], with Prometheus's own semantics: what `strict: true`
//! means), and the alerts that are asked for are compared; expressions are asked at the end ([`compare`]). Rules are
//! evaluated by what the engine evaluates them with.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

pub mod compare;
pub mod rules;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::ruletest::{AlertCheck, ExprCheck, RuleTest, RuleTests};
use crate::engine::policy::Group;
use crate::engine::promql::Query;
use crate::engine::promql::answer::Answer;
use crate::engine::promql::settings::{Limits, Settings};
use crate::engine::promql::source::{Point, Value};
use crate::model::labels::Labels;
use crate::model::time::{Duration, Timestamp};
use crate::sim::promqltest::script::{Load, Loading, ScriptError};
use crate::sim::promqltest::store::{Store, points};
use crate::sim::ruletest::rules::{Outside, Rules};

/// Samples that one evaluation may look at, as in promtool: a test that needs more fails there, so here.
const SAMPLES_MAX: usize = 10_000;
/// Steps of one test: what rules record at each of them is kept. Nearly two years, a minute a step.
const STEPS_MAX: u64 = 1_000_000;

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The line of the check, counted from 1.
    pub line: usize,
    /// What was checked.
    pub about: String,
    /// What is different, in lines that begin with `-` (expected) and `+` (found); or why it cannot be said.
    pub lines: Vec<String>,
}

/// Groups in the order in which a file's tests evaluate them: those that it lists in that order, then the others.
pub fn in_order(order: &[String], mut groups: Vec<Arc<Group>>) -> Vec<Arc<Group>> {
    let place = |group: &Arc<Group>| {
        let listed = order.iter().position(|name| *name == group.name);
        listed.unwrap_or(usize::MAX)
    };
    groups.sort_by_key(place);
    groups
}

/// Plays one test of a file over groups; what is not as it must be.
pub fn play(tests: &RuleTests, test: &RuleTest, groups: &[Arc<Group>]) -> Vec<Failure> {
    let mut world = match World::new(tests, test, groups) {
        Ok(world) => world,
        Err(failure) => return vec![failure],
    };
    let mut failures = Vec::new();
    let mut times: Vec<Duration> = test.alerts.iter().map(|c| c.at).collect();
    times.sort_unstable();
    times.dedup();
    let mut times = times.iter().peekable();
    let alerts_last = test.alerts.iter().map(|c| c.at);
    let last = alerts_last.chain(test.exprs.iter().map(|c| c.at)).max();
    let steps = last.unwrap_or_default().ms() / tests.interval.ms().max(1);
    if steps > STEPS_MAX {
        return vec![Failure {
            line: test.line,
            about: "this test".to_owned(),
            lines: vec![format!(
                "has {steps} evaluations, at most {STEPS_MAX} are made: check less late, or evaluate less often"
            )],
        }];
    }
    for step in 0..=steps {
        let after = Duration::from_ms(step.saturating_mul(tests.interval.ms()));
        let errors = world.step(test.start + after);
        if !errors.is_empty() {
            let failed = errors.into_iter().map(|(what, error)| Failure {
                line: test.line,
                about: format!("{what} at {after}"),
                lines: vec![error],
            });
            failures.extend(failed);
            return failures;
        }
        let next = after.ms().saturating_add(tests.interval.ms());
        while let Some(at) = times.next_if(|at| at.ms() < next) {
            for check in test.alerts.iter().filter(|c| c.at == *at) {
                failures.extend(world.check_alerts(check));
            }
        }
    }
    for check in &test.exprs {
        failures.extend(world.check_expr(check, test.start + check.at, tests.fuzzy));
    }
    failures
}

/// Series that are loaded as time goes by, and rules over them.
struct World<'a> {
    store: Store,
    rules: Rules,
    settings: Settings,
    outside: Outside<'a>,
    /// The samples of each input series that are not stored yet.
    input: Vec<(Labels, std::iter::Peekable<std::vec::IntoIter<Point>>)>,
}

impl<'a> World<'a> {
    fn new(tests: &RuleTests, test: &'a RuleTest, groups: &[Arc<Group>]) -> Result<Self, Failure> {
        let ms = |d: Duration| i64::try_from(d.ms()).unwrap_or(i64::MAX);
        let mut load = Loading::new(Load {
            line: test.line,
            start_ms: test.start.ms(),
            step_ms: ms(test.step),
            with_native: false,
            series: BTreeMap::new(),
        });
        let failed = |e: ScriptError| Failure {
            line: e.line,
            about: "an input series".to_owned(),
            lines: vec![e.what],
        };
        for (line, series) in &test.series {
            load.take(*line, series.clone()).map_err(failed)?;
        }
        let load = load.finish().map_err(failed)?;
        let input = load.series.iter().map(|(labels, loaded)| {
            let points: Vec<Point> = points(&load, loaded).collect();
            (labels.clone(), points.into_iter().peekable())
        });
        Ok(Self {
            store: Store::default(),
            rules: Rules::new(groups),
            settings: Settings {
                subquery_step_ms: ms(tests.interval),
                limits: Limits {
                    samples: SAMPLES_MAX,
                    ..Limits::default()
                },
                ..Settings::default()
            },
            outside: Outside {
                labels: &test.external_labels,
                url: &test.external_url,
            },
            input: input.collect(),
        })
    }

    /// Stores what is measured up to a time and evaluates all rules; those that failed, and why.
    fn step(&mut self, now: Timestamp) -> Vec<(String, String)> {
        for (labels, points) in &mut self.input {
            while let Some(point) = points.next_if(|p| p.ts <= now.ms()) {
                if let Err(error) = self.store.append(labels, point) {
                    return vec![("an input series".to_owned(), error)];
                }
            }
        }
        self.rules
            .evaluate(&mut self.store, &self.settings, self.outside, now)
    }

    fn check_alerts(&self, check: &AlertCheck) -> Option<Failure> {
        let got = self
            .rules
            .firing(&self.store, &self.settings, &check.name, self.outside);
        let lines = compare::alerts(&check.expected, got);
        (!lines.is_empty()).then(|| Failure {
            line: check.line,
            about: format!("alert {} at {}", check.name, check.at),
            lines,
        })
    }

    fn check_expr(&self, check: &ExprCheck, at: Timestamp, fuzzy: bool) -> Option<Failure> {
        let failure = |lines| Failure {
            line: check.line,
            about: format!("expression at {}: {}", check.at, one_line(&check.text)),
            lines,
        };
        let wanted = match &check.wanted {
            Ok(wanted) => wanted,
            Err(problems) => {
                let lines = problems.iter().map(|p| p.brief()).collect();
                return Some(failure(lines));
            }
        };
        let query = Query::new(wanted.expr.clone(), self.settings.clone());
        let lines = match query.instant(&self.store, at.ms()).map(|o| o.answer) {
            Err(error) => vec![error.text],
            Ok(Answer::Vector(got)) => compare::samples(&wanted.samples, got, fuzzy),
            Ok(Answer::Scalar(value)) => {
                let got = vec![(Labels::new(), Value::Float(value))];
                compare::samples(&wanted.samples, got, fuzzy)
            }
            Ok(Answer::Text(_) | Answer::Matrix(_)) => {
                vec!["rule result is not a vector or scalar".to_owned()]
            }
        };
        (!lines.is_empty()).then(|| failure(lines))
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
