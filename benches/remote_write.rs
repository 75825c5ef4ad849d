//! Remote write, as Prometheus sends it: processor time of the receiver per million samples, acknowledged durably.
//! `ops` runs as a process of its own, and beside it, where they are installed (Debian's `prometheus` and
//! `victoria-metrics`), the receivers of the field, in turn and under the same load: 10,000 series, 1,000 samples a
//! request, 4 connections that each send their own series in order. Then, of each, the memory of many series.
//!
//! Before that, load that must not harm ([`load`]): a burst, more than can be taken, and label bombs. What must not
//! happen is asserted, what was seen is printed.
//!
//! `cargo bench --bench remote_write`; a word after `--` runs only what has it in its name: `burst`, `capacity`, `bomb`,
//! `speed`, `memory`, `natives` (native histograms instead of numbers).

use std::time::{Duration, Instant};

use peers::{PATH, prometheus, victoria};
use receiver::{Connection, Receiver, now_ms};
use sent::{body, series};
use table::{Row, Table, figure};
use whole::histogram;

#[path = "remote_write/load.rs"]
mod load;
mod peers;
mod receiver;
#[path = "../src/ingest/remote_write/sent.rs"]
mod sent;
mod table;
#[path = "../src/ingest/remote_write/whole.rs"]
mod whole;

const SERIES: usize = 10_000;
const SAMPLES_A_REQUEST: usize = 1_000;
const CONNECTIONS: usize = 4;
const ROUNDS: i64 = 200;
/// Where memory is looked at.
const MANY_SERIES: usize = 200_000;
/// Samples of each of them, 15 s apart.
const MANY_ROUNDS: i64 = 20;

/// The request of one part of the series, at one time.
fn request(part: usize, ts: i64) -> Vec<u8> {
    let from = part * SAMPLES_A_REQUEST;
    let all = (from..from + SAMPLES_A_REQUEST).map(|i| {
        let (instance, path) = (
            format!("10.0.{}.{}:9100", i / 250, i % 250),
            format!("/api/v1/h{}", i % 20),
        );
        let labels = [
            ("__name__", "http_request_duration_seconds_count"),
            ("code", "200"),
            ("handler", path.as_str()),
            ("instance", instance.as_str()),
            ("job", "api-server"),
            ("method", "get"),
            ("region", "us-east-1"),
        ];
        series(&labels, &[(ts, (ts / 1_000 * 7 + i as i64) as f64)])
    });
    body(all.collect())
}

/// Sends some rounds on all connections; what the slowest hundredth of the answers took at least.
fn rounds(receiver: &Receiver, rounds: std::ops::Range<i64>, start: i64) -> Duration {
    let mut took: Vec<Duration> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..CONNECTIONS)
            .map(|connection| {
                let rounds = rounds.clone();
                scope.spawn(move || {
                    let mut to = Connection::to(receiver);
                    let mut took = Vec::new();
                    for round in rounds {
                        let parts = (0..SERIES / SAMPLES_A_REQUEST).skip(connection);
                        for part in parts.step_by(CONNECTIONS) {
                            let body = request(part, start + round * 1_000);
                            took.push(to.send(receiver, &body));
                        }
                    }
                    took
                })
            })
            .collect();
        senders
            .into_iter()
            .flat_map(|s| s.join().expect("a sender panicked"))
            .collect()
    });
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

/// What one receiver took.
struct Speed {
    /// Seconds of processor time a million samples.
    cpu: f64,
    /// Microseconds of processor time a new series.
    new: f64,
    /// Samples a second.
    rate: f64,
}

fn speed(receiver: &Receiver) -> Speed {
    let start = now_ms() - 400_000;
    let (cpu, begun) = (receiver.cpu(), Instant::now());
    rounds(receiver, 0..1, start);
    let new = (receiver.cpu() - cpu) / SERIES as f64 * 1e6;
    println!(
        "{:>16}: {new:>6.1} µs of processor time a new series ({:.0} ms)",
        receiver.name,
        begun.elapsed().as_secs_f64() * 1e3
    );
    rounds(receiver, 1..20, start);
    let (cpu, begun) = (receiver.cpu(), Instant::now());
    let slow = rounds(receiver, 20..ROUNDS, start);
    let (cpu, took) = (receiver.cpu() - cpu, begun.elapsed().as_secs_f64());
    let samples = (ROUNDS - 20) as f64 * SERIES as f64;
    println!(
        "{:>16}: {:>6.3} s of processor time a million samples, {:>9.0} samples/s, p99 {:.1} ms, {} MiB",
        receiver.name,
        cpu / samples * 1e6,
        samples / took,
        slow.as_secs_f64() * 1e3,
        receiver.memory()
    );
    Speed {
        cpu: cpu / samples * 1e6,
        new,
        rate: samples / took,
    }
}

/// Bytes of resident memory an active series, of so many.
fn memory(receiver: &Receiver, many: usize) -> f64 {
    let (before, start) = (receiver.memory(), now_ms() - MANY_ROUNDS * 15_000);
    let mut to = Connection::to(receiver);
    for round in 0..MANY_ROUNDS {
        for part in 0..many / SAMPLES_A_REQUEST {
            to.send(receiver, &request(part, start + round * 15_000));
        }
    }
    let grown = receiver.memory().saturating_sub(before);
    let each = (grown << 20) as f64 / many as f64;
    println!(
        "{:>16}: {each:>6.0} bytes a series ({before} MiB, then {} MiB with {many} series of {MANY_ROUNDS} samples)",
        receiver.name,
        before + grown
    );
    each
}

