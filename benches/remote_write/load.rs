//! Load that must not harm: no acknowledged sample may be lost, no tick missed, nobody else disturbed.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::receiver::{Connection, Receiver, now_ms};
use crate::sent::{body, series};
use crate::table::{Row, Table, figure};
use crate::{CONNECTIONS, SAMPLES_A_REQUEST, SERIES, ours, request};

/// Rules of the burst, each on all series.
const RULES: usize = 20;
/// Requests that are sent all at once, beyond capacity, and what each holds.
const FLOOD_REQUESTS: usize = 48;
const FLOOD_SERIES: usize = 50;
const FLOOD_SAMPLES: usize = 10_000;
/// How long the burst grows.
const BURST_S: f64 = 30.0;
/// Series of one bomb.
const BOMB_SERIES: usize = 520_000;
const BOMBS: usize = 5;

/// What must be there and what must not, and what it took.
fn told(table: &mut Table, case: &str, what: &str, ours: f64, unit: &str, most: Option<f64>) {
    table.row(Row {
        case: format!("{case}: {what}"),
        unit,
        ours: vec![ours],
        most,
        ..Row::default()
    });
}

/// From 2,000 to 120,000 samples a second within 30 s, with rules on all of these series; then kill -9.
pub fn burst(table: &mut Table) {
    let seconds = table.size(BURST_S, BURST_S / 5.0);
    let rules: Vec<String> = (0..RULES)
        .map(|i| {
            format!(
                "metric: http_request_duration_seconds_count\nwindow: 1m\nthreshold: {}\nnotify: [a@example.org]\n",
                1e15 + i as f64
            )
        })
        .collect();
    let mut ops = ours(&rules);
    let ticks = ops.counter("ops_ticks_total");
    let mut to: Vec<Connection> = (0..CONNECTIONS).map(|_| Connection::to(&ops)).collect();
    let (begun, mut sent, mut most) = (Instant::now(), 0.0_f64, 0);
    let (mut round, mut part) = (0_i64, 0);
    let start = now_ms() - 500_000;
    let mut slowest = Duration::ZERO;
    loop {
        let at = begun.elapsed().as_secs_f64();
        if at >= seconds {
            break;
        }
        // The integral of a rate that grows from 2,000 to 120,000 a second.
        let due = 2_000.0 * at + 118_000.0 / (2.0 * seconds) * at * at;
        if sent >= due {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        }
        let body = request(part, start + round * 1_000);
        slowest = slowest.max(to[part % CONNECTIONS].send(&ops, &body));
        sent += SAMPLES_A_REQUEST as f64;
        most = most.max(ops.memory());
        part += 1;
        if part == SERIES / SAMPLES_A_REQUEST {
            (part, round) = (0, round + 1);
        }
    }
    let ticks = ops.counter("ops_ticks_total") - ticks;
    let [refused, repeated, skipped] = ["samples_refused", "samples_repeated", "ticks_skipped"]
        .map(|name| ops.counter(&format!("ops_{name}_total")));
    assert_eq!((refused, repeated), (0.0, 0.0), "refused, or taken twice");
    assert!(
        skipped == 0.0 && ticks >= seconds - 1.0,
        "a tick was skipped"
    );
    drop(to);
    ops.die_and_start_again();
    let there = ops.asked("sum(count_over_time(http_request_duration_seconds_count[20m]))");
    assert_eq!(there, sent, "an acknowledged sample is lost");
    println!(
        "burst to 120,000/s in {seconds} s, {RULES} rules: {sent:.0} samples acknowledged, {there:.0} there after kill -9; \
         {ticks:.0} ticks of 1 s, none skipped; slowest answer {:.1} ms; at most {most} MiB",
        slowest.as_secs_f64() * 1e3
    );
    let case = format!("2,000 to 120,000 samples/s in {seconds} s, {RULES} rules on all series");
    let mut row = |what: &str, ours: f64, unit: &str, most| {
        told(table, &case, what, ours, unit, most);
    };
    let lost = "acknowledged and not there after kill -9";
    row("acknowledged", sent, "samples", None);
    row(lost, sent - there, "samples", Some(0.0));
    row("skipped", skipped, "ticks", Some(0.0));
    row(
        "the slowest answer",
        slowest.as_secs_f64() * 1e3,
        "ms",
        None,
    );
    row("memory at most", most as f64, "MiB", None);
}

