use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::config::check_references;
use crate::config::settings::Settings;

/// The first two examples of the manual.
const MANUAL: &str = r#"metric: county_api_ms          # a name, or a selector
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

const FULL: &str = r#"- name: vote_slow
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

#[test]
fn the_manuals_examples_are_rules() {
    let (rules, problems) = read_rules(&file(MANUAL));
    assert_eq!(problems, []);
    let names: Vec<&str> = rules.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["county", "county_2"]);
    assert_eq!(rules[0].id.0, "county.yml/county");
    assert_eq!(rules[0].window, Duration::from_mins(3));
    let heal = rules[0].heal.as_ref().unwrap();
    assert_eq!(heal.steps[0].script, "scripts/rollback_docket_rule.sh");
    assert_eq!((heal.limit, heal.group.as_str()), (3, "county"));
    let Condition::Guard { reads, .. } = &rules[1].condition else {
        panic!()
    };
    assert_eq!(reads, &[Aggregate::Avg, Aggregate::Count]);
}

#[test]
fn every_field_arrives() {
    let (rules, problems) = read_rules(&file(FULL));
    assert_eq!(problems, []);
    expect![[r#""#]].assert_debug_eq(&rules);
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
  verify: up
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
        expect![[""]],
    );
}

#[test]
fn broken_yaml_is_placed() {
    check(
        "metric: a\nmetric: b\nthreshold:\n---\nlabels: {a: [}\n",
        expect![[""]],
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
    expect![[""]].assert_eq(&told.join("\n"));
    let clean = check_references(&source, &rules, &settings, &|_| true);
    assert_eq!(clean.len(), 1);
}

#[test]
fn the_same_rule_twice_is_one_too_many() {
    let one = "- {name: a, metric: m, threshold: 1}\n";
    let (rules, problems) = read_rules(&file(&format!("{one}{one}")));
    assert_eq!(
        (rules.len(), problems[0].code, problems[0].line),
        (1, codes::DUPLICATE_RULE, 2)
    );
}

/// Reads anything as both kinds of file and renders what is found.
fn survives(text: &str) {
    let source = file(text);
    let (rules, problems) = read_rules(&source);
    for problem in &problems {
        let _ = problem.render(text);
    }
    let (_, problems) = crate::config::read_settings(&source, &|_| Ok("x".to_owned()));
    for problem in &problems {
        let _ = problem.render(text);
    }
    let _ = check_references(&source, &rules, &Settings::default(), &|_| false);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_can_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        survives(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_characters_can_break_it(text in r#"[ \n\t:{}\[\]&*!|>'"%@`,?#\-a-c0-9é]{0,120}"#) {
        survives(&text);
    }

    #[test]
    fn no_edit_of_a_rule_can_break_it(at in 0_usize..1000, cut in 0_usize..12, put in r#"[ \n:{}\[\]&*'"<>$()!é0-9a-z\-]{0,6}"#) {
        for base in [MANUAL, FULL] {
            let chars: Vec<char> = base.chars().collect();
            let at = at % chars.len();
            let end = (at + cut).min(chars.len());
            let edited: String = chars[..at].iter().copied().chain(put.chars()).chain(chars[end..].iter().copied()).collect();
            survives(&edited);
        }
    }

    #[test]
    fn no_guard_can_break_it(text in r#"(avg|min|max|count|if|1|9223372036854775807|0\.5|[()+*/%^<>=!&|,; "\-]){0,40}"#) {
        let _ = condition::parse_guard(&text);
    }
}
