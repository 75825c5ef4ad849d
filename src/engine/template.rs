//! The words of an alert: Go templates over `$labels` and `$value`, with Prometheus's functions, as in its rule files.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

mod functions;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::{MissingKey, Template, TemplateError, Value};

use crate::engine::limits::TEMPLATE_QUERIES_MAX;
use crate::engine::template::functions::Answers;
use crate::model::labels::Labels;
use crate::model::time::Timestamp;

const PRELUDE: &str = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}";
/// Bytes that a template may make; the rest is cut.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// Turns of a loop.
const TURNS_MAX: u64 = 10_000;

/// Whether a text is a template that can be expanded; the error says why not.
///
/// # Errors
/// What Prometheus refuses at load: bad syntax, unknown functions and variables.
pub fn check(text: &str) -> Result<(), String> {
    if !text.contains("{{") {
        return Ok(());
    }
    let parsed = parse(
        text,
        functions::all(Timestamp::default(), "", &Answers::default()),
    );
    let parsed = parsed.map_err(|e| e.to_string())?;
    names(text)?;
    let nothing = Context {
        labels: &Labels::new(),
        external_labels: &Labels::new(),
        external_url: "",
        value: 0.0,
        now: Timestamp::default(),
        ask: &|_| Ok(Found::new()),
    };
    // What depends on values may fail here and not later; what is unknown by name fails always.
    match parsed.execute_to_string(&data(&nothing)) {
        Err(
            error @ (TemplateError::UndefinedVariable(_)
            | TemplateError::UndefinedFunction(_)
            | TemplateError::UndefinedTemplate(_)),
        ) => Err(error.to_string()),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Functions of Go's own, and its words.
const GO: &[&str] = &[
    "and", "block", "break", "call", "continue", "define", "else", "end", "eq", "false", "ge",
    "gt", "html", "if", "index", "js", "le", "len", "lt", "ne", "nil", "not", "or", "print",
    "printf", "println", "range", "slice", "template", "toTime", "true", "urlquery", "with",
];

/// Looks at every action, taken or not: the names in it must be known.
fn names(text: &str) -> Result<(), String> {
    let functions = functions::all(Timestamp::default(), "", &Answers::default());
    let mut variables = vec!["$labels", "$externalLabels", "$externalURL", "$value", "$"];
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("{{") {
        let (action, tail) = after.split_once("}}").unwrap_or((after, ""));
        rest = tail;
        let comment = action.trim_start_matches(['-', ' ']).starts_with("/*");
        for (word, declares) in if comment {
            Vec::new()
        } else {
            bare_words(action)
        } {
            if word.starts_with('$') {
                if declares {
                    variables.push(word);
                } else if !variables.contains(&word) {
                    return Err(format!("undefined variable \"{word}\""));
                }
            } else if !GO.contains(&word) && (word == IS_FLOAT || !functions.contains_key(word)) {
                return Err(format!("function \"{word}\" not defined"));
            }
        }
    }
    Ok(())
}

/// Variables and function names of an action, without fields, numbers and texts; whether a variable is declared there.
fn bare_words(action: &str) -> Vec<(&str, bool)> {
    let mut words = Vec::new();
    let mut rest = action;
    let declares = action.contains(":=");
    let before_sign = action.split(":=").next().map_or(0, str::len);
    while let Some(first) = rest.chars().next() {
        let at = action.len() - rest.len();
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let length = match first {
            '"' | '`' | '\'' => quoted(rest),
            '.' => {
                1 + rest
                    .chars()
                    .skip(1)
                    .take_while(|c| is_name(*c))
                    .map(char::len_utf8)
                    .sum::<usize>()
            }
            '0'..='9' => rest
                .chars()
                .take_while(|c| is_name(*c) || *c == '.')
                .map(char::len_utf8)
                .sum(),
            '$' => {
                1 + rest
                    .chars()
                    .skip(1)
                    .take_while(|c| is_name(*c))
                    .map(char::len_utf8)
                    .sum::<usize>()
            }
            c if c.is_alphabetic() || c == '_' => rest
                .chars()
                .take_while(|c| is_name(*c))
                .map(char::len_utf8)
                .sum(),
            c => c.len_utf8(),
        };
        let (word, tail) = rest.split_at_checked(length).unwrap_or((rest, ""));
        rest = tail;
        if first == '$' || first.is_alphabetic() || first == '_' {
            words.push((word, declares && at < before_sign));
        }
    }
    words
}

/// Bytes of a literal, its quotes among them.
fn quoted(text: &str) -> usize {
    let mut chars = text.char_indices();
    let Some((_, quote)) = chars.next() else {
        return 0;
    };
    let mut escaped = false;
    for (at, c) in chars {
        match c {
            '\\' if quote != '`' && !escaped => escaped = true,
            c if c == quote && !escaped => return at + c.len_utf8(),
            _ => escaped = false,
        }
    }
    text.len()
}

/// A function of our own, whether something is a number with a point; no template can name it.
const IS_FLOAT: &str = "_isFloat";

fn parse(text: &str, functions: gotmpl::FuncMap) -> Result<Template, TemplateError> {
    Template::new("template")
        .missing_key(MissingKey::ZeroValue)
        .max_range_iters(TURNS_MAX)
        .funcs(functions)
        .parse(&format!("{PRELUDE}{}", as_go_prints(text)))
}

/// Go prints a number that stands alone in an action as its `%v` does, with an exponent from a million on.
fn as_go_prints(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (action, tail) = after.split_once("}}").unwrap_or((after, ""));
        out.push_str(before);
        out.push_str("{{");
        let bare = action.trim_matches(|c| c == '-' || c == ' ');
        let of_value = action.contains("$value") || action.contains(".Value");
        if matches!(bare, "$value" | ".Value") {
            let (open, close) = action.split_once(bare).unwrap_or(("", ""));
            out.push_str(&format!("{open} printf \"%g\" {bare} {close}"));
        } else if of_value && action.contains("printf") && action.matches('%').count() == 1 {
            out.push_str(&action.replace("%v", "%g"));
        } else if is_variable(bare) {
            let (open, close) = action.split_once(bare).unwrap_or(("", ""));
            out.push_str(&format!(
                "{open}if {IS_FLOAT} {bare} }}}}{{{{ printf \"%g\" {bare} }}}}{{{{ else }}}}{{{{ {bare} }}}}{{{{ end{close}"
            ));
        } else if prints_value(bare) {
            let (open, close) = action.split_once(bare).unwrap_or(("", ""));
            out.push_str(&format!("{open}{bare} | printf \"%g\"{close}"));
        } else {
            out.push_str(action);
        }
        if after.contains("}}") {
            out.push_str("}}");
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// Whether an action prints the value of a sample: it ends in `value`, and is neither a condition nor an assignment.
fn prints_value(action: &str) -> bool {
    let words = ["if", "with", "range", "else", "define", "block", "template"];
    let first = action.split_whitespace().next().unwrap_or_default();
    let last = action.rsplit('|').next().unwrap_or_default().trim();
    let takes = last == "value" || last.starts_with("value ");
    takes && !words.contains(&first) && !action.contains('=') || prints_field(action)
}

/// A variable that stands alone: it may hold a number.
fn is_variable(action: &str) -> bool {
    let name = action.strip_prefix('$').filter(|n| !n.is_empty());
    name.is_some_and(|n| n.chars().all(|c| c.is_alphanumeric() || c == '_'))
}

/// `$sample.Value`, alone.
fn prints_field(action: &str) -> bool {
    action.strip_suffix(".Value").is_some_and(is_variable)
}

fn data(context: &Context<'_>) -> Value {
    let texts = |labels: &Labels| {
        let fields = labels
            .iter()
            .map(|(n, v)| (Arc::from(n), Value::String(Arc::from(v))));
        Value::Map(Arc::new(fields.collect()))
    };
    let url = Value::String(Arc::from(context.external_url));
    let data: BTreeMap<Arc<str>, Value> = [
        (Arc::from("Labels"), texts(context.labels)),
        (Arc::from("ExternalLabels"), texts(context.external_labels)),
        (Arc::from("ExternalURL"), url),
        (Arc::from("Value"), Value::Float(context.value)),
    ]
    .into_iter()
    .collect();
    Value::Map(Arc::new(data))
}

/// What a query of a template finds: the labels and the value of each element.
pub type Found = Vec<(Labels, f64)>;

/// Answers a query of a template.
pub type Ask<'a> = dyn Fn(&str) -> Result<Found, String> + 'a;

/// What a template is expanded with.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// `$labels`
    pub labels: &'a Labels,
    /// `$externalLabels`
    pub external_labels: &'a Labels,
    /// `$externalURL`
    pub external_url: &'a str,
    /// `$value`
    pub value: f64,
    /// The time of the evaluation.
    pub now: Timestamp,
    /// Answers its queries.
    pub ask: &'a Ask<'a>,
}

/// Expands one template where there is nothing outside to speak of.
pub fn expand(text: &str, labels: &Labels, value: f64, now: Timestamp, ask: &Ask<'_>) -> String {
    expand_in(
        text,
        &Context {
            labels,
            external_labels: &Labels::new(),
            external_url: "",
            value,
            now,
            ask,
        },
    )
}

/// Expands one template. A failure goes into the text, so that the alert is told all the same.
pub fn expand_in(text: &str, context: &Context<'_>) -> String {
    if !text.contains("{{") {
        return text.to_owned();
    }
    let answers = Answers::default();
    let parsed = parse(
        text,
        functions::all(context.now, context.external_url, &answers),
    );
    let data = data(context);
    let done = parsed.and_then(|template| {
        loop {
            let done = template.execute_to_string(&data);
            match answers.wanted() {
                Some(query) if answers.len() < TEMPLATE_QUERIES_MAX => {
                    let found = (context.ask)(&query);
                    answers.add(query, found);
                }
                Some(_) => {
                    let why = format!("more than {TEMPLATE_QUERIES_MAX} queries");
                    return Err(TemplateError::Exec(why));
                }
                None => return done,
            }
        }
    });
    match done {
        Ok(text) => {
            // A label that an alert does not have is an empty text in Go's map of texts.
            let mut text = text.replace("<no value>", "");
            let end = (0..=TEXT_BYTES_MAX.min(text.len()))
                .rev()
                .find(|i| text.is_char_boundary(*i));
            text.truncate(end.unwrap_or(0));
            text
        }
        Err(error) => format!("<error expanding template: {error}>"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_annotation_reads_labels_and_value() {
        let labels = Labels::new().with("region", "east");
        assert_eq!(
            expand(
                "{{ $labels.region }} is slow: {{ $value }} ms",
                &labels,
                1580.0,
                Timestamp::default(),
                &|_| Ok(Vec::new()),
            ),
            "east is slow: 1580 ms"
        );
        assert!(
            expand("{{ nosuch }}", &labels, 1.0, Timestamp::default(), &|_| Ok(
                Vec::new()
            ))
            .starts_with("<error expanding template")
        );
        assert!(check("{{ if }}").is_err());
    }

    #[test]
    fn functions_say_what_promtool_says() {
        let labels = Labels::new()
            .with("instance", "db-1.example.org:9100")
            .with("job", "node exporter");
        let told = |template: &str, value: f64| {
            assert_eq!(check(template), Ok(()), "{template}");
            expand(
                template,
                &labels,
                value,
                Timestamp::from_ms(1_700_000_000_000),
                &|_| Ok(Vec::new()),
            )
        };
        let cases = [
            ("{{ $value }}", 1e6),
            ("{{ $value }}", 123_456_789.0),
            ("{{- $value -}}", 0.000_012_34),
            ("{{ $value | humanize }}", 1_234_567.0),
            ("{{ humanize $value }}", 0.000_012_34),
            ("{{ humanize $value }}", 12_345_678_901_234_567_890_123.0),
            ("{{ humanize1024 $value }}", 1_048_576.0),
            ("{{ humanizeDuration $value }}", 93_784.0),
            ("{{ humanizeDuration $value }}", 59.5),
            ("{{ humanizeDuration $value }}", -3_661.0),
            ("{{ humanizePercentage $value }}", 0.123_456),
            ("{{ humanizeTimestamp $value }}", 1_435_065_584.128),
            ("{{ printf \"%.2f\" $value }}%", 12.345),
            (
                "{{ $labels.instance | stripPort }} {{ stripDomain $labels.instance }}",
                0.0,
            ),
            ("{{ title $labels.job }} {{ toUpper \"ab\" }}", 0.0),
            (
                "{{ reReplaceAll \"(.*):(.*)\" \"$2 on $1\" $labels.instance }}",
                0.0,
            ),
            ("{{ if gt $value 5.0 }}high{{ else }}low{{ end }}", 7.0),
            (
                "{{ with $labels.nope }}x{{ else }}none{{ end }}{{ $labels.nope }}",
                0.0,
            ),
            ("{{ range $n, $v := $labels }}{{ $n }};{{ end }}", 0.0),
            ("{{ if match \"^db\" $labels.instance }}db{{ end }}", 0.0),
            ("{{ graphLink \"up == 0\" }}", 0.0),
            ("{{ now | humanizeTimestamp }}", 0.0),
        ];
        let told: Vec<String> = cases.iter().map(|(t, v)| told(t, *v)).collect();
        expect_test::expect![[r#"
            1e+06
            1.23456789e+08
            1.234e-05
            1.235M
            12.34u
            12.35Z
            1Mi
            1d 2h 3m 4s
            59.5s
            -1h 1m 1s
            12.35%
            2015-06-23 13:19:44.128 +0000 UTC
            12.35%
            db-1.example.org db-1:9100
            Node Exporter AB
            9100 on db-1.example.org
            high
            none
            instance;job;
            db
            /graph?g0.expr=up+%3D%3D+0&g0.tab=0
            2023-11-14 22:13:20 +0000 UTC"#]]
        .assert_eq(&told.join("\n"));
    }

    #[test]
    fn what_is_unknown_is_refused_at_load_wherever_it_stands() {
        let told: Vec<String> = [
            "{{ $label.x }}",
            "{{ unknown }}",
            "{{ if false }}{{ $nope }}{{ end }}",
            "{{ .Labels.x | nosuch }}",
            "{{ $x := 1 }}{{ $x }}{{ \"$y unknown\" }}{{/* $z foo */}}",
            "{{ template \"nope\" }}",
        ]
        .iter()
        .map(|t| check(t).err().unwrap_or_else(|| "fine".to_owned()))
        .collect();
        expect_test::expect![[r#"
            undefined variable "$label"
            function "unknown" not defined
            undefined variable "$nope"
            function "nosuch" not defined
            fine
            undefined template: nope"#]]
        .assert_eq(&told.join("\n"));
    }

    #[test]
    fn queries_are_answered_within_bounds() {
        let labels = Labels::new().with("i", "a");
        let asked = std::cell::RefCell::new(Vec::new());
        let ask = |query: &str| {
            asked.borrow_mut().push(query.to_owned());
            match query {
                "bad" => Err("unknown".to_owned()),
                "none" => Ok(Vec::new()),
                _ => Ok(vec![
                    (
                        Labels::new().with("i", "b").with("__value__", "x"),
                        1_000_000.0,
                    ),
                    (Labels::new().with("i", "a"), 2.5),
                ]),
            }
        };
        let told: Vec<String> = [
            "{{ query \"m\" | first | value }}",
            "{{ with query \"m\" }}{{ . | first | label \"i\" }} {{ . | first | strvalue }}{{ end }}",
            "{{ range query \"m\" | sortByLabel \"i\" }}{{ .Labels.i }}={{ .Value }};{{ end }}",
            "{{ range $s := query \"m\" }}{{ $s.Value }},{{ end }}",
            "{{ with printf \"m{i='%s'}\" $labels.i | query }}{{ . | first | value | humanize }}{{ end }}",
            "{{ if query \"none\" }}some{{ else }}none{{ end }}",
            "{{ query \"none\" | first | value }}",
            "{{ query \"bad\" }}",
            "{{ $x := query \"m\" | first | value }}{{ if gt $x 5.0 }}high{{ end }}",
            "{{ range $i := slice \"abcdefghijklmnopqrstuvwxyz\" 0 20 }}{{ end }}",
        ]
        .iter()
        .map(|t| {
            assert_eq!(check(t), Ok(()), "{t}");
            expand(t, &labels, 1.0, Timestamp::default(), &ask)
        })
        .collect();
        let many: String = (0..20)
            .map(|i| format!("{{{{ query \"q{i}\" | len }}}}"))
            .collect();
        let many = expand(&many, &labels, 1.0, Timestamp::default(), &ask);
        expect_test::expect![[r#"
            1e+06
            b x
            a=2.5;b=1e+06;
            1e+06,2.5,
            1M
            none
            <error expanding template: execution error: first() called on vector with no elements>
            <error expanding template: execution error: error calling query: unknown>
            high
            <error expanding template: cannot range over string>
            <error expanding template: execution error: more than 16 queries>"#]]
        .assert_eq(&format!("{}\n{many}", told.join("\n")));
        assert!(asked.borrow().contains(&"m{i='a'}".to_owned()));
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]
        #[test]
        fn no_text_panics(text in "(\\{\\{|\\}\\}|\\$|[a-z. |\"()-]){0,40}") {
            let _ = check(&text);
            let ask = |_: &str| Ok(vec![(Labels::new(), 1.0)]);
            let _ = expand(&text, &Labels::new(), 1.0, Timestamp::default(), &ask);
        }
    }
}
