//! What a rule costs per tick: the newest sample against a threshold, a mean over 12 samples, and a quantile of a rate
//! over 10 instances with 12 buckets of 20 samples each. Also: what it costs to resolve a rule.
//!
//! `cargo bench --bench promql`

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use ops::engine::promql::settings::Settings;
use ops::engine::promql::source::{Glance, Point, Samples, Scratch, Source, Value};
use ops::engine::promql::{Dialect, Plan, Workspace, parse};
use ops::model::labels::{Labels, MatchOp, Matcher};
use table::{Row, Table, figure};

mod table;

const STEP: i64 = 15_000;

/// Windows as the engine has them: times and values of each series in two arrays.
#[derive(Default)]
struct Windows {
    series: Vec<(Labels, Vec<i64>, Vec<f64>)>,
    by_name: BTreeMap<String, Vec<u32>>,
    /// Whether drops are known, so that `rate` need not look for them.
    drops: bool,
}

impl Windows {
    fn add(&mut self, labels: Labels, values: Vec<f64>) {
        let times = (0..).map(|i| i * STEP).take(values.len()).collect();
        self.by_name
            .entry(labels.get("__name__").to_owned())
            .or_default()
            .push(self.series.len() as u32);
        self.series.push((labels, times, values));
    }
    fn window(&self, series: u32, after: i64, upto: i64) -> (&[i64], &[f64]) {
        let Some((_, times, values)) = self.series.get(series as usize) else {
            return (&[], &[]);
        };
        // A window begins near the begin of what is kept for it. Looking there first lets the processor go on to the
        // next series while it waits for memory; a search by halves would not.
        let from = match times.iter().take(4).position(|t| *t > after) {
            Some(near) => near,
            None => times.partition_point(|t| *t <= after),
        };
        let to = match times.last() {
            Some(t) if *t <= upto => times.len(),
            _ => times.partition_point(|t| *t <= upto).max(from),
        };
        (&times[from..to], &values[from..to])
    }
}

impl Source for Windows {
    fn select(&self, matchers: &[Matcher]) -> Vec<u32> {
        let name = matchers
            .iter()
            .find(|m| m.name == "__name__" && m.op == MatchOp::Equal);
        let named = name.and_then(|m| self.by_name.get(&m.value));
        named
            .into_iter()
            .flatten()
            .copied()
            .filter(|s| {
                let labels = &self.series[*s as usize].0;
                matchers.iter().all(|m| m.matches(labels.get(&m.name)))
            })
            .collect()
    }
    fn labels(&self, series: u32) -> Labels {
        self.series[series as usize].0.clone()
    }
    fn samples<'a>(
        &'a self,
        series: u32,
        after: i64,
        upto: i64,
        _: &'a mut Scratch,
    ) -> Samples<'a> {
        let (times, values) = self.window(series, after, upto);
        Samples::Floats { times, values }
    }
    fn newest(&self, series: u32, after: i64, upto: i64) -> Option<Point> {
        let (ts, value) = self.newest_number(series, after, upto)?;
        Some(Point {
            ts,
            start_ts: None,
            value: Value::Float(value),
        })
    }
    fn glance(&self, series: u32, after: i64, upto: i64) -> Glance {
        let number = self.newest_number(series, after, upto);
        number.map_or(Glance::Nothing, |(_, value)| Glance::Number(value))
    }
    fn last_drop(&self, _: u32) -> i64 {
        if self.drops { i64::MIN } else { i64::MAX }
    }
}

impl Windows {
    fn newest_number(&self, series: u32, after: i64, upto: i64) -> Option<(i64, f64)> {
        let (_, times, values) = self.series.get(series as usize)?;
        let last = match times.last() {
            Some(t) if *t <= upto => times.len() - 1,
            _ => times.partition_point(|t| *t <= upto).checked_sub(1)?,
        };
        let (ts, value) = (*times.get(last)?, *values.get(last)?);
        (ts > after).then_some((ts, value))
    }
}

