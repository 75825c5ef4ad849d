//! When a window is bad: `> 1000` (a threshold) or `avg > 1000 && count >= 20` (a guard).

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::ops::Range;

use evalexpr::{
    Context, ContextWithMutableVariables, HashMapContext, Node as Tree, Operator, Value,
};

use crate::config::codes;
use crate::config::report::{Report, near};
use crate::config::yaml::Node;
use crate::engine::policy::{Aggregate, Compare, Condition};

/// Characters a guard may have.
pub const GUARD_CHARS_MAX: usize = 500;
/// How deep a guard's brackets and signs may nest.
pub const GUARD_DEPTH_MAX: usize = 40;

/// Functions a guard may call. No text, no bits, no chance.
pub const FUNCTIONS: &[&str] = &[
    "min",
    "max",
    "floor",
    "ceil",
    "round",
    "if",
    "math::abs",
    "math::sqrt",
    "math::pow",
    "math::ln",
    "math::log",
    "math::log2",
    "math::log10",
    "math::exp",
    "math::is_nan",
    "math::is_finite",
];

/// Reads `1000` (more than that), `> 1000`, `>= 0.05`, `< 5`.
pub fn parse_threshold(text: &str) -> Result<(Compare, f64), String> {
    let text = text.trim();
    let (compare, number) = Compare::ALL
        .iter()
        .find_map(|(sign, compare)| text.strip_prefix(sign).map(|rest| (*compare, rest.trim())))
        .unwrap_or((Compare::Greater, text));
    match number.parse::<f64>() {
        Ok(n) if n.is_finite() => Ok((compare, n)),
        Ok(_) | Err(_) => Err(format!("`{text}` is not a threshold")),
    }
}

/// Reads a threshold over an aggregate.
pub fn threshold(report: &mut Report<'_>, node: &Node, aggregate: Aggregate) -> Option<Condition> {
    let text = report.text(node)?;
    match parse_threshold(text) {
        Ok((compare, threshold)) => Some(Condition::Threshold {
            aggregate,
            compare,
            threshold,
        }),
        Err(message) => {
            let hint = "write a number (fires above it), or a sign and a number: `> 1000`, `>= 0.05`, `< 5`";
            report.error(codes::THRESHOLD, &node.span, message, hint);
            None
        }
    }
}

/// Reads `resolve`: a threshold over the rule's aggregate, or a guard.
pub fn easier(report: &mut Report<'_>, node: &Node, aggregate: Aggregate) -> Option<Condition> {
    let text = report.text(node)?.trim();
    let signed = Compare::ALL.iter().any(|(sign, _)| text.starts_with(sign));
    if signed {
        return threshold(report, node, aggregate);
    }
    if text.parse::<f64>().is_ok() {
        let message = format!("`resolve: {text}` does not say on which side the alert clears");
        report.error(
            codes::THRESHOLD,
            &node.span,
            message,
            &format!("write the sign too: `< {text}` or `> {text}`"),
        );
        return None;
    }
    guard(report, node)
}

/// Reads a guard and tries it on sample numbers.
pub fn guard(report: &mut Report<'_>, node: &Node) -> Option<Condition> {
    let text = report.text(node)?;
    match parse_guard(text) {
        Ok(condition) => Some(condition),
        Err(faults) => {
            for fault in faults {
                let span = fault
                    .range
                    .map_or(node.span.clone(), |r| report.within(node, r));
                report.error(fault.code, &span, fault.message, &fault.hint);
            }
            None
        }
    }
}

/// What is wrong with a guard, and where in its text.
#[derive(Clone, Debug)]
pub struct GuardFault {
    /// `OPS-R…`
    pub code: &'static str,
    /// Byte range, if one word is meant.
    pub range: Option<Range<usize>>,
    /// What is wrong.
    pub message: String,
    /// What to write; may be empty.
    pub hint: String,
}

