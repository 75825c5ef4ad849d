//! Native histograms by remote write: kept through a kill, asked for, recorded and alerted on; and the same answers as
//! Prometheus gives, which got the same bodies.

use serde_json::{Value, json};

use super::push::write;
use super::sent::{Count, Histogram, Series, Span, Zero, body, series};
use super::whole::histogram;
use super::{now_ms, serving};
use crate::lab::{Hooks, Lab, until};
use crate::peer::Peer;

/// A series of histograms that count on: five, 10 seconds apart, the last one at `now`.
fn counting(name: &str, now: i64) -> Series {
    let mut all = series(&[("__name__", name), ("job", "api")], &[]);
    all.histograms = (0..5)
        .map(|n| {
            let buckets = [(1, 1_000 + 40 * n), (2, 1_000 + 40 * n), (5, 30)];
            histogram(
                now - 40_000 + 10_000 * n,
                7,
                &buckets,
                1e4 + 100.0 * n as f64,
            )
        })
        .collect();
    all
}

/// What an answer of the API holds, without what names it.
async fn ask(lab: &Lab, query: &str, at: i64) -> Value {
    let at = at as f64 / 1_000.0;
    let path = format!("/api/v1/query?query={}&time={at}", encoded(query));
    let (status, answer) = lab.get(&path).await;
    assert_eq!(status, 200, "{query}: {answer}");
    answer["data"]["result"].clone()
}

fn encoded(text: &str) -> String {
    let plain = |b: &u8| b.is_ascii_alphanumeric();
    let one = |b: u8| match plain(&b) {
        true => char::from(b).to_string(),
        false => format!("%{b:02X}"),
    };
    text.bytes().map(one).collect()
}

const RULES: &str = "groups:
- name: latency
  interval: 1s
  rules:
  - record: job:latency:rate1m
    expr: sum by (job) (rate(latency[1m]))
  - alert: Slow
    expr: histogram_quantile(0.9, job:latency:rate1m) > 3
    labels: {severity: info}
    annotations: {summary: '{{ $labels.job }} after {{ query \"histogram_count(latency)\" | first | value }}: {{ $value | humanize }}'}
";

#[tokio::test(flavor = "multi_thread")]
async fn native_histograms_outlive_a_kill_and_feed_rules() {
    let mut lab = Lab::new("ingest");
    let hooks = Hooks::open().await;
    lab.write("ops.yaml", &hooks.settings(&["hook"]));
    lab.write("alerts/latency.yml", RULES);
    lab.serve().await;
    let now = now_ms();
    let mut wrong = counting("wrong", now);
    wrong.histograms[2].schema = 40;
    let sent = body(vec![
        counting("latency", now),
        wrong,
        series(&[("__name__", "up")], &[(now, 1.0)]),
    ]);
    let (status, told) = write(&lab, sent.clone()).await;
    assert_eq!(status, 400);
    assert!(
        told.contains("1 refused, 10 taken: item 7, field `histograms`: there is no schema 40"),
        "{told}"
    );
    let newest = json!([{
        "metric": {"__name__": "latency", "job": "api"},
        "histogram": [now as f64 / 1_000.0, {
            "count": "2357", "sum": "10400",
            "buckets": [
                [3, "-0.001", "0.001", "7"],
                [0, "1", "2", "1160"],
                [0, "2", "4", "1160"],
                [0, "16", "32", "30"],
            ],
        }],
    }]);
    assert_eq!(ask(&lab, "latency", now).await, newest);
    until("the rule pages", async || !hooks.about("Slow").is_empty()).await;
    let summary = hooks.about("Slow")[0].says("summary").to_owned();
    assert!(summary.starts_with("api after 2357: 3."), "{summary}");
    // Recorded for two seconds and longer on disk than the sample log needs: the same before and after.
    let recorded = async |lab: &Lab, at: i64| {
        let found = ask(lab, "count_over_time(job:latency:rate1m[1m])", at).await;
        let found = found[0]["value"][1].as_str().and_then(|v| v.parse().ok());
        found.unwrap_or(0_u32)
    };
    let mut at = now;
    until("some are recorded", async || {
        at = now_ms() - 1_500;
        recorded(&lab, at).await >= 2
    })
    .await;
    let before = recorded(&lab, at).await;
    lab.kill();
    lab.serve().await;
    // Once from the log; after a stop, from the image.
    for _ in 0..2 {
        assert_eq!(ask(&lab, "latency", now).await, newest);
        let rate = ask(&lab, "histogram_count(rate(latency[1m]))", now).await;
        let rate: f64 = rate[0]["value"][1].as_str().unwrap().parse().unwrap();
        // 80 in 10 seconds, for 40 seconds and half of another 10, in a minute.
        assert!((rate - 6.0).abs() < 1e-9, "{rate}");
        assert_eq!(recorded(&lab, at).await, before);
        let (_, found) = lab.get("/api/v1/series?match[]=latency").await;
        assert_eq!(
            found["data"],
            json!([{"__name__": "latency", "job": "api"}])
        );
        // What was taken is known, though something of the delivery was refused.
        let (status, told) = write(&lab, sent.clone()).await;
        assert!(status == 400 && told.contains("\"refused\":1"), "{told}");
        let mut other = counting("latency", now);
        other.histograms.drain(..4);
        other.histograms[0].sum = 5.0;
        let (status, told) = write(&lab, body(vec![other])).await;
        assert!(status == 400 && told.contains("duplicate"), "{told}");
        lab.stop().await;
        let image = std::fs::read_dir(lab.dir.join("data/windows")).unwrap();
        assert!(image.count() > 0);
        lab.serve().await;
    }
    // From the image and the log behind it.
    let mut later = counting("latency", now + 10_000);
    later.histograms.drain(..4);
    assert_eq!(write(&lab, body(vec![later])).await.0, 204);
    lab.kill();
    lab.serve().await;
    let count = ask(&lab, "count_over_time(latency[2m])", now + 10_000).await;
    assert_eq!(count[0]["value"][1], "6");
    let refused = "ops_samples_refused_total{reason=\"late\"}";
    assert_eq!(lab.counted(refused).await, Some(0.0));
    lab.stop().await;
}

