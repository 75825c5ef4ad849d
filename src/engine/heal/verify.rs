//! Whether a heal worked, by the expression that its rule names for that (`verify`).
//!
//! It holds for a run if everything that its expression looks at on the run's target is in its result. Whether anything
//! was looked at, the same expression without its filters says ([`known`](crate::engine::promql::known)): nothing there
//! is no data, and never a proof. It is evaluated only while a run is being judged, over the samples from after the run's
//! `settle` ([`fresh`](crate::engine::heal::fresh)): what was true before the heal proves nothing about it.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use crate::engine::Engine;
use crate::engine::event::Run;
use crate::engine::group::found::Resolved;
use crate::engine::group::{Elements, enter};
use crate::engine::heal::fresh::Fresh;
use crate::engine::limits::VERIFY_WAIT;
use crate::engine::policy::Written;
use crate::engine::promql::ast::{Aggregation, At, BinaryOp, Expr, Kind, Shift, Span, Type};
use crate::engine::promql::known::unfiltered;
use crate::engine::promql::reads::{offset, shifts};
use crate::engine::promql::type_of;
use crate::engine::rule::Judged;
use crate::engine::transcript::number;
use crate::model::time::Timestamp;

/// What shows that a heal worked.
#[derive(Debug, PartialEq)]
pub struct Verify {
    /// The expression.
    pub written: Written,
    /// The same without filters: what it looks at. `None`: its result does not say, as that of `absent(x)`.
    known: Option<Arc<Expr>>,
    /// Whether it is an `absent` of what is bad, as `absent(x > 5)`: then `known` is what may be bad.
    none_bad: bool,
    /// Whether all that is looked at must be in the result; else one element is enough, as for `topk`.
    all: bool,
    /// Whether an element says by its value whether it holds (not 0), and not by being there.
    by_value: bool,
    /// Whether an element's value is the one that is judged.
    compares: bool,
    /// Whether it compares with a time before the heal (`offset`).
    past: bool,
}

/// Why an expression cannot verify anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// Where in the expression.
    pub span: Span,
    /// What is wrong.
    pub message: &'static str,
    /// What to do.
    pub hint: &'static str,
}

impl Verify {
    /// Reads an expression as a verify.
    ///
    /// # Errors
    /// If it can say nothing about what came after a heal.
    pub fn new(written: Written) -> Result<Self, Unfit> {
        let expr = &written.expr;
        let unfit = |span: &Span, message, hint| {
            Err(Unfit {
                span: span.clone(),
                message,
                hint,
            })
        };
        if !matches!(type_of(expr), Type::Vector | Type::Scalar) {
            let hint = "an example: `verify: job:error_ratio:5m < 0.02`";
            return unfit(
                &expr.span,
                "a verify is a condition, not a range of samples or a text",
                hint,
            );
        }
        let found = shifts(expr);
        let Some(first) = found.all.first() else {
            let hint = "name a metric that shows whether the heal worked";
            return unfit(
                &expr.span,
                "a verify that reads no metric says nothing",
                hint,
            );
        };
        let past = |shifts: &[&Shift]| shifts.iter().any(|s| is_past(s));
        if found.all.iter().all(|(_, shifts)| past(shifts)) {
            let hint = "take the `offset` or `@` away from at least one metric";
            return unfit(
                &first.0,
                "this looks at the past only, and no heal changes that",
                hint,
            );
        }
        let looks_back = found.all.iter().find(|(_, shifts)| past(shifts));
        if let (Some((span, _)), true) = (looks_back, found.subquery) {
            let hint = "record the subquery as a series of its own";
            return unfit(
                span,
                "`offset` and `@` cannot be told from a subquery's own steps here",
                hint,
            );
        }
        let of_bad = of_absent(expr).filter(|of| filters(of));
        Ok(Self {
            known: unfiltered(of_bad.unwrap_or(expr)).map(Arc::new),
            none_bad: of_bad.is_some(),
            all: !chooses(expr),
            by_value: by_value(expr),
            compares: by_value(expr) || compares(expr),
            past: looks_back.is_some(),
            written,
        })
    }
}

/// Whether a selector looks at a time before that of the evaluation.
fn is_past(shift: &Shift) -> bool {
    offset(shift) > 0 || matches!(shift.at, Some(At::Ms(_)))
}

/// What must be absent, if that is the whole condition.
fn of_absent(expr: &Expr) -> Option<&Expr> {
    match &expr.kind {
        Kind::Paren(expr) => of_absent(expr),
        Kind::Call { function, args, .. } if *function == "absent" => args.first(),
        _ => None,
    }
}

/// Whether values decide what is in the result.
fn filters(expr: &Expr) -> bool {
    unfiltered(expr).is_some_and(|all| all != *expr)
}

