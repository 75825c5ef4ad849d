//! One rule file → checked rules, and every problem in it.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::lint::Written;
use crate::config::notify::{Notify, parse_notify};
use crate::config::report::{Dialect, Fields, Report};
use crate::config::yaml::{Kind, Node, rule_documents};
use crate::config::{SourceFile, codes, condition, groups, heal};
use crate::engine::policy::{
    Aggregate, Condition, Group, GroupRule, Missing, Rule, RuleId, Test, WindowTest,
};
use crate::model::labels::{Labels, Selector};
use crate::model::time::Duration;
use crate::model::written::Problem;

/// How far back a rule looks if it does not say.
pub const WINDOW: Duration = Duration::from_mins(5);

/// The codes that rule files use.
pub const DIALECT: Dialect = Dialect {
    shape: codes::RULE_SHAPE,
    key: codes::RULE_KEY,
    missing: codes::RULE_MISSING,
    value: codes::RULE_VALUE,
    later: codes::RULE_LATER,
};

/// What one rule file holds.
#[derive(Clone, Debug, Default)]
pub struct FileRules {
    /// Rules over windows, in the order written.
    pub rules: Vec<Arc<Rule>>,
    /// Groups of PromQL rules, in the order written; a rule with `expr` is a group of one.
    pub groups: Vec<Arc<Group>>,
}

impl FileRules {
    /// The rules that tell people: those over windows, then those of groups.
    pub fn alerting(&self) -> impl Iterator<Item = &Arc<Rule>> {
        let grouped = self.groups.iter().flat_map(|g| &g.rules);
        self.rules.iter().chain(grouped.filter_map(|r| match r {
            GroupRule::Alert(rule) => Some(rule),
            GroupRule::Record(_) => None,
        }))
    }
    /// How many rules there are, those that record among them.
    pub fn count(&self) -> usize {
        self.rules.len() + self.groups.iter().map(|g| g.rules.len()).sum::<usize>()
    }
}

/// How a rule file is read.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// How often groups are evaluated that do not say so.
    pub interval: Duration,
    /// Whether keys that nobody knows are passed over.
    pub pass_unknown: bool,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            interval: groups::INTERVAL,
            pass_unknown: false,
        }
    }
}

/// [`read_rules_every`] minute, where a group does not say how often.
pub fn read_rules(file: &SourceFile) -> (FileRules, Vec<Problem>) {
    read_rules_as(file, Reading::default())
}

/// [`read_rules_as`] usual; `interval` is that of groups that name none.
pub fn read_rules_every(file: &SourceFile, interval: Duration) -> (FileRules, Vec<Problem>) {
    let usual = Reading::default();
    read_rules_as(file, Reading { interval, ..usual })
}

/// All rules of one file that are fine by themselves, and all problems. With an error among them, the file's last good
/// version should run on.
pub fn read_rules_as(file: &SourceFile, reading: Reading) -> (FileRules, Vec<Problem>) {
    let interval = reading.interval;
    let mut report = Report::new(file, DIALECT);
    report.pass_unknown = reading.pass_unknown;
    let (docs, faults) = rule_documents(&file.text);
    report.faults(faults);
    let stem = stem(&file.path);
    let (mut found, mut unnamed) = (FileRules::default(), 0_usize);
    let mut seen: BTreeMap<RuleId, usize> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    if docs.first().is_some_and(is_groups) {
        docs.iter()
            .skip(1)
            .for_each(|d| later_document(&mut report, d));
    }
    for doc in &docs {
        if is_groups(doc) {
            let groups = groups::read(&mut report, doc, &file.path, interval, &mut ids);
            found.groups.extend(groups);
            continue;
        }
        if matches!(&doc.kind, Kind::Map(entries) if entries.is_empty()) {
            continue;
        }
        for node in items(doc) {
            let Some(mut fields) = report.fields(node, "a rule") else {
                continue;
            };
            let (name, place) = name(&mut report, &mut fields, stem, &mut unnamed);
            let line = file
                .text
                .get(..place.start)
                .map_or(1, |t| t.matches('\n').count() + 1);
            if fields.take("expr").is_some() {
                let Some((id, mut group)) = groups::single(&mut report, fields, &file.path, name)
                else {
                    continue;
                };
                if is_new(&mut report, &mut seen, &id, &group.name, &place, line) {
                    let first = group.id.clone();
                    let mut number = 1;
                    while !ids.insert(group.id.clone()) {
                        number += 1;
                        group.id = format!("{first}#{number}");
                    }
                    found.groups.push(Arc::new(group));
                }
                continue;
            }
            let Some(rule) = read_rule(&mut report, fields, &file.path, name) else {
                continue;
            };
            if is_new(&mut report, &mut seen, &rule.id, &rule.name, &place, line) {
                found.rules.push(Arc::new(rule));
            }
        }
    }
    (found, report.finish())
}

