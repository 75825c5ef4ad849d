//! What is tried when a rule fires: `action`, `auto_heal` and the `heal` block become one [`Heal`].

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use crate::config::codes;
use crate::config::groups::promql;
use crate::config::report::{Fields, Report};
use crate::config::yaml::{Kind, Node};
use crate::engine::heal::verify::Verify;
use crate::engine::policy::{Heal, Step};
use crate::model::labels::is_label_name;
use crate::model::time::Duration;

/// How long a step may run if it does not say.
pub const STEP_TIMEOUT: Duration = Duration::from_secs(60);
/// Steps a heal may have.
pub const STEPS_MAX: usize = 16;

/// Reads the three healing keys of a rule. `name` is the rule's.
pub fn read(report: &mut Report<'_>, rule: &mut Fields<'_>, name: &str) -> Option<Heal> {
    let action = rule.take_entry("action");
    let auto_heal = rule.take_entry("auto_heal");
    let block = rule.take_entry("heal");
    let mut heal = with_defaults(name);
    let mut given = None;
    if let Some((key, node)) = action {
        given = Some(key);
        heal.steps.extend(one_step(report, node, action_script));
    }
    if let Some((key, node)) = auto_heal {
        if given.is_some() {
            let hint = "keep one, or list both under `heal: steps:`";
            report.error(
                codes::CONFLICT,
                &key.span,
                "a rule has either `action` or `auto_heal`",
                hint,
            );
        }
        given = Some(key);
        heal.steps.extend(one_step(report, node, checked_script));
    }
    let Some((key, node)) = block else {
        return (!heal.steps.is_empty()).then_some(heal);
    };
    let mut fields = report.fields(node, "`heal`")?;
    terms(report, &mut fields, &mut heal);
    match (fields.take_entry("steps"), given) {
        (Some((steps, _)), Some(other)) => {
            let message = format!("`steps` and `{}` both say what to run", other.text);
            report.error(codes::CONFLICT, &steps.span, message, "keep one of them");
        }
        (Some((_, steps)), None) => read_steps(report, steps, &mut heal),
        (None, None) => report.error(
            codes::RULE_MISSING,
            &key.span,
            "`heal` has no `steps`",
            "an example: `steps: [{run: [scripts/restart.sh]}]`",
        ),
        (None, Some(_)) => {}
    }
    fields.finish(report);
    (!heal.steps.is_empty()).then_some(heal)
}

fn with_defaults(name: &str) -> Heal {
    Heal {
        target: None,
        group: name.to_owned(),
        limit: 3,
        limit_per: Duration::from_hours(1),
        backoff_min: Duration::from_secs(30),
        backoff_max: Duration::from_mins(10),
        verify: None,
        settle: Duration::from_secs(30),
        within: Duration::from_mins(5),
        hold: Duration::from_mins(1),
        page_after_heal: false,
        steps: Vec::new(),
    }
}

fn terms(report: &mut Report<'_>, fields: &mut Fields<'_>, heal: &mut Heal) {
    if let Some(node) = fields.take("target") {
        match report.text(node) {
            Some(label) if is_label_name(label) => heal.target = Some(label.to_owned()),
            Some(label) => report.error(
                codes::LABEL,
                &node.span,
                format!("`{label}` is not a label's name"),
                "an example: `target: instance`",
            ),
            None => {}
        }
    }
    if let Some(group) = fields.take("group").and_then(|n| report.text(n)) {
        heal.group = group.to_owned();
    }
    if let Some(node) = fields.take("limit") {
        match report.text(node).map(|t| (t, parse_limit(t))) {
            Some((_, Some((limit, per)))) => (heal.limit, heal.limit_per) = (limit, per),
            Some((text, None)) => report.error(
                codes::RULE_VALUE,
                &node.span,
                format!("`{text}` is not a limit"),
                "write `3 in 1h`",
            ),
            None => {}
        }
    }
    if let Some(node) = fields.take("backoff") {
        match report.text(node).map(|t| (t, parse_backoff(t))) {
            Some((_, Some((min, max)))) => (heal.backoff_min, heal.backoff_max) = (min, max),
            Some((text, None)) => report.error(
                codes::RULE_VALUE,
                &node.span,
                format!("`{text}` is not a backoff"),
                "write `30s..10m`",
            ),
            None => {}
        }
    }
    for (name, slot) in [
        ("settle", &mut heal.settle),
        ("within", &mut heal.within),
        ("hold", &mut heal.hold),
    ] {
        if let Some(duration) = fields.take(name).and_then(|n| report.duration(n)) {
            *slot = duration;
        }
    }
    if let Some(after) = fields
        .take("page")
        .and_then(|n| report.word(n, &[("now", false), ("after_heal", true)]))
    {
        heal.page_after_heal = after;
    }
    heal.verify = fields.take("verify").and_then(|n| verify(report, n));
    fields.later(report, &["unhealthy", "rearm", "probation", "mode"]);
}

