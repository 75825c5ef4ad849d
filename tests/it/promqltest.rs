//! The public conformance scripts of PromQL, as far as they are at hand.

use std::path::Path;

use ops::sim::promqltest::{play, settings};

/// Evaluations and those that passed, of one file.
struct Score {
    file: String,
    evals: usize,
    passed: usize,
}

#[test]
fn the_public_conformance_scripts_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/promqltest");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("SKIPPED: there are no conformance scripts beside this repository");
        return;
    };
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "test"))
        .collect();
    files.sort();
    let mut scores = Vec::new();
    let mut failures = String::new();
    for path in files {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let checked =
            play(&text, &settings()).unwrap_or_else(|error| panic!("{file}:{error}: no script"));
        for failed in checked.iter().filter(|c| c.difference.is_some()) {
            failures.push_str(&format!("{file} {failed}\n"));
        }
        scores.push(Score {
            file,
            evals: checked.len(),
            passed: checked.iter().filter(|c| c.difference.is_none()).count(),
        });
    }
    scores.push(Score {
        file: "all".to_owned(),
        evals: scores.iter().map(|s| s.evals).sum(),
        passed: scores.iter().map(|s| s.passed).sum(),
    });
    let table: Vec<String> = scores
        .iter()
        .map(|s| format!("{:<28}{:>6}{:>8}", s.file, s.evals, s.passed))
        .collect();
    println!(
        "{:<28}{:>6}{:>8}\n{}",
        "file",
        "evals",
        "passed",
        table.join("\n")
    );
    assert!(failures.is_empty(), "\n{failures}");
}
