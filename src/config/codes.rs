//! The codes of problems: stable, one idea each. `docs/PROBLEMS.md` is this table, and a section for each.

/// The text is not YAML.
pub const SYNTAX: &str = "OPS-Y001";
/// A key is written twice in one mapping.
pub const DUPLICATE_KEY: &str = "OPS-Y002";
/// A key or list item has no value.
pub const EMPTY_VALUE: &str = "OPS-Y003";
/// The file is too large, too deep, or its aliases grow beyond the bound.
pub const TOO_MUCH: &str = "OPS-Y004";
/// A key is not a plain word.
pub const KEY_SHAPE: &str = "OPS-Y005";
/// More problems than are listed.
pub const TOO_MANY: &str = "OPS-Y006";
/// A value has the wrong shape: a list for a word, a word for a mapping.
pub const RULE_SHAPE: &str = "OPS-R001";
/// A template in a label or annotation does not parse.
pub const TEMPLATE: &str = "OPS-R002";
/// A PromQL expression cannot be evaluated as it is written.
pub const EXPR: &str = "OPS-R003";
/// A rule has a key that does not exist.
pub const RULE_KEY: &str = "OPS-R004";
/// A rule lacks a key it needs.
pub const RULE_MISSING: &str = "OPS-R005";
/// `metric` is not a metric's name or a selector.
pub const SELECTOR: &str = "OPS-R006";
/// A value is not a duration, number, or one of the allowed words.
pub const RULE_VALUE: &str = "OPS-R007";
/// A threshold is not a number with an optional sign.
pub const THRESHOLD: &str = "OPS-R008";
/// A guard (`when`) does not parse or is not true or false.
pub const GUARD: &str = "OPS-R009";
/// A guard uses a name that is no aggregate or function.
pub const GUARD_NAME: &str = "OPS-R010";
/// Two keys of a rule exclude each other.
pub const CONFLICT: &str = "OPS-R011";
/// A label has an invalid or reserved name.
pub const LABEL: &str = "OPS-R012";
/// A `notify` entry is not an address, a receiver or a webhook.
pub const NOTIFY: &str = "OPS-R013";
/// A `notify` entry is of a kind that cannot be reached yet (warning).
pub const NOTIFY_KIND: &str = "OPS-R014";
/// `action` is not VERB:NAME.
pub const ACTION: &str = "OPS-R015";
/// A script is not below `scripts/`.
pub const SCRIPT_PATH: &str = "OPS-R016";
/// A runbook is neither a URL nor a path below `runbooks/`.
pub const RUNBOOK_PATH: &str = "OPS-R017";
/// A key is accepted but not acted on yet (warning).
pub const RULE_LATER: &str = "OPS-R018";
/// A rule pages a receiver that the settings do not name.
pub const UNKNOWN_RECEIVER: &str = "OPS-R020";
/// A script that a rule names does not exist.
pub const NO_SCRIPT: &str = "OPS-R021";
/// A runbook that a rule names does not exist (warning).
pub const NO_RUNBOOK: &str = "OPS-R022";
/// Two rules of one file have the same name and labels.
pub const DUPLICATE_RULE: &str = "OPS-R023";
/// Nobody is told when a rule fires (warning).
pub const NOBODY: &str = "OPS-R024";
/// A group has no name, or that of another group of the file.
pub const GROUP_NAME: &str = "OPS-R025";
/// A recording rule has a name or key that it cannot have.
pub const RECORD: &str = "OPS-R026";
/// Prometheus reads only the first document of a rule file; this is a later one (warning).
pub const LATER_DOCUMENT: &str = "OPS-R027";
/// A `verify` can say nothing about what came after a heal.
pub const VERIFY: &str = "OPS-R028";
/// A rate looks back less than twice as long as its group waits between evaluations (warning).
pub const SHORT_RANGE: &str = "OPS-R030";
/// A label's template asks for the value, so that each value is another alert (warning).
pub const VALUE_LABEL: &str = "OPS-R031";
/// An alert can never fire (warning).
pub const NEVER: &str = "OPS-R032";
/// An alert fires whatever the samples say (warning).
pub const ALWAYS: &str = "OPS-R033";
/// A rule is written twice, in one file or in two (warning).
pub const SAME_RULE: &str = "OPS-R034";
/// An alert's expression compares nothing (warning).
pub const NO_CONDITION: &str = "OPS-R035";
/// A metric that the running engine does not have (warning).
pub const UNKNOWN_METRIC: &str = "OPS-R036";
/// The folder of rule files cannot be read (warning).
pub const NO_FOLDER: &str = "OPS-L001";
/// A file or folder is there and cannot be read, or the settings are gone.
pub const UNREAD: &str = "OPS-L002";
/// A setting has the wrong shape.
pub const SETTING_SHAPE: &str = "OPS-S001";
/// A setting does not exist.
pub const SETTING_KEY: &str = "OPS-S002";
/// A setting's value cannot be used.
pub const SETTING_VALUE: &str = "OPS-S003";
/// A setting is accepted but not acted on (warning).
pub const SETTING_LATER: &str = "OPS-S004";
/// A required setting is missing.
pub const SETTING_MISSING: &str = "OPS-S005";
/// A secret cannot be read, or is given in two ways.
pub const SECRET: &str = "OPS-S006";
/// Two receivers or tokens have the same name.
pub const DUPLICATE_NAME: &str = "OPS-S007";
/// A route or fallback names a receiver that does not exist, or fallbacks form a circle.
pub const RECEIVER_REF: &str = "OPS-S008";
/// A value in a test file has the wrong shape.
pub const TEST_SHAPE: &str = "OPS-T001";
/// A test file has a key that does not exist.
pub const TEST_KEY: &str = "OPS-T002";
/// A check in a test file lacks what it is about.
pub const TEST_MISSING: &str = "OPS-T003";
/// A value in a test file is no duration, number, time or one of the allowed words.
pub const TEST_VALUE: &str = "OPS-T004";
/// A series or sample in a test file is not in the notation of series.
pub const TEST_SERIES: &str = "OPS-T005";
/// An expression under test cannot be evaluated as it is written.
pub const TEST_EXPR: &str = "OPS-T006";
/// A group is named twice in the order of groups.
pub const TEST_ORDER: &str = "OPS-T007";
/// Series after this one are not loaded (warning).
pub const TEST_SERIES_END: &str = "OPS-T008";

