//! `relabel_configs` and `metric_relabel_configs`.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::config::codes;
use crate::config::report::{Fields, Report};
use crate::config::yaml::Node;
use crate::model::pattern::anchored;
use crate::model::relabel::{Action, Relabel};

/// An action before what it needs is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

const WORDS: [(&str, Word); 11] = [
    ("replace", Word::Replace),
    ("keep", Word::Keep),
    ("drop", Word::Drop),
    ("keepequal", Word::KeepEqual),
    ("dropequal", Word::DropEqual),
    ("hashmod", Word::HashMod),
    ("labelmap", Word::LabelMap),
    ("labeldrop", Word::LabelDrop),
    ("labelkeep", Word::LabelKeep),
    ("lowercase", Word::Lowercase),
    ("uppercase", Word::Uppercase),
];

/// Reads a list of steps; one that cannot be read is left out, and a problem.
pub(super) fn read(report: &mut Report<'_>, node: &Node) -> Vec<Relabel> {
    let mut steps = Vec::new();
    for item in report.list(node) {
        if let Some(fields) = report.fields(item, "a relabel step") {
            steps.extend(step(report, fields));
        }
    }
    steps
}

fn step(report: &mut Report<'_>, mut fields: Fields<'_>) -> Option<Relabel> {
    let head = fields.head();
    // Prometheus writes actions in any case.
    let action = fields.take("action");
    let word = match action {
        None => Some(Word::Replace),
        Some(node) => {
            let text = report.text(node).map(str::to_lowercase);
            let known = WORDS.iter().find(|(w, _)| text.as_deref() == Some(w));
            match known {
                Some((_, word)) => Some(*word),
                None => report.word(node, &WORDS),
            }
        }
    };
    let sources = fields.take("source_labels");
    let sources = sources.map_or(&[][..], |n| report.list_or_one(n));
    let sources: Vec<String> = sources
        .iter()
        .filter_map(|n| report.text(n))
        .map(str::to_owned)
        .collect();
    let mut text = |name| {
        let node = fields.take(name);
        node.and_then(|n| report.text(n)).map(str::to_owned)
    };
    let (separator, target, replacement, pattern) = (
        text("separator"),
        text("target_label").filter(|t| !t.is_empty()),
        text("replacement"),
        text("regex"),
    );
    let modulus = fields.take("modulus").and_then(|n| report.parse::<u64>(n));
    let span = fields
        .take("regex")
        .map_or(head.clone(), |n| n.span.clone());
    fields.finish(report);
    let regex = anchored(pattern.as_deref().unwrap_or("(.*)"));
    let regex = match regex {
        Ok(regex) => Some(regex),
        Err(why) => {
            let message = format!("this is no regular expression: {why}");
            report.error(codes::SETTING_VALUE, &span, message, "");
            None
        }
    };
    let mut target = |what: &str| {
        if target.is_none() {
            let message = format!("a step that does `{what}` needs a `target_label`");
            report.error(codes::SETTING_MISSING, &head, message, "");
        }
        target.clone()
    };
    let replacement = replacement.unwrap_or_else(|| "$1".to_owned());
    let action = match word? {
        Word::Replace => Action::Replace {
            target: target("replace")?,
            replacement,
        },
        Word::Keep => Action::Keep,
        Word::Drop => Action::Drop,
        Word::KeepEqual => Action::KeepEqual(target("keepequal")?),
        Word::DropEqual => Action::DropEqual(target("dropequal")?),
        Word::HashMod => {
            let target = target("hashmod");
            let Some(modulus) = modulus.filter(|m| *m > 0) else {
                let message = "a step that does `hashmod` needs a `modulus` above 0";
                report.error(codes::SETTING_MISSING, &head, message, "");
                return None;
            };
            Action::HashMod(target?, modulus)
        }
        Word::LabelMap => Action::LabelMap(replacement),
        Word::LabelDrop => Action::LabelDrop,
        Word::LabelKeep => Action::LabelKeep,
        Word::Lowercase => Action::Lowercase(target("lowercase")?),
        Word::Uppercase => Action::Uppercase(target("uppercase")?),
    };
    Some(Relabel {
        source_labels: sources,
        separator: separator.unwrap_or_else(|| ";".to_owned()),
        regex: regex?,
        action,
    })
}
