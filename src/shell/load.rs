//! Rule files and settings → a policy. Each file stands for itself: a broken one keeps its last good version, also
//! across a restart (a copy lies in the data folder), and the others are loaded.

pub mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use crate::config::{
    FileRules, SecretRef, Settings, SourceFile, check_references, codes, groups, read_rules_every,
    read_settings,
};
use crate::engine::policy::Policy;
use crate::model::time::Duration;
use crate::model::written::{Problem, Severity};
use crate::shell::load::files::{Texts, read_lossy};

/// Where everything lies.
#[derive(Clone, Debug)]
pub struct Places {
    /// `ops.yaml`; it need not exist.
    pub config: PathBuf,
    /// The project folder: secrets are named from here.
    pub root: PathBuf,
    /// The folder of scripts.
    pub scripts: PathBuf,
    /// The folder of runbooks.
    pub runbooks: PathBuf,
    /// The folder of rule files.
    pub alerts: PathBuf,
    /// The data folder.
    pub data: PathBuf,
}

impl Places {
    /// Where a file lies that rules name as `scripts/…` or `runbooks/…`.
    pub fn find(&self, path: &str) -> PathBuf {
        match (
            path.strip_prefix("scripts/"),
            path.strip_prefix("runbooks/"),
        ) {
            (Some(name), _) => self.scripts.join(name),
            (_, Some(name)) => self.runbooks.join(name),
            (None, None) => self.root.join(path),
        }
    }
}

/// What is wrong at the moment, with the text that shows it.
#[derive(Clone, Debug, Default)]
pub struct Problems(pub Vec<(Problem, Arc<str>)>);

impl Problems {
    /// How many are errors.
    pub fn error_count(&self) -> usize {
        self.0
            .iter()
            .filter(|(p, _)| p.severity == Severity::Error)
            .count()
    }
}

/// What the last load gave.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The policy, with the last good version of broken files.
    pub policy: Arc<Policy>,
    /// The settings, the last good ones if the file is broken.
    pub settings: Arc<Settings>,
    /// Everything that is wrong.
    pub problems: Arc<Problems>,
    /// Every rule file, and whether its newest version is in force.
    pub files: Arc<Vec<(String, bool)>>,
}

impl Loaded {
    /// How many rules are in force.
    pub fn rule_count(&self) -> usize {
        self.policy.rule_count()
    }
}

/// Loads, and remembers the last good version of each file.
pub struct Loader {
    places: Places,
    /// The texts in force by path; the empty path is the settings'.
    texts: BTreeMap<String, String>,
    loaded: bool,
    /// What is there and cannot be read, and the folder of rule files if that is gone.
    unread: Texts,
    /// Why the settings cannot be read, though they could before.
    lost_settings: Option<String>,
    good: BTreeMap<String, FileRules>,
    good_settings: Arc<Settings>,
    current: Arc<RwLock<Loaded>>,
}

impl Loader {
    /// A loader that has loaded nothing.
    pub fn new(places: Places) -> Self {
        Self {
            places,
            texts: BTreeMap::new(),
            loaded: false,
            unread: Texts::default(),
            lost_settings: None,
            good: BTreeMap::new(),
            good_settings: Arc::default(),
            current: Arc::default(),
        }
    }
    /// The last load, for readers.
    pub fn current(&self) -> Arc<RwLock<Loaded>> {
        self.current.clone()
    }

