//! `rate`, `increase`, `delta`: the difference between the ends of a window, extrapolated to its bounds.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use crate::engine::promql::annotate::Notes;
use crate::engine::promql::ast::Edges;
use crate::engine::promql::functions::window::{Piece, Window};
use crate::engine::promql::functions::{Ask, Yield, extended, native};
use crate::model::histogram::Histogram;

#[inline(always)]
pub(super) fn extrapolated(
    ask: &Ask<'_>,
    window: Window<'_>,
    counter: bool,
    per_second: bool,
    notes: &mut Notes,
) -> Yield {
    if ask.edges != Edges::Plain {
        return extended::difference(ask, window, counter, per_second, notes);
    }
    match (window.values.is_empty(), window.pieces.is_empty()) {
        (false, true) => match floats(ask, window, counter, per_second, notes) {
            Some(v) => Yield::Float(v),
            None => Yield::Nothing,
        },
        (true, false) => match histograms(ask, window.pieces, counter, per_second, notes) {
            Some(h) => Yield::Histogram(Arc::new(h)),
            None => Yield::Nothing,
        },
        (true, true) => Yield::Nothing,
        (false, false) => {
            notes.mixed_floats(ask.from, ask.metric());
            Yield::Nothing
        }
    }
}

#[inline(always)]
fn floats(
    ask: &Ask<'_>,
    window: Window<'_>,
    counter: bool,
    per_second: bool,
    notes: &mut Notes,
) -> Option<f64> {
    let (first_time, last_time) = (*window.times.first()?, *window.times.last()?);
    let (first, last) = (*window.values.first()?, *window.values.last()?);
    let mut result = last - first;
    if counter {
        if window.starts.is_empty() {
            // A drop at or before the first sample is none within the window.
            if ask.last_drop > first_time {
                result += drops(window.values);
            }
        } else {
            result += resets(ask, window, notes);
        }
    }
    let start = first_start(ask, window.start(0), first_time, counter);
    let base = start.is_some().then_some(first);
    if let Some(base) = base {
        result += base;
    }
    let ends = Ends {
        first: first_time,
        last: last_time,
        gaps: window.values.len() - 1,
        start,
    };
    let zero = (counter && result > 0.0 && first >= 0.0).then(|| first / result);
    Some(result * factor(ask, ends, zero, counter, per_second)?)
}

/// What a counter had counted before each of its drops.
#[inline(always)]
fn drops(values: &[f64]) -> f64 {
    let mut sum = 0.0;
    for (a, b) in values.iter().zip(values.iter().skip(1)) {
        if b < a {
            sum += a;
        }
    }
    sum
}

/// The same where start timestamps tell of new beginnings too.
fn resets(ask: &Ask<'_>, window: Window<'_>, notes: &mut Notes) -> f64 {
    let mut sum = 0.0;
    let mut overlaps = false;
    let samples = || window.floats().zip(window.starts.iter().copied());
    for (((t0, a), s0), ((t1, b), s1)) in samples().zip(samples().skip(1)) {
        overlaps |= overlap(s0, t0, s1);
        if b < a || started(s0, t0, s1, t1) {
            sum += a;
        }
    }
    if overlaps {
        notes.start_overlap(ask.from, ask.metric());
    }
    sum
}

/// The start of a counter that lies in the window before its first sample: it was zero then.
#[inline(always)]
fn first_start(ask: &Ask<'_>, start: i64, first: i64, counter: bool) -> Option<i64> {
    (counter && start != 0 && start > ask.start && start < first).then_some(start)
}

/// Where the samples of a window begin and end.
struct Ends {
    first: i64,
    last: i64,
    /// Samples less one.
    gaps: usize,
    /// When the counter was zero, if that is known and in the window.
    start: Option<i64>,
}

/// By what a difference must be multiplied so that it is that of the whole window. `zero` is the share of the increase
/// at which the counter began: it is not extrapolated to below zero.
#[inline(always)]
fn factor(
    ask: &Ask<'_>,
    ends: Ends,
    zero: Option<f64>,
    counter: bool,
    per_second: bool,
) -> Option<f64> {
    let mut to_start = (ends.first - ask.start) as f64 / 1_000.0;
    let mut to_end = (ask.end - ends.last) as f64 / 1_000.0;
    let mut sampled = (ends.last - ends.first) as f64 / 1_000.0;
    let average = if ends.gaps > 0 {
        sampled / ends.gaps as f64
    } else {
        0.0
    };
    let threshold = average * 1.1;
    if let Some(start) = ends.start {
        to_start = 0.0;
        sampled = (ends.last - start) as f64 / 1_000.0;
    } else if ends.gaps == 0 {
        return None;
    } else {
        if to_start >= threshold {
            to_start = average / 2.0;
        }
        if counter && let Some(zero) = zero {
            let to_zero = sampled * zero;
            if to_zero < to_start {
                to_start = to_zero;
            }
        }
    }
    if to_end >= threshold {
        to_end = average / 2.0;
    }
    let mut factor = if sampled == 0.0 {
        1.0
    } else {
        (sampled + to_start + to_end) / sampled
    };
    if per_second {
        factor /= ask.range as f64 / 1_000.0;
    }
    Some(factor)
}

fn histograms(
    ask: &Ask<'_>,
    pieces: &[Piece],
    counter: bool,
    per_second: bool,
    notes: &mut Notes,
) -> Option<Histogram> {
    let (first, last) = (pieces.first()?, pieces.last()?);
    let mut result = if pieces.len() > 1 {
        Some(native::difference(ask, pieces, counter, notes)?)
    } else {
        None
    };
    let start = first_start(ask, first.start, first.ts, counter);
    if start.is_some() {
        match &mut result {
            None => result = Some(first.histogram.as_ref().clone()),
            Some(r) => {
                if !native::add(r, &first.histogram, ask.from, ask.metric(), notes) {
                    return None;
                }
            }
        }
    }
    let ends = Ends {
        first: first.ts,
        last: last.ts,
        gaps: pieces.len() - 1,
        start,
    };
    let count = result.as_ref().map_or(0.0, Histogram::count);
    let begun = first.histogram.count();
    let zero = (counter && count > 0.0 && begun >= 0.0).then(|| begun / count);
    let factor = factor(ask, ends, zero, counter, per_second)?;
    let mut result = result?;
    result.mul(factor);
    Some(result)
}

/// Whether a counter began anew between two samples, by their start timestamps (0: not known).
pub(super) fn started(prev_start: i64, prev: i64, start: i64, now: i64) -> bool {
    if start == 0 || start >= now || start < prev {
        return false;
    }
    if start > prev {
        return true;
    }
    // It starts at the sample before: a delta, or a counter whose start is not known. The sample before tells which.
    prev_start != 0 && prev_start < prev
}

/// Whether a sample claims to count since before the one before it, and not since when that one does.
pub(super) fn overlap(prev_start: i64, prev: i64, start: i64) -> bool {
    start != 0 && start < prev && start != prev_start
}
