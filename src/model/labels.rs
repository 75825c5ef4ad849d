//! Who a sample is about: [`Labels`], the canonical [`SeriesKey`], and the [`Selector`] that picks series.
//!
//! A key is bytes: the metric's name, then `\xff name \xff value` for each label in order of its name. 0xff is no
//! UTF-8 byte, so a key reads back without escaping and equal keys are equal series.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::pattern;

/// The label that is the metric's name, where it is one among the others.
const NAME: &str = "__name__";

/// A set of labels in order of their names; no name twice, no empty value. Plans hold many of them, so all text of a set is
/// one string.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// Each name and its value after it.
    text: String,
    /// Where each of them ends in the text: a name, its value, the next name, …
    ends: Vec<u32>,
}

impl Labels {
    /// No labels.
    pub const fn new() -> Self {
        Self {
            text: String::new(),
            ends: Vec::new(),
        }
    }
    /// No labels, and room for some: bytes of text, and how many.
    fn with_capacity(bytes: usize, count: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
            ends: Vec::with_capacity(2 * count),
        }
    }
    /// The value of a label, or "" where it has none: in this field, missing and empty are the same.
    pub fn get(&self, name: &str) -> &str {
        self.iter().find(|(n, _)| *n == name).map_or("", |(_, v)| v)
    }
    /// Sets a label; an empty value removes it.
    pub fn set(&mut self, name: impl AsRef<str>, value: impl AsRef<str>) {
        let (name, value) = (name.as_ref(), value.as_ref());
        if self.last_name().is_none_or(|last| last < name) {
            return self.insert(self.ends.len() / 2, self.text.len(), name, value);
        }
        let (mut place, mut at, mut old) = (0, 0, 0);
        for (n, v) in self.iter() {
            match n.cmp(name) {
                Ordering::Less => (place, at) = (place + 1, at + n.len() + v.len()),
                Ordering::Equal => old = n.len() + v.len(),
                Ordering::Greater => break,
            }
        }
        if old > 0 {
            self.text.replace_range(at..at + old, "");
            self.ends.drain(2 * place..2 * place + 2);
            self.move_ends(2 * place, |end| end - old);
        }
        self.insert(place, at, name, value);
    }
    /// Puts a label behind so many others, which have so many bytes; none if its value is empty.
    fn insert(&mut self, place: usize, at: usize, name: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        self.text.insert_str(at, value);
        self.text.insert_str(at, name);
        let (of_name, end) = (at + name.len(), at + name.len() + value.len());
        self.move_ends(2 * place, |e| e + end - at);
        let ends = [of_name, end].map(|e| u32::try_from(e).unwrap_or(u32::MAX));
        self.ends.splice(2 * place..2 * place, ends);
    }
    /// A name or a value, which begins at a byte; none behind the last.
    fn part(&self, number: usize, start: usize) -> Option<&[u8]> {
        let end = *self.ends.get(number)? as usize;
        self.text.as_bytes().get(start..end)
    }
    fn last_name(&self) -> Option<&str> {
        let end_of =
            |back: usize| Some(*self.ends.get(self.ends.len().checked_sub(back)?)? as usize);
        self.text.get(end_of(3).unwrap_or(0)..end_of(2)?)
    }
    /// Moves the ends from one on.
    fn move_ends(&mut self, from: usize, to: impl Fn(usize) -> usize) {
        for end in self.ends.iter_mut().skip(from) {
            *end = u32::try_from(to(*end as usize)).unwrap_or(u32::MAX);
        }
    }
    /// These labels with one more.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.set(name, value);
        self
    }
    /// Name and value pairs, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        self.ends.chunks_exact(2).filter_map(move |ends| {
            let &[name, value] = ends else { return None };
            let (name, value) = (name as usize, value as usize);
            let pair = (self.text.get(start..name)?, self.text.get(name..value)?);
            start = value;
            Some(pair)
        })
    }
    /// Values by name.
    pub fn into_map(self) -> BTreeMap<String, String> {
        let pairs = self.iter().map(|(n, v)| (n.to_owned(), v.to_owned()));
        pairs.collect()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len() / 2
    }
}

/// By their names and values, one after the other.
impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        // As far as all names and values are as long as there, the text is compared at once. The first that is not decides.
        let ends = self.ends.iter().zip(&other.ends);
        let same = ends.take_while(|(a, b)| a == b).count();
        let start = same.checked_sub(1).and_then(|i| self.ends.get(i));
        let start = start.map_or(0, |end| *end as usize);
        let before = self.text.as_bytes().get(..start);
        before
            .cmp(&other.text.as_bytes().get(..start))
            .then_with(|| self.part(same, start).cmp(&other.part(same, start)))
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
        self.ends.hash(state);
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let map = self.clone().into_map();
        f.debug_tuple("Labels").field(&map).finish()
    }
}

