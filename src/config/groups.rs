//! Rules by expression: Prometheus's rule files (`groups:`), taken unchanged, and our own `expr:` form.
//!
//! What Prometheus refuses in a group is refused; the keys that people are told by (`notify`, `runbook`, `heal` …) may
//! stand in its rules as well.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::report::{Fields, Report};
use crate::config::rules::{missing, notify, runbook};
use crate::config::yaml::{Key, Kind, Node};
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

/// What the groups of a file stand in.
pub(in crate::config) struct Place<'a> {
    /// The file, relative to the alerts folder.
    pub file: &'a str,
    /// How often a group is evaluated that does not say.
    pub interval: Duration,
    /// Names of groups so far.
    pub names: BTreeSet<String>,
}

/// The groups of one document.
pub(in crate::config) fn read_groups(
    report: &mut Report<'_>,
    mut fields: Fields<'_>,
    place: &mut Place<'_>,
) -> Vec<Arc<Group>> {
    let mut groups = Vec::new();
    // Each document stands for itself.
    place.names.clear();
    let node = fields.take("groups");
    for item in node.map_or(&[][..], |n| report.list_or_none(n)) {
        if let Some(fields) = report.fields(item, "a group") {
            groups.extend(read_group(report, fields, place).map(Arc::new));
        }
    }
    fields.finish(report);
    groups
}

fn read_group(
    report: &mut Report<'_>,
    mut fields: Fields<'_>,
    place: &mut Place<'_>,
) -> Option<Group> {
    let f = &mut fields;
    let name = match f.take("name") {
        Some(node) => {
            let name = report.text(node)?.to_owned();
            if name.is_empty() {
                report.error(codes::RULE_VALUE, &node.span, "a group's name is empty", "");
            } else if !place.names.insert(name.clone()) {
                let message = format!("a group named `{name}` is already in this file");
                report.error(
                    codes::DUPLICATE_RULE,
                    &node.span,
                    message,
                    "give it another name",
                );
            }
            name
        }
        None => {
            let hint = "add `name: NAME`, unique in this file";
            report.error(
                codes::RULE_MISSING,
                &f.head(),
                "this group has no `name`",
                hint,
            );
            return None;
        }
    };
    let interval = f.take("interval").and_then(|n| report.duration(n));
    let query_offset = f.take("query_offset").and_then(|n| report.duration(n));
    let limit = f.take("limit").and_then(|n| report.parse::<usize>(n));
    let strict = f.take("strict").and_then(|n| report.boolean(n));
    let shared = f
        .take("labels")
        .map(|n| read_labels(report, n))
        .unwrap_or_default();
    let mut rules = Vec::new();
    let mut seen = BTreeMap::new();
    let nodes = f.take("rules");
    for node in nodes.map_or(&[][..], |n| report.list_or_none(n)) {
        if let Some(fields) = report.fields(node, "a rule") {
            let base = format!("{}/{name}", place.file);
            rules.extend(read_rule(
                report, fields, place.file, &base, &shared, &mut seen,
            ));
        }
    }
    fields.finish(report);
    Some(Group {
        id: format!("{};{name}", place.file),
        name,
        file: place.file.to_owned(),
        interval: interval.filter(|i| !i.is_zero()).unwrap_or(place.interval),
        query_offset: query_offset.unwrap_or_default(),
        limit: limit.unwrap_or_default(),
        strict: strict.unwrap_or_default(),
        rules,
    })
}

