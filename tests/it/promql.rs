//! The PromQL parser against real expressions and against another parser, written by others from the same grammar.
//!
//! The expressions are not part of the project; where they are absent, the tests say so and pass.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use ops::config::yaml::{self, Kind, Node};
use ops::engine::promql::{Dialect, parse};

use crate::corpus;

/// Every `expr:` and `query:` of a YAML text.
fn expressions(text: &str) -> Vec<String> {
    fn walk(node: &Node, found: &mut Vec<String>) {
        match &node.kind {
            Kind::Null | Kind::Scalar { .. } => {}
            Kind::Seq(items) => items.iter().for_each(|item| walk(item, found)),
            Kind::Map(pairs) => {
                for (key, value) in pairs {
                    match (key.text.as_str(), &value.kind) {
                        ("expr" | "query", Kind::Scalar { text, .. }) => found.push(text.clone()),
                        _ => walk(value, found),
                    }
                }
            }
        }
    }
    let mut found = Vec::new();
    let (documents, _) = yaml::documents(text);
    documents.iter().for_each(|doc| walk(doc, &mut found));
    found
}

/// Every expression of a conformance script.
fn evals(text: &str) -> Vec<String> {
    let evals = text.lines().filter_map(|line| {
        let (command, rest) = line.trim().split_once(' ')?;
        let rest = rest.trim_start();
        let rest = match command.strip_prefix("eval") {
            Some(_) if rest.starts_with("instant") => rest.strip_prefix("instant at ")?,
            Some(_) => rest.split_once(" step ")?.1,
            None => return None,
        };
        Some(rest.trim_start().split_once(' ')?.1.trim().to_owned())
    });
    evals.collect()
}

/// What the other parser makes of a text. It panics on some.
fn other(text: &str) -> Result<String, String> {
    std::panic::catch_unwind(|| promql_parser::parser::parse(text).map(|expr| expr.to_string()))
        .unwrap_or_else(|_| Err("panic".to_owned()))
}

/// How often the two agree, and where they do not.
#[derive(Default)]
struct Agreement {
    both_read: usize,
    both_refuse: Vec<String>,
    only_we_read: Vec<String>,
    only_it_reads: Vec<String>,
    printed_otherwise: Vec<(String, String)>,
}

impl Agreement {
    fn of(expressions: impl IntoIterator<Item = String>) -> Self {
        let mut sum = Self::default();
        for text in expressions {
            match (parse(&text, Dialect::ALL), other(&text)) {
                (Ok(expr), Ok(its)) => {
                    sum.both_read += 1;
                    let ours = expr.to_string();
                    if plainer(&ours) != plainer(&its) {
                        sum.printed_otherwise.push((ours, its));
                    }
                }
                (Ok(_), Err(_)) => sum.only_we_read.push(text),
                (Err(error), Ok(_)) => sum.only_it_reads.push(error.located(&text)),
                (Err(_), Err(_)) => sum.both_refuse.push(text),
            }
        }
        sum
    }
}

/// Without the signs of infinity, which the other parser leaves out: Prometheus writes `+Inf`.
fn plainer(printed: &str) -> String {
    printed.replace("+Inf", "Inf").replace("(inf)", "(Inf)")
}

/// Expressions of rule files, each file's after the other.
pub(crate) fn rules(folder: &str) -> Option<Vec<String>> {
    let files = corpus::files(&corpus::folder(folder)?, &["yml", "yaml"]);
    let texts = files
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap());
    Some(texts.flat_map(|text| expressions(&text)).collect())
}

