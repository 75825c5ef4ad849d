//! Tests of rules in promtool's format, with the rule files that they name.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::cli::test::{Args, Suite, glob};
use crate::config::ruletest::is_test_file;
use crate::config::{Reading, RuleTests, SourceFile, codes, read_rules_as, read_tests};
use crate::engine::policy::Group;
use crate::model::written::{Problem, Severity};
use crate::sim::ruletest::{Failure, in_order, play};

/// Runs the tests of a file: one case each.
pub(super) fn run(file: &Path, text: String, args: &Args) -> Suite {
    let source = SourceFile {
        path: file.display().to_string(),
        shown: file.display().to_string(),
        text,
    };
    let (tests, problems) = read_tests(&source);
    if !is_test_file(&source.text) && !source.text.trim().is_empty() {
        let broken = |p: &&Problem| p.code == codes::SYNTAX;
        let broken: Vec<Problem> = problems.iter().filter(broken).cloned().collect();
        return Suite::unusable(match broken.as_slice() {
            [] => unclear(&source.text),
            broken => rendered(broken, &source.text),
        });
    }
    if problems.iter().any(|p| p.severity == Severity::Error) {
        return Suite::unusable(rendered(&problems, &source.text));
    }
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut suite = Suite::default();
    let loaded = match load(folder, &tests, args, &mut suite.remarks) {
        Ok(loaded) => loaded,
        Err(why) => return Suite::unusable(why),
    };
    let mut told = false;
    for (at, test) in tests.tests.iter().enumerate() {
        if !args.wants(&test.name) {
            suite.skipped += 1;
            continue;
        }
        let name = match test.name.as_str() {
            "" => format!("unnamed#{at}"),
            name => name.to_owned(),
        };
        let shown = &source.shown;
        suite.case(name.clone(), || match &loaded {
            Err(why) if told => vec![
                format!("{shown}:{}: {name}: see above", test.line),
                why.brief.clone(),
            ],
            Err(why) => vec![format!(
                "{shown}:{}: {name}: its rules do not load\n{}",
                test.line, why.whole
            )],
            Ok(_) if test.is_broken() => vec![rendered(&test.broken, &source.text)],
            Ok(groups) => {
                let failures = play(&tests, test, groups);
                let tell = |f: &Failure| failure(&source, &tests, &name, f);
                failures.iter().map(tell).collect()
            }
        });
        told |= loaded.is_err();
        if !test.is_broken() && !test.broken.is_empty() {
            suite.remarks.push(rendered(&test.broken, &source.text));
        }
    }
    suite
}

/// What a file is that holds no tests.
fn unclear(text: &str) -> String {
    let groups = text.lines().any(|l| l.starts_with("groups:"));
    let is = if groups {
        "this is a rule file, and `ops check` checks it; tests of it have `rule_files` and `tests`"
    } else {
        "this is no test: expected YAML with `rule_files` and `tests`, or a file named *.scenario or *.test"
    };
    is.to_owned()
}

fn rendered(problems: &[Problem], text: &str) -> String {
    let all = problems.iter().map(|p| p.render(text));
    all.collect::<Vec<_>>().join("\n")
}

/// A failed check with its place and its difference; an expression that does not read has a caret.
fn failure(source: &SourceFile, tests: &RuleTests, name: &str, failure: &Failure) -> String {
    let unread = tests.tests.iter().flat_map(|t| &t.exprs);
    let unread = unread
        .filter(|c| c.line == failure.line)
        .find_map(|c| c.wanted.as_ref().err());
    if let Some(problems) = unread {
        return rendered(problems, &source.text);
    }
    let mut text = format!(
        "{}:{}: {name}: {}",
        source.shown, failure.line, failure.about
    );
    for line in &failure.lines {
        text.push_str("\n    ");
        text.push_str(line);
    }
    text
}

/// Why rule files do not load.
struct Unloaded {
    whole: String,
    brief: String,
}

/// The groups of all rule files, in the order in which they are evaluated.
fn load(
    folder: &Path,
    tests: &RuleTests,
    args: &Args,
    remarks: &mut Vec<String>,
) -> Result<Result<Vec<Arc<Group>>, Unloaded>, String> {
    let mut paths = BTreeSet::new();
    let mut files = Vec::new();
    for pattern in &tests.rule_files {
        let found = glob::expand(&folder.join(pattern))?;
        if found.is_empty() {
            remarks.push(format!("warning: no file matches `{pattern}`"));
        }
        files.extend(found.into_iter().filter(|path| paths.insert(path.clone())));
    }
    let reading = Reading {
        interval: tests.interval,
        pass_unknown: args.ignore_unknown_fields,
    };
    let (mut groups, mut whole, mut brief) = (Vec::new(), Vec::new(), Vec::new());
    for path in files {
        let shown = path.display().to_string();
        let text = match std::fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => {
                whole.push(format!("{shown}: {error}"));
                continue;
            }
        };
        let file = SourceFile {
            path: shown.clone(),
            shown: shown.clone(),
            text,
        };
        let (rules, problems) = read_rules_as(&file, reading);
        for problem in problems.iter().filter(|p| p.severity == Severity::Error) {
            whole.push(problem.render(&file.text));
            brief.push(problem.brief());
        }
        if let Some(rule) = rules.rules.first() {
            let message = format!(
                "{shown}: {} is no PromQL rule, so these tests say nothing of it: test it in a scenario",
                rule.name
            );
            remarks.push(format!("warning: {message}"));
        }
        groups.extend(rules.groups);
    }
    if whole.is_empty() {
        return Ok(Ok(in_order(&tests.order, groups)));
    }
    Ok(Err(Unloaded {
        whole: whole.join("\n"),
        brief: brief.join("\n"),
    }))
}
