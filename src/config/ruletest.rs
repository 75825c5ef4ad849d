//! Tests of rules in promtool's format → checked tests, and every problem in them.
//!
//! What is wrong with the file as a whole is told of the file. A series that does not read fails its test, an expression
//! that does not read fails its check; the others are run, as promtool does.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::groups::{is_nothing, parse_number};
use crate::config::report::{Dialect, Fields, Report};
use crate::config::yaml::{Kind, Node, test_documents};
use crate::config::{SourceFile, codes};
use crate::engine::promql::ast::Expr;
use crate::engine::promql::series_text::{self, Content, SeriesLine, Written};
use crate::engine::promql::{self, parse};
use crate::model::histogram::Histogram;
use crate::model::labels::Labels;
use crate::model::time::{Duration, Timestamp};
use crate::model::written::{Problem, Severity};

/// How often rules are evaluated if the file does not say.
const INTERVAL: Duration = Duration::from_mins(1);

/// The codes that test files use.
const DIALECT: Dialect = Dialect {
    shape: codes::TEST_SHAPE,
    key: codes::TEST_KEY,
    missing: codes::TEST_MISSING,
    value: codes::TEST_VALUE,
    later: codes::TEST_KEY,
};

/// What one test file holds.
#[derive(Clone, Debug, Default)]
pub struct RuleTests {
    /// Rule files as written: paths from the test file's folder, or patterns.
    pub rule_files: Vec<String>,
    /// How often rules are evaluated, above zero.
    pub interval: Duration,
    /// Whether two numbers next to each other are equal.
    pub fuzzy: bool,
    /// Groups that are evaluated in this order.
    pub order: Vec<String>,
    /// In the order written.
    pub tests: Vec<RuleTest>,
}

/// Series, and what rules and expressions must make of them.
#[derive(Clone, Debug, Default)]
pub struct RuleTest {
    /// Its name; may be empty.
    pub name: String,
    /// The line, counted from 1.
    pub line: usize,
    /// When time begins.
    pub start: Timestamp,
    /// How far apart the samples of the series are, above zero.
    pub step: Duration,
    /// The series, each with its line.
    pub series: Vec<(usize, SeriesLine)>,
    /// Labels of the program that would send the alerts; templates see them.
    pub external_labels: Labels,
    /// Its URL.
    pub external_url: String,
    /// What must fire.
    pub alerts: Vec<AlertCheck>,
    /// What expressions must yield.
    pub exprs: Vec<ExprCheck>,
    /// Why it cannot be run, or what is doubtful about it.
    pub broken: Vec<Problem>,
}

impl RuleTest {
    /// What is wrong in it, those of its checks among them.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        let checks = self.exprs.iter().filter_map(|c| c.wanted.as_ref().err());
        self.broken.iter().chain(checks.flatten())
    }
    /// Whether it cannot be run.
    pub fn is_broken(&self) -> bool {
        self.broken.iter().any(|p| p.severity == Severity::Error)
    }
}

/// Which alerts of a name must fire at a time.
#[derive(Clone, Debug)]
pub struct AlertCheck {
    /// The line, counted from 1.
    pub line: usize,
    /// How long after the start.
    pub at: Duration,
    /// The name.
    pub name: String,
    /// These and no others.
    pub expected: Vec<ExpectedAlert>,
}

/// An alert that must fire. Unlike [`Labels`], empty values count: promtool compares them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExpectedAlert {
    /// All its labels, `alertname` among them.
    pub labels: BTreeMap<String, String>,
    /// Its annotations, expanded.
    pub annotations: BTreeMap<String, String>,
}

/// What an expression must yield at a time.
#[derive(Clone, Debug)]
pub struct ExprCheck {
    /// The line, counted from 1.
    pub line: usize,
    /// How long after the start.
    pub at: Duration,
    /// The expression as written.
    pub text: String,
    /// The expression and its result, or why they cannot be read.
    pub wanted: Result<Wanted, Vec<Problem>>,
}

/// An expression and its result.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The expression.
    pub expr: Arc<Expr>,
    /// The result, in any order.
    pub samples: Vec<ExpectedSample>,
}

/// One element of a result.
#[derive(Clone, Debug)]
pub struct ExpectedSample {
    /// Its labels, the metric's name among them.
    pub labels: Labels,
    /// Its number; zero where it is a histogram.
    pub value: f64,
    /// Its histogram.
    pub histogram: Option<Arc<Histogram>>,
}

/// Whether a text looks like a file with tests of rules, so that what is wrong with it is to be told as such.
pub fn is_test_file(text: &str) -> bool {
    let keys = ["tests", "rule_files", "group_eval_order", "fuzzy_compare"];
    let (docs, _) = test_documents(text);
    let has = |doc: &Node| match &doc.kind {
        Kind::Map(entries) => entries.iter().any(|(k, _)| keys.contains(&k.text.as_str())),
        Kind::Null | Kind::Scalar { .. } | Kind::Seq(_) => false,
    };
    docs.first().is_some_and(has)
}

