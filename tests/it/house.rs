//! House rules that a compiler does not know.

use std::path::{Path, PathBuf};

/// Who may import whom. The table is the architecture: see docs/ARCHITECTURE.md.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("engine", &["model"]),
    ("ingest", &["model", "engine"]),
    ("receivers", &["model"]),
    ("journal", &["model", "engine"]),
    ("config", &["model", "engine"]),
    ("sim", &["model", "engine", "config"]),
    (
        "shell",
        &[
            "model",
            "engine",
            "ingest",
            "receivers",
            "journal",
            "config",
        ],
    ),
    (
        "api",
        &[
            "model",
            "engine",
            "ingest",
            "receivers",
            "journal",
            "config",
            "sim",
            "shell",
        ],
    ),
    (
        "cli",
        &[
            "model",
            "engine",
            "ingest",
            "receivers",
            "journal",
            "config",
            "sim",
            "shell",
            "api",
        ],
    ),
];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn all() -> Vec<(String, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    assert!(
        found.len() > 30,
        "the walk found too few files to mean anything"
    );
    let named = found.into_iter().map(|path| {
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        let room = name.split(['/', '.']).next().unwrap().to_owned();
        (room, name, std::fs::read_to_string(path).unwrap())
    });
    named.collect()
}

#[test]
fn rooms_import_only_whom_they_may() {
    let mut wrong = Vec::new();
    for (room, name, text) in all() {
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(r, _)| *r == room) else {
            continue;
        };
        for (at, line) in text
            .lines()
            .enumerate()
            .filter(|(_, l)| !l.trim_start().starts_with("//"))
        {
            for (_, rest) in line
                .match_indices("crate::")
                .map(|(i, m)| (i, &line[i + m.len()..]))
            {
                let target: String = rest
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                    .collect();
                let known = MAY_IMPORT.iter().any(|(r, _)| *r == target);
                if known && target != room && !allowed.contains(&target.as_str()) {
                    wrong.push(format!(
                        "src/{name}:{}: {room} may not import {target}",
                        at + 1
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_engine_and_the_nouns_have_no_clock_and_do_not_panic() {
    let bare: Vec<String> = all()
        .into_iter()
        .filter(|(room, name, _)| room == "engine" && name.contains('/'))
        .filter(|(_, _, text)| {
            !text.contains("clippy::disallowed_methods") || !text.contains("clippy::unwrap_used")
        })
        .map(|(_, name, _)| name)
        .filter(|name| name != "engine/limits.rs")
        .collect();
    assert!(
        bare.is_empty(),
        "these files of a pure room do not deny clocks and panics: {bare:?}"
    );
}

#[test]
fn no_path_of_a_machine_and_nothing_unfinished_is_in_the_tree() {
    let words = [
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("FIX", "ME"),
        concat!("/ro", "ot/"),
    ];
    let hits: Vec<String> = all()
        .into_iter()
        .flat_map(|(_, name, text)| {
            words
                .iter()
                .filter(|w| text.contains(**w))
                .map(|w| format!("{name}: {w}"))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(hits.is_empty(), "{hits:?}");
}

#[test]
fn dependencies_keep_the_licence_and_the_one_tls_provider() {
    let lock =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap();
    assert!(
        lock.contains("name = \"evalexpr\"\nversion = \"11.3.1\""),
        "evalexpr 12 and up are AGPL-3.0"
    );
    let tree = std::process::Command::new(env!("CARGO"))
        .args([
            "tree",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--format",
            "{p} {l}",
            "--offline",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.contains("evalexpr v11.3.1"), "{tree}");
    for line in tree.lines() {
        let name = line.split(' ').next().unwrap();
        assert!(
            !["ring", "native-tls", "openssl", "openmetrics-parser"].contains(&name),
            "{line}: one TLS provider, no such licence"
        );
        assert!(!line.contains("GPL"), "{line}");
    }
}

#[test]
fn every_bench_is_in_the_table_of_figures() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let (manifest, page, about) = (
        read("Cargo.toml"),
        read("docs/BENCHMARKS.md"),
        read("docs/PERFORMANCE.md"),
    );
    let benches = manifest.split("[[bench]]\nname = \"").skip(1);
    let names: Vec<&str> = benches.filter_map(|b| b.split('"').next()).collect();
    assert!(names.len() > 5, "{names:?}");
    for name in names {
        // Its run, and at least one figure.
        let rows = page.matches(&format!("\n| `{name}` |")).count();
        assert!(
            rows >= 2,
            "{name} has no figures: OPS_BENCH=write cargo bench --bench {name}"
        );
        assert!(
            about.contains(&format!("`{name}`")),
            "{name} is not told of"
        );
    }
}
