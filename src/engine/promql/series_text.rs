//! Series as text, the way tests of rules and conformance scripts write them: `name{label="value"} 1 2+3x4 _ stale`.
//!
//! A line is a label set and items, each of which is one or many samples at equal distances in time:
//!
//! ```text
//! up{job="a"}   1 0x3 _x2 10-2x4 stale      1, four zeros, two missing, 10 8 6 4 2, the end of the series
//! h             {{schema:0 count:4 sum:5 buckets:[1 2 1]}}+{{count:1 buckets:[1]}}x2
//! up{job="a"}@st  -1m _x3 -30s-1mx2         since when each sample of the next line counts, relative to it
//! ```

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use crate::engine::promql::literal;
use crate::engine::promql::number::shortest;
use crate::engine::promql::source::{STALE_BITS, Value, is_stale};
use crate::model::histogram::Histogram;
use crate::model::labels::Labels;

mod histogram;

/// Samples of one line, at most.
pub const ITEMS_MAX: usize = 200_000;
/// Buckets of all histograms of one line that are not the same, at most.
const BUCKETS_MAX: usize = 4_000_000;

/// What one line says.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesLine {
    /// Whose samples; `__name__` is a label among them.
    pub labels: Labels,
    /// Which.
    pub content: Content,
}

/// The items of a line.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Samples; `None` where one is missing.
    Samples(Vec<Option<Written>>),
    /// `@st`: the start timestamp of each sample of the line that follows, in milliseconds after the sample (so that
    /// most are negative); `None` where there is none.
    Starts(Vec<Option<i64>>),
}

/// A sample as written.
#[derive(Clone, Debug, PartialEq)]
pub enum Written {
    /// A number; `stale` is the staleness marker.
    Float(f64),
    /// A native histogram.
    Histogram {
        /// The value.
        value: Arc<Histogram>,
        /// Whether the text says `counter_reset_hint:`.
        hint_written: bool,
    },
}

impl Written {
    /// The value of the sample.
    pub fn value(&self) -> Value {
        match self {
            Written::Float(value) => Value::Float(*value),
            Written::Histogram { value, .. } => Value::Histogram(Arc::clone(value)),
        }
    }
}

/// Why a line is no series.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct SeriesTextError {
    /// Byte of the line.
    pub at: usize,
    /// What is wrong there.
    pub what: String,
}

/// Reads one line.
///
/// # Errors
/// At the first byte that does not belong there, or where a bound is exceeded.
pub fn parse(line: &str) -> Result<SeriesLine, SeriesTextError> {
    let mut text = Cursor { line, at: 0 };
    text.spaces();
    let labels = text.labels()?;
    let content = if text.take("@st") {
        Content::Starts(text.items(Cursor::start)?)
    } else {
        Content::Samples(text.items(Cursor::sample)?)
    };
    Ok(SeriesLine { labels, content })
}

/// Reads a label set alone, such as `name{label="value"}`.
///
/// # Errors
/// At the first byte that does not belong there.
pub fn parse_labels(text: &str) -> Result<Labels, SeriesTextError> {
    let mut text = Cursor { line: text, at: 0 };
    text.spaces();
    let labels = text.labels()?;
    text.spaces();
    match text.rest() {
        "" => Ok(labels),
        _ => Err(text.error("expected nothing after the labels")),
    }
}

/// Reads one histogram alone: `{{schema:0 count:4 …}}`.
///
/// # Errors
/// At the first byte that does not belong there.
pub fn parse_histogram(text: &str) -> Result<Histogram, SeriesTextError> {
    let mut text = Cursor { line: text, at: 0 };
    text.spaces();
    let (histogram, _) = text.histogram()?;
    text.spaces();
    match text.rest() {
        "" => Ok(histogram),
        _ => Err(text.error("expected nothing after the histogram")),
    }
}

/// Reads a number with its sign, as it stands for a scalar: hexadecimal too. `None` if it is none.
pub fn parse_number(text: &str) -> Option<f64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = literal::number(digits).ok()?;
    Some(if negative { -value } else { value })
}

/// Reads a string in quotes of any kind, and nothing else.
///
/// # Errors
/// If it is no string, or is not UTF-8.
pub fn parse_string(text: &str) -> Result<String, SeriesTextError> {
    let mut text = Cursor { line: text, at: 0 };
    let Some(string) = text.string()? else {
        return Err(text.unexpected("a string in quotes"));
    };
    match text.rest() {
        "" => Ok(string),
        _ => Err(text.error("expected nothing after the string")),
    }
}

/// A value in this notation. It reads back, unless buckets of a histogram are very far apart.
pub fn write(value: &Value) -> String {
    match value {
        Value::Float(value) if is_stale(*value) => "stale".to_owned(),
        Value::Float(value) => shortest(*value),
        Value::Histogram(histogram) => histogram::written(histogram),
    }
}

