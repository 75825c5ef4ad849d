//! The public conformance scripts of PromQL, as far as they are at hand.

use ops::sim::promqltest::{play, settings};

use crate::conformance::Score;
use crate::corpus;

/// Evaluations and those that passed, of each file; what differs.
pub fn scores() -> Option<(Vec<Score>, String)> {
    let folder = corpus::folder("promqltest")?;
    let (mut scores, mut failures) = (Vec::new(), String::new());
    for path in corpus::files(&folder, &["test"]) {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let checked =
            play(&text, &settings()).unwrap_or_else(|error| panic!("{file}:{error}: no script"));
        for failed in checked.iter().filter(|c| c.difference.is_some()) {
            failures.push_str(&format!("{file} {failed}\n"));
        }
        scores.push(Score {
            what: file,
            files: 1,
            cases: checked.len(),
            passed: checked.iter().filter(|c| c.difference.is_none()).count(),
        });
    }
    Some((scores, failures))
}

#[test]
fn the_public_conformance_scripts_pass() {
    let Some((scores, failures)) = scores() else {
        return;
    };
    assert!(scores.len() > 15, "too few to mean anything");
    assert!(failures.is_empty(), "\n{failures}");
}
