//! Conformance scripts of PromQL: each evaluation is a case.

use std::path::Path;

use crate::cli::test::{Args, Case, Suite};
use crate::sim::promqltest::{play, settings};

/// Plays a script. All of it is evaluated, as one part may load what another asks; `--run` says whose result counts.
pub(super) fn run(file: &Path, text: &str, args: &Args) -> Suite {
    let begun = std::time::Instant::now();
    let checked = match play(text, &settings()) {
        Ok(checked) => checked,
        Err(error) => return Suite::unusable(format!("{}:{error}", file.display())),
    };
    let took = begun.elapsed() / u32::try_from(checked.len().max(1)).unwrap_or(u32::MAX);
    let mut suite = Suite::default();
    for one in checked {
        let name = format!("line {}: {}", one.line, one.expr);
        if !args.wants(&name) {
            suite.skipped += 1;
            continue;
        }
        let failure = one.difference.is_some().then(|| {
            let told = one.to_string();
            format!("{}:{}", file.display(), told.trim_start_matches("line "))
        });
        suite.cases.push(Case {
            name,
            took,
            failures: failure.into_iter().collect(),
        });
    }
    suite
}
