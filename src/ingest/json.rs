//! `POST /metric`: one object, an array of them, or one object a line.
//!
//! ```text
//! {"name":"county_api_ms","val":1580,"ts":1700000000,"id":"a1","labels":{"region":"east"}}
//! ```
//!
//! `ts` is seconds, or milliseconds from 1e11 up; without it, the time of arrival. An item that cannot be taken is
//! named by index and field; the others are taken. A body that is no JSON at all is refused as a whole.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::engine::intake::{Batch, Item, Whose, delivery_id};
use crate::ingest::{
    ID_BYTES_MAX, ITEMS_COUNT_MAX, LABELS_COUNT_MAX, NAME_BYTES_MAX, Refused, VALUE_BYTES_MAX,
};
use crate::model::labels::{is_label_name, is_metric_name, push_label};
use crate::model::time::Timestamp;
use crate::model::written::did_you_mean;

/// Why a whole body is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It is not JSON.
    #[error("line {line}, column {column}: {what}")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What the parser found.
        what: String,
    },
    /// Nothing is in it.
    #[error("the body is empty: send one object, an array of objects, or one object a line")]
    Empty,
    /// Too many items.
    #[error("more than {ITEMS_COUNT_MAX} items in one request: send them in parts")]
    TooMany,
}

/// Decodes a body. Items that cannot be taken are in the second part.
pub fn decode(body: &[u8]) -> Result<(Batch, Vec<Refused>), DecodeError> {
    match decode_strict(body) {
        Err(DecodeError::Syntax { line, column, what }) => match quote_bare_numbers(body) {
            // `NaN` and `Infinity` are what some writers make of numbers that JSON has no word for.
            Some(quoted) => decode_strict(&quoted),
            None => Err(DecodeError::Syntax { line, column, what }),
        },
        decoded => decoded,
    }
}

fn decode_strict(body: &[u8]) -> Result<(Batch, Vec<Refused>), DecodeError> {
    let mut taken = Taken::default();
    let first = body.iter().find(|b| !b.is_ascii_whitespace());
    match first {
        None => return Err(DecodeError::Empty),
        Some(b'[') => {
            let mut de = serde_json::Deserializer::from_slice(body);
            serde::de::DeserializeSeed::deserialize(Array(&mut taken), &mut de)
                .and_then(|()| de.end())
                .map_err(|e| syntax(&e, 0))?;
        }
        Some(_) => decode_lines(body, &mut taken)?,
    }
    taken.bounded()?;
    Ok((taken.batch, taken.refused))
}

/// Objects one after the other. A bad line harms only itself, as long as there is a good one.
fn decode_lines(body: &[u8], taken: &mut Taken) -> Result<(), DecodeError> {
    let mut stream = serde_json::Deserializer::from_slice(body).into_iter::<RawItem>();
    let mut whole = Taken::default();
    let broken = loop {
        match stream.next() {
            Some(Ok(item)) => {
                whole.take(item);
                whole.bounded()?;
            }
            Some(Err(error)) => break error,
            None => {
                *taken = whole;
                return Ok(());
            }
        }
    };
    let mut good = 0;
    for line in body
        .split(|b| *b == b'\n')
        .filter(|l| !l.trim_ascii().is_empty())
    {
        match serde_json::from_slice::<RawItem>(line) {
            Ok(item) => {
                good += 1;
                taken.take(item);
            }
            Err(error) => taken.refuse("line", format!("not a JSON object: {error}")),
        }
        taken.bounded()?;
    }
    if good == 0 {
        Err(syntax(&broken, 0))
    } else {
        Ok(())
    }
}

fn syntax(error: &serde_json::Error, line_before: usize) -> DecodeError {
    DecodeError::Syntax {
        line: line_before + error.line(),
        column: error.column(),
        what: error.to_string(),
    }
}