/// A body of many samples of few series that nobody else sends.
fn flood(number: usize, start: i64) -> Vec<u8> {
    let all = (0..FLOOD_SERIES).map(|i| {
        let (number, i) = (number.to_string(), i.to_string());
        let labels = [
            ("__name__", "flood"),
            ("i", i.as_str()),
            ("request", number.as_str()),
        ];
        let samples: Vec<(i64, f64)> = (0..FLOOD_SAMPLES as i64)
            .map(|n| (start + n * 40, (n * 7) as f64))
            .collect();
        series(&labels, &samples)
    });
    body(all.collect())
}

/// Far more at once than may wait for the disk, while Prometheus sends as it always does.
pub fn capacity(table: &mut Table) {
    let ops = ours(&[]);
    let started = Receiver::start("sender", "prometheus", "", |dir, port| {
        let (to, own) = (ops.port, format!("127.0.0.1:{port}"));
        let config = format!(
            "global: {{scrape_interval: 500ms}}\nscrape_configs:\n- job_name: self\n  static_configs: [{{targets: ['{own}']}}]\n\
             remote_write:\n- url: http://127.0.0.1:{to}/api/v1/write\n  queue_config: {{batch_send_deadline: 200ms}}\n"
        );
        std::fs::write(dir.join("prometheus.yml"), config).expect("scratch folder");
        vec![
            format!("--config.file={}", dir.join("prometheus.yml").display()),
            format!("--storage.tsdb.path={}", dir.join("data").display()),
            format!("--web.listen-address={own}"),
        ]
    });
    let held = || ops.asked("sum(count_over_time(up[10m]))");
    let patience = Instant::now();
    while started.is_some() && held() < 4.0 {
        assert!(
            patience.elapsed() < Duration::from_secs(30),
            "it sends nothing"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    let start = now_ms() - 450_000;
    let bodies: Vec<Vec<u8>> = (0..FLOOD_REQUESTS).map(|n| flood(n, start)).collect();
    let (told_429, most) = (AtomicU64::new(0), AtomicU64::new(0));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for body in &bodies {
            scope.spawn(|| {
                let mut to = Connection::to(&ops);
                loop {
                    let answer = to.post(ops.path, body);
                    most.fetch_max(ops.memory(), Ordering::Relaxed);
                    if answer.status == 204 {
                        return;
                    }
                    assert_eq!(answer.status, 429, "{}", answer.body);
                    assert!(answer.head.contains("retry-after: 1"), "{}", answer.head);
                    told_429.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_secs(1));
                }
            });
        }
    });
    let (took, told_429) = (begun.elapsed(), told_429.load(Ordering::Relaxed));
    assert!(told_429 > 0, "all of it was within capacity");
    let wanted = (FLOOD_REQUESTS * FLOOD_SERIES * FLOOD_SAMPLES) as f64;
    let taken = ops.counter("ops_samples_total");
    assert!(taken >= wanted, "an acknowledged sample is missing");
    println!(
        "beyond capacity: {FLOOD_REQUESTS} requests at once of {} samples, {told_429} times 429 with Retry-After, all {wanted:.0} \
         taken within {:.1} s; at most {} MiB",
        FLOOD_SERIES * FLOOD_SAMPLES,
        took.as_secs_f64(),
        most.load(Ordering::Relaxed)
    );
    let case = format!(
        "{FLOOD_REQUESTS} requests of {} samples at once",
        figure((FLOOD_SERIES * FLOOD_SAMPLES) as f64)
    );
    let mut row = |what: &str, ours: f64, unit: &str, most| {
        told(table, &case, what, ours, unit, most);
    };
    let refused = "told to come again (429 with `Retry-After`)";
    row(refused, told_429 as f64, "answers", None);
    row("all taken within", took.as_secs_f64(), "s", None);
    let most = most.load(Ordering::Relaxed) as f64;
    row("memory at most", most, "MiB", None);
    let Some(sender) = started else {
        println!("SKIPPED: prometheus is not installed, and did not send meanwhile");
        return;
    };
    let before = held();
    while held() < before + 8.0 {
        std::thread::sleep(Duration::from_millis(100));
    }
    let [retried, failed] = ["retried", "failed"]
        .map(|name| sender.counter(&format!("prometheus_remote_storage_samples_{name}_total")));
    let (own, there) = (times_of_up(&sender), times_of_up(&ops));
    let lost: Vec<&String> = own.difference(&there).collect();
    // What it scraped last may still be on its way.
    let newest = there.last().expect("it sends");
    let lost = lost.iter().filter(|at| *at < &newest).count();
    assert_eq!((failed, lost), (0.0, 0), "samples are lost");
    println!(
        "    Prometheus as the sender meanwhile: {retried:.0} samples sent again, none given up; of its {} samples of `up` \
         none is missing here",
        own.len()
    );
    let sending = "samples that Prometheus sends meanwhile";
    row(sending, own.len() as f64, "samples of `up`", None);
    let missing = "missing of them, or given up";
    row(missing, failed + lost as f64, "samples", Some(0.0));
}

