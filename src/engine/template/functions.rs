//! What templates may call beside Go's own functions: Prometheus's, by its names.
//!
//! Source: Prometheus's documentation of its template functions; checked against `promtool`.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use gotmpl::{FuncMap, TemplateError, Value};

use crate::engine::template::{Found, IS_FLOAT, words};
use crate::model::labels::Labels;
use crate::model::time::{Duration, Timestamp};

type Done = Result<Value, TemplateError>;

/// Bytes a pattern may take once compiled.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// All functions, at a time, of a program that is found at a URL, with what is known of queries.
pub(super) fn all(now: Timestamp, external_url: &str, answers: &Answers) -> FuncMap {
    let mut map = FuncMap::new();
    let mut put = |name: &str, f: fn(&[Value]) -> Done| {
        map.insert(name.to_owned(), Arc::new(f) as gotmpl::ValueFunc);
    };
    put("title", |a| Ok(string(words::title(&text(a, 0)))));
    put("toUpper", |a| Ok(string(text(a, 0).to_uppercase())));
    put("toLower", |a| Ok(string(text(a, 0).to_lowercase())));
    put("safeHtml", |a| Ok(string(text(a, 0))));
    put("match", |a| {
        Ok(Value::Bool(pattern(&text(a, 0))?.is_match(&text(a, 1))))
    });
    put("reReplaceAll", |a| {
        let (pattern, with, text) = (pattern(&text(a, 0))?, text(a, 1), text(a, 2));
        Ok(string(
            pattern.replace_all(&text, with.as_str()).into_owned(),
        ))
    });
    put("stripPort", |a| Ok(string(words::strip_port(&text(a, 0)))));
    put("stripDomain", |a| {
        Ok(string(words::strip_domain(&text(a, 0))))
    });
    put("urlQueryEscape", |a| {
        Ok(string(words::url_query_escape(&text(a, 0))))
    });
    put("graphLink", |a| Ok(string(link(&text(a, 0), 0))));
    put("tableLink", |a| Ok(string(link(&text(a, 0), 1))));
    put("pathPrefix", |_| Ok(string(String::new())));
    put("humanize", |a| Ok(string(words::humanize(number(a)?))));
    put("humanize1024", |a| {
        Ok(string(words::humanize_1024(number(a)?)))
    });
    put("humanizeDuration", |a| {
        Ok(string(words::humanize_duration(number(a)?)))
    });
    put("humanizePercentage", |a| {
        Ok(string(words::humanize_percentage(number(a)?)))
    });
    put("humanizeTimestamp", |a| {
        Ok(string(words::humanize_timestamp(number(a)?)))
    });
    put("toDuration", |a| Ok(string(words::go_duration(number(a)?))));
    put("parseDuration", |a| {
        let text = text(a, 0);
        let length: Duration = text.parse().map_err(|e| failed(format!("{e}")))?;
        Ok(Value::Float(length.secs_f64()))
    });
    put("args", |a| {
        let pairs = a
            .iter()
            .enumerate()
            .map(|(i, v)| (Arc::from(format!("arg{i}")), v.clone()));
        Ok(Value::Map(Arc::new(pairs.collect())))
    });
    put(IS_FLOAT, |a| {
        Ok(Value::Bool(matches!(a.first(), Some(Value::Float(_)))))
    });
    put("first", |a| match a.first() {
        Some(Value::List(items)) => items
            .first()
            .cloned()
            .ok_or_else(|| failed("first() called on vector with no elements")),
        _ => Err(failed("first() takes the result of a query")),
    });
    put("value", |a| Ok(field(a.first(), "Value")));
    put("strvalue", |a| Ok(label_of(a.first(), "__value__")));
    put("label", |a| Ok(label_of(a.get(1), &text(a, 0))));
    put("sortByLabel", |a| {
        let (name, list) = (text(a, 0), a.get(1));
        let Some(Value::List(items)) = list else {
            return Err(failed("sortByLabel takes the result of a query"));
        };
        let mut sorted = items.to_vec();
        sorted.sort_by_key(|v| label_of(Some(v), &name).to_string());
        Ok(Value::List(sorted.into()))
    });
    let url = string(external_url.to_owned());
    map.insert(
        "externalURL".to_owned(),
        Arc::new(move |_: &[Value]| Ok(url.clone())),
    );
    let seconds = now.ms() as f64 / 1_000.0;
    map.insert(
        "now".to_owned(),
        Arc::new(move |_: &[Value]| Ok(Value::Float(seconds))),
    );
    let answers = answers.clone();
    map.insert(
        "query".to_owned(),
        Arc::new(move |a: &[Value]| answers.query(&text(a, 0))),
    );
    map
}

