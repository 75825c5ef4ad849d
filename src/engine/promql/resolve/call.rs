//! Calls: a function and its arguments → a part.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use crate::engine::promql::annotate::Origin;
use crate::engine::promql::ast::{Edges, Expr, Kind, Type};
use crate::engine::promql::functions::math::Map;
use crate::engine::promql::functions::{HistogramFn, RangeFn};
use crate::engine::promql::part::{Doubts, Input, OverTime, Scalar, What};
use crate::engine::promql::plan::{NONE, Slot, Slots};
use crate::engine::promql::resolve::{Part, Resolver, bare, unexpected};
use crate::engine::promql::settings::EvalError;
use crate::engine::promql::source::Source;
use crate::model::labels::{Labels, MatchOp, Matcher};

/// Functions whose value depends on the time of the query even if their arguments do not.
const MOVING: [&str; 12] = [
    "days_in_month",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "hour",
    "minute",
    "month",
    "year",
    "predict_linear",
    "time",
    "timestamp",
    "start_timestamp",
];

impl<S: Source> Resolver<'_, S> {
    pub(super) fn call(
        &mut self,
        function: &'static str,
        args: &[Expr],
        expr: &Expr,
    ) -> Result<(Part, bool), EvalError> {
        match function {
            "histogram_count" | "histogram_sum" | "histogram_avg" => self.stats += 1,
            "histogram_quantile" | "histogram_quantiles" | "histogram_fraction" => self.whole += 1,
            _ => {}
        }
        let result = self.resolve_call(function, args, expr.span.start);
        match function {
            "histogram_count" | "histogram_sum" | "histogram_avg" => self.stats -= 1,
            "histogram_quantile" | "histogram_quantiles" | "histogram_fraction" => self.whole -= 1,
            _ => {}
        }
        result
    }

    /// Arms are calls only: this stands on the stack once for each call that lies in another.
    fn resolve_call(
        &mut self,
        function: &'static str,
        args: &[Expr],
        at: usize,
    ) -> Result<(Part, bool), EvalError> {
        let number = |v: f64| Ok((Part::Scalar(Scalar::Number(v)), true));
        match (function, args) {
            ("time", _) => Ok((Part::Scalar(Scalar::Time), false)),
            ("pi", _) => number(std::f64::consts::PI),
            ("start", _) => Ok((Part::Scalar(Scalar::Start), true)),
            ("end", _) => Ok((Part::Scalar(Scalar::End), true)),
            ("range", _) => number(self.frame.range_ms as f64 / 1_000.0),
            ("step", _) => number(self.frame.step_ms as f64 / 1_000.0),
            ("scalar", [of]) => self.one_number(of),
            ("max_of", [a, b]) => self.of_two(a, b, Scalar::Max),
            ("min_of", [a, b]) => self.of_two(a, b, Scalar::Min),
            ("vector", [of]) => self.lift(of, at),
            ("absent", [of]) => self.absent(bare(of), at),
            ("absent_over_time", [of]) => self.absent_over_time(of, at),
            ("timestamp" | "start_timestamp", [of]) => self.timestamp(function, bare(of), at),
            ("label_replace", _) => self.label_replace(args, at),
            ("label_join", _) => self.label_join(args, at),
            ("sort", [of]) => self.sort(of, false, at),
            ("sort_desc", [of]) => self.sort(of, true, at),
            ("sort_by_label", _) => self.sort_by_label(args, false, at),
            ("sort_by_label_desc", _) => self.sort_by_label(args, true, at),
            ("histogram_quantile" | "histogram_quantiles" | "histogram_fraction", _) => {
                self.classic(function, args, at)
            }
            ("info", _) => self.info(args, at),
            _ => match (RangeFn::named(function), HistogramFn::named(function)) {
                (Some(range), _) => self.over_time(function, range, args, at),
                (None, Some(histogram)) => self.of_histogram(histogram, args, at),
                (None, None) => self.map(function, args, at),
            },
        }
    }

    fn one_number(&mut self, of: &Expr) -> Result<(Part, bool), EvalError> {
        let (of, fixed) = self.vector(bare(of))?;
        Ok((Part::Scalar(Scalar::Of(of)), fixed))
    }

    fn of_two(
        &mut self,
        a: &Expr,
        b: &Expr,
        which: fn(Box<Scalar>, Box<Scalar>) -> Scalar,
    ) -> Result<(Part, bool), EvalError> {
        let (a, a_fixed) = self.scalar(a)?;
        let (b, b_fixed) = self.scalar(b)?;
        let scalar = which(Box::new(a), Box::new(b));
        Ok((Part::Scalar(scalar), a_fixed && b_fixed))
    }

    fn lift(&mut self, of: &Expr, at: usize) -> Result<(Part, bool), EvalError> {
        let (scalar, fixed) = self.scalar(of)?;
        self.one(What::Lift(scalar), at, fixed)
    }

    fn absent(&mut self, of: &Expr, at: usize) -> Result<(Part, bool), EvalError> {
        let (node, fixed) = self.vector(of)?;
        let slots = Slots::from([Slot {
            labels: Arc::new(exact_labels(of)),
            dropped: false,
        }]);
        let id = self.push(What::Absent(node), slots, at, fixed)?;
        Ok((Part::Vector(id), fixed))
    }

    fn absent_over_time(&mut self, of: &Expr, at: usize) -> Result<(Part, bool), EvalError> {
        let (input, _, fixed) = self.input(of)?;
        check_edges(&input, "absent_over_time")?;
        let slots = Slots::from([Slot {
            labels: Arc::new(exact_labels(bare(of))),
            dropped: true,
        }]);
        let what = What::AbsentOverTime(Box::new(input));
        Ok((Part::Vector(self.push(what, slots, at, fixed)?), fixed))
    }

    fn sort(&mut self, of: &Expr, descending: bool, at: usize) -> Result<(Part, bool), EvalError> {
        let (of, fixed) = self.vector(bare(of))?;
        let slots = self.slots(of);
        let id = self.push(What::Sort { of, descending }, slots, at, fixed)?;
        Ok((Part::Vector(id), fixed))
    }

    fn of_histogram(
        &mut self,
        function: HistogramFn,
        args: &[Expr],
        at: usize,
    ) -> Result<(Part, bool), EvalError> {
        let [of] = args else {
            return Err(EvalError::bad("expected one argument"));
        };
        let (of, fixed) = self.vector(bare(of))?;
        let slots = self.dropping(&self.slots(of));
        let what = What::OfHistogram { of, function };
        let id = self.push_clashing(what, slots, at, fixed)?;
        Ok((Part::Vector(id), fixed))
    }

    fn map(
        &mut self,
        name: &'static str,
        args: &[Expr],
        at: usize,
    ) -> Result<(Part, bool), EvalError> {
        let Some(function) = Map::named(name) else {
            return Err(EvalError::bad(format!(
                "unknown function with name \"{name}\""
            )));
        };
        let Some((of, scalars)) = args.split_first() else {
            return self.one(What::DateNow(function), at, false);
        };
        let (of, mut fixed) = self.vector(bare(of))?;
        let mut args = [Scalar::Number(1.0), Scalar::Number(0.0)];
        for (arg, scalar) in args.iter_mut().zip(scalars) {
            let (scalar, scalar_fixed) = self.scalar(scalar)?;
            *arg = scalar;
            fixed &= scalar_fixed;
        }
        fixed &= !MOVING.contains(&name);
        let slots = self.dropping(&self.slots(of));
        let what = What::Map { of, function, args };
        let id = self.push_clashing(what, slots, at, fixed)?;
        Ok((Part::Vector(id), fixed))
    }

    /// A vector of one value without labels.
    fn one(&mut self, what: What, at: usize, fixed: bool) -> Result<(Part, bool), EvalError> {
        let slots = Slots::from([Slot {
            labels: Arc::new(Labels::new()),
            dropped: false,
        }]);
        Ok((Part::Vector(self.push(what, slots, at, fixed)?), fixed))
    }

    fn timestamp(
        &mut self,
        function: &str,
        of: &Expr,
        at: usize,
    ) -> Result<(Part, bool), EvalError> {
        let start = function == "start_timestamp";
        if let Kind::Vector(selector) = &of.kind {
            let (select, slots) = self.select(selector)?;
            let slots = self.dropping(&slots);
            let what = if start {
                What::StartTimestamp(select)
            } else {
                What::Timestamp(select)
            };
            let id = self.push_clashing(what, slots, at, false)?;
            return Ok((Part::Vector(id), false));
        }
        let (node, _) = self.vector(of)?;
        let slots = self.dropping(&self.slots(node));
        let what = if start {
            What::Nothing
        } else {
            What::TimeOf(node)
        };
        let id = self.push_clashing(what, slots, at, false)?;
        Ok((Part::Vector(id), false))
    }

    fn over_time(
        &mut self,
        name: &'static str,
        function: RangeFn,
        args: &[Expr],
        at: usize,
    ) -> Result<(Part, bool), EvalError> {
        let mut window = None;
        let mut scalars = Vec::new();
        let mut fixed = !MOVING.contains(&name);
        for arg in args {
            let arg = bare(arg);
            if matches!(arg.kind, Kind::Matrix { .. } | Kind::Subquery { .. }) {
                let (input, slots, input_fixed) = self.input(arg)?;
                fixed &= input_fixed;
                // A subquery's place in the text is lost on the way in Prometheus.
                let start = match input {
                    Input::Series { .. } => arg.span.start,
                    Input::Steps(_) => 0,
                };
                window = Some((input, slots, self.origin(start)));
            } else {
                match self.part(arg)? {
                    (Part::Scalar(s), scalar_fixed) => {
                        scalars.push(s);
                        fixed &= scalar_fixed;
                    }
                    (other, _) => return Err(unexpected(Type::Scalar, &other)),
                }
            }
        }
        let Some((input, slots, window_from)) = window else {
            return Err(EvalError::bad(format!(
                "{name} takes a range vector as its argument"
            )));
        };
        check_edges(&input, name)?;
        // The place of remarks is that of the first argument, whichever it is.
        let first = args.first().map(bare);
        let args_from = match first.map(|f| &f.kind) {
            Some(Kind::Matrix { .. } | Kind::Subquery { .. }) | None => window_from,
            Some(_) => Origin {
                order: window_from.order,
                at: first.map_or(at, |f| f.span.start) as u32,
            },
        };
        let doubts = match function {
            RangeFn::Rate | RangeFn::Increase => self.doubts(&slots),
            _ => None,
        };
        let kept = match (function, &input) {
            (RangeFn::Rate | RangeFn::Increase, Input::Series { edges, .. }) => {
                (*edges == Edges::Plain).then(|| self.keep())
            }
            _ => None,
        };
        let of = slots.clone();
        let slots = if function.keeps_name() {
            (slots, None)
        } else {
            self.dropping(&slots)
        };
        let what = What::OverTime(Box::new(OverTime {
            function,
            input,
            of,
            args: scalars,
            args_from,
            doubts,
            kept,
        }));
        Ok((
            Part::Vector(self.push_clashing(what, slots, at, fixed)?),
            fixed,
        ))
    }

    /// A place for what is kept of the windows of a function.
    fn keep(&mut self) -> usize {
        self.growths += 1;
        self.growths - 1
    }

    /// Metrics to which `rate` should perhaps not be applied.
    fn doubts(&self, slots: &Slots) -> Option<Doubts> {
        let mut metrics: Vec<(String, String)> = Vec::new();
        let of_slot: Box<[u32]> = slots
            .iter()
            .map(|slot| {
                let name = slot.labels.get("__name__");
                let kind = slot.labels.get("__type__");
                let fine = if self.settings.type_and_unit_labels {
                    matches!(kind, "counter" | "histogram")
                } else {
                    ["_total", "_sum", "_count", "_bucket"]
                        .iter()
                        .any(|end| name.ends_with(end))
                };
                if name.is_empty() || fine {
                    return NONE;
                }
                let known = metrics.iter().position(|(n, k)| n == name && k == kind);
                known.unwrap_or_else(|| {
                    metrics.push((name.to_owned(), kind.to_owned()));
                    metrics.len() - 1
                }) as u32
            })
            .collect();
        (!metrics.is_empty()).then_some(Doubts { metrics, of_slot })
    }
}

