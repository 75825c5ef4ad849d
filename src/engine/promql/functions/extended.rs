//! Windows with `anchored` or `smoothed` ends: the value at an end is that of the sample before it, or lies between
//! the samples around it.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use crate::engine::promql::annotate::{Deed, Notes, Origin};
use crate::engine::promql::ast::Edges;
use crate::engine::promql::functions::window::{Piece, Window};
use crate::engine::promql::functions::{Ask, Yield, native};
use crate::engine::promql::source::{Point, Value};
use crate::model::histogram::{Histogram, Incompatible, ResetHint};

/// The value at a time between two samples. A counter that started anew between them started at zero.
pub(in crate::engine::promql) fn interpolated(
    a: (i64, f64),
    b: (i64, f64),
    at: i64,
    counter: bool,
) -> f64 {
    let from = if counter && b.1 < a.1 { 0.0 } else { a.1 };
    from + (b.1 - from) * (at - a.0) as f64 / (b.0 - a.0) as f64
}

/// The same for histograms.
pub(in crate::engine::promql) fn interpolated_histogram(
    a: &Piece,
    b: &Piece,
    at: i64,
    counter: bool,
    from: Origin,
    notes: &mut Notes,
) -> Result<Histogram, Incompatible> {
    if at == a.ts {
        return Ok(a.histogram.as_ref().clone());
    }
    let mut result = b.histogram.as_ref().clone();
    if at == b.ts {
        return Ok(result);
    }
    let share = (at - a.ts) as f64 / (b.ts - a.ts) as f64;
    if counter && b.histogram.detect_reset(&a.histogram) {
        result.mul(share);
        return Ok(result);
    }
    if result.sub(&a.histogram)?.bounds_reconciled {
        notes.reconciled(from, Deed::Subtraction);
    }
    result.mul(share);
    if result.add(&a.histogram)?.bounds_reconciled {
        notes.reconciled(from, Deed::Addition);
    }
    Ok(result)
}

/// The samples that stand for the ends: the newest at or before the start (or the first one after it), and the last
/// one, or where it is smoothed the first at or after the end. `None` if nothing lies in the window.
fn ends(
    times: impl Fn(usize) -> i64,
    count: usize,
    start: i64,
    end: i64,
    smoothed: bool,
) -> Option<(usize, usize)> {
    let last = count.checked_sub(1)?;
    let search = |from: &dyn Fn(i64) -> bool| (0..last).find(|i| from(times(*i))).unwrap_or(last);
    let first = search(&|t| t > start).saturating_sub(1);
    let last = if smoothed {
        search(&|t| t >= end)
    } else {
        last
    };
    if times(last) <= start || (smoothed && times(first) > end) {
        return None;
    }
    Some((first, last))
}

/// `rate`, `increase` and `delta`: what lies between the values at the ends, without extrapolation.
pub(super) fn difference(
    ask: &Ask<'_>,
    window: Window<'_>,
    counter: bool,
    per_second: bool,
    notes: &mut Notes,
) -> Yield {
    if window.is_mixed() {
        notes.mixed_floats(ask.from, ask.metric());
        return Yield::Nothing;
    }
    if window.pieces.is_empty() {
        return match floats(ask, window, counter) {
            Some(v) if per_second => Yield::Float(v / ask.seconds),
            Some(v) => Yield::Float(v),
            None => Yield::Nothing,
        };
    }
    match histograms(ask, window.pieces, counter, notes) {
        None => Yield::Nothing,
        Some(mut h) => {
            if per_second {
                h.div(ask.seconds);
            }
            h.set_hint(ResetHint::Gauge);
            h.compact();
            Yield::Histogram(Arc::new(h))
        }
    }
}

/// The values at both ends, and which samples lie between them.
fn float_ends(
    window: Window<'_>,
    start: i64,
    end: i64,
    smoothed: bool,
    counter: bool,
) -> Option<(f64, f64, std::ops::Range<usize>)> {
    let time = |i: usize| window.times.get(i).copied().unwrap_or(i64::MAX);
    let at = |i: usize| Some((*window.times.get(i)?, *window.values.get(i)?));
    let (first, last) = ends(time, window.times.len(), start, end, smoothed)?;
    let left = match (at(first)?, at(first + 1)) {
        (a, Some(b)) if smoothed && a.0 < start => interpolated(a, b, start, counter),
        (a, _) => a.1,
    };
    let right = match (last.checked_sub(1).and_then(at), at(last)?) {
        (Some(a), b) if smoothed && b.0 > end => interpolated(a, b, end, counter),
        (_, b) => b.1,
    };
    let from = first + usize::from(time(first) <= start);
    let to = last + usize::from(time(last) < end);
    Some((left, right, from..to.max(from)))
}

