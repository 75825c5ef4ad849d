//! Rules for tests, by name.

use std::sync::Arc;

use crate::engine::policy::{
    Aggregate, Compare, Condition, Heal, Missing, Policy, Rule, RuleId, Step,
};
use crate::model::labels::Labels;
use crate::model::time::Duration;

const S: fn(u64) -> Duration = Duration::from_secs;

pub fn rule(name: &str, selector: &str, window: u64, threshold: f64) -> Rule {
    Rule {
        id: RuleId::new("test.yml", name, &Labels::new()),
        name: name.to_owned(),
        file: "test.yml".to_owned(),
        selector: selector.parse().unwrap(),
        window: S(window),
        condition: above(threshold),
        resolve: None,
        for_: Duration::ZERO,
        keep_firing_for: Duration::ZERO,
        missing: Missing::Hold,
        labels: Labels::new(),
        annotations: Labels::new(),
        runbook: None,
        notify: vec!["oncall".to_owned()],
        silence_window: None,
        heal: None,
    }
}

pub fn above(threshold: f64) -> Condition {
    Condition::Threshold {
        aggregate: Aggregate::Avg,
        compare: Compare::Greater,
        threshold,
    }
}

pub fn below(threshold: f64) -> Condition {
    Condition::Threshold {
        aggregate: Aggregate::Avg,
        compare: Compare::Less,
        threshold,
    }
}

pub fn heal(scripts: &[&str]) -> Heal {
    Heal {
        target: None,
        group: "g".to_owned(),
        limit: 3,
        limit_per: S(3600),
        backoff_min: S(30),
        backoff_max: S(600),
        settle: S(5),
        within: S(60),
        hold: S(10),
        page_after_heal: false,
        steps: scripts
            .iter()
            .map(|s| Step {
                script: format!("scripts/{s}"),
                args: Vec::new(),
                timeout: S(60),
            })
            .collect(),
    }
}

pub fn policy(rules: Vec<Rule>) -> Policy {
    Policy {
        rules: rules.into_iter().map(Arc::new).collect(),
        fallback: [("oncall".to_owned(), "manager".to_owned())].into(),
        ..Policy::default()
    }
}

/// The rule files of the scenarios.
pub fn named(names: &[String]) -> Result<Arc<Policy>, String> {
    let (mut rules, mut default_receiver, mut broken) = (Vec::new(), None, Vec::new());
    for name in names {
        let mut r = rule("slow", "county_api_ms", 10, 1000.0);
        match name.as_str() {
            "none" => continue,
            "default" => {
                default_receiver = Some("chief".to_owned());
                continue;
            }
            "broken" => {
                broken.push("slow.yml".to_owned());
                continue;
            }
            "plain" => {}
            "for" => r.for_ = S(5),
            "heal" => {
                r.for_ = S(5);
                r.heal = Some(heal(&["fix.sh"]));
            }
            "heal_quiet" => {
                let mut h = heal(&["fix.sh"]);
                h.page_after_heal = true;
                r.heal = Some(h);
            }
            "heal_hosts" => {
                let mut h = heal(&["fix.sh"]);
                h.target = Some("host".to_owned());
                r.heal = Some(h);
            }
            "heal_two" => r.heal = Some(heal(&["fix.sh", "fix_more.sh"])),
            "window" => r.silence_window = Some(S(60)),
            "resolve_missing" => r.missing = Missing::Resolve,
            "fire_missing" => r.missing = Missing::Fire,
            "hysteresis" => r.resolve = Some(below(500.0)),
            "hysteresis_overlap" => r.resolve = Some(below(2000.0)),
            "keep" => r.keep_firing_for = S(30),
            "east" => r.selector = "county_api_ms{region=\"east\"}".parse().unwrap(),
            "fire_for" => {
                r.missing = Missing::Fire;
                r.for_ = S(5);
            }
            "rate" => {
                r.condition = Condition::Threshold {
                    aggregate: Aggregate::Sum,
                    compare: Compare::Greater,
                    threshold: 1000.0,
                }
            }
            "long" => r.window = S(1200),
            "two" => r.notify.push("pager".to_owned()),
            other => return Err(format!("no rule file {other}")),
        }
        rules.push(r);
    }
    Ok(Arc::new(Policy {
        default_receiver,
        broken,
        ..policy(rules)
    }))
}