/// The tests of a file, and what is wrong with the file. With an error among that, none of them counts.
pub fn read_tests(file: &SourceFile) -> (RuleTests, Vec<Problem>) {
    let mut report = Report::new(file, DIALECT);
    let (docs, faults) = test_documents(&file.text);
    report.faults(faults);
    let mut tests = RuleTests {
        interval: INTERVAL,
        ..RuleTests::default()
    };
    // Like Prometheus, only the first document is read.
    let Some(mut fields) = docs
        .first()
        .and_then(|d| report.fields(d, "a file with tests"))
    else {
        return (tests, report.finish());
    };
    let f = &mut fields;
    tests.rule_files = texts(&mut report, f.take("rule_files"));
    if let Some(interval) = f
        .take("evaluation_interval")
        .and_then(|n| report.duration(n))
        .filter(|i| !i.is_zero())
    {
        tests.interval = interval;
    }
    tests.fuzzy = f
        .take("fuzzy_compare")
        .and_then(|n| truth(&mut report, n))
        .unwrap_or(false);
    let order = f.take("group_eval_order");
    tests.order = texts(&mut report, order);
    let mut seen = BTreeSet::new();
    if let (Some(node), Some(twice)) = (order, tests.order.iter().find(|name| !seen.insert(*name)))
    {
        let message = format!("the group `{twice}` is named twice here");
        let hint = "keep one of the two";
        report.error(codes::TEST_ORDER, &node.span, message, hint);
    }
    let nodes = f.take("tests").map_or(&[][..], |n| report.list(n));
    for node in nodes.iter().filter(|n| !is_nothing(n)) {
        let read = test(&mut report, file, node, tests.interval);
        tests.tests.extend(read);
    }
    fields.finish(&mut report);
    (tests, report.finish())
}

fn test(
    report: &mut Report<'_>,
    file: &SourceFile,
    node: &Node,
    interval: Duration,
) -> Option<RuleTest> {
    let mut fields = report.fields(node, "a test")?;
    let f = &mut fields;
    // What only this test is about.
    let mut own = Report::new(file, DIALECT);
    let step = f.take("interval").and_then(|n| report.duration(n));
    let name = word(report, f, "name");
    let start = f.take("start_timestamp").and_then(|n| time(report, n));
    let external_labels = f.take("external_labels").map(|n| pairs(report, n));
    let external_url = word(report, f, "external_url");
    let series = f.take("input_series").map_or(&[][..], |n| report.list(n));
    let series = input_series(report, &mut own, file, series);
    let alerts = f
        .take("alert_rule_test")
        .map_or(&[][..], |n| report.list(n));
    let alerts = alerts.iter().filter(|n| !is_nothing(n));
    let alerts = alerts
        .filter_map(|n| alert_check(report, &mut own, file, n))
        .collect();
    let exprs = f
        .take("promql_expr_test")
        .map_or(&[][..], |n| report.list(n));
    let exprs = exprs.iter().filter(|n| !is_nothing(n));
    let exprs = exprs.filter_map(|n| expr_check(report, file, n)).collect();
    fields.finish(report);
    Some(RuleTest {
        name,
        line: line(file, node),
        start: start.unwrap_or_default(),
        step: step.filter(|s| !s.is_zero()).unwrap_or(interval),
        series,
        external_labels: external_labels.into_iter().flatten().collect(),
        external_url,
        alerts,
        exprs,
        broken: own.finish(),
    })
}

