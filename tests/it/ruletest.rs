//! `ops test` over rule tests that nobody in this project wrote: the real binary must give promtool's verdict, also on
//! copies in which something was changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::{Captures, Regex};

use crate::conformance::Score;
use crate::corpus;
use crate::lab::{has, ops};

/// Whether each file passes, as the real binary says.
fn verdicts(dir: &Path, files: &[String], flags: &[&str]) -> BTreeMap<String, bool> {
    let out = ops(dir)
        .arg("test")
        .args(flags)
        .args(files)
        .output()
        .unwrap();
    let told = String::from_utf8(out.stdout).unwrap();
    let said: BTreeMap<String, bool> = told
        .lines()
        .filter_map(|line| {
            let (word, rest) = line.split_once("  ")?;
            let passed = match word {
                "ok" => true,
                "FAIL" => false,
                _ => return None,
            };
            let name = rest.trim().split("  (").next()?;
            Some((name.to_owned(), passed))
        })
        .collect();
    let all = said.values().all(|passed| *passed);
    assert_eq!(out.status.code(), Some(i32::from(!all)), "{told}");
    assert_eq!(said.len(), files.len(), "a verdict for each file\n{told}");
    said
}

/// The tests in files on which we agree with promtool, good or bad.
pub fn score() -> Option<Score> {
    let dir = corpus::folder("ruletests")?;
    let table = corpus::table(&dir);
    let files: Vec<String> = table.iter().map(|line| line[0].clone()).collect();
    let said = verdicts(&dir, &files, &[]);
    let tests = |line: &[String]| line[2].parse::<usize>().unwrap();
    let agreed = table
        .iter()
        .filter(|line| said[&line[0]] == (line[1] == "0"));
    Some(Score {
        what: "ruletests".to_owned(),
        files: files.len(),
        cases: table.iter().map(|line| tests(line)).sum(),
        passed: agreed.map(|line| tests(line)).sum(),
    })
}

#[test]
fn every_real_test_gets_promtools_verdict() {
    let Some(dir) = corpus::folder("ruletests") else {
        return;
    };
    let table = corpus::table(&dir);
    let files: Vec<String> = table.iter().map(|line| line[0].clone()).collect();
    assert!(files.len() > 70, "too few to mean anything");
    let said = verdicts(&dir, &files, &[]);
    let wrong: Vec<&String> = table
        .iter()
        .filter(|line| said[&line[0]] != (line[1] == "0"))
        .map(|line| &line[0])
        .collect();
    assert!(wrong.is_empty(), "not promtool's verdict: {wrong:?}");
    // What flags change, as EXPECTED.tsv says.
    for (file, flags, passes) in [
        ("promtool/rules_run.yml", &["--run", "^correct"][..], true),
        ("promtool/rules_run.yml", &["--run=wrong"], false),
        ("promtool/rules_run.yml", &["--run=x", "--run=wrong"], false),
        (
            "promtool/rules_run_extrafields.yml",
            &["--ignore-unknown-fields"],
            true,
        ),
    ] {
        let said = verdicts(&dir, &[file.to_owned()], flags);
        assert_eq!(said[file], passes, "{file} {flags:?}");
    }
}

/// A change of a line, and what it is called.
struct Change {
    name: &'static str,
    line: Regex,
    to: fn(&Captures<'_>) -> String,
    /// Whether the changed file cannot pass.
    fails: bool,
}

fn changes() -> Vec<Change> {
    let change = |name, line: &str, fails, to| Change {
        name,
        line: Regex::new(line).unwrap(),
        to,
        fails,
    };
    vec![
        change("value", r"^(\s*(?:- )?value: )(-?[\d.]+)\s*$", true, |c| {
            format!("{}{}", &c[1], c[2].parse::<f64>().unwrap() + 1.0)
        }),
        change("label", r"^(\s+severity: )(\w+)$", true, |c| {
            format!("{}{}x", &c[1], &c[2])
        }),
        change(
            "annotation",
            r#"^(\s+(?:summary|description|message): .*[a-z])(["']?)$"#,
            true,
            |c| format!("{}z{}", &c[1], &c[2]),
        ),
        change(
            "earlier",
            r"^(\s*(?:- )?eval_time: )(\d+)(\w)$",
            false,
            |c| format!("{}{}{}", &c[1], c[2].parse::<u64>().unwrap() / 2, &c[3]),
        ),
        change("input", r#"^(\s*(?:- )?values: ["'])(.+)$"#, false, |c| {
            format!("{}_x2 {}", &c[1], &c[2])
        }),
        change(
            "ended",
            r#"^(\s*(?:- )?values: ["'].*[0-9])(["'])$"#,
            false,
            |c| format!("{} stale{}", &c[1], &c[2]),
        ),
    ]
}