/// The body with bare `NaN`, `Infinity`, `-Infinity` outside of strings put in quotes; `None` if there are none.
fn quote_bare_numbers(body: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut rest, mut in_string, mut found) =
        (Vec::with_capacity(body.len() + 16), body, false, false);
    while let Some((byte, tail)) = rest.split_first() {
        if !in_string {
            let word = [&b"NaN"[..], b"-Infinity", b"Infinity"]
                .into_iter()
                .find(|w| rest.starts_with(w));
            if let Some(word) = word {
                found = true;
                out.push(b'"');
                out.extend_from_slice(word);
                out.push(b'"');
                rest = rest.get(word.len()..).unwrap_or(&[]);
                continue;
            }
        }
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => {
                out.push(*byte);
                let Some((next, after)) = tail.split_first() else {
                    break;
                };
                out.push(*next);
                rest = after;
                continue;
            }
            _ => {}
        }
        out.push(*byte);
        rest = tail;
    }
    found.then_some(out)
}

/// A number, or what stands where one should.
enum Number {
    Is(f64),
    Not(&'static str),
}

/// One object as it was sent, whatever is wrong with it.
#[derive(Default)]
struct RawItem<'a> {
    name: Option<Cow<'a, str>>,
    value: Option<Number>,
    ts: Option<Number>,
    id: Option<Cow<'a, str>>,
    /// The first [`LABELS_COUNT_MAX`] of them.
    labels: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    labels_count: usize,
    wrong: Option<(&'static str, String)>,
}

#[derive(Default)]
struct Taken {
    batch: Batch,
    refused: Vec<Refused>,
    count: u32,
}

impl Taken {
    fn refuse(&mut self, field: &'static str, reason: String) {
        self.refused.push(Refused {
            index: self.count,
            field,
            reason: reason.into(),
        });
        self.count += 1;
    }

    fn bounded(&self) -> Result<(), DecodeError> {
        if self.count as usize > ITEMS_COUNT_MAX {
            return Err(DecodeError::TooMany);
        }
        Ok(())
    }

    fn take(&mut self, item: RawItem<'_>) {
        let start = self.batch.keys.len();
        match check(item, &mut self.batch.keys) {
            Ok((ts, value, id)) => {
                let id = id.map(|id| {
                    delivery_id(self.batch.keys.get(start..).unwrap_or(&[]), id.as_bytes())
                });
                let key = u32::try_from(start).unwrap_or(u32::MAX)
                    ..u32::try_from(self.batch.keys.len()).unwrap_or(u32::MAX);
                self.batch.items.push(Item {
                    index: self.count,
                    whose: Whose::Key(key),
                    ts,
                    value,
                    id,
                });
                self.count += 1;
            }
            Err((field, reason)) => {
                self.batch.keys.truncate(start);
                self.refuse(field, reason);
            }
        }
    }
}

type Checked<'a> = (Option<Timestamp>, f64, Option<Cow<'a, str>>);

fn check<'a>(
    mut item: RawItem<'a>,
    keys: &mut Vec<u8>,
) -> Result<Checked<'a>, (&'static str, String)> {
    if let Some(wrong) = item.wrong {
        return Err(wrong);
    }
    let name = item
        .name
        .ok_or(("name", "missing: which metric is it?".to_owned()))?;
    if name.len() > NAME_BYTES_MAX {
        return Err((
            "name",
            format!("{} bytes; the limit is {NAME_BYTES_MAX}", name.len()),
        ));
    }
    if !is_metric_name(&name) {
        return Err((
            "name",
            format!(
                "{name:?} is not a metric name: letters, digits, `_`, `:`, `.` and `-`, starting with a letter, `_` or `:`"
            ),
        ));
    }
    let value = match item.value {
        Some(Number::Is(v)) if v.is_finite() => v,
        Some(Number::Is(_)) => return Err(("val", "must be finite".to_owned())),
        Some(Number::Not(what)) => {
            return Err(("val", format!("must be a finite number, found {what}")));
        }
        None => {
            return Err((
                "val",
                "missing: send the value as `val` or `value`".to_owned(),
            ));
        }
    };
    let ts = match item.ts {
        None => None,
        Some(Number::Is(t)) if t.is_finite() && (0.0..1e15).contains(&t) => {
            let ms = if t >= 1e11 { t } else { t * 1_000.0 };
            Some(Timestamp::from_ms(ms.round() as i64))
        }
        Some(Number::Is(t)) => {
            return Err((
                "ts",
                format!("{t} is no time: send seconds, or milliseconds from 1e11 up"),
            ));
        }
        Some(Number::Not(what)) => {
            return Err((
                "ts",
                format!("must be seconds or milliseconds since 1970, found {what}"),
            ));
        }
    };
    if item.labels_count > LABELS_COUNT_MAX {
        let count = item.labels_count;
        return Err((
            "labels",
            format!("{count} labels; the limit is {LABELS_COUNT_MAX}"),
        ));
    }
    if item
        .id
        .as_ref()
        .is_some_and(|id| id.is_empty() || id.len() > ID_BYTES_MAX)
    {
        return Err(("id", format!("must have 1 to {ID_BYTES_MAX} bytes")));
    }
    item.labels.sort_unstable();
    keys.extend_from_slice(name.as_bytes());
    let mut last: Option<&str> = None;
    for (label, value) in &item.labels {
        if !is_label_name(label) {
            return Err((
                "labels",
                format!(
                    "{label:?} is not a label name: letters, digits and `_`, not starting with a digit or `__`"
                ),
            ));
        }
        if last == Some(label) {
            return Err(("labels", format!("{label:?} is given twice")));
        }
        last = Some(label);
        if value.len() > VALUE_BYTES_MAX {
            return Err((
                "labels",
                format!(
                    "the value of {label:?} has {} bytes; the limit is {VALUE_BYTES_MAX}",
                    value.len()
                ),
            ));
        }
        if !value.is_empty() {
            push_label(keys, label.as_bytes(), value.as_bytes());
        }
    }
    Ok((ts, value, item.id))
}