/// Every code with what it means.
pub const ALL: &[(&str, &str)] = &[
    (SYNTAX, "the text is not YAML"),
    (DUPLICATE_KEY, "a key is written twice in one mapping"),
    (EMPTY_VALUE, "a key or list item has no value"),
    (
        TOO_MUCH,
        "the file is too large, too deep, or its aliases grow beyond the bound",
    ),
    (KEY_SHAPE, "a key is not a plain word"),
    (TOO_MANY, "a file has more problems than are listed"),
    (
        RULE_SHAPE,
        "a value has the wrong shape: a list for a word, a word for a mapping",
    ),
    (
        TEMPLATE,
        "a template in a label or annotation does not parse",
    ),
    (
        EXPR,
        "a PromQL expression cannot be evaluated as it is written",
    ),
    (RULE_KEY, "a rule has a key that does not exist"),
    (RULE_MISSING, "a rule lacks a key it needs"),
    (SELECTOR, "`metric` is not a metric's name or a selector"),
    (
        RULE_VALUE,
        "a value is not a duration, number, or one of the allowed words",
    ),
    (
        THRESHOLD,
        "a threshold is not a number with an optional sign",
    ),
    (
        GUARD,
        "a guard (`when`) does not parse or is not true or false",
    ),
    (
        GUARD_NAME,
        "a guard uses a name that is no aggregate or function",
    ),
    (CONFLICT, "two keys of a rule exclude each other"),
    (LABEL, "a label has an invalid or reserved name"),
    (
        NOTIFY,
        "a `notify` entry is not an address, a receiver or a webhook",
    ),
    (
        NOTIFY_KIND,
        "a `notify` entry is of a kind that cannot be reached yet (warning)",
    ),
    (ACTION, "`action` is not VERB:NAME"),
    (SCRIPT_PATH, "a script is not below `scripts/`"),
    (
        RUNBOOK_PATH,
        "a runbook is neither a URL nor a path below `runbooks/`",
    ),
    (
        RULE_LATER,
        "a key is accepted but not acted on yet (warning)",
    ),
    (
        UNKNOWN_RECEIVER,
        "a rule pages a receiver that the settings do not name",
    ),
    (NO_SCRIPT, "a script that a rule names does not exist"),
    (
        NO_RUNBOOK,
        "a runbook that a rule names does not exist (warning)",
    ),
    (
        DUPLICATE_RULE,
        "two rules of one file have the same name and labels",
    ),
    (NOBODY, "nobody is told when a rule fires (warning)"),
    (
        GROUP_NAME,
        "a group has no name, or that of another group of the file",
    ),
    (
        RECORD,
        "a recording rule has a name or key that it cannot have",
    ),
    (
        LATER_DOCUMENT,
        "a document after the first, which Prometheus would not read (warning)",
    ),
    (
        VERIFY,
        "a `verify` can say nothing about what came after a heal",
    ),
    (
        SHORT_RANGE,
        "a rate looks back less than twice as long as its group waits between evaluations (warning)",
    ),
    (
        VALUE_LABEL,
        "a label's template asks for the value, so that each value is another alert (warning)",
    ),
    (NEVER, "an alert can never fire (warning)"),
    (ALWAYS, "an alert fires whatever the samples say (warning)"),
    (
        SAME_RULE,
        "a rule is written twice, in one file or in two (warning)",
    ),
    (
        NO_CONDITION,
        "an alert's expression compares nothing (warning)",
    ),
    (
        UNKNOWN_METRIC,
        "a metric that the running engine does not have (warning)",
    ),
    (
        NO_FOLDER,
        "the folder of rule files cannot be read; the rules that were in force run on (warning)",
    ),
    (
        UNREAD,
        "a file or folder is there and cannot be read, or the settings are gone; what was in force runs on",
    ),
    (SETTING_SHAPE, "a setting has the wrong shape"),
    (SETTING_KEY, "a setting does not exist"),
    (SETTING_VALUE, "a setting's value cannot be used"),
    (
        SETTING_LATER,
        "a setting is accepted but not acted on (warning)",
    ),
    (SETTING_MISSING, "a required setting is missing"),
    (SECRET, "a secret cannot be read, or is given in two ways"),
    (DUPLICATE_NAME, "two receivers or tokens have the same name"),
    (
        RECEIVER_REF,
        "a route or fallback names a receiver that does not exist, or fallbacks form a circle",
    ),
    (TEST_SHAPE, "a value in a test file has the wrong shape"),
    (TEST_KEY, "a test file has a key that does not exist"),
    (
        TEST_MISSING,
        "a check in a test file lacks what it is about",
    ),
    (
        TEST_VALUE,
        "a value in a test file is not a duration, number, time or one of the allowed words",
    ),
    (
        TEST_SERIES,
        "a series or sample in a test file is not in the notation of series",
    ),
    (
        TEST_EXPR,
        "an expression under test cannot be evaluated as it is written",
    ),
    (TEST_ORDER, "a group is named twice in `group_eval_order`"),
    (
        TEST_SERIES_END,
        "input series that are not loaded, as in promtool (warning)",
    ),
];

