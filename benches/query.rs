//! Range queries over 1,000 series and an hour, at a step of 15 s, over HTTP: ours, and Debian's Prometheus in the same
//! run if it is installed, with the same samples and the same answers. The floor is that the samples, in plain arrays,
//! are copied and summed.
//!
//! `cargo bench --bench query` (needs Debian's package `prometheus` for the comparison)

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration as Wall, Instant, SystemTime, UNIX_EPOCH};

use ops::api::{Api, router, serve};
use ops::journal::samples::{Encoder, Sample};
use ops::model::labels::{Labels, SeriesKey};
use ops::model::time::{Duration, Timestamp};
use ops::shell::drive::KIND_SAMPLES;
use ops::shell::drive::start::Start;
use ops::shell::store::Log;
use ops::shell::store::log::{Options, SegLog};
use serde_json::Value;

const SERIES: u32 = 1_000;
const STEP_MS: i64 = 15_000;
/// Steps of a query.
const STEPS: i64 = 240;
/// Steps before it: its first windows are full.
const BEFORE: i64 = 40;
const QUERIES: [&str; 5] = [
    "requests_total",
    "sum(requests_total)",
    "rate(requests_total[5m])",
    "sum(rate(requests_total[5m]))",
    "topk(5, sum by (zone) (rate(requests_total[5m])))",
];

fn value(series: u32, step: i64) -> f64 {
    (step * i64::from(series + 1) % 1_000_003) as f64
}

fn key(series: u32) -> SeriesKey {
    let labels = Labels::new()
        .with("instance", &series.to_string())
        .with("zone", &(series % 20).to_string());
    SeriesKey::new("requests_total", &labels)
}

/// A sample log as a running server would have written it.
fn write_ours(data: &Path, start: i64) {
    let (mut log, _) = SegLog::open(&data.join("samples"), Options::default()).expect("a log");
    let mut encoder = Encoder::new(1);
    let keys: Vec<SeriesKey> = (0..SERIES).map(key).collect();
    for step in 0..=BEFORE + STEPS {
        let ts = start + step * STEP_MS;
        let samples: Vec<Sample> = (0..SERIES)
            .map(|series| Sample {
                series,
                ts,
                value: value(series, step),
            })
            .collect();
        let segment = log.reserve(64 + samples.len() * 24).expect("room");
        let mut payload = Vec::new();
        let name = |n: u32| keys.get(n as usize).map_or(&[][..], SeriesKey::bytes);
        let at = Timestamp::from_ms(ts);
        encoder.encode(segment, at, &[], &samples, name, &mut payload);
        log.append(KIND_SAMPLES, &payload).expect("append");
    }
    log.commit().expect("commit");
}

/// Serves these samples; the address.
async fn ours(data: &Path) -> String {
    let start = Start {
        data,
        policy: Arc::default(),
        tick: Duration::from_secs(1),
        retention: Duration::from_hours(24),
        snapshot_interval: Duration::from_hours(24),
        sync_every: None,
    };
    let ready = start.open().expect("open the data folder");
    let handle = ready.handle();
    ready.go(|_| {});
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("an address");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let routes = router(Api {
        handle,
        loaded: Arc::default(),
        reload: std::sync::mpsc::channel().0,
        data: data.to_owned(),
        runbooks: data.join("runbooks"),
        exposed: false,
    });
    tokio::spawn(serve(listener, routes, std::future::pending()));
    url
}

struct Prometheus(Child, String);

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Debian's Prometheus with the same samples; `None`: it is not installed.
fn theirs(data: &Path, start: i64) -> Option<Prometheus> {
    let mut text = String::new();
    for series in 0..SERIES {
        for step in 0..=BEFORE + STEPS {
            let at = (start + step * STEP_MS) / 1_000;
            let _ = writeln!(
                text,
                "requests_total{{instance=\"{series}\",zone=\"{}\"}} {} {at}",
                series % 20,
                value(series, step)
            );
        }
    }
    let samples = data.join("samples.om");
    std::fs::write(&samples, text + "# EOF\n").expect("write the samples");
    std::fs::write(data.join("prometheus.yml"), "").expect("write a configuration");
    let blocks = Command::new("promtool")
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .args([&samples, &data.join("tsdb")])
        .stdout(Stdio::null())
        .status()
        .ok()?;
    assert!(blocks.success(), "promtool makes no blocks");
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    let address = free.expect("an address").to_string();
    let child = Command::new("prometheus")
        .arg(format!("--web.listen-address={address}"))
        .arg(format!(
            "--storage.tsdb.path={}",
            data.join("tsdb").display()
        ))
        .arg(format!(
            "--config.file={}",
            data.join("prometheus.yml").display()
        ))
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    Some(Prometheus(child, format!("http://{address}")))
}

