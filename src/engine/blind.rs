//! Rules that cannot fire because nothing that they look at is there: a metric was renamed, a label is written otherwise, a
//! sender is gone. Such a rule is quiet for the wrong reason, so it is named.
//!
//! Each rule is looked at once a minute, some in each tick. Blindness says something only while samples come in: a while
//! after a start, or after a time in which nothing at all was heard, every rule is. So it is watched since when there is
//! data ([`State::watching`](crate::engine::state::State)), and after [`BLIND_AFTER`] of that a rule may be called blind.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::Engine;
use crate::engine::echo::OF_ALERTS;
use crate::engine::event::Event;
use crate::engine::limits::{BLIND_AFTER, BLIND_LOOK, QUIET_AFTER};
use crate::engine::policy::{Group, GroupRule, RuleId, Test};
use crate::engine::promql::ast::{BinaryOp, Expr, Kind};
use crate::engine::promql::reads::reads;
use crate::engine::promql::source::Source;
use crate::engine::rule::WindowRule;
use crate::engine::series::Series;
use crate::model::labels::{MatchOp, Matcher};
use crate::model::time::{Duration, Timestamp};

/// A rule that sees nothing.
struct Looked {
    rule: RuleId,
    name: String,
    /// The selector that nothing fits; `None`: it sees.
    misses: Option<String>,
}

impl Group {
    /// Who each rule is across reloads, and its name. Several rules may record series of one name and the same labels, each
    /// of other things; those are numbered.
    pub fn identities(&self) -> impl Iterator<Item = (RuleId, &str)> {
        let mut seen: BTreeMap<RuleId, usize> = BTreeMap::new();
        self.rules.iter().map(move |rule| match rule {
            GroupRule::Alert(rule) => (rule.id.clone(), rule.name.as_str()),
            GroupRule::Record(r) => {
                let id = RuleId::new(&self.id, &r.name, &r.labels);
                let number = seen.entry(id.clone()).or_insert(0);
                *number += 1;
                let id = match number {
                    1 => id,
                    _ => RuleId(format!("{}#{number}", id.0)),
                };
                (id, r.name.as_str())
            }
        })
    }
}

impl Engine {
    /// Looks for rules that see nothing, and for those that see again. `slot` says whose turn it is; the engine's time may
    /// be ahead of it already.
    pub(super) fn look_for_blind(&mut self, slot: Timestamp) {
        let every = self.every.ms().max(1);
        let turns = (BLIND_LOOK.ms() / every).max(1);
        let turn = slot.ms().unsigned_abs() / every % turns;
        // While nobody ran, after a start or a stall, nothing was heard: that is found out before anybody's turn comes.
        let away = self
            .watched_at
            .is_none_or(|at| self.now.since(at) > BLIND_LOOK);
        if turn == 0 || away && self.state.watching.is_some() {
            self.watch();
        }
        if turn == 0 || away {
            self.watched_at = Some(self.now);
        }
        let watching = self.state.watching;
        if watching.is_none_or(|since| self.now.since(since) < BLIND_AFTER) {
            return;
        }
        let looked = self.look(turn as usize, turns as usize);
        for Looked { rule, name, misses } in looked {
            let known = self.state.blind.get(&rule);
            match (misses, known) {
                // After an edit it may be another selector.
                (Some(selector), known) if known.is_none_or(|k| k.selector != selector) => self
                    .emit(Event::RuleBlind {
                        rule,
                        name,
                        selector,
                    }),
                (None, Some(_)) => self.emit(Event::RuleSees { rule }),
                (Some(_), _) | (None, None) => {}
            }
        }
    }

    /// Looks at every rule whose turn it is, of so many turns.
    fn look(&self, turn: usize, turns: usize) -> Vec<Looked> {
        let mut looked = Vec::new();
        for entry in self.book.rules.iter().skip(turn).step_by(turns) {
            looked.push(Looked {
                rule: entry.rule.id.clone(),
                name: entry.rule.name.clone(),
                misses: self.window_misses(entry),
            });
        }
        let mut place = 0;
        for group in self.book.groups.iter().map(|g| &g.group) {
            let (first, count) = (place, group.rules.len());
            place += count;
            let due = |at: &usize| at % turns == turn;
            // Names are made only where it is somebody's turn.
            if !(first..place).any(|at| due(&at)) {
                continue;
            }
            let rules = (first..).zip(group.identities().zip(&group.rules));
            for (_, ((rule, name), of)) in rules.filter(|(at, _)| due(at)) {
                looked.push(Looked {
                    rule,
                    name: name.to_owned(),
                    misses: self.group_misses(of),
                });
            }
        }
        looked
    }

    /// Rules that are gone are not blind.
    pub(super) fn forget_blind(&mut self) {
        if self.state.blind.is_empty() {
            return;
        }
        let windows = self.book.rules.iter().map(|r| r.rule.id.clone());
        let groups = self.book.groups.iter();
        let groups = groups.flat_map(|g| g.group.identities().map(|(id, _)| id));
        let there: BTreeSet<RuleId> = windows.chain(groups).collect();
        let blind = self.state.blind.keys();
        let gone: Vec<RuleId> = blind.filter(|r| !there.contains(r)).cloned().collect();
        for rule in gone {
            self.emit(Event::RuleSees { rule });
        }
    }

