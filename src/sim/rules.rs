//! Rules for tests, by name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::engine::heal::verify::Verify;
use crate::engine::policy::{
    Aggregate, Compare, Condition, ExprTest, Group, GroupRule, Heal, Missing, Policy, Recording,
    Rule, RuleId, Step, Test, WindowTest, Written,
};
use crate::engine::promql::{Dialect, parse};
use crate::model::labels::Labels;
use crate::model::time::Duration;

const S: fn(u64) -> Duration = Duration::from_secs;

pub fn rule(name: &str, selector: &str, window: u64, threshold: f64) -> Rule {
    Rule {
        id: RuleId::new("test.yml", name, &Labels::new()),
        name: name.to_owned(),
        file: "test.yml".to_owned(),
        test: Test::Window(WindowTest {
            selector: selector.parse().unwrap(),
            window: S(window),
            condition: above(threshold),
            resolve: None,
        }),
        for_: Duration::ZERO,
        keep_firing_for: Duration::ZERO,
        missing: Missing::Hold,
        labels: Labels::new(),
        clears: BTreeSet::new(),
        annotations: BTreeMap::new(),
        runbook: None,
        notify: vec!["oncall".to_owned()],
        silence_window: None,
        heal: None,
    }
}

/// The test of a rule over windows.
pub fn window(rule: &mut Rule) -> &mut WindowTest {
    match &mut rule.test {
        Test::Window(test) => test,
        Test::Expr(_) => panic!("{} is no rule over windows", rule.name),
    }
}

/// A group of one rule that alerts by an expression.
pub fn expr_group(mut rule: Rule, text: &str, interval: u64) -> Group {
    rule.test = Test::Expr(ExprTest::new(written(text), None));
    Group {
        id: format!("test.yml;{}", rule.name),
        name: rule.name.clone(),
        file: "test.yml".to_owned(),
        interval: S(interval),
        query_offset: Duration::ZERO,
        limit: 0,
        strict: false,
        rules: vec![GroupRule::Alert(Arc::new(rule))],
    }
}

/// An expression, read.
pub fn written(text: &str) -> Written {
    Written {
        text: text.to_owned(),
        expr: Arc::new(parse(text, Dialect::PLAIN).unwrap()),
    }
}

/// What shows that a heal worked.
pub fn verify(text: &str) -> Arc<Verify> {
    Arc::new(Verify::new(written(text)).unwrap())
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
        verify: None,
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
        groups: Vec::new(),
        fallback: [("oncall".to_owned(), "manager".to_owned())].into(),
        ..Policy::default()
    }
}

