//! Windows of native histograms: their sums, means and differences, with what is to be remarked on.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use crate::engine::promql::annotate::{Deed, Notes, Origin};
use crate::engine::promql::functions::rate::{overlap, started};
use crate::engine::promql::functions::window::Piece;
use crate::engine::promql::functions::{Ask, Yield};
use crate::engine::promql::number::shortest;
use crate::model::histogram::sum::{Mean, Sum};
use crate::model::histogram::{Added, Histogram, Incompatible, Parts, ResetHint, Schema};

/// What the hints of added histograms say, and whether their bounds differed.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine::promql) struct Hints {
    reset: bool,
    no_reset: bool,
    reconciled: bool,
}

impl Hints {
    pub fn see(&mut self, hint: ResetHint) {
        self.reset |= hint == ResetHint::Reset;
        self.no_reset |= hint == ResetHint::NotReset;
    }
    fn added(&mut self, added: Added) {
        self.reconciled |= added.bounds_reconciled;
    }
    /// Remarks on hints that contradict each other.
    pub fn tell_resets(self, from: Origin, notes: &mut Notes) {
        if self.reset && self.no_reset {
            notes.reset_collision(from, Deed::Aggregation);
        }
    }
    /// Remarks on what a function over time has met.
    fn tell(self, from: Origin, notes: &mut Notes) {
        self.tell_resets(from, notes);
        if self.reconciled {
            notes.reconciled(from, Deed::Aggregation);
        }
    }
}

pub(super) fn avg(ask: &Ask<'_>, pieces: &[Piece], notes: &mut Notes) -> Yield {
    gathered(ask, pieces, notes, Mean::new, Mean::add, Mean::value)
}

pub(super) fn sum(ask: &Ask<'_>, pieces: &[Piece], notes: &mut Notes) -> Yield {
    gathered(ask, pieces, notes, Sum::new, Sum::add, Sum::value)
}

fn gathered<A>(
    ask: &Ask<'_>,
    pieces: &[Piece],
    notes: &mut Notes,
    new: impl Fn(&Histogram) -> A,
    add: impl Fn(&mut A, &Histogram) -> Result<Added, Incompatible>,
    value: impl Fn(&A) -> Histogram,
) -> Yield {
    let Some((first, rest)) = pieces.split_first() else {
        return Yield::Nothing;
    };
    let mut all = new(&first.histogram);
    let mut hints = Hints::default();
    hints.see(first.histogram.hint());
    for piece in rest {
        hints.see(piece.histogram.hint());
        match add(&mut all, &piece.histogram) {
            Ok(added) => hints.added(added),
            Err(Incompatible) => {
                notes.mixed_schemas(ask.from, ask.metric());
                return Yield::Nothing;
            }
        }
    }
    hints.tell(ask.from, notes);
    Yield::Histogram(Arc::new(value(&all)))
}

/// Adds a histogram; remarks on it, also where it cannot be: `false` then.
pub(super) fn add(
    to: &mut Histogram,
    other: &Histogram,
    from: Origin,
    metric: &str,
    notes: &mut Notes,
) -> bool {
    match to.add(other) {
        Ok(added) => {
            if added.bounds_reconciled {
                notes.reconciled(from, Deed::Addition);
            }
            true
        }
        Err(Incompatible) => {
            notes.mixed_schemas(from, metric);
            false
        }
    }
}

/// Subtracts a histogram, as [`add`].
pub(super) fn subtract(
    to: &mut Histogram,
    other: &Histogram,
    from: Origin,
    metric: &str,
    notes: &mut Notes,
) -> bool {
    match to.sub(other) {
        Ok(added) => {
            if added.bounds_reconciled {
                notes.reconciled(from, Deed::Subtraction);
            }
            true
        }
        Err(Incompatible) => {
            notes.mixed_schemas(from, metric);
            false
        }
    }
}

/// Nothing, cut as another one.
fn nothing_like(other: &Histogram) -> Histogram {
    let parts = Parts {
        schema: other.schema(),
        bounds: other.bounds().to_vec(),
        ..Parts::default()
    };
    Histogram::new(parts).unwrap_or_default()
}

/// The increase of a counter, or the difference of a gauge, between the ends of a window of at least two samples.
pub(super) fn difference(
    ask: &Ask<'_>,
    pieces: &[Piece],
    counter: bool,
    notes: &mut Notes,
) -> Option<Histogram> {
    let [first, second, ..] = pieces else {
        return None;
    };
    let last = pieces.last()?;
    let gauge = |p: &Piece| p.histogram.hint() == ResetHint::Gauge;
    if counter && (gauge(first) || gauge(last)) {
        notes.not_counter(ask.from, ask.metric());
    }
    let anew = |a: &Piece, b: &Piece| {
        started(a.start, a.ts, b.start, b.ts) || b.histogram.detect_reset(&a.histogram)
    };
    // What the first sample counted is of no interest if the counter starts anew at the second.
    let zero;
    let mut base: &Histogram = &first.histogram;
    if counter && anew(first, second) {
        zero = nothing_like(&second.histogram);
        base = &zero;
    }
    let custom = base.is_custom();
    let mixed = |notes: &mut Notes| {
        notes.mixed_schemas(ask.from, ask.metric());
        None
    };
    if last.histogram.is_custom() != custom {
        return mixed(notes);
    }
    let mut schema = coarser(base.schema(), last.histogram.schema());
    if counter {
        for piece in pieces.iter().skip(1).take(pieces.len().saturating_sub(2)) {
            if gauge(piece) {
                notes.not_counter(ask.from, ask.metric());
            }
            schema = coarser(schema, piece.histogram.schema());
            if piece.histogram.is_custom() != custom {
                return mixed(notes);
            }
        }
    }
    let mut result = last.histogram.as_ref().clone();
    if let Schema::Exponential(n) = schema {
        result.coarsen(n);
    }
    if !subtract(&mut result, base, ask.from, ask.metric(), notes) {
        return None;
    }
    if counter {
        let mut overlaps = false;
        let mut before = base;
        for (a, b) in pieces.iter().zip(pieces.iter().skip(1)) {
            overlaps |= overlap(a.start, a.ts, b.start);
            if (started(a.start, a.ts, b.start, b.ts) || b.histogram.detect_reset(before))
                && !add(&mut result, before, ask.from, ask.metric(), notes)
            {
                return None;
            }
            before = &b.histogram;
        }
        if overlaps {
            notes.start_overlap(ask.from, ask.metric());
        }
    } else if !gauge(first) || !gauge(last) {
        notes.not_gauge(ask.from, ask.metric());
    }
    result.set_hint(ResetHint::Gauge);
    result.compact();
    Some(result)
}

fn coarser(a: Schema, b: Schema) -> Schema {
    match (a, b) {
        (Schema::Exponential(x), Schema::Exponential(y)) => Schema::Exponential(x.min(y)),
        _ => a,
    }
}

/// A histogram as Prometheus writes it where it becomes a label: `{count:2, sum:3, (1,2]:2}`.
pub(in crate::engine::promql) fn written(h: &Histogram) -> String {
    let mut text = format!("{{count:{}, sum:{}", shortest(h.count()), shortest(h.sum()));
    for bucket in h.whole_buckets().filter(|b| b.count != 0.0) {
        let open = if bucket.lower_inclusive { '[' } else { '(' };
        let close = if bucket.upper_inclusive { ']' } else { ')' };
        text.push_str(&format!(
            ", {open}{},{}{close}:{}",
            shortest(bucket.lower),
            shortest(bucket.upper),
            shortest(bucket.count)
        ));
    }
    text.push('}');
    text
}
