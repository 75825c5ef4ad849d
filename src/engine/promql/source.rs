//! Where an evaluation reads samples: the windows of the engine, a copy of them, or a test's own.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use crate::model::histogram::Histogram;
use crate::model::labels::{Labels, Matcher};

/// A value at one point in time.
#[derive(Clone, Debug)]
pub enum Value {
    /// A number; the staleness marker among them.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<Histogram>),
}

/// The samples of one series in a window, ascending in time, at most one for each time.
#[derive(Clone, Copy, Debug)]
pub enum Samples<'a> {
    /// Numbers only, none of them a staleness marker.
    Floats {
        /// Milliseconds since the epoch.
        times: &'a [i64],
        /// The values at these times.
        values: &'a [f64],
    },
    /// Anything: numbers, histograms, staleness markers.
    Mixed(&'a [Point]),
}

/// A sample with everything it may carry.
#[derive(Clone, Debug)]
pub struct Point {
    /// Milliseconds since the epoch.
    pub ts: i64,
    /// Since when a cumulative value counts, if it is known (experimental).
    pub start_ts: Option<i64>,
    /// The value.
    pub value: Value,
}

impl Point {
    /// Whether it is a sample, and not a marker that its series has ended.
    pub fn is_live(&self) -> bool {
        match &self.value {
            Value::Float(v) => !is_stale(*v),
            Value::Histogram(h) => !is_stale(h.sum()),
        }
    }
}

/// The newest number of a series, and how often the series has changed.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Milliseconds since the epoch; `i64::MIN`: there is no sample; `i64::MAX`: the series has to be asked, as there are
    /// histograms.
    pub ms: i64,
    /// The value; also a staleness marker.
    pub value: f64,
    /// As [`Source::last_drop`]; also a NaN and what came late are drops.
    pub last_drop: i64,
    /// Numbers that came, and [`Head::OTHER`] for everything else that happened to the samples; modulo 2^32.
    pub changes: u32,
}

impl Head {
    /// What a change counts that is not a number that came.
    pub const OTHER: u32 = 1 << 16;
}

/// Times at equal distances.
#[derive(Clone, Copy, Debug, Default)]
pub struct Steps {
    /// The first one, in milliseconds.
    pub first: i64,
    /// Milliseconds from one to the next.
    pub step: i64,
    /// How many there are.
    pub count: usize,
}

impl Steps {
    /// The times, ascending.
    pub fn times(self) -> impl Iterator<Item = i64> {
        let next = move |at: &i64| at.checked_add(self.step);
        std::iter::successors(Some(self.first), next).take(self.count)
    }
    /// The last one, or the first.
    pub fn last(self) -> i64 {
        let gaps = i64::try_from(self.count.saturating_sub(1)).unwrap_or(i64::MAX);
        self.first.saturating_add(self.step.saturating_mul(gaps))
    }
    /// Which of them a time is.
    pub fn place(self, at: i64) -> Option<usize> {
        let past = at.checked_sub(self.first)?;
        if past < 0 || past.checked_rem(self.step)? != 0 {
            return None;
        }
        let place = usize::try_from(past.checked_div(self.step)?).ok()?;
        (place < self.count).then_some(place)
    }
}

/// What the newest sample of a series in a window is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Glance {
    /// There is none, or it says that the series has ended.
    Nothing,
    /// A number, and no staleness marker.
    Number(f64),
    /// A histogram.
    Histogram,
}

impl Glance {
    /// What a newest number is.
    #[inline(always)]
    pub fn of_number(value: f64) -> Self {
        if is_stale(value) {
            return Self::Nothing;
        }
        Self::Number(value)
    }
    /// What a newest sample is.
    pub fn of(newest: Option<Point>) -> Self {
        match newest {
            Some(point) if point.is_live() => match point.value {
                Value::Float(value) => Self::of_number(value),
                Value::Histogram(_) => Self::Histogram,
            },
            Some(_) | None => Self::Nothing,
        }
    }
}

/// Room for samples that have to be put together; kept between calls, so that nothing is allocated per tick.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    /// Times of floats.
    pub times: Vec<i64>,
    /// Values of floats.
    pub values: Vec<f64>,
    /// Mixed points.
    pub points: Vec<Point>,
}

/// A set of series, numbered, that does not change during a resolve and the evaluations of its plan.
pub trait Source {
    /// The numbers of the series for which all matchers hold (`__name__` is a label like any other here), ascending.
    fn select(&self, matchers: &[Matcher]) -> Vec<u32>;
    /// All labels of a series, `__name__` among them.
    fn labels(&self, series: u32) -> Labels;
    /// The samples in (after, upto], both in milliseconds.
    fn samples<'a>(
        &'a self,
        series: u32,
        after: i64,
        upto: i64,
        scratch: &'a mut Scratch,
    ) -> Samples<'a>;
    /// The newest sample in (after, upto].
    fn newest(&self, series: u32, after: i64, upto: i64) -> Option<Point>;
    /// What [`Source::newest`] gives, as far as it is a number. The path of every threshold rule.
    fn glance(&self, series: u32, after: i64, upto: i64) -> Glance {
        Glance::of(self.newest(series, after, upto))
    }
    /// What [`Source::glance`] says at each of some steps of a query, of what lies in the `lookback` milliseconds before it;
    /// steps at which it says that there is nothing may be left out. The path of range queries.
    fn glances(
        &self,
        series: u32,
        steps: Steps,
        lookback: i64,
        _scratch: &mut Scratch,
        mut take: impl FnMut(usize, Glance),
    ) {
        for (place, upto) in steps.times().enumerate() {
            take(
                place,
                self.glance(series, upto.saturating_sub(lookback), upto),
            );
        }
    }
    /// The time of the newest sample of a series that is smaller than the one before it; `i64::MAX` where that is not
    /// known. `rate` then need not look for it.
    fn last_drop(&self, _series: u32) -> i64 {
        i64::MAX
    }
    /// What is known of a series without a look at its samples; `None`: nobody takes it down. What was found in a window is
    /// kept for as long as this shows that nothing else happened in the window than that samples were added at its end.
    fn head(&self, _series: u32) -> Option<&Head> {
        None
    }
    /// No sample at or before this time will come, change or go any more. What a subquery has computed up to here is
    /// kept from one tick to the next.
    fn settled(&self) -> i64 {
        i64::MIN
    }
}

/// The bits of the staleness marker, as Prometheus writes it: a NaN of its own.
pub const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

/// Whether a value is the staleness marker: its series has ended there.
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_BITS
}