fn floats(ask: &Ask<'_>, window: Window<'_>, counter: bool) -> Option<f64> {
    let smoothed = ask.edges == Edges::Smoothed;
    let (left, right, between) = float_ends(window, ask.start, ask.end, smoothed, counter)?;
    let mut result = right - left;
    if counter {
        let mut before = left;
        let between = window.values.get(between).unwrap_or_default();
        for v in between.iter().chain([&right]) {
            if *v < before {
                result += before;
            }
            before = *v;
        }
    }
    Some(result)
}

fn histograms(
    ask: &Ask<'_>,
    pieces: &[Piece],
    counter: bool,
    notes: &mut Notes,
) -> Option<Histogram> {
    let smoothed = ask.edges == Edges::Smoothed;
    let time = |i: usize| pieces.get(i).map_or(i64::MAX, |p| p.ts);
    let (first, last) = ends(time, pieces.len(), ask.start, ask.end, smoothed)?;
    let within = pieces.get(first..=last)?;
    let custom = within.first()?.histogram.is_custom();
    for piece in within {
        if piece.histogram.is_custom() != custom {
            notes.mixed_schemas(ask.from, ask.metric());
            return None;
        }
        if counter && piece.histogram.hint() == ResetHint::Gauge {
            notes.not_counter(ask.from, ask.metric());
        }
    }
    let (a, b) = (pieces.get(first)?, pieces.get(first + 1));
    let left = match b {
        Some(b) if smoothed && a.ts < ask.start => {
            interpolated_histogram(a, b, ask.start, counter, ask.from, notes)
        }
        _ => Ok(a.histogram.as_ref().clone()),
    };
    let (y, z) = (
        last.checked_sub(1).and_then(|i| pieces.get(i)),
        pieces.get(last)?,
    );
    let right = match y {
        Some(y) if smoothed && z.ts > ask.end => {
            interpolated_histogram(y, z, ask.end, counter, ask.from, notes)
        }
        _ => Ok(z.histogram.as_ref().clone()),
    };
    let (Ok(left), Ok(right)) = (left, right) else {
        notes.mixed_schemas(ask.from, ask.metric());
        return None;
    };
    if !counter && (left.hint() != ResetHint::Gauge || right.hint() != ResetHint::Gauge) {
        notes.not_gauge(ask.from, ask.metric());
    }
    let mut result = right.clone();
    if !native::subtract(&mut result, &left, ask.from, ask.metric(), notes) {
        return None;
    }
    if !counter {
        return Some(result);
    }
    // A reset that the interpolation at the start has spanned is accounted for already.
    let mut before: &Histogram = &left;
    let mut next = first + 1;
    if let Some(b) = b
        && smoothed
        && a.ts < ask.start
        && b.histogram.detect_reset(&a.histogram)
    {
        before = &b.histogram;
        next += 1;
    }
    if next > last {
        return Some(result);
    }
    let between = pieces.get(next..last).unwrap_or_default();
    let later = between.iter().map(|p| p.histogram.as_ref()).chain([&right]);
    for now in later {
        if now.detect_reset(before)
            && !native::add(&mut result, before, ask.from, ask.metric(), notes)
        {
            return None;
        }
        before = now;
    }
    Some(result)
}

/// A window as the result of a query: with a sample at each end.
pub(in crate::engine::promql) fn extended(
    window: Window<'_>,
    start: i64,
    end: i64,
    smoothed: bool,
) -> Vec<Point> {
    let point = |ts: i64, value: Value| Point {
        ts,
        start_ts: None,
        value,
    };
    let mut points = Vec::new();
    if let Some((left, right, between)) = float_ends(window, start, end, smoothed, false) {
        points.push(point(start, Value::Float(left)));
        let inner = window.floats().skip(between.start).take(between.len());
        points.extend(inner.map(|(ts, v)| point(ts, Value::Float(v))));
        points.push(point(end, Value::Float(right)));
    }
    points
}
