//! Every function of the language: what it takes and what it yields.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::engine::promql::ast::Type::{self, Matrix, Scalar, Text, Vector};
use crate::engine::promql::signature::Repeat::{Any, Never, UpTo};

/// What a function takes and yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Its name, as it stands in a [`Call`](crate::engine::promql::ast::Kind::Call).
    pub name: &'static str,
    /// The types of its arguments; if the last may repeat, then with this type.
    pub args: &'static [Type],
    /// How often the last argument may stand.
    pub last: Repeat,
    /// What it yields.
    pub yields: Type,
    /// Whether Prometheus asks for a feature flag before it knows the function.
    pub experimental: bool,
}

/// How often the last argument of a function may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Once: no argument may be left out.
    Never,
    /// From none to that many times.
    UpTo(usize),
    /// Any number of times, also none.
    Any,
}

impl Signature {
    /// The least number of arguments.
    pub fn args_min(&self) -> usize {
        match self.last {
            Never => self.args.len(),
            UpTo(_) | Any => self.args.len().saturating_sub(1),
        }
    }
    /// The greatest number of arguments, if there is a limit.
    pub fn args_max(&self) -> Option<usize> {
        match self.last {
            Never => Some(self.args.len()),
            UpTo(times) => Some(self.args_min() + times),
            Any => None,
        }
    }
    /// The type that the argument at `index` must have; `None` if there may be no such argument.
    pub fn arg(&self, index: usize) -> Option<Type> {
        if self.args_max().is_some_and(|max| index >= max) {
            return None;
        }
        self.args.get(index).or(self.args.last()).copied()
    }
    const fn experimental(mut self) -> Self {
        self.experimental = true;
        self
    }
}

/// The function of that name; names have their case.
pub fn signature(name: &str) -> Option<&'static Signature> {
    let at = SIGNATURES.binary_search_by(|s| s.name.cmp(name)).ok()?;
    SIGNATURES.get(at)
}

const fn fixed(name: &'static str, args: &'static [Type], yields: Type) -> Signature {
    open(name, args, Never, yields)
}

const fn open(name: &'static str, args: &'static [Type], last: Repeat, yields: Type) -> Signature {
    Signature {
        name,
        args,
        last,
        yields,
        experimental: false,
    }
}

