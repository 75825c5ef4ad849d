//! A range query over 1,000 series and an hour, against a floor in the same run: unpacking nothing, the same samples
//! copied and summed in plain arrays.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration as StdDuration, Instant};

use ops::engine::promql::settings::Settings;
use ops::engine::promql::{Dialect, Query, parse};
use ops::engine::series::SeriesSet;
use ops::engine::series::part::Copied;
use ops::model::labels::{Labels, SeriesKey};
use ops::model::time::Timestamp;

const SERIES: usize = 1_000;
const STEP_MS: i64 = 15_000;
const SAMPLES: i64 = 240;
/// Samples lie before the query's start too: its first window is full.
const BEFORE: i64 = 40;

fn best(mut work: impl FnMut()) -> StdDuration {
    let once = |work: &mut dyn FnMut()| {
        let began = Instant::now();
        work();
        began.elapsed()
    };
    (0..7).map(|_| once(&mut work)).min().unwrap_or_default()
}

fn main() {
    let mut set = SeriesSet::keep_all();
    let start = 1_700_000_000_000_i64;
    let end = start + SAMPLES * STEP_MS;
    let mut plain: Vec<Vec<f64>> = Vec::new();
    for n in 0..SERIES {
        let labels = Labels::new().with("instance", &n.to_string());
        let (number, _) = set.number(&SeriesKey::new("requests_total", &labels));
        let mut values = Vec::new();
        for i in -BEFORE..=SAMPLES {
            let at = Timestamp::from_ms(start + i * STEP_MS);
            let value = (i + BEFORE) as f64 * (n + 1) as f64;
            set.file_one(number, at, at, value);
            values.push(value);
        }
        plain.push(values);
    }
    let floor = best(|| {
        let copy = black_box(&plain).clone();
        let mut sums = vec![0.0; copy.first().map_or(0, Vec::len)];
        for values in &copy {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += value;
            }
        }
        black_box(sums);
    });
    println!(
        "floor: {SERIES} series x {SAMPLES} samples copied and summed: {:.3} ms",
        floor.as_secs_f64() * 1e3
    );
    for text in ["sum(requests_total)", "sum(rate(requests_total[5m]))"] {
        let Ok(expr) = parse(text, Dialect::PLAIN) else {
            continue;
        };
        let expr = Arc::new(expr);
        let mut copying = StdDuration::MAX;
        let whole = best(|| {
            let began = Instant::now();
            let mut copied = Copied::default();
            for read in ops::engine::promql::reads::reads(&expr, &Settings::default()) {
                let numbers = set.candidates(&read.matchers);
                let after = start - read.back.ms() as i64 - 1;
                copied.append(set.copy_part(&numbers, &read.matchers, after));
            }
            copying = copying.min(began.elapsed());
            let query = Query::new(expr.clone(), Settings::default());
            let outcome = query.range(&copied.into_set(), start, end, STEP_MS);
            assert!(outcome.is_ok(), "{outcome:?}");
            black_box(outcome.ok());
        });
        println!(
            "{text}: {:.3} ms, of which copying {:.3} ms; {:.1} times the floor",
            whole.as_secs_f64() * 1e3,
            copying.as_secs_f64() * 1e3,
            whole.as_secs_f64() / floor.as_secs_f64()
        );
    }
}
