//! `ops check`: every problem of the settings, rules, scripts and runbooks, with its place, a caret and a hint, and what
//! is probably not meant. Nothing is run and nothing is written. With `--url` (or `OPS_URL`) the metrics that rules read
//! are compared with those of a running engine; a Prometheus will do.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use crate::cli::client::Client;
use crate::cli::flags::{self, CONFIG, Flags, Options, options};
use crate::cli::{Output, failed, print};
use crate::config::{
    Lint, Settings, SourceFile, check_references, codes, groups, read_rules_every, read_settings,
};
use crate::model::time::Duration;
use crate::model::written::{Problem, Severity};
use crate::shell::load::files::{Texts, read_lossy};
use crate::shell::load::resolve;

/// What to check.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rule files, settings files, or folders of them [default: the project]
    pub paths: Vec<PathBuf>,
}

/// What was found.
#[derive(Debug, Default)]
struct Found {
    /// Problems with the text that shows them.
    problems: Vec<(Problem, Arc<str>)>,
    /// What could not be read, and why.
    unread: Vec<String>,
    /// Rule files with their problems so far, and the interval of groups that name none.
    rule_files: Vec<(SourceFile, Vec<Problem>, Duration)>,
    files: usize,
    rules: usize,
}

impl Found {
    fn add(&mut self, problems: Vec<Problem>, text: &str) {
        let text: Arc<str> = Arc::from(text);
        self.problems
            .extend(problems.into_iter().map(|p| (p, text.clone())));
    }
    fn count(&self, severity: Severity) -> usize {
        let all = self.problems.iter();
        all.filter(|(p, _)| p.severity == severity).count()
    }
}

