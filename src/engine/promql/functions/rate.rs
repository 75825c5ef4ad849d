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
use crate::engine::promql::functions::{Ask, Tools, Yield, extended, native};
use crate::engine::promql::source::Head;
use crate::model::histogram::Histogram;

/// How the last window was extrapolated. The series of one scrape have their samples at the same times, and then it is
/// worked out once for all of them.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine::promql) struct Memo {
    first: i64,
    last: i64,
    /// Samples less one; 0: nothing is remembered.
    gaps: usize,
    /// Seconds between first and last sample.
    sampled: f64,
    /// Seconds to the start of the window, so far as it is extrapolated to.
    to_start: f64,
    /// The same to its end.
    to_end: f64,
    /// By what the difference is multiplied then.
    factor: f64,
}

#[inline(always)]
pub(in crate::engine::promql) fn extrapolated(
    ask: &Ask<'_>,
    window: Window<'_>,
    counter: bool,
    per_second: bool,
    tools: &mut Tools<'_>,
) -> Yield {
    if ask.edges != Edges::Plain {
        return extended::difference(ask, window, counter, per_second, tools.notes);
    }
    match (window.values.is_empty(), window.pieces.is_empty()) {
        (false, true) => match floats(ask, window, counter, per_second, tools) {
            Some(v) => Yield::Float(v),
            None => Yield::Nothing,
        },
        (true, false) => match histograms(ask, window.pieces, counter, per_second, tools.notes) {
            Some(h) => Yield::Histogram(Arc::new(h)),
            None => Yield::Nothing,
        },
        (true, true) => Yield::Nothing,
        (false, false) => {
            tools.notes.mixed_floats(ask.from, ask.metric());
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
    tools: &mut Tools<'_>,
) -> Option<f64> {
    if window.starts.is_empty() {
        let growth = Growth::of(ask, window, counter)?;
        return growth.extrapolated(ask, counter, per_second, &mut tools.memo);
    }
    let mut growth = Growth::between(window)?;
    if counter {
        growth.difference += resets(ask, window, tools.notes);
    }
    if let Some(start) = first_start(ask, window.start(0), growth.first_ms, counter) {
        let whole = growth.difference + growth.first;
        return Some(whole * since(ask, &growth.ends(), start, per_second));
    }
    growth.extrapolated(ask, counter, per_second, &mut tools.memo)
}

/// What a difference needs to know of a window of numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine::promql) struct Growth {
    /// Time of the first sample.
    pub first_ms: i64,
    /// Time of the last.
    pub last_ms: i64,
    first: f64,
    last: f64,
    /// The last less the first, and of a counter what it had before its drops.
    difference: f64,
    /// Samples less one.
    gaps: u32,
}

impl Growth {
    /// That of a window of numbers without start timestamps; `None`: it is empty.
    #[inline(always)]
    pub fn of(ask: &Ask<'_>, window: Window<'_>, counter: bool) -> Option<Self> {
        let mut growth = Self::between(window)?;
        // A drop at or before the first sample is none within the window.
        if counter && ask.last_drop > growth.first_ms {
            growth.difference += drops(window.values);
        }
        Some(growth)
    }

    #[inline(always)]
    fn between(window: Window<'_>) -> Option<Self> {
        let (first, last) = (*window.values.first()?, *window.values.last()?);
        Some(Self {
            first_ms: *window.times.first()?,
            last_ms: *window.times.last()?,
            first,
            last,
            difference: last - first,
            gaps: u32::try_from(window.values.len() - 1).unwrap_or(u32::MAX),
        })
    }

    /// How many samples the window has.
    pub fn samples(&self) -> usize {
        self.gaps as usize + 1
    }

    fn ends(&self) -> Ends {
        Ends {
            first: self.first_ms,
            last: self.last_ms,
            gaps: self.gaps as usize,
        }
    }

    /// The difference, extrapolated to the ends of the window; `None` of one sample.
    #[inline(always)]
    pub fn extrapolated(
        &self,
        ask: &Ask<'_>,
        counter: bool,
        per_second: bool,
        memo: &mut Memo,
    ) -> Option<f64> {
        if self.gaps == 0 {
            return None;
        }
        let ends = self.ends();
        if memo.gaps != ends.gaps || memo.first != ends.first || memo.last != ends.last {
            *memo = Memo::new(ask, &ends, per_second);
        }
        let (first, result) = (self.first, self.difference);
        let begun = counter && result > 0.0 && first >= 0.0;
        // Most counters are far from zero: then a product tells what the exact quotient would.
        if !begun || first * memo.sampled > memo.to_start * result * 1.000_001 {
            return Some(result * memo.factor);
        }
        Some(result * memo.not_below_zero(ask, first / result, per_second))
    }
}

/// The growth of one series in the window of the last evaluation. It follows the window for as long as samples only come
/// at its end and leave at its begin, and no sample is looked at.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine::promql) struct Kept {
    growth: Growth,
    /// The begin of the window in which it was found.
    after: i64,
    changes: u32,
    /// Whether the window has no drop: then a difference is that of its ends.
    rises: bool,
    next: Next,
}

