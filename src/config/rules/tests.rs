use expect_test::{Expect, expect};

use super::*;
use crate::config::check_references;

/// The first two examples of the manual.
pub(in crate::config) const MANUAL: &str = r#"metric: county_api_ms          # a name, or a selector
window: 3m
threshold: 1000                # a number means "> number"
aggregate: avg                 # avg (default) min max sum count
notify: ["oncall@opm.gov", pager_duty]
runbook: wiki/slow-county-api  # runbooks/wiki/slow-county-api.md, or a URL
action: "ROLLBACK:DOCKET_RULE" # VERB:NAME
---
metric: county_api_ms
window: 3m
when: avg > 1000 && count >= 20
"#;

pub(in crate::config) const FULL: &str = r#"- name: vote_slow
  metric: 'vote_api_latency_ms{region="east"}'
  threshold: ">= 300"
  aggregate: p95
  resolve: < 200
  for: 5m
  keep_firing_for: 1m
  missing: fire
  labels: {severity: page}
  annotations: {summary: "{{ $value }} ms"}
  notify: oncall@sos.gov
  silence_window: 30m
  heal:
    target: instance
    group: vote-api
    limit: 5 in 2h
    backoff: 10s..5m
    settle: 10s
    within: 2m
    hold: 30s
    page: after_heal
    steps:
    - run: [scripts/restart_vote_api.sh, $instance]
      timeout: 90s
    - rollback: vote-api
"#;

fn file(text: &str) -> SourceFile {
    SourceFile {
        path: "county.yml".to_owned(),
        shown: "alerts/county.yml".to_owned(),
        text: text.to_owned(),
    }
}

fn check(text: &str, expected: Expect) {
    let (_, problems) = read_rules(&file(text));
    let told: Vec<String> = problems.iter().map(|p| p.render(text)).collect();
    expected.assert_eq(&told.join("\n"));
}

fn test(rule: &Rule) -> &WindowTest {
    match &rule.test {
        Test::Window(test) => test,
        Test::Expr(_) => panic!("{} is no rule over windows", rule.name),
    }
}

#[test]
fn the_manuals_examples_are_rules() {
    let (rules, problems) = read_rules(&file(MANUAL));
    assert_eq!(problems, []);
    let rules = rules.rules;
    let names: Vec<&str> = rules.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["county", "county_2"]);
    assert_eq!(rules[0].id.0, "county.yml/county");
    assert_eq!(test(&rules[0]).window, Duration::from_mins(3));
    let heal = rules[0].heal.as_ref().unwrap();
    assert_eq!(heal.steps[0].script, "scripts/rollback_docket_rule.sh");
    assert_eq!((heal.limit, heal.group.as_str()), (3, "county"));
    let Condition::Guard { reads, .. } = &test(&rules[1]).condition else {
        panic!()
    };
    assert_eq!(reads, &[Aggregate::Avg, Aggregate::Count]);
}

