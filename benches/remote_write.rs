//! Remote write, as Prometheus sends it: processor time of the receiver per million samples, acknowledged durably.
//! `ops` runs as a process of its own, and beside it, where they are installed (Debian's `prometheus` and
//! `victoria-metrics`), the receivers of the field, in turn and under the same load: 10,000 series, 1,000 samples a
//! request, 4 connections that each send their own series in order.
//!
//! Then a burst: from 2,000 to 120,000 samples a second within 30 s, with rules on all of these series. No acknowledged
//! sample may be missing, no tick may be skipped, and memory is printed.
//!
//! `cargo bench --bench remote_write`

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use sent::{body, series};

#[allow(
    dead_code,
    missing_docs,
    reason = "shared with the tests, which use more of it"
)]
#[path = "../src/ingest/remote_write/sent.rs"]
mod sent;

const SERIES: usize = 10_000;
const SAMPLES_A_REQUEST: usize = 1_000;
const CONNECTIONS: usize = 4;
const ROUNDS: i64 = 200;

/// A receiver under test.
struct Receiver {
    name: &'static str,
    child: Child,
    port: u16,
    path: &'static str,
    folder: PathBuf,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Receiver {
    /// Starts a program in a folder of its own; `None` if it is not installed.
    fn start(
        name: &'static str,
        program: &str,
        path: &'static str,
        args: impl Fn(&Path, u16) -> Vec<String>,
    ) -> Option<Self> {
        let folder = std::env::temp_dir().join(format!("ops-bench-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("alerts")).expect("scratch folder");
        std::fs::write(folder.join("empty.yml"), "{}\n").expect("scratch folder");
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let port = free.local_addr().expect("bound").port();
        drop(free);
        let child = Command::new(program)
            .args(args(&folder, port))
            .current_dir(&folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let receiver = Self {
            name,
            child,
            port,
            path,
            folder,
        };
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(receiver);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{name} does not listen");
    }

    /// Processor time so far, seconds.
    fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))
            .expect("the receiver runs");
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or("")
            .split_whitespace()
            .collect();
        // utime and stime, counted from the field after the name; a tick is 10 ms.
        (fields[11].parse::<f64>().expect("ticks") + fields[12].parse::<f64>().expect("ticks"))
            / 100.0
    }

    /// Resident memory, MiB.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .expect("the receiver runs");
        let line = status
            .lines()
            .find(|l| l.starts_with("VmRSS:"))
            .unwrap_or("");
        let kib: String = line.chars().filter(char::is_ascii_digit).collect();
        kib.parse::<u64>().unwrap_or(0) / 1_024
    }
}

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

/// Sends a body on a connection that is kept; how long the answer took.
fn send(tcp: &mut BufReader<TcpStream>, path: &str, body: &[u8]) -> Duration {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nuser-agent: bench\r\ncontent-type: application/x-protobuf\r\ncontent-encoding: snappy\r\n\
         x-prometheus-remote-write-version: 0.1.0\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let begun = Instant::now();
    let mut message = head.into_bytes();
    message.extend_from_slice(body);
    tcp.get_mut().write_all(&message).expect("sent");
    let (mut status, mut length) = (String::new(), 0);
    tcp.read_line(&mut status).expect("answered");
    loop {
        let mut line = String::new();
        tcp.read_line(&mut line).expect("answered");
        if line.trim().is_empty() {
            break;
        }
        if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = n.trim().parse().expect("a length");
        }
    }
    let mut rest = vec![0; length];
    tcp.read_exact(&mut rest).expect("answered");
    let fine = status.contains(" 204 ") || status.contains(" 200 ");
    assert!(fine, "{status}{}", String::from_utf8_lossy(&rest));
    begun.elapsed()
}

