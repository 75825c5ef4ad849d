//! What is kept of windows from one evaluation to the next says the same as looking at every sample again.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::cell::Cell;
use std::sync::Arc;

use proptest::prelude::*;

use crate::engine::promql::evaluate::ValueRef;
use crate::engine::promql::settings::Settings;
use crate::engine::promql::source::{Head, Point, STALE_BITS, Samples, Scratch, Source};
use crate::engine::promql::{Dialect, Plan, Workspace, parse};
use crate::engine::series::SeriesSet;
use crate::model::histogram::Histogram;
use crate::model::labels::{Labels, Matcher, SeriesKey};
use crate::model::time::{Duration, Timestamp};

const TEXTS: [&str; 4] = [
    "rate(m[10s])",
    "sum by (i) (increase(m[10s] offset 2s))",
    "rate(m[7s] @ 20) + on(i) rate(m[10s])",
    "max_over_time(rate(m[5s])[10s:2s])",
];

/// What happens to one of two series, or to nobody.
#[derive(Clone, Debug)]
enum Event {
    Number { late: i64, value: u8 },
    Marker,
    Histogram,
    Nothing,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (prop_oneof![4 => Just(0), 1 => -4_000_i64..15_000], 0_u8..9)
            .prop_map(|(late, value)| Event::Number { late, value }),
        1 => Just(Event::Marker),
        1 => Just(Event::Histogram),
        6 => Just(Event::Nothing),
    ]
}

fn answers(plan: &mut Plan, at: i64, set: &SeriesSet, ws: &mut Workspace) -> Vec<String> {
    plan.evaluate(at, set, ws).unwrap();
    let mut found = Vec::new();
    plan.each(ws, |labels, value| {
        found.push(match value {
            ValueRef::Float(v) => format!("{labels:?} {:x}", v.to_bits()),
            ValueRef::Histogram(h) => format!("{labels:?} {h:?}"),
        });
    });
    found
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]
    #[test]
    fn what_is_kept_says_the_same_as_every_sample(
        events in prop::collection::vec((0_u32..2, 0_i64..3_000, event(), 0_u8..3), 1..60),
    ) {
        let mut set = SeriesSet::default();
        for i in ["a", "b"] {
            let (number, _) = set.number(&SeriesKey::new("m", &Labels::new().with("i", i)));
            set.need(number, Duration::from_secs(60));
        }
        let settings = Settings::default();
        let exprs = TEXTS.map(|text| Arc::new(parse(text, Dialect::ALL).unwrap()));
        let plan = |expr: &Arc<_>, set: &SeriesSet| Plan::new(Arc::clone(expr), set, &settings).unwrap();
        let mut kept = exprs.each_ref().map(|expr| plan(expr, &set));
        let (mut ws, mut now) = (Workspace::default(), 0);
        for (series, step, event, looks) in events {
            now += step;
            let at = Timestamp::from_ms(now);
            match event {
                Event::Number { late, value } => {
                    set.file_one(series, at, Timestamp::from_ms(now - late), f64::from(value));
                }
                Event::Marker => set.file_one(series, at, at, f64::from_bits(STALE_BITS)),
                Event::Histogram => set.file_native(series, at, at, Arc::new(Histogram::default())),
                Event::Nothing => {}
            }
            // Several things may happen between two evaluations.
            for (expr, kept) in exprs.iter().zip(&mut kept).take(exprs.len() * usize::from(looks > 0)) {
                let again = answers(&mut plan(expr, &set), now, &set, &mut Workspace::default());
                prop_assert_eq!(answers(kept, now, &set, &mut ws), again, "at {}", now);
            }
        }
    }
}

/// How often samples are looked at when an expression is evaluated once a second, and once more without a new sample, each
/// time after a sample; `value` gives those of each second.
fn looks(text: &str, seconds: std::ops::Range<i64>, value: impl Fn(i64) -> f64) -> Vec<usize> {
    let mut set = SeriesSet::default();
    let (number, _) = set.number(&SeriesKey::new("m", &Labels::new()));
    set.need(number, Duration::from_secs(60));
    let push = |set: &mut SeriesSet, second: i64| {
        let at = Timestamp::from_ms(second * 1_000);
        set.file_one(number, at, at, value(second));
    };
    (0..seconds.start).for_each(|second| push(&mut set, second));
    let expr = Arc::new(parse(text, Dialect::ALL).unwrap());
    let mut plan = Plan::new(expr, &set, &Settings::default()).unwrap();
    let mut ws = Workspace::default();
    let count = |second: i64| {
        push(&mut set, second);
        let counting = Counting(&set, Cell::new(0));
        for more in [0, 400, 999] {
            plan.evaluate(second * 1_000 + more, &counting, &mut ws)
                .unwrap();
        }
        counting.1.get()
    };
    seconds.map(count).collect()
}

#[test]
fn windows_are_looked_at_now_and_then() {
    let rising = looks("rate(m[20s])", 20..40, |s| s as f64);
    assert_eq!(rising.iter().sum::<usize>(), 3, "{rising:?}");
    // A short window is known whole.
    let short = looks("rate(m[5s])", 20..60, |s| s as f64);
    assert_eq!(short.iter().sum::<usize>(), 1, "{short:?}");
    // While a drop is in the window, each sample makes it another one.
    let dropped = looks("rate(m[5s])", 20..60, |s| (s % 30) as f64);
    assert_eq!(dropped.iter().sum::<usize>(), 1 + 5, "{dropped:?}");
}

/// Counts how often samples are looked at.
struct Counting<'s>(&'s SeriesSet, Cell<usize>);

impl Source for Counting<'_> {
    fn select(&self, matchers: &[Matcher]) -> Vec<u32> {
        self.0.select(matchers)
    }
    fn labels(&self, series: u32) -> Labels {
        self.0.labels(series)
    }
    fn samples<'a>(
        &'a self,
        series: u32,
        after: i64,
        upto: i64,
        scratch: &'a mut Scratch,
    ) -> Samples<'a> {
        self.1.set(self.1.get() + 1);
        self.0.samples(series, after, upto, scratch)
    }
    fn newest(&self, series: u32, after: i64, upto: i64) -> Option<Point> {
        self.0.newest(series, after, upto)
    }
    fn head(&self, series: u32) -> Option<&Head> {
        self.0.head(series)
    }
}
