//! What an expression reads: which series, and how far back.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::engine::promql::ast::{At, BinaryOp, Expr, Kind, Length, Placed, Selector, Shift, Span};
use crate::engine::promql::settings::Settings;
use crate::model::labels::{MatchOp, Matcher};
use crate::model::time::Duration;

/// A selector of an expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// Which series.
    pub matchers: Vec<Matcher>,
    /// How far before the time of evaluation its oldest sample may lie, if it is not `loose`.
    pub back: Duration,
    /// Whether that also depends on something else: a time fixed by `@`, or the step and range of the query.
    pub loose: bool,
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
    walk(expr, (0, false), settings, &mut found);
    found
}

/// When the selectors of an expression look.
#[derive(Debug, Default)]
pub struct Shifts<'e> {
    /// Each selector's place, with its own shift and those of the subqueries that it lies in.
    pub all: Vec<(Span, Vec<&'e Shift>)>,
    /// Whether there is a subquery.
    pub subquery: bool,
}

/// When the selectors of an expression look, in the order written.
pub fn shifts(expr: &Expr) -> Shifts<'_> {
    let mut found = Shifts::default();
    walk_shifts(expr, &[], &mut found);
    found
}

fn walk_shifts<'e>(expr: &'e Expr, around: &[&'e Shift], found: &mut Shifts<'e>) {
    let with = |shift: &'e Shift| {
        let mut all = around.to_vec();
        all.push(shift);
        all
    };
    match &expr.kind {
        Kind::Number(_) | Kind::Text(_) => {}
        Kind::Vector(selector) | Kind::Matrix { selector, .. } => {
            found.all.push((expr.span.clone(), with(&selector.shift)));
        }
        Kind::Subquery { expr, shift, .. } => {
            found.subquery = true;
            walk_shifts(expr, &with(shift), found);
        }
        Kind::Call { args, .. } => args.iter().for_each(|a| walk_shifts(a, around, found)),
        Kind::Aggregate { param, expr, .. } => {
            param.iter().for_each(|p| walk_shifts(p, around, found));
            walk_shifts(expr, around, found);
        }
        Kind::Binary { lhs, rhs, .. } => {
            walk_shifts(lhs, around, found);
            walk_shifts(rhs, around, found);
        }
        Kind::Unary { expr, .. } | Kind::Paren(expr) => walk_shifts(expr, around, found),
    }
}

/// How many parts of an expression yield vectors, at most.
pub fn parts(expr: &Expr) -> usize {
    match &expr.kind {
        Kind::Number(_) | Kind::Text(_) => 0,
        Kind::Vector(_) | Kind::Matrix { .. } => 1,
        Kind::Subquery { expr, .. } | Kind::Unary { expr, .. } => 1 + parts(expr),
        Kind::Paren(expr) => parts(expr),
        Kind::Call { args, .. } => 1 + args.iter().map(parts).sum::<usize>(),
        Kind::Aggregate { param, expr, .. } => 1 + param.as_deref().map_or(0, parts) + parts(expr),
        Kind::Binary { lhs, rhs, .. } => 1 + parts(lhs) + parts(rhs),
    }
}

/// `so_far`: how far back the time of this part lies, and whether that is loose.
fn walk(expr: &Expr, so_far: (i64, bool), settings: &Settings, found: &mut Vec<Read>) {
    let (back_ms, loose) = so_far;
    let mut add = |selector: &Selector, more: i64, loose: bool| {
        let back = back_ms
            .saturating_add(more)
            .saturating_add(offset(&selector.shift));
        found.push(Read {
            matchers: selector.matchers.clone(),
            back: Duration::from_ms(u64::try_from(back).unwrap_or(0)),
            loose: loose || is_loose(&selector.shift),
        });
    };
    match &expr.kind {
        Kind::Number(_) | Kind::Text(_) => {}
        Kind::Vector(selector) => add(selector, settings.lookback_ms, loose),
        // `anchored` and `smoothed` also look for the sample before the window.
        Kind::Matrix { selector, range } => add(
            selector,
            ms(&range.value).saturating_add(settings.lookback_ms),
            loose || depends(&range.value),
        ),
        Kind::Subquery {
            expr,
            range,
            step,
            shift,
        } => {
            let loose = loose
                || is_loose(shift)
                || depends(&range.value)
                || step.as_ref().is_some_and(|s| depends(&s.value));
            let step = step
                .as_ref()
                .map_or(settings.subquery_step_ms, |s| ms(&s.value));
            let more = ms(&range.value)
                .saturating_add(step)
                .saturating_add(offset(shift));
            walk(expr, (back_ms.saturating_add(more), loose), settings, found);
        }
        Kind::Call { args, .. } => args.iter().for_each(|a| walk(a, so_far, settings, found)),
        Kind::Aggregate { param, expr, .. } => {
            if let Some(param) = param {
                walk(param, so_far, settings, found);
            }
            walk(expr, so_far, settings, found);
        }
        Kind::Binary { lhs, rhs, .. } => {
            walk(lhs, so_far, settings, found);
            walk(rhs, so_far, settings, found);
        }
        Kind::Unary { expr, .. } | Kind::Paren(expr) => walk(expr, so_far, settings, found),
    }
}

/// Whether a shift goes to a time that the query's does not tell.
fn is_loose(shift: &Shift) -> bool {
    matches!(shift.at, Some(At::Ms(_))) || shift.offset.as_ref().is_some_and(|o| depends(&o.value))
}

/// Whether a length depends on the step or the range of the query.
fn depends(length: &Length) -> bool {
    match length {
        Length::Ms(_) | Length::Secs(_) => false,
        Length::Step | Length::Range => true,
        Length::Sign { of, .. } => depends(&of.value),
        Length::Min(a, b) | Length::Max(a, b) => depends(&a.value) || depends(&b.value),
        Length::Arithmetic { lhs, rhs, .. } => depends(&lhs.value) || depends(&rhs.value),
    }
}

/// How far a shift goes back, in milliseconds.
pub fn offset(shift: &Shift) -> i64 {
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
    #[test]
    fn what_a_query_alone_does_not_tell_is_loose() {
        let loose = |text: &str| {
            let expr = parse(text, Dialect::ALL).unwrap();
            let all = reads(&expr, &Settings::default());
            all.iter().map(|r| r.loose).collect::<Vec<_>>()
        };
        assert_eq!(loose("a offset 1h + a @ end() + {b=\"@\"}"), [false; 3]);
        assert_eq!(loose("a @ 60 + b"), [true, false]);
        let expr = parse("sum(rate(a[5m])) / (b + 1)", Dialect::PLAIN).unwrap();
        assert_eq!(parts(&expr), 6);
        assert_eq!(loose("sum_over_time(a[5m:1m] @ 60)"), [true]);
        assert_eq!(
            loose("rate(a[step()]) + a offset -range() + rate(a[5m+1m])"),
            [true, true, false]
        );
    }
}
