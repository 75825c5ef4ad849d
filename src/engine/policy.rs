//! What is decided by: checked rules and the terms of receivers and heals. Built by `config`, swapped as one.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::heal::verify::Verify;
use crate::engine::promql::ast::{Expr, Kind};
use crate::engine::promql::reads::{Read, reads};
use crate::engine::promql::settings::Settings;
use crate::model::labels::{Labels, Selector};
use crate::model::time::Duration;

/// Everything that decisions rest on.
#[derive(Debug, Default)]
pub struct Policy {
    /// Rules over one window of one metric, judged on every tick, in order of file, then place in it.
    pub rules: Vec<Arc<Rule>>,
    /// Groups of PromQL rules, in order of file, then place in it.
    pub groups: Vec<Arc<Group>>,
    /// For each receiver that has one: who is told when it cannot be reached.
    pub fallback: BTreeMap<String, String>,
    /// After how long without acceptance that is done, for receivers that say so.
    pub fallback_after: BTreeMap<String, Duration>,
    /// Who is told about ourselves, and where a rule without `notify` pages.
    pub default_receiver: Option<String>,
    /// Files whose newest version is broken; their last good version is in `rules`.
    pub broken: Vec<String>,
}

impl Policy {
    /// The files that rules are in, once for each rule or group.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        let grouped = self.groups.iter().map(|g| g.file.as_str());
        self.rules.iter().map(|r| r.file.as_str()).chain(grouped)
    }
    /// How many rules there are, those that record among them.
    pub fn rule_count(&self) -> usize {
        self.rules.len() + self.groups.iter().map(|g| g.rules.len()).sum::<usize>()
    }
}

/// A rule's identity: file, name and static labels. It survives every other edit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RuleId(pub String);

impl RuleId {
    /// The identity of a rule.
    pub fn new(file: &str, name: &str, labels: &Labels) -> Self {
        Self(if labels.is_empty() {
            format!("{file}/{name}")
        } else {
            format!("{file}/{name}{labels}")
        })
    }
}

/// A checked rule.
#[derive(Debug)]
pub struct Rule {
    /// Who it is across reloads.
    pub id: RuleId,
    /// Its name: the alert's `alertname`.
    pub name: String,
    /// The file it is in, relative to the alerts folder.
    pub file: String,
    /// When it fires.
    pub test: Test,
    /// How long the condition must hold before it fires.
    pub for_: Duration,
    /// How long it goes on firing after the condition is false.
    pub keep_firing_for: Duration,
    /// What a vanished series means.
    pub missing: Missing,
    /// Static labels of its alerts.
    pub labels: Labels,
    /// Labels that its alerts do not have, whatever they are about: those written with an empty value.
    pub clears: BTreeSet<String>,
    /// Annotations by name, as Go templates. An empty one is one, too.
    pub annotations: BTreeMap<String, String>,
    /// Path below `runbooks/`, or a URL.
    pub runbook: Option<String>,
    /// Who is paged, in order.
    pub notify: Vec<String>,
    /// No repeat for this long after a page; `None`: repeat every 4h.
    pub silence_window: Option<Duration>,
    /// What is tried.
    pub heal: Option<Heal>,
}

/// When a rule fires, and on what.
#[derive(Debug)]
pub enum Test {
    /// One window of each series that a selector picks.
    Window(WindowTest),
    /// A PromQL expression; each element of its result is an alert.
    Expr(ExprTest),
}

/// A test of windows.
#[derive(Clone, Debug)]
pub struct WindowTest {
    /// Which series it judges.
    pub selector: Selector,
    /// How far back it looks: samples in (now - window, now].
    pub window: Duration,
    /// When it fires.
    pub condition: Condition,
    /// When it clears, if that differs from the condition being false.
    pub resolve: Option<Condition>,
}

