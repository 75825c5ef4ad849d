//! Labels as they came → the canonical key of their series, or what is wrong with them. Names may be any text, as in
//! Prometheus 3; the bounds are wider than those of `POST /metric`, as service discovery makes many labels.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::borrow::Cow;

use crate::ingest::{NAME_BYTES_MAX, VALUE_BYTES_MAX};
use crate::model::labels::push_label;

/// Labels of one series that comes from Prometheus, or as Prometheus would take it.
pub const SERIES_LABELS_MAX: usize = 128;

/// The label that is the metric's name.
pub const NAME: &str = "__name__";

/// The field that is wrong, and why.
pub type Wrong = (&'static str, String);

/// A name or a value, known to be UTF-8.
pub trait Part {
    /// Its bytes.
    fn bytes(&self) -> &[u8];
}

impl Part for &str {
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Part for &[u8] {
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl Part for Cow<'_, str> {
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// Appends the key of `metric` with `labels`, which are sorted here; a label without a value is none.
///
/// # Errors
/// Something is missing, given twice or too long; then `keys` has grown by something that is no key.
pub fn put_key<P: Part>(
    metric: &[u8],
    labels: &mut [(P, P)],
    keys: &mut Vec<u8>,
) -> Result<(), Wrong> {
    let wrong = |why: String| Err(("labels", why));
    if labels.len() > SERIES_LABELS_MAX {
        return Err(too_many(labels.len()));
    }
    if metric.is_empty() {
        return wrong("this series has no metric's name".to_owned());
    }
    if metric.len() > NAME_BYTES_MAX {
        let bytes = metric.len();
        return wrong(format!(
            "the metric's name has {bytes} bytes; the limit is {NAME_BYTES_MAX}"
        ));
    }
    if !labels.is_sorted_by(|a, b| a.0.bytes() <= b.0.bytes()) {
        labels.sort_unstable_by(|a, b| a.0.bytes().cmp(b.0.bytes()));
    }
    keys.extend_from_slice(metric);
    let mut last: &[u8] = &[];
    for (name, value) in labels.iter() {
        let (name, value) = (name.bytes(), value.bytes());
        if name.is_empty() {
            return wrong(format!(
                "the label with the value {} has no name",
                shown(value)
            ));
        }
        if name == last || name == NAME.as_bytes() {
            return wrong(format!("{} is given twice", shown(name)));
        }
        if name.len() > VALUE_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
            let bytes = name.len().max(value.len());
            let name = shown(name);
            return wrong(format!(
                "the name or value of {name} has {bytes} bytes; the limit is {VALUE_BYTES_MAX}"
            ));
        }
        last = name;
        if !value.is_empty() {
            push_label(keys, name, value);
        }
    }
    Ok(())
}

/// A series has so many labels.
pub fn too_many(count: usize) -> Wrong {
    let why = format!("{count} labels; the limit is {SERIES_LABELS_MAX}");
    ("labels", why)
}

/// The beginning of a text, in quotes.
fn shown(text: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(text).chars().take(40).collect();
    format!("{text:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::labels::SeriesKey;

    fn key(metric: &str, labels: &[(&str, &str)]) -> String {
        let mut keys = Vec::new();
        match put_key(metric.as_bytes(), &mut labels.to_vec(), &mut keys) {
            Ok(()) => SeriesKey::from_canonical(&keys).to_string(),
            Err((field, why)) => format!("{field}: {why}"),
        }
    }

    #[test]
    fn labels_in_any_order_make_one_key_and_wrong_ones_are_named() {
        let long = "x".repeat(3_000);
        let many: Vec<(String, String)> = (0..10_000)
            .map(|i| (format!("l{i}"), "x".to_owned()))
            .collect();
        let many: Vec<(&str, &str)> = many.iter().map(|(n, v)| (&**n, &**v)).collect();
        let told = [
            key("up", &[("zone", "b"), ("Az", "1"), ("none", "")]),
            key("temperature.°C", &[("raum.nr", "4")]),
            key("", &[]),
            key(&long, &[]),
            key("up", &[("a", "1"), ("b", ""), ("a", "2")]),
            key("up", &[("__name__", "down")]),
            key("up", &[("", "x")]),
            key("up", &[("a", &long)]),
            key("up", &[(&long, "a")]),
            key("up", &many),
        ];
        expect_test::expect![[r#"
            up{Az="1",zone="b"}
            temperature.°C{raum.nr="4"}
            labels: this series has no metric's name
            labels: the metric's name has 3000 bytes; the limit is 256
            labels: "a" is given twice
            labels: "__name__" is given twice
            labels: the label with the value "x" has no name
            labels: the name or value of "a" has 3000 bytes; the limit is 2048
            labels: the name or value of "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" has 3000 bytes; the limit is 2048
            labels: 10000 labels; the limit is 128"#]]
        .assert_eq(&told.join("\n"));
    }
}