/// The answer, and the shortest of some times that it takes.
async fn time(url: &str, query: &str, start: i64) -> (Value, Wall) {
    let client = reqwest::Client::new();
    let (from, to) = (start + BEFORE * STEP_MS, start + (BEFORE + STEPS) * STEP_MS);
    let form = format!(
        "query={}&start={}&end={}&step=15",
        query.replace('+', "%2B"),
        from / 1_000,
        to / 1_000
    );
    let mut best = Wall::MAX;
    let mut answer = Value::Null;
    for _ in 0..15 {
        let began = Instant::now();
        let request = client
            .post(format!("{url}/api/v1/query_range"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.clone());
        let body = request.send().await.expect("an answer").bytes().await;
        let body = body.expect("an answer");
        best = best.min(began.elapsed());
        answer = serde_json::from_slice(&body).expect("JSON");
    }
    (answer, best)
}

fn floor() -> Wall {
    let plain: Vec<Vec<f64>> = (0..SERIES)
        .map(|n| (0..=STEPS).map(|step| value(n, step)).collect())
        .collect();
    let once = || {
        let began = Instant::now();
        let copy = black_box(&plain).clone();
        let mut sums = vec![0.0; copy.first().map_or(0, Vec::len)];
        for values in &copy {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += value;
            }
        }
        black_box(sums);
        began.elapsed()
    };
    (0..9).map(|_| once()).min().unwrap_or_default()
}

fn ms(wall: Wall) -> f64 {
    wall.as_secs_f64() * 1e3
}

/// Whether two answers are one, but for the last digits of numbers.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let sorted = |m: &serde_json::Map<String, Value>| {
                let mut keys: Vec<String> = m.keys().cloned().collect();
                keys.sort();
                keys
            };
            sorted(a) == sorted(b) && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| same(v, w)))
        }
        (Value::String(a), Value::String(b)) => match (a.parse::<f64>(), b.parse::<f64>()) {
            (Ok(a), Ok(b)) => (a - b).abs() <= 1e-9 * a.abs(),
            _ => a == b,
        },
        (a, b) => a == b,
    }
}

#[tokio::main]
async fn main() {
    let data = std::env::temp_dir().join(format!("ops-bench-query-{}", std::process::id()));
    std::fs::create_dir_all(&data).expect("a folder");
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = i64::try_from(now.unwrap_or_default().as_millis()).unwrap_or_default();
    let start = (now / STEP_MS - BEFORE - STEPS) * STEP_MS;
    write_ours(&data, start);
    let our = ours(&data).await;
    let their = theirs(&data, start);
    if let Some(Prometheus(_, url)) = &their {
        let ready = format!("{url}/-/ready");
        let began = Instant::now();
        while !reqwest::get(&ready).await.is_ok_and(|r| r.status() == 200) {
            assert!(
                began.elapsed() < Wall::from_secs(60),
                "Prometheus does not start"
            );
            tokio::time::sleep(Wall::from_millis(50)).await;
        }
    } else {
        println!("SKIPPED the comparison: prometheus is not installed");
    }
    let floor = floor();
    println!(
        "floor: {SERIES} series x {STEPS} steps copied and summed in plain arrays {:.2} ms",
        ms(floor)
    );
    for query in QUERIES {
        let (answer, took) = time(&our, query, start).await;
        assert_eq!(answer["status"], "success", "{answer}");
        print!(
            "{query:<52} ours {:>7.2} ms ({:>4.0} x floor)",
            ms(took),
            took.as_secs_f64() / floor.as_secs_f64()
        );
        if let Some(Prometheus(_, url)) = &their {
            let (expected, theirs) = time(url, query, start).await;
            assert!(
                same(&answer["data"], &expected["data"]),
                "{query}: answers differ"
            );
            print!(
                ", Prometheus {:>7.2} ms, ratio {:.2}",
                ms(theirs),
                took.as_secs_f64() / theirs.as_secs_f64()
            );
        }
        println!();
    }
    drop(their);
    let _ = std::fs::remove_dir_all(&data);
}
