//! The words of an alert: Go templates over `$labels` and `$value`, as in Prometheus rule files.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::{MissingKey, Template, Value};

use crate::model::labels::Labels;

const PRELUDE: &str = "{{$labels := .Labels}}{{$value := .Value}}";

/// Whether a text is a template that can be expanded; the error says why not.
pub fn check(text: &str) -> Result<(), String> {
    parse(text).map(|_| ())
}

fn parse(text: &str) -> Result<Template, String> {
    Template::new("annotation")
        .missing_key(MissingKey::ZeroValue)
        .parse(&format!("{PRELUDE}{text}"))
        .map_err(|e| e.to_string())
}

/// Expands one annotation. A failure goes into the text, so that the alert is told all the same.
pub fn expand(text: &str, labels: &Labels, value: f64) -> String {
    if !text.contains("{{") {
        return text.to_owned();
    }
    let fields: BTreeMap<Arc<str>, Value> = labels
        .iter()
        .map(|(n, v)| (Arc::from(n), Value::String(Arc::from(v))))
        .collect();
    let data: BTreeMap<Arc<str>, Value> = [
        (Arc::from("Labels"), Value::Map(Arc::new(fields))),
        (Arc::from("Value"), Value::Float(value)),
    ]
    .into_iter()
    .collect();
    match parse(text).and_then(|t| {
        t.execute_to_string(&Value::Map(Arc::new(data)))
            .map_err(|e| e.to_string())
    }) {
        Ok(text) => text,
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
                1580.0
            ),
            "east is slow: 1580 ms"
        );
        assert!(expand("{{ nosuch }}", &labels, 1.0).starts_with("<error expanding template"));
        assert!(check("{{ if }}").is_err());
    }
}
