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

use receiver::{Connection, Receiver, now_ms};
use sent::{body, series};
use whole::histogram;

#[path = "remote_write/load.rs"]
mod load;
#[path = "remote_write/receiver.rs"]
mod receiver;
#[path = "../src/ingest/remote_write/sent.rs"]
mod sent;
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
/// Where all of them take remote write.
const PATH: &str = "/api/v1/write";

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

/// Seconds of processor time a million samples.
fn speed(receiver: &Receiver) -> f64 {
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
    cpu / samples * 1e6
}

/// Bytes of resident memory an active series.
fn memory(receiver: &Receiver) -> f64 {
    let (before, start) = (receiver.memory(), now_ms() - MANY_ROUNDS * 15_000);
    let mut to = Connection::to(receiver);
    for round in 0..MANY_ROUNDS {
        for part in 0..MANY_SERIES / SAMPLES_A_REQUEST {
            to.send(receiver, &request(part, start + round * 15_000));
        }
    }
    let grown = receiver.memory().saturating_sub(before);
    let each = (grown << 20) as f64 / MANY_SERIES as f64;
    println!(
        "{:>16}: {each:>6.0} bytes a series ({before} MiB, then {} MiB with {MANY_SERIES} series of {MANY_ROUNDS} samples)",
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

fn prometheus() -> Option<Receiver> {
    Receiver::start("prometheus", "prometheus", PATH, |dir, port| {
        vec![
            format!("--config.file={}", dir.join("empty.yml").display()),
            format!("--storage.tsdb.path={}", dir.join("data").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
            "--web.enable-remote-write-receiver".to_owned(),
            "--enable-feature=native-histograms".to_owned(),
        ]
    })
}

fn victoria() -> Option<Receiver> {
    Receiver::start("victoria-metrics", "victoria-metrics", PATH, |dir, port| {
        vec![
            format!("-storageDataPath={}", dir.join("data").display()),
            format!("-httpListenAddr=127.0.0.1:{port}"),
        ]
    })
}

/// Each receiver in turn, and how many times ours the others need.
fn compared(what: &str, measure: impl Fn(&Receiver) -> f64, rounds: usize) {
    for _ in 0..rounds {
        let own = measure(&ours(&[]));
        for other in [prometheus as fn() -> Option<Receiver>, victoria] {
            if let Some(other) = other() {
                let theirs = measure(&other);
                println!("{:>16}: {:.1} times our {what}", other.name, theirs / own);
            }
        }
    }
}

fn main() {
    let word = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    let wanted = |name: &str| word.as_ref().is_none_or(|w| name.contains(w.as_str()));
    if wanted("burst") {
        load::burst();
    }
    if wanted("capacity") {
        load::capacity();
    }
    if wanted("bomb") {
        load::bomb();
    }
    if wanted("speed") {
        compared("processor time", speed, 3);
    }
    if wanted("memory") {
        compared("memory", memory, 1);
    }
    if wanted("natives") {
        compared("processor time", natives, 1);
    }
}