/// As a map.
impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = BTreeMap::<String, String>::deserialize(deserializer)?;
        Ok(map.into_iter().collect())
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (name, value)) in self.iter().enumerate() {
            write!(f, "{}{name}={value:?}", if i == 0 { "" } else { "," })?;
        }
        f.write_str("}")
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut labels = Labels::with_capacity(128, 8);
        for (n, v) in pairs {
            labels.set(n, v);
        }
        // Many are kept for long.
        labels.text.shrink_to_fit();
        labels.ends.shrink_to_fit();
        labels
    }
}

/// The canonical bytes that name one series.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesKey(Arc<[u8]>);

impl SeriesKey {
    /// The key of `metric` with `labels` (without `__name__`).
    pub fn new(metric: &str, labels: &Labels) -> Self {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(metric.as_bytes());
        for (name, value) in labels.iter() {
            push_label(&mut bytes, name, value);
        }
        Self(bytes.into())
    }
    /// Takes bytes that [`push_label`] laid out in order of the labels' names.
    pub fn from_canonical(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
    /// The metric's name.
    pub fn metric(&self) -> &str {
        self.0
            .split(|b| *b == 0xff)
            .next()
            .and_then(|n| std::str::from_utf8(n).ok())
            .unwrap_or("")
    }
    /// The labels, without the metric's name.
    pub fn labels(&self) -> Labels {
        self.pairs().collect()
    }
    /// The labels, the metric's name as `__name__` among them.
    pub fn all_labels(&self) -> Labels {
        // A separator stands before each name and each value.
        let count = self.0.iter().filter(|b| **b == 0xff).count() / 2;
        let mut labels = Labels::with_capacity(self.0.len() + NAME.len() - 2 * count, count + 1);
        for (name, value) in self.pairs() {
            labels.set(name, value);
        }
        labels.with(NAME, self.metric())
    }
    /// Name and value of each label, by name, without the metric's name.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut parts = self
            .0
            .split(|b| *b == 0xff)
            .skip(1)
            .map(|p| std::str::from_utf8(p).unwrap_or(""));
        std::iter::from_fn(move || Some((parts.next()?, parts.next()?)))
    }
    /// Whether all matchers hold; `__name__` is the metric's name.
    pub fn matches(&self, matchers: &[Matcher]) -> bool {
        matchers.iter().all(|m| {
            m.matches(match m.name.as_str() {
                "__name__" => self.metric(),
                name => self.pairs().find(|(n, _)| *n == name).map_or("", |p| p.1),
            })
        })
    }
}

/// Appends one label to a key under construction; call it in order of the labels' names.
pub fn push_label(key: &mut Vec<u8>, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
    key.push(0xff);
    key.extend_from_slice(name.as_ref());
    key.push(0xff);
    key.extend_from_slice(value.as_ref());
}

impl fmt::Display for SeriesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = self.labels();
        f.write_str(self.metric())?;
        if labels.is_empty() {
            Ok(())
        } else {
            write!(f, "{labels}")
        }
    }
}

impl fmt::Debug for SeriesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Whether `name` may name a metric: letters, digits, `_`, `:`, `.`, `-`, not starting with a digit, `.` or `-`.
pub fn is_metric_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_' || b == b':')
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'.' | b'-'))
}

/// Whether `name` may name a label: letters, digits and `_`, not starting with a digit, not with the reserved `__`.
pub fn is_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !name.starts_with("__")
}

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`, anchored at both ends
    Regex,
    /// `!~`, anchored at both ends
    NotRegex,
}

/// One condition on one label: `region="east"`, `instance=~"api-.*"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "RawMatcher", into = "RawMatcher")]
pub struct Matcher {
    /// The label's name.
    pub name: String,
    /// How it is compared.
    pub op: MatchOp,
    /// With what: a value, or a regular expression.
    pub value: String,
    regex: Option<regex::Regex>,
}

#[derive(Clone, Serialize, Deserialize)]
struct RawMatcher {
    name: String,
    op: MatchOp,
    value: String,
}

impl From<Matcher> for RawMatcher {
    fn from(m: Matcher) -> Self {
        RawMatcher {
            name: m.name,
            op: m.op,
            value: m.value,
        }
    }
}

