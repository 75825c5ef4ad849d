//! What is said of rules that load, and where.

use super::*;

const EVERY: Duration = Duration::from_mins(1);

fn file(path: &str, text: &str) -> SourceFile {
    SourceFile {
        path: path.to_owned(),
        shown: format!("alerts/{path}"),
        text: text.to_owned(),
    }
}

fn look(lint: &mut Lint, file: &SourceFile) -> String {
    let told = lint.look(file, EVERY);
    let told: Vec<String> = told.iter().map(|p| p.render(&file.text)).collect();
    told.join("\n")
}

fn lint() -> Lint {
    Lint::new(None)
}

#[test]
fn what_is_probably_not_meant_is_shown_where_it_stands() {
    let text = r#"groups:
- name: a
  interval: 30s
  rules:
  - record: job:errors:rate30s
    expr: |
      sum by (job) (
        rate(errors_total[30s])
      )
  - record: job:errors:rate30s
    expr: sum by (job) (rate(errors_total[2m]))
  - alert: Gone
    expr: >-
      count(up)
        == 0
    labels: {at: "was {{ $value | humanize }}", severity: page}
  - alert: Slow
    expr: latency_ms > bool 300
  - alert: Rate
    expr: 'sum(rate(errors_total[5m]))'
  - alert: Beat
    expr: vector(1)
  - alert: Beat2
    expr: vector(1) > 0
  - alert: Slow
    expr: latency_ms>bool 300
- name: b
  rules:
  - alert: Rate
    expr: rate(errors_total[90s]) > 1
---
name: own
expr: rate(errors_total[1s]) > 1
"#;
    expect_test::expect![[r#"
        warning[OPS-R030]: `rate` looks back 30s, less than twice the interval of this group (30s)
         --> alerts/a.yml:8:27
          |
        8 |         rate(errors_total[30s])
          |                           ^^^
          |
          = help: it needs two samples: with one every 30s it often finds only one; use `[1m]` or more
          at alerts/a.yml:8:27

        warning[OPS-R032]: this comparison is never true, so the alert never fires
          --> alerts/a.yml:15:9
           |
        15 |         == 0
           |         ^^
           |
           = help: a rate is never below 0, and `count` of nothing is nothing, not 0: for what is not there, use `absent(…)`
          at alerts/a.yml:15:9

        warning[OPS-R031]: the label `at` changes with the value
          --> alerts/a.yml:16:26
           |
        16 |     labels: {at: "was {{ $value | humanize }}", severity: page}
           |                          ^^^^^^
           |
           = help: another label is another alert: it begins anew with each value and `for` never ends; put it into `annotations`
          at alerts/a.yml:16:26

        warning[OPS-R033]: with `bool` this gives 0 or 1 for every series, and the alert fires for both
          --> alerts/a.yml:18:22
           |
        18 |     expr: latency_ms > bool 300
           |                      ^
           |
           = help: leave `bool` out: then only the series remain for which the comparison is true
          at alerts/a.yml:18:22

        warning[OPS-R035]: there is no condition here, so the alert fires wherever there is data
          --> alerts/a.yml:20:12
           |
        20 |     expr: 'sum(rate(errors_total[5m]))'
           |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^
           |
           = help: compare it with something: `… > 0.05`
          at alerts/a.yml:20:12

        warning[OPS-R033]: this comparison is always true, so the alert always fires
          --> alerts/a.yml:24:21
           |
        24 |     expr: vector(1) > 0
           |                     ^
           |
           = help: an alert that is meant to fire always, as a heartbeat, is `vector(1)`
          at alerts/a.yml:24:21

        warning[OPS-R034]: the same rule stands already at alerts/a.yml:17
          --> alerts/a.yml:25:12
           |
        25 |   - alert: Slow
           |            ^^^^
           |
           = help: remove one of them: both are evaluated, and people may be told twice
          at alerts/a.yml:25:12

        warning[OPS-R033]: with `bool` this gives 0 or 1 for every series, and the alert fires for both
          --> alerts/a.yml:26:21
           |
        26 |     expr: latency_ms>bool 300
           |                     ^
           |
           = help: leave `bool` out: then only the series remain for which the comparison is true
          at alerts/a.yml:26:21

        warning[OPS-R030]: `rate` looks back 1m30s, less than twice the interval of this group (1m)
          --> alerts/a.yml:30:29
           |
        30 |     expr: rate(errors_total[90s]) > 1
           |                             ^^^
           |
           = help: it needs two samples: with one every 1m it often finds only one; use `[2m]` or more
          at alerts/a.yml:30:29
    "#]].assert_eq(&look(&mut lint(), &file("a.yml", text)));
}

#[test]
fn a_rule_that_is_also_in_another_file_is_named_with_its_place() {
    let text =
        "groups:\n- name: a\n  labels: {team: x}\n  rules:\n  - alert: A\n    expr: up == 0\n";
    let other =
        "groups:\n- name: b\n  rules:\n  - alert: A\n    expr: up==0\n    labels: {team: x}\n";
    let mut lint = lint();
    assert_eq!(look(&mut lint, &file("a.yml", text)), "");
    let told = lint.look(&file("b.yml", other), EVERY);
    assert_eq!(
        told.iter().map(Problem::brief).collect::<Vec<_>>(),
        [
            "alerts/b.yml:4:12: the same rule stands already at alerts/a.yml:5 [OPS-R034] (remove one of them: both are evaluated, and people may be told twice)"
        ]
    );
    let differs = other.replace("team: x", "team: y");
    assert_eq!(look(&mut lint, &file("c.yml", &differs)), "");
}

#[test]
fn metrics_are_compared_with_those_that_exist() {
    let text = "groups:\n- name: a\n  rules:\n  - {record: 'a:b', expr: lattency_ms + latency_ms}\n  - {alert: A, expr: 'a:b > 1 and absent(not_there) or ALERTS{x=\"y\"} > zzz'}\n---\nmetric: latency_mss{a=\"b\"}\nthreshold: 1\n";
    let known = BTreeSet::from(["latency_ms".to_owned()]);
    let mut lint = Lint::new(Some(known));
    let file = file("a.yml", text);
    lint.learn(&file);
    let told = lint.look(&file, EVERY);
    let told: Vec<String> = told.iter().map(Problem::brief).collect();
    expect_test::expect![[r#"
        alerts/a.yml:4:27: the running engine has no metric `lattency_ms` [OPS-R036] (did you mean `latency_ms`?)
        alerts/a.yml:5:72: the running engine has no metric `zzz` [OPS-R036] (nobody has sent it, and no rule records it: until then this finds nothing)
        alerts/a.yml:7:9: the running engine has no metric `latency_mss` [OPS-R036] (did you mean `latency_ms`?)"#]].assert_eq(&told.join("\n"));
}

#[test]
fn what_heals_are_judged_by_is_looked_at_as_well() {
    let rule = "metric: m\nthreshold: 1\nheal:\n  steps: [{rollback: x}]\n  verify: ";
    let say = |verify: &str| {
        let known = BTreeSet::from(["m".to_owned()]);
        let told = Lint::new(Some(known)).look(&file("a.yml", &format!("{rule}{verify}")), EVERY);
        told.iter().map(|p| p.brief() + "\n").collect::<String>()
    };
    let all = [
        "m < 5",
        "count(m) < 1",
        "'count(m) >= 1'",
        "sum(rate(m[5m]))",
        ">-\n    m < bool 5\n    and missing",
    ];
    expect_test::expect![[r#"
        alerts/a.yml:5:20: this comparison is never true, so no heal counts as one that worked [OPS-R032] (`count` of nothing is nothing, not 0: for what must be gone, use `absent(…)`)
        alerts/a.yml:5:11: there is no condition here: it holds for every value but 0 [OPS-R035] (say what is good again: `… < 0.02`)
        alerts/a.yml:7:9: the running engine has no metric `missing` [OPS-R036] (nobody has sent it, and no rule records it: until then this finds nothing)
    "#]].assert_eq(&all.map(say).concat());
}
