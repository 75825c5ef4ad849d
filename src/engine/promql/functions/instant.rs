//! `irate`, `idelta`, `resets`, `changes`: what happens between neighbouring samples.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use crate::engine::promql::annotate::{Deed, Notes};
use crate::engine::promql::ast::Edges;
use crate::engine::promql::functions::rate::started;
use crate::engine::promql::functions::window::{Seen, Window};
use crate::engine::promql::functions::{Ask, Yield};
use crate::model::histogram::{Histogram, ResetHint};

/// The newest two samples, whichever kind.
fn newest_two<'a>(window: Window<'a>) -> Option<(Seen<'a>, Seen<'a>)> {
    let skip = window.len().checked_sub(2)?;
    let mut last = if window.pieces.is_empty() {
        // The common case need not walk the window.
        let start = |i: usize| {
            Some(Seen {
                ts: *window.times.get(i)?,
                start: window.start(i),
                value: *window.values.get(i)?,
                histogram: None,
            })
        };
        return Some((start(skip)?, start(skip + 1)?));
    } else {
        window.merged().skip(skip)
    };
    Some((last.next()?, last.next()?))
}

pub(super) fn last_two(ask: &Ask<'_>, window: Window<'_>, rate: bool, notes: &mut Notes) -> Yield {
    let Some((a, b)) = newest_two(window) else {
        return Yield::Nothing;
    };
    let interval = (b.ts - a.ts) as f64 / 1_000.0;
    if interval == 0.0 {
        return Yield::Nothing;
    }
    match (a.histogram, b.histogram) {
        (None, None) => {
            let anew = rate && (b.value < a.value || started(a.start, a.ts, b.start, b.ts));
            let change = if anew { b.value } else { b.value - a.value };
            Yield::Float(if rate { change / interval } else { change })
        }
        (Some(before), Some(now)) => {
            let anew = || started(a.start, a.ts, b.start, b.ts) || now.detect_reset(before);
            let Some(mut result) = between(ask, before, now, rate, anew, notes) else {
                return Yield::Nothing;
            };
            result.set_hint(ResetHint::Gauge);
            result.compact();
            if rate {
                result.div(interval);
            }
            Yield::Histogram(Arc::new(result))
        }
        _ => {
            notes.mixed_floats(ask.from, ask.metric());
            Yield::Nothing
        }
    }
}

fn between(
    ask: &Ask<'_>,
    before: &Histogram,
    now: &Histogram,
    rate: bool,
    anew: impl FnOnce() -> bool,
    notes: &mut Notes,
) -> Option<Histogram> {
    let gauges = [before, now].map(|h| h.hint() == ResetHint::Gauge);
    if rate && gauges.contains(&true) {
        notes.not_counter(ask.from, ask.metric());
    }
    if !rate && gauges.contains(&false) {
        notes.not_gauge(ask.from, ask.metric());
    }
    let mut result = now.clone();
    if rate && anew() {
        return Some(result);
    }
    match result.sub(before) {
        Ok(done) => {
            if done.bounds_reconciled {
                notes.reconciled(ask.from, Deed::Subtraction);
            }
            Some(result)
        }
        Err(_) => {
            notes.mixed_schemas(ask.from, ask.metric());
            None
        }
    }
}

/// The samples of a window, from the newest at or before its start on where it is anchored; `None` if then there is
/// nothing after its start.
fn anchored<'a>(
    ask: &Ask<'_>,
    window: Window<'a>,
) -> Option<impl Iterator<Item = Seen<'a>> + use<'a>> {
    let start = ask.start;
    let skip = match ask.edges {
        Edges::Anchored => {
            let before = window.merged().take_while(|s| s.ts <= start).count();
            if before == window.len() {
                return None;
            }
            before.saturating_sub(1)
        }
        Edges::Plain | Edges::Smoothed => 0,
    };
    let all = window.merged();
    Some(all.skip(skip))
}

/// How often something happens between neighbouring samples.
fn count<'a>(
    mut samples: impl Iterator<Item = Seen<'a>>,
    happens: impl Fn(&Seen<'a>, &Seen<'a>) -> bool,
) -> Yield {
    let Some(mut before) = samples.next() else {
        return Yield::Nothing;
    };
    let mut times = 0_u32;
    for now in samples {
        times += u32::from(happens(&before, &now));
        before = now;
    }
    Yield::Float(f64::from(times))
}

pub(super) fn resets(ask: &Ask<'_>, window: Window<'_>) -> Yield {
    let Some(samples) = anchored(ask, window) else {
        return Yield::Nothing;
    };
    count(samples, |a, b| match (a.histogram, b.histogram) {
        (None, None) => b.value < a.value || started(a.start, a.ts, b.start, b.ts),
        (Some(before), Some(now)) => {
            started(a.start, a.ts, b.start, b.ts) || now.detect_reset(before)
        }
        _ => true,
    })
}

pub(super) fn changes(ask: &Ask<'_>, window: Window<'_>) -> Yield {
    let Some(samples) = anchored(ask, window) else {
        return Yield::Nothing;
    };
    count(samples, |a, b| match (a.histogram, b.histogram) {
        (None, None) => a.value != b.value && !(a.value.is_nan() && b.value.is_nan()),
        (Some(before), Some(now)) => now != before,
        _ => true,
    })
}
