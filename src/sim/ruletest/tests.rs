//! What promtool's unit tests mean, one fact a test. The verdicts on real files are in `tests/it/ruletest.rs`.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::config::{SourceFile, read_rules, read_tests};

fn source(text: &str) -> SourceFile {
    SourceFile {
        path: "t.yml".to_owned(),
        shown: "t.yml".to_owned(),
        text: text.to_owned(),
    }
}

/// Plays all tests of a file over rules; a line for each check that fails, and its difference.
fn check(rules: &str, tests: &str, expected: Expect) {
    let (rules, problems) = read_rules(&source(rules));
    assert!(problems.is_empty(), "{problems:?}");
    let (tests, problems) = read_tests(&source(tests));
    assert!(problems.is_empty(), "{problems:?}");
    let groups = in_order(&tests.order, rules.groups);
    let mut told = String::new();
    for test in &tests.tests {
        assert!(!test.is_broken(), "{:?}", test.broken);
        for failure in play(&tests, test, &groups) {
            told += &format!("{}: {}\n", failure.line, failure.about);
            for line in failure.lines {
                told += &format!("   {line}\n");
            }
        }
    }
    expected.assert_eq(&told);
}

const DOWN: &str = r#"groups:
- name: g
  rules:
  - alert: Down
    expr: up == 0
    for: 2m
    keep_firing_for: 1m
    labels: {severity: page, at: "{{ $externalLabels.site }}", instance: ""}
    annotations:
      text: "{{ $labels.__name__ }} {{ $labels.job }} {{ $labels.severity }} {{ $value }} {{ $externalURL }}"
      none: ""
  - record: down:count
    expr: count(ALERTS{alertstate="firing"})
"#;

#[test]
fn alerts_fire_are_kept_and_end_when_prometheus_says_so() {
    let test = r#"tests:
- input_series:
  - {series: 'up{job="a",instance="x"}', values: "1 0 0 0 0 1 1 1"}
  external_labels: {site: east}
  external_url: http://ops
  alert_rule_test:
  - {eval_time: 2m59s, alertname: Down}
  - &firing
    eval_time: 3m
    alertname: Down
    exp_alerts:
    - exp_labels: {job: a, severity: page, at: east}
      exp_annotations: {text: "up a  0 http://ops", none: ""}
  - {<<: *firing, eval_time: 5m30s}
  - {eval_time: 6m, alertname: Down}
  - {eval_time: 6m, alertname: Nobody}
  promql_expr_test:
  - {expr: down:count, eval_time: 3m, exp_samples: [{labels: down:count, value: 1}]}
  - {expr: down:count, eval_time: 6m, exp_samples: []}
  - expr: ALERTS_FOR_STATE
    eval_time: 4m
    exp_samples: [{labels: 'ALERTS_FOR_STATE{alertname="Down",job="a",severity="page",at="east"}', value: 60}]
  - {expr: 'count_over_time(ALERTS{alertstate="pending"}[10m])', eval_time: 7m, exp_samples: [{labels: '{alertname="Down",alertstate="pending",at="east",job="a",severity="page"}', value: 2}]}
"#;
    check(DOWN, test, expect![""]);
}

