//! What a rule costs, whole processes: the same rule file and the same samples in `ops` and in Prometheus (Debian's
//! `prometheus`, where it is installed), one after the other. Processor time of the process, divided by the evaluations
//! that it did meanwhile.
//!
//! `cargo bench --bench rules`; a word after `--` runs only what has it in its name: `threshold`, `average`, `quantile`,
//! `curve` (ours alone, to a million rules over a million series).

use std::fmt::Write as _;
use std::time::Duration;

use receiver::{Connection, Receiver, now_ms};
use sent::{body, series};

#[expect(dead_code, reason = "shared with another bench, which uses more of it")]
#[path = "remote_write/receiver.rs"]
mod receiver;
#[path = "../src/ingest/remote_write/sent.rs"]
mod sent;

/// Samples of a series, one each 15 s: the windows of all rules are full.
const SAMPLES: i64 = 24;
/// Every how many seconds rules are evaluated: small ones are evaluated often, so that there is something to measure.
const EVERY_S: u64 = 2;
/// How long is measured.
const MEASURED_S: u64 = 20;
const GROUP_RULES: usize = 500;
const PATH: &str = "/api/v1/write";
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

/// A rule file as all of them read it.
fn rules(form: Form, count: usize, every_s: u64) -> String {
    let mut text = String::from("groups:\n");
    for i in 0..count {
        if i % GROUP_RULES == 0 {
            let _ = writeln!(
                text,
                "- name: g{}\n  interval: {every_s}s\n  rules:",
                i / GROUP_RULES
            );
        }
        let _ = writeln!(text, "  - alert: r{i}\n    expr: {}", form.expr(i));
    }
    text
}

/// Sends the samples of all rules, oldest first.
fn fill(receiver: &Receiver, form: Form, count: usize) {
    let start = now_ms() - (SAMPLES - 1) * 15_000;
    let mut to = Connection::to(receiver);
    let all: Vec<_> = (0..count).flat_map(|i| form.series(i)).collect();
    for n in 0..SAMPLES {
        for some in all.chunks(5_000) {
            let some = some.iter().map(|(labels, step)| {
                let labels: Vec<(&str, &str)> =
                    labels.iter().map(|(k, v)| (*k, v.as_str())).collect();
                series(&labels, &[(start + n * 15_000, n as f64 * step)])
            });
            let body = body(some.collect());
            // Prometheus listens before it is ready.
            while to.post(receiver.path, &body).status == 503 {
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

/// Microseconds of processor time an evaluation.
fn measured(of: &Receiver, evaluations: impl Fn() -> f64) -> f64 {
    // What starting left behind is not counted.
    std::thread::sleep(Duration::from_secs(3 * EVERY_S));
    let (cpu_before, before) = (of.cpu(), evaluations());
    std::thread::sleep(Duration::from_secs(MEASURED_S));
    let (took, done) = (of.cpu() - cpu_before, evaluations() - before);
    assert!(done > 0.0, "{}: no rule was evaluated", of.name);
    took / done * 1e6
}

fn ours(form: Form, count: usize, every_s: u64) -> (f64, u64) {
    let ops = Receiver::start("ops", env!("CARGO_BIN_EXE_ops"), PATH, |dir, port| {
        let file = dir.join("alerts/rules.yml");
        std::fs::write(file, rules(form, count, every_s)).expect("scratch folder");
        let listen = format!("127.0.0.1:{port}");
        let tick = format!("{every_s}s");
        let data = dir.join("data").display().to_string();
        [
            "serve", "--tick", &tick, "--listen", &listen, "--data", &data,
        ]
        .map(str::to_owned)
        .to_vec()
    });
    let ops = ops.expect("ops starts");
    assert_eq!(
        ops.counter("ops_rules "),
        count as f64,
        "all rules are in force"
    );
    fill(&ops, form, count);
    let each = measured(&ops, || ops.counter("ops_ticks_total") * count as f64);
    assert_eq!(
        ops.counter("ops_ticks_skipped_total"),
        0.0,
        "no tick is missed"
    );
    (each, ops.memory())
}

fn prometheus(form: Form, count: usize) -> Option<f64> {
    let started = Receiver::start("prometheus", "prometheus", PATH, |dir, port| {
        std::fs::write(dir.join("rules.yml"), rules(form, count, EVERY_S)).expect("scratch folder");
        std::fs::write(dir.join("c.yml"), "rule_files: [rules.yml]\n").expect("scratch folder");
        vec![
            format!("--config.file={}", dir.join("c.yml").display()),
            format!("--storage.tsdb.path={}", dir.join("data").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
            "--web.enable-remote-write-receiver".to_owned(),
        ]
    })?;
    fill(&started, form, count);
    Some(measured(&started, || {
        started.counter("prometheus_rule_evaluations_total{")
    }))
}

/// Ours at some sizes; Prometheus at a size that leaves it time to idle.
fn compared(form: Form, ours_at: &[usize], peers_at: usize) {
    let name = form.name();
    let costs = ours_at.iter().map(|count| {
        let (each, memory) = ours(form, *count, EVERY_S);
        println!("{name:>10}: ops {count:>8} rules: {each:>8.3} µs an evaluation, {memory} MiB");
        each
    });
    let costs: Vec<f64> = costs.collect();
    let largest = costs[costs.len() - 1];
    match prometheus(form, peers_at) {
        Some(each) => println!(
            "{name:>10}: prometheus {peers_at} rules: {each:.1} µs an evaluation, {:.0} times ours at the largest size",
            each / largest
        ),
        None => println!("{name:>10}: prometheus is not installed"),
    }
}

fn main() {
    let word = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    let wanted = |name: &str| word.as_ref().is_none_or(|w| name.contains(w.as_str()));
    if wanted("threshold") {
        compared(Form::Threshold, &[10_000, 100_000], 5_000);
    }
    if wanted("average") {
        compared(Form::Average, &[10_000, 100_000], 5_000);
    }
    if wanted("quantile") {
        compared(Form::Quantile, &[100, 1_000, 10_000], 500);
    }
    if wanted("curve") {
        for count in [1_000, 10_000, 100_000, 1_000_000] {
            let (each, memory) = ours(Form::Threshold, count, EVERY_S);
            println!(
                "     curve: ops {count:>8} rules: {each:>8.3} µs an evaluation, {memory} MiB"
            );
        }
    }
}
