//! What a rule costs per tick: the newest sample against a threshold, a mean over 12 samples, and a quantile of a rate
//! over 10 instances with 12 buckets of 20 samples each, looked at whole, and as the engine does after one new sample in each.
//! Also: what it costs to resolve a rule.
//!
//! `cargo bench --bench promql`

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use ops::engine::promql::settings::Settings;
use ops::engine::promql::source::{Glance, Point, Samples, Scratch, Source, Value};
use ops::engine::promql::{Dialect, Plan, Workspace, parse};
use ops::engine::series::SeriesSet;
use ops::model::labels::{Labels, MatchOp, Matcher, SeriesKey};
use ops::model::time::{Duration, Timestamp};
use table::{Row, Table, figure};

mod table;

const STEP: i64 = 15_000;
const BOUNDS: [&str; 12] = [
    "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf",
];

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

/// The series of a quantile rule: labels, and by how much each grows.
fn buckets(rule: u32) -> impl Iterator<Item = (Labels, u32)> {
    (0..10).flat_map(move |instance| {
        (1..).zip(BOUNDS).map(move |(n, le)| {
            let labels = Labels::new()
                .with("__name__", &format!("h{rule}_bucket"))
                .with("instance", &format!("api-{instance}:9100"))
                .with("le", le);
            (labels, n * (instance + 3))
        })
    })
}

fn quantile(rule: u32) -> String {
    format!("histogram_quantile(0.95, sum by (le) (rate(h{rule}_bucket[5m]))) > 0.003")
}

/// Quantile rules over the engine's own series, which get a sample each before every evaluation.
fn with_new_samples(table: &mut Table, rules: u32) {
    let what = "histogram_quantile(…rate…), a new sample in each window";
    if table.word.as_ref().is_some_and(|w| !what.contains(w)) {
        return;
    }
    let mut set = SeriesSet::default();
    let mut grows = Vec::new();
    for (labels, by) in (0..rules).flat_map(buckets) {
        let metric = labels.get("__name__").to_owned();
        let (number, _) = set.number(&SeriesKey::new(&metric, &labels.with("__name__", "")));
        set.need(number, Duration::from_mins(5));
        grows.push((number, by));
    }
    let file = |set: &mut SeriesSet, step: i64| {
        let at = Timestamp::from_ms(step * STEP);
        for (number, by) in &grows {
            set.file_one(*number, at, at, f64::from(*by) * (step + 1_000) as f64);
        }
    };
    (0..24).for_each(|step| file(&mut set, step));
    let settings = Settings::default();
    let plan = |rule: u32| {
        let expr = parse(&quantile(rule), Dialect::PLAIN).expect("an expression");
        Plan::new(Arc::new(expr), &set, &settings).expect("a plan")
    };
    let mut plans: Vec<Plan> = (0..rules).map(plan).collect();
    let mut ws = Workspace::default();
    // Now and then windows are looked at: no evaluation stands for all.
    let (rounds, mut seconds) = (table.size(32, 9), 0.0);
    for round in 0..=rounds {
        let step = 24 + round as i64;
        file(&mut set, step);
        let started = Instant::now();
        for plan in &mut plans {
            plan.evaluate(step * STEP + 1_000, &set, &mut ws)
                .expect("a value");
            plan.each(&ws, |_, value| {
                black_box(value);
            });
        }
        // The first one finds all windows new.
        if round > 0 {
            seconds += started.elapsed().as_secs_f64();
        }
    }
    let ns = seconds * 1e9 / f64::from(rules) / rounds as f64;
    println!("{what:<44} {rules:>7} rules {ns:>8.0} ns a rule");
    table.row(Row {
        case: format!("{what}, {} rules: one", figure(f64::from(rules))),
        unit: "ns",
        ours: vec![ns],
        most: Some(3_200.0),
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
    for drops in [false, true] {
        for count in [2, 20, 1_000] {
            let mut histograms = Windows {
                drops,
                ..Windows::default()
            };
            for (labels, by) in (0..count).flat_map(buckets) {
                let values = (0..21).map(|t| f64::from((t + 1_000) * by));
                histograms.add(labels, values.collect());
            }
            let quantile: Vec<String> = (0..count).map(quantile).collect();
            // The engine knows drops; the goal is for that.
            let (what, most) = if drops {
                ("histogram_quantile(…rate…), drops known", Some(3_200.0))
            } else {
                ("histogram_quantile(…rate…), drops looked for", None)
            };
            report(&mut table, what, most, &quantile, &histograms, at);
        }
    }
    for rules in [2, 20, 1_000, 10_000] {
        with_new_samples(&mut table, rules);
    }
    table.write();
}