impl TryFrom<RawMatcher> for Matcher {
    type Error = SelectorError;
    fn try_from(raw: RawMatcher) -> Result<Self, SelectorError> {
        Matcher::new(raw.name, raw.op, raw.value)
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

impl Eq for Matcher {}

impl Matcher {
    /// A matcher; a regular expression is compiled here, so that matching cannot fail.
    pub fn new(
        name: impl Into<String>,
        op: MatchOp,
        value: impl Into<String>,
    ) -> Result<Self, SelectorError> {
        let (name, value) = (name.into(), value.into());
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => {
                Some(pattern::anchored(&value).map_err(|error| SelectorError {
                    at: 0,
                    what: format!("`{value}` is not a regular expression: {error}"),
                })?)
            }
        };
        Ok(Self {
            name,
            op,
            value,
            regex,
        })
    }
    /// Whether a label's value ("" if it has none) satisfies this.
    pub fn matches(&self, value: &str) -> bool {
        let found = self.regex.as_ref().is_some_and(|r| r.is_match(value));
        match self.op {
            MatchOp::Equal => self.value == value,
            MatchOp::NotEqual => self.value != value,
            MatchOp::Regex => found,
            MatchOp::NotRegex => !found,
        }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = match self.op {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        };
        write!(f, "{}{op}{:?}", self.name, self.value)
    }
}

/// Which series are meant: a metric's name and matchers that must all hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// The metric's name.
    pub metric: String,
    /// Conditions on its labels.
    pub matchers: Vec<Matcher>,
}

impl Selector {
    /// Whether a series is picked.
    pub fn matches(&self, key: &SeriesKey) -> bool {
        if key.metric() != self.metric {
            return false;
        }
        if self.matchers.is_empty() {
            return true;
        }
        let labels = key.labels();
        self.matchers.iter().all(|m| m.matches(labels.get(&m.name)))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.metric)?;
        if self.matchers.is_empty() {
            return Ok(());
        }
        let inner: Vec<String> = self.matchers.iter().map(Matcher::to_string).collect();
        write!(f, "{{{}}}", inner.join(","))
    }
}

/// Why a text is not a selector or a list of matchers; `at` is the byte where it goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct SelectorError {
    /// Byte offset into the text.
    pub at: usize,
    /// What is wrong there and what to write.
    pub what: String,
}

impl FromStr for Selector {
    type Err = SelectorError;
    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let fail = |at: usize, what: String| Err(SelectorError { at, what });
        let (metric, inner) = match text.find('{') {
            None => (text, None),
            Some(open) => {
                let (metric, braces) = text.split_at(open);
                match braces
                    .strip_prefix('{')
                    .and_then(|b| b.trim_end().strip_suffix('}'))
                {
                    Some(inner) => (metric, Some((open + 1, inner))),
                    None => {
                        return fail(
                            text.len(),
                            "the selector's `{` is never closed: end it with `}`".to_owned(),
                        );
                    }
                }
            }
        };
        let metric = metric.trim();
        if !is_metric_name(metric) {
            return fail(
                0,
                format!(
                    "`{metric}` is not a metric name: letters, digits, `_`, `:`, `.` and `-`, starting with a letter, `_` or `:`"
                ),
            );
        }
        let matchers = match inner {
            None => Vec::new(),
            Some((at, inner)) => parse_matchers(inner).map_err(|e| SelectorError {
                at: at + e.at,
                what: e.what,
            })?,
        };
        Ok(Selector {
            metric: metric.to_owned(),
            matchers,
        })
    }
}

/// Reads `a="x", b=~"y.*"`; quotes may be left out around a value without `,` or space.
pub fn parse_matchers(text: &str) -> Result<Vec<Matcher>, SelectorError> {
    let mut matchers = Vec::new();
    let mut rest = text;
    let at = |rest: &str| text.len() - rest.len();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(matchers);
        }
        let name_end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        let (name, tail) = rest.split_at(name_end);
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(SelectorError {
                at: at(rest),
                what: "expected a label name here, as in `region=\"east\"`".to_owned(),
            });
        }
        let tail = tail.trim_start();
        let ops = [
            ("=~", MatchOp::Regex),
            ("!~", MatchOp::NotRegex),
            ("!=", MatchOp::NotEqual),
            ("=", MatchOp::Equal),
        ];
        let Some((op, tail)) = ops
            .iter()
            .find_map(|(sign, op)| tail.strip_prefix(sign).map(|t| (*op, t)))
        else {
            return Err(SelectorError {
                at: at(tail),
                what: format!("expected `=`, `!=`, `=~` or `!~` after `{name}`"),
            });
        };
        let tail = tail.trim_start();
        let value_at = at(tail);
        let (value, tail) = match tail.chars().next() {
            Some(quote @ ('"' | '\'')) => quoted(tail, quote).ok_or_else(|| SelectorError {
                at: value_at,
                what: "this quoted value never ends".to_owned(),
            })?,
            Some(_) | None => {
                let end = tail.find([',', ' ', '"']).unwrap_or(tail.len());
                let (value, tail) = tail.split_at(end);
                (value.to_owned(), tail)
            }
        };
        matchers.push(Matcher::new(name, op, value).map_err(|e| SelectorError {
            at: value_at,
            what: e.what,
        })?);
        let tail = tail.trim_start();
        rest = match tail.strip_prefix(',') {
            Some(next) => next,
            None if tail.is_empty() => tail,
            None => {
                return Err(SelectorError {
                    at: at(tail),
                    what: "expected `,` between matchers".to_owned(),
                });
            }
        };
    }
}

fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((i, c)) = chars.next() {
        match c {
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                other => value.push(other),
            },
            c if c == quote => return text.get(i + c.len_utf8()..).map(|rest| (value, rest)),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_names_its_series_and_reads_back() {
        let labels: Labels = [("region", "east"), ("az", "1"), ("empty", "")]
            .into_iter()
            .collect();
        let key = SeriesKey::new("county_api_ms", &labels);
        assert_eq!(key.metric(), "county_api_ms");
        assert_eq!(key.labels(), labels);
        assert_eq!(key.to_string(), r#"county_api_ms{az="1",region="east"}"#);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

        /// Whatever is set in whichever order.
        #[test]
        fn labels_are_a_map_without_empty_values(
            sets in prop::collection::vec(("[aä_z]{0,2}", "[bß]{0,2}"), 0..20),
            others in prop::collection::vec(("[aä_z]{0,2}", "[bß]{1,2}"), 0..3),
        ) {
            let (mut labels, mut map) = (Labels::new(), BTreeMap::new());
            for (name, value) in sets {
                labels.set(&name, &value);
                map.insert(name, value);
                map.retain(|_, value| !value.is_empty());
                let pairs: Vec<(&str, &str)> = labels.iter().collect();
                let wanted: Vec<(&str, &str)> = map.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
                prop_assert_eq!(&pairs, &wanted);
                prop_assert_eq!((labels.len(), labels.is_empty()), (map.len(), map.is_empty()));
            }
            for name in ["", "a", "ä", "_z", "zz"] {
                prop_assert_eq!(labels.get(name), map.get(name).map_or("", String::as_str));
            }
            let again: Labels = map.iter().rev().collect();
            prop_assert_eq!(&again, &labels);
            let written = serde_json::to_string(&labels).unwrap();
            prop_assert_eq!(&written, &serde_json::to_string(&map).unwrap());
            prop_assert_eq!(&serde_json::from_str::<Labels>(&written).unwrap(), &labels);
            let key = SeriesKey::new("m", &labels);
            prop_assert_eq!(key.all_labels(), labels.clone().with("__name__", "m"));
            let other: BTreeMap<String, String> = others.into_iter().collect();
            let other_labels: Labels = other.iter().collect();
            prop_assert_eq!(labels.cmp(&other_labels), map.cmp(&other));
        }
    }

    #[test]
    fn selectors_pick_series() {
        let key = SeriesKey::new(
            "m",
            &Labels::new().with("region", "east").with("job", "api-1"),
        );
        for (text, expected) in [
            ("m", true),
            ("other", false),
            (r#"m{region="east"}"#, true),
            (r#"m{region!="east"}"#, false),
            (r#"m{job=~"api-.*", region = 'east'}"#, true),
            (r#"m{job=~"api"}"#, false),
            (r#"m{missing=""}"#, true),
            (r#"m{job!~"db.*",}"#, true),
        ] {
            let selector: Selector = text.parse().unwrap();
            assert_eq!(selector.matches(&key), expected, "{text}");
        }
    }

    #[test]
    fn a_bad_selector_says_where_and_why() {
        let e = |t: &str| t.parse::<Selector>().unwrap_err();
        assert_eq!(e("m{region").at, 8);
        assert_eq!(e("m{region}").at, 8);
        assert_eq!(e("m{a=\"x\" b=\"y\"}").at, 8);
        assert!(e("9m").what.contains("not a metric name"));
        assert!(e("m{a=~\"(\"}").what.contains("not a regular expression"));
    }
}