#[test]
fn what_differs_is_shown_label_by_label() {
    let test = r#"fuzzy_compare: true
tests:
- input_series:
  - {series: 'up{job="a"}', values: "0x9"}
  alert_rule_test:
  - eval_time: 5m
    alertname: Down
    exp_alerts:
    - exp_labels: {job: a, severity: page}
      exp_annotations: {text: "up b", none: ""}
    - exp_labels: {job: b, severity: page}
  promql_expr_test:
  - {expr: up + 0.1 + 0.2, eval_time: 1m, exp_samples: [{labels: '{job="a"}', value: 0.3}]}
  - {expr: up + 1, eval_time: 1m, exp_samples: [{labels: '{job="a"}', value: 2}, {value: 3}]}
  - {expr: "up[1m]", eval_time: 1m}
  - {expr: "up + on() group_left() up or sum(up) / 0", eval_time: 1m, exp_samples: [{value: .nan}]}
"#;
    check(
        DOWN,
        test,
        expect![[r#"
            6: alert Down at 5m
                 {alertname="Down", job="a", severity="page"}
               -   text: "up b"
               +   text: "up a  0 "
               - {alertname="Down", job="b", severity="page"}
            14: expression at 1m: up + 1
               - {} 3
               - {job="a"} 2
               + {job="a"} 1
            15: expression at 1m: up[1m]
               rule result is not a vector or scalar
            16: expression at 1m: up + on() group_left() up or sum(up) / 0
               - {} NaN
               + {} NaN
               + {job="a"} 0
                 NaN is equal to nothing, itself included: ask whether `x != x`
        "#]],
    );
}

#[test]
fn rules_are_evaluated_in_order_and_an_error_ends_the_test() {
    let rules = "groups:\n- name: second\n  rules:\n  - {record: c, expr: b + 1}\n- name: first\n  rules:\n  - {record: a, expr: vector(1)}\n  - {record: b, expr: a + 1}\n  - {record: h, expr: native}\n- name: last\n  limit: 1\n  rules:\n  - {record: d, expr: 'x > 0'}\n";
    let test = "group_eval_order: [first]\nevaluation_interval: 30s\ntests:\n- interval: 1m\n  input_series:\n  - {series: native, values: '{{count:2 sum:3 buckets:[2]}}x9'}\n  promql_expr_test:\n  - {expr: c, eval_time: 0, exp_samples: [{labels: c, value: 3}]}\n  - {expr: h, eval_time: 0, exp_samples: [{labels: h, histogram: '{{sum:3 count:2 buckets:[2 0]}}'}]}\n- input_series:\n  - {series: 'x{a=\"1\"}', values: 0 0 1}\n  - {series: 'x{a=\"2\"}', values: 1 1 1}\n  alert_rule_test:\n  - {eval_time: 20m, alertname: nothing}\n";
    check(
        rules,
        test,
        expect![[r#"
            10: rule d at 1m
               exceeded limit of 1 with 2 series
        "#]],
    );
}

#[test]
fn samples_after_the_last_evaluation_are_not_there() {
    let test = "tests:\n- interval: 10s\n  start_timestamp: 2024-01-01T00:00:00Z\n  input_series:\n  - {series: a, values: 0+1x100}\n  promql_expr_test:\n  - {expr: a, eval_time: 1m50s, exp_samples: [{labels: a, value: 6}]}\n  - {expr: timestamp(a), eval_time: 1m, exp_samples: [{value: 1704067260}]}\n";
    check("groups: []", test, expect![""]);
}

#[test]
fn two_rules_with_one_series_are_an_error_unless_they_agree() {
    let rules = |b: &str| {
        format!(
            "groups:\n- name: g\n  rules:\n  - {{record: a, expr: vector(1)}}\n  - {{record: a, expr: {b}}}\n"
        )
    };
    let test = "tests:\n- promql_expr_test:\n  - {expr: a, eval_time: 1m, exp_samples: [{labels: a, value: 1}]}\n";
    check(&rules("vector(1)"), test, expect![""]);
    check(
        &rules("vector(2)"),
        test,
        expect![[r#"
        2: rule a at 0s
           {__name__="a"} has a sample at 0 ms or later already
    "#]],
    );
}

#[test]
fn what_is_wrong_in_a_test_file_has_a_place() {
    let text = "tests:\n- input_series:\n  - {series: 'a{b=\"c\"', values: 1}\n  - series: a\n    values: >-\n      1 2\n      3 x\n  - {series: '# a', values: 1}\n  - {series: b, values: 1}\n  alert_rule_test:\n  - {eval_time: 1m}\n  promql_expr_test:\n  - {expr: 'sum(', eval_time: 1m}\n  - {expr: a, exp_samples: [{labels: 'a{', histogram: 1 2}]}\n- {eval_tim: 1}\n";
    let (tests, problems) = read_tests(&source(text));
    let all = problems
        .iter()
        .chain(tests.tests.iter().flat_map(|t| t.problems()));
    let told: String = all.map(|p| format!("{}\n", p.brief())).collect();
    expect![[r#"
        t.yml:15:4: a test has no key `eval_tim` [OPS-T002] (known here: interval, name, start_timestamp, external_labels, external_url, input_series, alert_rule_test, promql_expr_test)
        t.yml:3:33: expected `,` or `}`, but found '1' [OPS-T005] (an example: series `up{job="api"}` with the values `1 0x5 _ stale`)
        t.yml:7:9: expected a number, `_`, `stale` or `{{`, but found 'x' [OPS-T005] (an example: series `up{job="api"}` with the values `1 0x5 _ stale`)
        t.yml:8:15: the series after this one are not loaded: it ends with an empty line or a comment [OPS-T008] (write `|-` or `>-` instead of `|` or `>`, or the values in one line)
        t.yml:11:6: this check does not say which alert it is about [OPS-T003] (add `alertname: NAME`)
        t.yml:13:16: unclosed left parenthesis [OPS-T006] (close it with `)`)
        t.yml:14:41: expected a label or `}`, but the line ends [OPS-T005] (an example: `up{job="api"}`, or `{job="api"}` without a name)
        t.yml:14:55: expected one histogram here [OPS-T005] (an example: `{{schema:0 count:3 sum:5 buckets:[1 2]}}`)
    "#]]
    .assert_eq(&told);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_edit_of_a_test_file_can_break_it(at in 0_usize..2_000, cut in 0_usize..12, put in r#"[ \n:{}\[\]&*'"<>$()!é0-9a-z_\-]{0,6}"#) {
        const BASE: &str = "fuzzy_compare: true\nevaluation_interval: 30s\ngroup_eval_order: [g]\ntests:\n- name: n\n  start_timestamp: 5\n  interval: 1m\n  external_labels: {a: b}\n  input_series:\n  - {series: 'up{job=\"a\"}', values: '0x9 _ {{count:1}}x2 stale'}\n  alert_rule_test:\n  - eval_time: 5m\n    alertname: Down\n    exp_alerts:\n    - exp_labels: {job: a}\n  promql_expr_test:\n  - {expr: up + 1, eval_time: 1m, exp_samples: [{labels: '{job=\"a\"}', value: 2, histogram: '{{}}'}]}\n";
        let chars: Vec<char> = BASE.chars().collect();
        let at = at % chars.len();
        let end = (at + cut).min(chars.len());
        let edited: String = chars[..at].iter().copied().chain(put.chars()).chain(chars[end..].iter().copied()).collect();
        let (tests, _) = read_tests(&source(&edited));
        let (rules, _) = read_rules(&source(DOWN));
        for test in &tests.tests {
            let last = test.exprs.iter().map(|c| c.at).chain(test.alerts.iter().map(|c| c.at)).max();
            if last.unwrap_or_default().ms() / tests.interval.ms() < 1_000 {
                let _ = play(&tests, test, &rules.groups);
            }
        }
    }
}