/// A place in a line. What it takes, it has read.
struct Cursor<'a> {
    line: &'a str,
    at: usize,
}

/// What a line has become so far.
type Items<T> = Vec<Option<T>>;

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        self.line.get(self.at..).unwrap_or("")
    }

    fn error(&self, what: impl Into<String>) -> SeriesTextError {
        SeriesTextError {
            at: self.at,
            what: what.into(),
        }
    }

    /// What is there, for an error that expected something else.
    fn unexpected(&self, expected: &str) -> SeriesTextError {
        let found = self
            .rest()
            .chars()
            .next()
            .map_or_else(|| "the line ends".to_owned(), |c| format!("found {c:?}"));
        self.error(format!("expected {expected}, but {found}"))
    }

    fn peek(&self, start: &str) -> bool {
        self.rest().starts_with(start)
    }

    fn take(&mut self, start: &str) -> bool {
        let found = self.peek(start);
        if found {
            self.at += start.len();
        }
        found
    }

    fn need(&mut self, what: &str) -> Result<(), SeriesTextError> {
        if self.take(what) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("`{what}`")))
        }
    }

    /// Takes all bytes for which `is` holds.
    fn take_while(&mut self, is: impl Fn(u8) -> bool) -> &'a str {
        let length = self.rest().bytes().take_while(|b| is(*b)).count();
        let taken = self.rest().get(..length).unwrap_or("");
        self.at += taken.len();
        taken
    }

    /// Takes spaces and tabs; whether there were any.
    fn spaces(&mut self) -> bool {
        !self.take_while(|b| b == b' ' || b == b'\t').is_empty()
    }

    fn labels(&mut self) -> Result<Labels, SeriesTextError> {
        let mut labels = Labels::new();
        let name = self.name(|b| b == b':');
        let has_name = !name.is_empty();
        labels.set("__name__", name);
        if !self.take("{") {
            return if has_name {
                Ok(labels)
            } else {
                Err(self.unexpected("a series"))
            };
        }
        loop {
            self.spaces();
            if self.take("}") {
                return Ok(labels);
            }
            let at = self.at;
            let quoted = self.string()?;
            let name = match &quoted {
                Some(name) => name.clone(),
                None => self.name(|_| false).to_owned(),
            };
            if name.is_empty() {
                return Err(self.unexpected("a label or `}`"));
            }
            self.spaces();
            if self.take("=") {
                self.spaces();
                let Some(value) = self.string()? else {
                    return Err(self.unexpected("a value in quotes"));
                };
                labels.set(name, value);
            } else if quoted.is_none() || !(self.peek("}") || self.peek(",")) {
                return Err(self.unexpected("`=`"));
            } else if labels.get("__name__").is_empty() {
                // A name in quotes alone is the metric's.
                labels.set("__name__", name);
            } else {
                self.at = at;
                return Err(self.error("the metric has a name already"));
            }
            self.spaces();
            if !self.take(",") && !self.peek("}") {
                return Err(self.unexpected("`,` or `}`"));
            }
        }
    }

    /// Takes a name: letters, digits, `_` and what `also` allows, not starting with a digit. Empty if there is none.
    fn name(&mut self, also: impl Fn(u8) -> bool) -> &'a str {
        if self.rest().starts_with(|c: char| c.is_ascii_digit()) {
            return "";
        }
        self.take_while(|b| b.is_ascii_alphanumeric() || b == b'_' || also(b))
    }

    /// Takes a string in quotes, if there is one.
    fn string(&mut self) -> Result<Option<String>, SeriesTextError> {
        let start = self.at;
        let Some(quote) = self.rest().chars().next().filter(|c| "\"'`".contains(*c)) else {
            return Ok(None);
        };
        let mut escaped = false;
        let end = self.rest().char_indices().skip(1).find(|(_, c)| {
            let ends = *c == quote && !escaped;
            escaped = *c == '\\' && !escaped && quote != '`';
            ends
        });
        let Some((end, _)) = end else {
            return Err(self.error("the string is never closed"));
        };
        let text = self.rest().get(..=end).unwrap_or("");
        self.at += text.len();
        let place = |(at, what): (usize, String)| SeriesTextError {
            at: start + at,
            what,
        };
        let bytes = literal::unquote(text).map_err(place)?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(place((0, "the string is no UTF-8".to_owned()))),
        }
    }

    /// Takes items to the end of the line.
    fn items<T: Clone>(
        &mut self,
        item: impl Fn(&mut Self, &mut Items<T>, &mut usize) -> Result<(), SeriesTextError>,
    ) -> Result<Items<T>, SeriesTextError> {
        let mut items = Vec::new();
        let mut buckets = BUCKETS_MAX;
        loop {
            let apart = self.spaces();
            if self.rest().is_empty() {
                return Ok(items);
            }
            if !apart {
                return Err(self.unexpected("a space"));
            }
            if self.take("_") {
                let count = self.repeats()?.unwrap_or(1);
                self.push(&mut items, count, || None)?;
            } else {
                item(self, &mut items, &mut buckets)?;
            }
        }
    }

    /// Takes `xN`, if it is there.
    fn repeats(&mut self) -> Result<Option<usize>, SeriesTextError> {
        if !self.take("x") {
            return Ok(None);
        }
        let at = self.at;
        let digits = self.take_while(|b| b.is_ascii_digit());
        if digits.is_empty() {
            return Err(self.unexpected("a number of repetitions"));
        }
        match digits.parse() {
            Ok(count) if count <= ITEMS_MAX => Ok(Some(count)),
            Ok(_) | Err(_) => Err(SeriesTextError {
                at,
                what: format!("a line has at most {ITEMS_MAX} samples"),
            }),
        }
    }

    fn push<T>(
        &self,
        items: &mut Items<T>,
        count: usize,
        mut next: impl FnMut() -> Option<T>,
    ) -> Result<(), SeriesTextError> {
        if items.len().saturating_add(count) > ITEMS_MAX {
            return Err(self.error(format!("a line has at most {ITEMS_MAX} samples")));
        }
        items.extend((0..count).map(|_| next()));
        Ok(())
    }

    /// Takes a sample, or many: `a`, `axN`, `a+bxN`.
    fn sample(
        &mut self,
        items: &mut Items<Written>,
        buckets: &mut usize,
    ) -> Result<(), SeriesTextError> {
        if self.peek("{{") {
            return self.histograms(items, buckets);
        }
        if self.take("stale") {
            let stale = Written::Float(f64::from_bits(STALE_BITS));
            return self.push(items, 1, || Some(stale.clone()));
        }
        let mut value = self.number()?;
        let step = match self.rest().chars().next() {
            Some('+' | '-') => Some(self.number()?),
            _ => None,
        };
        let times = self.repeats()?;
        let count = match (step, times) {
            (Some(_), None) => return Err(self.unexpected("`x` and a number of repetitions")),
            (_, times) => times.unwrap_or(0) + 1,
        };
        self.push(items, count, || {
            let now = value;
            if let Some(step) = step {
                value += step;
            }
            Some(Written::Float(now))
        })
    }

    /// Takes a number with its sign. There is no hexadecimal: the `x` would be ambiguous.
    fn number(&mut self) -> Result<f64, SeriesTextError> {
        let at = self.at;
        let negative = self.take("-");
        if !negative {
            self.take("+");
        }
        let start = self.at;
        let word = self.take_while(|b| b.is_ascii_alphabetic() && b != b'x');
        if word.is_empty() {
            self.take_while(|b| b.is_ascii_digit() || b == b'.' || b == b'_');
            if self.peek("e") || self.peek("E") {
                self.at += 1;
                let _ = self.take("-") || self.take("+");
                self.take_while(|b| b.is_ascii_digit());
            }
        }
        let text = self.line.get(start..self.at).unwrap_or("");
        if text.is_empty() {
            self.at = at;
            return Err(self.unexpected("a number, `_`, `stale` or `{{`"));
        }
        match literal::number(text) {
            Ok(value) => Ok(if negative { -value } else { value }),
            Err(what) => Err(SeriesTextError { at, what }),
        }
    }

    /// Takes an offset of a start timestamp, or many: `-1m`, `-1mx2`, `-30s-1mx2`.
    fn start(&mut self, items: &mut Items<i64>, _: &mut usize) -> Result<(), SeriesTextError> {
        let mut offset = self.duration()?;
        let step = match self.rest().chars().next() {
            Some('+' | '-') => self.duration()?,
            _ => 0,
        };
        let count = self.repeats()?.unwrap_or(0) + 1;
        self.push(items, count, || {
            let now = offset;
            offset = offset.saturating_add(step);
            Some(now)
        })
    }

    /// Takes a duration with its sign, in milliseconds.
    fn duration(&mut self) -> Result<i64, SeriesTextError> {
        let at = self.at;
        let negative = self.take("-");
        if !negative {
            self.take("+");
        }
        let text = self.take_while(|b| b.is_ascii_digit() || b"ywdhms".contains(&b));
        if text.is_empty() {
            self.at = at;
            return Err(self.unexpected("a duration or `_`"));
        }
        let ms = match text {
            "0" => 0,
            text => literal::duration(text).map_err(|what| SeriesTextError { at, what })?,
        };
        Ok(if negative { -ms } else { ms })
    }
}

#[cfg(test)]
mod tests;