#[test]
fn every_rule_of_the_field_is_read_and_printed_as_by_another_parser() {
    for (folder, least) in [("rules", 2_500), ("ruletests", 700)] {
        let Some(rules) = rules(folder) else { return };
        let seen = Agreement::of(rules);
        assert!(seen.both_read >= least, "{folder}: {}", seen.both_read);
        assert_eq!(seen.only_we_read, [""; 0], "{folder}");
        assert_eq!(seen.only_it_reads, [""; 0], "{folder}");
        assert_eq!(seen.printed_otherwise, [], "{folder}");
        let refused: &[&str] = match folder {
            // A test of a tool that must say that a file is no rule file.
            "ruletests" => &["test +"],
            _ => &[],
        };
        assert_eq!(seen.both_refuse, refused, "{folder}");
    }
}

/// What the other parser does not know, which is why it cannot be the judge there.
fn beyond_the_other(text: &str) -> bool {
    let words = [
        "anchored",
        "smoothed",
        "</",
        ">/",
        "step()",
        "STEP()",
        "range()",
        "start()",
        "end()",
        "min_of(",
        "max_of(",
        "start_timestamp(",
        "histogram_quantiles(",
    ];
    let in_brackets = || {
        let ranges = text
            .split('[')
            .skip(1)
            .filter_map(|rest| rest.split(']').next());
        let offsets = text
            .split("offset ")
            .skip(1)
            .filter_map(|rest| rest.split(' ').next());
        ranges
            .chain(offsets)
            .any(|length| length.contains(['+', '-', '*', '/', '%', '^', '(']))
    };
    let any_label = text.contains("info(")
        && (text.contains("=~\".*") || text.contains("!=") || text.contains("\"\""));
    words.iter().any(|word| text.contains(word)) || in_brackets() || any_label
}

#[test]
fn every_conformance_script_is_read() {
    let Some(folder) = corpus::folder("promqltest") else {
        return;
    };
    let scripts = corpus::files(&folder, &["test"]).into_iter();
    let all = scripts.flat_map(|path| evals(&std::fs::read_to_string(path).unwrap()));
    let seen = Agreement::of(all);
    assert_eq!(seen.only_it_reads, [""; 0]);
    // `smoothed` and `anchored` with functions that do not know them: these must fail.
    assert_eq!(seen.both_refuse.len(), 5, "{:?}", seen.both_refuse);
    assert!(
        seen.both_refuse
            .iter()
            .all(|text| text.contains("ed)") || text.contains("ed,"))
    );
    let surprises: Vec<&String> = seen
        .only_we_read
        .iter()
        .filter(|t| !beyond_the_other(t))
        .collect();
    assert_eq!(surprises, [""; 0]);
    // It makes a character of every escaped byte, and drops a plus before a vector.
    let surprises: Vec<_> = seen
        .printed_otherwise
        .iter()
        .filter(|(ours, _)| {
            !ours.contains("\\x") && !ours.starts_with('+') && !ours.contains("fill (NaN)")
        })
        .collect();
    assert!(surprises.is_empty(), "{surprises:?}");
    let total = seen.both_read + seen.only_we_read.len() + seen.both_refuse.len();
    assert!(total > 1_300, "{total}");
}

/// The queries of the compliance tester with all their variants.
fn variants(query: &str) -> Vec<String> {
    let arguments = BTreeMap::from([
        ("range", "1s 15s 1m 5m 15m 1h"),
        ("offset", "1m 5m 10m"),
        ("simpleAggrOp", "sum avg max min count stddev stdvar"),
        (
            "simpleTimeAggrOp",
            "sum avg max min count stddev stdvar absent last",
        ),
        ("topBottomOp", "topk bottomk"),
        ("quantile", "-0.5 0.1 0.5 0.75 0.95 0.90 0.99 1 1.5"),
        ("arithBinOp", "+ - * / % ^"),
        ("compBinOp", "== != < > <= >="),
        ("binOp", "+ - * / % ^ == != < > <= >="),
        (
            "simpleMathFunc",
            "abs ceil floor exp sqrt ln log2 log10 round",
        ),
        ("extrapolatedRateFunc", "delta rate increase"),
        ("clampFunc", "clamp_min clamp_max"),
        ("instantRateFunc", "idelta irate"),
        (
            "dateFunc",
            "day_of_month day_of_week days_in_month hour minute month year",
        ),
        ("smoothingFactor", "0.1 0.5 0.8"),
        ("trendFactor", "0.1 0.5 0.8"),
    ]);
    let mut made = vec![query.to_owned()];
    for (name, values) in arguments {
        let place = format!("{{{{.{name}}}}}");
        if query.contains(&place) {
            made = made
                .iter()
                .flat_map(|text| values.split(' ').map(|value| text.replace(&place, value)))
                .collect();
        }
    }
    made
}

