//! Any text: it is an expression or it is not, with a place inside the text. An expression prints as a text that means the
//! same, and is evaluated over a few series within its bounds, at once and step by step.

use std::sync::Arc;

use ops::engine::promql::settings::{Limits, Settings};
use ops::engine::promql::{Dialect, Query, parse};
use ops::engine::series::SeriesSet;
use ops::model::histogram::Histogram;
use ops::model::labels::{Labels, SeriesKey};
use ops::model::time::Timestamp;

const STALE: u64 = 0x7ff0_0000_0000_0002;

fn series() -> SeriesSet {
    let mut set = SeriesSet::keep_all();
    let labels = [
        ("a", "x", "1"),
        ("a", "y", "2"),
        ("b", "x", "1"),
        ("h", "x", "+Inf"),
        ("n", "x", ""),
    ];
    for (metric, i, le) in labels {
        let labels = Labels::new().with("i", i).with("le", le);
        let (number, _) = set.number(&SeriesKey::new(metric, &labels));
        for step in 0..40_i64 {
            let at = Timestamp::from_ms(step * 15_000);
            match (metric, step % 13) {
                ("n", _) => set.file_native(number, at, at, Arc::new(Histogram::default())),
                (_, 12) => set.file_one(number, at, at, f64::from_bits(STALE)),
                (_, r) => set.file_one(number, at, at, (r * (i64::from(number) + 1)) as f64),
            }
        }
    }
    set
}

pub fn check(text: &str) {
    let expr = match parse(text, Dialect::ALL) {
        Ok(expr) => expr,
        Err(error) => {
            assert!(text.get(error.span.clone()).is_some(), "{error:?}");
            return;
        }
    };
    let printed = expr.to_string();
    let again = parse(&printed, Dialect::ALL).unwrap_or_else(|e| panic!("{printed:?}: {e}"));
    assert_eq!(again.to_string(), printed);
    let limits = Limits {
        series: 2_000,
        samples: 50_000,
        points: 50_000,
        ..Limits::default()
    };
    let settings = Settings {
        limits,
        ..Settings::default()
    };
    let query = Query::new(Arc::new(expr), settings).written(text);
    let set = series();
    let _ = query.instant(&set, 300_000);
    let _ = query.range(&set, 0, 600_000, 60_000);
}
