//! `deriv`, `predict_linear`, `double_exponential_smoothing`: where a series is heading.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::engine::promql::annotate::Notes;
use crate::engine::promql::functions::window::Window;
use crate::engine::promql::functions::{Ask, Yield};
use crate::engine::promql::settings::EvalError;
use crate::model::number::kahan;

/// Whether there are two numbers at least; notes that histograms are left out.
fn enough(ask: &Ask<'_>, window: Window<'_>, notes: &mut Notes) -> bool {
    if !window.values.is_empty() && !window.pieces.is_empty() {
        notes.ignored_in_range(ask.from, ask.metric());
    }
    window.values.len() >= 2
}

/// Slope and value at a time of the line through the numbers of a window, by least squares.
fn regression(window: Window<'_>, at: i64) -> (f64, f64) {
    let first = window.values.first().copied().unwrap_or(f64::NAN);
    let constant = window.values.iter().skip(1).all(|v| *v == first);
    if constant {
        return if first.is_infinite() {
            (f64::NAN, f64::NAN)
        } else {
            (0.0, first)
        };
    }
    let mut n = 0.0;
    let (mut x, mut y, mut xy, mut xx) = ((0.0, 0.0), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0));
    for (ts, v) in window.floats() {
        n += 1.0;
        let t = (ts - at) as f64 / 1_000.0;
        x = kahan(t, x.0, x.1);
        y = kahan(v, y.0, y.1);
        xy = kahan(t * v, xy.0, xy.1);
        xx = kahan(t * t, xx.0, xx.1);
    }
    let (x, y, xy, xx) = (x.0 + x.1, y.0 + y.1, xy.0 + xy.1, xx.0 + xx.1);
    let slope = (xy - x * y / n) / (xx - x * x / n);
    (slope, y / n - slope * x / n)
}

pub(super) fn deriv(ask: &Ask<'_>, window: Window<'_>, notes: &mut Notes) -> Yield {
    if !enough(ask, window, notes) {
        return Yield::Nothing;
    }
    let near = window.times.first().copied().unwrap_or(0);
    Yield::Float(regression(window, near).0)
}

pub(super) fn predict(ask: &Ask<'_>, window: Window<'_>, notes: &mut Notes) -> Yield {
    if !enough(ask, window, notes) {
        return Yield::Nothing;
    }
    let [ahead, _] = ask.args;
    let (slope, now) = regression(window, ask.at);
    Yield::Float(slope * ahead + now)
}

pub(super) fn smooth(
    ask: &Ask<'_>,
    window: Window<'_>,
    notes: &mut Notes,
) -> Result<Yield, EvalError> {
    let [smoothing, trend] = ask.args;
    let within = |v: f64| !(v <= 0.0 || v >= 1.0);
    if !within(smoothing) {
        return Err(EvalError::execution(format!(
            "invalid smoothing factor. Expected: 0 < sf < 1, got: {smoothing:.6}"
        )));
    }
    if !within(trend) {
        return Err(EvalError::execution(format!(
            "invalid trend factor. Expected: 0 < tf < 1, got: {trend:.6}"
        )));
    }
    if !enough(ask, window, notes) {
        return Ok(Yield::Nothing);
    }
    let mut values = window.values.iter().copied();
    let (Some(first), Some(second)) = (values.next(), window.values.get(1)) else {
        return Ok(Yield::Nothing);
    };
    let (mut before, mut now, mut slope) = (0.0, first, second - first);
    for (i, v) in values.enumerate() {
        if i > 0 {
            slope = trend * (now - before) + (1.0 - trend) * slope;
        }
        (before, now) = (now, smoothing * v + (1.0 - smoothing) * (now + slope));
    }
    Ok(Yield::Float(now))
}
