//! What a filter says of a rule is what its plan says.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use proptest::prelude::*;

use crate::engine::promql::settings::Settings;
use crate::engine::promql::source::STALE_BITS;
use crate::engine::promql::{Dialect, Filter, Plan, Workspace, parse};
use crate::engine::series::SeriesSet;
use crate::model::histogram::Histogram;
use crate::model::labels::{Labels, SeriesKey};
use crate::model::time::{Duration, Timestamp};

const FILTERS: [&str; 8] = [
    "m > 5",
    "3 >= m",
    "m{i=\"a\"} offset 2s != -(2 - 6)",
    "(m{i=\"b\"}) == 4",
    "avg_over_time(m[10s]) > 4",
    "5 > avg_over_time(m{i=\"a\"}[7s] offset 1s)",
    "avg_over_time(m{i=\"b\"}[3s]) != 0/0",
    "none < 1",
];

const OTHERS: [&str; 11] = [
    "m",
    "m > bool 5",
    "m > time()",
    "m @ 20 > 5",
    "m + 5",
    "m > m",
    "-m > 5",
    "rate(m[10s]) > 5",
    "avg_over_time(m[10s:2s]) > 5",
    "sum(m) > 5",
    // Two series would become one.
    "avg_over_time({__name__=~\"m|n\", i=\"a\"}[10s]) > 1",
];

fn set() -> SeriesSet {
    let mut set = SeriesSet::default();
    for (metric, i) in [("m", "a"), ("m", "b"), ("n", "a")] {
        let (number, _) = set.number(&SeriesKey::new(metric, &Labels::new().with("i", i)));
        set.need(number, Duration::from_secs(60));
    }
    set
}

fn plan(text: &str, set: &SeriesSet) -> Plan {
    let expr = Arc::new(parse(text, Dialect::ALL).unwrap());
    Plan::new(expr, set, &Settings::default()).unwrap()
}

#[test]
fn other_rules_are_none() {
    let set = set();
    for text in OTHERS {
        assert!(plan(text, &set).filter().is_none(), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]
    #[test]
    fn a_filter_says_what_the_plan_says(
        events in prop::collection::vec(
            (0_u32..2, 0_i64..3_000, prop_oneof![4 => Just(0), 1 => -4_000_i64..15_000], 0_u8..12), 1..60),
        natives in any::<bool>(),
        lookback_ms in prop_oneof![Just(300_000), 1_000_i64..9_000],
    ) {
        let (mut set, mut now) = (set(), 0);
        let settings = Settings { lookback_ms, ..Settings::default() };
        let mut plans: Vec<(Plan, Filter)> = FILTERS
            .iter()
            .map(|text| {
                let expr = Arc::new(parse(text, Dialect::ALL).unwrap());
                let plan = Plan::new(expr, &set, &settings).unwrap();
                let filter = plan.filter().unwrap();
                (plan, filter)
            })
            .collect();
        let (mut room, mut ws) = (Workspace::default(), Workspace::default());
        for (series, step, late, value) in events {
            now += step;
            let (at, ts) = (Timestamp::from_ms(now), Timestamp::from_ms(now - late));
            match value {
                11 if natives => set.file_native(series, at, ts, Arc::new(Histogram::default())),
                10 | 11 => set.file_one(series, at, ts, f64::from_bits(STALE_BITS)),
                9 => set.file_one(series, at, ts, f64::NAN),
                value => set.file_one(series, at, ts, f64::from(value)),
            }
            for ((plan, filter), text) in plans.iter_mut().zip(FILTERS) {
                plan.evaluate(now, &set, &mut ws).unwrap();
                let mut found = 0;
                plan.each(&ws, |_, _| found += 1);
                let nothing = filter.yields_nothing(now, &set, &settings, &mut room);
                // Of histograms it says nothing.
                prop_assert!(nothing == (found == 0) || natives && !nothing, "{} at {}: {}", text, now, found);
            }
        }
    }
}
