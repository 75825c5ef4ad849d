//! How far we agree with Prometheus on files that others wrote, as a table. `make conformance` writes it down.

use std::fmt::Write as _;

use crate::{corpus, promqltest, rules, ruletest};

/// What was tried of one kind, and how much of it is as it should be.
#[derive(Clone, Debug, Default)]
pub struct Score {
    pub what: String,
    pub files: usize,
    pub cases: usize,
    pub passed: usize,
}

impl Score {
    fn line(&self) -> String {
        format!(
            "| {} | {} | {} | {} |\n",
            self.what, self.files, self.cases, self.passed
        )
    }
}

const HEAD: &str = "# Conformance

What Prometheus's own files, and those of its users, say, and how much of it `ops` does alike. Written by
`make conformance`, which plays the files beside this repository; do not edit it by hand.

| what | files | cases | passed |
|---|---|---|---|
";

const ABOUT: &str = "
A case is, of *promqltest*, an evaluation of a script of PromQL (asked in up to eleven ways, each of which must give the
expected answer); of *rules*, a rule that must load; of *templates*, a text of such a rule with `{{ … }}` in it; of
*rules-format*, a file that `promtool check rules` accepts or refuses; of *ruletests*, a test in a file for
`promtool test rules`, which counts as passed if the file's verdict is promtool's, be it good or bad.

The scripts one by one:

| script | files | cases | passed |
|---|---|---|---|
";

/// The page, unless something of it cannot be measured.
fn page() -> Option<String> {
    let (scripts, _) = promqltest::scores()?;
    let total = |what: &str, scores: &[Score]| Score {
        what: what.to_owned(),
        files: scores.iter().map(|s| s.files).sum(),
        cases: scores.iter().map(|s| s.cases).sum(),
        passed: scores.iter().map(|s| s.passed).sum(),
    };
    let suites = [
        total("promqltest", &scripts),
        rules::loads()?.0,
        rules::templates()?.0,
        rules::formats()?.0,
        ruletest::score()?,
    ];
    let mut page = String::from(HEAD);
    page.extend(suites.iter().map(Score::line));
    page.push_str(&total("all", &suites).line());
    page.push_str(ABOUT);
    page.extend(scripts.iter().map(Score::line));
    Some(page)
}

#[test]
fn the_table_is_measured() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/CONFORMANCE.md");
    let write = std::env::var_os("OPS_CONFORMANCE").is_some_and(|v| v == "write");
    if !write {
        // The figures have tests of their own; here it matters that the page is the one that is written.
        let page = std::fs::read_to_string(path).unwrap();
        assert!(page.starts_with(HEAD) && page.contains(ABOUT));
        return;
    }
    let Some(page) = page() else {
        let mut missing = String::new();
        for name in ["promqltest", "rules", "rules-format", "ruletests"] {
            if corpus::folder(name).is_none() {
                let _ = write!(missing, " {name}");
            }
        }
        panic!("the table was NOT written: these folders are not beside the repository:{missing}");
    };
    std::fs::write(path, &page).unwrap();
    println!("{page}");
}