    /// Reads everything. `None` if no byte changed since the last time.
    pub fn load(&mut self) -> Option<Loaded> {
        let mut unread = Texts::below(&self.places.alerts);
        let mut texts = std::mem::take(&mut unread.read);
        // What cannot be read just now is no wish to have no rules: it may be mounted, or may be read, in a moment.
        if !unread.unread.is_empty() {
            let known = if self.loaded {
                self.texts.clone()
            } else {
                self.copies()
            };
            let kept = known
                .into_iter()
                .filter(|(path, _)| !path.is_empty() && unread.is_unread(path));
            for (path, text) in kept {
                texts.entry(path).or_insert(text);
            }
        }
        let lost_settings = self.settings_text(&mut texts);
        if self.loaded
            && (&texts, &unread, &lost_settings) == (&self.texts, &self.unread, &self.lost_settings)
        {
            return None;
        }
        self.loaded = true;
        (self.texts, self.unread, self.lost_settings) = (texts, unread, lost_settings);
        let mut found = Problems::default();
        found
            .0
            .extend(self.unreadable().into_iter().map(|p| (p, Arc::from(""))));
        let settings = self.read_settings(&mut found);
        let mut policy = Policy {
            default_receiver: settings.default_receiver.clone(),
            ..Policy::default()
        };
        for receiver in settings.receivers.values() {
            if let Some(fallback) = &receiver.fallback {
                policy
                    .fallback
                    .insert(receiver.name.clone(), fallback.clone());
            }
            if let Some(after) = receiver.fallback_after {
                let name = receiver.name.clone();
                policy.fallback_after.insert(name, after);
            }
        }
        let files: Vec<SourceFile> = self
            .texts
            .iter()
            .filter_map(|(path, text)| self.rule_file(path, text))
            .collect();
        let mut kept: BTreeMap<String, FileRules> = BTreeMap::new();
        let interval = settings.evaluation_interval.unwrap_or(groups::INTERVAL);
        for file in &files {
            let text: Arc<str> = Arc::from(file.text.as_str());
            let (mut rules, problems) = read_rules_every(file, interval);
            if problems.iter().any(|p| p.severity == Severity::Error) {
                policy.broken.push(file.path.clone());
                rules = self.last_good(&file.path, interval);
            } else {
                self.remember(file);
                let exists = |path: &str| self.places.find(path).is_file();
                found.0.extend(
                    check_references(file, &rules, &settings, &exists)
                        .into_iter()
                        .map(|p| (p, text.clone())),
                );
            }
            found
                .0
                .extend(problems.into_iter().map(|p| (p, text.clone())));
            kept.insert(file.path.clone(), rules.clone());
            policy.rules.extend(rules.rules);
            policy.groups.extend(rules.groups);
        }
        self.good = kept;
        for path in self.unread.unread.keys().filter(|p| !p.is_empty()) {
            if !policy.broken.contains(path) {
                policy.broken.push(path.clone());
            }
        }
        let paths: BTreeSet<&String> = files
            .iter()
            .map(|f| &f.path)
            .chain(&policy.broken)
            .collect();
        let state = paths
            .into_iter()
            .map(|path| (path.clone(), !policy.broken.contains(path)))
            .collect();
        let loaded = Loaded {
            policy: Arc::new(policy),
            settings,
            problems: Arc::new(found),
            files: Arc::new(state),
        };
        *self
            .current
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = loaded.clone();
        Some(loaded)
    }

    /// Reads the settings. Once there were some they are not given up: without them everybody might do everything, and
    /// nobody would be told. Why they cannot be read, if they were.
    fn settings_text(&self, texts: &mut BTreeMap<String, String>) -> Option<String> {
        let error = match read_lossy(&self.places.config) {
            Ok(text) => {
                texts.insert(String::new(), text);
                return None;
            }
            Err(error) => error,
        };
        match self.texts.get("") {
            Some(text) => {
                texts.insert(String::new(), text.clone());
                Some(error.to_string())
            }
            None if error.kind() == std::io::ErrorKind::NotFound => None,
            None => Some(error.to_string()),
        }
    }

    fn rule_file(&self, path: &str, text: &str) -> Option<SourceFile> {
        (!path.is_empty()).then(|| SourceFile {
            path: path.to_owned(),
            shown: self.places.alerts.join(path).display().to_string(),
            text: text.to_owned(),
        })
    }

    fn read_settings(&mut self, found: &mut Problems) -> Arc<Settings> {
        let Some(text) = self.texts.get("") else {
            return self.good_settings.clone();
        };
        let file = SourceFile {
            path: "ops.yaml".to_owned(),
            shown: self.places.config.display().to_string(),
            text: text.clone(),
        };
        let (settings, problems) =
            read_settings(&file, &|secret| resolve(&self.places.root, secret));
        if problems.iter().all(|p| p.severity != Severity::Error) {
            self.good_settings = Arc::new(settings);
        }
        let text: Arc<str> = Arc::from(text.as_str());
        found
            .0
            .extend(problems.into_iter().map(|p| (p, text.clone())));
        self.good_settings.clone()
    }

