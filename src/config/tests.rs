//! No text, whatever it is, makes this room panic.

use proptest::prelude::*;

use super::*;
use crate::config::groups::tests::GROUPS;
use crate::config::rules::tests::{FULL, MANUAL};

/// Every style of scalar, aliases, merges, several documents, and what the linter looks for.
const ODD: &str = r#"x: &d {for: 5m, labels: {a: "{{ $value }}", <<: {b: c}}}
groups:
- name: &n a
  limit: 0x1_0
  rules:
  - &r
    alert: 'it''s'
    expr: >-
      count(up)
        == 0 and rate(a[1s]) > bool 1

  - <<: [*r, *d]
    expr: "sum(rate(up[1m]\
      )) \u00e9"
    annotations:
      t: |2
          {{ $labels.é }}
- name: *n
---
- {name: n, expr: a / b}
- metric: up
  threshold: 1
"#;

/// Reads anything as both kinds of file and renders what is found.
fn survives(text: &str) {
    let source = SourceFile {
        path: "county.yml".to_owned(),
        shown: "alerts/county.yml".to_owned(),
        text: text.to_owned(),
    };
    let (rules, problems) = read_rules(&source);
    for problem in &problems {
        let _ = problem.render(text);
    }
    let (_, problems) = read_settings(&source, &|_| Ok("x".to_owned()));
    for problem in &problems {
        let _ = problem.render(text);
    }
    let _ = check_references(&source, &rules, &Settings::default(), &|_| false);
    let mut lint = Lint::new(Some(["up".to_owned()].into()));
    lint.learn(&source);
    for problem in lint.look(&source, groups::INTERVAL) {
        let _ = problem.render(text);
    }
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
        for base in [MANUAL, FULL, GROUPS, ODD] {
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