/// Whether some of what is looked at is left out by choice.
fn chooses(expr: &Expr) -> bool {
    match &expr.kind {
        Kind::Number(_) | Kind::Text(_) | Kind::Vector(_) | Kind::Matrix { .. } => false,
        Kind::Paren(expr) | Kind::Unary { expr, .. } | Kind::Subquery { expr, .. } => chooses(expr),
        Kind::Call { args, .. } => args.iter().any(chooses),
        Kind::Aggregate { op, expr, .. } => is_choice(*op) || chooses(expr),
        Kind::Binary { lhs, rhs, .. } => chooses(lhs) || chooses(rhs),
    }
}

fn is_choice(op: Aggregation) -> bool {
    matches!(
        op,
        Aggregation::TopK | Aggregation::BottomK | Aggregation::LimitK | Aggregation::LimitRatio
    )
}

/// Whether an element's value is its truth. A comparison that filters says it by the element being there, whatever its
/// value: `errors == 0` holds with the value 0.
fn by_value(expr: &Expr) -> bool {
    match &expr.kind {
        Kind::Paren(expr) => by_value(expr),
        Kind::Aggregate { op, expr, .. } if is_choice(*op) => by_value(expr),
        Kind::Call { function, args, .. }
            if function.starts_with("sort") || function.starts_with("label_") =>
        {
            args.first().is_none_or(by_value)
        }
        Kind::Binary {
            op: BinaryOp::And | BinaryOp::Unless,
            lhs,
            ..
        } => by_value(lhs),
        Kind::Binary {
            op: BinaryOp::Or,
            lhs,
            rhs,
            ..
        } => by_value(lhs) || by_value(rhs),
        Kind::Binary {
            op, returns_bool, ..
        } => !op.is_comparison() || *returns_bool,
        Kind::Number(_)
        | Kind::Text(_)
        | Kind::Vector(_)
        | Kind::Matrix { .. }
        | Kind::Unary { .. }
        | Kind::Subquery { .. }
        | Kind::Call { .. }
        | Kind::Aggregate { .. } => true,
    }
}

/// Whether the whole condition is one comparison that filters.
fn compares(expr: &Expr) -> bool {
    match &expr.kind {
        Kind::Paren(expr) => compares(expr),
        Kind::Binary {
            op, returns_bool, ..
        } => op.is_comparison() && !returns_bool,
        _ => false,
    }
}

/// What the judging of one run works with from tick to tick.
#[derive(Debug)]
pub(in crate::engine) struct Judging {
    /// The plans are over this many series.
    series: usize,
    main: Option<Resolved>,
    known: Option<Resolved>,
}

/// What is thought of a run.
pub(super) struct Said {
    /// Whether what it was to mend is mended.
    pub judged: Judged,
    /// Why not, in words, if an expression says it.
    pub why: Option<String>,
}

impl From<Judged> for Said {
    fn from(judged: Judged) -> Self {
        Self { judged, why: None }
    }
}

impl Engine {
    /// Judges a run by an expression, on samples after `since`. Until `deadline`, series that are late are waited for.
    pub(super) fn judge_verify(
        &mut self,
        verify: &Verify,
        run: &Run,
        target: Option<&str>,
        since: Timestamp,
        deadline: Timestamp,
    ) -> Said {
        let text = verify.written.words();
        let no_data = |why: String| Said {
            judged: Judged::NoData,
            why: Some(why),
        };
        let mut judging = self.take_judging(&run.id);
        let found = self.fresh_elements(verify, &mut judging.main, &verify.written.expr, since);
        let known = verify
            .known
            .as_ref()
            .map(|expr| self.fresh_elements(verify, &mut judging.known, expr, since))
            .transpose();
        self.judging.insert(run.id.clone(), judging);
        let ((found, behind), known) = match (found, known) {
            (Ok(found), Ok(known)) => (found, known.map(|(k, _)| k)),
            (Err(error), _) | (_, Err(error)) => {
                return no_data(format!("verify `{text}` failed: {error}"));
            }
        };
        let patient = deadline.min(since + VERIFY_WAIT);
        let waits = || format!("verify `{text}` waits for series without a sample from after it");
        let fits = |labels: &crate::model::labels::Labels| {
            let value = target.map_or("", |t| labels.get(t));
            value.is_empty() || value == run.target
        };
        let holds = |(_, value): &(_, f64)| !verify.by_value || (*value != 0.0 && !value.is_nan());
        let is_good = |series: &String| found.get(series).is_some_and(holds);
        let fails = |of: Option<(&crate::model::labels::Labels, f64)>| {
            let of = match of {
                Some((labels, value)) => {
                    let value = verify.compares.then(|| format!(": {}", number(value)));
                    let of = (!labels.is_empty()).then(|| format!(" for {labels}"));
                    value.unwrap_or_default() + &of.unwrap_or_default()
                }
                None => String::new(),
            };
            Said {
                judged: Judged::Bad(0.0),
                why: Some(format!("verify `{text}` does not hold{of}")),
            }
        };
        if verify.none_bad {
            let seen = known.is_none_or(|k| k.values().any(|(labels, _)| fits(labels)));
            return match !seen {
                _ if found.is_empty() => fails(None),
                true => no_data(format!("verify `{text}` finds no samples from after it")),
                false if behind && self.now < patient => no_data(waits()),
                false => Judged::Good(0.0).into(),
            };
        }
        let looked = known.as_ref().unwrap_or(&found);
        let mut looked = looked.iter().filter(|(_, (labels, _))| fits(labels));
        let mut good = found
            .iter()
            .filter(|(series, (labels, _))| fits(labels) && is_good(series));
        let first = looked.clone().next();
        let bad = match (verify.all, good.next()) {
            (true, _) => looked.find(|(series, _)| !is_good(series)),
            (false, Some(_)) => None,
            (false, None) => first,
        };
        if let Some((_, (labels, value))) = bad {
            return fails(Some((labels, *value)));
        }
        if first.is_none() {
            return match known {
                Some(_) => no_data(format!("verify `{text}` finds no samples from after it")),
                None => fails(None),
            };
        }
        if behind && self.now < patient {
            return no_data(waits());
        }
        Judged::Good(0.0).into()
    }