struct Array<'t>(&'t mut Taken);

impl<'de> serde::de::DeserializeSeed<'de> for Array<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Array<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(item) = seq.next_element::<RawItem>()? {
            self.0.take(item);
            if self.0.bounded().is_err() {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for RawItem<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(ItemVisitor)
    }
}

struct ItemVisitor;

/// What a visitor says of JSON that is not what it looks for: it stays an item's problem, not the body's.
macro_rules! other_kinds {
    ($make:expr; $($visit:ident($kind:ty) $name:literal),*) => {
        $(fn $visit<E: serde::de::Error>(self, _: $kind) -> Result<Self::Value, E> { Ok($make($name)) })*
        fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> { Ok($make("null")) }
    };
}

fn not_an_object<'a>(what: &'static str) -> RawItem<'a> {
    RawItem {
        wrong: Some((
            "item",
            format!("must be an object like {{\"name\":\"m\",\"val\":1}}, found {what}"),
        )),
        ..RawItem::default()
    }
}

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = RawItem<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `name` and `val`")
    }
    other_kinds!(not_an_object; visit_bool(bool) "true or false", visit_i64(i64) "a number", visit_u64(u64) "a number", visit_f64(f64) "a number", visit_str(&str) "a text");
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(not_an_object("an array"))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut item = RawItem::default();
        while let Some(Text(key)) = map.next_key()? {
            match &*key {
                "name" => item.name = text("name", map.next_value()?, &mut item.wrong),
                "val" | "value" => item.value = Some(map.next_value()?),
                "ts" => item.ts = Some(map.next_value()?),
                "id" => item.id = text("id", map.next_value()?, &mut item.wrong),
                "labels" => match map.next_value()? {
                    RawLabels::Are(labels, count) => {
                        (item.labels, item.labels_count) = (labels, count);
                    }
                    RawLabels::Not(why) => item.wrong = Some(("labels", why)),
                },
                other => {
                    let near = did_you_mean(other, ["name", "val", "value", "ts", "id", "labels"]);
                    let hint = near.map_or(String::new(), |n| format!(": did you mean `{n}`?"));
                    item.wrong = Some(("item", format!("unknown field {other:?}{hint}")));
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(item)
    }
}

fn text<'a>(
    field: &'static str,
    found: MaybeText<'a>,
    wrong: &mut Option<(&'static str, String)>,
) -> Option<Cow<'a, str>> {
    match found {
        MaybeText::Is(text) => Some(text),
        MaybeText::Not(what) => {
            *wrong = Some((field, format!("must be a text, found {what}")));
            None
        }
    }
}

struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match MaybeText::deserialize(d)? {
            MaybeText::Is(text) => Ok(Text(text)),
            MaybeText::Not(_) => Ok(Text(Cow::Borrowed(""))),
        }
    }
}

enum MaybeText<'a> {
    Is(Cow<'a, str>),
    Not(&'static str),
}

impl<'de> Deserialize<'de> for MaybeText<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = MaybeText<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            other_kinds!(MaybeText::Not; visit_bool(bool) "true or false", visit_i64(i64) "a number", visit_u64(u64) "a number", visit_f64(f64) "a number");
            fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
                Ok(MaybeText::Is(Cow::Borrowed(v)))
            }
            fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
                Ok(MaybeText::Is(Cow::Owned(v.to_owned())))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(MaybeText::Not("an object"))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(MaybeText::Not("an array"))
            }
        }
        d.deserialize_any(V)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }
            other_kinds!(Number::Not; visit_bool(bool) "true or false");
            fn visit_str<E>(self, v: &str) -> Result<Number, E> {
                // Bare `NaN` and `Infinity` have been put in quotes on their way here.
                Ok(Number::Not(match v {
                    "NaN" | "Infinity" | "-Infinity" => "NaN or an infinity",
                    _ => "a text",
                }))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Number, E> {
                Ok(Number::Is(v))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Number, E> {
                Ok(Number::Is(v as f64))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Number, E> {
                Ok(Number::Is(v as f64))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Number, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Number::Not("an object"))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Number, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Number::Not("an array"))
            }
        }
        d.deserialize_any(V)
    }
}

enum RawLabels<'a> {
    /// The first [`LABELS_COUNT_MAX`] of them, and how many there are.
    Are(Vec<(Cow<'a, str>, Cow<'a, str>)>, usize),
    Not(String),
}