/// A test by an expression.
#[derive(Debug)]
pub struct ExprTest {
    /// When it fires.
    pub expr: Written,
    /// When it clears, if that differs from the alert not being in the result: once it is in the result of this one.
    pub resolve: Option<Written>,
    /// The metric that people look at: the first one it reads.
    pub metric: String,
    /// How far back it looks.
    pub reach: Duration,
    /// The number it compares with, if it is a comparison with a number.
    pub threshold: Option<f64>,
}

/// An expression with its text.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// As written.
    pub text: String,
    /// As read.
    pub expr: Arc<Expr>,
}

impl Written {
    /// Its text on one line.
    pub fn words(&self) -> String {
        self.text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl ExprTest {
    /// A test by an expression; what is known of it without any series is worked out here.
    pub fn new(expr: Written, resolve: Option<Written>) -> Self {
        let read = reads(&expr.expr, &Settings::default());
        Self {
            metric: read
                .iter()
                .find_map(Read::metric)
                .unwrap_or_default()
                .to_owned(),
            reach: read.iter().map(|r| r.back).max().unwrap_or_default(),
            threshold: compared_with(&expr.expr),
            expr,
            resolve,
        }
    }
}

/// The number at the right of a comparison.
fn compared_with(expr: &Expr) -> Option<f64> {
    match &expr.kind {
        Kind::Paren(inner) => compared_with(inner),
        Kind::Binary { op, rhs, .. } if op.is_comparison() => match rhs.kind {
            Kind::Number(n) => Some(n),
            _ => None,
        },
        _ => None,
    }
}

impl Rule {
    /// The metric that people look at.
    pub fn metric(&self) -> &str {
        match &self.test {
            Test::Window(w) => &w.selector.metric,
            Test::Expr(e) => &e.metric,
        }
    }
    /// Whether a template makes one of its labels.
    pub fn has_label_templates(&self) -> bool {
        self.labels.iter().any(|(_, text)| text.contains("{{"))
    }
    /// Whether its alerts are told apart by all their labels, and not by what they are about: where a template makes some of
    /// the value, that is another thing.
    pub fn names_by_own_labels(&self, group: &Group) -> bool {
        group.strict && self.has_label_templates()
    }
    /// How far back it looks.
    pub fn reach(&self) -> Duration {
        match &self.test {
            Test::Window(w) => w.window,
            Test::Expr(e) => e.reach,
        }
    }
    /// When it fires, in words.
    pub fn words(&self) -> String {
        match &self.test {
            Test::Window(w) => format!("{} over {}", w.condition.words(), w.window),
            Test::Expr(e) => e.expr.words(),
        }
    }
    /// The number it compares with, if it is one comparison.
    pub fn threshold(&self) -> Option<f64> {
        match &self.test {
            Test::Window(w) => w.condition.threshold(),
            Test::Expr(e) => e.threshold,
        }
    }
}

/// Rules that are evaluated in order, at one interval.
#[derive(Debug)]
pub struct Group {
    /// Who it is across reloads: file and name.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The file it is in, relative to the alerts folder.
    pub file: String,
    /// How often; zero: on every tick.
    pub interval: Duration,
    /// Expressions are evaluated that long before the time of the slot.
    pub query_offset: Duration,
    /// Alerts, or recorded series, that one rule may have; 0: any number.
    pub limit: usize,
    /// Prometheus's own behaviour: what is not in a result is resolved.
    pub strict: bool,
    /// In order.
    pub rules: Vec<GroupRule>,
}

/// A rule of a group.
#[derive(Clone, Debug)]
pub enum GroupRule {
    /// People are told.
    Alert(Arc<Rule>),
    /// The result becomes series.
    Record(Arc<Recording>),
}

/// A rule whose result becomes series.
#[derive(Debug)]
pub struct Recording {
    /// The metric's name.
    pub name: String,
    /// What is recorded.
    pub expr: Written,
    /// Set on every series.
    pub labels: Labels,
    /// Labels that no series keeps: those written with an empty value.
    pub clears: BTreeSet<String>,
}

/// When a window is bad.
#[derive(Clone, Debug)]
pub enum Condition {
    /// An aggregate compared with a number.
    Threshold {
        /// What is computed over the window.
        aggregate: Aggregate,
        /// How it is compared.
        compare: Compare,
        /// With what.
        threshold: f64,
    },
    /// An evalexpr condition over the aggregates.
    Guard {
        /// As written.
        text: String,
        /// Compiled.
        node: evalexpr::Node,
        /// The aggregates it reads.
        reads: Vec<Aggregate>,
    },
}

/// What is computed over a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are the field's")]
pub enum Aggregate {
    Avg,
    Min,
    Max,
    Sum,
    Count,
    Last,
    P50,
    P90,
    P95,
    P99,
    Stddev,
    Rate,
}

impl Aggregate {
    /// All of them, with the names that rules use.
    pub const ALL: [(&'static str, Aggregate); 12] = [
        ("avg", Aggregate::Avg),
        ("min", Aggregate::Min),
        ("max", Aggregate::Max),
        ("sum", Aggregate::Sum),
        ("count", Aggregate::Count),
        ("last", Aggregate::Last),
        ("p50", Aggregate::P50),
        ("p90", Aggregate::P90),
        ("p95", Aggregate::P95),
        ("p99", Aggregate::P99),
        ("stddev", Aggregate::Stddev),
        ("rate", Aggregate::Rate),
    ];
    /// The name that rules use.
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, a)| *a == self)
            .map_or("", |(n, _)| n)
    }
}