/// The samples after the first one, as far as there is room for them: who is first when that one leaves. A ring.
#[derive(Clone, Copy, Debug, Default)]
struct Next {
    /// That many have come, and left.
    came: u32,
    left: u32,
    /// Milliseconds since `base`.
    times: [u32; NEXT_MAX],
    base: i64,
    values: [f64; NEXT_MAX],
}

/// How many samples may leave before the window must be looked at again.
const NEXT_MAX: usize = 8;

impl Next {
    /// Those of a window.
    fn of(window: Window<'_>) -> Self {
        let mut next = Self {
            base: window.times.first().copied().unwrap_or(0),
            ..Self::default()
        };
        let samples = window.times.iter().zip(window.values);
        for (ts, value) in samples.skip(1).take(NEXT_MAX) {
            next.push(*ts, *value);
        }
        next
    }

    /// Adds the sample after the last one, if there is room.
    fn push(&mut self, ts: i64, value: f64) {
        let place = self.came as usize % NEXT_MAX;
        if self.len() < NEXT_MAX
            && let Ok(past) = u32::try_from(ts.saturating_sub(self.base))
            && let (Some(time), Some(room)) =
                (self.times.get_mut(place), self.values.get_mut(place))
        {
            (*time, *room) = (past, value);
            self.came = self.came.wrapping_add(1);
        }
    }

    fn len(&self) -> usize {
        self.came.wrapping_sub(self.left) as usize
    }

    /// Takes out the first of them.
    fn pop(&mut self) -> Option<(i64, f64)> {
        let place = (self.len() > 0).then_some(self.left as usize % NEXT_MAX)?;
        self.left = self.left.wrapping_add(1);
        let past = i64::from(*self.times.get(place)?);
        Some((self.base + past, *self.values.get(place)?))
    }
}

impl Default for Kept {
    /// Nothing.
    fn default() -> Self {
        Self {
            growth: Growth::default(),
            after: i64::MAX,
            changes: 0,
            rises: false,
            next: Next::default(),
        }
    }
}

impl Kept {
    /// Found in a window that begins after a time; no sample of the series is later than its last.
    pub fn new(growth: Growth, window: Window<'_>, after: i64, head: &Head) -> Self {
        Self {
            growth,
            after,
            changes: head.changes,
            rises: head.last_drop <= growth.first_ms,
            next: Next::of(window),
        }
    }

    /// The growth in (after, upto], if that can be told.
    #[inline(always)]
    pub fn follow(&mut self, head: &Head, after: i64, upto: i64) -> Option<&Growth> {
        if self.after > after {
            return None;
        }
        if self.changes != head.changes {
            self.extend(head, upto)?;
        }
        if after >= self.growth.first_ms {
            self.shorten(after)?;
        }
        (self.growth.last_ms <= upto).then_some(&self.growth)
    }

    /// Takes in what came at the end, of which the last is known and of those before it that none is smaller than the one
    /// before.
    fn extend(&mut self, head: &Head, upto: i64) -> Option<()> {
        let Growth {
            first_ms, last_ms, ..
        } = self.growth;
        let came = head.changes.wrapping_sub(self.changes);
        // A late sample makes the last one a drop, which in a window of one sample is the first.
        let in_order = came == 1 || head.last_drop < last_ms;
        let rises = self.rises && head.last_drop <= first_ms && in_order;
        if !rises || came >= Head::OTHER || head.ms <= last_ms || head.ms > upto {
            return None;
        }
        if came == 1 && self.next.len() == self.growth.gaps as usize {
            self.next.push(head.ms, head.value);
        }
        self.changes = head.changes;
        self.growth.last_ms = head.ms;
        self.growth.last = head.value;
        self.growth.gaps = self.growth.gaps.checked_add(came)?;
        self.growth.difference = head.value - self.growth.first;
        Some(())
    }

