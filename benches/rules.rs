//! What a rule costs, whole processes: the same rules and the same samples in `ops`, in Prometheus, and in vmalert with
//! VictoriaMetrics (Debian's `prometheus` and `victoria-metrics`, where they are installed), one after the other.
//! Processor time of the processes, divided by the evaluations that they did meanwhile. Each has as many rules as leave it
//! time to idle.
//!
//! `cargo bench --bench rules`; a word after `--` runs only what has it in its name: `threshold`, `average`, `quantile`,
//! `curve` (ours alone, to a million rules over a million series).

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use peers::{PATH, prometheus, victoria};
use receiver::{Connection, Receiver, now_ms};
use sent::{body, series};
use table::{Row, Table, figure};

mod peers;
#[expect(dead_code, reason = "shared with another bench, which uses more of it")]
mod receiver;
#[path = "../src/ingest/remote_write/sent.rs"]
mod sent;
mod table;

/// Samples of a series, one each 15 s: the windows of all rules are full.
const SAMPLES: i64 = 24;
/// Every how many seconds rules are evaluated: small ones are evaluated often, so that there is something to measure.
const EVERY_S: u64 = 2;
/// How long is measured.
const MEASURED_S: u64 = 20;
const GROUP_RULES: usize = 500;
/// Rules of a file of ours, a multiple of those of a group: a file may have 8 MiB.
const FILE_RULES: usize = 50_000;
/// How long all samples may take; they get old, and no rule sees them after 5 minutes.
const PATIENCE: Duration = Duration::from_secs(240);
/// Series whose samples are made at a time.
const SENT_AT_ONCE: usize = 5_000;
/// Bounds of the buckets of a histogram, and how many instances have one.
const BOUNDS: [&str; 12] = [
    "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf",
];
const INSTANCES: usize = 10;

#[derive(Clone, Copy)]
enum Form {
    Threshold,
    Average,
    Quantile,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Form::Threshold => "threshold",
            Form::Average => "average",
            Form::Quantile => "quantile",
        }
    }

    fn expr(self, i: usize) -> String {
        match self {
            Form::Threshold => format!("metric_{i} > 1e9"),
            Form::Average => format!("avg_over_time(metric_{i}[3m]) > 1e9"),
            Form::Quantile => {
                format!("histogram_quantile(0.95, sum by (le) (rate(h{i}_bucket[5m]))) > 1e9")
            }
        }
    }

    /// The series of one rule: their labels, and by how much each grows.
    fn series(self, i: usize) -> Vec<(Vec<(&'static str, String)>, f64)> {
        match self {
            Form::Threshold | Form::Average => vec![(
                vec![
                    ("__name__", format!("metric_{i}")),
                    ("instance", format!("host-{}", i % 100)),
                    ("job", "bench".to_owned()),
                ],
                1.0,
            )],
            Form::Quantile => (0..INSTANCES)
                .flat_map(|instance| {
                    (1_u32..).zip(BOUNDS).map(move |(n, le)| {
                        let labels = vec![
                            ("__name__", format!("h{i}_bucket")),
                            ("instance", format!("host-{instance}")),
                            ("job", "bench".to_owned()),
                            ("le", le.to_owned()),
                        ];
                        (labels, f64::from(n))
                    })
                })
                .collect(),
        }
    }
}

/// A rule file as all of them read it, with the rules of these numbers.
fn rules(form: Form, numbers: std::ops::Range<usize>) -> String {
    let mut text = String::from("groups:\n");
    for i in numbers {
        if i % GROUP_RULES == 0 {
            let _ = writeln!(
                text,
                "- name: g{}\n  interval: {EVERY_S}s\n  rules:",
                i / GROUP_RULES
            );
        }
        let _ = writeln!(text, "  - alert: r{i}\n    expr: {}", form.expr(i));
    }
    text
}

/// Sends the samples of all rules, oldest first.
fn fill(receiver: &Receiver, form: Form, count: usize) {
    let (begun, start) = (Instant::now(), now_ms() - (SAMPLES - 1) * 15_000);
    let mut to = Connection::to(receiver);
    for n in 0..SAMPLES {
        let mut all = (0..count).flat_map(|i| form.series(i)).peekable();
        while all.peek().is_some() {
            let some = all.by_ref().take(SENT_AT_ONCE).map(|(labels, step)| {
                let labels: Vec<(&str, &str)> =
                    labels.iter().map(|(k, v)| (*k, v.as_str())).collect();
                series(&labels, &[(start + n * 15_000, n as f64 * step)])
            });
            let body = body(some.collect());
            // Who has too much to do says so, and takes it later.
            let taken = || {
                let answer = to.post(receiver.path, &body);
                let later = [429, 503].contains(&answer.status);
                assert!(later || answer.status < 300, "{}", answer.body);
                assert!(begun.elapsed() < PATIENCE, "{} is too slow", receiver.name);
                !later
            };
            std::iter::repeat_with(taken)
                .take_while(|taken| !taken)
                .for_each(|_| std::thread::sleep(Duration::from_millis(100)));
        }
    }
}

