//! Rule groups: what is read, what is refused and where it is shown.

use crate::config::{FileRules, SourceFile, read_rules};
use crate::engine::policy::{GroupRule, Test};
use crate::model::time::Duration;

pub(in crate::config) const GROUPS: &str = r#"groups:
- name: county
  interval: 30s
  limit: 10
  labels: {team: records, tier: gold}
  rules:
  - record: county:ms:avg
    expr: avg by (region) (county_api_ms)
  - alert: CountySlow
    expr: |
      county:ms:avg
        > 1000
    for: 5m
    keep_firing_for:
    labels:
      tier: silver
    annotations:
      summary: "{{ $labels.region }}: {{ $value }}"
    notify: oncall@example.com
    resolve: county:ms:avg < 800
  - alert: CountySlow
    expr: county:ms:avg > 2000
    labels: {tier: silver}
"#;

fn read(text: &str) -> (FileRules, String) {
    let file = SourceFile {
        path: "county.yml".to_owned(),
        shown: "alerts/county.yml".to_owned(),
        text: text.to_owned(),
    };
    let (rules, problems) = read_rules(&file);
    let shown = problems.iter().map(|p| p.render(text));
    (rules, shown.collect::<Vec<_>>().join("\n"))
}

#[test]
fn a_group_is_read() {
    let (found, problems) = read(GROUPS);
    assert_eq!(problems, "");
    let group = &found.groups[0];
    assert_eq!(
        (group.id.as_str(), group.interval, group.limit),
        ("county.yml;county", Duration::from_secs(30), 10)
    );
    let ids: Vec<String> = group
        .rules
        .iter()
        .map(|r| match r {
            GroupRule::Record(r) => format!("{} {}", r.name, r.labels),
            GroupRule::Alert(r) => {
                let Test::Expr(test) = &r.test else { panic!() };
                format!("{} {:?} {}", r.id.0, test.threshold, test.resolve.is_some())
            }
        })
        .collect();
    expect_test::expect![[r#"
        county:ms:avg {team="records",tier="gold"}
        county.yml/county/CountySlow{team="records",tier="silver"} Some(1000.0) true
        county.yml/county/CountySlow{team="records",tier="silver"}#2 Some(2000.0) false"#]]
    .assert_eq(&ids.join("\n"));
}

#[test]
fn an_expression_of_its_own_is_a_group_of_one() {
    let (found, problems) = read("name: slow\nexpr: county_api_ms > 3\nfor: 1m\n");
    assert_eq!(problems, "");
    assert!(found.rules.is_empty() && found.groups[0].interval.is_zero());
    assert_eq!(found.groups[0].id, "county.yml;slow");
}

/// Texts that Prometheus loads, and texts that it refuses: promtool's verdicts.
#[test]
fn odd_spellings_are_judged_as_promtool_judges_them() {
    let rule = |key: &str| {
        format!("groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up == 0\n    {key}\n")
    };
    let group =
        |key: &str| format!("groups:\n- name: g\n  {key}\n  rules:\n  - record: r\n    expr: up\n");
    let good = [
        "".to_owned(),
        "# nothing\n".to_owned(),
        "{}\n".to_owned(),
        "groups:\n".to_owned(),
        "groups:\n-\n".to_owned(),
        "groups:\n- name: a\n  rules:\n  -\n".to_owned(),
        "groups:\n- &g {name: a, rules: &r [{alert: A, expr: up}]}\n- <<: *g\n  name: b\n".to_owned(),
        "groups:\n- name: a\n  rules:\n  - record: x\n    expr: up\n    for: 0s\n    annotations: {}\n"
            .to_owned(),
        rule("for: 0"),
        rule("for: 1d12h"),
        rule("for: 292y"),
        rule("keep_firing_for:"),
        rule("labels: {a: 1, b: true, c: , é: x, 'a b': y, ~: z}"),
        rule("annotations: {1: x}"),
        group("limit: 0x10"),
        group("limit: 1_0.7"),
        group("limit: -1"),
        group("interval: 0s"),
        group("query_offset: 1m"),
        group("labels: {a: '{{ .no'}"),
    ];
    let bad = [
        "groups: {}\n".to_owned(),
        "groups: []\nfoo:\n".to_owned(),
        "groups:\n- name: a\n- name: a\n".to_owned(),
        "groups:\n- rules: []\n".to_owned(),
        rule("for: 5"),
        rule("for: 1.5h"),
        rule("for: -5m"),
        rule("for: ''"),
        rule("for: ' 5m'"),
        rule("for: 30s5m"),
        rule("for: 293y"),
        rule("labels: {__name__: x}"),
        rule("labels: {'': x}"),
        rule("labels: [a]"),
        rule("labels: {<<: x}"),
        rule("annotations: {a: [b]}"),
        rule("annotations: {a: '{{ .x'}"),
        rule("'<<': {for: 5m}"),
        rule("<<: [x]"),
        rule("<<:"),
        group("limit: '10'"),
        group("limit: ten"),
        group("limit: 9223372036854775808"),
        group("concurrency: 2"),
        group("interval: 1"),
        group("labels: {__name__: x}"),
    ];
    let loads = |text: &&String| read(text).1.lines().all(|l| !l.starts_with("error"));
    assert_eq!(good.iter().find(|t| !loads(t)), None);
    assert_eq!(bad.iter().find(|t| loads(t)), None);
    let limit = |text: &str| read(&group(text)).0.groups[0].limit;
    assert_eq!(
        [
            "limit: 0x10",
            "limit: 1_0.7",
            "limit: 017",
            "limit: -1",
            "limit: 2e1"
        ]
        .map(limit),
        [16, 10, 15, 0, 20]
    );
}

#[test]
fn a_group_that_names_no_interval_has_the_one_of_the_settings() {
    let file = SourceFile {
        path: "a.yml".to_owned(),
        shown: "a.yml".to_owned(),
        text: "groups:\n- name: a\n- {name: b, interval: 5s}\n- {name: c, interval: 0s}\n"
            .to_owned(),
    };
    let intervals = |of: FileRules| {
        of.groups
            .iter()
            .map(|g| g.interval.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(intervals(read_rules(&file).0), ["1m", "5s", "1m"]);
    let slow = crate::config::read_rules_every(&file, Duration::from_secs(30)).0;
    assert_eq!(intervals(slow), ["30s", "5s", "30s"]);
}

#[test]
fn every_problem_is_shown_where_it_stands() {
    let text = r#"groups:
- name: a
  rules:
  - alert: X
    expr: |
      sum(
        rate(up)
      )
  - record: "a{b}"
    expr: 'up + up +'
    for: 5m
  - record: r
    alert: a
    expr: ""
    labels: {__name__: x}
  - expr: up
    fro: 5m
  -
  - alert: T
    expr: >-
      up ==
      bogus(1)
    annotations: {summary: "{{ $label }}"}
    missing: fire
- name: a
  intervall: 5m
---
expr: up == 0
metric: up
"#;
    expect_test::expect![[r#"
        error[OPS-R003]: expected type range vector in call to function "rate", got instant vector
         --> alerts/county.yml:7:14
          |
        7 |         rate(up)
          |              ^^
          |
          = help: give it a window: `name[5m]`, or `(expression)[5m:]`
          at alerts/county.yml:7:14

        error[OPS-R026]: `a{b}` is not a metric's name
         --> alerts/county.yml:9:13
          |
        9 |   - record: "a{b}"
          |             ^^^^^^
          |
          = help: what is in braces goes into `labels`, or into `expr`
          at alerts/county.yml:9:13

        error[OPS-R003]: unexpected end of input, expected a metric, a number, a function, an aggregation or `(`
          --> alerts/county.yml:10:21
           |
        10 |     expr: 'up + up +'
           |                     ^
          at alerts/county.yml:10:21

        error[OPS-R026]: `for` says nothing in a recording rule
          --> alerts/county.yml:11:5
           |
        11 |     for: 5m
           |     ^^^
           |
           = help: only alerts have this
          at alerts/county.yml:11:5

        error[OPS-R005]: this rule has no `expr`
          --> alerts/county.yml:12:5
           |
        12 |   - record: r
           |     ^^^^^^
           |
           = help: add `expr`, such as `expr: up == 0`
          at alerts/county.yml:12:5

        error[OPS-R011]: only one of `record` and `alert` can be there
          --> alerts/county.yml:12:13
           |
        12 |   - record: r
           |             ^
           |
           = help: make two rules of it
          at alerts/county.yml:12:13

        error[OPS-R012]: `__name__` cannot be a label's name
          --> alerts/county.yml:15:14
           |
        15 |     labels: {__name__: x}
           |              ^^^^^^^^
          at alerts/county.yml:15:14

        error[OPS-R005]: one of `record` and `alert` must be there
          --> alerts/county.yml:16:5
           |
        16 |   - expr: up
           |     ^^^^
           |
           = help: name it: `alert: NAME` to tell people, `record: NAME` to keep the result
          at alerts/county.yml:16:5

        error[OPS-R004]: a rule of a group has no key `fro`
          --> alerts/county.yml:17:5
           |
        17 |     fro: 5m
           |     ^^^
           |
           = help: did you mean `for`?
          at alerts/county.yml:17:5

        error[OPS-R003]: unknown function with name "bogus"
          --> alerts/county.yml:22:7
           |
        22 |       bogus(1)
           |       ^^^^^
          at alerts/county.yml:22:7

        error[OPS-R002]: `summary` is not a template: undefined variable "$label"
          --> alerts/county.yml:23:28
           |
        23 |     annotations: {summary: "{{ $label }}"}
           |                            ^^^^^^^^^^^^^^
           |
           = help: an example: `{{ $labels.instance }} has {{ $value }}`
          at alerts/county.yml:23:28

        error[OPS-R011]: `missing: fire` needs a rule with `metric`: an expression does not say what is missing
          --> alerts/county.yml:24:14
           |
        24 |     missing: fire
           |              ^^^^
           |
           = help: write a rule with `expr: absent(…)` for that
          at alerts/county.yml:24:14

        error[OPS-R025]: a group named `a` is already in this file
          --> alerts/county.yml:25:9
           |
        25 | - name: a
           |         ^
           |
           = help: give one of them another `name`
          at alerts/county.yml:25:9

        error[OPS-R004]: a group has no key `intervall`
          --> alerts/county.yml:26:3
           |
        26 |   intervall: 5m
           |   ^^^^^^^^^
           |
           = help: did you mean `interval`?
          at alerts/county.yml:26:3

        warning[OPS-R027]: Prometheus would not read this document: it is not the first of a file with `groups`
          --> alerts/county.yml:28:1
           |
        28 | expr: up == 0
           | ^
           |
           = help: it is read here; for both, put its groups below the first `groups:`
          at alerts/county.yml:28:1

        error[OPS-R011]: `metric` says nothing beside `expr`
          --> alerts/county.yml:29:1
           |
        29 | metric: up
           | ^^^^^^
           |
           = help: keep `expr`, or the keys of the threshold form
          at alerts/county.yml:29:1
    "#]].assert_eq(&read(text).1);
}