/// Sends some rounds on all connections; what the slowest hundredth of the answers took at least.
fn rounds(receiver: &Receiver, rounds: std::ops::Range<i64>, start: i64) -> Duration {
    let mut took: Vec<Duration> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..CONNECTIONS)
            .map(|connection| {
                let rounds = rounds.clone();
                scope.spawn(move || {
                    let tcp = TcpStream::connect(("127.0.0.1", receiver.port)).expect("connected");
                    tcp.set_nodelay(true).expect("a socket");
                    let mut tcp = BufReader::new(tcp);
                    let mut took = Vec::new();
                    for round in rounds {
                        let parts = (0..SERIES / SAMPLES_A_REQUEST).skip(connection);
                        for part in parts.step_by(CONNECTIONS) {
                            let body = request(part, start + round * 1_000);
                            took.push(send(&mut tcp, receiver.path, &body));
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

fn measure(receiver: &Receiver) {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970");
    let start = now.as_millis() as i64 - 400_000;
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
}

/// A page of the receiver.
fn page(receiver: &Receiver, path: &str) -> String {
    let mut tcp = TcpStream::connect(("127.0.0.1", receiver.port)).expect("connected");
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    tcp.write_all(head.as_bytes()).expect("sent");
    let mut text = String::new();
    tcp.read_to_string(&mut text).expect("answered");
    text
}

/// A counter of ours, all its series added up.
fn counter(page: &str, name: &str) -> f64 {
    let lines = page.lines().filter(|l| l.starts_with(name));
    lines
        .filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// Sends more and more for 30 s.
fn burst(receiver: &Receiver) {
    let before = page(receiver, "/metrics");
    let (begun, mut sent, mut most) = (Instant::now(), 0.0_f64, 0);
    let (mut tcp, mut round, mut part) = (Vec::new(), 0_i64, 0);
    for _ in 0..CONNECTIONS {
        let one = TcpStream::connect(("127.0.0.1", receiver.port)).expect("connected");
        one.set_nodelay(true).expect("a socket");
        tcp.push(BufReader::new(one));
    }
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970");
    let start = now.as_millis() as i64 - 500_000;
    let mut slowest = Duration::ZERO;
    loop {
        let at = begun.elapsed().as_secs_f64();
        if at >= 30.0 {
            break;
        }
        // The integral of a rate that grows from 2,000 to 120,000 a second.
        let due = 2_000.0 * at + 118_000.0 / 60.0 * at * at;
        if sent >= due {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        }
        let body = request(part, start + round * 1_000);
        slowest = slowest.max(send(&mut tcp[part % CONNECTIONS], receiver.path, &body));
        sent += SAMPLES_A_REQUEST as f64;
        most = most.max(receiver.memory());
        part += 1;
        if part == SERIES / SAMPLES_A_REQUEST {
            (part, round) = (0, round + 1);
        }
    }
    let after = page(receiver, "/metrics");
    let grown = |name: &str| counter(&after, name) - counter(&before, name);
    assert!(
        grown("ops_samples_total") >= sent,
        "an acknowledged sample is missing"
    );
    assert!(grown("ops_samples_refused_total") + grown("ops_samples_repeated_total") == 0.0);
    assert!(
        grown("ops_ticks_skipped_total") == 0.0,
        "a tick was skipped"
    );
    println!(
        "burst to 120,000/s in 30 s, {} rules: {sent:.0} samples sent and there, {:.0} ticks, none skipped, slowest answer {:.1} ms, at most {most} MiB",
        RULES,
        grown("ops_ticks_total"),
        slowest.as_secs_f64() * 1e3
    );
}

/// Rules of the burst, each on all series.
const RULES: usize = 20;

fn main() {
    let ours = || {
        let path = "/api/v1/write";
        let ops = Receiver::start("ops", env!("CARGO_BIN_EXE_ops"), path, |dir, port| {
            for i in 0..RULES {
                let rule = format!(
                    "metric: http_request_duration_seconds_count\nwindow: 1m\nthreshold: {}\nnotify: [a@example.org]\n",
                    1e15 + i as f64
                );
                std::fs::write(dir.join(format!("alerts/r{i}.yml")), rule).expect("scratch folder");
            }
            let listen = format!("127.0.0.1:{port}");
            let data = dir.join("data").display().to_string();
            ["serve", "--listen", &listen, "--data", &data]
                .map(str::to_owned)
                .to_vec()
        });
        ops.expect("ops starts")
    };
    burst(&ours());
    for _ in 0..3 {
        let ops = Receiver::start(
            "ops",
            env!("CARGO_BIN_EXE_ops"),
            "/api/v1/write",
            |dir, port| {
                let listen = format!("127.0.0.1:{port}");
                let data = dir.join("data").display().to_string();
                ["serve", "--listen", &listen, "--data", &data]
                    .map(str::to_owned)
                    .to_vec()
            },
        );
        let prometheus = || {
            Receiver::start("prometheus", "prometheus", "/api/v1/write", |dir, port| {
                vec![
                    format!("--config.file={}", dir.join("empty.yml").display()),
                    format!("--storage.tsdb.path={}", dir.join("data").display()),
                    format!("--web.listen-address=127.0.0.1:{port}"),
                    "--web.enable-remote-write-receiver".to_owned(),
                ]
            })
        };
        let victoria = || {
            let path = "/api/v1/write";
            Receiver::start("victoria-metrics", "victoria-metrics", path, |dir, port| {
                vec![
                    format!("-storageDataPath={}", dir.join("data").display()),
                    format!("-httpListenAddr=127.0.0.1:{port}"),
                ]
            })
        };
        measure(&ops.expect("ops starts"));
        for other in [prometheus(), victoria()].into_iter().flatten() {
            measure(&other);
        }
    }
}
