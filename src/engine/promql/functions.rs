//! What functions do with values; labels are not their business.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use crate::engine::promql::annotate::{Notes, Origin};
use crate::engine::promql::ast::Edges;
use crate::engine::promql::functions::window::Window;
use crate::engine::promql::settings::EvalError;
use crate::model::histogram::Histogram;
use crate::model::labels::Labels;

pub(super) mod date;
pub(super) mod extended;
pub(super) mod hash;
mod instant;
pub(super) mod math;
pub(super) mod native;
pub(super) mod over_time;
pub(super) mod rate;
mod trend;
pub(super) mod window;

/// What a function yields for one series.
#[derive(Clone, Debug)]
pub(super) enum Yield {
    /// Nothing: the series is left out.
    Nothing,
    /// A number.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<Histogram>),
}

/// A function over a window of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RangeFn {
    Rate,
    Increase,
    Delta,
    Irate,
    Idelta,
    Resets,
    Changes,
    Deriv,
    PredictLinear,
    DoubleExponentialSmoothing,
    Avg,
    Sum,
    Count,
    Min,
    Max,
    First,
    Last,
    Present,
    Quantile,
    Stddev,
    Stdvar,
    Mad,
    TimeOfFirst,
    TimeOfLast,
    TimeOfMin,
    TimeOfMax,
}

impl RangeFn {
    /// By the name of the function.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "rate" => RangeFn::Rate,
            "increase" => RangeFn::Increase,
            "delta" => RangeFn::Delta,
            "irate" => RangeFn::Irate,
            "idelta" => RangeFn::Idelta,
            "resets" => RangeFn::Resets,
            "changes" => RangeFn::Changes,
            "deriv" => RangeFn::Deriv,
            "predict_linear" => RangeFn::PredictLinear,
            "double_exponential_smoothing" => RangeFn::DoubleExponentialSmoothing,
            "avg_over_time" => RangeFn::Avg,
            "sum_over_time" => RangeFn::Sum,
            "count_over_time" => RangeFn::Count,
            "min_over_time" => RangeFn::Min,
            "max_over_time" => RangeFn::Max,
            "first_over_time" => RangeFn::First,
            "last_over_time" => RangeFn::Last,
            "present_over_time" => RangeFn::Present,
            "quantile_over_time" => RangeFn::Quantile,
            "stddev_over_time" => RangeFn::Stddev,
            "stdvar_over_time" => RangeFn::Stdvar,
            "mad_over_time" => RangeFn::Mad,
            "ts_of_first_over_time" => RangeFn::TimeOfFirst,
            "ts_of_last_over_time" => RangeFn::TimeOfLast,
            "ts_of_min_over_time" => RangeFn::TimeOfMin,
            "ts_of_max_over_time" => RangeFn::TimeOfMax,
            _ => return None,
        })
    }
    /// Whether the value is one of the samples, so that it keeps its name.
    pub fn keeps_name(self) -> bool {
        matches!(self, RangeFn::First | RangeFn::Last)
    }
}

/// A function of a native histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HistogramFn {
    Count,
    Sum,
    Avg,
    Stddev,
    Stdvar,
}

impl HistogramFn {
    /// By the name of the function.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "histogram_count" => HistogramFn::Count,
            "histogram_sum" => HistogramFn::Sum,
            "histogram_avg" => HistogramFn::Avg,
            "histogram_stddev" => HistogramFn::Stddev,
            "histogram_stdvar" => HistogramFn::Stdvar,
            _ => return None,
        })
    }
}

/// One call of a function over time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    /// Which.
    pub function: RangeFn,
    /// Its scalars.
    pub args: [f64; 2],
    /// The time of the query, milliseconds.
    pub at: i64,
    /// The window is (start, end], milliseconds.
    pub start: i64,
    /// See `start`.
    pub end: i64,
    /// How long it is.
    pub seconds: f64,
    /// What happens at its ends; if anything, the samples go beyond it.
    pub edges: Edges,
    /// The place of remarks.
    pub from: Origin,
    /// Whose samples they are.
    pub labels: &'a Labels,
    /// The time of the newest decrease of the series; `i64::MAX`: not known.
    pub last_drop: i64,
}

impl Ask<'_> {
    /// The metric's name.
    pub fn metric(&self) -> &str {
        self.labels.get("__name__")
    }
}

/// What functions need beside their samples.
pub(super) struct Tools<'a> {
    /// Remarks.
    pub notes: &'a mut Notes,
    /// Room for numbers.
    pub floats: &'a mut Vec<f64>,
    /// How the last window was extrapolated.
    pub memo: rate::Memo,
}

/// Applies a function to a window that is not empty.
#[inline(always)]
pub(super) fn apply(
    ask: &Ask<'_>,
    window: Window<'_>,
    tools: &mut Tools<'_>,
) -> Result<Yield, EvalError> {
    let seconds = |ms: Option<i64>| Yield::Float(ms.unwrap_or(0) as f64 / 1_000.0);
    Ok(match ask.function {
        RangeFn::Avg => over_time::avg(ask, window, tools.notes),
        RangeFn::Rate => rate::extrapolated(ask, window, true, true, tools),
        RangeFn::Increase => rate::extrapolated(ask, window, true, false, tools),
        RangeFn::Delta => rate::extrapolated(ask, window, false, false, tools),
        RangeFn::Irate => instant::last_two(ask, window, true, tools.notes),
        RangeFn::Idelta => instant::last_two(ask, window, false, tools.notes),
        RangeFn::Resets => instant::resets(ask, window),
        RangeFn::Changes => instant::changes(ask, window),
        RangeFn::Deriv => trend::deriv(ask, window, tools.notes),
        RangeFn::PredictLinear => trend::predict(ask, window, tools.notes),
        RangeFn::DoubleExponentialSmoothing => trend::smooth(ask, window, tools.notes)?,
        RangeFn::Sum => over_time::sum(ask, window, tools.notes),
        RangeFn::Count => Yield::Float(window.len() as f64),
        RangeFn::Present => Yield::Float(1.0),
        RangeFn::Min | RangeFn::Max | RangeFn::TimeOfMin | RangeFn::TimeOfMax => {
            over_time::extreme(ask, window, tools.notes)
        }
        RangeFn::First => over_time::first(window),
        RangeFn::Last => over_time::last(window),
        RangeFn::Quantile => over_time::quantile_of(ask, window, tools),
        RangeFn::Stddev => over_time::variance(ask, window, tools.notes, f64::sqrt),
        RangeFn::Stdvar => over_time::variance(ask, window, tools.notes, |v| v),
        RangeFn::Mad => over_time::mad(ask, window, tools),
        RangeFn::TimeOfFirst => seconds(window.merged().next().map(|s| s.ts)),
        RangeFn::TimeOfLast => {
            let (float, piece) = (window.times.last(), window.pieces.last());
            seconds(float.copied().max(piece.map(|p| p.ts)))
        }
    })
}
