//! One tick over many threshold rules, one series each, 180 samples in a window of 3 minutes; the floor is the bare
//! mean of the same numbers in plain arrays, measured in the same run. Also: resident memory per series of 20 samples.
//!
//! `cargo bench --bench evaluate`

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration as Wall, Instant};

use ops::config::{SourceFile, read_rules};
use ops::engine::intake::{Admitted, Intake};
use ops::engine::policy::{Policy, Rule, RuleId, Test};
use ops::engine::series::Sample;
use ops::engine::{Engine, Input};
use ops::model::labels::{Labels, SeriesKey};
use ops::model::time::Timestamp;
use table::{Row, Table, figure};

mod table;

const START_MS: i64 = 1_700_000_000_000;
/// What a rule may cost at twice as many: it counts as linear if it is not a quarter more.
const LINEAR: f64 = 0.8;

fn rules(count: usize) -> Vec<Arc<Rule>> {
    let text = "metric: m\nwindow: 3m\nthreshold: 1000\nnotify: [oncall@example.com]\n".to_owned();
    let (one, problems) = read_rules(&SourceFile {
        path: "bench.yml".into(),
        shown: "bench.yml".into(),
        text,
    });
    assert!(
        problems.iter().all(|p| p.code.starts_with("OPS-R")),
        "{problems:?}"
    );
    let Some(one) = one.rules.first() else {
        return Vec::new();
    };
    let Test::Window(test) = &one.test else {
        return Vec::new();
    };
    (0..count)
        .map(|i| {
            let (name, metric) = (format!("r{i}"), format!("m{i}"));
            let mut test = test.clone();
            test.selector.metric = metric;
            Arc::new(Rule {
                id: RuleId::new("bench.yml", &name, &Labels::new()),
                name,
                file: one.file.clone(),
                test: Test::Window(test),
                for_: one.for_,
                keep_firing_for: one.keep_firing_for,
                missing: one.missing,
                labels: one.labels.clone(),
                clears: one.clears.clone(),
                annotations: one.annotations.clone(),
                runbook: None,
                notify: one.notify.clone(),
                silence_window: None,
                heal: None,
            })
        })
        .collect()
}

fn engine(count: usize, samples: i64) -> Engine {
    let mut engine = Engine::default();
    let policy = Policy {
        rules: rules(count),
        ..Policy::default()
    };
    engine.handle(
        Timestamp::from_ms(START_MS),
        Input::Policy(Arc::new(policy)),
    );
    let new = (0..count)
        .map(|i| {
            SeriesKey::new(
                &format!("m{i}"),
                &Labels::new()
                    .with("region", "east")
                    .with("instance", "api-1:9100"),
            )
        })
        .collect();
    engine.handle(
        Timestamp::from_ms(START_MS),
        Input::Samples(Admitted {
            at: Timestamp::from_ms(START_MS),
            new,
            ..Admitted::default()
        }),
    );
    for t in 0..samples {
        let ts = Timestamp::from_ms(START_MS + t * 1_000);
        let samples = (0..count as u32)
            .map(|series| Sample {
                series,
                ts,
                value: f64::from(series % 900) + t as f64 / 7.0,
            })
            .collect();
        engine.handle(
            ts,
            Input::Samples(Admitted {
                at: ts,
                samples,
                ..Admitted::default()
            }),
        );
    }
    engine
}

fn best(rounds: usize, mut work: impl FnMut(usize)) -> Wall {
    (0..rounds)
        .map(|round| {
            let started = Instant::now();
            work(round);
            started.elapsed()
        })
        .min()
        .unwrap_or_default()
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|l| {
            l.strip_prefix("VmRSS:")?
                .trim()
                .strip_suffix(" kB")?
                .trim()
                .parse()
                .ok()
        })
        .unwrap_or(0)
}

