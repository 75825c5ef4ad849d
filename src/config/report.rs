//! Reading values from nodes, and the problems met on the way. Reading goes on after a problem, so that one run
//! finds them all.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::ops::Range;

use crate::config::SourceFile;
use crate::config::codes;
use crate::config::place;
use crate::config::yaml::{Fault, Key, Kind, Node};
use crate::model::labels::{Labels, is_label_name};
use crate::model::time::Duration;
use crate::model::written::{Problem, Severity, did_you_mean};

/// Problems told of one file; more are counted, not listed.
pub const PROBLEMS_MAX: usize = 200;
/// Characters of one problem's message.
pub const MESSAGE_CHARS_MAX: usize = 400;
/// The longest length of time: what Prometheus can count in nanoseconds.
pub const DURATION_MAX: Duration = Duration::from_ms(i64::MAX as u64 / 1_000_000);

/// Which codes a kind of file uses for the mistakes that all files share.
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    /// A wrong shape.
    pub shape: &'static str,
    /// An unknown key.
    pub key: &'static str,
    /// A missing key.
    pub missing: &'static str,
    /// A value that cannot be used.
    pub value: &'static str,
    /// Accepted, but not acted on.
    pub later: &'static str,
}

/// The problems of one file, as they are found.
#[derive(Debug)]
pub struct Report<'a> {
    file: &'a SourceFile,
    /// Codes for shared mistakes.
    pub dialect: Dialect,
    /// Whether keys that nobody knows are passed over.
    pub pass_unknown: bool,
    problems: Vec<Problem>,
    error_count: usize,
    unlisted: usize,
    unlisted_error: bool,
}

impl<'a> Report<'a> {
    /// No problems yet.
    pub fn new(file: &'a SourceFile, dialect: Dialect) -> Self {
        Report {
            file,
            dialect,
            pass_unknown: false,
            problems: Vec::new(),
            error_count: 0,
            unlisted: 0,
            unlisted_error: false,
        }
    }
    /// All of them, in order of their place.
    pub fn finish(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|p| (p.span.start, p.code));
        if self.unlisted > 0 {
            let severity = if self.unlisted_error {
                Severity::Error
            } else {
                Severity::Warning
            };
            let (end, message) = (
                self.file.text.len(),
                format!("{} more problems are not listed", self.unlisted),
            );
            let (shown, text) = (&self.file.shown, &self.file.text);
            self.problems.push(Problem::at(
                codes::TOO_MANY,
                severity,
                shown,
                text,
                end..end,
                message,
            ));
        }
        self.problems
    }
    /// How many errors there are so far.
    pub fn error_count(&self) -> usize {
        self.error_count
    }
    /// Adds a problem.
    pub fn add(
        &mut self,
        severity: Severity,
        code: &'static str,
        span: Range<usize>,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        self.error_count += usize::from(severity == Severity::Error);
        if self.problems.len() >= PROBLEMS_MAX {
            self.unlisted += 1;
            self.unlisted_error |= severity == Severity::Error;
            return;
        }
        let text = &self.file.text;
        let end = (span.end.min(text.len())..=text.len())
            .find(|i| text.is_char_boundary(*i))
            .unwrap_or(text.len());
        let mut problem = Problem::at(
            code,
            severity,
            &self.file.shown,
            text,
            span.start..end,
            one_line(message.into()),
        );
        problem.hint = hint;
        self.problems.push(problem);
    }
    /// Adds an error.
    pub fn error(
        &mut self,
        code: &'static str,
        span: &Range<usize>,
        message: impl Into<String>,
        hint: &str,
    ) {
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        self.add(Severity::Error, code, span.clone(), message, hint);
    }
    /// Adds a warning.
    pub fn warn(
        &mut self,
        code: &'static str,
        span: &Range<usize>,
        message: impl Into<String>,
        hint: &str,
    ) {
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        self.add(Severity::Warning, code, span.clone(), message, hint);
    }
    /// Adds what the YAML reader found.
    pub fn faults(&mut self, faults: Vec<Fault>) {
        for f in faults {
            self.add(Severity::Error, f.code, f.span, f.message, f.hint);
        }
    }
    /// Says that a key is accepted but not acted on.
    pub fn later(&mut self, key: &Key) {
        let message = format!("`{}` is accepted but not acted on", key.text);
        self.warn(self.dialect.later, &key.span, message, "");
    }
    /// Says that something else was expected.
    pub fn shape(&mut self, node: &Node, wanted: &str) {
        let is = match node.kind {
            Kind::Null => "nothing",
            Kind::Scalar { .. } => "a single value",
            Kind::Seq(_) => "a list",
            Kind::Map(_) => "a mapping",
        };
        // A caret under a whole block hides the place; its first line is enough.
        let start = node.span.start;
        let line = self
            .file
            .text
            .get(node.span.clone())
            .and_then(|t| t.lines().next());
        let span = start..start + line.map_or(0, str::len);
        self.error(
            self.dialect.shape,
            &span,
            format!("expected {wanted} here, found {is}"),
            "",
        );
    }
    /// Where byte `range` of a scalar's text stands in the file; the whole scalar if it is an alias.
    pub fn within(&self, node: &Node, range: Range<usize>) -> Range<usize> {
        place::within(&self.file.text, node, range)
    }
    /// A single value's text.
    pub fn text<'n>(&mut self, node: &'n Node) -> Option<&'n str> {
        match &node.kind {
            Kind::Scalar { text, .. } => Some(text),
            Kind::Null | Kind::Seq(_) | Kind::Map(_) => {
                self.shape(node, "a single value");
                None
            }
        }
    }
    /// A list's items.
    pub fn list<'n>(&mut self, node: &'n Node) -> &'n [Node] {
        match &node.kind {
            Kind::Seq(items) => items,
            Kind::Null | Kind::Scalar { .. } | Kind::Map(_) => {
                self.shape(node, "a list");
                &[]
            }
        }
    }
    /// A list's items, or the one value that stands for a list of one.
    pub fn list_or_one<'n>(&mut self, node: &'n Node) -> &'n [Node] {
        match &node.kind {
            Kind::Seq(items) => items,
            Kind::Scalar { .. } => std::slice::from_ref(node),
            Kind::Null | Kind::Map(_) => {
                self.shape(node, "a list");
                &[]
            }
        }
    }
    /// A mapping's fields.
    pub fn fields<'n>(&mut self, node: &'n Node, about: &'static str) -> Option<Fields<'n>> {
        match &node.kind {
            Kind::Map(entries) => Some(Fields {
                entries,
                span: node.span.clone(),
                about,
                known: Vec::new(),
            }),
            Kind::Null | Kind::Scalar { .. } | Kind::Seq(_) => {
                self.shape(node, "a mapping (`key: value`)");
                None
            }
        }
    }
    /// A value of a type that reads itself from text.
    pub fn parse<T>(&mut self, node: &Node) -> Option<T>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        let text = self.text(node)?;
        text.trim()
            .parse()
            .map_err(|e: T::Err| self.error(self.dialect.value, &node.span, e.to_string(), ""))
            .ok()
    }
    /// A length of time: Prometheus's grammar and bound, nothing around it.
    pub fn duration(&mut self, node: &Node) -> Option<Duration> {
        let text = self.text(node)?;
        let error = match text.parse::<Duration>() {
            Ok(duration) if duration <= DURATION_MAX => return Some(duration),
            Ok(_) => "this is longer than 292 years".to_owned(),
            Err(error) => error.to_string(),
        };
        self.error(self.dialect.value, &node.span, error, "");
        None
    }
    /// A length of time above zero.
    pub fn duration_above_zero(&mut self, node: &Node) -> Option<Duration> {
        let duration = self.duration(node)?;
        if duration.is_zero() {
            self.error(
                self.dialect.value,
                &node.span,
                "this must be longer than 0",
                "",
            );
            return None;
        }
        Some(duration)
    }
    /// One of a few words.
    pub fn word<T: Copy>(&mut self, node: &Node, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.text(node)?;
        if let Some((_, value)) = words.iter().find(|(w, _)| *w == text) {
            return Some(*value);
        }
        let all: Vec<&str> = words.iter().map(|(w, _)| *w).collect();
        let hint = near(text, all.iter().copied())
            .map(|w| format!("did you mean `{w}`?"))
            .unwrap_or_default();
        let message = format!("`{text}` is not one of: {}", all.join(", "));
        self.error(self.dialect.value, &node.span, message, &hint);
        None
    }
    /// `true` or `false`.
    pub fn boolean(&mut self, node: &Node) -> Option<bool> {
        self.word(node, &[("true", true), ("false", false)])
    }
    /// Names and values: labels or annotations.
    pub fn labels(&mut self, node: &Node, code: &'static str) -> Labels {
        let mut labels = Labels::new();
        let Some(fields) = self.fields(node, "labels") else {
            return labels;
        };
        for (key, value) in fields.entries {
            if !is_label_name(&key.text) {
                let message = format!("`{}` cannot be a label's name", key.text);
                self.error(
                    code,
                    &key.span,
                    message,
                    "letters, digits and `_`, not starting with a digit or `__`",
                );
            }
            if let Some(text) = self.text(value) {
                labels.set(&key.text, text);
            }
        }
        labels
    }
}