/// Checks and compiles a guard. Whole numbers become decimal ones, so that `count == 20` and `1 / 2` mean what they say.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse_guard(text: &str) -> Result<Condition, Vec<GuardFault>> {
    let fault = |message: String, hint: &str| GuardFault {
        code: codes::GUARD,
        range: None,
        message,
        hint: hint.to_owned(),
    };
    if text.chars().count() > GUARD_CHARS_MAX || nesting(text) > GUARD_DEPTH_MAX {
        let message = format!(
            "this condition is longer than {GUARD_CHARS_MAX} characters or nested deeper than {GUARD_DEPTH_MAX}"
        );
        return Err(vec![fault(message, "split it into several rules")]);
    }
    let mut tree = evalexpr::build_operator_tree(text).map_err(|e| {
        vec![fault(
            format!("this condition does not parse: {e}"),
            "an example: `avg > 1000 && count >= 20`",
        )]
    })?;
    let mut faults = Vec::new();
    for name in tree.iter_write_variable_identifiers() {
        let hint = "compare with `==`";
        faults.push(GuardFault {
            range: find_word(text, name),
            ..fault(format!("a condition cannot assign to `{name}`"), hint)
        });
    }
    let mut reads = Vec::new();
    for name in tree.iter_read_variable_identifiers() {
        match Aggregate::ALL.iter().find(|(n, _)| *n == name) {
            Some((_, aggregate)) if !reads.contains(aggregate) => reads.push(*aggregate),
            Some(_) => {}
            None => faults.push(unknown(
                text,
                name,
                "aggregate",
                Aggregate::ALL.iter().map(|(n, _)| *n).collect(),
            )),
        }
    }
    for name in tree.iter_function_identifiers() {
        if !FUNCTIONS.contains(&name) {
            faults.push(unknown(text, name, "function", FUNCTIONS.to_vec()));
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    if reads.is_empty() {
        return Err(vec![fault(
            "this condition looks at no aggregate, so it never changes".to_owned(),
            "an example: `avg > 1000`",
        )]);
    }
    as_decimals(&mut tree);
    for sample in [0.0, 1.0, 1_000_000.0, -1.5] {
        let verdict = tree.eval_with_context(&sample_context(sample));
        match verdict {
            Ok(Value::Boolean(_)) => {}
            Ok(other) => {
                let message = format!("this condition is not true or false: it gives `{other}`");
                return Err(vec![fault(
                    message,
                    "compare it with something: `avg > 1000`",
                )]);
            }
            Err(e) => {
                let why = e.to_string();
                let why = why.trim_end_matches('.');
                return Err(vec![fault(
                    format!("this condition cannot be judged: {why}"),
                    "",
                )]);
            }
        }
    }
    reads.sort_unstable();
    Ok(Condition::Guard {
        text: text.trim().to_owned(),
        node: tree,
        reads,
    })
}

fn unknown(text: &str, name: &str, what: &str, known: Vec<&'static str>) -> GuardFault {
    let hint = match near(name, known.iter().copied()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("known here: {}", known.join(", ")),
    };
    let message = format!("`{name}` is no {what}");
    GuardFault {
        code: codes::GUARD_NAME,
        range: find_word(text, name),
        message,
        hint,
    }
}

/// The first place where `word` stands by itself.
fn find_word(text: &str, word: &str) -> Option<Range<usize>> {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
    text.match_indices(word)
        .find(|(i, w)| {
            !part(text.get(..*i).and_then(|t| t.chars().next_back()))
                && !part(text.get(i + w.len()..).and_then(|t| t.chars().next()))
        })
        .map(|(i, w)| i..i + w.len())
}

/// An upper bound of how deep the tree can get: brackets, and runs of signs that each wrap what follows.
fn nesting(text: &str) -> usize {
    let (mut open, mut run, mut deepest) = (0_usize, 0_usize, 0_usize);
    for c in text.chars() {
        match c {
            '(' => open += 1,
            ')' => open = open.saturating_sub(1),
            '!' | '-' | '^' => run += 1,
            _ => {}
        }
        deepest = deepest.max(open + run);
    }
    deepest
}

fn as_decimals(tree: &mut Tree) {
    if let Operator::Const {
        value: Value::Int(n),
    } = tree.operator()
    {
        let value = Value::Float(*n as f64);
        *tree.operator_mut() = Operator::Const { value };
    }
    for child in tree.children_mut() {
        as_decimals(child);
    }
}

fn sample_context(sample: f64) -> HashMapContext {
    let mut context = HashMapContext::new();
    for (i, (name, _)) in Aggregate::ALL.iter().enumerate() {
        // A context takes every name; a refusal would show as an unknown name in the trial.
        let _ = context.set_value((*name).to_owned(), Value::Float(sample + i as f64 / 8.0));
    }
    let _ = context.set_builtin_functions_disabled(false);
    context
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        match parse_guard(text) {
            Ok(_) => "fine".to_owned(),
            Err(faults) => faults
                .iter()
                .map(|f| format!("{} {}; {}", f.code, f.message, f.hint))
                .collect::<Vec<_>>()
                .join("\n"),
        }
    }

    #[test]
    fn thresholds_read_as_people_write_them() {
        assert_eq!(parse_threshold("1000"), Ok((Compare::Greater, 1000.0)));
        assert_eq!(parse_threshold(">=0.05"), Ok((Compare::GreaterEqual, 0.05)));
        assert_eq!(parse_threshold(" < 5 "), Ok((Compare::Less, 5.0)));
        for bad in ["", ">", "> 5 ms", "NaN", "inf", "=> 5"] {
            assert!(parse_threshold(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn guards_are_tried_before_they_are_believed() {
        for good in [
            "avg > 1000 && count >= 20",
            "max(avg, p50) > 3 || !(min < 2)",
            "count == 20",
            "rate / 2 > 1",
        ] {
            assert_eq!(fault(good), "fine", "{good}");
        }
        expect_test::expect![[r#"
            OPS-R010 `avgg` is no aggregate; did you mean `avg`?
            OPS-R009 this condition is not true or false: it gives `0`; compare it with something: `avg > 1000`
            OPS-R009 a condition cannot assign to `avg`; compare with `==`
            OPS-R009 this condition cannot be judged: An operator expected 2 arguments, but got 1; 
            OPS-R009 this condition looks at no aggregate, so it never changes; an example: `avg > 1000`
            OPS-R010 `random` is no function; known here: min, max, floor, ceil, round, if, math::abs, math::sqrt, math::pow, math::ln, math::log, math::log2, math::log10, math::exp, math::is_nan, math::is_finite
            OPS-R009 this condition cannot be judged: Expected a Value::Float or Value::Int, but got String("x"); "#]].assert_eq(
            &[
                "avgg > 1",
                "avg",
                "avg = 1",
                "avg >",
                "1 > 2",
                "random() > avg",
                "avg > \"x\"",
            ]
            .map(fault)
            .join("\n"),
        );
        assert!(fault(&"(".repeat(400)).contains("nested"));
    }
}