/// Door, windows and one rule over all series; nothing is left out but the process itself.
fn memory(table: &mut Table) {
    let before = resident_kib();
    let mut door = Intake::default();
    let mut engine = Engine::default();
    let policy = Policy {
        rules: rules(1),
        ..Policy::default()
    };
    engine.handle(
        Timestamp::from_ms(START_MS),
        Input::Policy(Arc::new(policy)),
    );
    let mut new = Vec::new();
    for i in 0..100_000 {
        let labels = Labels::new()
            .with("region", "east")
            .with("instance", &format!("api-{i}:9100"))
            .with("job", "county-api");
        let _ = door.number(SeriesKey::new("m0", &labels).bytes(), &mut new);
    }
    engine.handle(
        Timestamp::from_ms(START_MS),
        Input::Samples(Admitted {
            at: Timestamp::from_ms(START_MS),
            new,
            ..Admitted::default()
        }),
    );
    for t in 0..20 {
        let ts = Timestamp::from_ms(START_MS + t * 5_000);
        let samples = (0..100_000)
            .map(|series| Sample {
                series,
                ts,
                value: f64::from(series % 900),
            })
            .collect();
        engine.handle(
            ts,
            Input::Samples(Admitted {
                at: ts,
                samples,
                ..Admitted::default()
            }),
        );
        engine.handle(ts, Input::Tick);
    }
    let bytes = (resident_kib() - before) * 1_024 / 100_000;
    println!(
        "memory, 100,000 series of one rule, 20 samples each, 3 labels: {bytes} bytes a series"
    );
    table.row(Row {
        case: "100,000 series of 20 samples and 3 labels, one rule: resident memory of one"
            .to_owned(),
        unit: "bytes",
        ours: vec![bytes as f64],
        most: Some(1_024.0),
        ..Row::default()
    });
    black_box((&door, &engine));
}

fn main() {
    let mut table = Table::open("evaluate", &[]);
    memory(&mut table);
    println!(
        "{:>9}  {:>10}  {:>10}  {:>12}  {:>6}",
        "rules", "tick ms", "floor ms", "ns per rule", "ratio"
    );
    let mut before = None;
    let rounds = table.size(7, 2);
    for count in [1_000, 10_000, 100_000, 200_000].map(|count| table.size(count, count / 10)) {
        let mut engine = engine(count, 180);
        let tick = best(rounds, |round| {
            engine.handle(
                Timestamp::from_ms(START_MS + 179_000 + round as i64),
                Input::Tick,
            )
        });
        while engine.next_effect().is_some() {}
        drop(engine);
        let plain: Vec<Vec<f64>> = (0..count)
            .map(|i| {
                (0..180)
                    .map(|t| (i % 900) as f64 + f64::from(t) / 7.0)
                    .collect()
            })
            .collect();
        let floor = best(rounds, |_| {
            black_box(
                plain
                    .iter()
                    .filter(|v| v.iter().sum::<f64>() / v.len() as f64 > 1_000.0)
                    .count(),
            );
        });
        println!(
            "{count:>9}  {:>10.2}  {:>10.2}  {:>12.0}  {:>6.2}",
            tick.as_secs_f64() * 1e3,
            floor.as_secs_f64() * 1e3,
            tick.as_secs_f64() * 1e9 / count as f64,
            tick.as_secs_f64() / floor.as_secs_f64()
        );
        let tick_ms = tick.as_secs_f64() * 1e3;
        table.row(Row {
            case: format!("{} rules: a tick", figure(count as f64)),
            unit: "ms",
            ours: vec![tick_ms],
            beside: "the bare mean of the same numbers in plain arrays",
            theirs: vec![floor.as_secs_f64() * 1e3],
            most: (count == 100_000).then_some(100.0),
            ..Row::default()
        });
        if let Some((fewer, each)) = before
            && fewer * 2 == count
        {
            table.row(Row {
                case: format!("{} rules: one rule of a tick", figure(count as f64)),
                unit: "ns",
                ours: vec![tick_ms * 1e6 / count as f64],
                beside: &format!("{} rules", figure(fewer as f64)),
                theirs: vec![each],
                least: Some(LINEAR),
                ..Row::default()
            });
        }
        before = Some((count, tick_ms * 1e6 / count as f64));
    }
    table.write();
}