/// The nearest known word; a very long word has none, as comparing it would cost memory.
pub fn near<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 100 {
        None
    } else {
        did_you_mean(word, known)
    }
}

/// A message on one line and of bounded length, whatever the file put into it.
fn one_line(message: String) -> String {
    let fine = message.len() <= MESSAGE_CHARS_MAX && !message.contains(char::is_control);
    if fine {
        return message;
    }
    let cut = message
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c });
    let mut cut: String = cut.take(MESSAGE_CHARS_MAX).collect();
    cut.push('…');
    cut
}

/// A mapping that is being read; the keys asked for are the keys that exist.
#[derive(Debug)]
pub struct Fields<'n> {
    entries: &'n [(Key, Node)],
    /// Where the mapping stands.
    pub span: Range<usize>,
    about: &'static str,
    known: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// The value of a key, if it is there.
    pub fn take(&mut self, name: &'static str) -> Option<&'n Node> {
        self.take_entry(name).map(|(_, node)| node)
    }
    /// A key with its value, if it is there.
    pub fn take_entry(&mut self, name: &'static str) -> Option<(&'n Key, &'n Node)> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        self.entries
            .iter()
            .find(|(k, n)| k.text == name && !matches!(n.kind, Kind::Null))
            .map(|(k, n)| (k, n))
    }
    /// Keys that are accepted but not acted on.
    pub fn later(&mut self, report: &mut Report<'_>, names: &[&'static str]) {
        for name in names {
            if let Some((key, _)) = self.take_entry(name) {
                report.later(key);
            }
        }
    }
    /// Where to point when something is missing: the first key.
    pub fn head(&self) -> Range<usize> {
        self.entries
            .first()
            .map_or(self.span.clone(), |(k, _)| k.span.clone())
    }
    /// Every key that nobody asked for is a problem.
    pub fn finish(self, report: &mut Report<'_>) {
        if report.pass_unknown {
            return;
        }
        for (key, _) in self.entries {
            if self.known.contains(&key.text.as_str()) {
                continue;
            }
            let hint = match near(&key.text, self.known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            let message = format!("{} has no key `{}`", self.about, key.text);
            report.error(report.dialect.key, &key.span, message, &hint);
        }
    }
}