/// When `up` has a sample, as one receiver tells it; in order, as all times have the same length.
fn times_of_up(receiver: &Receiver) -> BTreeSet<String> {
    let page = receiver.page("/api/v1/query?query=up[10m]");
    let value: serde_json::Value = serde_json::from_str(&page).expect("JSON");
    let points = value["data"]["result"][0]["values"].as_array();
    let times = points.expect("points").iter();
    times
        .map(|p| format!("{:.3}", p[0].as_f64().expect("a time")))
        .collect()
}

/// Labels that never have the same value twice: bounds for one metric and for all, and who was there goes on.
pub fn bomb(table: &mut Table) {
    let ops = ours(&[]);
    let (mut to, begun) = (Connection::to(&ops), Instant::now());
    let good = |value: f64| body(vec![series(&[("__name__", "good")], &[(now_ms(), value)])]);
    to.send(&ops, &good(1.0));
    let mut taken = [0_usize; BOMBS];
    for (bomb, taken) in taken.iter_mut().enumerate() {
        let name = format!("bomb{bomb}");
        for from in (0..BOMB_SERIES).step_by(10_000) {
            let ts = now_ms();
            let all = (from..from + 10_000).map(|i| {
                let id = format!("{i:032x}");
                series(&[("__name__", &name), ("id", &id)], &[(ts, 1.0)])
            });
            let answer = to.post(ops.path, &body(all.collect()));
            assert!(matches!(answer.status, 204 | 400), "{}", answer.body);
            let written = "x-prometheus-remote-write-samples-written: ";
            let written = answer.head.lines().find_map(|l| l.strip_prefix(written));
            *taken += written
                .and_then(|n| n.trim().parse::<usize>().ok())
                .expect("a count");
        }
    }
    to.send(&ops, &good(2.0));
    std::thread::sleep(Duration::from_millis(10));
    let [metric, all] = ["metric", "series"].map(|l| {
        ops.counter(&format!(
            "ops_samples_refused_total{{reason=\"{l}_limit\"}}"
        ))
    });
    assert_eq!(taken[0], 500_000, "the bound of one metric");
    assert!(taken.iter().sum::<usize>() < 2_000_000, "the bound of all");
    let refused = taken.iter().map(|t| BOMB_SERIES - t).sum::<usize>();
    assert_eq!(metric + all, refused as f64, "what was refused is counted");
    let patience = Instant::now();
    while ops.asked("good") != 2.0 {
        assert!(
            patience.elapsed() < Duration::from_secs(30),
            "others are harmed"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    println!(
        "bombs: {BOMBS} metrics of {BOMB_SERIES} series each; taken {taken:?}, refused {metric:.0} by the bound of a metric and \
         {all:.0} by that of all; others go on; {:.0} s, {} MiB, {:.0} ticks skipped",
        begun.elapsed().as_secs_f64(),
        ops.memory(),
        ops.counter("ops_ticks_skipped_total")
    );
    let case = format!(
        "{BOMBS} metrics of {} new series each",
        figure(BOMB_SERIES as f64)
    );
    let mut row = |what: &str, ours: f64, unit: &str, most| {
        told(table, &case, what, ours, unit, most);
    };
    let taken_of_one = taken.iter().copied().max().unwrap_or(0) as f64;
    let taken_of_all = taken.iter().sum::<usize>() as f64;
    row("taken of one", taken_of_one, "series", Some(500_000.0));
    row("taken of all", taken_of_all, "series", Some(2_000_000.0));
    row("refused and counted", refused as f64, "series", None);
    row("memory then", ops.memory() as f64, "MiB", None);
}
