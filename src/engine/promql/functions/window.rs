//! The samples of one series that a function over time sees: numbers and histograms apart, each ascending in time.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use crate::engine::promql::source::{Point, Value, is_stale};
use crate::model::histogram::{Histogram, Parts, ResetHint};

/// A histogram at a time.
#[derive(Clone, Debug)]
pub(in crate::engine::promql) struct Piece {
    /// Milliseconds.
    pub ts: i64,
    /// Since when it counts, milliseconds; 0: not known.
    pub start: i64,
    /// The histogram.
    pub histogram: Arc<Histogram>,
}

/// What a function over time sees.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine::promql) struct Window<'a> {
    /// The times of the numbers.
    pub times: &'a [i64],
    /// The numbers.
    pub values: &'a [f64],
    /// Since when each number counts, milliseconds, 0: not known. Empty: not known of any.
    pub starts: &'a [i64],
    /// The histograms.
    pub pieces: &'a [Piece],
}

/// Samples of both kinds, put apart.
#[derive(Clone, Debug, Default)]
pub(in crate::engine::promql) struct Split {
    times: Vec<i64>,
    values: Vec<f64>,
    starts: Vec<i64>,
    pieces: Vec<Piece>,
}

impl Split {
    /// Takes points apart; staleness markers are left out, start timestamps too unless they are used.
    pub fn fill(&mut self, points: &[Point], use_starts: bool) {
        self.times.clear();
        self.values.clear();
        self.starts.clear();
        self.pieces.clear();
        for point in points {
            let start = if use_starts {
                point.start_ts.unwrap_or(0)
            } else {
                0
            };
            match &point.value {
                Value::Float(v) if is_stale(*v) => {}
                Value::Float(v) => {
                    self.times.push(point.ts);
                    self.values.push(*v);
                    self.starts.push(start);
                }
                Value::Histogram(h) if is_stale(h.sum()) => {}
                Value::Histogram(h) => self.pieces.push(Piece {
                    ts: point.ts,
                    start,
                    histogram: h.clone(),
                }),
            }
        }
    }
    /// Keeps of histograms only count and sum, with what is known of a reset since the one before each.
    #[cold]
    pub fn keep_stats(&mut self, before: Option<Arc<Histogram>>) {
        let mut before = before;
        for piece in &mut self.pieces {
            let hint = match (piece.histogram.hint(), &before) {
                (ResetHint::Unknown, Some(b)) if piece.histogram.detect_reset(b) => {
                    ResetHint::Reset
                }
                (ResetHint::Unknown, Some(_)) => ResetHint::NotReset,
                (hint, _) => hint,
            };
            let stats = Arc::new(stats_only(&piece.histogram, hint));
            before = Some(std::mem::replace(&mut piece.histogram, stats));
        }
    }
    /// What was put apart.
    pub fn window(&self) -> Window<'_> {
        Window {
            times: &self.times,
            values: &self.values,
            starts: &self.starts,
            pieces: &self.pieces,
        }
    }
}

/// Count, sum and hint of a histogram, and of which kind it is.
pub(in crate::engine::promql) fn stats_only(h: &Histogram, hint: ResetHint) -> Histogram {
    let parts = Parts {
        schema: h.schema(),
        count: h.count(),
        sum: h.sum(),
        hint,
        ..Parts::default()
    };
    Histogram::new(parts).unwrap_or_default()
}

/// One sample of a window, whichever kind.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine::promql) struct Seen<'a> {
    /// Milliseconds.
    pub ts: i64,
    /// Since when it counts; 0: not known.
    pub start: i64,
    /// A number, where it is one.
    pub value: f64,
    /// A histogram, where it is one.
    pub histogram: Option<&'a Arc<Histogram>>,
}

impl<'a> Window<'a> {
    /// Whether there is no sample at all.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty() && self.pieces.is_empty()
    }
    /// Whether it holds nothing but numbers.
    pub fn is_of_numbers(&self) -> bool {
        self.pieces.is_empty() && self.starts.is_empty()
    }
    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.times.len() + self.pieces.len()
    }
    /// Whether there are samples of both kinds.
    pub fn is_mixed(&self) -> bool {
        !self.times.is_empty() && !self.pieces.is_empty()
    }
    /// When a number counts from; 0: not known.
    pub fn start(&self, i: usize) -> i64 {
        self.starts.get(i).copied().unwrap_or(0)
    }
    /// The numbers with their times.
    pub fn floats(&self) -> impl DoubleEndedIterator<Item = (i64, f64)> + ExactSizeIterator + 'a {
        self.times.iter().copied().zip(self.values.iter().copied())
    }
    /// All samples in order of time.
    pub fn merged(self) -> impl Iterator<Item = Seen<'a>> {
        let window = self;
        let (mut float, mut piece) = (0, 0);
        std::iter::from_fn(move || {
            let next_float = window.times.get(float).copied();
            let next_piece = window.pieces.get(piece);
            match (next_float, next_piece) {
                (Some(ts), other) if other.is_none_or(|p| ts < p.ts) => {
                    let seen = Seen {
                        ts,
                        start: window.start(float),
                        value: window.values.get(float).copied().unwrap_or(0.0),
                        histogram: None,
                    };
                    float += 1;
                    Some(seen)
                }
                (_, Some(p)) => {
                    piece += 1;
                    Some(Seen {
                        ts: p.ts,
                        start: p.start,
                        value: 0.0,
                        histogram: Some(&p.histogram),
                    })
                }
                (_, None) => None,
            }
        })
    }
}