impl<'de> Deserialize<'de> for RawLabels<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        fn no<'a>(what: &'static str) -> RawLabels<'a> {
            RawLabels::Not(format!("must be an object of texts, found {what}"))
        }
        impl<'de> Visitor<'de> for V {
            type Value = RawLabels<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }
            other_kinds!(no; visit_bool(bool) "true or false", visit_i64(i64) "a number", visit_u64(u64) "a number", visit_f64(f64) "a number", visit_str(&str) "a text");
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(no("an array"))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let (mut labels, mut count, mut bad) = (Vec::new(), 0, None);
                while let Some((Text(name), value)) =
                    map.next_entry::<Text<'de>, MaybeText<'de>>()?
                {
                    match value {
                        MaybeText::Is(value) => {
                            count += 1;
                            if count <= LABELS_COUNT_MAX {
                                labels.push((name, value));
                            }
                        }
                        MaybeText::Not(what) => {
                            bad = Some(format!(
                                "the value of {name:?} must be a text, found {what}"
                            ))
                        }
                    }
                }
                Ok(bad.map_or(RawLabels::Are(labels, count), RawLabels::Not))
            }
        }
        d.deserialize_any(V)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::labels::SeriesKey;
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    fn check(body: &str, expected: Expect) {
        let mut out = String::new();
        match decode(body.as_bytes()) {
            Err(e) => out = format!("refused: {e}"),
            Ok((batch, refused)) => {
                for i in &batch.items {
                    let Whose::Key(key) = &i.whose else {
                        panic!("no key")
                    };
                    let key = SeriesKey::from_canonical(
                        &batch.keys[key.start as usize..key.end as usize],
                    );
                    out += &format!(
                        "{} {key} {} {:?}{}\n",
                        i.index,
                        i.value,
                        i.ts.map(Timestamp::ms),
                        if i.id.is_some() { " id" } else { "" }
                    );
                }
                refused
                    .iter()
                    .for_each(|r| out += &format!("{} {}: {}\n", r.index, r.field, r.reason));
            }
        }
        expected.assert_eq(&out);
    }

    #[test]
    fn one_object_an_array_and_lines() {
        check(r#"{"name":"m","val":1.5}"#, expect!["0 m 1.5 None\n"]);
        check(
            "[{\"name\":\"m\",\"value\":1,\"ts\":1700000000,\"labels\":{\"b\":\"2\",\"a\":\"1\"}},\n {\"name\":\"m\",\"val\":-2,\"ts\":1700000000123,\"id\":\"x\"}]",
            expect![[r#"
                0 m{a="1",b="2"} 1 Some(1700000000000)
                1 m -2 Some(1700000000123) id
            "#]],
        );
        check(
            "{\"name\":\"a\",\"val\":1}\n{\"name\":\"b\",\"val\":2}\n",
            expect!["0 a 1 None\n1 b 2 None\n"],
        );
        check(
            "{\n \"name\": \"a\",\n \"val\": 1\n}",
            expect!["0 a 1 None\n"],
        );
    }

    #[test]
    fn a_bad_item_harms_only_itself() {
        check(
            r#"[{"name":"ok","val":1},{"name":"9","val":1},{"name":"m","val":"5"},{"name":"m","val":NaN},{"name":"m","val":-Infinity},{"val":1},{"name":"m"},
                {"name":"m","val":1,"lables":{}},{"name":"m","val":1,"labels":{"a":1}},{"name":"m","val":1,"labels":{"__x":"1"}},{"name":"m","val":1,"ts":-4},7,{"name":"end","val":2}]"#,
            expect![[r#"
                0 ok 1 None
                12 end 2 None
                1 name: "9" is not a metric name: letters, digits, `_`, `:`, `.` and `-`, starting with a letter, `_` or `:`
                2 val: must be a finite number, found a text
                3 val: must be a finite number, found NaN or an infinity
                4 val: must be a finite number, found NaN or an infinity
                5 name: missing: which metric is it?
                6 val: missing: send the value as `val` or `value`
                7 item: unknown field "lables": did you mean `labels`?
                8 labels: the value of "a" must be a text, found a number
                9 labels: "__x" is not a label name: letters, digits and `_`, not starting with a digit or `__`
                10 ts: -4 is no time: send seconds, or milliseconds from 1e11 up
                11 item: must be an object like {"name":"m","val":1}, found a number
            "#]],
        );
        check(
            "{\"name\":\"a\",\"val\":1}\nnot json\n{\"name\":\"b\",\"val\":2}",
            expect![[r#"
            0 a 1 None
            2 b 2 None
            1 line: not a JSON object: expected ident at line 1 column 2
        "#]],
        );
    }

    #[test]
    fn a_body_that_is_no_json_is_refused_with_its_place() {
        check(
            "",
            expect![
                "refused: the body is empty: send one object, an array of objects, or one object a line"
            ],
        );
        check(
            r#"[{"name":"m","val":1},"#,
            expect!["refused: line 1, column 22: EOF while parsing a value at line 1 column 22"],
        );
        check(
            "hello",
            expect!["refused: line 1, column 1: expected value at line 1 column 1"],
        );
    }

    #[test]
    fn a_body_of_too_many_items_is_read_no_further() {
        for (item, last) in [("{}", "{"), ("{}\n", "{"), ("7\n", "x"), ("x\n", "{}")] {
            let body = item.repeat(ITEMS_COUNT_MAX + 1) + last;
            assert_eq!(decode(body.as_bytes()), Err(DecodeError::TooMany), "{item}");
        }
    }

    #[test]
    fn labels_beyond_the_limit_are_counted_and_not_kept() {
        let labels: Vec<String> = (0..5_000).map(|i| format!("\"l{i}\":\"\"")).collect();
        let labels = format!("{{{}}}", labels.join(","));
        let RawLabels::Are(kept, 5_000) = serde_json::from_str(&labels).unwrap() else {
            panic!("5,000 labels")
        };
        assert_eq!(kept.len(), LABELS_COUNT_MAX);
        check(
            &format!(r#"{{"name":"m","val":1,"labels":{labels}}}"#),
            expect!["0 labels: 5000 labels; the limit is 32\n"],
        );
    }

    proptest! {
        #[test]
        fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&body);
        }

        #[test]
        fn a_damaged_body_does_not_panic(at in 0_usize..90, byte in any::<u8>()) {
            let mut body = br#"[{"name":"m","val":1.5,"ts":17,"id":"q","labels":{"a":"\u00e9","b":"2"}},{"name":"n","val":2}]"#.to_vec();
            body[at] = byte;
            let _ = decode(&body);
        }
    }
}
