//! Rule files that nobody in this project wrote: what must load does, what Prometheus refuses is refused.

use std::path::Path;

use ops::config::{SourceFile, read_rules};
use ops::engine::policy::GroupRule;
use ops::engine::template;
use ops::model::written::{Problem, Severity};

use crate::conformance::Score;
use crate::corpus;

fn source(path: &Path, text: String) -> SourceFile {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    SourceFile {
        path: name.clone(),
        shown: name,
        text,
    }
}

/// Rules in a file, and its errors.
fn read(path: &Path) -> (usize, Vec<Problem>) {
    let text = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    let (rules, problems) = read_rules(&source(path, text));
    let errors = problems
        .into_iter()
        .filter(|p| p.severity == Severity::Error);
    (rules.count(), errors.collect())
}

/// The rules of real files and those in files that load; what is wrong with the others.
pub fn loads() -> Option<(Score, String)> {
    let dir = corpus::folder("rules")?;
    let all = corpus::files(&dir, &["yml", "yaml"]);
    let mut score = Score {
        what: "rules".to_owned(),
        files: all.len(),
        ..Score::default()
    };
    let mut wrong = String::new();
    for path in &all {
        let (count, errors) = read(path);
        score.cases += count;
        match errors.first() {
            None => score.passed += count,
            Some(error) => wrong += &format!("{}: {}\n", path.display(), error.brief()),
        }
    }
    Some((score, wrong))
}

/// Files that promtool accepts or refuses, and on how many we agree; the others.
pub fn formats() -> Option<(Score, String)> {
    let dir = corpus::folder("rules-format")?;
    let mut score = Score {
        what: "rules-format".to_owned(),
        ..Score::default()
    };
    let mut wrong = String::new();
    for cells in corpus::table(&dir) {
        let [file, _, verdict, first_error, ..] = cells.as_slice() else {
            panic!("{cells:?}");
        };
        score.files += 1;
        score.cases += 1;
        let (_, errors) = read(&dir.join(file));
        if errors.is_empty() == (verdict == "accepted") {
            score.passed += 1;
            continue;
        }
        let ours = errors
            .first()
            .map_or_else(|| "accepted".to_owned(), Problem::brief);
        wrong += &format!("{file}: want {verdict} ({first_error}), got {ours}\n");
    }
    Some((score, wrong))
}

/// The templates of real rules, and those that can be expanded; the others.
pub fn templates() -> Option<(Score, String)> {
    let dir = corpus::folder("rules")?;
    let mut score = Score {
        what: "templates".to_owned(),
        ..Score::default()
    };
    let mut wrong = String::new();
    for path in corpus::files(&dir, &["yml", "yaml"]) {
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        let (rules, _) = read_rules(&source(&path, text));
        let before = score.cases;
        for rule in rules.groups.iter().flat_map(|g| &g.rules) {
            let GroupRule::Alert(rule) = rule else {
                continue;
            };
            let annotations = rule.annotations.values().map(String::as_str);
            for text in rule.labels.iter().map(|(_, v)| v).chain(annotations) {
                if !text.contains("{{") {
                    continue;
                }
                score.cases += 1;
                match template::check(text) {
                    Ok(()) => score.passed += 1,
                    Err(error) => wrong += &format!("{}: {text}: {error}\n", path.display()),
                }
            }
        }
        score.files += usize::from(score.cases > before);
    }
    Some((score, wrong))
}

#[test]
fn every_real_rule_file_loads() {
    let Some((score, wrong)) = loads() else {
        return;
    };
    println!("{score:?}");
    assert!(
        score.files > 100 && score.cases > 1_000,
        "too few to mean anything"
    );
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn the_format_is_judged_as_promtool_judges_it() {
    let Some((score, wrong)) = formats() else {
        return;
    };
    assert!(score.cases > 50, "too few to mean anything: {score:?}");
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn the_templates_of_real_rules_can_be_expanded() {
    let Some((score, wrong)) = templates() else {
        return;
    };
    assert!(score.cases > 1_000, "too few to mean anything: {score:?}");
    assert!(wrong.is_empty(), "\n{wrong}");
}
