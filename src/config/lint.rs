//! What is probably not meant: rules that load and are evaluated, but will not do what their author expects.
//!
//! All of it is a warning, and only what is certain from the files is said. The loader does not ask; `ops check` does.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

mod bounds;
mod fires;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::config::lint::fires::{Odd, odd};
use crate::config::report::{Report, near};
use crate::config::rules::{DIALECT, each_rule};
use crate::config::yaml::{Kind, Node, rule_documents};
use crate::config::{SourceFile, codes, groups};
use crate::engine::echo::OF_ALERTS;
use crate::engine::promql::ast::{Expr, Kind as Part, Length, Selector as Read};
use crate::engine::promql::{Dialect, parse};
use crate::model::labels::{Labels, MatchOp, Selector};
use crate::model::time::Duration;
use crate::model::written::Problem;

/// Looks at files one after the other, and remembers what it saw in those before.
#[derive(Debug, Default)]
pub struct Lint {
    /// Metrics that exist, and those that rules record; `None`: it is not known which exist.
    known: Option<BTreeSet<String>>,
    /// Where each rule of a group stands.
    seen: BTreeMap<String, String>,
}

/// A rule as it is written.
pub(in crate::config) struct Written<'n> {
    /// The whole rule.
    pub node: &'n Node,
    /// The group it is in; `None`: it is evaluated on every tick.
    pub group: Option<&'n Node>,
}

impl<'n> Written<'n> {
    fn value(&self, key: &str) -> Option<&'n Node> {
        groups::value(self.node, key)
    }
    fn text(&self, key: &str) -> Option<&'n str> {
        text(self.value(key)?)
    }
    /// Group labels, under those of the rule.
    fn labels(&self) -> Labels {
        let mut labels = Labels::new();
        let shared = self.group.and_then(|g| groups::value(g, "labels"));
        for node in [shared, self.value("labels")].into_iter().flatten() {
            if let Kind::Map(entries) = &node.kind {
                for (key, value) in entries {
                    labels.set(&key.text, text(value).unwrap_or_default());
                }
            }
        }
        labels
    }
    /// How often it is evaluated, if it is in a group.
    fn every(&self, default: Duration) -> Option<Duration> {
        let written = groups::value(self.group?, "interval").and_then(text);
        let interval: Option<Duration> = written.and_then(|t| t.parse().ok());
        Some(interval.filter(|i| !i.is_zero()).unwrap_or(default))
    }
}

fn text(node: &Node) -> Option<&str> {
    match &node.kind {
        Kind::Scalar { text, .. } => Some(text),
        Kind::Null | Kind::Seq(_) | Kind::Map(_) => None,
    }
}

impl Lint {
    /// `metrics` are those that exist, where that is known.
    pub fn new(metrics: Option<BTreeSet<String>>) -> Self {
        Self {
            known: metrics,
            seen: BTreeMap::new(),
        }
    }

    /// Remembers what the rules of a file record. Every file is learned before the first is looked at.
    pub fn learn(&mut self, file: &SourceFile) {
        let Some(known) = &mut self.known else { return };
        let (docs, _) = rule_documents(&file.text);
        let recorded = each_rule(&docs).filter_map(|r| r.text("record").map(str::to_owned));
        known.extend(recorded);
    }

    /// What is probably not meant in a file; `interval` is that of groups that name none.
    pub fn look(&mut self, file: &SourceFile, interval: Duration) -> Vec<Problem> {
        let mut report = Report::new(file, DIALECT);
        let (docs, _) = rule_documents(&file.text);
        for rule in each_rule(&docs) {
            labels_of_values(&mut report, &rule);
            self.verify(&mut report, &rule);
            let Some(node) = rule.value("expr") else {
                self.window(&mut report, &rule);
                continue;
            };
            let Some(expr) = text(node).and_then(|t| parse(t, Dialect::PLAIN).ok()) else {
                continue;
            };
            if rule.text("record").is_none_or(str::is_empty) {
                condition(&mut report, node, &expr);
            }
            if let Some(every) = rule.every(interval) {
                short_ranges(&mut report, node, &expr, every);
            }
            self.twice(&mut report, file, &rule, &expr);
            self.unknown(&mut report, node, &expr);
        }
        report.finish()
    }

    /// A rule that is there already, with the same name, labels and expression. Rules that record one name by different
    /// expressions are left alone: what they find may well be different series.
    /// What a heal is judged by.
    fn verify(&self, report: &mut Report<'_>, rule: &Written<'_>) {
        let node = rule.value("heal").and_then(|h| groups::value(h, "verify"));
        let Some(node) = node else { return };
        let Some(expr) = text(node).and_then(|t| parse(t, Dialect::PLAIN).ok()) else {
            return;
        };
        verify_condition(report, node, &expr);
        self.unknown(report, node, &expr);
    }

