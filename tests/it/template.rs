//! Templates against the real `promtool`: it expands annotations in its tests of rules and prints what it got.

use std::process::Command;

use ops::engine::promql::settings::Settings;
use ops::engine::promql::{Dialect, Plan, ValueRef, Workspace, parse};
use ops::engine::series::SeriesSet;
use ops::engine::template;
use ops::model::labels::{Labels, SeriesKey};
use ops::model::time::Timestamp;

use crate::lab::has;

const VALUES: &[&str] = &[
    "0",
    "1",
    "-3.5",
    "1580",
    "59.5",
    "93784",
    "0.123456",
    "1000000",
    "123456789",
    "0.00001234",
    "1048576",
    "1e15",
    "-3661",
];

const TEMPLATES: &[&str] = &[
    "{{ $value }}",
    "{{- $value -}}",
    "{{ .Value }} {{ .Labels.i }} {{ len $labels }}",
    "{{ $value | humanize }}",
    "{{ humanize1024 $value }}",
    "{{ humanizeDuration $value }}",
    "{{ $value | humanizePercentage }}",
    "{{ printf \"%.2f\" $value }}|{{ printf \"%g\" $value }}|{{ printf \"%v\" $value }}|{{ printf \"%5.1f\" $value }}|{{ printf \"%e\" $value }}",
    "{{ printf \"%d\" 3 }} {{ printf \"%s\" $labels.i }} {{ printf \"%q\" $labels.i }} {{ printf \"%x\" 255 }}",
    "{{ printf \"%8.3f|%-8s|%%\" 3.14159 \"ab\" }}",
    "{{ $value | printf \"%.1f\" }} {{ 1.5 }} {{ 100000000 }}",
    "{{ $labels.i | stripPort }} {{ stripDomain $labels.i }}",
    "{{ title \"node exporter\" }} {{ toUpper \"ab\" }} {{ toLower \"AB\" }}",
    "{{ reReplaceAll \"(.*):(.*)\" \"$2 on $1\" $labels.i }}",
    "{{ if gt $value 5.0 }}high{{ else if lt $value 1.0 }}low{{ else }}middle{{ end }}",
    "{{ with $labels.nope }}x{{ else }}none{{ end }}[{{ $labels.nope }}]",
    "{{ range $n, $v := $labels }}{{ $n }}={{ $v }};{{ end }}",
    "{{ graphLink \"up == 0\" }} {{ tableLink \"up\" }}",
    "{{ $x := 2 }}{{ $x }} {{ eq $labels.v \"a\" }} {{ and true false }} {{ or \"\" \"b\" }} {{ not true }}",
    "{{ parseDuration \"1h30m\" }} {{ humanizeDuration 90.0 }}",
    "{{ index $labels \"i\" }} {{ urlquery \"a b\" }} {{ html \"<b>\" }}",
    "{{ if match \"^db\" $labels.i }}db{{ end }} {{ if and (gt $value 0.0) (ne $labels.v \"x\") }}y{{ end }}",
    "{{ define \"t\" }}<{{ . }}>{{ end }}{{ template \"t\" $labels.i }}",
    "{{/* nothing */}}a {{- \" b \" -}} c",
    "{{ slice \"abcdef\" 1 3 }} {{ print \"a\" 1 2 \"b\" }} {{ println \"x\" }}",
    "{{ query \"sum(m)\" | first | value }} {{ query \"1e6\" | first | value }}",
    "{{ with query \"m\" }}{{ len . }}{{ end }} {{ range query \"m\" | sortByLabel \"v\" }}{{ .Labels.v }}={{ .Value }};{{ end }}",
    "{{ range $s := query \"topk(1, m)\" }}{{ $s | label \"i\" }} {{ $s | value | humanize }} {{ $s.Labels.__name__ }}{{ end }}",
    "{{ $m := printf \"m{v='%s'} * 2\" $labels.v | query | first | value }}{{ $m }}",
    "{{ if query \"nothing\" }}some{{ else }}none{{ end }} {{ query \"count_values('x', m) and on () m\" | len }}",
    "Instance {{ $labels.i }} of {{ $labels.job }} has been down for more than {{ $value | humanizeDuration }}.",
];