/// Reads the series one below the other: promtool writes them into one block of lines and loads that, so that an empty
/// line or a comment in one of them ends the block.
fn input_series(
    report: &mut Report<'_>,
    own: &mut Report<'_>,
    file: &SourceFile,
    nodes: &[Node],
) -> Vec<(usize, SeriesLine)> {
    let mut all = Vec::new();
    let mut ended = false;
    for node in nodes.iter().filter(|n| !is_nothing(n)) {
        let Some(mut fields) = report.fields(node, "an input series") else {
            continue;
        };
        let (name, values) = (fields.take("series"), fields.take("values"));
        let text = |report: &mut Report<'_>, node: Option<&Node>| {
            node.and_then(|n| report.text(n))
                .unwrap_or_default()
                .to_owned()
        };
        let (series, values_text) = (text(report, name), text(report, values));
        fields.finish(report);
        let whole = format!("{series} {values_text}");
        let mut begin = 0;
        for part in whole.split('\n') {
            let at = begin + (part.len() - part.trim_start().len());
            begin += part.len() + 1;
            let trimmed = part.trim();
            if trimmed.is_empty() || trimmed.starts_with('#') {
                ended = true;
            }
            if ended {
                break;
            }
            match series_text::parse(trimmed) {
                Ok(read) => all.push((line(file, node), read)),
                Err(error) => {
                    let at = at + error.at;
                    let (node, at) = match (name, values) {
                        (Some(name), _) if at < series.len() => (name, at),
                        (_, Some(values)) => (values, at.saturating_sub(series.len() + 1)),
                        (Some(name), None) => (name, at),
                        (None, None) => (node, 0),
                    };
                    let span = own.within(node, at..at + 1);
                    let hint =
                        "an example: series `up{job=\"api\"}` with the values `1 0x5 _ stale`";
                    own.error(codes::TEST_SERIES, &span, error.what, hint);
                }
            }
        }
        let is_last = nodes.last().is_some_and(|last| std::ptr::eq(last, node));
        if ended && !is_last {
            let message =
                "the series after this one are not loaded: it ends with an empty line or a comment";
            let hint = "write `|-` or `>-` instead of `|` or `>`, or the values in one line";
            let commented = series.trim_start().starts_with('#');
            let place = if commented { name } else { values.or(name) };
            let place = place.unwrap_or(node);
            let span = own.within(place, 0..1);
            own.warn(codes::TEST_SERIES_END, &span, message, hint);
        }
        if ended {
            break;
        }
    }
    all
}

fn alert_check(
    report: &mut Report<'_>,
    own: &mut Report<'_>,
    file: &SourceFile,
    node: &Node,
) -> Option<AlertCheck> {
    let mut fields = report.fields(node, "a check of alerts")?;
    let f = &mut fields;
    let at = f.take("eval_time").and_then(|n| report.duration(n));
    let name = word(report, f, "alertname");
    if name.is_empty() {
        let message = "this check does not say which alert it is about";
        own.error(
            codes::TEST_MISSING,
            &f.head(),
            message,
            "add `alertname: NAME`",
        );
    }
    let nodes = f.take("exp_alerts").map_or(&[][..], |n| report.list(n));
    let mut expected = Vec::new();
    for node in nodes {
        let mut alert = ExpectedAlert::default();
        if !is_nothing(node)
            && let Some(mut fields) = report.fields(node, "an expected alert")
        {
            let labels = fields.take("exp_labels").map(|n| pairs(report, n));
            alert.labels = labels.unwrap_or_default();
            let annotations = fields.take("exp_annotations").map(|n| pairs(report, n));
            alert.annotations = annotations.unwrap_or_default();
            fields.finish(report);
        }
        alert.labels.insert("alertname".to_owned(), name.clone());
        expected.push(alert);
    }
    fields.finish(report);
    Some(AlertCheck {
        line: line(file, node),
        at: at.unwrap_or_default(),
        name,
        expected,
    })
}

fn expr_check(report: &mut Report<'_>, file: &SourceFile, node: &Node) -> Option<ExprCheck> {
    let mut fields = report.fields(node, "a check of an expression")?;
    let f = &mut fields;
    let mut own = Report::new(file, DIALECT);
    let at = f.take("eval_time").and_then(|n| report.duration(n));
    let written = f.take("expr");
    let text = written.and_then(|n| report.text(n)).unwrap_or_default();
    let expr = match (parse(text, promql::Dialect::PLAIN), written) {
        (Ok(expr), _) => Some(Arc::new(expr)),
        (Err(_), None) => {
            let message = "this check does not say which expression is evaluated";
            own.error(codes::TEST_MISSING, &f.head(), message, "add `expr: …`");
            None
        }
        (Err(error), Some(node)) => {
            let span = own.within(node, error.span);
            let hint = error.hint.unwrap_or_default();
            own.error(codes::TEST_EXPR, &span, error.message, &hint);
            None
        }
    };
    let nodes = f.take("exp_samples").map_or(&[][..], |n| report.list(n));
    let samples = nodes
        .iter()
        .filter_map(|n| sample(report, &mut own, n))
        .collect();
    fields.finish(report);
    let problems = own.finish();
    Some(ExprCheck {
        line: line(file, node),
        at: at.unwrap_or_default(),
        text: text.to_owned(),
        wanted: match expr {
            Some(expr) if problems.is_empty() => Ok(Wanted { expr, samples }),
            Some(_) | None => Err(problems),
        },
    })
}