/// Microseconds of processor time an evaluation, of all these processes.
fn measured(of: &[&Receiver], seconds: u64, evaluations: impl Fn() -> f64) -> f64 {
    let cpu = || of.iter().map(|r| r.cpu()).sum::<f64>();
    // What starting left behind is not counted.
    std::thread::sleep(Duration::from_secs(3 * EVERY_S));
    let (cpu_before, before) = (cpu(), evaluations());
    std::thread::sleep(Duration::from_secs(seconds));
    let (took, done) = (cpu() - cpu_before, evaluations() - before);
    assert!(done > 0.0, "no rule was evaluated");
    took / done * 1e6
}

/// That the samples of the last rule are where its expression looks for them.
fn has_samples(receiver: &Receiver, form: Form, count: usize) {
    let last = &form.series(count - 1)[0].0;
    let there = receiver.asked(&format!("count({})", last[0].1));
    let wanted = form.series(count - 1).len() as f64;
    assert_eq!(there, wanted, "{} has not all samples", receiver.name);
}

/// What rules cost in `ops`.
struct Cost {
    /// Microseconds of processor time an evaluation.
    each: f64,
    /// Resident memory, MiB.
    memory: u64,
    /// Ticks that were skipped while it was measured.
    skipped: f64,
    /// How long it took until all rules were in force, seconds.
    loaded: f64,
}

fn ours(form: Form, count: usize, seconds: u64) -> Cost {
    let begun = Instant::now();
    let ops = Receiver::start("ops", env!("CARGO_BIN_EXE_ops"), PATH, |dir, port| {
        for from in (0..count).step_by(FILE_RULES) {
            let text = rules(form, from..count.min(from + FILE_RULES));
            let file = dir.join(format!("alerts/rules{from}.yml"));
            std::fs::write(file, text).expect("scratch folder");
        }
        let listen = format!("127.0.0.1:{port}");
        let tick = format!("{EVERY_S}s");
        let data = dir.join("data").display().to_string();
        [
            "serve", "--tick", &tick, "--listen", &listen, "--data", &data,
        ]
        .map(str::to_owned)
        .to_vec()
    });
    let ops = ops.expect("ops starts");
    let loaded = begun.elapsed().as_secs_f64();
    assert_eq!(
        ops.counter("ops_rules "),
        count as f64,
        "all rules are in force"
    );
    fill(&ops, form, count);
    let skipped = ops.counter("ops_ticks_skipped_total");
    let each = measured(&[&ops], seconds, || {
        ops.counter("ops_ticks_total") * count as f64
    });
    has_samples(&ops, form, count);
    let cost = Cost {
        each,
        memory: ops.memory(),
        skipped: ops.counter("ops_ticks_skipped_total") - skipped,
        loaded,
    };
    println!(
        "{:>10}: ops {count:>8} rules: {each:>8.3} µs an evaluation, {} MiB, in force after {loaded:.1} s",
        form.name(),
        cost.memory,
    );
    cost
}

fn in_prometheus(form: Form, count: usize, seconds: u64) -> Option<f64> {
    let started = prometheus(|dir| {
        std::fs::write(dir.join("rules.yml"), rules(form, 0..count)).expect("scratch folder");
        std::fs::write(dir.join("c.yml"), "rule_files: [rules.yml]\n").expect("scratch folder");
        "c.yml"
    })?;
    fill(&started, form, count);
    let each = measured(&[&started], seconds, || {
        started.counter("prometheus_rule_evaluations_total{")
    });
    has_samples(&started, form, count);
    Some(each)
}

fn in_vmalert(form: Form, count: usize, seconds: u64) -> Option<f64> {
    let store = victoria()?;
    fill(&store, form, count);
    let url = format!("http://127.0.0.1:{}", store.port);
    // It takes no remote write: that its port is open is all that tells that it runs.
    let vmalert = Receiver::start("vmalert", "vmalert", "", |dir, port| {
        let file = dir.join("rules.yml");
        std::fs::write(&file, rules(form, 0..count)).expect("scratch folder");
        vec![
            format!("-rule={}", file.display()),
            format!("-datasource.url={url}"),
            format!("-remoteWrite.url={url}"),
            // No rule fires, so nobody is told.
            format!("-notifier.url={url}"),
            format!("-httpListenAddr=127.0.0.1:{port}"),
        ]
    })?;
    let each = measured(&[&store, &vmalert], seconds, || {
        vmalert.counter("vmalert_execution_total")
    });
    has_samples(&store, form, count);
    let failed = vmalert.counter("vmalert_execution_errors_total");
    assert_eq!(failed, 0.0, "rules of vmalert fail");
    Some(each)
}

