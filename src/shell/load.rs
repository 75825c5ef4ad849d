//! Rule files and settings → a policy. Each file stands for itself: a broken one keeps its last good version, also
//! across a restart (a copy lies in the data folder), and the others are loaded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use crate::config::{
    FileRules, SecretRef, Settings, SourceFile, check_references, codes, groups, read_rules_every,
    read_settings,
};
use crate::engine::policy::Policy;
use crate::model::time::Duration;
use crate::model::written::{Problem, Severity};

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
    texts: BTreeMap<String, String>,
    loaded: bool,
    gone: bool,
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
            gone: false,
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
        let mut texts = self.read_texts();
        let gone = std::fs::read_dir(&self.places.alerts).is_err();
        if gone {
            // A folder that is not there is no wish to have no rules: it may be mounted again in a moment.
            let known = if self.loaded {
                self.texts.clone()
            } else {
                self.copies()
            };
            texts.extend(known.into_iter().filter(|(path, _)| !path.is_empty()));
        }
        if self.loaded && (&texts, gone) == (&self.texts, self.gone) {
            return None;
        }
        (self.loaded, self.gone) = (true, gone);
        self.texts = texts;
        let mut found = Problems::default();
        if gone {
            found.0.push((self.no_folder(), Arc::from("")));
        }
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
        let state = files
            .iter()
            .map(|f| (f.path.clone(), !policy.broken.contains(&f.path)))
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

    fn read_texts(&self) -> BTreeMap<String, String> {
        let mut texts = BTreeMap::new();
        if let Ok(text) = read_lossy(&self.places.config) {
            texts.insert(String::new(), text);
        }
        walk(&self.places.alerts, &self.places.alerts, 0, &mut texts);
        texts
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
            return Arc::default();
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

    fn no_folder(&self) -> Problem {
        let shown = self.places.alerts.display().to_string();
        Problem::at(
            codes::NO_FOLDER,
            Severity::Warning,
            &shown,
            "",
            0..0,
            "the folder of rule files cannot be read; the rules that were in force run on",
        )
        .hint("make it again, or put an empty one there to have no rules")
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

/// A file's text; bytes that are no text are replaced, so that the checker can point at them.
///
/// # Errors
/// The file cannot be read.
pub fn read_lossy(path: &Path) -> std::io::Result<String> {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Deepest folder below `alerts/`: a link that leads back must not hang us.
const DEPTH_MAX: usize = 16;

/// Collects the rule files below `dir` by their names relative to `root`.
pub fn walk(root: &Path, dir: &Path, depth: usize, texts: &mut BTreeMap<String, String>) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        // Hidden names are editors' temporary files and the inner folders of mounted ConfigMaps.
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if path.is_dir() {
            if depth < DEPTH_MAX {
                walk(root, &path, depth + 1, texts);
            }
        } else if path.extension().is_some_and(|e| e == "yml" || e == "yaml")
            && let (Ok(relative), Ok(text)) = (path.strip_prefix(root), read_lossy(&path))
        {
            texts.insert(relative.to_string_lossy().into_owned(), text);
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

    #[test]
    fn a_folder_that_vanishes_takes_no_rule_with_it() {
        let root = std::env::temp_dir().join(format!("ops-gone-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        std::fs::create_dir_all(root.join("alerts/sub")).unwrap();
        let places = Places {
            config: root.join("ops.yaml"),
            root: root.clone(),
            alerts: root.join("alerts"),
            data: root.join("data"),
            scripts: root.join("scripts"),
            runbooks: root.join("runbooks"),
        };
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
        let places = Places {
            config: root.join("ops.yaml"),
            root: root.clone(),
            alerts: root.join("alerts"),
            data: root.join("data"),
            scripts: root.join("scripts"),
            runbooks: root.join("runbooks"),
        };
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
        let places = Places {
            config: root.join("ops.yaml"),
            root: root.clone(),
            alerts: root.join("alerts"),
            data: root.join("data"),
            scripts: root.join("scripts"),
            runbooks: root.join("runbooks"),
        };
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
