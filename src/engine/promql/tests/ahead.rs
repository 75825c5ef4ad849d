//! What a range query reads ahead says the same as looking at each step on its own, over the engine's own series: packed
//! samples, markers, late ones and histograms among them.

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
use crate::engine::promql::tests::agree::elements;
use crate::engine::promql::{Dialect, Query, parse};
use crate::engine::series::SeriesSet;
use crate::model::histogram::Histogram;
use crate::model::labels::{Labels, SeriesKey};
use crate::model::time::Timestamp;

const TEXTS: [&str; 10] = [
    "m",
    "m offset 20s",
    "sum(m) - m{i=\"a\"} offset -10s",
    "rate(m[30s])",
    "sum by (i) (increase(m[1m] offset 5s))",
    "avg_over_time(m[10s])",
    "quantile_over_time(0.5 + 0.4, m[40s])",
    "quantile_over_time(scalar(m{i=\"a\"}), m[40s])",
    "predict_linear(m[1m], 60) or changes(m[20s])",
    "max_over_time(rate(m[20s])[1m:10s]) + m @ 60",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]
    #[test]
    fn a_step_says_what_an_instant_says(
        samples in prop::collection::vec(
            (0_u32..3, 1_i64..2_000, prop_oneof![9 => Just(0), 1 => -4_000_i64..15_000], 0_u8..60), 1..900),
        natives in any::<bool>(),
        (start, step) in (0_i64..500_000, 1_i64..20_000),
    ) {
        let (mut set, mut now) = (SeriesSet::keep_all(), 0);
        for i in ["a", "b", "c"] {
            set.number(&SeriesKey::new("m", &Labels::new().with("i", i)));
        }
        for (series, gap, late, value) in samples {
            now += gap;
            let (at, ts) = (Timestamp::from_ms(now), Timestamp::from_ms(now - late));
            match value {
                0 => set.file_one(series, at, ts, f64::from_bits(STALE_BITS)),
                1 if natives => set.file_native(series, at, ts, Arc::new(Histogram::default())),
                value => set.file_one(series, at, ts, f64::from(value % 20)),
            }
        }
        let settings = Settings { lookback_ms: 60_000, ..Settings::default() };
        let end = start + 150 * step;
        for text in TEXTS {
            let query = Query::new(Arc::new(parse(text, Dialect::ALL).unwrap()), settings.clone());
            let range = query.range(&set, start, end, step).unwrap();
            for at in (start..=end).step_by(step as usize) {
                let instant = query.instant(&set, at).unwrap();
                prop_assert_eq!(
                    elements(&instant.answer, at), elements(&range.answer, at), "{} at {}", text, at);
            }
        }
    }
}