/// The expression that shows whether it worked.
fn verify(report: &mut Report<'_>, node: &Node) -> Option<Arc<Verify>> {
    match Verify::new(promql(report, node)?) {
        Ok(verify) => Some(Arc::new(verify)),
        Err(unfit) => {
            let span = report.within(node, unfit.span);
            report.error(codes::VERIFY, &span, unfit.message, unfit.hint);
            None
        }
    }
}

/// Reads `3 in 1h`.
fn parse_limit(text: &str) -> Option<(u32, Duration)> {
    let (count, per) = text.split_once(" in ")?;
    let (count, per) = (count.trim().parse().ok()?, per.trim().parse().ok()?);
    (count > 0 && per > Duration::ZERO).then_some((count, per))
}

/// Reads `30s..10m`, or `30s` for always the same.
fn parse_backoff(text: &str) -> Option<(Duration, Duration)> {
    let (min, max) = text.split_once("..").unwrap_or((text, text));
    let (min, max) = (min.trim().parse().ok()?, max.trim().parse().ok()?);
    (min <= max).then_some((min, max))
}

fn one_step(
    report: &mut Report<'_>,
    node: &Node,
    script: fn(&mut Report<'_>, &Node) -> Option<String>,
) -> Option<Step> {
    Some(Step {
        script: script(report, node)?,
        args: Vec::new(),
        timeout: STEP_TIMEOUT,
    })
}

fn read_steps(report: &mut Report<'_>, steps: &Node, heal: &mut Heal) {
    let items = report.list(steps);
    let count = items.len();
    if count == 0 && matches!(steps.kind, Kind::Seq(_)) || count > STEPS_MAX {
        report.error(
            codes::RULE_VALUE,
            &steps.span,
            format!("`steps` has {count} steps, from 1 to {STEPS_MAX} can be"),
            "",
        );
    }
    for item in items {
        let Some(mut fields) = report.fields(item, "a step") else {
            continue;
        };
        let (run, rollback) = (fields.take_entry("run"), fields.take_entry("rollback"));
        let timeout = fields
            .take("timeout")
            .and_then(|n| report.duration_above_zero(n))
            .unwrap_or(STEP_TIMEOUT);
        fields.later(report, &["undo", "blame", "mode", "idempotent"]);
        let argv = match (run, rollback) {
            (Some((_, node)), None) => read_run(report, node),
            (None, Some((_, node))) => {
                rollback_script(report, node).map(|script| (script, Vec::new()))
            }
            (Some(_), Some((key, _))) => {
                report.error(
                    codes::CONFLICT,
                    &key.span,
                    "a step has either `run` or `rollback`",
                    "make it two steps",
                );
                None
            }
            (None, None) => {
                report.error(
                    codes::RULE_MISSING,
                    &fields.head(),
                    "a step has neither `run` nor `rollback`",
                    "an example: `run: [scripts/restart.sh, $instance]`",
                );
                None
            }
        };
        fields.finish(report);
        if let Some((script, args)) = argv {
            heal.steps.push(Step {
                script,
                args,
                timeout,
            });
        }
    }
}

fn read_run(report: &mut Report<'_>, node: &Node) -> Option<(String, Vec<String>)> {
    let items = report.list_or_one(node);
    let Some((first, rest)) = items.split_first() else {
        if matches!(node.kind, Kind::Seq(_)) {
            report.error(
                codes::RULE_MISSING,
                &node.span,
                "`run` names no script",
                "an example: `run: [scripts/restart.sh, $instance]`",
            );
        }
        return None;
    };
    let script = checked_script(report, first);
    let mut args = Vec::new();
    for item in rest {
        let Some(text) = report.text(item) else {
            continue;
        };
        if text.contains(['\0', '\n']) {
            report.error(
                codes::RULE_VALUE,
                &item.span,
                "an argument cannot hold a line break or NUL",
                "",
            );
        } else if text
            .strip_prefix('$')
            .is_some_and(|label| !is_label_name(label))
        {
            report.error(
                codes::LABEL,
                &item.span,
                format!("`{}` is not `$` and a label's name", text.escape_debug()),
                "an example: `$instance`",
            );
        } else {
            args.push(text.to_owned());
        }
    }
    Some((script?, args))
}

/// The script that `VERB:NAME` stands for.
pub fn script_of_action(text: &str) -> Option<String> {
    let (verb, name) = text.split_once(':')?;
    let part = |t: &str| {
        t.len() <= 64
            && t.starts_with(|c: char| c.is_ascii_uppercase())
            && t.bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    (part(verb) && part(name)).then(|| {
        format!(
            "scripts/{}_{}.sh",
            verb.to_ascii_lowercase(),
            name.to_ascii_lowercase()
        )
    })
}

/// The script that rolls `name` back.
pub fn script_of_rollback(name: &str) -> Option<String> {
    let fine = !name.is_empty()
        && name.len() <= 64
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    fine.then(|| {
        format!(
            "scripts/rollback_{}.sh",
            name.replace('-', "_").to_ascii_lowercase()
        )
    })
}

fn action_script(report: &mut Report<'_>, node: &Node) -> Option<String> {
    let text = report.text(node)?;
    let script = script_of_action(text);
    if script.is_none() {
        let hint =
            "two words in capitals: `ROLLBACK:DOCKET_RULE` runs scripts/rollback_docket_rule.sh";
        report.error(
            codes::ACTION,
            &node.span,
            format!("`{}` is not VERB:NAME", text.escape_debug()),
            hint,
        );
    }
    script
}

fn rollback_script(report: &mut Report<'_>, node: &Node) -> Option<String> {
    let text = report.text(node)?;
    let script = script_of_rollback(text);
    if script.is_none() {
        let hint =
            "letters, digits, `-` and `_`: `rollback: vote-api` runs scripts/rollback_vote_api.sh";
        report.error(
            codes::ACTION,
            &node.span,
            format!("`{}` cannot be rolled back", text.escape_debug()),
            hint,
        );
    }
    script
}

fn checked_script(report: &mut Report<'_>, node: &Node) -> Option<String> {
    let text = report.text(node)?;
    let below = text.strip_prefix("scripts/").is_some_and(|rest| {
        rest.split('/').all(|part| {
            !part.is_empty()
                && !part.starts_with('.')
                && !part.contains(['\\', ' ', '\t', '\n', '\0'])
        })
    });
    if below {
        return Some(text.to_owned());
    }
    let hint = if text.contains(' ') {
        "arguments are list items, there is no shell: `run: [scripts/restart.sh, --now]`"
    } else {
        "scripts live below `scripts/`: `scripts/restart.sh`; no `..`, no absolute path"
    };
    report.error(
        codes::SCRIPT_PATH,
        &node.span,
        format!("`{}` is not a script's path", text.escape_debug()),
        hint,
    );
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_names_one_script_and_nothing_else() {
        assert_eq!(
            script_of_action("ROLLBACK:DOCKET_RULE").as_deref(),
            Some("scripts/rollback_docket_rule.sh")
        );
        for bad in [
            "ROLLBACK",
            "rollback:x",
            "A:../B",
            "A:B:C",
            ":A",
            "A:",
            "1A:B",
            "A: B",
        ] {
            assert_eq!(script_of_action(bad), None, "{bad}");
        }
        assert_eq!(
            script_of_rollback("vote-api").as_deref(),
            Some("scripts/rollback_vote_api.sh")
        );
        assert_eq!(script_of_rollback("../x"), None);
        assert_eq!(parse_limit("3 in 1h"), Some((3, Duration::from_hours(1))));
        assert_eq!(parse_backoff("10m..30s"), None);
    }
}