/// The manual: this table, and a section for every code.
pub const MANUAL: &str = include_str!("../../docs/PROBLEMS.md");

/// What the manual says about a code: its section, without the heading.
pub fn section(code: &str) -> Option<&'static str> {
    let (_, rest) = MANUAL.split_once(&format!("\n## {code}: "))?;
    let (_, body) = rest.split_once('\n')?;
    Some(body.split("\n## ").next().unwrap_or(body).trim())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;

    use super::*;
    use crate::config::{
        Lint, Settings, SourceFile, check_references, groups, read_rules, read_settings, read_tests,
    };

    #[test]
    fn the_manual_begins_with_this_table() {
        let mut page = String::from(
            "# Problems\n\nEverything `ops check` and `ops test` can say; `ops explain CODE` shows a section of this page. A code keeps its meaning for\never.\n\n| code | means |\n|---|---|\n",
        );
        for (code, means) in ALL {
            let _ = writeln!(page, "| `{code}` | {means} |");
        }
        let written = MANUAL.split_once("\n## ").map_or("", |(_, rest)| rest);
        let _ = write!(page, "\n## {written}");
        expect_test::expect_file!["../../docs/PROBLEMS.md"].assert_eq(&page);
    }

    #[test]
    fn every_code_has_a_section_in_order() {
        let headings: Vec<&str> = MANUAL
            .lines()
            .filter_map(|l| l.strip_prefix("## "))
            .collect();
        let wanted: Vec<String> = ALL.iter().map(|(c, m)| format!("{c}: {m}")).collect();
        assert_eq!(headings, wanted);
    }

    /// Cannot be shown by a short file.
    const WITHOUT_EXAMPLE: [&str; 3] = [TOO_MANY, NO_FOLDER, UNREAD];

    #[test]
    fn every_section_says_what_it_means_shows_it_and_says_what_to_do() {
        for (code, _) in ALL {
            let parts: Vec<&str> = section(code).unwrap_or_default().split("```").collect();
            let [means, example, to_do] = parts.as_slice() else {
                panic!("{code}: not prose, example, prose");
            };
            assert!(
                !means.trim().is_empty() && !to_do.trim().is_empty(),
                "{code}"
            );
            if WITHOUT_EXAMPLE.contains(code) {
                continue;
            }
            let text = example.strip_prefix("yaml\n").unwrap_or_default();
            let found = codes_of(text, code);
            assert!(found.contains(code), "{code} is not in {found:?}");
        }
    }

    /// What is said of a file in a project that has nothing else, but for one metric.
    fn codes_of(text: &str, of: &str) -> Vec<&'static str> {
        let file = SourceFile {
            path: "example.yml".to_owned(),
            shown: "example.yml".to_owned(),
            text: text.to_owned(),
        };
        let problems = if of.starts_with("OPS-S") {
            read_settings(&file, &|_| Err("not there".to_owned())).1
        } else if of.starts_with("OPS-T") {
            let (tests, mut problems) = read_tests(&file);
            problems.extend(tests.tests.iter().flat_map(|t| t.problems().cloned()));
            problems
        } else {
            let (rules, mut problems) = read_rules(&file);
            problems.extend(check_references(
                &file,
                &rules,
                &Settings::default(),
                &|_| false,
            ));
            let mut lint = Lint::new(Some(BTreeSet::from(["county_api_ms".to_owned()])));
            lint.learn(&file);
            problems.extend(lint.look(&file, groups::INTERVAL));
            problems
        };
        problems.iter().map(|p| p.code).collect()
    }
}
