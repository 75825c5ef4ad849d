//! Lines of cells, aligned; and how JSON values are worded in a cell. What an engine sends is only believed as far as
//! needed: a missing field is an empty cell, and control characters do not reach the terminal.

use std::fmt::Write as _;

use serde_json::Value;

use crate::model::time::Timestamp;

/// Aligned columns under a head; `none` if there is no row.
pub fn table<const N: usize>(head: [&str; N], rows: &[[String; N]], none: &str) -> String {
    if rows.is_empty() {
        return none.to_owned();
    }
    let head = head.map(str::to_owned);
    let mut widths = [0; N];
    for row in std::iter::once(&head).chain(rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// The items of a list in an answer.
pub fn items<'a>(answer: &'a Value, key: &str) -> &'a [Value] {
    answer
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// A field as text; `a/b` is a field in a field.
pub fn field(value: &Value, path: &str) -> String {
    path.split('/')
        .try_fold(value, |v, key| v.get(key))
        .map_or_else(String::new, worded)
}

/// A field that counts milliseconds since the epoch, as a date with a time, UTC.
pub fn instant(value: &Value, path: &str) -> String {
    let found = path.split('/').try_fold(value, |v, key| v.get(key));
    match found.and_then(Value::as_i64) {
        Some(ms) => {
            let text = Timestamp::from_ms(ms).rfc3339();
            match text.get(..19) {
                Some(seconds) if text.ends_with('Z') => format!("{}Z", seconds.replace('T', " ")),
                _ => text,
            }
        }
        None => found.map_or_else(String::new, worded),
    }
}

/// A value for a cell: labels as `{a="x"}`, lists with commas.
pub fn worded(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(n) => n.to_string(),
        Value::String(text) => visible(text),
        Value::Array(list) => list.iter().map(worded).collect::<Vec<_>>().join(", "),
        Value::Object(map) => {
            let pairs = map
                .iter()
                .map(|(k, v)| format!("{}={:?}", visible(k), worded(v)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
    }
}

/// The text without what a terminal would obey.
pub fn visible(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_line_up() {
        let answer = json!({"a": [
            {"id": 7, "at": 1_700_000_000_123_i64, "labels": {"x": "a\u{1b}[31m"}, "run": {"script": "s.sh"}},
            {"id": "long one", "at": null, "labels": ["p", "q"]},
        ]});
        let rows: Vec<[String; 4]> = items(&answer, "a")
            .iter()
            .map(|v| {
                [
                    field(v, "id"),
                    instant(v, "at"),
                    field(v, "run/script"),
                    field(v, "labels"),
                ]
            })
            .collect();
        expect![[r#"
            ID        AT                    RUN   LABELS
            7         2023-11-14 22:13:20Z  s.sh  {x="a [31m"}
            long one                              p, q
        "#]]
        .assert_eq(&table(["ID", "AT", "RUN", "LABELS"], &rows, "none"));
        assert_eq!(table(["ID"], &[], "none"), "none");
    }
}
