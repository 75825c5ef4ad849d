//! Playing a script: every question is asked in several ways that must give the same answer.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use crate::engine::promql::answer::{Answer, Outcome};
use crate::engine::promql::ast::{At, Expr, Kind, Shift};
use crate::engine::promql::settings::{Limits, Settings};
use crate::engine::promql::source::Value;
use crate::engine::promql::{Dialect, Query, parse};
use crate::model::labels::Labels;
use crate::sim::promqltest::compare;
use crate::sim::promqltest::script::{self, Command, Eval, ScriptError, Steps, When};
use crate::sim::promqltest::store::Store;

/// An evaluation of a script and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The line of the script, counted from 1.
    pub line: usize,
    /// The expression.
    pub expr: String,
    /// What is different from what is expected, if anything.
    pub difference: Option<Difference>,
}

/// What was expected and what came instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// In which way the question was asked, if not just as written.
    pub way: String,
    /// What should have come.
    pub expected: String,
    /// What came.
    pub got: String,
}

impl Difference {
    /// A difference where the question was asked as written.
    pub(super) fn new(expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self {
            way: String::new(),
            expected: expected.into(),
            got: got.into(),
        }
    }
    fn when(mut self, way: impl Into<String>) -> Self {
        self.way = way.into();
        self
    }
}

impl std::fmt::Display for Checked {
    /// One line for what passed; three more for what did not.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.expr)?;
        let Some(difference) = &self.difference else {
            return Ok(());
        };
        if !difference.way.is_empty() {
            write!(f, "\n  {}", difference.way)?;
        }
        write!(
            f,
            "\n  expected  {}\n  got       {}",
            difference.expected, difference.got
        )
    }
}

/// The settings of the public conformance suite.
pub fn settings() -> Settings {
    Settings {
        delayed_name_removal: true,
        start_timestamps: true,
        limits: Limits {
            samples: 10_000,
            ..Limits::default()
        },
        ..Settings::default()
    }
}

/// Plays a script: one result for each evaluation in it.
///
/// # Errors
/// If the text is no script, or loads what cannot be stored.
pub fn play(text: &str, settings: &Settings) -> Result<Vec<Checked>, ScriptError> {
    let mut store = Store::default();
    let mut checked = Vec::new();
    for command in script::parse(text)? {
        match command {
            Command::Clear => store = Store::default(),
            Command::Load(load) => store.load(&load)?,
            Command::Eval(eval) => {
                let difference = check(&eval, &store, settings).err();
                checked.push(Checked {
                    line: eval.line,
                    expr: eval.expr,
                    difference,
                });
            }
        }
    }
    Ok(checked)
}

fn check(eval: &Eval, store: &Store, settings: &Settings) -> Result<(), Difference> {
    let expr = match parse(&eval.expr, Dialect::ALL) {
        Ok(expr) => expr,
        Err(error) => {
            // What others find while they evaluate, and then without a place, may be found here when it is read.
            return compare::failure(&eval.expected, &error.message)
                .or_else(|_| compare::failure(&eval.expected, &error.located(&eval.expr)));
        }
    };
    let ask = Ask {
        eval,
        store,
        settings,
    };
    match eval.when {
        When::Range(steps) => {
            let answer = ask
                .query(&expr)
                .range(store, steps.start, steps.end, steps.step);
            ask.judge(answer.map_err(|e| e.text), Some(steps))
        }
        When::Instant(at) => {
            ask.instant(&expr, at)?;
            let Some(pinned) = pinned(&expr, at) else {
                return Ok(());
            };
            let second = 1_000_i64;
            let times = if at == 0 {
                vec![-second, 0, second]
            } else {
                vec![at.saturating_mul(-10), 0, at / 5, at, at.saturating_mul(10)]
            };
            for time in times {
                ask.instant(&pinned, time).map_err(|difference| {
                    let way = format!(
                        "with `@ {}` on every selector, at {} s{}{}",
                        at as f64 / 1e3,
                        time as f64 / 1e3,
                        if difference.way.is_empty() { "" } else { ", " },
                        difference.way
                    );
                    difference.when(way)
                })?;
            }
            Ok(())
        }
    }
}