/// Series of native histograms, and how many samples each gets, 15 s apart.
const NATIVE_SERIES: usize = 1_000;
const NATIVE_ROUNDS: i64 = 100;

/// Seconds of processor time a million native histograms of 20 buckets, in which something was observed each time.
fn natives(receiver: &Receiver) -> f64 {
    let (before, start) = (receiver.memory(), now_ms() - NATIVE_ROUNDS * 15_000);
    let mut to = Connection::to(receiver);
    let cpu = receiver.cpu();
    for round in 0..NATIVE_ROUNDS {
        let all = (0..NATIVE_SERIES).map(|i| {
            let instance = format!("10.0.{}.{}:9100", i / 250, i % 250);
            let labels = [
                ("__name__", "latency_seconds"),
                ("instance", instance.as_str()),
            ];
            let buckets: Vec<(i32, i64)> = (-8_i32..12)
                .map(|b| (b, 40 + round * (1 + i64::from(b.unsigned_abs()))))
                .collect();
            let mut one = series(&labels, &[]);
            one.histograms = vec![histogram(start + round * 15_000, 1, &buckets, round as f64)];
            one
        });
        to.send(receiver, &body(all.collect()));
    }
    let count = NATIVE_SERIES as f64 * NATIVE_ROUNDS as f64;
    let cpu = (receiver.cpu() - cpu) / count * 1e6;
    let grown = receiver.memory().saturating_sub(before);
    let each = (grown << 20) as f64 / count;
    println!(
        "{:>16}: {cpu:>6.3} s of processor time a million histograms, {each:.0} bytes each",
        receiver.name
    );
    cpu
}

/// Native histograms, which VictoriaMetrics of that age does not take.
fn native_speeds(table: &mut Table) {
    let own = natives(&ours(&[]));
    let theirs = prometheus(|_| "empty.yml").map(|other| natives(&other));
    table.row(Row {
        case: "native histograms of 20 buckets: processor time of a million".to_owned(),
        unit: "s",
        ours: vec![own],
        beside: "Prometheus",
        theirs: theirs.into_iter().collect(),
        ..Row::default()
    });
}

/// `ops`, with rules of its own if any are given.
fn ours(rules: &[String]) -> Receiver {
    let ops = Receiver::start("ops", env!("CARGO_BIN_EXE_ops"), PATH, |dir, port| {
        for (i, rule) in rules.iter().enumerate() {
            std::fs::write(dir.join(format!("alerts/r{i}.yml")), rule).expect("scratch folder");
        }
        let listen = format!("127.0.0.1:{port}");
        let data = dir.join("data").display().to_string();
        ["serve", "--listen", &listen, "--data", &data]
            .map(str::to_owned)
            .to_vec()
    });
    ops.expect("ops starts")
}

/// The peers, and how many times better ours is meant to be than each: in processor time and in memory.
type Start = fn() -> Option<Receiver>;
const PEERS: [(&str, Start, f64, Option<f64>); 2] = [
    ("Prometheus", || prometheus(|_| "empty.yml"), 5.0, Some(2.0)),
    ("VictoriaMetrics", victoria, 1.5, None),
];

/// Each receiver in turn.
fn speeds(table: &mut Table) {
    let mut own: Vec<Speed> = Vec::new();
    let mut others: Vec<Vec<Speed>> = PEERS.iter().map(|_| Vec::new()).collect();
    for _ in 0..table.size(3, 1) {
        own.push(speed(&ours(&[])));
        for ((_, start, ..), speeds) in PEERS.iter().zip(&mut others) {
            speeds.extend(start().as_ref().map(speed));
        }
    }
    let all = |of: &[Speed], what: fn(&Speed) -> f64| of.iter().map(what).collect::<Vec<f64>>();
    for ((beside, _, least, _), theirs) in PEERS.iter().zip(&others) {
        let mut row = |case: &str, unit, what: fn(&Speed) -> f64, least| {
            table.row(Row {
                case: format!(
                    "{} series, {} samples a request: {case}",
                    figure(SERIES as f64),
                    figure(SAMPLES_A_REQUEST as f64)
                ),
                unit,
                ours: all(&own, what),
                beside,
                theirs: all(theirs, what),
                least,
                ..Row::default()
            });
        };
        let cpu = "processor time of a million samples";
        row(cpu, "s", |s| s.cpu, Some(*least));
        row("acknowledged", "samples/s", |s| s.rate, None);
        row("processor time of a new series", "µs", |s| s.new, None);
    }
}

fn memories(table: &mut Table) {
    let many = table.size(MANY_SERIES, MANY_SERIES / 10);
    let own = memory(&ours(&[]), many);
    for (beside, start, _, least) in PEERS {
        let theirs = start().map(|other| memory(&other, many));
        table.row(Row {
            case: format!(
                "{} series of {MANY_ROUNDS} samples: resident memory of one",
                figure(many as f64)
            ),
            unit: "bytes",
            ours: vec![own],
            beside,
            theirs: theirs.into_iter().collect(),
            least,
            ..Row::default()
        });
    }
}

fn main() {
    let mut table = Table::open("remote_write", &["prometheus", "victoria-metrics"]);
    let word = table.word.clone();
    let wanted = |name: &str| word.as_ref().is_none_or(|w| name.contains(w.as_str()));
    if wanted("burst") {
        load::burst(&mut table);
    }
    if wanted("capacity") {
        load::capacity(&mut table);
    }
    if wanted("bomb") {
        load::bomb(&mut table);
    }
    if wanted("speed") {
        speeds(&mut table);
    }
    if wanted("memory") {
        memories(&mut table);
    }
    if wanted("natives") {
        native_speeds(&mut table);
    }
    table.write();
}
