//! Who there is: targets that are written out, and files that name some. A file that cannot be read or understood keeps
//! its last good targets, and so does a folder; one that is gone has none.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind};
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
    /// By the path as it is written.
    patterns: BTreeMap<String, Pattern>,
    files: BTreeMap<PathBuf, File>,
}

/// What a written path meant the last time that this could be seen.
#[derive(Default)]
struct Pattern {
    paths: Vec<PathBuf>,
    /// Files beyond the bound.
    left_out: usize,
    failing: bool,
}

#[derive(Default)]
struct File {
    /// Time of the last change and size, as the system says.
    stamp: Option<(SystemTime, u64)>,
    /// When it was read last.
    read_at: Timestamp,
    groups: Vec<TargetGroup>,
    failing: bool,
}

impl Discovery {
    pub fn new(root: PathBuf) -> Self {
        Self {
            root,
            patterns: BTreeMap::new(),
            files: BTreeMap::new(),
        }
    }

    /// Reads files that have changed, or were read too long ago; whether anything may be different from last time.
    pub fn look(&mut self, jobs: &[Arc<Job>], anew: bool, now: Timestamp) -> bool {
        let mut changed = anew;
        let sources = || jobs.iter().flat_map(|j| &j.scrape.files);
        let mut patterns = BTreeMap::new();
        for written in sources().flat_map(|s| &s.paths) {
            let mut pattern = self.patterns.remove(written).unwrap_or_default();
            pattern.look(&self.root, written);
            patterns.insert(written.clone(), pattern);
        }
        self.patterns = patterns;
        let mut there = BTreeSet::new();
        for source in sources() {
            for path in source.paths.iter().flat_map(|p| paths(&self.patterns, p)) {
                let stamp = std::fs::metadata(path)
                    .and_then(|m| Ok((m.modified()?, m.len())))
                    .ok();
                let file = self.files.entry(path.clone()).or_default();
                let old = now.since(file.read_at) >= source.refresh;
                if file.stamp.is_none() || file.stamp != stamp || old {
                    (file.stamp, file.read_at) = (stamp, now);
                    changed |= file.reread(path);
                }
                there.insert(path);
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
            for path in paths(&self.patterns, path) {
                for group in self.files.get(path).map_or(&[][..], |f| &f.groups) {
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

/// The files that a written path means, as far as is known.
fn paths<'p>(
    patterns: &'p BTreeMap<String, Pattern>,
    written: &str,
) -> impl Iterator<Item = &'p PathBuf> + use<'p> {
    patterns.get(written).into_iter().flat_map(|p| &p.paths)
}

impl Pattern {
    /// Looks for its files. Where this fails, those that were there are taken to be there still: else a disk that does
    /// not answer would end every target.
    fn look(&mut self, root: &Path, written: &str) {
        let found = matching(root, written);
        let failing = found.is_err();
        match found {
            Err(error) if !self.failing => {
                tracing::warn!(path = %written, %error, "Files of targets not looked for; those known are kept.");
            }
            Err(_) => {}
            Ok(mut found) => {
                if self.failing {
                    tracing::info!(path = %written, "Files of targets looked for again.");
                }
                let left_out = found.len().saturating_sub(FILES_COUNT_MAX);
                found.truncate(FILES_COUNT_MAX);
                if left_out > 0 && left_out != self.left_out {
                    tracing::warn!(path = %written, left_out, limit = FILES_COUNT_MAX, "Too many files of targets; the last by name are not read.");
                }
                (self.paths, self.left_out) = (found, left_out);
            }
        }
        self.failing = failing;
    }
}

impl File {
    /// Reads it; whether it names other targets than before.
    fn reread(&mut self, path: &Path) -> bool {
        let shown = path.display().to_string();
        let read = read_lossy(path);
        let failed_before = std::mem::replace(&mut self.failing, read.is_err());
        let text = match read {
            Ok(text) => text,
            Err(error) => {
                if !failed_before {
                    tracing::warn!(file = %shown, %error, "Targets not read; the last good ones are asked.");
                }
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
        if problems.iter().any(|p| p.severity == Severity::Error) || self.groups == read {
            return false;
        }
        self.groups = read;
        true
    }
}

/// The files that a path means, in order of their names.
///
/// # Errors
/// It cannot be seen which there are. That there is no such folder or file is none.
fn matching(root: &Path, path: &str) -> Result<Vec<PathBuf>, Error> {
    let whole = root.join(path);
    let name = whole.file_name().and_then(|n| n.to_str());
    let (Some(folder), Some(pattern)) = (whole.parent(), name) else {
        return Ok(Vec::new());
    };
    if !pattern.contains('*') {
        let about = there(std::fs::metadata(&whole))?;
        let is_file = about.is_some_and(|about| about.is_file());
        return Ok(if is_file { vec![whole] } else { Vec::new() });
    }
    let mut found = Vec::new();
    for entry in there(std::fs::read_dir(folder))?.into_iter().flatten() {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|n| fits(pattern, n)) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// `None` where there is nothing; any other failure says nothing about that.
fn there<T>(found: Result<T, Error>) -> Result<Option<T>, Error> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
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
    use crate::config::settings::read_settings;

    /// A folder of its own, and what is discovered in it by two paths.
    struct World {
        root: PathBuf,
        jobs: Vec<Arc<Job>>,
        discovery: Discovery,
    }

    impl World {
        fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("ops-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&root);
            std::fs::create_dir_all(root.join("t")).unwrap();
            let text = "scrape_configs:\n- job_name: j\n  file_sd_configs: [{files: ['t/*.json', 'one/b.json']}]\n";
            let file = SourceFile {
                path: "ops.yaml".to_owned(),
                shown: "ops.yaml".to_owned(),
                text: text.to_owned(),
            };
            let (settings, problems) = read_settings(&file, &|_| Err("none".to_owned()));
            assert!(problems.is_empty(), "{problems:?}");
            let jobs = settings
                .scrapes
                .iter()
                .map(|s| crate::shell::scrape::job(s, &root));
            Self {
                jobs: jobs.collect(),
                discovery: Discovery::new(root.clone()),
                root,
            }
        }

        fn write(&self, path: &str, target: &str) {
            let path = self.root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, format!("[{{\"targets\": [\"{target}\"]}}]")).unwrap();
        }

        /// Looks; who is there then.
        fn look(&mut self) -> Vec<String> {
            self.discovery
                .look(&self.jobs, false, Timestamp::from_ms(1));
            let groups = self.discovery.groups(&self.jobs[0].scrape);
            groups.into_iter().flat_map(|g| g.targets).collect()
        }
    }

    impl Drop for World {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.root);
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_gone() {
        let mut w = World::new("discover");
        assert!(w.look().is_empty());
        w.write("t/a.json", "a:1");
        w.write("one/b.json", "b:1");
        assert_eq!(w.look(), ["a:1", "b:1"]);
        for folder in ["t", "one"] {
            std::fs::remove_dir_all(w.root.join(folder)).unwrap();
            // Whoever asks for something in it is told that there are too many links.
            std::os::unix::fs::symlink(folder, w.root.join(folder)).unwrap();
        }
        assert_eq!(w.look(), ["a:1", "b:1"]);
        for folder in ["t", "one"] {
            std::fs::remove_file(w.root.join(folder)).unwrap();
        }
        assert!(w.look().is_empty(), "they are gone");
    }

    #[test]
    fn of_too_many_files_the_first_by_name_are_read() {
        let mut w = World::new("discover-many");
        for number in (0..FILES_COUNT_MAX + 20).rev() {
            w.write(&format!("t/{number:04}.json"), &format!("h{number:04}"));
        }
        let wanted: Vec<String> = (0..FILES_COUNT_MAX).map(|n| format!("h{n:04}")).collect();
        assert_eq!(w.look(), wanted);
    }

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