    /// What could not be read.
    fn unreadable(&self) -> Vec<Problem> {
        let alerts = self.places.alerts.display().to_string();
        let mut all = Vec::new();
        for (path, why) in &self.unread.unread {
            all.push(if path.is_empty() {
                let text =
                    "the folder of rule files cannot be read; the rules that were in force run on";
                Problem::at(codes::NO_FOLDER, Severity::Warning, &alerts, "", 0..0, text)
                    .hint("make it again, or put an empty one there to have no rules")
            } else {
                let text = format!("it cannot be read: {why}; what was in force runs on");
                let shown = self.places.alerts.join(path).display().to_string();
                Problem::at(codes::UNREAD, Severity::Error, &shown, "", 0..0, text)
                    .hint("let the user that runs ops read it, or remove it")
            });
        }
        if let Some(why) = &self.lost_settings {
            let text =
                format!("the settings cannot be read: {why}; those that were in force run on");
            let shown = self.places.config.display().to_string();
            all.push(
                Problem::at(codes::UNREAD, Severity::Error, &shown, "", 0..0, text)
                    .hint("put it back, or an empty one to have no settings"),
            );
        }
        all
    }

    /// The copies of the last good files, under the names that the files had.
    fn copies(&self) -> BTreeMap<String, String> {
        let Ok(entries) = std::fs::read_dir(self.places.data.join("last_good")) else {
            return BTreeMap::new();
        };
        let copies = entries.flatten().filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().replace('%', "/");
            Some((name, read_lossy(&entry.path()).ok()?))
        });
        copies.collect()
    }

    fn copy_of(&self, path: &str) -> PathBuf {
        self.places
            .data
            .join("last_good")
            .join(path.replace(['/', '\\'], "%"))
    }

    /// Keeps a copy of a good file, so that it is there after a restart with a broken one.
    fn remember(&self, file: &SourceFile) {
        let copy = self.copy_of(&file.path);
        let written = copy
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| {
                if std::fs::read_to_string(&copy).is_ok_and(|t| t == file.text) {
                    Ok(())
                } else {
                    std::fs::write(&copy, &file.text)
                }
            });
        if let Err(error) = written {
            tracing::warn!(file = %file.path, %error, "Copy of a good rule file not kept.");
        }
    }

    fn last_good(&self, path: &str, interval: Duration) -> FileRules {
        if let Some(rules) = self.good.get(path) {
            return rules.clone();
        }
        let Ok(text) = std::fs::read_to_string(self.copy_of(path)) else {
            return FileRules::default();
        };
        let file = SourceFile {
            path: path.to_owned(),
            shown: path.to_owned(),
            text,
        };
        let (rules, problems) = read_rules_every(&file, interval);
        if problems.iter().any(|p| p.severity == Severity::Error) {
            FileRules::default()
        } else {
            rules
        }
    }
}

/// Reads a secret from the environment, or from a file named from the project folder.
///
/// # Errors
/// Why it cannot be had, without showing it.
pub fn resolve(root: &Path, secret: &SecretRef) -> Result<String, String> {
    match secret {
        SecretRef::Env(name) => {
            std::env::var(name).map_err(|_| format!("the environment variable {name} is not set"))
        }
        SecretRef::File(path) => {
            let path = root.join(path);
            std::fs::read_to_string(&path)
                .map(|t| t.trim_end().to_owned())
                .map_err(|e| format!("{}: {e}", path.display()))
        }
    }
}

