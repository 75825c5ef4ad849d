//! Scenarios: played with the user's own rules, the transcript compared.

use std::path::Path;
use std::sync::Arc;

use crate::cli::test::diff::difference;
use crate::cli::test::{Args, Suite};
use crate::config::{SourceFile, read_rules};
use crate::engine::policy::Policy;
use crate::model::written::Severity;
use crate::sim::scenario::Scenario;

/// Plays a scenario: one case with the file's name.
pub(super) fn run(file: &Path, text: &str, args: &Args) -> Suite {
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let mut suite = Suite::default();
    if args.wants(&name) {
        suite.case(&*name, || play(file, text).err().into_iter().collect());
    } else {
        suite.skipped = 1;
    }
    suite
}

fn play(file: &Path, text: &str) -> Result<(), String> {
    let scenario = Scenario::parse(text).map_err(|e| format!("{}:{e}", file.display()))?;
    let folder = file.parent().unwrap_or(Path::new(".")).to_owned();
    let world = scenario.play(&move |names: &[String]| policy(&folder, names), &mut |_| {})?;
    let got = world.transcript.join("\n") + "\n";
    if got == scenario.expected {
        return Ok(());
    }
    if std::env::var("UPDATE_EXPECT").is_ok_and(|v| v == "1") {
        let head = text.split("\n---").next().unwrap_or(text);
        return std::fs::write(file, format!("{}\n---\n{got}", head.trim_end()))
            .map_err(|e| e.to_string());
    }
    let before = text.split("\n---").next().unwrap_or(text);
    let line = before.lines().count() + 1;
    Err(format!(
        "{}:{line}: the transcript differs\n{}",
        file.display(),
        difference(&scenario.expected, &got)
    ))
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