/// Checks and prints; exit code 1 if there is an error.
pub fn run(flags: &Flags, args: &Args) -> ExitCode {
    match check(flags, args) {
        Ok(found) => {
            let json = flags.output == Some(Output::Json);
            print(&if json { as_json(&found) } else { text(&found) });
            for why in &found.unread {
                failed(why);
            }
            if found.count(Severity::Error) == 0 && found.unread.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => failed(&error),
    }
}

fn check(flags: &Flags, args: &Args) -> Result<Found, String> {
    let mut found = Found::default();
    read(&mut found, flags, args)?;
    let mut metrics = None;
    if flags::text(&flags.url).is_some() {
        match Client::new(flags).and_then(|client| client.metrics()) {
            Ok(names) => metrics = Some(names.into_iter().collect::<BTreeSet<_>>()),
            Err(error) => found
                .unread
                .push(format!("metrics were not compared: {error}")),
        }
    }
    let mut lint = Lint::new(metrics);
    let files = std::mem::take(&mut found.rule_files);
    files.iter().for_each(|(file, ..)| lint.learn(file));
    for (file, mut problems, interval) in files {
        problems.extend(lint.look(&file, interval));
        problems.sort_by_key(|p| p.span.start);
        found.add(problems, &file.text);
    }
    Ok(found)
}

/// Reads what the arguments name.
fn read(found: &mut Found, flags: &Flags, args: &Args) -> Result<(), String> {
    let (settings, problems, config_text) = flags.settings()?;
    let options = options(flags, &settings);
    if args.paths.is_empty() {
        if options.config.is_file() {
            found.files += 1;
        }
        found.add(problems, &config_text);
        rules_below(found, &options, &settings, &options.alerts);
        return Ok(());
    }
    for path in &args.paths {
        if path.is_dir() && (path.join(CONFIG).is_file() || path.join("alerts").is_dir()) {
            project(found, flags, path)?;
            continue;
        }
        if path.is_dir() {
            rules_below(found, &options, &settings, path);
            continue;
        }
        let text = match read_lossy(path) {
            Ok(text) => text,
            Err(error) => {
                found.unread.push(format!("{}: {error}", path.display()));
                continue;
            }
        };
        if is_settings(path, &options) {
            let root = path.parent().unwrap_or(Path::new("")).to_owned();
            let file = source(path, CONFIG, text);
            found.files += 1;
            let (_, problems) = read_settings(&file, &|secret| resolve(&root, secret));
            found.add(problems, &file.text);
        } else {
            let name = path
                .strip_prefix(&options.alerts)
                .ok()
                .or(path.file_name().map(Path::new))
                .unwrap_or(path);
            let file = source(path, &name.to_string_lossy(), text);
            rule_file(found, &options, &settings, file);
        }
    }
    Ok(())
}

/// A folder with its own settings or `alerts/` is checked as if the command ran there.
fn project(found: &mut Found, flags: &Flags, dir: &Path) -> Result<(), String> {
    let config = dir.join(CONFIG);
    let there = config.is_file();
    let inner = Flags {
        config: Some(config),
        ..flags.clone()
    };
    let (settings, problems, text) = if there {
        found.files += 1;
        inner.settings()?
    } else {
        (Settings::default(), Vec::new(), String::new())
    };
    found.add(problems, &text);
    let options = options(&inner, &settings);
    rules_below(found, &options, &settings, &options.alerts);
    Ok(())
}

fn is_settings(path: &Path, options: &Options) -> bool {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
    path == options.config
        || matches!(
            name,
            "ops.yaml" | "ops.yml" | "alertmanager.yml" | "alertmanager.yaml"
        )
}

fn source(path: &Path, name: &str, text: String) -> SourceFile {
    SourceFile {
        path: name.to_owned(),
        shown: path.display().to_string(),
        text,
    }
}

fn rules_below(found: &mut Found, options: &Options, settings: &Settings, dir: &Path) {
    let texts = Texts::below(dir);
    // A project without a folder of rule files has no rules.
    let unread = texts
        .unread
        .iter()
        .filter(|(path, _)| !path.is_empty() || dir.exists());
    found
        .unread
        .extend(unread.map(|(path, why)| format!("{}: {why}", dir.join(path).display())));
    for (name, text) in texts.read {
        let file = source(&dir.join(&name), &name, text);
        rule_file(found, options, settings, file);
    }
}

fn rule_file(found: &mut Found, options: &Options, settings: &Settings, file: SourceFile) {
    let interval = settings.evaluation_interval.unwrap_or(groups::INTERVAL);
    let (rules, mut problems) = read_rules_every(&file, interval);
    let exists = |path: &str| in_project(options, path).is_file();
    problems.extend(check_references(&file, &rules, settings, &exists));
    let heals = rules.alerting().filter_map(|r| r.heal.as_ref());
    for step in heals.flat_map(|h| &h.steps) {
        problems.extend(not_executable(options, &file, &step.script));
    }
    found.files += 1;
    found.rules += rules.count();
    found.rule_files.push((file, problems, interval));
}

/// A script that is there but cannot be run is found now, not when it is needed.
fn not_executable(options: &Options, file: &SourceFile, script: &str) -> Option<Problem> {
    let found = in_project(options, script).metadata().ok()?;
    if !found.is_file() || found.permissions().mode() & 0o111 != 0 {
        return None;
    }
    // An `action` does not name its script: then the whole file is meant.
    let span = file
        .text
        .find(script)
        .map_or(0..0, |at| at..at + script.len());
    let message = format!("{script} is not executable");
    Some(
        Problem::at(
            codes::NO_SCRIPT,
            Severity::Warning,
            &file.shown,
            &file.text,
            span,
            message,
        )
        .hint(format!("chmod +x {script}")),
    )
}

/// Rules say `scripts/x.sh` wherever the folder of scripts lies.
fn in_project(options: &Options, path: &str) -> PathBuf {
    if let Some(rest) = path.strip_prefix("scripts/") {
        options.scripts.join(rest)
    } else if let Some(rest) = path.strip_prefix("runbooks/") {
        options.runbooks.join(rest)
    } else {
        options.root.join(path)
    }
}

/// Problems that are written out for people; JSON has them all.
const PROBLEMS_SHOWN_MAX: usize = 200;

fn text(found: &Found) -> String {
    let mut out = String::new();
    for (problem, text) in found.problems.iter().take(PROBLEMS_SHOWN_MAX) {
        let _ = writeln!(out, "{}", problem.render(text));
    }
    let more = found.problems.len().saturating_sub(PROBLEMS_SHOWN_MAX);
    if more > 0 {
        let _ = writeln!(
            out,
            "and {}: `ops check FILE` shows those of one file, `--output json` all",
            counted(more, "more problem")
        );
    }
    if let Some((problem, _)) = found.problems.first() {
        let _ = writeln!(out, "more about a code: `ops explain {}`", problem.code);
    }
    let _ = writeln!(
        out,
        "{}, {}: {}, {}",
        counted(found.files, "file"),
        counted(found.rules, "rule"),
        counted(found.count(Severity::Error), "error"),
        counted(found.count(Severity::Warning), "warning"),
    );
    out
}

fn as_json(found: &Found) -> String {
    let problems: Vec<&Problem> = found.problems.iter().map(|(p, _)| p).collect();
    let all = json!({
        "files": found.files,
        "rules": found.rules,
        "errors": found.count(Severity::Error),
        "warnings": found.count(Severity::Warning),
        "problems": problems,
    });
    format!("{all:#}\n")
}

/// `1 rule`, `2 rules`.
pub fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