    /// What was worked out for a run, if it still holds.
    fn take_judging(&mut self, run: &str) -> Judging {
        let series = self.series.len();
        let before = self.judging.remove(run).filter(|j| j.series == series);
        before.unwrap_or(Judging {
            series,
            main: None,
            known: None,
        })
    }

    /// The elements of an expression over samples after `since`, and whether some series has none yet.
    fn fresh_elements(
        &mut self,
        verify: &Verify,
        resolved: &mut Option<Resolved>,
        expr: &Arc<Expr>,
        since: Timestamp,
    ) -> Result<(Elements, bool), String> {
        let fresh = Fresh::new(&self.series, since.ms(), verify.past);
        let one = match resolved {
            Some(one) => one,
            None => resolved.insert(Resolved::new(expr, &fresh, &self.settings)?),
        };
        let mut found = Elements::new();
        one.evaluate(self.now, &fresh, &mut self.room, |labels, value| {
            enter(&mut found, labels, value);
        })?;
        let behind = fresh.is_behind();
        Ok((found, behind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::promql::{Dialect, parse};

    fn read(text: &str) -> Result<Verify, Unfit> {
        Verify::new(Written {
            text: text.to_owned(),
            expr: Arc::new(parse(text, Dialect::PLAIN).unwrap()),
        })
    }

    #[test]
    fn what_cannot_verify_is_refused_at_its_place() {
        let refused = |text: &str| {
            let unfit = read(text).unwrap_err();
            format!("{}: {}", &text[unfit.span], unfit.message)
        };
        let all = [
            "x[5m]",
            "\"x\"",
            "1 < bool 2",
            "x offset 5m < 2",
            "x @ 60 < y offset 1h",
            "max_over_time(x[5m:1m]) < x offset 1d",
            "max_over_time(x[5m:1m] offset 1h) < 2",
        ];
        expect_test::expect![[r#"
            x[5m]: a verify is a condition, not a range of samples or a text
            "x": a verify is a condition, not a range of samples or a text
            1 < bool 2: a verify that reads no metric says nothing
            x offset 5m: this looks at the past only, and no heal changes that
            x @ 60: this looks at the past only, and no heal changes that
            x offset 1d: `offset` and `@` cannot be told from a subquery's own steps here
            x: this looks at the past only, and no heal changes that
        "#]]
        .assert_eq(&all.map(|t| refused(t) + "\n").concat());
        for fine in [
            "x < 2",
            "x < x offset 1d",
            "rate(x[5m]) == 0",
            "absent(x)",
            "x offset -1m",
        ] {
            read(fine).unwrap();
        }
    }

    #[test]
    fn truth_is_being_there_or_a_value() {
        let flags = |text: &str| {
            let verify = read(text).unwrap();
            (verify.all, verify.by_value)
        };
        for (text, all, by_value) in [
            ("errors == 0", true, false),
            ("errors <= bool 5", true, true),
            ("up", true, true),
            ("(errors == 0) and up", true, false),
            ("errors == 0 or up", true, true),
            ("topk(1, errors) < 5", false, false),
            ("sort(errors < 5)", true, false),
            ("absent(errors)", true, true),
        ] {
            assert_eq!(flags(text), (all, by_value), "{text}");
        }
    }
}
