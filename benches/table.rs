//! What a bench measured, as rows of one page for all benches: docs/BENCHMARKS.md.
//!
//! `OPS_BENCH=write` writes the page: the rows of this bench replace those of its last run, all others stay as they are.
//! `OPS_BENCH=short` makes every bench shorter, to see that it works; its figures say little and go to
//! target/BENCHMARKS.md. A word after `--` runs only the part of a bench that has it in its name; a part is written to no
//! page.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The page up to its first table.
const HEAD: &str = "# Benchmarks

Written by `make performance`; do not edit it by hand. `docs/PERFORMANCE.md` says what bounds the figures.

Ours and what stands beside it were measured in the same run, in turn, on the same cores: a floor, or another program. The
ratio says how many times better ours is: of rates (`/s`) ours divided by the other, of all else the other divided by ours.
Of several rounds the median is shown, with the least and the most.

## Runs

A bench that is not run keeps the rows of its last run. *Load* is how many processes wanted a core when the bench began.

| bench | commit | day | machine | load | beside | took |
|---|---|---|---|---|---|---|
";
/// What comes between the tables.
const FIGURES: &str = "
## Figures

| bench | case | ours | beside | ratio | goal | |
|---|---|---|---|---|---|---|
";

/// One case: what was measured of ours and of what stands beside it, a figure a round.
#[derive(Default)]
pub struct Row<'a> {
    pub case: String,
    /// Of both figures. If it ends in `/s` more is better, else less.
    pub unit: &'a str,
    pub ours: Vec<f64>,
    /// What stands beside; empty if nothing does.
    pub beside: &'a str,
    pub theirs: Vec<f64>,
    /// A goal: the ratio is at least this.
    pub least: Option<f64>,
    /// A goal: ours is at most this.
    pub most: Option<f64>,
}

impl Row<'_> {
    /// How many times better ours is, a number a round; none where one was too short to be measured.
    fn ratios(&self) -> Vec<f64> {
        let more = self.unit.ends_with("/s");
        let rounds = self.ours.iter().zip(&self.theirs);
        rounds
            .map(|(o, t)| if more { o / t } else { t / o })
            .filter(|ratio| ratio.is_finite())
            .collect()
    }

    fn line(&self, bench: &str) -> String {
        let ratios = self.ratios();
        let beside = match self.beside {
            "" => "–".to_owned(),
            name => format!("{name}: {} {}", shown(&self.theirs), self.unit),
        };
        let ratio = match ratios.as_slice() {
            [] => "–".to_owned(),
            some => format!("{} ×", shown(some)),
        };
        let (goal, met) = match (self.least, self.most) {
            // What could not be measured is no goal that was met or missed.
            (Some(least), _) if ratios.is_empty() => (format!("≥ {} ×", figure(least)), "–"),
            (Some(least), _) => (
                format!("≥ {} ×", figure(least)),
                verdict(median(&ratios) >= least),
            ),
            (None, Some(most)) => (
                format!("≤ {} {}", figure(most), self.unit),
                verdict(median(&self.ours) <= most),
            ),
            (None, None) => ("–".to_owned(), "–"),
        };
        let case = self.case.replace('|', "\\|");
        format!(
            "| `{bench}` | {case} | {} {} | {beside} | {ratio} | {goal} | {met} |",
            shown(&self.ours),
            self.unit
        )
    }
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "**missed**" }
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median, and the span if there are several.
fn shown(figures: &[f64]) -> String {
    let middle = figure(median(figures));
    let least = figures.iter().copied().fold(f64::INFINITY, f64::min);
    let most = figures.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match figures.len() {
        0 | 1 => middle,
        _ => format!("{middle} ({} – {})", figure(least), figure(most)),
    }
}

/// A whole number as it is, any other with three digits that say something, or four from a thousand on.
pub fn figure(value: f64) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    if value.fract() != 0.0 && value.abs() < 1_000.0 {
        let digits = 2 - value.abs().log10().floor() as i32;
        return format!("{value:.*}", digits.clamp(0, 6) as usize);
    }
    let step = match value.fract() {
        0.0 => 1.0,
        _ => 10_f64.powi(value.abs().log10().floor() as i32 - 3),
    };
    let whole = format!("{:.0}", (value / step).round() * step);
    let mut text = String::new();
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The rows of one bench.
pub struct Table {
    bench: &'static str,
    /// Only parts with this in their name are run.
    pub word: Option<String>,
    /// The programs beside, as their Debian packages are called.
    peers: &'static [&'static str],
    /// The mode of `OPS_BENCH`.
    mode: String,
    load: String,
    begun: Instant,
    rows: Vec<String>,
}

