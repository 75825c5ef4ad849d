//! What an expression reads: which series, and how far back.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::engine::promql::ast::{BinaryOp, Expr, Kind, Length, Placed, Selector, Shift};
use crate::engine::promql::settings::Settings;
use crate::model::labels::{MatchOp, Matcher};
use crate::model::time::Duration;

/// A selector of an expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// Which series.
    pub matchers: Vec<Matcher>,
    /// How far before the time of evaluation its oldest sample may lie. A time fixed by `@` does not count.
    pub back: Duration,
}

impl Read {
    /// The metric, if only one can be meant.
    pub fn metric(&self) -> Option<&str> {
        let named = |m: &&Matcher| m.name == "__name__" && m.op == MatchOp::Equal;
        self.matchers.iter().find(named).map(|m| m.value.as_str())
    }
}

/// The selectors of an expression, in the order written.
pub fn reads(expr: &Expr, settings: &Settings) -> Vec<Read> {
    let mut found = Vec::new();
    walk(expr, 0, settings, &mut found);
    found
}

fn walk(expr: &Expr, back_ms: i64, settings: &Settings, found: &mut Vec<Read>) {
    let mut add = |selector: &Selector, more: i64| {
        let back = back_ms
            .saturating_add(more)
            .saturating_add(offset(&selector.shift));
        found.push(Read {
            matchers: selector.matchers.clone(),
            back: Duration::from_ms(u64::try_from(back).unwrap_or(0)),
        });
    };
    match &expr.kind {
        Kind::Number(_) | Kind::Text(_) => {}
        Kind::Vector(selector) => add(selector, settings.lookback_ms),
        // `anchored` and `smoothed` also look for the sample before the window.
        Kind::Matrix { selector, range } => add(
            selector,
            ms(&range.value).saturating_add(settings.lookback_ms),
        ),
        Kind::Subquery {
            expr,
            range,
            step,
            shift,
        } => {
            let step = step
                .as_ref()
                .map_or(settings.subquery_step_ms, |s| ms(&s.value));
            let more = ms(&range.value)
                .saturating_add(step)
                .saturating_add(offset(shift));
            walk(expr, back_ms.saturating_add(more), settings, found);
        }
        Kind::Call { args, .. } => args.iter().for_each(|a| walk(a, back_ms, settings, found)),
        Kind::Aggregate { param, expr, .. } => {
            if let Some(param) = param {
                walk(param, back_ms, settings, found);
            }
            walk(expr, back_ms, settings, found);
        }
        Kind::Binary { lhs, rhs, .. } => {
            walk(lhs, back_ms, settings, found);
            walk(rhs, back_ms, settings, found);
        }
        Kind::Unary { expr, .. } | Kind::Paren(expr) => walk(expr, back_ms, settings, found),
    }
}

fn offset(shift: &Shift) -> i64 {
    shift.offset.as_ref().map_or(0, |o| ms(&o.value).max(0))
}

/// The length in milliseconds, as far as it is known without a query.
fn ms(length: &Length) -> i64 {
    secs(length).map_or(0, |s| (s * 1_000.0) as i64)
}

fn secs(length: &Length) -> Option<f64> {
    let of = |l: &Placed<Length>| secs(&l.value);
    Some(match length {
        Length::Ms(ms) => *ms as f64 / 1_000.0,
        Length::Secs(s) => *s,
        Length::Step | Length::Range => 0.0,
        Length::Sign { negate, of: l } => {
            let s = of(l)?;
            if *negate { -s } else { s }
        }
        Length::Min(a, b) => of(a)?.min(of(b)?),
        Length::Max(a, b) => of(a)?.max(of(b)?),
        Length::Arithmetic { op, lhs, rhs } => {
            let (a, b) = (of(lhs)?, of(rhs)?);
            match op {
                BinaryOp::Add => a + b,
                BinaryOp::Sub => a - b,
                BinaryOp::Mul => a * b,
                BinaryOp::Div => a / b,
                BinaryOp::Mod => a % b,
                BinaryOp::Pow => a.powf(b),
                _ => return None,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::promql::{Dialect, parse};

    #[test]
    fn an_expression_says_what_it_reads_and_how_far_back() {
        let expr = parse(
            "sum(rate(a[5m] offset 1h)) / max_over_time((b > 1)[1d:10m]) or {__name__=~\"c.*\"}",
            Dialect::PLAIN,
        )
        .unwrap();
        let got: Vec<String> = reads(&expr, &Settings::default())
            .iter()
            .map(|r| format!("{:?} {}", r.metric(), r.back))
            .collect();
        expect_test::expect![[r#"Some("a") 1h10m, Some("b") 1d15m, None 5m"#]]
            .assert_eq(&got.join(", "));
    }
}
