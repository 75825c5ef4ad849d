//! Real files that others wrote, beside this repository, and what must come of them.

use std::path::{Path, PathBuf};

use crate::lab::skipped;

/// A folder of the corpus; says loudly if it is not there. That may be so in CI too: it is no part of the project.
pub fn folder(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/corpus")
        .join(name);
    if path.is_dir() {
        return Some(path);
    }
    skipped(&format!("{} is not there", path.display()));
    None
}

/// The files below a folder with one of these extensions, in order.
pub fn files(dir: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
        if path.is_dir() {
            found.extend(files(&path, extensions));
        } else if extensions.contains(&extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The cells of each line of a table, but for the first line.
pub fn table(dir: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(dir.join("EXPECTED.tsv")).unwrap();
    let lines = text.lines().skip(1);
    lines
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}