/// Copies of the corpus that end with this value.
struct Copies(PathBuf);

impl Drop for Copies {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_is_changed_gets_promtools_verdict_too() {
    if !has("promtool") {
        return;
    }
    let Some(dir) = corpus::folder("ruletests") else {
        return;
    };
    let copies = Copies(std::env::temp_dir().join(format!("ops-ruletests-{}", std::process::id())));
    // promtool is slow where there are many tests, so each change is made in some small files, each time others.
    let mut small = Vec::new();
    for line in corpus::table(&dir).iter().filter(|line| line[1] == "0") {
        let text = std::fs::read_to_string(dir.join(&line[0])).unwrap();
        let only_its_rules = line[0].starts_with("konflux") || line[0].starts_with("openshift");
        if text.len() < 10_000 && only_its_rules {
            small.push((line[0].clone(), text));
        }
    }
    for path in corpus::files(&dir, &["yml", "yaml"]) {
        let copy = copies.0.join(path.strip_prefix(&dir).unwrap());
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        std::fs::write(copy, std::fs::read(path).unwrap()).unwrap();
    }
    let (mut made, mut must_fail) = (Vec::new(), BTreeSet::new());
    for (number, change) in changes().iter().enumerate() {
        let fits = |(_, text): &&(String, String)| text.lines().any(|l| change.line.is_match(l));
        let fitting: Vec<_> = small.iter().filter(fits).collect();
        let step = (fitting.len() / 8).max(1);
        for (name, text) in fitting.into_iter().skip(number % step).step_by(step) {
            let lines: Vec<&str> = text.lines().collect();
            let places: Vec<usize> = (0..lines.len())
                .filter(|at| change.line.is_match(lines[*at]))
                .collect();
            let at = places[(number * 7 + name.len()) % places.len()];
            let changed: String = lines
                .iter()
                .enumerate()
                .map(|(i, line)| match i == at {
                    true => change.line.replace(line, change.to).into_owned() + "\n",
                    false => format!("{line}\n"),
                })
                .collect();
            let copy = format!("{name}.{}.yaml", change.name);
            std::fs::write(copies.0.join(&copy), changed).unwrap();
            if change.fails {
                must_fail.insert(copy.clone());
            }
            made.push(copy);
        }
    }
    assert!(made.len() > 30, "too few to mean anything: {}", made.len());
    let ours = verdicts(&copies.0, &made, &[]);
    let out = Command::new("promtool")
        .args(["test", "rules"])
        .args(&made)
        .current_dir(&copies.0)
        .output()
        .unwrap();
    let told = String::from_utf8(out.stdout).unwrap();
    let theirs: BTreeMap<&str, bool> = told
        .split("Unit Testing:")
        .skip(1)
        .filter_map(|part| {
            let name = part.lines().next()?.trim();
            Some((name, part.contains("SUCCESS")))
        })
        .collect();
    let wrong: Vec<String> = made
        .iter()
        .filter(|name| theirs.get(name.as_str()) != ours.get(name.as_str()))
        .map(|name| {
            format!(
                "{name}: promtool {:?}, ops {:?}",
                theirs[name.as_str()],
                ours[name]
            )
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        made.len(),
        wrong.join("\n")
    );
    let passed: Vec<&String> = must_fail.iter().filter(|name| ours[*name]).collect();
    assert!(
        passed.is_empty(),
        "wrong expectations that pass: {passed:?}"
    );
    let failed = ours.values().filter(|passed| !**passed).count();
    println!("{} changed files, {failed} of them fail", made.len());
    assert!(failed < made.len(), "some changes change no verdict");
}

#[test]
fn a_file_says_what_it_is_or_is_told_what_it_lacks() {
    let dir = Copies(std::env::temp_dir().join(format!("ops-kinds-{}", std::process::id())));
    std::fs::create_dir_all(&dir.0).unwrap();
    let rules = "groups:\n- name: g\n  rules:\n  - {alert: Down, expr: up == 0}\n";
    let test = |alert: &str| {
        format!(
            "rule_files: ['r*.yml', nothing.yml]\ntests:\n- name: down <&> up\n  input_series: [{{series: up, values: 0}}]\n  alert_rule_test:\n  - eval_time: 0\n    alertname: {alert}\n    exp_alerts: [{{}}]\n"
        )
    };
    for (name, text) in [
        ("rules.yml", rules.to_owned()),
        ("good.yml", test("Down")),
        ("bad.yml", test("Up")),
        ("notes.txt", "nothing of the kind\n".to_owned()),
        ("broken.yml", "tests: {}\n".to_owned()),
        ("torn.yml", "tests:\n\t- a\n".to_owned()),
        (
            "window.yml",
            "rule_files: [w/slow.yml]\ntests: []\n".to_owned(),
        ),
        (
            "s.test",
            "load 1m\n a 1\n\neval instant at 0 a\n a 2\n".to_owned(),
        ),
    ] {
        std::fs::write(dir.0.join(name), text).unwrap();
    }
    std::fs::create_dir(dir.0.join("w")).unwrap();
    std::fs::write(dir.0.join("w/slow.yml"), "metric: ms\nthreshold: 5\n").unwrap();
    let run = |args: &[&str]| {
        let out = ops(&dir.0).arg("test").args(args).output().unwrap();
        (
            out.status.code(),
            String::from_utf8(out.stdout).unwrap(),
            String::from_utf8(out.stderr).unwrap(),
        )
    };
    let (code, told, _) = run(&[
        "good.yml",
        "bad.yml",
        "rules.yml",
        "notes.txt",
        "broken.yml",
        "torn.yml",
        "window.yml",
        "s.test",
        "gone.yml",
        "--junit",
        "out.xml",
    ]);
    assert_eq!(code, Some(1));
    expect_test::expect![[r#"
        ok    good.yml
          warning: no file matches `nothing.yml`
        FAIL  bad.yml
          warning: no file matches `nothing.yml`
          bad.yml:6: down <&> up: alert Up at 0s
              - {alertname="Up"}
        FAIL  rules.yml
          this is a rule file, and `ops check` checks it; tests of it have `rule_files` and `tests`
        FAIL  notes.txt
          this is no test: expected YAML with `rule_files` and `tests`, or a file named *.scenario or *.test
        FAIL  broken.yml
          error[OPS-T001]: expected a list here, found a mapping
           --> broken.yml:1:8
            |
          1 | tests: {}
            |        ^^
            at broken.yml:1:8
        FAIL  torn.yml
          error[OPS-Y001]: this is not YAML: tabs disallowed within this context (block indentation)
           --> torn.yml:2:2
            |
          2 |     - a
            |     ^
            |
            = help: often a quote or bracket that is never closed, or indentation that does not line up
            at torn.yml:2:2
        ok    window.yml  (no tests)
          warning: w/slow.yml: slow is no PromQL rule, so these tests say nothing of it: test it in a scenario
        FAIL  s.test
          s.test:4: a
            expected  {__name__="a"} 2
            got       {__name__="a"} 1
        FAIL  gone.yml
          No such file or directory (os error 2)
        2 passed, 7 failed (3 cases, 2 of them failed)
    "#]]
    .assert_eq(&told);
    let xml = std::fs::read_to_string(dir.0.join("out.xml")).unwrap();
    for part in [
        "name=\"down &lt;&amp;&gt; up\"",
        "<testsuite name=\"bad.yml\" tests=\"1\" failures=\"1\" errors=\"0\"",
        "<failure message=\"bad.yml:6: down",
        "<error message=\"this is a rule file",
    ] {
        assert!(xml.contains(part), "{part} is not in\n{xml}");
    }
    assert_eq!(run(&["good.yml", "--run", "up$"]).0, Some(0));
    let (code, told, said) = run(&["bad.yml", "--run", "nobody"]);
    assert_eq!(code, Some(0), "as promtool: what is left out does not fail");
    assert!(told.contains("1 skipped") && said.contains("nothing was tested"));
    assert_eq!(run(&["good.yml", "--run", "("]).0, Some(2));
    assert_eq!(run(&[]).0, Some(2));
}
