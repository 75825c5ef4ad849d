//! Labels as they came → the canonical key of their series, or what is wrong with them. Names may be any text, as in
//! Prometheus 3; the bounds are wider than those of `POST /metric`, as service discovery makes many labels.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::ingest::{NAME_BYTES_MAX, VALUE_BYTES_MAX};
use crate::model::labels::push_label;

/// Labels of one series that comes from Prometheus, or as Prometheus would take it.
pub const SERIES_LABELS_MAX: usize = 128;

/// The label that is the metric's name.
pub const NAME: &str = "__name__";

/// The field that is wrong, and why.
pub type Wrong = (&'static str, String);

/// Appends the key of `metric` with `labels`, which are sorted here; a label without a value is none.
///
/// # Errors
/// Something is missing, given twice or too long; then `keys` has grown by something that is no key.
pub fn put_key<N: AsRef<str>, V: AsRef<str>>(
    metric: &str,
    labels: &mut [(N, V)],
    keys: &mut Vec<u8>,
) -> Result<(), Wrong> {
    if metric.is_empty() {
        return Err((NAME, "this series has no metric's name".to_owned()));
    }
    if metric.len() > NAME_BYTES_MAX {
        return Err((
            NAME,
            format!("{} bytes; the limit is {NAME_BYTES_MAX}", metric.len()),
        ));
    }
    if labels.len() > SERIES_LABELS_MAX {
        return Err((
            "labels",
            format!("{} labels; the limit is {SERIES_LABELS_MAX}", labels.len()),
        ));
    }
    if !labels.is_sorted_by(|a, b| a.0.as_ref() <= b.0.as_ref()) {
        labels.sort_unstable_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
    }
    keys.extend_from_slice(metric.as_bytes());
    let mut last = "";
    for (name, value) in labels.iter() {
        let (name, value) = (name.as_ref(), value.as_ref());
        if name.is_empty() {
            return Err((
                "labels",
                format!("the label with the value {value:?} has no name"),
            ));
        }
        if name == last || name == NAME {
            return Err(("labels", format!("{name:?} is given twice")));
        }
        last = name;
        for (what, text) in [("name", name), ("value", value)] {
            if text.len() > VALUE_BYTES_MAX {
                let start: String = name.chars().take(40).collect();
                return Err((
                    "labels",
                    format!(
                        "the {what} of {start:?} has {} bytes; the limit is {VALUE_BYTES_MAX}",
                        text.len()
                    ),
                ));
            }
        }
        if !value.is_empty() {
            push_label(keys, name, value);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::labels::SeriesKey;

    fn key(metric: &str, labels: &[(&str, &str)]) -> String {
        let mut keys = Vec::new();
        match put_key(metric, &mut labels.to_vec(), &mut keys) {
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
            __name__: this series has no metric's name
            __name__: 3000 bytes; the limit is 256
            labels: "a" is given twice
            labels: "__name__" is given twice
            labels: the label with the value "x" has no name
            labels: the value of "a" has 3000 bytes; the limit is 2048
            labels: the name of "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" has 3000 bytes; the limit is 2048
            labels: 10000 labels; the limit is 128"#]]
        .assert_eq(&told.join("\n"));
    }
}
