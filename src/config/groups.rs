//! Prometheus rule files (`groups:`), and rules by a PromQL expression (`expr:`).
//!
//! What `promtool check rules` accepts is accepted, what it refuses is refused; our own keys come on top.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::report::{Fields, Report};
use crate::config::rules::{notify, runbook, static_labels};
use crate::config::yaml::{Kind, Node};
use crate::config::{codes, heal};
use crate::engine::policy::{
    ExprTest, Group, GroupRule, Missing, Recording, Rule, RuleId, Test, Written,
};
use crate::engine::promql::{Dialect, parse};
use crate::engine::template;
use crate::model::labels::Labels;
use crate::model::time::Duration;

/// How often a group is evaluated that does not say, where the settings do not say either.
pub const INTERVAL: Duration = Duration::from_mins(1);

const ABOUT_RECORD: &str = "only alerts have this";

/// The groups of one document; `interval` is that of groups that name none. `used` has the ids of those of other
/// documents of the file.
pub(in crate::config) fn read(
    report: &mut Report<'_>,
    doc: &Node,
    file: &str,
    interval: Duration,
    used: &mut BTreeSet<String>,
) -> Vec<Arc<Group>> {
    let Some(mut fields) = report.fields(doc, "a rule file with `groups`") else {
        return Vec::new();
    };
    let nodes = fields.take("groups").map_or(&[][..], |n| report.list(n));
    fields.finish(report);
    let mut names = BTreeSet::new();
    let mut groups = Vec::new();
    for node in nodes.iter().filter(|n| !is_nothing(n)) {
        let Some(mut group) = group(report, node, file, interval, &mut names) else {
            continue;
        };
        let first = group.id.clone();
        let mut number = 1;
        while !used.insert(group.id.clone()) {
            number += 1;
            group.id = format!("{first}#{number}");
        }
        groups.push(Arc::new(group));
    }
    groups
}

/// The nodes of a document's group rules, in order, each after its group.
pub(in crate::config) fn rule_nodes(doc: &Node) -> impl Iterator<Item = (&Node, &Node)> {
    items(value(doc, "groups"))
        .flat_map(|group| items(value(group, "rules")).map(move |rule| (group, rule)))
}

/// The value of a key of a mapping.
pub(in crate::config) fn value<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    match &node.kind {
        Kind::Map(entries) => entries.iter().find(|(k, _)| k.text == name).map(|(_, n)| n),
        Kind::Null | Kind::Scalar { .. } | Kind::Seq(_) => None,
    }
}

fn items(node: Option<&Node>) -> impl Iterator<Item = &Node> {
    let items = match node.map(|n| &n.kind) {
        Some(Kind::Seq(items)) => items.as_slice(),
        _ => &[],
    };
    items.iter().filter(|n| !is_nothing(n))
}

/// A list item that nobody wrote: Prometheus leaves it out.
pub(in crate::config) fn is_nothing(node: &Node) -> bool {
    matches!(node.kind, Kind::Null)
}

fn group(
    report: &mut Report<'_>,
    node: &Node,
    file: &str,
    every: Duration,
    names: &mut BTreeSet<String>,
) -> Option<Group> {
    let mut fields = report.fields(node, "a group")?;
    let f = &mut fields;
    let named = f.take("name");
    let name = named
        .and_then(|n| report.text(n))
        .unwrap_or_default()
        .to_owned();
    let place = named.map_or_else(|| f.head(), |n| n.span.clone());
    if name.is_empty() {
        let hint = "add `name: NAME`";
        report.error(codes::GROUP_NAME, &place, "this group has no name", hint);
    } else if !names.insert(name.clone()) {
        let message = format!("a group named `{name}` is already in this file");
        report.error(
            codes::GROUP_NAME,
            &place,
            message,
            "give one of them another `name`",
        );
    }
    let interval = f.take("interval").and_then(|n| report.duration(n));
    let query_offset = f.take("query_offset").and_then(|n| report.duration(n));
    let limit = f.take("limit").and_then(|n| whole_number(report, n));
    let strict = f.take("strict").and_then(|n| report.boolean(n));
    let shared = f
        .take("labels")
        .map(|n| names_and_values(report, n, true))
        .unwrap_or_default();
    let nodes = f.take("rules").map_or(&[][..], |n| report.list(n));
    fields.finish(report);
    let scope = Scope {
        file,
        group: &name,
        shared: &shared,
    };
    let mut seen = BTreeMap::new();
    let rules = nodes
        .iter()
        .filter(|n| !is_nothing(n))
        .filter_map(|n| rule(report, n, &scope, &mut seen))
        .collect();
    Some(Group {
        id: format!("{file};{name}"),
        name,
        file: file.to_owned(),
        interval: interval.filter(|i| !i.is_zero()).unwrap_or(every),
        query_offset: query_offset.unwrap_or_default(),
        limit: limit.and_then(|l| usize::try_from(l).ok()).unwrap_or(0),
        strict: strict.unwrap_or(false),
        rules,
    })
}