    /// Lets go what is no longer in the window at its begin.
    fn shorten(&mut self, after: i64) -> Option<()> {
        if !self.rises {
            return None;
        }
        while self.growth.first_ms <= after {
            (self.growth.first_ms, self.growth.first) = self.next.pop()?;
            self.growth.gaps = self.growth.gaps.checked_sub(1)?;
        }
        self.growth.difference = self.growth.last - self.growth.first;
        self.after = after;
        Some(())
    }
}

/// What a counter had counted before each of its drops.
#[inline(always)]
fn drops(values: &[f64]) -> f64 {
    // Most windows have none, and that is found out several samples at a time.
    let pairs = values.iter().zip(values.iter().skip(1));
    if pairs.fold(false, |found, (a, b)| found | (b < a)) {
        sum_of_drops(values)
    } else {
        0.0
    }
}

#[cold]
fn sum_of_drops(values: &[f64]) -> f64 {
    let pairs = values.iter().zip(values.iter().skip(1));
    pairs.filter(|(a, b)| b < a).map(|(a, _)| *a).sum()
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
}

impl Ends {
    /// Seconds between the samples, between neighbours on average, and to the start and the end of the window; these
    /// are cut to half a gap where they are longer than a gap and a tenth: then the series begins or ends within.
    fn distances(&self, ask: &Ask<'_>) -> (f64, f64, f64) {
        let mut to_start = (self.first - ask.start) as f64 / 1_000.0;
        let mut to_end = (ask.end - self.last) as f64 / 1_000.0;
        let sampled = (self.last - self.first) as f64 / 1_000.0;
        let average = if self.gaps > 0 {
            sampled / self.gaps as f64
        } else {
            0.0
        };
        let threshold = average * 1.1;
        if to_start >= threshold {
            to_start = average / 2.0;
        }
        if to_end >= threshold {
            to_end = average / 2.0;
        }
        (sampled, to_start, to_end)
    }
}

/// By what a difference is multiplied so that it is that of the whole window.
fn factor(ask: &Ask<'_>, sampled: f64, to_start: f64, to_end: f64, per_second: bool) -> f64 {
    let factor = if sampled == 0.0 {
        1.0
    } else {
        (sampled + to_start + to_end) / sampled
    };
    if per_second {
        factor / ask.seconds
    } else {
        factor
    }
}

/// The same for a counter that is known to have been zero at a time in the window.
fn since(ask: &Ask<'_>, ends: &Ends, start: i64, per_second: bool) -> f64 {
    let (_, _, to_end) = ends.distances(ask);
    let sampled = (ends.last - start) as f64 / 1_000.0;
    factor(ask, sampled, 0.0, to_end, per_second)
}

impl Memo {
    fn new(ask: &Ask<'_>, ends: &Ends, per_second: bool) -> Self {
        let (sampled, to_start, to_end) = ends.distances(ask);
        Self {
            first: ends.first,
            last: ends.last,
            gaps: ends.gaps,
            sampled,
            to_start,
            to_end,
            factor: factor(ask, sampled, to_start, to_end, per_second),
        }
    }
    /// The factor of a counter that is not extrapolated to below zero; `begun` is the share of its increase at which it
    /// stood at the first sample.
    fn not_below_zero(&self, ask: &Ask<'_>, begun: f64, per_second: bool) -> f64 {
        let to_zero = self.sampled * begun;
        if to_zero < self.to_start {
            factor(ask, self.sampled, to_zero, self.to_end, per_second)
        } else {
            self.factor
        }
    }
}

fn histograms(
    ask: &Ask<'_>,
    pieces: &[Piece],
    counter: bool,
    per_second: bool,
    notes: &mut Notes,
) -> Option<Histogram> {
    let (first, last) = (pieces.first()?, pieces.last()?);
    let result = if pieces.len() > 1 {
        Some(native::difference(ask, pieces, counter, notes)?)
    } else {
        None
    };
    let ends = Ends {
        first: first.ts,
        last: last.ts,
        gaps: pieces.len() - 1,
    };
    if let Some(start) = first_start(ask, first.start, first.ts, counter) {
        let mut whole = match result {
            None => first.histogram.as_ref().clone(),
            Some(mut r) => {
                if !native::add(&mut r, &first.histogram, ask.from, ask.metric(), notes) {
                    return None;
                }
                r
            }
        };
        whole.mul(since(ask, &ends, start, per_second));
        return Some(whole);
    }
    let mut result = result?;
    let memo = Memo::new(ask, &ends, per_second);
    let begun = first.histogram.count();
    let factor = if counter && result.count() > 0.0 && begun >= 0.0 {
        memo.not_below_zero(ask, begun / result.count(), per_second)
    } else {
        memo.factor
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_series_is_small() {
        assert_eq!(size_of::<Kept>(), 176);
    }
}