/// How a value is compared with a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Compare {
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    Equal,
    NotEqual,
}

impl Compare {
    /// All of them with their signs, longer signs first.
    pub const ALL: [(&'static str, Compare); 6] = [
        (">=", Compare::GreaterEqual),
        ("<=", Compare::LessEqual),
        ("==", Compare::Equal),
        ("!=", Compare::NotEqual),
        (">", Compare::Greater),
        ("<", Compare::Less),
    ];
    /// Whether `value sign threshold` holds.
    pub fn holds(self, value: f64, threshold: f64) -> bool {
        match self {
            Compare::Greater => value > threshold,
            Compare::GreaterEqual => value >= threshold,
            Compare::Less => value < threshold,
            Compare::LessEqual => value <= threshold,
            Compare::Equal => value == threshold,
            Compare::NotEqual => value != threshold,
        }
    }
    /// Its sign.
    pub fn sign(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, c)| *c == self)
            .map_or("", |(s, _)| s)
    }
}

/// What it means that a series vanished while its alert fires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missing {
    /// Go on firing, and say after 5 minutes that nothing is heard any more.
    #[default]
    Hold,
    /// It is over.
    Resolve,
    /// Fire even if it did not before.
    Fire,
}

/// What is tried when a rule fires.
#[derive(Clone, Debug, PartialEq)]
pub struct Heal {
    /// Label that names what is acted on; `None`: the rule as a whole.
    pub target: Option<String>,
    /// One heal at a time in this group.
    pub group: String,
    /// Starts allowed per target …
    pub limit: u32,
    /// … in this time.
    pub limit_per: Duration,
    /// Least time between two starts on one target …
    pub backoff_min: Duration,
    /// … doubling up to this.
    pub backoff_max: Duration,
    /// What shows that it worked; `None`: the rule's own condition is false.
    pub verify: Option<Arc<Verify>>,
    /// Signals are ignored for this long after the script ends.
    pub settle: Duration,
    /// The verify must become true within this time after the script's end …
    pub within: Duration,
    /// … and stay true this long.
    pub hold: Duration,
    /// Page at once, or only if the heal does not work.
    pub page_after_heal: bool,
    /// What is done, in order, until it is healed; never empty.
    pub steps: Vec<Step>,
}

/// One thing to try.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Path relative to the project folder, below `scripts/`.
    pub script: String,
    /// Arguments; an element `$label` stands for that label's value.
    pub args: Vec<String>,
    /// Killed after this long.
    pub timeout: Duration,
}
