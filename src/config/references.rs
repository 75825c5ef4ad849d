//! What one file says of another: receivers, scripts and runbooks that rules name must be there.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::ops::Range;

use crate::config::heal::{script_of_action, script_of_rollback};
use crate::config::notify::{Notify, parse_notify};
use crate::config::report::{Report, near};
use crate::config::rules::{DIALECT, FileRules, alert_nodes};
use crate::config::settings::Settings;
use crate::config::yaml::{Kind, Node, rule_documents};
use crate::config::{SourceFile, codes};
use crate::model::written::Problem;

/// Checks the rules of `file` against the settings and the project folder. `exists` is asked with paths relative to the
/// project, such as `scripts/x.sh` and `runbooks/wiki/x.md`. Unknown receivers and missing scripts are errors, missing
/// runbooks warnings.
pub fn check_references(
    file: &SourceFile,
    rules: &FileRules,
    settings: &Settings,
    exists: &dyn Fn(&str) -> bool,
) -> Vec<Problem> {
    let mut report = Report::new(file, DIALECT);
    let (docs, _) = rule_documents(&file.text);
    let nodes: Vec<&Node> = alert_nodes(&docs);
    let count = rules.alerting().count();
    for (i, rule) in rules.alerting().enumerate() {
        // With a faulty rule left out, places cannot be paired; then the whole file is searched for the word.
        let own = if nodes.len() == count {
            nodes.get(i).copied()
        } else {
            None
        };
        let find = |means: &dyn Fn(&str) -> bool| -> Range<usize> {
            let mut within: Vec<&Node> = own.map_or_else(|| nodes.clone(), |n| vec![n]);
            within.reverse();
            first_scalar(within, means).unwrap_or(0..0)
        };
        if rule.notify.is_empty() && settings.default_receiver.is_none() {
            let span = own.map_or(0..0, head);
            let message = format!("nobody is paged when `{}` fires", rule.name);
            let hint = "add `notify`, or a `route` with a `receiver` to the settings";
            report.warn(codes::NOBODY, &span, message, hint);
        }
        for entry in &rule.notify {
            receiver(&mut report, settings, entry, find(&|t| t == entry));
        }
        for step in rule.heal.iter().flat_map(|h| &h.steps) {
            if !exists(&step.script) {
                let span = find(&|t| {
                    t == step.script
                        || script_of_action(t).as_ref() == Some(&step.script)
                        || script_of_rollback(t).as_ref() == Some(&step.script)
                });
                let message = format!("there is no file {}", step.script);
                report.error(
                    codes::NO_SCRIPT,
                    &span,
                    message,
                    "write the script and make it executable",
                );
            }
        }
        if let Some(path) = rule.runbook.as_deref().and_then(runbook_path)
            && !exists(&path)
        {
            let span = find(&|t| Some(t) == rule.runbook.as_deref());
            report.warn(
                codes::NO_RUNBOOK,
                &span,
                format!("there is no file {path}"),
                "write it: it is what the person who is paged will look for",
            );
        }
    }
    report.finish()
}

/// The file that a rule's `runbook` means, relative to the project; `None` for a URL.
pub fn runbook_path(runbook: &str) -> Option<String> {
    if runbook.contains("://") {
        return None;
    }
    let path = runbook.split('#').next().unwrap_or(runbook);
    let end = if path.ends_with(".md") { "" } else { ".md" };
    Some(format!("runbooks/{path}{end}"))
}

fn receiver(report: &mut Report<'_>, settings: &Settings, entry: &str, span: Range<usize>) {
    let Ok(Notify::Receiver(name)) = parse_notify(entry) else {
        return;
    };
    if let Some(receiver) = settings.receivers.get(&name) {
        if receiver.ways.is_empty() {
            let hint = "give it `email_configs` or `webhook_configs`";
            let message = format!("the receiver `{name}` reaches nobody");
            report.warn(codes::NOBODY, &span, message, hint);
        }
        return;
    }
    let hint = match near(&name, settings.receivers.keys().map(String::as_str)) {
        Some(word) => format!("did you mean `{word}`?"),
        None => "add it under `receivers` in the settings, or write an e-mail address".to_owned(),
    };
    report.error(
        codes::UNKNOWN_RECEIVER,
        &span,
        format!("there is no receiver `{name}`"),
        &hint,
    );
}

/// Where to point when a whole rule is meant: its first key.
fn head(rule: &Node) -> Range<usize> {
    match &rule.kind {
        Kind::Map(entries) => entries
            .first()
            .map_or(rule.span.clone(), |(key, _)| key.span.clone()),
        Kind::Null | Kind::Scalar { .. } | Kind::Seq(_) => rule.span.clone(),
    }
}

/// The first scalar, in reading order, whose text is meant; `todo` is a stack.
fn first_scalar(mut todo: Vec<&Node>, means: &dyn Fn(&str) -> bool) -> Option<Range<usize>> {
    while let Some(node) = todo.pop() {
        match &node.kind {
            Kind::Scalar { text, .. } if means(text) => return Some(node.span.clone()),
            Kind::Seq(items) => todo.extend(items.iter().rev()),
            Kind::Map(entries) => todo.extend(entries.iter().rev().map(|(_, n)| n)),
            Kind::Scalar { .. } | Kind::Null => {}
        }
    }
    None
}