/// Prometheus reads one document of a file. Here all are read; somebody who moves a file should know.
fn later_document(report: &mut Report<'_>, doc: &Node) {
    let span = doc.span.start..doc.span.start;
    let message =
        "Prometheus would not read this document: it is not the first of a file with `groups`";
    let hint = "it is read here; for both, put its groups below the first `groups:`";
    report.warn(codes::LATER_DOCUMENT, &span, message, hint);
}

/// Whether no rule before has the same identity; else that is a problem.
fn is_new(
    report: &mut Report<'_>,
    seen: &mut BTreeMap<RuleId, usize>,
    id: &RuleId,
    name: &str,
    place: &std::ops::Range<usize>,
    line: usize,
) -> bool {
    let Some(first) = seen.get(id) else {
        seen.insert(id.clone(), line);
        return true;
    };
    let message = format!("a rule named `{name}` with the same labels is already on line {first}");
    let hint = "give one of them another `name`, or a label";
    report.error(codes::DUPLICATE_RULE, place, message, hint);
    false
}

/// Whether a document is a Prometheus rule file.
fn is_groups(doc: &Node) -> bool {
    groups::value(doc, "groups").is_some()
}

/// The rules of a file as they are written, in order.
pub(in crate::config) fn each_rule(docs: &[Node]) -> impl Iterator<Item = Written<'_>> {
    docs.iter().flat_map(|doc| {
        let own = if is_groups(doc) { &[] } else { items(doc) };
        let own = own.iter().map(|node| Written { node, group: None });
        groups::rule_nodes(doc)
            .map(|(group, node)| Written {
                node,
                group: Some(group),
            })
            .chain(own)
    })
}

/// The nodes of alerting rules, in the order of [`FileRules::alerting`].
pub(in crate::config) fn alert_nodes(docs: &[Node]) -> Vec<&Node> {
    let is_window = |r: &Written<'_>| r.group.is_none() && groups::value(r.node, "expr").is_none();
    let alerts =
        each_rule(docs).filter(|r| r.group.is_none() || groups::value(r.node, "alert").is_some());
    let (mut windows, grouped): (Vec<_>, Vec<_>) = alerts.partition(is_window);
    windows.extend(grouped);
    windows.iter().map(|r| r.node).collect()
}

/// A document is one rule, or a list of them.
fn items(doc: &Node) -> &[Node] {
    match &doc.kind {
        Kind::Seq(items) => items.as_slice(),
        Kind::Null | Kind::Scalar { .. } | Kind::Map(_) => std::slice::from_ref(doc),
    }
}

fn stem(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.rsplit_once('.').map_or(file, |(stem, _)| stem)
}

fn name(
    report: &mut Report<'_>,
    fields: &mut Fields<'_>,
    stem: &str,
    unnamed: &mut usize,
) -> (String, std::ops::Range<usize>) {
    if let Some(node) = fields.take("name")
        && let Some(text) = report.text(node)
    {
        if text.trim().is_empty() || text.chars().count() > 200 || text.contains(char::is_control) {
            report.error(
                codes::RULE_VALUE,
                &node.span,
                "a name has 1 to 200 characters on one line",
                "",
            );
        }
        return (text.to_owned(), node.span.clone());
    }
    *unnamed += 1;
    let name = if *unnamed == 1 {
        stem.to_owned()
    } else {
        format!("{stem}_{unnamed}")
    };
    (name, fields.head())
}

fn read_rule(
    report: &mut Report<'_>,
    mut fields: Fields<'_>,
    file: &str,
    name: String,
) -> Option<Rule> {
    let errors_before = report.error_count();
    let f = &mut fields;
    let selector = selector(report, f);
    let window = f
        .take("window")
        .and_then(|n| report.duration_above_zero(n))
        .unwrap_or(WINDOW);
    let aggregate = aggregate(report, f);
    let condition = read_condition(report, f, aggregate);
    let resolve = f
        .take("resolve")
        .and_then(|n| condition::easier(report, n, aggregate));
    let for_ = f
        .take("for")
        .and_then(|n| report.duration(n))
        .unwrap_or_default();
    let keep_firing_for = f
        .take("keep_firing_for")
        .and_then(|n| report.duration(n))
        .unwrap_or_default();
    let silence_window = f.take("silence_window").and_then(|n| report.duration(n));
    let words = [
        ("hold", Missing::Hold),
        ("resolve", Missing::Resolve),
        ("fire", Missing::Fire),
    ];
    let missing = f
        .take("missing")
        .and_then(|n| report.word(n, &words))
        .unwrap_or_default();
    let labels = static_labels(report, f);
    let annotations = f
        .take("annotations")
        .map(|n| report.labels(n, codes::LABEL))
        .unwrap_or_default()
        .into_map();
    let runbook = runbook(report, f);
    let notify = notify(report, f);
    let heal = heal::read(report, f, &name);
    fields.finish(report);
    if report.error_count() > errors_before {
        return None;
    }
    Some(Rule {
        id: RuleId::new(file, &name, &labels),
        name,
        file: file.to_owned(),
        test: Test::Window(WindowTest {
            selector: selector?,
            window,
            condition: condition?,
            resolve,
        }),
        for_,
        keep_firing_for,
        missing,
        labels,
        clears: BTreeSet::new(),
        annotations,
        runbook,
        notify,
        silence_window,
        heal,
    })
}

