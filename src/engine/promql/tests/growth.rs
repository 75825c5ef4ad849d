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
use crate::engine::promql::source::{Point, STALE_BITS, Samples, Scratch, Source};
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
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]
    #[test]
    fn what_is_kept_says_the_same_as_every_sample(
        events in prop::collection::vec((0_u32..2, 0_i64..3_000, event()), 1..60),
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
        for (series, step, event) in events {
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
            for (expr, kept) in exprs.iter().zip(&mut kept) {
                let again = answers(&mut plan(expr, &set), now, &set, &mut Workspace::default());
                prop_assert_eq!(answers(kept, now, &set, &mut ws), again, "at {}", now);
            }
        }
    }
}

#[test]
fn windows_with_the_same_samples_are_not_looked_at_again() {
    let mut set = SeriesSet::default();
    let (number, _) = set.number(&SeriesKey::new("m", &Labels::new()));
    set.need(number, Duration::from_secs(60));
    for second in 0..20_i64 {
        let at = Timestamp::from_ms(second * 1_000);
        set.file_one(number, at, at, second as f64);
    }
    let expr = Arc::new(parse("rate(m[10s])", Dialect::ALL).unwrap());
    let mut plan = Plan::new(expr, &set, &Settings::default()).unwrap();
    let mut ws = Workspace::default();
    let mut looks = |at: i64, set: &SeriesSet| {
        let counting = Counting(set, Cell::new(0));
        plan.evaluate(at, &counting, &mut ws).unwrap();
        assert_eq!(ws.touched(), 10);
        counting.1.get()
    };
    assert_eq!(looks(19_000, &set), 1);
    assert_eq!(looks(19_400, &set), 0);
    assert_eq!(looks(19_999, &set), 0);
    let at = Timestamp::from_ms(20_000);
    set.file_one(number, at, at, 20.0);
    assert_eq!(looks(20_000, &set), 1);
    assert_eq!(looks(20_001, &set), 0);
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
    fn changes(&self, series: u32) -> Option<u32> {
        self.0.changes(series)
    }
}