/// The rule files of the scenarios.
pub fn named(names: &[String]) -> Result<Arc<Policy>, String> {
    let (mut rules, mut groups) = (Vec::new(), Vec::new());
    let (mut default_receiver, mut broken) = (None, Vec::new());
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
            "heal_verify" => {
                let mut h = heal(&["fix.sh"]);
                h.verify = Some(verify("job:error_ratio:5m < 0.02"));
                r.heal = Some(h);
            }
            "heal_verify_hosts" => {
                let mut h = heal(&["fix.sh"]);
                h.target = Some("host".to_owned());
                h.verify = Some(verify("rate(api_errors_total[5m]) == 0"));
                h.hold = Duration::ZERO;
                r.heal = Some(h);
            }
            "expr_heal_verify" => {
                let mut h = heal(&["fix.sh"]);
                h.verify = Some(verify("max_over_time(sum(api_errors)[1m:10s]) < 5"));
                r.heal = Some(h);
                groups.push(expr_group(r, "county_api_ms > 1000", 0));
                continue;
            }
            "heal_verify_absent" => {
                let mut h = heal(&["fix.sh"]);
                h.target = Some("host".to_owned());
                h.verify = Some(verify("absent(api_errors > 5)"));
                r.heal = Some(h);
            }
            "heal_settle" => {
                let mut h = heal(&["fix.sh"]);
                (h.settle, h.within) = (S(20), S(20));
                r.heal = Some(h);
            }
            "expr_heal_slots" => {
                let mut h = heal(&["fix.sh", "fix_more.sh"]);
                (h.within, h.hold) = (S(20), S(5));
                r.heal = Some(h);
                groups.push(expr_group(r, "county_api_ms > 1000", 60));
                continue;
            }
            "expr_heal_fails" => {
                r.heal = Some(heal(&["fix.sh", "fix_more.sh"]));
                let text = "county_api_ms > 1000 and on () county_api_ms * on () county_api_ms > 0";
                groups.push(expr_group(r, text, 0));
                continue;
            }
            "heal_two" => r.heal = Some(heal(&["fix.sh", "fix_more.sh"])),
            "window" => r.silence_window = Some(S(60)),
            "resolve_missing" => r.missing = Missing::Resolve,
            "fire_missing" => r.missing = Missing::Fire,
            "hysteresis" => window(&mut r).resolve = Some(below(500.0)),
            "hysteresis_overlap" => window(&mut r).resolve = Some(below(2000.0)),
            "keep" => r.keep_firing_for = S(30),
            "east" => window(&mut r).selector = "county_api_ms{region=\"east\"}".parse().unwrap(),
            "fire_for" => {
                r.missing = Missing::Fire;
                r.for_ = S(5);
            }
            "rate" => {
                window(&mut r).condition = Condition::Threshold {
                    aggregate: Aggregate::Sum,
                    compare: Compare::Greater,
                    threshold: 1000.0,
                }
            }
            "long" => window(&mut r).window = S(1200),
            "two" => r.notify.push("pager".to_owned()),
            "expr" => {
                groups.push(expr_group(r, "county_api_ms > 1000", 0));
                continue;
            }
            "expr_slots" => {
                r.for_ = S(10);
                groups.push(expr_group(r, "avg_over_time(county_api_ms[10s]) > 1000", 5));
                continue;
            }
            "expr_sum" => {
                groups.push(expr_group(r, "count(county_api_ms > 1000) > 1", 0));
                continue;
            }
            "blind" => {
                window(&mut r).selector = "county_api_mss".parse().unwrap();
                r.name = "typo".to_owned();
                r.id = RuleId::new("test.yml", "typo", &Labels::new());
            }
            "expr_blind" => {
                r.name = "ratio".to_owned();
                r.id = RuleId::new("test.yml", "ratio", &Labels::new());
                let text =
                    "county_errors{code=\"5xx\"} / county_requests > 0.1 or absent(county_api_ms)";
                groups.push(expr_group(r, text, 0));
                let mut other = rule("low", "x", 10, 0.0);
                other.heal = None;
                let text = "county_errors{code=\"5xx\"} / county_requests > 0.1";
                groups.push(expr_group(other, text, 0));
                continue;
            }
            "expr_on" => {
                let text = "county_api_ms > on (region) county_limit_ms";
                groups.push(expr_group(r, text, 0));
                continue;
            }
            "expr_many" => {
                groups.push(expr_group(
                    r,
                    "county_api_ms * on () county_api_ms > 1000",
                    0,
                ));
                continue;
            }
            "expr_limit" => {
                let mut group = expr_group(r, "county_api_ms > 1000", 0);
                group.limit = 1;
                groups.push(group);
                continue;
            }
            "expr_offset" => {
                let mut group = expr_group(r, "county:ms:max > 1000", 5);
                group.query_offset = S(20);
                let record = Recording {
                    name: "county:ms:max".to_owned(),
                    expr: written("max(county_api_ms)"),
                    labels: Labels::new(),
                    clears: BTreeSet::new(),
                };
                group.rules.insert(0, GroupRule::Record(Arc::new(record)));
                groups.push(group);
                continue;
            }
            "expr_strict" => {
                let mut group = expr_group(r, "county_api_ms > 1000", 0);
                group.strict = true;
                groups.push(group);
                continue;
            }
            // The second rule reads what the first has just written.
            "expr_strict_alerts" => {
                r.for_ = S(10);
                let mut group = expr_group(r, "county_api_ms > 1000", 10);
                group.strict = true;
                let mut next = rule("both", "x", 10, 0.0);
                next.heal = None;
                let next = expr_group(next, "ALERTS{alertname=\"slow\",alertstate=\"firing\"}", 10);
                group.rules.extend(next.rules);
                groups.push(group);
                continue;
            }
            // What it is about has all the labels that its alert has.
            "expr_of_an_alert" => {
                r.labels.set("severity", "{{ $labels.severity }}");
                groups.push(expr_group(r, "remote_alerts > 0", 0));
                continue;
            }
            // Two rules have alerts with the same labels, the one that ends first comes last, and a third one reads them.
            "expr_strict_same_labels" => {
                let mut other = rule("slow", "x", 10, 0.0);
                other.heal = None;
                other.id = RuleId::new("test.yml", "higher", &Labels::new());
                let mut group = expr_group(r, "county_api_ms > 1000", 10);
                group.strict = true;
                group
                    .rules
                    .extend(expr_group(other, "county_api_ms > 1500", 10).rules);
                let mut reads = rule("reads", "x", 10, 0.0);
                reads.heal = None;
                group
                    .rules
                    .extend(expr_group(reads, "ALERTS{alertname=\"slow\"}", 10).rules);
                groups.push(group);
                continue;
            }
            "expr_strict_by_value_heal" => {
                r.labels.set("ms", "{{ $value }}");
                r.for_ = S(30);
                let mut h = heal(&["fix.sh"]);
                h.target = Some("host".to_owned());
                r.heal = Some(h);
                let mut group = expr_group(r, "county_api_ms > 1000", 0);
                group.strict = true;
                groups.push(group);
                continue;
            }
            // In a strict group each value is another alert.
            "expr_strict_by_value" | "expr_by_value" => {
                r.labels.set("ms", "{{ $value }}");
                let mut group = expr_group(r, "county_api_ms > 1000", 0);
                group.strict = name == "expr_strict_by_value";
                groups.push(group);
                continue;
            }
            "recorded" | "recorded_limited" | "recorded_cleared" => {
                let mut group = expr_group(r, "county:ms:max > 1000", 5);
                group.rules.insert(
                    0,
                    GroupRule::Record(Arc::new(Recording {
                        name: "county:ms:max".to_owned(),
                        expr: written("max without (host) (county_api_ms)"),
                        labels: Labels::new().with("team", "api"),
                        clears: match name.as_str() {
                            "recorded_cleared" => BTreeSet::from(["region".to_owned()]),
                            _ => BTreeSet::new(),
                        },
                    })),
                );
                if name == "recorded_limited" {
                    group.limit = 1;
                }
                groups.push(group);
                continue;
            }
            "recorded_twice" => {
                let mut group = expr_group(r, "county:ms:max > 1000", 5);
                for (place, of) in ["county_api_ms", "county_mss"].into_iter().enumerate() {
                    let record = Recording {
                        name: "county:ms:max".to_owned(),
                        expr: written(&format!("max by (region) ({of})")),
                        labels: Labels::new(),
                        clears: BTreeSet::new(),
                    };
                    group
                        .rules
                        .insert(place, GroupRule::Record(Arc::new(record)));
                }
                groups.push(group);
                continue;
            }
            "recorded_renamed" => {
                let mut group = expr_group(r, "sum(county:ms:max) > 1000", 5);
                group.rules.insert(
                    0,
                    GroupRule::Record(Arc::new(Recording {
                        name: "county:ms:max".to_owned(),
                        expr: written("max without (host) (county_api_ms)"),
                        labels: Labels::new().with("team", "courts"),
                        clears: BTreeSet::new(),
                    })),
                );
                groups.push(group);
                continue;
            }
            "recorded_sum" => {
                let mut group = expr_group(r, "sum(county:ms:max) > 1000", 5);
                group.rules.insert(
                    0,
                    GroupRule::Record(Arc::new(Recording {
                        name: "county:ms:max".to_owned(),
                        expr: written("max without (host) (county_api_ms)"),
                        labels: Labels::new().with("team", "api"),
                        clears: BTreeSet::new(),
                    })),
                );
                groups.push(group);
                continue;
            }
            "on_alerts" => {
                r.name = "many".to_owned();
                r.id = RuleId::new("test.yml", "many", &Labels::new());
                let text = "count(ALERTS{alertname=\"slow\",alertstate=\"firing\"}) > 1";
                groups.push(expr_group(r, text, 0));
                continue;
            }
            other => return Err(format!("no rule file {other}")),
        }
        rules.push(r);
    }
    Ok(Arc::new(Policy {
        default_receiver,
        broken,
        groups: groups.into_iter().map(Arc::new).collect(),
        ..policy(rules)
    }))
}