fn check_edges(input: &Input, function: &str) -> Result<(), EvalError> {
    let (modifier, allowed) = match input {
        Input::Series {
            edges: Edges::Anchored,
            ..
        } => (
            "anchored",
            &["changes", "delta", "increase", "rate", "resets"][..],
        ),
        Input::Series {
            edges: Edges::Smoothed,
            ..
        } => ("smoothed", &["delta", "increase", "rate"][..]),
        Input::Series { .. } | Input::Steps(_) => return Ok(()),
    };
    if allowed.contains(&function) {
        return Ok(());
    }
    Err(EvalError::execution(format!(
        "{modifier} modifier can only be used with: {} - not with {function}",
        allowed.join(", ")
    )))
}

/// The labels of which `absent` knows the value: those that one matcher alone says to be equal to something.
fn exact_labels(expr: &Expr) -> Labels {
    let matchers: &[Matcher] = match &expr.kind {
        Kind::Vector(selector) | Kind::Matrix { selector, .. } => &selector.matchers,
        _ => &[],
    };
    let mut labels = Labels::new();
    let mut seen: Vec<&str> = Vec::new();
    for m in matchers.iter().filter(|m| m.name != "__name__") {
        if m.op == MatchOp::Equal && !seen.contains(&m.name.as_str()) {
            labels.set(m.name.as_str(), m.value.as_str());
            seen.push(&m.name);
        } else {
            labels.set(m.name.as_str(), "");
        }
    }
    labels
}