fn read_rule(
    report: &mut Report<'_>,
    mut fields: Fields<'_>,
    file: &str,
    base: &str,
    shared: &Labels,
    seen: &mut BTreeMap<RuleId, u32>,
) -> Option<GroupRule> {
    let errors_before = report.error_count();
    let f = &mut fields;
    let (record, alert) = (f.take_entry("record"), f.take_entry("alert"));
    let expr = f.take("expr").and_then(|n| expression(report, n));
    if expr.is_none() && report.error_count() == errors_before {
        let hint = "add `expr:` with a PromQL expression";
        report.error(
            codes::RULE_MISSING,
            &f.head(),
            "this rule has no `expr`",
            hint,
        );
    }
    let mut labels = shared.clone();
    if let Some(node) = f.take("labels") {
        let own = read_labels(report, node);
        own.iter().for_each(|(n, v)| labels.set(n, v));
    }
    match (record, alert) {
        (Some((_, node)), None) => {
            let name = record_name(report, node);
            not_for_recording(report, f);
            fields.finish(report);
            if report.error_count() > errors_before {
                return None;
            }
            Some(GroupRule::Record(Arc::new(Recording {
                name: name?,
                expr: expr?,
                labels,
            })))
        }
        (None, Some((_, node))) => {
            let name = report.text(node)?.to_owned();
            if name.is_empty() {
                report.error(
                    codes::RULE_VALUE,
                    &node.span,
                    "an alert's name is empty",
                    "",
                );
            }
            let mut id = RuleId::new(base, &name, &labels);
            let count = seen.entry(id.clone()).or_default();
            *count += 1;
            if *count > 1 {
                id = RuleId(format!("{}#{count}", id.0));
            }
            let rule = alerting(report, f, file, (id, name, labels), expr);
            fields.finish(report);
            if report.error_count() > errors_before {
                return None;
            }
            Some(GroupRule::Alert(Arc::new(rule?)))
        }
        (Some((key, _)), Some(_)) => {
            let message = "a rule has either `record` or `alert`";
            report.error(codes::CONFLICT, &key.span, message, "keep one of the two");
            None
        }
        (None, None) => {
            let hint = "add `alert: NAME` to tell people, or `record: NAME` to make a series";
            let message = "this rule has neither `alert` nor `record`";
            report.error(codes::RULE_MISSING, &f.head(), message, hint);
            None
        }
    }
}

/// What alerting rules have in common; `expr` was read before.
fn alerting(
    report: &mut Report<'_>,
    f: &mut Fields<'_>,
    file: &str,
    (id, name, labels): (RuleId, String, Labels),
    expr: Option<Written>,
) -> Option<Rule> {
    let resolve = f.take("resolve").and_then(|n| expression(report, n));
    let mut length = |key| f.take(key).and_then(|n| report.duration(n));
    let for_ = length("for").unwrap_or_default();
    let keep_firing_for = length("keep_firing_for").unwrap_or_default();
    let silence_window = length("silence_window");
    let missing = missing(report, f);
    if let (Missing::Fire, Some(node)) = (missing, f.take("missing")) {
        let message = "an expression cannot fire for what has vanished";
        let hint = "use `hold` or `resolve`, or a second rule with `absent(…)`";
        report.error(codes::CONFLICT, &node.span, message, hint);
    }
    let annotations = f
        .take("annotations")
        .map(|n| read_annotations(report, n))
        .unwrap_or_default();
    let runbook = runbook(report, f);
    let notify = notify(report, f);
    let heal = heal::read(report, f, &name);
    Some(Rule {
        id,
        name,
        file: file.to_owned(),
        test: Test::Expr(ExprTest::new(expr?, resolve)),
        for_,
        keep_firing_for,
        missing,
        labels,
        annotations,
        runbook,
        notify,
        silence_window,
        heal,
    })
}

/// Our own form: a rule of its own, evaluated on every tick.
pub(in crate::config) fn read_expr_rule(
    report: &mut Report<'_>,
    mut fields: Fields<'_>,
    file: &str,
    name: String,
) -> Option<Group> {
    let errors_before = report.error_count();
    let f = &mut fields;
    let expr = f.take("expr").and_then(|n| expression(report, n));
    for key in ["metric", "window", "threshold", "when", "aggregate"] {
        if let Some((key, _)) = f.take_entry(key) {
            let message = format!("a rule has either `expr` or `{}`", key.text);
            report.error(
                codes::CONFLICT,
                &key.span,
                message,
                "keep one of the two forms",
            );
        }
    }
    let labels = f
        .take("labels")
        .map(|n| read_labels(report, n))
        .unwrap_or_default();
    let id = RuleId::new(file, &name, &labels);
    let rule = alerting(report, f, file, (id, name.clone(), labels), expr);
    fields.finish(report);
    if report.error_count() > errors_before {
        return None;
    }
    Some(Group {
        id: format!("{file};{name}"),
        name,
        file: file.to_owned(),
        interval: Duration::ZERO,
        query_offset: Duration::ZERO,
        limit: 0,
        strict: false,
        rules: vec![GroupRule::Alert(Arc::new(rule?))],
    })
}