/// Answers to the queries of one template. What is not answered yet is noted and ends the turn; the next one knows it.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers(Arc<Mutex<Told>>);

#[derive(Debug, Default)]
struct Told {
    known: BTreeMap<String, Result<Value, String>>,
    wanted: Option<String>,
}

impl Answers {
    /// The query that ended the last turn.
    pub fn wanted(&self) -> Option<String> {
        self.0.lock().ok()?.wanted.take()
    }
    /// How many are known.
    pub fn len(&self) -> usize {
        self.0.lock().map_or(0, |told| told.known.len())
    }
    /// Adds an answer.
    pub fn add(&self, query: String, found: Result<Found, String>) {
        if let Ok(mut told) = self.0.lock() {
            told.known.insert(query, found.map(samples));
        }
    }
    fn query(&self, text: &str) -> Done {
        let mut told = self.0.lock().map_err(|e| failed(e.to_string()))?;
        match told.known.get(text) {
            Some(Ok(found)) => Ok(found.clone()),
            Some(Err(error)) => Err(failed(format!("error calling query: {error}"))),
            None => {
                told.wanted = Some(text.to_owned());
                Err(failed("not answered yet"))
            }
        }
    }
}

/// A list of samples, each with its labels and value.
fn samples(found: Found) -> Value {
    let sample = |(labels, value): (Labels, f64)| {
        let labels: BTreeMap<Arc<str>, Value> = labels
            .iter()
            .map(|(n, v)| (Arc::from(n), Value::String(Arc::from(v))))
            .collect();
        let fields = [
            (Arc::from("Labels"), Value::Map(Arc::new(labels))),
            (Arc::from("Value"), Value::Float(value)),
        ];
        Value::Map(Arc::new(fields.into_iter().collect()))
    };
    Value::List(found.into_iter().map(sample).collect::<Vec<_>>().into())
}

fn failed(text: impl Into<String>) -> TemplateError {
    TemplateError::Exec(text.into())
}

fn string(text: String) -> Value {
    Value::String(Arc::from(text))
}

fn text(args: &[Value], at: usize) -> String {
    args.get(at).map(ToString::to_string).unwrap_or_default()
}

/// The number at the end: what a pipeline passes on.
fn number(args: &[Value]) -> Result<f64, TemplateError> {
    match args.last() {
        Some(Value::Float(f)) => Ok(*f),
        Some(Value::Int(n)) => Ok(*n as f64),
        Some(Value::Uint(n)) => Ok(*n as f64),
        Some(Value::String(s)) => s
            .parse()
            .map_err(|_| failed(format!("{s:?} is not a number"))),
        _ => Err(failed("can't convert this to a number")),
    }
}

fn pattern(text: &str) -> Result<regex::Regex, TemplateError> {
    regex::RegexBuilder::new(text)
        .size_limit(PATTERN_BYTES_MAX)
        .build()
        .map_err(|e| failed(e.to_string()))
}

fn link(expr: &str, tab: u8) -> String {
    format!(
        "/graph?g0.expr={}&g0.tab={tab}",
        words::url_query_escape(expr)
    )
}

fn field(of: Option<&Value>, name: &str) -> Value {
    let found = match of {
        Some(Value::Map(fields)) => fields.get(name).cloned(),
        _ => None,
    };
    found.unwrap_or(Value::Nil)
}

fn label_of(sample: Option<&Value>, name: &str) -> Value {
    match field(sample, "Labels") {
        Value::Map(labels) => {
            let labels: &BTreeMap<Arc<str>, Value> = &labels;
            labels
                .get(name)
                .cloned()
                .unwrap_or_else(|| string(String::new()))
        }
        _ => string(String::new()),
    }
}
