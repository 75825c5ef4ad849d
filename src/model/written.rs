//! What is wrong in what a person wrote: a [`Problem`] has a code, a place, a caret and a hint.
//!
//! There is one rendering, for the command line, the API and the log.

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::Serialize;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The file cannot be used; its last good version runs on.
    Error,
    /// The file is used, but what is named here will not work.
    Warning,
}

/// One thing that is wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Stable, `OPS-…`.
    pub code: &'static str,
    /// Error or warning.
    pub severity: Severity,
    /// The file, as the user named it.
    pub file: String,
    /// Line, from 1; 0 if the whole file is meant.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Byte range in the file's text.
    #[serde(skip)]
    pub span: std::ops::Range<usize>,
}

impl Problem {
    /// A problem at a byte range of `text`; line and column are worked out here.
    pub fn at(
        code: &'static str,
        severity: Severity,
        file: &str,
        text: &str,
        span: std::ops::Range<usize>,
        message: impl Into<String>,
    ) -> Self {
        let start = (0..=span.start.min(text.len()))
            .rev()
            .find(|i| text.is_char_boundary(*i))
            .unwrap_or(0);
        let before = text.get(..start).unwrap_or("");
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        Self {
            code,
            severity,
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).map_or(0, |l| l.chars().count()) + 1,
            message: message.into(),
            hint: None,
            span: start..span.end.clamp(start, text.len()),
        }
    }
    /// The same problem with advice.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    /// The problem with the source line and a caret under the place, without colour.
    pub fn render(&self, text: &str) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let snippet = Snippet::source(text)
            .path(&self.file)
            .annotation(AnnotationKind::Primary.span(self.span.clone()));
        let mut group = level
            .primary_title(&self.message)
            .id(self.code)
            .element(snippet);
        if let Some(hint) = &self.hint {
            group = group.element(Level::HELP.message(hint));
        }
        let mut out = Renderer::plain().render(&[group]).to_string();
        let _ = writeln!(out, "\n  at {}:{}:{}", self.file, self.line, self.column);
        out
    }
    /// One line, for logs.
    pub fn brief(&self) -> String {
        let mut line = format!(
            "{}:{}:{}: {} [{}]",
            self.file, self.line, self.column, self.message, self.code
        );
        if let Some(hint) = &self.hint {
            let _ = write!(line, " ({hint})");
        }
        line
    }
}

/// The nearest of `known` to `word`, if it is near enough to be meant.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(word, k), k))
        .filter(|(d, k)| *d <= (k.len().max(word.len()) / 3).max(1))
        .min()
        .map(|(_, k)| k)
}