/// What a rule of a group has from it.
struct Scope<'a> {
    file: &'a str,
    group: &'a str,
    shared: &'a BTreeMap<String, String>,
}

fn rule(
    report: &mut Report<'_>,
    node: &Node,
    scope: &Scope<'_>,
    seen: &mut BTreeMap<RuleId, usize>,
) -> Option<GroupRule> {
    let errors_before = report.error_count();
    let mut fields = report.fields(node, "a rule of a group")?;
    let f = &mut fields;
    let record = f.take("record").filter(|n| !is_blank(n));
    let alert = f.take("alert").filter(|n| !is_blank(n));
    let expr = f.take("expr").filter(|n| !is_blank(n));
    let written = match expr {
        Some(node) => promql(report, node),
        None => {
            let hint = "add `expr`, such as `expr: up == 0`";
            report.error(
                codes::RULE_MISSING,
                &f.head(),
                "this rule has no `expr`",
                hint,
            );
            None
        }
    };
    match (record, alert) {
        (None, None) => {
            let message = "one of `record` and `alert` must be there";
            let hint = "name it: `alert: NAME` to tell people, `record: NAME` to keep the result";
            report.error(codes::RULE_MISSING, &f.head(), message, hint);
        }
        (Some(record), Some(_)) => {
            let message = "only one of `record` and `alert` can be there";
            report.error(
                codes::CONFLICT,
                &record.span,
                message,
                "make two rules of it",
            );
        }
        _ => {}
    }
    let own = f.take("labels");
    let mut labels = scope.shared.clone();
    let own_labels = own.map(|n| names_and_values(report, n, true));
    labels.extend(own_labels.into_iter().flatten());
    let labels = Static::from(labels);
    let made = if let Some(node) = record {
        recording(report, f, node, written, labels)
    } else {
        let name = alert.and_then(|n| report.text(n)).unwrap_or_default();
        own.into_iter().for_each(|n| templates(report, n));
        let annotations = f.take("annotations");
        annotations.into_iter().for_each(|n| templates(report, n));
        let annotations = annotations
            .map(|n| names_and_values(report, n, false))
            .unwrap_or_default();
        let id = RuleId::new(
            &format!("{}/{}", scope.file, scope.group),
            name,
            &labels.set,
        );
        let shell = Shell {
            id,
            name: name.to_owned(),
            file: scope.file.to_owned(),
            labels,
            annotations,
        };
        let mut made = alerting(report, f, shell, written);
        if let Some(rule) = &mut made {
            let number = seen.entry(rule.id.clone()).or_insert(0);
            *number += 1;
            if *number > 1 {
                rule.id = RuleId(format!("{}#{number}", rule.id.0));
            }
        }
        made.map(|r| GroupRule::Alert(Arc::new(r)))
    };
    fields.finish(report);
    made.filter(|_| report.error_count() == errors_before)
}

/// A whole number in every spelling that Prometheus's YAML has; what is behind the point is cut off.
fn whole_number(report: &mut Report<'_>, node: &Node) -> Option<i64> {
    let text = report.text(node)?;
    let plain = matches!(node.kind, Kind::Scalar { plain: true, .. });
    let number = plain.then(|| parse_whole(text)).flatten();
    if number.is_none() {
        let message = format!("`{}` is not a whole number", text.escape_debug());
        report.error(
            codes::RULE_VALUE,
            &node.span,
            message,
            "write it without quotes: `10`",
        );
    }
    number
}

fn parse_whole(text: &str) -> Option<i64> {
    if let Some(number) = parse_integer(text) {
        return Some(number);
    }
    let number = parse_float(text)?;
    (number.abs() < i64::MAX as f64).then_some(number as i64)
}