/// A histogram with counts that are no whole numbers, and observations below zero.
fn gauge(ts: i64, factor: f64) -> Histogram {
    Histogram {
        count: Some(Count::Float(7.5 * factor)),
        sum: -3.25 * factor,
        schema: 3,
        zero_threshold: 0.01,
        zero_count: Some(Zero::Float(0.5 * factor)),
        negative_spans: vec![Span {
            offset: -2,
            length: 1,
        }],
        negative_counts: vec![1.5 * factor],
        positive_spans: vec![
            Span {
                offset: 1,
                length: 2,
            },
            Span {
                offset: 4,
                length: 1,
            },
        ],
        positive_counts: vec![factor, 2.0 * factor, 2.5 * factor],
        reset_hint: 3,
        timestamp: ts,
        ..Histogram::default()
    }
}

/// Numbers as texts of another release may differ in their last digit.
fn rounded(answer: &Value) -> Value {
    match answer {
        Value::String(text) => match text.parse::<f64>() {
            Ok(n) if n.is_finite() => json!(format!("{n:.9e}")),
            _ => answer.clone(),
        },
        Value::Array(all) => all.iter().map(rounded).collect(),
        Value::Object(all) => all.iter().map(|(k, v)| (k.clone(), rounded(v))).collect(),
        other => other.clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_answers_the_same_of_the_same_histograms() {
    let flags = [
        "--enable-feature=native-histograms",
        "--web.enable-remote-write-receiver",
    ];
    let settings = |_| "global: {scrape_interval: 1h}\n".to_owned();
    let Some(peer) = Peer::start(settings, &flags).await else {
        return;
    };
    let mut lab = serving("").await;
    let now = now_ms();
    let mut gauges = series(&[("__name__", "gauge")], &[]);
    let at = |n: i64| now - 40_000 + 10_000 * n;
    gauges.histograms = (0..5).map(|n| gauge(at(n), 1.0 + n as f64)).collect();
    let mut mixed = series(&[("__name__", "mixed")], &[(at(0), 1.0), (at(1), 2.0)]);
    mixed.histograms = (2..5).map(|n| gauge(at(n), 2.0)).collect();
    let mut reset = counting("reset", now);
    reset.histograms[4] = histogram(now, 1, &[(1, 3)], 4.0);
    let mut ended = counting("ended", now - 5_000);
    ended.histograms.push(Histogram {
        sum: f64::from_bits(ops::engine::promql::source::STALE_BITS),
        count: Some(Count::Int(0)),
        timestamp: now - 1_000,
        ..Histogram::default()
    });
    // Its quantiles lie at a bound: between bounds that release does not interpolate as later ones do.
    let mut even = series(&[("__name__", "even")], &[]);
    even.histograms = (0..5)
        .map(|n| histogram(at(n), 0, &[(1, 900 + 40 * n), (2, 900 + 40 * n)], 9.0))
        .collect();
    let all = vec![counting("h", now), gauges, mixed, reset, ended, even];
    let sent = body(all);
    assert_eq!(write(&lab, sent.clone()).await.0, 204);
    let request = reqwest::Client::new()
        .post(peer.url("/api/v1/write"))
        .header("content-encoding", "snappy")
        .header("content-type", "application/x-protobuf")
        .header("x-prometheus-remote-write-version", "0.1.0")
        .body(sent);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 204, "{}", answer.text().await.unwrap());
    // Functions over time but these do not know histograms in that release.
    let queries = [
        "h",
        "h offset 15s",
        "gauge",
        "mixed",
        "mixed offset 30s",
        "ended",
        "ended offset 2s",
        "rate(h[41s])",
        "increase(reset[41s])",
        "rate(mixed[15s])",
        "sum by (job) (rate({__name__=~\"h|reset\"}[41s]))",
        "histogram_count(rate(h[41s]))",
        "histogram_sum(h)",
        "histogram_quantile(0.5, even)",
        "histogram_quantile(1, rate(h[41s]))",
        "histogram_fraction(-Inf, 2, h)",
        "histogram_count(gauge)",
        "count_over_time(mixed[2m])",
        "h + on () group_left reset",
        "count(h)",
        "timestamp(gauge)",
    ];
    let mut apart = String::new();
    for turn in ["at once", "after a kill"] {
        for query in queries {
            let text = encoded(query);
            let point = format!("/api/v1/query?query={text}&time={}", now as f64 / 1e3);
            let (from, to) = ((now - 45_000) as f64 / 1e3, (now + 5_000) as f64 / 1e3);
            let line = format!("/api/v1/query_range?query={text}&start={from}&end={to}&step=7");
            for path in [point, line] {
                let theirs = reqwest::get(peer.url(&path)).await.unwrap();
                let theirs: Value = serde_json::from_str(&theirs.text().await.unwrap()).unwrap();
                let (_, ours) = lab.get(&path).await;
                if rounded(&ours["data"]) != rounded(&theirs["data"]) {
                    apart += &format!("{turn}: {query}\n{ours}\n{theirs}\n");
                }
            }
        }
        lab.kill();
        lab.serve().await;
    }
    assert!(apart.is_empty(), "{apart}");
    lab.stop().await;
}
