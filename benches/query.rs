//! Range queries over 1,000 series and an hour, at a step of 15 s, over HTTP: ours, and in the same run Prometheus and
//! VictoriaMetrics (Debian's `prometheus` and `victoria-metrics`, where they are installed), with the same samples.
//! Prometheus must answer the same; VictoriaMetrics has another `rate`, and must answer as many series. The floor is that
//! the samples, in plain arrays, are copied and summed.
//!
//! `cargo bench --bench query`

use std::hint::black_box;
use std::path::Path;
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
use peers::{prometheus, victoria};
use receiver::{Connection, Receiver};
use sent::{body, series};
use serde_json::Value;
use table::{Row, Table};

mod peers;
#[expect(dead_code, reason = "shared with another bench, which uses more of it")]
mod receiver;
#[path = "../src/ingest/remote_write/sent.rs"]
mod sent;
mod table;

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

/// Sends the same samples to another program, oldest first.
fn fill(receiver: &Receiver, start: i64) {
    let mut to = Connection::to(receiver);
    for step in 0..=BEFORE + STEPS {
        let all = (0..SERIES).map(|n| {
            let (instance, zone) = (n.to_string(), (n % 20).to_string());
            let labels = [
                ("__name__", "requests_total"),
                ("instance", instance.as_str()),
                ("zone", zone.as_str()),
            ];
            series(&labels, &[(start + step * STEP_MS, value(n, step))])
        });
        to.send(receiver, &body(all.collect()));
    }
}

/// The answer, and the shortest of some times that it takes.
async fn time(url: &str, query: &str, start: i64, times: usize) -> (Value, Wall) {
    let client = reqwest::Client::new();
    let (from, to) = (start + BEFORE * STEP_MS, start + (BEFORE + STEPS) * STEP_MS);
    let form = format!(
        "query={}&start={}&end={}&step=15&nocache=1",
        query.replace('+', "%2B"),
        from / 1_000,
        to / 1_000
    );
    let mut best = Wall::MAX;
    let mut answer = Value::Null;
    for _ in 0..times {
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
    let mut table = Table::open("query", &["prometheus", "victoria-metrics"]);
    let data = std::env::temp_dir().join(format!("ops-bench-query-{}", std::process::id()));
    std::fs::create_dir_all(&data).expect("a folder");
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = i64::try_from(now.unwrap_or_default().as_millis()).unwrap_or_default();
    let start = (now / STEP_MS - BEFORE - STEPS) * STEP_MS;
    write_ours(&data, start);
    let our = ours(&data).await;
    let peers = [
        ("Prometheus", prometheus(|_| "empty.yml")),
        ("VictoriaMetrics", victoria()),
    ];
    for (name, peer) in &peers {
        match peer {
            Some(peer) => fill(peer, start),
            None => println!("SKIPPED {name}: not installed"),
        }
    }
    if let (_, Some(victoria)) = &peers[1] {
        // What it took in the last second is not looked at before this.
        victoria.page("/internal/force_flush");
    }
    let (floor, times) = (floor(), table.size(15, 3));
    println!(
        "floor: {SERIES} series x {STEPS} steps copied and summed in plain arrays {:.2} ms",
        ms(floor)
    );
    for query in QUERIES {
        let (answer, took) = time(&our, query, start, times).await;
        assert_eq!(answer["status"], "success", "{answer}");
        print!(
            "{query:<52} ours {:>7.2} ms ({:>4.0} x floor)",
            ms(took),
            took.as_secs_f64() / floor.as_secs_f64()
        );
        let mut row = |beside, theirs: Option<Wall>| {
            table.row(Row {
                case: format!("`{query}`"),
                unit: "ms",
                ours: vec![ms(took)],
                beside,
                theirs: theirs.map(ms).into_iter().collect(),
                ..Row::default()
            });
        };
        for (name, peer) in &peers {
            let Some(peer) = peer else {
                row(name, None);
                continue;
            };
            let url = format!("http://127.0.0.1:{}", peer.port);
            let (expected, theirs) = time(&url, query, start, times).await;
            if *name == "Prometheus" {
                assert!(
                    same(&answer["data"], &expected["data"]),
                    "{query}: answers differ"
                );
            }
            let series = |a: &Value| a["data"]["result"].as_array().map(Vec::len);
            assert_eq!(series(&answer), series(&expected), "{query}, {name}");
            print!(
                ", {name} {:>7.2} ms, ratio {:.2}",
                ms(theirs),
                theirs.as_secs_f64() / took.as_secs_f64()
            );
            row(name, Some(theirs));
        }
        row("samples copied and summed in plain arrays", Some(floor));
        println!();
    }
    drop(peers);
    let _ = std::fs::remove_dir_all(&data);
    table.write();
}