#[test]
fn every_field_arrives() {
    let (rules, problems) = read_rules(&file(FULL));
    assert_eq!(problems, []);
    let rule = &rules.rules[0];
    let told = [
        format!(
            "{} | {} | {:?}",
            rule.id.0,
            test(rule).selector,
            rule.missing
        ),
        format!("{:?} until {:?}", test(rule).condition, test(rule).resolve),
        format!(
            "for {}, keep {}, silence {:?}",
            rule.for_, rule.keep_firing_for, rule.silence_window
        ),
        format!(
            "{} {} {:?}",
            rule.labels,
            rule.annotations.clone().into_iter().collect::<Labels>(),
            rule.notify
        ),
        format!("{:?}", rule.heal),
    ];
    expect![[r#"
        county.yml/vote_slow{severity="page"} | vote_api_latency_ms{region="east"} | Fire
        Threshold { aggregate: P95, compare: GreaterEqual, threshold: 300.0 } until Some(Threshold { aggregate: P95, compare: Less, threshold: 200.0 })
        for 5m, keep 1m, silence Some(Duration(1800000))
        {severity="page"} {summary="{{ $value }} ms"} ["oncall@sos.gov"]
        Some(Heal { target: Some("instance"), group: "vote-api", limit: 5, limit_per: Duration(7200000), backoff_min: Duration(10000), backoff_max: Duration(300000), verify: None, settle: Duration(10000), within: Duration(120000), hold: Duration(30000), page_after_heal: true, steps: [Step { script: "scripts/restart_vote_api.sh", args: ["$instance"], timeout: Duration(90000) }, Step { script: "scripts/rollback_vote_api.sh", args: [], timeout: Duration(60000) }] })"#]].assert_eq(&told.join("\n"));
}

#[test]
fn all_mistakes_are_told_at_once() {
    check(
        r#"metric: county api
windw: 3m
threshold: lots
notify: [oncall@, "sms:+15551234"]
action: rollback docket
runbook: ../secrets
missing: holdd
---
name: two
metric: a{b="c"
when: avgg > 1 && cnt > 2
heal:
  verify: |
    sum(rate(errors[5m]))
      < 0.02 and up{job=}
  limit: three
  steps:
  - run: [/bin/sh, -c, reboot]
  - rollback: x
    run: scripts/x.sh
---
name: three
expr: up == 0
---
groups: []
"#,
        expect![[r#"
            error[OPS-R006]: `county api` is not a metric name: letters, digits, `_`, `:`, `.` and `-`, starting with a letter, `_` or `:`
             --> alerts/county.yml:1:9
              |
            1 | metric: county api
              |         ^^^^^^^^^^
              |
              = help: an example: `county_api_ms{region="east"}`
              at alerts/county.yml:1:9

            error[OPS-R004]: a rule has no key `windw`
             --> alerts/county.yml:2:1
              |
            2 | windw: 3m
              | ^^^^^
              |
              = help: did you mean `window`?
              at alerts/county.yml:2:1

            error[OPS-R008]: `lots` is not a threshold
             --> alerts/county.yml:3:12
              |
            3 | threshold: lots
              |            ^^^^
              |
              = help: write a number (fires above it), or a sign and a number: `> 1000`, `>= 0.05`, `< 5`
              at alerts/county.yml:3:12

            error[OPS-R013]: `oncall@` is not an e-mail address
             --> alerts/county.yml:4:10
              |
            4 | notify: [oncall@, "sms:+15551234"]
              |          ^^^^^^^
              |
              = help: an e-mail address, a receiver's name, or `webhook:https://…`
              at alerts/county.yml:4:10

            warning[OPS-R014]: no such receiver kind yet: nobody is told through `sms:`
             --> alerts/county.yml:4:19
              |
            4 | notify: [oncall@, "sms:+15551234"]
              |                   ^^^^^^^^^^^^^^^
              |
              = help: add an e-mail address or `webhook:https://…` beside it
              at alerts/county.yml:4:19

            error[OPS-R015]: `rollback docket` is not VERB:NAME
             --> alerts/county.yml:5:9
              |
            5 | action: rollback docket
              |         ^^^^^^^^^^^^^^^
              |
              = help: two words in capitals: `ROLLBACK:DOCKET_RULE` runs scripts/rollback_docket_rule.sh
              at alerts/county.yml:5:9

            error[OPS-R017]: `../secrets` is not a runbook
             --> alerts/county.yml:6:10
              |
            6 | runbook: ../secrets
              |          ^^^^^^^^^^
              |
              = help: a URL, or a path below `runbooks/`: `wiki/slow-county-api`
              at alerts/county.yml:6:10

            error[OPS-R007]: `holdd` is not one of: hold, resolve, fire
             --> alerts/county.yml:7:10
              |
            7 | missing: holdd
              |          ^^^^^
              |
              = help: did you mean `hold`?
              at alerts/county.yml:7:10

            error[OPS-R006]: the selector's `{` is never closed: end it with `}`
              --> alerts/county.yml:10:16
               |
            10 | metric: a{b="c"
               |                ^
               |
               = help: an example: `county_api_ms{region="east"}`
              at alerts/county.yml:10:16

            error[OPS-R010]: `avgg` is no aggregate
              --> alerts/county.yml:11:7
               |
            11 | when: avgg > 1 && cnt > 2
               |       ^^^^
               |
               = help: did you mean `avg`?
              at alerts/county.yml:11:7

            error[OPS-R010]: `cnt` is no aggregate
              --> alerts/county.yml:11:19
               |
            11 | when: avgg > 1 && cnt > 2
               |                   ^^^
               |
               = help: known here: avg, min, max, sum, count, last, p50, p90, p95, p99, stddev, rate
              at alerts/county.yml:11:19

            error[OPS-R003]: unexpected "}" in label matching, expected string
              --> alerts/county.yml:15:25
               |
            15 |       < 0.02 and up{job=}
               |                         ^
               |
               = help: the value of a matcher stands in quotes
              at alerts/county.yml:15:25

            error[OPS-R007]: `three` is not a limit
              --> alerts/county.yml:16:10
               |
            16 |   limit: three
               |          ^^^^^
               |
               = help: write `3 in 1h`
              at alerts/county.yml:16:10

            error[OPS-R016]: `/bin/sh` is not a script's path
              --> alerts/county.yml:18:11
               |
            18 |   - run: [/bin/sh, -c, reboot]
               |           ^^^^^^^
               |
               = help: scripts live below `scripts/`: `scripts/restart.sh`; no `..`, no absolute path
              at alerts/county.yml:18:11

            error[OPS-R011]: a step has either `run` or `rollback`
              --> alerts/county.yml:19:5
               |
            19 |   - rollback: x
               |     ^^^^^^^^
               |
               = help: make it two steps
              at alerts/county.yml:19:5
        "#]],
    );
}

#[test]
fn broken_yaml_is_placed() {
    check(
        "metric: a\nmetric: b\nthreshold:\n---\nlabels: {a: [}\n",
        expect![[r#"
            error[OPS-R005]: this rule does not say when it fires
             --> alerts/county.yml:1:1
              |
            1 | metric: a
              | ^^^^^^
              |
              = help: add `threshold: 1000`, or `when: avg > 1000 && count >= 20`
              at alerts/county.yml:1:1

            error[OPS-Y002]: `metric` is written twice here
             --> alerts/county.yml:2:1
              |
            2 | metric: b
              | ^^^^^^
              |
              = help: keep one of the two
              at alerts/county.yml:2:1

            error[OPS-Y003]: `threshold` has no value
             --> alerts/county.yml:3:1
              |
            3 | threshold:
              | ^^^^^^^^^
              |
              = help: write a value, or remove the key
              at alerts/county.yml:3:1

            error[OPS-Y001]: this is not YAML: mismatched bracket '[' closed by '}'
             --> alerts/county.yml:5:13
              |
            5 | labels: {a: [}
              |             ^
              |
              = help: often a quote or bracket that is never closed, or indentation that does not line up
              at alerts/county.yml:5:13
        "#]],
    );
}

#[test]
fn a_document_that_prometheus_would_not_read_is_read_and_named() {
    check(
        "groups: []\n---\nmetric: a\nthreshold: 1\n---\ngroups: []\n",
        expect![[r#"
            warning[OPS-R027]: Prometheus would not read this document: it is not the first of a file with `groups`
             --> alerts/county.yml:3:1
              |
            3 | metric: a
              | ^
              |
              = help: it is read here; for both, put its groups below the first `groups:`
              at alerts/county.yml:3:1

            warning[OPS-R027]: Prometheus would not read this document: it is not the first of a file with `groups`
             --> alerts/county.yml:6:1
              |
            6 | groups: []
              | ^
              |
              = help: it is read here; for both, put its groups below the first `groups:`
              at alerts/county.yml:6:1
        "#]],
    );
    check(
        "metric: a\nthreshold: 1\n---\ngroups: []\n",
        expect![[r#""#]],
    );
}

#[test]
fn what_rules_name_must_be_there() {
    let text =
        format!("{MANUAL}notify: [pager_dty, webhook:https://x.gov/y]\nauto_heal: scripts/x.sh\n");
    let source = file(&text);
    let (rules, problems) = read_rules(&source);
    assert_eq!(problems, []);
    let (settings, _) =
        crate::config::read_settings(&file("receivers: [{name: pager_duty}]"), &|_| {
            Err("no".into())
        });
    let found = check_references(&source, &rules, &settings, &|path| path == "scripts/x.sh");
    let told: Vec<String> = found.iter().map(Problem::brief).collect();
    expect![[r#"
        alerts/county.yml:5:28: the receiver `pager_duty` reaches nobody [OPS-R024] (give it `email_configs` or `webhook_configs`)
        alerts/county.yml:6:10: there is no file runbooks/wiki/slow-county-api.md [OPS-R022] (write it: it is what the person who is paged will look for)
        alerts/county.yml:7:9: there is no file scripts/rollback_docket_rule.sh [OPS-R021] (write the script and make it executable)
        alerts/county.yml:12:10: there is no receiver `pager_dty` [OPS-R020] (did you mean `pager_duty`?)"#]].assert_eq(&told.join("\n"));
    let clean = check_references(&source, &rules, &settings, &|_| true);
    assert_eq!(clean.len(), 2);
}

#[test]
fn a_flood_of_problems_is_cut_and_said() {
    let text = "- {metric: m, threshold: x}\n".repeat(1000);
    let (rules, problems) = read_rules(&file(&text));
    assert_eq!((rules.count(), problems.len()), (0, 201));
    assert_eq!(
        problems[200].brief(),
        "alerts/county.yml:1001:1: 800 more problems are not listed [OPS-Y006]"
    );
}

#[test]
fn the_same_rule_twice_is_one_too_many() {
    let one = "- {name: a, metric: m, threshold: 1}\n";
    let (rules, problems) = read_rules(&file(&format!("{one}{one}")));
    assert_eq!(
        (rules.count(), problems[0].code, problems[0].line),
        (1, codes::DUPLICATE_RULE, 2)
    );
}
