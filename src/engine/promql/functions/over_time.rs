//! Sums, means, extremes and quantiles of a window.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::cmp::Ordering;

use crate::engine::promql::annotate::Notes;
use crate::engine::promql::functions::window::Window;
use crate::engine::promql::functions::{Ask, RangeFn, Tools, Yield, native};
use crate::model::number::kahan;

/// The mean. The direct one for as long as the sum is finite, the incremental one from then on.
#[inline(always)]
pub(in crate::engine::promql) fn mean(values: &[f64]) -> f64 {
    let Some((first, rest)) = values.split_first() else {
        return f64::NAN;
    };
    let (mut sum, mut lost) = (*first, 0.0);
    for v in rest {
        (sum, lost) = kahan(*v, sum, lost);
    }
    if !sum.is_finite() {
        return incremental_mean(values);
    }
    let count = values.len() as f64;
    sum / count + lost / count
}

#[cold]
fn incremental_mean(values: &[f64]) -> f64 {
    let Some((first, rest)) = values.split_first() else {
        return f64::NAN;
    };
    let (mut sum, mut lost, mut mean) = (*first, 0.0, 0.0);
    let (mut count, mut incremental) = (1.0, false);
    for v in rest {
        count += 1.0;
        if !incremental {
            let (next, next_lost) = kahan(*v, sum, lost);
            if !next.is_infinite() {
                (sum, lost) = (next, next_lost);
                continue;
            }
            incremental = true;
            mean = sum / (count - 1.0);
            lost /= count - 1.0;
        }
        let q = (count - 1.0) / count;
        (mean, lost) = kahan(*v / count, q * mean, q * lost);
    }
    if incremental {
        mean + lost
    } else {
        sum / count + lost / count
    }
}

#[inline(always)]
pub(in crate::engine::promql) fn avg(
    ask: &Ask<'_>,
    window: Window<'_>,
    notes: &mut Notes,
) -> Yield {
    if window.pieces.is_empty() {
        return Yield::Float(mean(window.values));
    }
    if !window.values.is_empty() {
        notes.mixed_floats(ask.from, ask.metric());
        return Yield::Nothing;
    }
    native::avg(ask, window.pieces, notes)
}

pub(super) fn sum(ask: &Ask<'_>, window: Window<'_>, notes: &mut Notes) -> Yield {
    if window.pieces.is_empty() {
        let (mut sum, mut lost) = (0.0, 0.0);
        for v in window.values {
            (sum, lost) = kahan(*v, sum, lost);
        }
        return Yield::Float(if sum.is_infinite() { sum } else { sum + lost });
    }
    if !window.values.is_empty() {
        notes.mixed_floats(ask.from, ask.metric());
        return Yield::Nothing;
    }
    native::sum(ask, window.pieces, notes)
}

/// Notes that histograms are left out; whether there are numbers at all.
fn floats_only(ask: &Ask<'_>, window: Window<'_>, notes: &mut Notes) -> bool {
    if window.values.is_empty() {
        return false;
    }
    if !window.pieces.is_empty() {
        notes.ignored_in_range(ask.from, ask.metric());
    }
    true
}

pub(super) fn extreme(ask: &Ask<'_>, window: Window<'_>, notes: &mut Notes) -> Yield {
    if !floats_only(ask, window, notes) {
        return Yield::Nothing;
    }
    let mut floats = window.floats();
    let Some((mut time, mut best)) = floats.next() else {
        return Yield::Nothing;
    };
    for (ts, v) in floats {
        let better = match ask.function {
            RangeFn::Min => v < best,
            RangeFn::Max => v > best,
            // Of equal ones the last.
            RangeFn::TimeOfMin => v <= best,
            _ => v >= best,
        };
        if better || best.is_nan() {
            (time, best) = (ts, v);
        }
    }
    Yield::Float(match ask.function {
        RangeFn::Min | RangeFn::Max => best,
        _ => time as f64 / 1_000.0,
    })
}

pub(super) fn first(window: Window<'_>) -> Yield {
    match window.merged().next() {
        None => Yield::Nothing,
        Some(seen) => match seen.histogram {
            Some(h) => Yield::Histogram(h.clone()),
            None => Yield::Float(seen.value),
        },
    }
}

pub(super) fn last(window: Window<'_>) -> Yield {
    match (window.floats().next_back(), window.pieces.last()) {
        (None, None) => Yield::Nothing,
        (Some((ts, v)), piece) if piece.is_none_or(|p| p.ts < ts) => Yield::Float(v),
        (Some((_, v)), None) => Yield::Float(v),
        (_, Some(p)) => Yield::Histogram(p.histogram.clone()),
    }
}

pub(super) fn variance(
    ask: &Ask<'_>,
    window: Window<'_>,
    notes: &mut Notes,
    of: impl Fn(f64) -> f64,
) -> Yield {
    if !floats_only(ask, window, notes) {
        return Yield::Nothing;
    }
    let (mut count, mut mean, mut mean_lost, mut sum, mut lost) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for v in window.values {
        count += 1.0;
        let delta = v - (mean + mean_lost);
        (mean, mean_lost) = kahan(delta / count, mean, mean_lost);
        (sum, lost) = kahan(delta * (v - (mean + mean_lost)), sum, lost);
    }
    Yield::Float(of((sum + lost) / count))
}

pub(super) fn quantile_of(ask: &Ask<'_>, window: Window<'_>, tools: &mut Tools<'_>) -> Yield {
    let [q, _] = ask.args;
    if window.values.is_empty() {
        return Yield::Nothing;
    }
    if q.is_nan() || !(0.0..=1.0).contains(&q) {
        tools.notes.quantile(ask.from, q);
    }
    floats_only(ask, window, tools.notes);
    tools.floats.clear();
    tools.floats.extend_from_slice(window.values);
    Yield::Float(quantile(q, tools.floats))
}

pub(super) fn mad(ask: &Ask<'_>, window: Window<'_>, tools: &mut Tools<'_>) -> Yield {
    if !floats_only(ask, window, tools.notes) {
        return Yield::Nothing;
    }
    if window.values.iter().any(|v| v.is_nan()) {
        return Yield::Float(f64::NAN);
    }
    tools.floats.clear();
    tools.floats.extend_from_slice(window.values);
    let median = quantile(0.5, tools.floats);
    for v in tools.floats.iter_mut() {
        *v = (*v - median).abs();
    }
    Yield::Float(quantile(0.5, tools.floats))
}

/// NaN is the smallest of all.
pub(in crate::engine::promql) fn nan_first(a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
    }
}

/// The quantile of values, between the two closest; they are sorted on the way.
pub(in crate::engine::promql) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_unstable_by(|a, b| nan_first(*a, *b));
    let n = values.len() as f64;
    let rank = q * (n - 1.0);
    let lower = rank.floor().max(0.0);
    let upper = (lower + 1.0).min(n - 1.0);
    let weight = rank - rank.floor();
    let at = |i: f64| values.get(i as usize).copied().unwrap_or(f64::NAN);
    at(lower) * (1.0 - weight) + at(upper) * weight
}