/// A Go string literal's text.
fn unquoted(text: &str) -> String {
    let (mut out, mut chars) = (String::new(), text.chars());
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('u') => {
                let code: String = chars.by_ref().take(4).collect();
                out.extend(u32::from_str_radix(&code, 16).ok().and_then(char::from_u32));
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

/// The series of the test, asked by the engine's own evaluator.
fn answer(query: &str) -> Result<template::Found, String> {
    let mut series = SeriesSet::default();
    for (i, value) in VALUES.iter().enumerate() {
        let labels = Labels::new()
            .with("v", &format!("{i:02}"))
            .with("i", "db-1.example.org:9100")
            .with("job", "api");
        let (number, _) = series.number(&SeriesKey::new("m", &labels));
        let at = Timestamp::default();
        series.file_one(number, at, at, value.parse().unwrap());
    }
    let expr = parse(query, Dialect::PLAIN).map_err(|e| e.message)?;
    let mut plan = Plan::new(expr.into(), &series, &Settings::default()).unwrap();
    let (mut room, mut found) = (Workspace::default(), Vec::new());
    plan.evaluate(0, &series, &mut room)
        .map_err(|e| e.to_string())?;
    plan.each(&room, |labels, value| {
        let ValueRef::Float(value) = value else {
            return;
        };
        found.push((labels.as_ref().clone(), value));
    });
    Ok(found)
}

#[test]
fn annotations_say_what_promtool_says() {
    if !has("promtool") {
        return;
    }
    let dir = std::env::temp_dir().join(format!("ops-template-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let mut rules =
        "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: m\n    annotations:\n".to_owned();
    for (i, template) in TEMPLATES.iter().enumerate() {
        rules.push_str(&format!(
            "      a{i:02}: {}\n",
            serde_json::to_string(template).unwrap()
        ));
    }
    std::fs::write(dir.join("r.yml"), rules).unwrap();
    let mut tests = "rule_files: [r.yml]\ntests:\n- interval: 1m\n  input_series:\n".to_owned();
    for (i, value) in VALUES.iter().enumerate() {
        tests.push_str(&format!(
            "  - series: 'm{{v=\"{i:02}\",i=\"db-1.example.org:9100\",job=\"api\"}}'\n    values: \"{value}\"\n"
        ));
    }
    tests.push_str("  alert_rule_test:\n  - eval_time: 0m\n    alertname: A\n    exp_alerts: []\n");
    std::fs::write(dir.join("t.yml"), tests).unwrap();
    let out = Command::new("promtool")
        .args(["test", "rules", "t.yml"])
        .current_dir(&dir)
        .output()
        .unwrap();
    let told =
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    let blocks: Vec<&str> = told.split("Annotations:{").skip(1).collect();
    assert_eq!(blocks.len(), VALUES.len(), "{told}");
    let quote = regex::Regex::new(r#"a(\d\d)="((?:[^"\\]|\\.)*)""#).unwrap();
    let (mut compared, mut wrong) = (0, Vec::new());
    for (i, block) in blocks.iter().enumerate() {
        let value: f64 = VALUES[i].parse().unwrap();
        let labels = Labels::new()
            .with("v", &format!("{i:02}"))
            .with("i", "db-1.example.org:9100")
            .with("job", "api")
            .with("__name__", "m");
        for found in quote.captures_iter(block) {
            let template = TEMPLATES[found[1].parse::<usize>().unwrap()];
            assert_eq!(template::check(template), Ok(()), "{template}");
            let (want, got) = (
                unquoted(&found[2]),
                template::expand(template, &labels, value, Timestamp::default(), &answer),
            );
            compared += 1;
            if want != got {
                wrong.push(format!("{template} of {value}: want {want:?}, got {got:?}"));
            }
        }
    }
    std::fs::remove_dir_all(&dir).unwrap();
    assert_eq!(compared, VALUES.len() * TEMPLATES.len(), "{told}");
    assert!(
        wrong.is_empty(),
        "{} of {compared} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
