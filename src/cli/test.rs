//! `ops test FILE…`: plays scenario files in virtual time, with the user's own rules, and compares the transcript;
//! plays conformance scripts of PromQL (`.test`) and compares what they evaluate to.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use crate::config::{SourceFile, read_rules};
use crate::engine::policy::Policy;
use crate::model::written::Severity;
use crate::sim::promqltest;
use crate::sim::scenario::Scenario;

/// Plays each file; exit code 1 if a transcript differs or a file cannot be played.
pub fn run(files: &[PathBuf]) -> ExitCode {
    let update = std::env::var("UPDATE_EXPECT").is_ok_and(|v| v == "1");
    let (mut passed, mut failed) = (0, 0);
    for file in files {
        let is_script = file.extension().is_some_and(|e| e == "test");
        let played = if is_script {
            play_script(file)
        } else {
            play(file, update)
        };
        match played {
            Ok(()) => {
                passed += 1;
                println!("ok    {}", file.display());
            }
            Err(why) => {
                failed += 1;
                println!("FAIL  {}\n{why}", file.display());
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn play(file: &Path, update: bool) -> Result<(), String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("  {e}"))?;
    let scenario = Scenario::parse(&text).map_err(|e| format!("  {}:{e}", file.display()))?;
    let folder = file.parent().unwrap_or(Path::new(".")).to_owned();
    let world = scenario
        .play(&move |names: &[String]| policy(&folder, names), &mut |_| {})
        .map_err(|e| format!("  {e}"))?;
    let got = world.transcript.join("\n") + "\n";
    if got == scenario.expected {
        return Ok(());
    }
    if update {
        let head = text.split("\n---").next().unwrap_or(&text);
        std::fs::write(file, format!("{}\n---\n{got}", head.trim_end()))
            .map_err(|e| format!("  {e}"))?;
        return Ok(());
    }
    Err(difference(&scenario.expected, &got))
}

fn play_script(file: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("  {e}"))?;
    let checked = promqltest::play(&text, &promqltest::settings())
        .map_err(|e| format!("  {}:{e}", file.display()))?;
    let failed: Vec<String> = checked
        .iter()
        .filter(|c| c.difference.is_some())
        .map(|c| format!("  {}", c.to_string().replace('\n', "\n  ")))
        .collect();
    match failed.len() {
        0 => Ok(()),
        n => Err(format!(
            "{}\n  {n} of {} evaluations differ",
            failed.join("\n"),
            checked.len()
        )),
    }
}

/// The policy of rule files named from the scenario's folder.
fn policy(folder: &Path, names: &[String]) -> Result<Arc<Policy>, String> {
    let mut policy = Policy::default();
    for name in names {
        let path = folder.join(name);
        let text =
            std::fs::read_to_string(&path).map_err(|e| format!("rules {}: {e}", path.display()))?;
        let file = SourceFile {
            path: name.clone(),
            shown: path.display().to_string(),
            text,
        };
        let (rules, problems) = read_rules(&file);
        let errors: Vec<String> = problems
            .iter()
            .filter(|p| p.severity == Severity::Error)
            .map(|p| p.render(&file.text))
            .collect();
        if !errors.is_empty() {
            return Err(errors.join("\n"));
        }
        policy.rules.extend(rules.rules);
        policy.groups.extend(rules.groups);
    }
    Ok(Arc::new(policy))
}

/// Lines that both share at the ends, once; what differs between them, `-` expected and `+` found.
fn difference(expected: &str, got: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), got.lines().collect());
    let head = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let tail = a[head..]
        .iter()
        .rev()
        .zip(b[head..].iter().rev())
        .take_while(|(x, y)| x == y)
        .count();
    let line = |sign: char, l: &&str| format!("  {sign} {l}\n");
    let mut out: String = a[head.saturating_sub(2)..head]
        .iter()
        .map(|l| line(' ', l))
        .collect();
    out.extend(a[head..a.len() - tail].iter().map(|l| line('-', l)));
    out.extend(b[head..b.len() - tail].iter().map(|l| line('+', l)));
    out.extend(a[a.len() - tail..].iter().take(2).map(|l| line(' ', l)));
    out
}