/// A question of a script, and whom it is put to.
struct Ask<'a> {
    eval: &'a Eval,
    store: &'a Store,
    settings: &'a Settings,
}

impl Ask<'_> {
    fn query(&self, expr: &Expr) -> Query {
        Query::new(Arc::new(expr.clone()), self.settings.clone()).written(&self.eval.expr)
    }

    /// Judges what came of a query.
    fn judge(
        &self,
        outcome: Result<Outcome, String>,
        steps: Option<Steps>,
    ) -> Result<(), Difference> {
        let expected = &self.eval.expected;
        match outcome {
            Err(text) => compare::failure(expected, &text),
            Ok(outcome) => {
                if let Some(wanted) = &expected.fail {
                    return Err(Difference::new(format!("error: {wanted}"), "no error"));
                }
                compare::remarks(expected, &outcome)?;
                compare::value(expected, steps, &outcome.answer)
            }
        }
    }

    /// Asks at one time, and over three steps of which the middle one is that time.
    fn instant(&self, expr: &Expr, at: i64) -> Result<(), Difference> {
        let query = self.query(expr);
        let outcome = query.instant(self.store, at).map_err(|e| e.text);
        let scalar = matches!(&outcome, Ok(o) if matches!(o.answer, Answer::Scalar(_)));
        let failed = outcome.is_err();
        self.judge(outcome, None)?;
        let expected = &self.eval.expected;
        let fixed = matches!(
            expected.value,
            script::Value::Text(_) | script::Value::Windows(..)
        );
        let own = ["start()", "end()", "range()", "step()"];
        if failed || fixed || own.iter().any(|call| self.eval.expr.contains(call)) {
            return Ok(());
        }
        let minute = 60_000;
        let way = "as the middle of three steps";
        let outcome = query
            .range(
                self.store,
                at.saturating_sub(minute),
                at.saturating_add(minute),
                minute,
            )
            .map_err(|e| Difference::new("no error", format!("error: {}", e.text)).when(way))?;
        let Answer::Matrix(matrix) = outcome.answer else {
            return Err(Difference::new("a matrix", "something else").when(way));
        };
        if expected.ordered {
            return Ok(());
        }
        let answer = middle(&matrix, at, scalar);
        compare::value(expected, None, &answer).map_err(|difference| difference.when(way))
    }
}

/// What a range query says of one time.
fn middle(matrix: &[(Labels, Vec<(i64, Value)>)], at: i64, scalar: bool) -> Answer {
    let all: Vec<(Labels, Value)> = matrix
        .iter()
        .flat_map(|(labels, points)| {
            let then = points.iter().filter(|(ts, _)| *ts == at);
            then.map(|(_, value)| (labels.clone(), value.clone()))
        })
        .collect();
    match all.as_slice() {
        [(_, Value::Float(value))] if scalar => Answer::Scalar(*value),
        _ => Answer::Vector(all),
    }
}

/// Functions whose value depends on when they are evaluated, even if their argument does not.
const DEPEND_ON_TIME: [&str; 15] = [
    "days_in_month",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "hour",
    "minute",
    "month",
    "year",
    "predict_linear",
    "time",
    "timestamp",
    "start",
    "end",
    "range",
    "step",
];

/// The expression with `@ at` on every selector and subquery that has none; a subquery pins what is in it. `None` if
/// it depends on the time of evaluation nevertheless.
fn pinned(expr: &Expr, at: i64) -> Option<Expr> {
    let mut expr = expr.clone();
    pin(&mut expr, at).then_some(expr)
}

