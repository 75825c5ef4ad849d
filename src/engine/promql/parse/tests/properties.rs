//! What holds for every text.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use proptest::prelude::*;

use super::super::*;
use super::{bare, each};
use crate::engine::promql::literal::spell_duration;

/// Replaces each `_` in turn.
fn filled(form: &str, parts: &[String]) -> String {
    let mut parts = parts.iter().cycle();
    let mut text = String::new();
    for c in form.chars() {
        match c {
            '_' => text.push_str(parts.next().map_or("", String::as_str)),
            '~' => text.push('_'),
            c => text.push(c),
        }
    }
    text
}

/// Forms with places `_` for parts; `~` stands for the sign `_` itself.
fn grown(
    leaf: BoxedStrategy<String>,
    forms: &'static [&'static str],
) -> impl Strategy<Value = String> {
    leaf.prop_recursive(6, 60, 3, move |inner| {
        let parts = prop::collection::vec(inner, 3);
        (prop::sample::select(forms), parts).prop_map(|(form, parts)| filled(form, &parts))
    })
}

/// Texts that are expressions: vectors everywhere.
fn sensible() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(vec![
            "a",
            "up",
            "sum",
            "by",
            "offset",
            "fill",
            "job:x:rate5m",
            "{a=\"b\"}",
            "{\"m.n\"}",
            "a{b!=\"c\",\"d.e\"=~'f.*'}",
            "a @ -1.5",
            "a offset -1d",
            "a smoothed @ end()",
            "a offset min_of(step(), 1m)",
            "a offset -(1h+range()*2)",
            "a offset (1h - -5)",
            "rate(a[5m])",
            "rate(a[1h] @ end())",
            "rate(a[step()*2] smoothed)",
            "rate(a[2^-3])",
            "increase(a[(1h+5m)%7-1])",
            "vector(1)",
            "vector(-0x1f)",
            "vector(Inf ^ NaN)",
            "vector(5m)",
        ])
        .prop_map(str::to_owned),
        any::<f64>().prop_map(|n| format!("vector({n})")),
        any::<i64>().prop_map(|ms| format!("a offset {}", spell_duration(ms % 1_000_000_000_000))),
        any::<String>().prop_map(|s| format!(
            "a{{a={}}}",
            Expr {
                span: 0..0,
                kind: Kind::Text(s.into())
            }
        )),
    ];
    const FORMS: &[&str] = &[
        "(_)",
        "-_",
        "+_",
        "rate((_)[1h:])",
        "max~over~time(a[1h:5m] offset 3m) > _",
        "abs(_)",
        "sum(_)",
        "sum by (a, \"b.c\") (_)",
        "min(_) without ()",
        "topk(3, _)",
        "count~values(\"x\", _)",
        "vector(scalar(_))",
        "label~join(_, \"a\", \",\")",
        "info(_, {c=\"d\"})",
        "_ + _",
        "_ - _",
        "_ * _",
        "_ / _",
        "_ % _",
        "_ ^ _",
        "_ atan2 _",
        "_ == _",
        "_ > bool _",
        "_ and _",
        "_ or on (a) _",
        "_ unless ignoring (b) _",
        "_ * on (a) group~left (c) _",
        "_ + ignoring (a) group~right _",
        "_ + fill (1) _",
        "_ - on () fill~right (-1) _",
        "_ </ _",
        "_ >/ _",
        "round(_, 1 + scalar(_))",
        "_ * 2 ^ -3 + _",
    ];
    grown(leaf.boxed(), FORMS)
}

/// Texts that look like expressions, but whose types may not fit.
fn written() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(vec![
            "a",
            "1",
            "-1",
            "Inf",
            "NaN",
            "5m",
            "a[5m]",
            "a @ start()",
            "a anchored",
            "time()",
            "\"x\"",
            "{}",
            "bool",
        ])
        .prop_map(str::to_owned),
        any::<f64>().prop_map(|n| format!("{n}")),
        any::<String>().prop_map(|s| format!("{{a={s:?}}}")),
        "[\"'`][a-z\\\\\"'0-9é]{0,6}[\"'`]",
    ];
    const FORMS: &[&str] = &[
        "(_)",
        "-_",
        "_[1h:]",
        "_ offset 5m",
        "_[5m]",
        "_[_]",
        "abs(_)",
        "rate(_)",
        "sum(_)",
        "topk(_, _)",
        "scalar(_)",
        "vector(_)",
        "label~join(_, \"a\", _)",
        "info(_, _)",
        "quantile~over~time(0.5, _)",
        "_ + _",
        "_ ^ _",
        "_ == _",
        "_ and _",
        "_ * on (a) group~left (c) _",
        "_ + fill (_) _",
        "_ offset _",
        "_ @ _",
        "foo(_)",
        "sum by (_) (_)",
        "clamp(_, _, _)",
    ];
    grown(leaf.boxed(), FORMS)
}