/// All functions, by name.
pub const SIGNATURES: &[Signature] = &[
    fixed("abs", &[Vector], Vector),
    fixed("absent", &[Vector], Vector),
    fixed("absent_over_time", &[Matrix], Vector),
    fixed("acos", &[Vector], Vector),
    fixed("acosh", &[Vector], Vector),
    fixed("asin", &[Vector], Vector),
    fixed("asinh", &[Vector], Vector),
    fixed("atan", &[Vector], Vector),
    fixed("atanh", &[Vector], Vector),
    fixed("avg_over_time", &[Matrix], Vector),
    fixed("ceil", &[Vector], Vector),
    fixed("changes", &[Matrix], Vector),
    fixed("clamp", &[Vector, Scalar, Scalar], Vector),
    fixed("clamp_max", &[Vector, Scalar], Vector),
    fixed("clamp_min", &[Vector, Scalar], Vector),
    fixed("cos", &[Vector], Vector),
    fixed("cosh", &[Vector], Vector),
    fixed("count_over_time", &[Matrix], Vector),
    open("day_of_month", &[Vector], UpTo(1), Vector),
    open("day_of_week", &[Vector], UpTo(1), Vector),
    open("day_of_year", &[Vector], UpTo(1), Vector),
    open("days_in_month", &[Vector], UpTo(1), Vector),
    fixed("deg", &[Vector], Vector),
    fixed("delta", &[Matrix], Vector),
    fixed("deriv", &[Matrix], Vector),
    fixed(
        "double_exponential_smoothing",
        &[Matrix, Scalar, Scalar],
        Vector,
    )
    .experimental(),
    fixed("end", &[], Scalar).experimental(),
    fixed("exp", &[Vector], Vector),
    fixed("first_over_time", &[Matrix], Vector).experimental(),
    fixed("floor", &[Vector], Vector),
    fixed("histogram_avg", &[Vector], Vector),
    fixed("histogram_count", &[Vector], Vector),
    fixed("histogram_fraction", &[Scalar, Scalar, Vector], Vector),
    fixed("histogram_quantile", &[Scalar, Vector], Vector),
    open(
        "histogram_quantiles",
        &[Vector, Text, Scalar, Scalar],
        UpTo(9),
        Vector,
    )
    .experimental(),
    fixed("histogram_stddev", &[Vector], Vector),
    fixed("histogram_stdvar", &[Vector], Vector),
    fixed("histogram_sum", &[Vector], Vector),
    open("hour", &[Vector], UpTo(1), Vector),
    fixed("idelta", &[Matrix], Vector),
    fixed("increase", &[Matrix], Vector),
    open("info", &[Vector, Vector], UpTo(1), Vector).experimental(),
    fixed("irate", &[Matrix], Vector),
    open("label_join", &[Vector, Text, Text, Text], Any, Vector),
    fixed("label_replace", &[Vector, Text, Text, Text, Text], Vector),
    fixed("last_over_time", &[Matrix], Vector),
    fixed("ln", &[Vector], Vector),
    fixed("log10", &[Vector], Vector),
    fixed("log2", &[Vector], Vector),
    fixed("mad_over_time", &[Matrix], Vector).experimental(),
    fixed("max_of", &[Scalar, Scalar], Scalar).experimental(),
    fixed("max_over_time", &[Matrix], Vector),
    fixed("min_of", &[Scalar, Scalar], Scalar).experimental(),
    fixed("min_over_time", &[Matrix], Vector),
    open("minute", &[Vector], UpTo(1), Vector),
    open("month", &[Vector], UpTo(1), Vector),
    fixed("pi", &[], Scalar),
    fixed("predict_linear", &[Matrix, Scalar], Vector),
    fixed("present_over_time", &[Matrix], Vector),
    fixed("quantile_over_time", &[Scalar, Matrix], Vector),
    fixed("rad", &[Vector], Vector),
    fixed("range", &[], Scalar).experimental(),
    fixed("rate", &[Matrix], Vector),
    fixed("resets", &[Matrix], Vector),
    open("round", &[Vector, Scalar], UpTo(1), Vector),
    fixed("scalar", &[Vector], Scalar),
    fixed("sgn", &[Vector], Vector),
    fixed("sin", &[Vector], Vector),
    fixed("sinh", &[Vector], Vector),
    fixed("sort", &[Vector], Vector),
    open("sort_by_label", &[Vector, Text], Any, Vector).experimental(),
    open("sort_by_label_desc", &[Vector, Text], Any, Vector).experimental(),
    fixed("sort_desc", &[Vector], Vector),
    fixed("sqrt", &[Vector], Vector),
    fixed("start", &[], Scalar).experimental(),
    fixed("start_timestamp", &[Vector], Vector).experimental(),
    fixed("stddev_over_time", &[Matrix], Vector),
    fixed("stdvar_over_time", &[Matrix], Vector),
    fixed("step", &[], Scalar).experimental(),
    fixed("sum_over_time", &[Matrix], Vector),
    fixed("tan", &[Vector], Vector),
    fixed("tanh", &[Vector], Vector),
    fixed("time", &[], Scalar),
    fixed("timestamp", &[Vector], Vector),
    fixed("ts_of_first_over_time", &[Matrix], Vector).experimental(),
    fixed("ts_of_last_over_time", &[Matrix], Vector).experimental(),
    fixed("ts_of_max_over_time", &[Matrix], Vector).experimental(),
    fixed("ts_of_min_over_time", &[Matrix], Vector).experimental(),
    fixed("vector", &[Scalar], Vector),
    open("year", &[Vector], UpTo(1), Vector),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_counts_what_the_language_has() {
        assert!(SIGNATURES.is_sorted_by(|a, b| a.name < b.name));
        assert_eq!(SIGNATURES.len(), 90);
    }

    #[test]
    fn arguments_are_counted() {
        let count = |name: &str| {
            let s = signature(name).unwrap();
            (s.args_min(), s.args_max())
        };
        assert_eq!(count("rate"), (1, Some(1)));
        assert_eq!(count("time"), (0, Some(0)));
        assert_eq!(count("round"), (1, Some(2)));
        assert_eq!(count("hour"), (0, Some(1)));
        assert_eq!(count("label_join"), (3, None));
        assert_eq!(count("histogram_quantiles"), (3, Some(12)));
        assert_eq!(signature("label_join").unwrap().arg(9), Some(Text));
        assert_eq!(signature("rate").unwrap().arg(1), None);
        assert_eq!(signature("Rate"), None);
    }
}