/// Best of some rounds over all rules, in nanoseconds for each; and how many elements they had.
fn measure(plans: &mut [Plan], source: &Windows, at: i64, rounds: usize) -> (f64, usize) {
    let mut ws = Workspace::default();
    let (mut best, mut elements) = (f64::MAX, 0);
    for _ in 0..rounds {
        let started = Instant::now();
        elements = 0;
        for plan in plans.iter_mut() {
            plan.evaluate(at, source, &mut ws).expect("a value");
            plan.each(&ws, |_, value| {
                black_box(value);
                elements += 1;
            });
        }
        best = best.min(started.elapsed().as_secs_f64());
    }
    (best * 1e9 / plans.len() as f64, elements)
}

/// Measures rules of one kind; each is meant to cost so many nanoseconds at most, if there is a goal.
fn report(
    table: &mut Table,
    what: &str,
    most: Option<f64>,
    texts: &[String],
    source: &Windows,
    at: i64,
) {
    if table.word.as_ref().is_some_and(|w| !what.contains(w)) {
        return;
    }
    let settings = Settings::default();
    let exprs: Vec<_> = texts
        .iter()
        .map(|t| Arc::new(parse(t, Dialect::PLAIN).expect("an expression")))
        .collect();
    let started = Instant::now();
    let mut plans: Vec<Plan> = exprs
        .iter()
        .map(|e| Plan::new(e.clone(), source, &settings).expect("a plan"))
        .collect();
    let resolve = started.elapsed().as_secs_f64() * 1e6 / plans.len() as f64;
    let (ns, elements) = measure(&mut plans, source, at, table.size(15, 3));
    println!(
        "{what:<44} {:>7} rules {ns:>8.0} ns a rule, {resolve:>7.1} µs to resolve it, {elements} elements",
        plans.len()
    );
    table.row(Row {
        case: format!("{what}, {} rules: one", figure(plans.len() as f64)),
        unit: "ns",
        ours: vec![ns],
        most,
        ..Row::default()
    });
}

fn main() {
    let mut table = Table::open("promql", &[]);
    let metric = |name: String| {
        Labels::new()
            .with("__name__", &name)
            .with("region", "east")
            .with("instance", "api-1:9100")
            .with("job", "county-api")
    };
    let mut gauges = Windows::default();
    for i in 0..100_000 {
        let values = (0..20).map(|t| f64::from(i % 900) + f64::from(t) / 7.0);
        gauges.add(metric(format!("m{i}")), values.collect());
    }
    let at = 19 * STEP + 1_000;
    for count in [1_000, 10_000, 100_000] {
        let threshold: Vec<String> = (0..count)
            .map(|i| format!("m{i}{{job=\"county-api\"}} > 895"))
            .collect();
        report(
            &mut table,
            "metric{…} > X",
            Some(500.0),
            &threshold,
            &gauges,
            at,
        );
        let mean: Vec<String> = (0..count)
            .map(|i| format!("avg_over_time(m{i}[3m]) > 895"))
            .collect();
        report(
            &mut table,
            "avg_over_time(metric[3m]) > X, 12 samples",
            Some(660.0),
            &mean,
            &gauges,
            at,
        );
    }
    let bounds = [
        "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf",
    ];
    for drops in [false, true] {
        for count in [2, 20, 1_000] {
            let mut histograms = Windows {
                drops,
                ..Windows::default()
            };
            for i in 0..count {
                for instance in 0..10 {
                    for (n, le) in (1..).zip(bounds) {
                        let labels = Labels::new()
                            .with("__name__", &format!("h{i}_bucket"))
                            .with("instance", &format!("api-{instance}:9100"))
                            .with("le", le);
                        let values = (0..21).map(|t| f64::from((t + 1_000) * n * (instance + 3)));
                        histograms.add(labels, values.collect());
                    }
                }
            }
            let quantile: Vec<String> = (0..count)
                .map(|i| {
                    format!("histogram_quantile(0.95, sum by (le) (rate(h{i}_bucket[5m]))) > 0.003")
                })
                .collect();
            // The engine knows drops; the goal is for that.
            let (what, most) = if drops {
                ("histogram_quantile(…rate…), drops known", Some(3_200.0))
            } else {
                ("histogram_quantile(…rate…), drops looked for", None)
            };
            report(&mut table, what, most, &quantile, &histograms, at);
        }
    }
    table.write();
}