/// Ours at some sizes, the others at one each, which goes into the names of the cases.
struct Compared {
    ours: [usize; 2],
    prometheus: usize,
    vmalert: usize,
    /// How many times less than Prometheus a rule is meant to cost.
    least: f64,
}

fn compared(table: &mut Table, form: Form, sizes: &Compared) {
    let (name, seconds) = (form.name(), table.size(MEASURED_S, 4));
    let smaller = |count: usize| table.size(count, count / 20);
    let ours_at = sizes.ours.map(smaller);
    let (prometheus_at, vmalert_at) = (smaller(sizes.prometheus), smaller(sizes.vmalert));
    let costs = ours_at.map(|count| (count, ours(form, count, seconds)));
    for (count, cost) in &costs {
        table.row(Row {
            case: format!("{name}, {} rules: skipped", figure(*count as f64)),
            unit: "ticks",
            ours: vec![cost.skipped],
            most: Some(0.0),
            ..Row::default()
        });
    }
    let others = [
        (
            format!("Prometheus, {} rules", figure(prometheus_at as f64)),
            in_prometheus(form, prometheus_at, seconds),
            Some(sizes.least),
        ),
        (
            format!(
                "vmalert and VictoriaMetrics, {} rules",
                figure(vmalert_at as f64)
            ),
            in_vmalert(form, vmalert_at, seconds),
            None,
        ),
    ];
    for (beside, each, least) in others {
        match each {
            Some(each) => println!("{name:>10}: {beside}: {each:.1} µs an evaluation"),
            None => println!("{name:>10}: SKIPPED {beside}: not installed"),
        }
        for (count, cost) in &costs {
            table.row(Row {
                case: format!("{name}, {} rules: an evaluation", figure(*count as f64)),
                unit: "µs",
                ours: vec![cost.each],
                beside: &beside,
                theirs: each.into_iter().collect(),
                least,
                ..Row::default()
            });
        }
    }
}

/// Ours alone, ten times as many at each step.
fn curve(table: &mut Table) {
    let sizes: &[usize] = table.size(&[10_000, 100_000, 1_000_000], &[1_000, 10_000]);
    let seconds = table.size(MEASURED_S, 4);
    let mut first = None;
    for count in sizes {
        let cost = ours(Form::Threshold, *count, seconds);
        let (beside, each) = *first.get_or_insert((*count, cost.each));
        let beside = match *count == beside {
            true => String::new(),
            false => format!("{} rules", figure(beside as f64)),
        };
        let theirs = if beside.is_empty() {
            vec![]
        } else {
            vec![each]
        };
        let case = format!("curve, {} rules on as many series", figure(*count as f64));
        let mut row = |what: &str, ours: f64, unit, beside, theirs, most| {
            table.row(Row {
                case: format!("{case}: {what}"),
                unit,
                ours: vec![ours],
                beside,
                theirs,
                most,
                ..Row::default()
            });
        };
        row("an evaluation", cost.each, "µs", &beside, theirs, None);
        row("in force after", cost.loaded, "s", "", vec![], None);
        row("memory", cost.memory as f64, "MiB", "", vec![], None);
        row("skipped", cost.skipped, "ticks", "", vec![], Some(0.0));
    }
}

fn main() {
    let mut table = Table::open("rules", &["prometheus", "victoria-metrics"]);
    let word = table.word.clone();
    let wanted = |name: &str| word.as_ref().is_none_or(|w| name.contains(w.as_str()));
    let simple = Compared {
        ours: [10_000, 100_000],
        prometheus: 5_000,
        vmalert: 1_000,
        least: 100.0,
    };
    let quantile = Compared {
        ours: [1_000, 10_000],
        prometheus: 500,
        vmalert: 500,
        least: 50.0,
    };
    for (form, sizes) in [
        (Form::Threshold, &simple),
        (Form::Average, &simple),
        (Form::Quantile, &quantile),
    ] {
        if wanted(form.name()) {
            compared(&mut table, form, sizes);
        }
    }
    if wanted("curve") {
        curve(&mut table);
    }
    table.write();
}