    fn twice(
        &mut self,
        report: &mut Report<'_>,
        file: &SourceFile,
        rule: &Written<'_>,
        expr: &Expr,
    ) {
        let keys = ["record", "alert", "name"];
        let named = keys
            .iter()
            .find_map(|k| Some((k, rule.value(k)?, rule.text(k)?)));
        let Some((key, node, name)) = named.filter(|(.., name)| !name.is_empty()) else {
            return;
        };
        let whole = format!("{key} {name}{} {expr}", rule.labels());
        if let Some(first) = self.seen.get(&whole) {
            let message = format!("the same rule stands already at {first}");
            let hint = "remove one of them: both are evaluated, and people may be told twice";
            report.warn(codes::SAME_RULE, &node.span, message, hint);
            return;
        }
        let before = file.text.get(..node.span.start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        self.seen.insert(whole, format!("{}:{line}", file.shown));
    }

    fn unknown(&self, report: &mut Report<'_>, node: &Node, expr: &Expr) {
        let Some(known) = &self.known else { return };
        let mut reads = Vec::new();
        selectors(expr, &mut reads);
        for (selector, span) in reads {
            let named =
                |m: &&crate::model::labels::Matcher| m.name == "__name__" && m.op == MatchOp::Equal;
            if let Some(name) = selector.matchers.iter().find(named) {
                let span = report.within(node, span.start..span.end);
                unknown_metric(report, known, &name.value, &span);
            }
        }
    }

    /// A rule over windows reads one metric.
    fn window(&self, report: &mut Report<'_>, rule: &Written<'_>) {
        let (Some(known), Some(node)) = (&self.known, rule.value("metric")) else {
            return;
        };
        if let Some(Ok(selector)) = text(node).map(str::parse::<Selector>) {
            unknown_metric(report, known, &selector.metric, &node.span);
        }
    }
}

fn unknown_metric(
    report: &mut Report<'_>,
    known: &BTreeSet<String>,
    name: &str,
    span: &Range<usize>,
) {
    if known.contains(name) || OF_ALERTS.contains(&name) {
        return;
    }
    let hint = match near(name, known.iter().map(String::as_str)) {
        Some(word) => format!("did you mean `{word}`?"),
        None => "nobody has sent it, and no rule records it: until then this finds nothing".into(),
    };
    let message = format!("the running engine has no metric `{name}`");
    report.warn(codes::UNKNOWN_METRIC, span, message, &hint);
}

/// The selectors of an expression, but for those that are expected to be absent.
fn selectors<'e>(expr: &'e Expr, found: &mut Vec<(&'e Read, Range<usize>)>) {
    match &expr.kind {
        Part::Number(_) | Part::Text(_) => {}
        Part::Vector(selector) | Part::Matrix { selector, .. } => {
            found.push((selector, expr.span.clone()));
        }
        Part::Call { function, .. } if function.starts_with("absent") => {}
        Part::Call { args, .. } => args.iter().for_each(|a| selectors(a, found)),
        Part::Aggregate { param, expr, .. } => {
            param.iter().for_each(|p| selectors(p, found));
            selectors(expr, found);
        }
        Part::Binary { lhs, rhs, .. } => {
            selectors(lhs, found);
            selectors(rhs, found);
        }
        Part::Subquery { expr, .. } | Part::Unary { expr, .. } | Part::Paren(expr) => {
            selectors(expr, found);
        }
    }
}

/// Functions that need two samples, and what they are asked for.
const OF_TWO: [&str; 3] = ["rate", "increase", "irate"];

/// Ranges in which there may be less than two samples.
fn short_ranges(report: &mut Report<'_>, node: &Node, expr: &Expr, every: Duration) {
    let mut found = Vec::new();
    ranges(expr, &mut found);
    for (function, range, span) in found {
        let needed = Duration::from_ms(every.ms().saturating_mul(2));
        if range >= needed {
            continue;
        }
        let message = format!(
            "`{function}` looks back {range}, less than twice the interval of this group ({every})"
        );
        let hint = format!(
            "it needs two samples: with one every {every} it often finds only one; use `[{needed}]` or more"
        );
        let span = report.within(node, span);
        report.warn(codes::SHORT_RANGE, &span, message, &hint);
    }
}

fn ranges(expr: &Expr, found: &mut Vec<(&'static str, Duration, Range<usize>)>) {
    match &expr.kind {
        Part::Number(_) | Part::Text(_) | Part::Vector(_) | Part::Matrix { .. } => {}
        Part::Call { function, args, .. } => {
            if let [arg] = args.as_slice()
                && OF_TWO.contains(function)
                && let Part::Matrix { range, .. } = &arg.kind
                && let Length::Ms(ms) = range.value
            {
                let back = Duration::from_ms(u64::try_from(ms).unwrap_or(0));
                found.push((function, back, range.span.clone()));
            }
            args.iter().for_each(|a| ranges(a, found));
        }
        Part::Aggregate { param, expr, .. } => {
            param.iter().for_each(|p| ranges(p, found));
            ranges(expr, found);
        }
        Part::Binary { lhs, rhs, .. } => {
            ranges(lhs, found);
            ranges(rhs, found);
        }
        Part::Subquery { expr, .. } | Part::Unary { expr, .. } | Part::Paren(expr) => {
            ranges(expr, found);
        }
    }
}

/// An alert that fires always, or never.
fn condition(report: &mut Report<'_>, node: &Node, expr: &Expr) {
    let (code, span, message, hint) = match odd(expr) {
        None => return,
        Some(Odd::Never(span)) => (
            codes::NEVER,
            span,
            "this comparison is never true, so the alert never fires",
            "a rate is never below 0, and `count` of nothing is nothing, not 0: for what is not there, use `absent(…)`",
        ),
        Some(Odd::Always(span)) => (
            codes::ALWAYS,
            span,
            "this comparison is always true, so the alert always fires",
            "an alert that is meant to fire always, as a heartbeat, is `vector(1)`",
        ),
        Some(Odd::Bool(span)) => (
            codes::ALWAYS,
            span,
            "with `bool` this gives 0 or 1 for every series, and the alert fires for both",
            "leave `bool` out: then only the series remain for which the comparison is true",
        ),
        Some(Odd::NoCondition(span)) => (
            codes::NO_CONDITION,
            span,
            "there is no condition here, so the alert fires wherever there is data",
            "compare it with something: `… > 0.05`",
        ),
    };
    let span = report.within(node, span);
    report.warn(code, &span, message, hint);
}

/// A verify that holds always, or never.
fn verify_condition(report: &mut Report<'_>, node: &Node, expr: &Expr) {
    let (code, span, message, hint) = match odd(expr) {
        // Its value is its truth.
        None | Some(Odd::Bool(_)) => return,
        Some(Odd::Never(span)) => (
            codes::NEVER,
            span,
            "this comparison is never true, so no heal counts as one that worked",
            "`count` of nothing is nothing, not 0: for what must be gone, use `absent(…)`",
        ),
        Some(Odd::Always(span)) => (
            codes::ALWAYS,
            span,
            "this comparison is always true, so every heal counts as one that worked",
            "compare with what is good again",
        ),
        Some(Odd::NoCondition(span)) => (
            codes::NO_CONDITION,
            span,
            "there is no condition here: it holds for every value but 0",
            "say what is good again: `… < 0.02`",
        ),
    };
    let span = report.within(node, span);
    report.warn(code, &span, message, hint);
}

/// Labels that change with the value.
fn labels_of_values(report: &mut Report<'_>, rule: &Written<'_>) {
    let Some(Node {
        kind: Kind::Map(entries),
        ..
    }) = rule.value("labels")
    else {
        return;
    };
    if rule.value("record").is_some() {
        return;
    }
    for (key, value) in entries {
        let Some(at) = text(value).and_then(value_in_template) else {
            continue;
        };
        let span = report.within(value, at);
        let message = format!("the label `{}` changes with the value", key.text);
        let hint = "another label is another alert: it begins anew with each value and `for` never ends; put it into `annotations`";
        report.warn(codes::VALUE_LABEL, &span, message, hint);
    }
}

/// Where a template asks for the value.
fn value_in_template(text: &str) -> Option<Range<usize>> {
    let mut at = 0;
    while let Some(open) = text.get(at..).and_then(|t| t.find("{{")) {
        let begin = at + open + 2;
        let end = text
            .get(begin..)
            .and_then(|t| t.find("}}"))
            .map_or(text.len(), |e| begin + e);
        let action = text.get(begin..end)?;
        for word in ["$value", ".Value"] {
            let found = action.match_indices(word).find(|(i, w)| {
                let after = action.get(i + w.len()..).and_then(|t| t.chars().next());
                !after.is_some_and(|c| c.is_alphanumeric() || c == '_')
            });
            if let Some((i, w)) = found {
                return Some(begin + i..begin + i + w.len());
            }
        }
        at = end;
    }
    None
}

#[cfg(test)]
mod tests;