/// An expression; what is wrong in it is pointed at in the file.
fn expression(report: &mut Report<'_>, node: &Node) -> Option<Written> {
    let text = report.text(node)?.to_owned();
    if text.trim().is_empty() {
        report.error(
            codes::RULE_MISSING,
            &node.span,
            "the expression is empty",
            "",
        );
        return None;
    }
    match parse(&text, Dialect::PLAIN) {
        Ok(expr) => Some(Written {
            text,
            expr: Arc::new(expr),
        }),
        Err(error) => {
            let span = report.within(node, error.span.clone());
            let hint = error.hint.unwrap_or_default();
            report.error(codes::EXPR, &span, error.message, &hint);
            None
        }
    }
}

fn record_name(report: &mut Report<'_>, node: &Node) -> Option<String> {
    let text = report.text(node)?;
    if text.contains(['{', '}']) {
        let message = "a recorded series' name has no braces";
        let hint = "set labels under `labels:`; a selector belongs into `expr`";
        report.error(codes::RULE_VALUE, &node.span, message, hint);
        return None;
    }
    if text.is_empty() || text.contains(char::is_control) {
        report.error(
            codes::RULE_VALUE,
            &node.span,
            "this is no metric's name",
            "",
        );
        return None;
    }
    Some(text.to_owned())
}

fn not_for_recording(report: &mut Report<'_>, fields: &mut Fields<'_>) {
    for key in ["for", "keep_firing_for", "annotations"] {
        let Some((key, node)) = fields.take_entry(key) else {
            continue;
        };
        // Prometheus takes a zero for nothing written.
        let nothing = match &node.kind {
            Kind::Scalar { text, .. } => text.parse::<Duration>().is_ok_and(|d| d.is_zero()),
            Kind::Map(entries) => entries.is_empty(),
            Kind::Null => true,
            Kind::Seq(_) => false,
        };
        if !nothing {
            let message = format!("a recording rule has no `{}`", key.text);
            report.error(
                codes::CONFLICT,
                &key.span,
                message,
                "it tells nobody: remove it",
            );
        }
    }
}

fn read_labels(report: &mut Report<'_>, node: &Node) -> Labels {
    read_texts(report, node, |report, key| {
        if key.text == "__name__" || key.text.is_empty() {
            let message = format!("`{}` cannot be a label's name here", key.text);
            report.error(codes::LABEL, &key.span, message, "");
        }
    })
}

fn read_annotations(report: &mut Report<'_>, node: &Node) -> Labels {
    read_texts(report, node, |report, key| {
        if key.text.is_empty() {
            report.error(codes::LABEL, &key.span, "an annotation has no name", "");
        }
    })
}

/// Names and templates. Nothing written is no entry.
fn read_texts(
    report: &mut Report<'_>,
    node: &Node,
    check: impl Fn(&mut Report<'_>, &Key),
) -> Labels {
    let mut labels = Labels::new();
    let entries = match &node.kind {
        Kind::Map(entries) => entries.as_slice(),
        Kind::Null => &[],
        Kind::Scalar { .. } | Kind::Seq(_) => {
            report.fields(node, "labels");
            &[]
        }
    };
    for (key, value) in entries {
        check(report, key);
        let Some(text) = report.text(value) else {
            continue;
        };
        if let Err(error) = template::check(text) {
            let hint = "templates are Go's: `{{ $labels.instance }}`, `{{ $value | humanize }}`";
            report.error(
                codes::TEMPLATE,
                &value.span,
                format!("this template does not parse: {error}"),
                hint,
            );
        }
        labels.set(&key.text, text);
    }
    labels
}