/// A text with a few bytes changed, taken out or doubled; still text.
fn mutated() -> impl Strategy<Value = String> {
    let change = (any::<prop::sample::Index>(), 0..3_u8, any::<char>());
    (sensible(), prop::collection::vec(change, 1..4)).prop_map(|(text, changes)| {
        let mut chars: Vec<char> = text.chars().collect();
        for (at, what, c) in changes {
            if chars.is_empty() {
                break;
            }
            let at = at.index(chars.len());
            match what {
                0 => chars[at] = c,
                1 => {
                    chars.remove(at);
                }
                _ => chars.insert(at, chars[at]),
            }
        }
        chars.into_iter().collect()
    })
}

/// Pieces of the language in any order.
fn soup() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a",
        "sum",
        "by",
        "on",
        "bool",
        "offset",
        "@",
        "start",
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "=",
        "==",
        "=~",
        "!=",
        "!~",
        "!",
        "<",
        "</",
        "+",
        "-",
        "^",
        "/",
        "1",
        "5m",
        "1e",
        "0x",
        "\"",
        "\"x\"",
        "'",
        "`",
        "\\",
        "#",
        "\n",
        "step",
        "min_of",
        "fill",
        "fill_left",
        "and",
        "or",
        "Inf",
        "rate",
        "anchored",
        ".",
        "é",
        "_",
    ]);
    prop::collection::vec((piece, prop::bool::ANY), 0..24).prop_map(|pieces| {
        let spaced = pieces
            .into_iter()
            .map(|(p, s)| if s { format!("{p} ") } else { p.to_owned() });
        spaced.collect()
    })
}

/// Whatever the text: no panic, and all places lie in it.
fn sound(text: &str) -> Result<(), TestCaseError> {
    for dialect in [Dialect::ALL, Dialect::PLAIN] {
        match parse(text, dialect) {
            Ok(expr) => {
                let mut bad = Vec::new();
                each(&expr, &mut |part| {
                    if text.get(part.span.clone()).is_none_or(str::is_empty) {
                        bad.push(part.clone());
                    }
                });
                prop_assert!(bad.is_empty(), "{bad:?}");
                let printed = expr.to_string();
                let again = parse(&printed, dialect);
                let again = again.map_err(|e| TestCaseError::fail(format!("{printed}: {e}")))?;
                prop_assert_eq!(bare(&again), bare(&expr), "{}", printed);
                prop_assert_eq!(again.to_string(), printed);
            }
            Err(error) => {
                prop_assert!(text.get(error.span.clone()).is_some(), "{error:?}");
                prop_assert!(!error.message.is_empty());
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        sound(&text)?;
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        sound(&String::from_utf8_lossy(&bytes))?;
    }

    #[test]
    fn an_expression_is_read(text in sensible()) {
        sound(&text)?;
    }

    #[test]
    fn what_looks_like_an_expression_is_read_or_refused(text in written()) {
        sound(&text)?;
    }

    #[test]
    fn a_slip_of_the_pen_is_read_or_refused(text in mutated()) {
        sound(&text)?;
    }

    #[test]
    fn pieces_in_any_order_are_read_or_refused(text in soup()) {
        sound(&text)?;
    }
}

/// Without this the properties could hold because nothing is ever read.
#[test]
fn many_of_the_texts_are_expressions() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let read = (0..400).filter(|_| {
        let text = sensible().new_tree(&mut runner).unwrap().current();
        parse(&text, Dialect::ALL).is_ok()
    });
    let count = read.count();
    assert!(count > 350, "{count} of 400");
}