fn sample(report: &mut Report<'_>, own: &mut Report<'_>, node: &Node) -> Option<ExpectedSample> {
    let mut sample = ExpectedSample {
        labels: Labels::new(),
        value: 0.0,
        histogram: None,
    };
    if is_nothing(node) {
        return Some(sample);
    }
    let mut fields = report.fields(node, "an expected sample")?;
    let labels = fields.take("labels");
    if let Some(node) = labels
        && let Some(text) = report.text(node).filter(|t| !t.trim().is_empty())
    {
        match series_text::parse_labels(text) {
            Ok(labels) => sample.labels = labels,
            Err(error) => {
                let span = own.within(node, error.at..error.at + 1);
                let hint = "an example: `up{job=\"api\"}`, or `{job=\"api\"}` without a name";
                own.error(codes::TEST_SERIES, &span, error.what, hint);
            }
        }
    }
    if let Some(node) = fields.take("value") {
        sample.value = number(report, node).unwrap_or_default();
    }
    if let Some(node) = fields.take("histogram")
        && let Some(text) = report.text(node).filter(|t| !t.is_empty())
    {
        sample.histogram = histogram(own, node, text);
    }
    fields.finish(report);
    Some(sample)
}

fn histogram(own: &mut Report<'_>, node: &Node, text: &str) -> Option<Arc<Histogram>> {
    const HEAD: &str = "{} ";
    let hint = "an example: `{{schema:0 count:3 sum:5 buckets:[1 2]}}`";
    match series_text::parse(&format!("{HEAD}{text}")).map(|read| read.content) {
        Ok(Content::Samples(samples)) => {
            if let [Some(Written::Histogram { value, .. })] = samples.as_slice() {
                return Some(value.clone());
            }
            let message = "expected one histogram here";
            own.error(codes::TEST_SERIES, &node.span, message, hint);
        }
        Ok(Content::Starts(_)) => {
            let message = "expected one histogram here";
            own.error(codes::TEST_SERIES, &node.span, message, hint);
        }
        Err(error) => {
            let at = error.at.saturating_sub(HEAD.len());
            let span = own.within(node, at..at + 1);
            own.error(codes::TEST_SERIES, &span, error.what, hint);
        }
    }
    None
}

/// The line of a node, counted from 1.
fn line(file: &SourceFile, node: &Node) -> usize {
    let before = file.text.get(..node.span.start).unwrap_or_default();
    before.matches('\n').count() + 1
}

fn word(report: &mut Report<'_>, fields: &mut Fields<'_>, key: &'static str) -> String {
    let node = fields.take(key);
    let text = node.and_then(|n| report.text(n));
    text.unwrap_or_default().to_owned()
}

fn texts(report: &mut Report<'_>, node: Option<&Node>) -> Vec<String> {
    let nodes = node.map_or(&[][..], |n| report.list(n)).iter();
    let nodes = nodes.filter(|n| !is_nothing(n));
    nodes
        .filter_map(|n| report.text(n).map(str::to_owned))
        .collect()
}

/// Names and values; one that is empty counts.
fn pairs(report: &mut Report<'_>, node: &Node) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let Kind::Map(entries) = &node.kind else {
        report.shape(node, "names and values");
        return all;
    };
    for (key, node) in entries {
        let text = match node.kind {
            Kind::Null => Some(""),
            Kind::Scalar { .. } | Kind::Seq(_) | Kind::Map(_) => report.text(node),
        };
        if let Some(text) = text {
            all.insert(key.text.clone(), text.to_owned());
        }
    }
    all
}

fn truth(report: &mut Report<'_>, node: &Node) -> Option<bool> {
    let text = report.text(node)?;
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" | "on" => Some(true),
        "n" | "no" | "off" => Some(false),
        _ => report.word(
            node,
            &[
                ("true", true),
                ("false", false),
                ("True", true),
                ("False", false),
                ("TRUE", true),
                ("FALSE", false),
            ],
        ),
    }
}

fn number(report: &mut Report<'_>, node: &Node) -> Option<f64> {
    let text = report.text(node)?;
    let plain = matches!(node.kind, Kind::Scalar { plain: true, .. });
    let number = plain.then(|| parse_number(text)).flatten();
    if number.is_none() {
        let message = format!("`{}` is not a number", text.escape_debug());
        let hint = "write it without quotes: `0.5`, `1e6`, `.inf`";
        report.error(codes::TEST_VALUE, &node.span, message, hint);
    }
    number
}

/// Seconds since the epoch, or RFC 3339.
fn time(report: &mut Report<'_>, node: &Node) -> Option<Timestamp> {
    let text = report.text(node)?;
    let seconds = text.parse::<f64>().ok().filter(|s| s.is_finite());
    let time = match seconds {
        Some(seconds) => Some(Timestamp::from_ms((seconds * 1_000.0).floor() as i64)),
        None => Timestamp::from_rfc3339(text),
    };
    if time.is_none() {
        let message = format!("`{}` is not a time", text.escape_debug());
        let hint = "write seconds since 1970, or `2024-01-31T12:00:00Z`";
        report.error(codes::TEST_VALUE, &node.span, message, hint);
    }
    time
}