impl Table {
    /// For one bench, at its begin.
    pub fn open(bench: &'static str, peers: &'static [&'static str]) -> Self {
        let mode = std::env::var("OPS_BENCH").unwrap_or_default();
        assert!(
            ["", "short", "write"].contains(&mode.as_str()),
            "OPS_BENCH is `short` or `write`"
        );
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            bench,
            word: std::env::args().skip(1).find(|a| !a.starts_with('-')),
            peers,
            mode,
            load: load.split(' ').next().unwrap_or("?").to_owned(),
            begun: Instant::now(),
            rows: Vec::new(),
        }
    }

    /// One of two sizes: the first unless the run is a short one.
    pub fn size<T>(&self, long: T, short: T) -> T {
        if self.mode == "short" { short } else { long }
    }

    /// A case that was measured.
    pub fn row(&mut self, row: Row) {
        self.rows.push(row.line(self.bench));
    }

    /// Writes the page, as far as it is wanted.
    pub fn write(self) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let page: PathBuf = match self.mode.as_str() {
            "write" => root.join("docs/BENCHMARKS.md"),
            "short" => root.join("target/BENCHMARKS.md"),
            _ => return,
        };
        if self.word.is_some() {
            println!("a part of a bench is written to no page:");
            self.rows.iter().for_each(|row| println!("{row}"));
            return;
        }
        let run = format!(
            "| `{}` | {} | {} | {} | {} | {} | {} s |",
            self.bench,
            commit(root),
            chrono::Utc::now().format("%Y-%m-%d"),
            machine(),
            self.load,
            versions(self.peers),
            self.begun.elapsed().as_secs()
        );
        let old = std::fs::read_to_string(&page).unwrap_or_default();
        std::fs::write(&page, merged(&old, self.bench, run, self.rows)).expect("write the page");
        println!("written to {}", page.display());
    }
}

/// The page with the rows of one bench replaced.
fn merged(old: &str, bench: &'static str, run: String, rows: Vec<String>) -> String {
    let (old_runs, old_figures) = old.split_once("## Figures").unwrap_or((old, ""));
    let (mut runs, mut figures) = (by_bench(old_runs), by_bench(old_figures));
    let name = format!("`{bench}`");
    runs.insert(name.clone(), vec![run]);
    figures.insert(name, rows);
    let all: Vec<&String> = figures.values().flatten().collect();
    let ending = |end: &str| all.iter().filter(|row| row.ends_with(end)).count();
    let mut page = String::from(HEAD);
    for row in runs.values().flatten() {
        let _ = writeln!(page, "{row}");
    }
    page.push_str(FIGURES);
    for row in &all {
        let _ = writeln!(page, "{row}");
    }
    let (met, missed) = (ending("| met |"), ending("| **missed** |"));
    let _ = writeln!(page, "\nOf {} goals {met} are met.", met + missed);
    page
}

/// The rows of a table of the page, by the name in their first column.
fn by_bench(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in text.lines().filter(|l| l.starts_with("| `")) {
        let name = row.split(' ').nth(1).unwrap_or_default();
        found
            .entry(name.to_owned())
            .or_default()
            .push(row.to_owned());
    }
    found
}

/// What a program prints, without the space around it; `None` if it fails.
fn told(root: &Path, program: &str, args: &[&str]) -> Option<String> {
    let out = Command::new(program)
        .args(args)
        .current_dir(root)
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    out.status.success().then_some(text)
}

/// The commit that was measured; it says so if the tree is not that of the commit.
fn commit(root: &Path) -> String {
    let Some(commit) = told(root, "git", &["rev-parse", "--short", "HEAD"]) else {
        return "unknown".to_owned();
    };
    let changed = [
        "diff",
        "--quiet",
        "HEAD",
        "--",
        "src",
        "benches",
        "Cargo.lock",
    ];
    match told(root, "git", &changed) {
        Some(_) => commit,
        None => format!("{commit} and changes"),
    }
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib: String = text.lines().next().unwrap_or("").to_owned();
    let kib: String = kib.chars().filter(char::is_ascii_digit).collect();
    let gib = kib.parse::<f64>().unwrap_or(0.0) / 1_048_576.0;
    format!("{cores} cores, {gib:.0} GiB")
}

/// The versions of Debian packages.
fn versions(peers: &[&str]) -> String {
    let each = peers.iter().map(|peer| {
        let version = told(
            Path::new("."),
            "dpkg-query",
            &["-W", "-f", "${Version}", peer],
        );
        format!("{peer} {}", version.as_deref().unwrap_or("not installed"))
    });
    match peers {
        [] => "–".to_owned(),
        _ => each.collect::<Vec<_>>().join(", "),
    }
}
