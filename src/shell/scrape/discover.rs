//! Who there is: targets that are written out, and files that name some. A file that cannot be read or understood keeps
//! its last good targets; one that is gone has none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::config::SourceFile;
use crate::config::scrape::{Scrape, TargetGroup, read_target_file};
use crate::model::time::Timestamp;
use crate::model::written::Severity;
use crate::shell::load::files::read_lossy;
use crate::shell::scrape::Job;

/// Files that one job may name.
const FILES_COUNT_MAX: usize = 1_000;

/// What is known of the files.
pub(super) struct Discovery {
    root: PathBuf,
    files: BTreeMap<PathBuf, File>,
}

#[derive(Default)]
struct File {
    /// Time of the last change and size, as the system says.
    stamp: Option<(SystemTime, u64)>,
    /// When it was read last.
    read_at: Timestamp,
    groups: Vec<TargetGroup>,
}

impl Discovery {
    pub fn new(root: PathBuf) -> Self {
        Self {
            root,
            files: BTreeMap::new(),
        }
    }

    /// Reads files that have changed, or were read too long ago; whether anything may be different from last time.
    pub fn look(&mut self, jobs: &[Arc<Job>], anew: bool, now: Timestamp) -> bool {
        let mut changed = anew;
        let mut there = Vec::new();
        for source in jobs.iter().flat_map(|j| &j.scrape.files) {
            for path in source.paths.iter().flat_map(|p| matching(&self.root, p)) {
                let stamp = std::fs::metadata(&path)
                    .and_then(|m| Ok((m.modified()?, m.len())))
                    .ok();
                let file = self.files.entry(path.clone()).or_default();
                let old = now.since(file.read_at) >= source.refresh;
                if file.stamp.is_none() || file.stamp != stamp || old {
                    (file.stamp, file.read_at) = (stamp, now);
                    changed |= reread(&path, &mut file.groups);
                }
                there.push(path);
            }
        }
        let before = self.files.len();
        self.files.retain(|path, _| there.contains(path));
        changed || self.files.len() != before
    }

    /// The groups of a job, as known now.
    pub fn groups(&self, scrape: &Scrape) -> Vec<TargetGroup> {
        let mut groups = scrape.groups.clone();
        for path in scrape.files.iter().flat_map(|f| &f.paths) {
            for path in matching(&self.root, path) {
                for group in self.files.get(&path).map_or(&[][..], |f| &f.groups) {
                    let mut group = group.clone();
                    group
                        .labels
                        .set("__meta_filepath", path.display().to_string());
                    groups.push(group);
                }
            }
        }
        groups
    }
}

/// Reads a file; whether it names other targets than before.
fn reread(path: &Path, groups: &mut Vec<TargetGroup>) -> bool {
    let shown = path.display().to_string();
    let text = match read_lossy(path) {
        Ok(text) => text,
        Err(error) => {
            tracing::warn!(file = %shown, %error, "Targets not read; the last good ones are asked.");
            return false;
        }
    };
    let (read, problems) = read_target_file(&SourceFile {
        path: shown.clone(),
        shown,
        text,
    });
    for problem in &problems {
        tracing::warn!(code = problem.code, "{}", problem.brief());
    }
    if problems.iter().any(|p| p.severity == Severity::Error) || *groups == read {
        return false;
    }
    *groups = read;
    true
}

/// The files that a path means, in order of their names.
fn matching(root: &Path, path: &str) -> Vec<PathBuf> {
    let whole = root.join(path);
    let name = whole.file_name().and_then(|n| n.to_str());
    let (Some(folder), Some(pattern)) = (whole.parent(), name) else {
        return Vec::new();
    };
    if !pattern.contains('*') {
        return if whole.is_file() {
            vec![whole]
        } else {
            Vec::new()
        };
    }
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let named = |e: &std::fs::DirEntry| e.file_name().to_str().is_some_and(|n| fits(pattern, n));
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter(named)
        .map(|e| e.path())
        .take(FILES_COUNT_MAX)
        .collect();
    found.sort();
    found
}

/// Whether a name fits a pattern in which `*` stands for anything.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or("")) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name, wanted) in [
            ("a.json", "a.json", true),
            ("a.json", "ab.json", false),
            ("*.json", "a.json", true),
            ("*.json", ".json", true),
            ("a*b*.yml", "axxbyy.yml", true),
            ("a*b*.yml", "axx.yml", false),
            ("*a*", "a", true),
            ("ab*ba.yml", "aba.yml", false),
        ] {
            assert_eq!(fits(pattern, name), wanted, "{pattern} {name}");
        }
    }
}