#[test]
fn every_compliance_query_is_read() {
    let Some(queries) = rules("promql-compliance") else {
        return;
    };
    let all: Vec<String> = queries.iter().flat_map(|query| variants(query)).collect();
    assert_eq!(all.len(), 539);
    let seen = Agreement::of(all);
    assert_eq!(seen.only_we_read, [""; 0]);
    assert_eq!(seen.only_it_reads, [""; 0]);
    assert_eq!(seen.printed_otherwise, []);
    assert_eq!(seen.both_refuse, ["{__name__=~\".*\"}"]);
}

#[test]
fn bad_rules_are_refused_in_the_words_of_prometheus() {
    let Some(folder) = corpus::folder("rules-format") else {
        return;
    };
    let verdicts = std::fs::read_to_string(folder.join("EXPECTED.tsv")).unwrap();
    let mut compared = 0;
    for line in verdicts.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [file, _, verdict, told] = columns[..] else {
            continue;
        };
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let problems: Vec<String> = expressions(&text)
            .iter()
            .filter_map(|expr| Some(parse(expr, Dialect::PLAIN).err()?.located(expr)))
            .collect();
        if verdict == "accepted" {
            assert_eq!(problems, [""; 0], "{file}");
        }
        for told in told.split("could not parse expression: ").skip(1) {
            // What follows is the place of the next problem in the file, or the end of the report.
            let words: Vec<&str> = told.split(' ').collect();
            let end = words
                .iter()
                .skip(1)
                .position(|w| w.ends_with(':') && w.starts_with(char::is_numeric));
            let end = end.map_or(words.len(), |end| end + 1);
            let told = words[..end].join(" ").replace(" Checking FILE ", "");
            let known = problems
                .iter()
                .any(|problem| problem.starts_with(told.trim()));
            assert!(known, "{file}: {told}\n{problems:#?}");
            compared += 1;
        }
    }
    assert!(compared >= 5, "{compared}");
}

/// A text with one to three characters changed, left out or doubled.
fn slip(text: &str, changes: &[(prop::sample::Index, u8, char)]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for (at, what, c) in changes {
        if chars.is_empty() {
            break;
        }
        let at = at.index(chars.len());
        match what {
            0 => chars[at] = *c,
            1 => {
                chars.remove(at);
            }
            _ => chars.insert(at, chars[at]),
        }
    }
    chars.into_iter().collect()
}

#[test]
fn a_slip_of_the_pen_in_a_real_rule_is_read_or_refused() {
    let Some(rules) = rules("rules") else { return };
    let change = (
        any::<prop::sample::Index>(),
        0..3_u8,
        "[ -~\n]".prop_map(|s| s.chars().next().unwrap()),
    );
    let changes = prop::collection::vec(change, 1..4);
    let config = ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    TestRunner::new(config)
        .run(
            &(any::<prop::sample::Index>(), changes),
            |(which, changes)| {
                let text = slip(which.get::<String>(&rules), &changes);
                match parse(&text, Dialect::ALL) {
                    Ok(expr) => {
                        let printed = expr.to_string();
                        let again = parse(&printed, Dialect::ALL);
                        prop_assert_eq!(again.map(|e| e.to_string()), Ok(printed));
                    }
                    Err(error) => prop_assert!(text.get(error.span).is_some()),
                }
                Ok(())
            },
        )
        .unwrap();
}
