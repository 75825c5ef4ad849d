//! `ops test FILE…`: whether rules do what they should. A file's name and text say what it is: [`rules`] are tests of
//! rules in promtool's format, [`scenario`]s are played by the whole engine in virtual time, [`script`]s (`.test`) are
//! conformance scripts of PromQL. Each is a suite of cases; [`junit`] writes them for build servers.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::cli::check::counted;
use crate::cli::{failed, print};

mod diff;
mod glob;
mod junit;
mod rules;
mod scenario;
mod script;

/// What to test.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rule tests (YAML, as for `promtool test rules`), scenarios (`.scenario`), PromQL scripts (`.test`)
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Run only cases whose name matches this; may be given more than once
    #[arg(long, value_name = "REGEX")]
    pub run: Vec<regex::Regex>,
    /// Write the results as JUnit XML, too
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Pass over keys of rule files that nobody knows
    #[arg(long)]
    pub ignore_unknown_fields: bool,
}

impl Args {
    /// Whether a case of that name is to be run.
    fn wants(&self, name: &str) -> bool {
        self.run.is_empty() || self.run.iter().any(|r| r.is_match(name))
    }
}

/// What became of one file.
#[derive(Debug, Default)]
struct Suite {
    file: String,
    cases: Vec<Case>,
    /// Cases that `--run` left out.
    skipped: usize,
    /// Why the file could not be read at all.
    error: Option<String>,
    /// What should be known although nothing failed.
    remarks: Vec<String>,
}

/// What became of one test.
#[derive(Debug)]
struct Case {
    name: String,
    took: Duration,
    /// Why it failed, for people; none: it passed.
    failures: Vec<String>,
}

impl Suite {
    /// A file that cannot be used.
    fn unusable(why: impl Into<String>) -> Self {
        Self {
            error: Some(why.into()),
            ..Self::default()
        }
    }
    /// Adds a case that is run now.
    fn case(&mut self, name: impl Into<String>, run: impl FnOnce() -> Vec<String>) {
        let begun = Instant::now();
        let failures = run();
        self.cases.push(Case {
            name: name.into(),
            took: begun.elapsed(),
            failures,
        });
    }
    fn failed(&self) -> usize {
        let failed = self.cases.iter().filter(|c| !c.failures.is_empty());
        failed.count()
    }
    fn passed(&self) -> bool {
        self.error.is_none() && self.failed() == 0
    }
}

/// Runs each file; exit code 1 if anything is not as it must be.
pub fn run(args: &Args) -> ExitCode {
    let mut suites = Vec::new();
    for file in &args.files {
        let mut suite = suite(file, args);
        suite.file = file.display().to_string();
        print(&told(&suite));
        suites.push(suite);
    }
    print(&summary(&suites));
    if !args.run.is_empty()
        && suites
            .iter()
            .all(|s| s.cases.is_empty() && s.error.is_none())
    {
        let _ = failed("no test has a name that `--run` matches, so nothing was tested");
    }
    let mut all_well = suites.iter().all(Suite::passed);
    if let Some(path) = &args.junit
        && let Err(error) = std::fs::write(path, junit::document(&suites))
    {
        let _ = failed(&format!("{}: {error}", path.display()));
        all_well = false;
    }
    if all_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn suite(file: &Path, args: &Args) -> Suite {
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) => return Suite::unusable(error.to_string()),
    };
    let Ok(text) = String::from_utf8(bytes) else {
        return Suite::unusable("this file is not UTF-8");
    };
    match file.extension().and_then(|e| e.to_str()) {
        Some("test") => script::run(file, &text, args),
        Some("scenario") => scenario::run(file, &text, args),
        _ => rules::run(file, text, args),
    }
}

fn told(suite: &Suite) -> String {
    let mut out = String::new();
    let ran = suite.cases.len();
    let word = if suite.passed() { "ok  " } else { "FAIL" };
    let _ = write!(out, "{word}  {}", suite.file);
    let _ = match (ran, suite.skipped) {
        _ if suite.error.is_some() => Ok(()),
        (0, 0) => write!(out, "  (no tests)"),
        (1, 0) => Ok(()),
        (_, 0) => write!(out, "  ({})", counted(ran, "case")),
        (_, skipped) => write!(out, "  ({}, {skipped} skipped)", counted(ran, "case")),
    };
    out.push('\n');
    let failures = suite.cases.iter().flat_map(|c| &c.failures);
    for text in suite.remarks.iter().chain(&suite.error).chain(failures) {
        for line in text.trim_end().lines() {
            let _ = writeln!(out, "  {line}");
        }
    }
    out
}

fn summary(suites: &[Suite]) -> String {
    let passed = suites.iter().filter(|s| s.passed()).count();
    let (ran, wrong): (usize, usize) = suites.iter().fold((0, 0), |(ran, wrong), s| {
        (ran + s.cases.len(), wrong + s.failed())
    });
    let wrong = match wrong {
        0 => String::new(),
        n => format!(", {n} of them failed"),
    };
    let files = suites.len() - passed;
    format!(
        "{passed} passed, {files} failed ({}{wrong})\n",
        counted(ran, "case")
    )
}