    /// Notes since when samples come in.
    fn watch(&mut self) {
        let since = self.now - QUIET_AFTER;
        let from_outside = |s: &Series| {
            let metric = s.key().metric();
            !OF_ALERTS.contains(&metric) && !self.book.recorded.contains(metric)
        };
        let hears = self
            .series
            .iter()
            .any(|(_, s)| is_heard(s, since) && from_outside(s));
        match (hears, self.state.watching) {
            (true, None) => self.emit(Event::Watching {
                since: Some(self.now),
            }),
            (false, Some(_)) => self.emit(Event::Watching { since: None }),
            (true, Some(_)) | (false, None) => {}
        }
    }

    fn window_misses(&self, entry: &WindowRule) -> Option<String> {
        let test = entry.test()?;
        let since = self.now - test.window.max(BLIND_AFTER);
        let mut judged = entry
            .judges
            .iter()
            .filter_map(|j| self.series.get(j.series));
        // Rules over windows look at numbers only.
        let has_numbers = |s: &Series| s.last().is_some_and(|(at, _)| at > since);
        (!judged.any(has_numbers)).then(|| test.selector.to_string())
    }

    fn group_misses(&self, rule: &GroupRule) -> Option<String> {
        let expr = match rule {
            GroupRule::Record(r) => &r.expr.expr,
            GroupRule::Alert(r) => match &r.test {
                Test::Expr(test) => &test.expr.expr,
                Test::Window(_) => return None,
            },
        };
        let back = reads(expr, &self.settings).iter().map(|r| r.back).max();
        let since = self.now - back.unwrap_or(Duration::ZERO).max(BLIND_AFTER);
        let sees = |matchers: &[Matcher]| {
            let mut names = matchers
                .iter()
                .filter(|m| m.name == "__name__" && m.op == MatchOp::Equal);
            // Of a rule that is fine nothing may be recorded; one that sees nothing is named itself.
            let own = |m: &Matcher| {
                self.book.recorded.contains(&m.value) || OF_ALERTS.contains(&m.value.as_str())
            };
            names.any(own) || {
                let found = self.series.select(matchers);
                let mut found = found.iter().filter_map(|n| self.series.get(*n));
                found.any(|s| is_heard(s, since))
            }
        };
        misses(expr, &sees).map(Expr::to_string)
    }
}

fn is_heard(series: &Series, since: Timestamp) -> bool {
    series.newest_time().is_some_and(|at| at > since)
}

/// The selector for whose lack the expression cannot give anything. Depth is bounded by the parser.
fn misses<'e>(expr: &'e Expr, sees: &impl Fn(&[Matcher]) -> bool) -> Option<&'e Expr> {
    match &expr.kind {
        Kind::Number(_) | Kind::Text(_) => None,
        Kind::Vector(selector) | Kind::Matrix { selector, .. } => {
            (!sees(&selector.matchers)).then_some(expr)
        }
        Kind::Paren(inner)
        | Kind::Unary { expr: inner, .. }
        | Kind::Subquery { expr: inner, .. }
        | Kind::Aggregate { expr: inner, .. } => misses(inner, sees),
        Kind::Call { function, .. } if function.starts_with("absent") => None,
        Kind::Call { function, args, .. } => {
            // What `info` adds may be lacking.
            let needed = if *function == "info" { 1 } else { args.len() };
            args.iter().take(needed).find_map(|a| misses(a, sees))
        }
        Kind::Binary {
            op,
            lhs,
            rhs,
            matching,
            ..
        } => {
            let left = misses(lhs, sees);
            match op {
                BinaryOp::Unless => left,
                BinaryOp::Or => left.filter(|_| misses(rhs, sees).is_some()),
                _ => left
                    .filter(|_| matching.fill_left.is_none())
                    .or_else(|| misses(rhs, sees).filter(|_| matching.fill_right.is_none())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::promql::{Dialect, parse};

    #[test]
    fn the_selector_that_matters_is_named() {
        let miss = |text: &str| {
            let expr = parse(text, Dialect::ALL).unwrap();
            let sees = |m: &[Matcher]| m.iter().any(|m| m.value.starts_with("here"));
            misses(&expr, &sees).map(Expr::to_string)
        };
        for (text, want) in [
            ("here > 5", None),
            ("gone > 5", Some("gone")),
            (
                "sum by (job) (rate(gone{a=\"b\"}[5m])) > 5",
                Some("gone{a=\"b\"}[5m]"),
            ),
            ("here / gone > 1 and here2", Some("gone")),
            ("here and on (job) gone", Some("gone")),
            ("here unless gone", None),
            ("gone unless here", Some("gone")),
            ("gone or here", None),
            ("gone or gone2", Some("gone")),
            ("absent(gone)", None),
            ("gone or vector(0)", None),
            ("here > scalar(gone)", Some("gone")),
            ("max_over_time(gone[1h:1m]) > 1", Some("gone")),
            ("vector(1)", None),
        ] {
            assert_eq!(miss(text).as_deref(), want, "{text}");
        }
    }
}
