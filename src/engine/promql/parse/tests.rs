//! Tests of the parser.

use super::*;
use std::path::PathBuf;

fn corpus(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/corpus")
        .join(path)
}

#[test]
fn scratch() {
    let mut n = 0;
    for file in std::fs::read_dir(corpus("promqltest")).unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_none_or(|e| e != "test") {
            continue;
        }
        for line in std::fs::read_to_string(&file).unwrap().lines() {
            let line = line.trim();
            let Some(rest) = line.strip_prefix("eval") else {
                continue;
            };
            let (_, rest) = rest.split_once(' ').unwrap();
            let expr = if let Some(r) = rest.strip_prefix("instant at ") {
                r.split_once(' ').unwrap().1
            } else {
                let r = rest.split_once(" step ").unwrap().1;
                r.split_once(' ').unwrap().1
            };
            n += 1;
            if let Err(e) = parse(expr, Dialect::ALL) {
                eprintln!(
                    "{}: {expr}\n    {} {:?}",
                    file.file_name().unwrap().display(),
                    e.located(expr),
                    e.hint
                );
            }
        }
    }
    eprintln!("{n}");
}