/// Pins in place; whether the value does not depend on the time of evaluation any more.
fn pin(expr: &mut Expr, at: i64) -> bool {
    let set = |shift: &mut Shift| {
        shift.at.get_or_insert(At::Ms(at));
        true
    };
    match &mut expr.kind {
        Kind::Number(_) | Kind::Text(_) => true,
        Kind::Vector(selector) | Kind::Matrix { selector, .. } => set(&mut selector.shift),
        Kind::Subquery { shift, .. } => set(shift),
        Kind::Call { function, args, .. } => {
            !DEPEND_ON_TIME.contains(function) && args.iter_mut().all(|arg| pin(arg, at))
        }
        Kind::Aggregate { param, expr, .. } => {
            pin(expr, at) && param.as_mut().is_none_or(|param| pin(param, at))
        }
        Kind::Binary { lhs, rhs, .. } => pin(lhs, at) && pin(rhs, at),
        Kind::Unary { expr, .. } | Kind::Paren(expr) => pin(expr, at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    fn check(script: &str, expected: Expect) {
        let text = match play(script, &settings()) {
            Ok(checked) => checked.iter().map(|c| format!("{c}\n")).collect(),
            Err(error) => format!("{error}\n"),
        };
        expected.assert_eq(&text);
    }

    const DATA: &str = "load 1m\n  a{x=\"1\"} 0+1x10\n  a{x=\"2\"} 0+2x10\n  h {{schema:0 count:4 sum:5 buckets:[1 2 1]}}x10\n\n";

    #[test]
    fn what_is_expected_passes() {
        check(
            &format!(
                "{DATA}eval instant at 5m sum(a)\n  expect no_warn\n  {{}} 15\n\neval_ordered instant at 5m topk(2, a)\n  a{{x=\"2\"}} 10\n  a{{x=\"1\"}} 5\n\neval range from 0 to 2m step 1m a{{x=\"1\"}}\n  a{{x=\"1\"}} 0 1 2\n\neval instant at 1m h\n  h {{{{count:4 sum:5.000001 buckets:[1 2 1]}}}}\n\neval instant at 0 1 + 1\n2\neval instant at 0 \"a\"\n  expect string `a`\n\neval instant at 5m a{{x=\"1\"}}[2m]\n  expect range vector from 4m to 5m step 1m\n  a{{x=\"1\"}} 4 5\n\neval instant at 5m a + on() a\n  expect fail regex: many-to-many\n\neval instant at 5m nothing\n"
            ),
            expect![[r#"
                line 6: sum(a)
                line 10: topk(2, a)
                line 14: a{x="1"}
                line 17: h
                line 20: 1 + 1
                line 22: "a"
                line 25: a{x="1"}[2m]
                line 29: a + on() a
                line 32: nothing
            "#]],
        );
    }

    #[test]
    fn what_differs_is_shown() {
        check(
            &format!(
                "{DATA}eval instant at 5m a\n  a{{x=\"1\"}} 5\n  a{{x=\"2\"}} 11\n\neval instant at 5m a\n  a{{x=\"1\"}} 5\n\neval instant at 5m a{{x=\"1\"}}\n  a{{x=\"1\"}} 5\n  b 1\n\neval_ordered instant at 5m topk(2, a)\n  a{{x=\"1\"}} 5\n  a{{x=\"2\"}} 10\n\neval range from 0 to 2m step 1m a{{x=\"1\"}}\n  a{{x=\"1\"}} 0 1 _\n\neval range from 0 to 1m step 1m a{{x=\"1\"}}\n  a{{x=\"1\"}} 0 1 2\n\neval instant at 1m h\n  h {{{{count:4 sum:5 buckets:[1 2 1] counter_reset_hint:gauge}}}}\n\neval instant at 5m sum(a)\n  expect warn\n  {{}} 15\n\neval instant at 5m sum(a)\n  expect fail msg: no\n\neval instant at 5m sum(\n  expect fail msg: no\n\neval instant at 5m scalar(sum(a))\n16\neval instant at 5m 1 + a{{x=\"1\"}}\n6\neval instant at 0 \"a\"\n  expect string `b`\n"
            ),
            expect![[r#"
                line 6: a
                  expected  {__name__="a",x="2"} 11
                  got       {__name__="a",x="2"} 10
                line 10: a
                  expected  no such label set
                  got       {__name__="a",x="2"} 10
                line 13: a{x="1"}
                  expected  {__name__="b"} 1
                  got       no such label set
                line 17: topk(2, a)
                  expected  {__name__="a",x="2"} at place 2
                  got       {__name__="a",x="2"} at place 1
                line 21: a{x="1"}
                  expected  {__name__="a",x="1"} 0@0 1@60
                  got       {__name__="a",x="1"} 0@0 1@60 2@120
                line 24: a{x="1"}
                  expected  {__name__="a",x="1"} 0@0 1@60 2@120
                  got       {__name__="a",x="1"} 0@0 1@60
                line 27: h
                  expected  {__name__="h"} {{count:4 sum:5 counter_reset_hint:gauge buckets:[1 2 1]}}
                  got       {__name__="h"} {{count:4 sum:5 counter_reset_hint:not_reset buckets:[1 2 1]}}
                line 30: sum(a)
                  expected  warning: any
                  got       warning: none
                line 34: sum(a)
                  expected  error: no
                  got       no error
                line 37: sum(
                  expected  error: no
                  got       error: 1:4: parse error: unclosed left parenthesis
                line 40: scalar(sum(a))
                  expected  16
                  got       15
                line 42: 1 + a{x="1"}
                  expected  6
                  got       a vector of 1 label sets
                line 44: "a"
                  expected  the string "b"
                  got       the string "a"
            "#]],
        );
    }

    #[test]
    fn selectors_and_subqueries_are_pinned_unless_they_are_already() {
        let at = |text: &str| match pinned(&parse(text, Dialect::ALL).unwrap(), 60_000)?.kind {
            Kind::Vector(selector) | Kind::Matrix { selector, .. } => selector.shift.at,
            Kind::Subquery { shift, expr, .. } => {
                assert!(matches!(expr.kind, Kind::Vector(s) if s.shift.at.is_none()));
                shift.at
            }
            _ => None,
        };
        assert_eq!(at("a"), Some(At::Ms(60_000)));
        assert_eq!(at("a[5m] @ 7"), Some(At::Ms(7_000)));
        assert_eq!(at("a @ start()"), Some(At::Start));
        assert_eq!(at("a[5m:1m] offset 5m"), Some(At::Ms(60_000)));
        let expr = |text: &str| parse(text, Dialect::ALL).unwrap();
        assert!(pinned(&expr("1 + sum(a + vector(time()))"), 0).is_none());
        assert!(pinned(&expr("max_over_time(vector(time())[5m:])"), 0).is_some());
    }

    #[test]
    fn a_script_with_an_error_names_its_line() {
        check(
            "load 1m\n a 1\n\nload 1m\n a 2\n",
            expect![[r#"
            5: {__name__="a"} has a sample at 0 ms or later already
        "#]],
        );
        check(
            "evaluate",
            expect![[r#"
            1: `eval`, `eval_fail`, `eval_warn`, `eval_info` or `eval_ordered`
        "#]],
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_script_panics(lines in proptest::collection::vec(line(), 0..12)) {
            let _ = play(&lines.join("\n"), &settings());
        }
    }

    fn line() -> impl Strategy<Value = String> {
        prop_oneof![
            Just(String::new()),
            Just("clear".to_owned()),
            "load(_with_nhcb)? [0-9]{1,2}[smhdy]?",
            "(a|b_bucket\\{le=\"[0-9]\"\\}|h|h@st) ([0-9]{1,2}|_|stale|-?[0-9]+x[0-9]|\\{\\{count:[0-9] buckets:\\[[0-9]\\]\\}\\}x[0-9]| ){0,6}",
            "eval(_fail|_ordered)? (instant at|range from 0 to [0-9]m step) [0-9]{1,2}[mhy]? (a|sum\\(b_bucket\\)|rate\\(h\\[5m\\]\\)|1)( [-+*/] h)?",
            "expect (fail|warn|no_info|ordered|string \"a\"|range vector from 0 to 1m step [0-9]m)( msg: a)?",
            "\\PC{0,20}",
        ]
    }
}
