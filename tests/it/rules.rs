//! Rule files that nobody in this project wrote: what must load does, what Prometheus refuses is refused.

use std::path::{Path, PathBuf};

use ops::config::{SourceFile, read_rules};
use ops::model::written::{Problem, Severity};

fn corpus(folder: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/corpus")
        .join(folder);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!(
        "SKIPPED: {} is not there, so real rule files were not read",
        path.display()
    );
    None
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|e| e == "yml" || e == "yaml") {
            found.push(path);
        }
    }
    found.sort();
}

/// Rules in a file, and its errors.
fn read(path: &Path) -> (usize, Vec<Problem>) {
    let text = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let (rules, problems) = read_rules(&SourceFile {
        path: name.clone(),
        shown: name,
        text,
    });
    let errors = problems
        .into_iter()
        .filter(|p| p.severity == Severity::Error);
    (rules.count(), errors.collect())
}

#[test]
fn every_real_rule_file_loads() {
    let Some(dir) = corpus("rules") else { return };
    let mut all = Vec::new();
    files(&dir, &mut all);
    let (mut rules, mut wrong) = (0, Vec::new());
    for path in &all {
        let (count, errors) = read(path);
        rules += count;
        if let Some(error) = errors.first() {
            wrong.push(format!("{}: {}", path.display(), error.brief()));
        }
    }
    println!("{} files, {rules} rules", all.len());
    assert!(all.len() > 100 && rules > 1_000, "too few to mean anything");
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        all.len(),
        wrong.join("\n")
    );
}

#[test]
fn the_format_is_judged_as_promtool_judges_it() {
    let Some(dir) = corpus("rules-format") else {
        return;
    };
    let table = std::fs::read_to_string(dir.join("EXPECTED.tsv")).unwrap();
    let (mut count, mut wrong) = (0, Vec::new());
    for line in table.lines().skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        let [file, _, verdict, first_error, ..] = cells.as_slice() else {
            panic!("{line}");
        };
        count += 1;
        let (_, errors) = read(&dir.join(file));
        let accepted = errors.is_empty();
        if accepted != (*verdict == "accepted") {
            let ours = errors
                .first()
                .map_or_else(|| "accepted".to_owned(), Problem::brief);
            wrong.push(format!(
                "{file}: want {verdict} ({first_error}), got {ours}"
            ));
        }
    }
    assert!(count > 50, "too few to mean anything: {count}");
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