/// A number without a point, in each of YAML's bases.
fn parse_integer(text: &str) -> Option<i64> {
    let text = text.replace('_', "").to_ascii_lowercase();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(&text)),
    };
    let based = [("0x", 16), ("0o", 8), ("0b", 2), ("0", 8), ("", 10)];
    let (rest, base) = based
        .iter()
        .find_map(|(head, base)| Some((digits.strip_prefix(head)?, *base)))
        .filter(|(rest, _)| !rest.is_empty())
        .unwrap_or((digits, 10));
    let unsigned = rest.starts_with(|c: char| c.is_ascii_alphanumeric());
    i64::from_str_radix(&format!("{sign}{rest}"), base)
        .ok()
        .filter(|_| unsigned)
}

fn parse_float(text: &str) -> Option<f64> {
    let text = text.replace('_', "").to_ascii_lowercase();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(&text);
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    text.parse().ok().filter(|_| is_number)
}

/// A number in every spelling that Prometheus's YAML has.
pub(in crate::config) fn parse_number(text: &str) -> Option<f64> {
    match text.trim_start_matches(['+', '-']) {
        ".inf" | ".Inf" | ".INF" if text.starts_with('-') => Some(f64::NEG_INFINITY),
        ".inf" | ".Inf" | ".INF" => Some(f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" => Some(f64::NAN),
        _ => match parse_integer(text) {
            Some(number) => Some(number as f64),
            None => parse_float(text),
        },
    }
}

/// A text without a character: Prometheus takes it for nothing.
fn is_blank(node: &Node) -> bool {
    matches!(&node.kind, Kind::Scalar { text, .. } if text.is_empty())
}

fn recording(
    report: &mut Report<'_>,
    fields: &mut Fields<'_>,
    node: &Node,
    expr: Option<Written>,
    labels: Static,
) -> Option<GroupRule> {
    let name = report.text(node)?;
    if name.contains(['{', '}']) {
        let message = format!("`{}` is not a metric's name", name.escape_debug());
        let hint = "what is in braces goes into `labels`, or into `expr`";
        report.error(codes::RECORD, &node.span, message, hint);
    }
    for key in ["for", "keep_firing_for"] {
        if let Some((key, node)) = fields.take_entry(key)
            && report.duration(node).is_some_and(|d| !d.is_zero())
        {
            let message = format!("`{}` says nothing in a recording rule", key.text);
            report.error(codes::RECORD, &key.span, message, ABOUT_RECORD);
        }
    }
    if let Some((key, node)) = fields.take_entry("annotations")
        && !matches!(&node.kind, Kind::Map(entries) if entries.is_empty())
    {
        let message = "`annotations` say nothing in a recording rule";
        report.error(codes::RECORD, &key.span, message, ABOUT_RECORD);
    }
    Some(GroupRule::Record(Arc::new(Recording {
        name: name.to_owned(),
        expr: expr?,
        labels: labels.set,
        clears: labels.clears,
    })))
}

/// What an alerting rule is called and says.
struct Shell {
    id: RuleId,
    name: String,
    file: String,
    labels: Static,
    annotations: BTreeMap<String, String>,
}

/// A rule's labels: those with a value are set, those without are taken away.
struct Static {
    set: Labels,
    clears: BTreeSet<String>,
}

impl From<BTreeMap<String, String>> for Static {
    fn from(all: BTreeMap<String, String>) -> Self {
        let (empty, set): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, v)| v.is_empty());
        Self {
            set: set.into_iter().collect(),
            clears: empty.into_iter().map(|(n, _)| n).collect(),
        }
    }
}

fn alerting(
    report: &mut Report<'_>,
    f: &mut Fields<'_>,
    shell: Shell,
    expr: Option<Written>,
) -> Option<Rule> {
    let resolve = f.take("resolve").and_then(|n| promql(report, n));
    let for_ = f.take("for").and_then(|n| report.duration(n));
    let keep = f.take("keep_firing_for").and_then(|n| report.duration(n));
    let silence_window = f.take("silence_window").and_then(|n| report.duration(n));
    let missing = missing(report, f);
    let runbook = runbook(report, f);
    let notify = notify(report, f);
    let heal = heal::read(report, f, &shell.name);
    Some(Rule {
        id: shell.id,
        name: shell.name,
        file: shell.file,
        test: Test::Expr(ExprTest::new(expr?, resolve)),
        for_: for_.unwrap_or_default(),
        keep_firing_for: keep.unwrap_or_default(),
        missing,
        labels: shell.labels.set,
        clears: shell.labels.clears,
        annotations: shell.annotations,
        runbook,
        notify,
        silence_window,
        heal,
    })
}