/// Watches until the process ends: hints from the system, and a slow look at every file for what hints miss. `changed`
/// is called from its own thread after each load that found a change.
pub fn watch(
    mut loader: Loader,
    reload: std::sync::mpsc::Receiver<()>,
    hint: std::sync::mpsc::Sender<()>,
    mut changed: impl FnMut(Loaded) + Send + 'static,
) {
    let places = loader.places.clone();
    std::thread::spawn(move || {
        // Other files beside the settings, such as our own log, are no reason to look.
        let (alerts, config) = (
            places.alerts.clone(),
            places.config.file_name().map(ToOwned::to_owned),
        );
        let concerns = move |path: &Path| {
            path.file_name() == config.as_deref()
                || path.ends_with(&alerts)
                || path.starts_with(&alerts)
                || path
                    .canonicalize()
                    .is_ok_and(|p| alerts.canonicalize().is_ok_and(|a| p.starts_with(a)))
        };
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                let known = event.map_or(true, |e| {
                    !e.kind.is_access() && (e.need_rescan() || e.paths.iter().any(|p| concerns(p)))
                });
                if known {
                    let _ = hint.send(());
                }
            })
            .ok();
        loop {
            // Again each time: a folder may have been removed and made anew.
            if let Some(w) = &mut watcher {
                let config = places
                    .config
                    .parent()
                    .filter(|p| !p.as_os_str().is_empty())
                    .unwrap_or(Path::new("."));
                let _ = notify::Watcher::watch(w, &places.alerts, notify::RecursiveMode::Recursive);
                let _ = notify::Watcher::watch(w, config, notify::RecursiveMode::NonRecursive);
            }
            match reload.recv_timeout(std::time::Duration::from_secs(5)) {
                Ok(()) => {
                    // Editors write in several steps.
                    std::thread::sleep(std::time::Duration::from_millis(100));
                    while reload.try_recv().is_ok() {}
                }
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return,
            }
            if let Some(loaded) = loader.load() {
                changed(loaded);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(root: &Path) -> Places {
        Places {
            config: root.join("ops.yaml"),
            root: root.to_owned(),
            alerts: root.join("alerts"),
            data: root.join("data"),
            scripts: root.join("scripts"),
            runbooks: root.join("runbooks"),
        }
    }

    #[test]
    fn what_cannot_be_read_runs_on_and_only_what_is_not_there_is_gone() {
        let root = std::env::temp_dir().join(format!("ops-unread-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        std::fs::create_dir_all(root.join("alerts/sub")).unwrap();
        let rule = |metric: &str| format!("metric: {metric}\nthreshold: 1\n");
        let settings =
            "receivers: [{name: a, email_configs: [{to: a@example.com}]}]\nroute: {receiver: a}\n";
        let write = |path: &str, text: &str| std::fs::write(root.join(path), text).unwrap();
        write("ops.yaml", settings);
        write("alerts/a.yml", &rule("a"));
        write("alerts/sub/b.yml", &rule("b"));
        let mut loader = Loader::new(places(&root));
        let seen = |l: &Loaded| {
            let rules = l.policy.rules.iter().map(|r| r.metric().to_owned());
            let codes = l.problems.0.iter().map(|(p, _)| p.code);
            let receivers = l.settings.receivers.len();
            let rules: Vec<String> = rules.collect();
            let broken = l.policy.broken.clone();
            (
                rules.join(" "),
                receivers,
                broken.join(" "),
                codes.collect::<Vec<_>>(),
            )
        };
        let all = || "a b".to_owned();
        let none = String::new;
        assert_eq!(seen(&loader.load().unwrap()), (all(), 1, none(), vec![]));
        // A link to itself cannot be read, not even by root.
        let hide = |path: &str| {
            let path = root.join(path);
            std::fs::rename(&path, root.join("away")).unwrap();
            std::os::unix::fs::symlink(&path, &path).unwrap();
        };
        let show = |path: &str| {
            let path = root.join(path);
            std::fs::remove_file(&path).unwrap();
            std::fs::rename(root.join("away"), &path).unwrap();
        };
        for (path, broken) in [
            ("alerts/a.yml", "a.yml"),
            ("alerts/sub", "sub"),
            ("ops.yaml", ""),
        ] {
            hide(path);
            let hidden = loader.load().unwrap();
            let unread = vec![codes::UNREAD];
            assert_eq!(
                seen(&hidden),
                (all(), 1, broken.to_owned(), unread),
                "{path}"
            );
            assert!(loader.load().is_none(), "said once");
            show(path);
            assert_eq!(
                seen(&loader.load().unwrap()),
                (all(), 1, none(), vec![]),
                "{path}"
            );
        }
        std::fs::remove_file(root.join("ops.yaml")).unwrap();
        let without = seen(&loader.load().unwrap());
        assert_eq!(
            without,
            (all(), 1, none(), vec![codes::UNREAD]),
            "settings are not given up"
        );
        write("ops.yaml", "");
        assert_eq!(
            seen(&loader.load().unwrap()).1,
            0,
            "unless somebody says so"
        );
        std::fs::remove_file(root.join("alerts/a.yml")).unwrap();
        assert_eq!(seen(&loader.load().unwrap()).0, "b");
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_folder_that_vanishes_takes_no_rule_with_it() {
        let root = std::env::temp_dir().join(format!("ops-gone-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        std::fs::create_dir_all(root.join("alerts/sub")).unwrap();
        let places = places(&root);
        let rule = "metric: a\nthreshold: 1\nnotify: [a@example.com]\n";
        std::fs::write(root.join("alerts/sub/a.yml"), rule).unwrap();
        let ids = |l: Loaded| {
            l.policy
                .rules
                .iter()
                .map(|r| r.id.0.clone())
                .collect::<Vec<_>>()
        };
        let mut loader = Loader::new(places.clone());
        let before = ids(loader.load().unwrap());
        assert_eq!(before.len(), 1);
        std::fs::rename(root.join("alerts"), root.join("away")).unwrap();
        let without = loader.load().unwrap();
        assert_eq!(without.problems.0[0].0.code, "OPS-L001");
        assert_eq!(ids(without), before);
        assert!(loader.load().is_none(), "said once");
        assert_eq!(
            ids(Loader::new(places).load().unwrap()),
            before,
            "after a restart"
        );
        std::fs::rename(root.join("away"), root.join("alerts")).unwrap();
        let again = loader.load().unwrap();
        assert!(again.problems.0.is_empty());
        assert_eq!(ids(again), before);
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_broken_file_keeps_its_last_good_version_also_over_a_restart_and_harms_no_other() {
        let root = std::env::temp_dir().join(format!("ops-load-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        std::fs::create_dir_all(root.join("alerts")).unwrap();
        let places = places(&root);
        let good =
            |metric: &str| format!("metric: {metric}\nthreshold: 1\nnotify: [a@example.com]\n");
        std::fs::write(root.join("alerts/a.yml"), good("a")).unwrap();
        std::fs::write(root.join("alerts/b.yml"), good("b")).unwrap();
        let mut loader = Loader::new(places.clone());
        let metrics = |l: &Loaded| {
            l.policy
                .rules
                .iter()
                .map(|r| r.metric().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(metrics(&loader.load().unwrap()), ["a", "b"]);
        assert!(loader.load().is_none(), "nothing changed");
        std::fs::write(root.join("alerts/a.yml"), "metric: [").unwrap();
        std::fs::write(root.join("alerts/b.yml"), good("c")).unwrap();
        let loaded = loader.load().unwrap();
        assert_eq!(metrics(&loaded), ["a", "c"]);
        assert_eq!(loaded.policy.broken, ["a.yml"]);
        let again = Loader::new(places).load().unwrap();
        assert_eq!(metrics(&again), ["a", "c"], "after a restart");
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn groups_are_loaded_checked_and_kept_like_any_rule() {
        let root = std::env::temp_dir().join(format!("ops-groups-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        std::fs::create_dir_all(root.join("alerts")).unwrap();
        let places = places(&root);
        let groups = "groups:\n- name: g\n  rules:\n  - {record: a:b, expr: a}\n  - alert: B\n    expr: a:b > 1\n";
        let named = "    notify: nobody_here\n    auto_heal: scripts/x.sh\n    runbook: wiki/b\n";
        let write = |path: &str, text: &str| std::fs::write(root.join(path), text).unwrap();
        write("ops.yaml", "global: {evaluation_interval: 15s}\n");
        write("alerts/g.yml", &format!("{groups}{named}"));
        write("alerts/e.yml", "expr: up == 0\nnotify: a@example.com\n");
        let mut loader = Loader::new(places.clone());
        let shape = |l: &Loaded| {
            let groups = &l.policy.groups;
            let told = groups
                .iter()
                .map(|g| format!("{} every {}: {} rules", g.id, g.interval, g.rules.len()));
            told.collect::<Vec<_>>()
        };
        let loaded = loader.load().unwrap();
        assert_eq!(
            shape(&loaded),
            ["e.yml;e every 0s: 1 rules", "g.yml;g every 15s: 2 rules"]
        );
        assert_eq!(loaded.rule_count(), 3);
        let told: Vec<_> = loaded
            .problems
            .0
            .iter()
            .map(|(p, _)| (p.code, p.line))
            .collect();
        assert_eq!(
            told,
            [
                (codes::UNKNOWN_RECEIVER, 7),
                (codes::NO_SCRIPT, 8),
                (codes::NO_RUNBOOK, 9)
            ]
        );
        write("alerts/g.yml", &groups.replace("a:b > 1", "a:b >"));
        write("alerts/e.yml", "expr: up == 1\nnotify: a@example.com\n");
        for loaded in [loader.load().unwrap(), Loader::new(places).load().unwrap()] {
            assert_eq!(loaded.policy.broken, ["g.yml"]);
            assert_eq!(loaded.rule_count(), 3, "the last good version");
            let (problem, _) = &loaded.problems.0[0];
            assert_eq!(
                (problem.code, problem.line, problem.column),
                (codes::EXPR, 6, 16)
            );
        }
        std::fs::remove_dir_all(&root).unwrap();
    }
}