fn selector(report: &mut Report<'_>, fields: &mut Fields<'_>) -> Option<Selector> {
    let Some(node) = fields.take("metric") else {
        let hint = "add `metric: NAME`, the series this rule judges";
        report.error(
            codes::RULE_MISSING,
            &fields.head(),
            "this rule has no `metric`",
            hint,
        );
        return None;
    };
    let text = report.text(node)?;
    match text.parse::<Selector>() {
        Ok(selector) => Some(selector),
        Err(error) => {
            let at = error.at.min(text.len());
            let span = if at == 0 {
                node.span.clone()
            } else {
                report.within(node, at..text.len())
            };
            report.error(
                codes::SELECTOR,
                &span,
                error.what,
                "an example: `county_api_ms{region=\"east\"}`",
            );
            None
        }
    }
}

fn aggregate(report: &mut Report<'_>, fields: &mut Fields<'_>) -> Aggregate {
    fields
        .take("aggregate")
        .and_then(|n| report.word(n, &Aggregate::ALL))
        .unwrap_or(Aggregate::Avg)
}

fn read_condition(
    report: &mut Report<'_>,
    fields: &mut Fields<'_>,
    aggregate: Aggregate,
) -> Option<Condition> {
    let aggregate_key = fields.take_entry("aggregate").map(|(k, _)| k);
    match (fields.take("threshold"), fields.take_entry("when")) {
        (Some(node), None) => condition::threshold(report, node, aggregate),
        (None, Some((_, node))) => {
            if let Some(key) = aggregate_key {
                report.error(
                    codes::CONFLICT,
                    &key.span,
                    "`aggregate` says nothing beside `when`",
                    "name aggregates in the condition: `p95 > 1000`",
                );
            }
            condition::guard(report, node)
        }
        (Some(_), Some((key, _))) => {
            report.error(
                codes::CONFLICT,
                &key.span,
                "a rule has either `threshold` or `when`",
                "keep one of the two",
            );
            None
        }
        (None, None) => {
            let hint = "add `threshold: 1000`, or `when: avg > 1000 && count >= 20`";
            report.error(
                codes::RULE_MISSING,
                &fields.head(),
                "this rule does not say when it fires",
                hint,
            );
            None
        }
    }
}

pub(in crate::config) fn static_labels(report: &mut Report<'_>, fields: &mut Fields<'_>) -> Labels {
    let Some((key, node)) = fields.take_entry("labels") else {
        return Labels::new();
    };
    let labels = report.labels(node, codes::LABEL);
    if !labels.get("alertname").is_empty() {
        report.error(
            codes::LABEL,
            &key.span,
            "`alertname` is the rule's name and cannot be a label",
            "set `name` instead",
        );
    }
    labels
}

pub(in crate::config) fn runbook(
    report: &mut Report<'_>,
    fields: &mut Fields<'_>,
) -> Option<String> {
    let node = fields.take("runbook")?;
    let text = report.text(node)?;
    let url = text.starts_with("https://") || text.starts_with("http://");
    let below = !text.starts_with('/')
        && !text.contains(['\\', '\0', '\n'])
        && text
            .split('/')
            .all(|part| !part.is_empty() && part != ".." && part != ".");
    if !url && !below {
        let message = format!("`{}` is not a runbook", text.escape_debug());
        let hint = "a URL, or a path below `runbooks/`: `wiki/slow-county-api`";
        report.error(codes::RUNBOOK_PATH, &node.span, message, hint);
    }
    Some(text.to_owned())
}

pub(in crate::config) fn notify(report: &mut Report<'_>, fields: &mut Fields<'_>) -> Vec<String> {
    let Some(node) = fields.take("notify") else {
        return Vec::new();
    };
    let mut entries: Vec<String> = Vec::new();
    for item in report.list_or_one(node) {
        let Some(text) = report.text(item) else {
            continue;
        };
        match parse_notify(text) {
            Ok(Notify::Later { kind }) => {
                let message =
                    format!("no such receiver kind yet: nobody is told through `{kind}:`");
                report.warn(
                    codes::NOTIFY_KIND,
                    &item.span,
                    message,
                    "add an e-mail address or `webhook:https://…` beside it",
                );
            }
            Ok(Notify::Way(_) | Notify::Receiver(_)) => {}
            Err(message) => {
                let hint = "an e-mail address, a receiver's name, or `webhook:https://…`";
                report.error(codes::NOTIFY, &item.span, message, hint);
            }
        }
        if !entries.iter().any(|e| e == text) {
            entries.push(text.to_owned());
        }
    }
    entries
}

#[cfg(test)]
pub(in crate::config) mod tests;