fn missing(report: &mut Report<'_>, fields: &mut Fields<'_>) -> Missing {
    let Some(node) = fields.take("missing") else {
        return Missing::default();
    };
    if matches!(&node.kind, Kind::Scalar { text, .. } if text == "fire") {
        let message = "`missing: fire` needs a rule with `metric`: an expression does not say what is missing";
        let hint = "write a rule with `expr: absent(…)` for that";
        report.error(codes::CONFLICT, &node.span, message, hint);
        return Missing::default();
    }
    let words = [("hold", Missing::Hold), ("resolve", Missing::Resolve)];
    report.word(node, &words).unwrap_or_default()
}

/// A rule of its own with `expr`: a group of one, evaluated on every tick.
pub(in crate::config) fn single(
    report: &mut Report<'_>,
    mut fields: Fields<'_>,
    file: &str,
    name: String,
) -> Option<(RuleId, Group)> {
    let errors_before = report.error_count();
    let f = &mut fields;
    let expr = f.take("expr").and_then(|n| promql(report, n));
    for key in ["metric", "window", "aggregate", "threshold", "when"] {
        if let Some((key, _)) = f.take_entry(key) {
            let message = format!("`{}` says nothing beside `expr`", key.text);
            let hint = "keep `expr`, or the keys of the threshold form";
            report.error(codes::CONFLICT, &key.span, message, hint);
        }
    }
    for key in ["labels", "annotations"] {
        f.take(key).into_iter().for_each(|n| templates(report, n));
    }
    let labels = static_labels(report, f);
    let annotations = f
        .take("annotations")
        .map(|n| report.labels(n, codes::LABEL))
        .unwrap_or_default()
        .into_map();
    let shell = Shell {
        id: RuleId::new(file, &name, &labels),
        name: name.clone(),
        file: file.to_owned(),
        labels: Static::from(labels.into_map()),
        annotations,
    };
    let rule = alerting(report, f, shell, expr);
    fields.finish(report);
    let rule = rule.filter(|_| report.error_count() == errors_before)?;
    let id = rule.id.clone();
    let group = Group {
        id: format!("{file};{name}"),
        name,
        file: file.to_owned(),
        interval: Duration::ZERO,
        query_offset: Duration::ZERO,
        limit: 0,
        strict: false,
        rules: vec![GroupRule::Alert(Arc::new(rule))],
    };
    Some((id, group))
}

/// An expression; what is wrong with it is shown where it stands.
pub(in crate::config) fn promql(report: &mut Report<'_>, node: &Node) -> Option<Written> {
    let text = report.text(node)?;
    match parse(text, Dialect::PLAIN) {
        Ok(expr) => Some(Written {
            text: text.to_owned(),
            expr: Arc::new(expr),
        }),
        Err(error) => {
            let span = report.within(node, error.span);
            let hint = error.hint.unwrap_or_default();
            report.error(codes::EXPR, &span, error.message, &hint);
            None
        }
    }
}

/// Labels or annotations as Prometheus takes them: any name but an empty one, no value is an empty one.
fn names_and_values(
    report: &mut Report<'_>,
    node: &Node,
    labels: bool,
) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let Kind::Map(entries) = &node.kind else {
        report.shape(node, "names and values");
        return all;
    };
    for (key, value) in entries {
        let what = if labels { "label" } else { "annotation" };
        if key.text.is_empty() || labels && key.text == "__name__" {
            let message = format!("`{}` cannot be a {what}'s name", key.text);
            report.error(codes::LABEL, &key.span, message, "");
        }
        match &value.kind {
            Kind::Null => {
                all.insert(key.text.clone(), String::new());
            }
            _ => {
                if let Some(text) = report.text(value) {
                    all.insert(key.text.clone(), text.to_owned());
                }
            }
        }
    }
    all
}

/// Each value must be a template that can be expanded.
fn templates(report: &mut Report<'_>, node: &Node) {
    let Kind::Map(entries) = &node.kind else {
        return;
    };
    for (key, value) in entries {
        if let Kind::Scalar { text, .. } = &value.kind
            && text.contains("{{")
            && let Err(error) = template::check(text)
        {
            let message = format!("`{}` is not a template: {error}", key.text);
            let hint = "an example: `{{ $labels.instance }} has {{ $value }}`";
            report.error(codes::TEMPLATE, &value.span, message, hint);
        }
    }
}

#[cfg(test)]
pub(in crate::config) mod tests;
