//! Remote write and text push, as their senders see them.

use std::sync::atomic::Ordering;

use reqwest::{Method, RequestBuilder};

use super::world::{World, answer, value, world, zipped};
use crate::engine::promql::source::STALE_BITS;
use crate::ingest::metadata::Kind;
use crate::ingest::remote_write::sent::{About, Request, Series, body, packed, series};
use crate::shell::clock::wall;
use prost::Message;

/// A request as Prometheus sends it.
fn write(w: &World, body: Vec<u8>) -> RequestBuilder {
    w.ask(Method::POST, "/api/v1/write")
        .header("content-encoding", "snappy")
        .header("content-type", "application/x-protobuf")
        .header("user-agent", "Prometheus/3.5.0")
        .header("x-prometheus-remote-write-version", "0.1.0")
        .body(body)
}

fn up(samples: &[(i64, f64)]) -> Series {
    series(&[("job", "api"), ("__name__", "up")], samples)
}

/// A reason without the time in it.
fn timeless(reason: &str) -> String {
    match reason.split_once(" at ") {
        Some((about, rest)) => {
            let (_, why) = rest.split_once("Z: ").unwrap();
            format!("{about} at …: {why}")
        }
        None => reason.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn remote_write_is_kept_to_the_last_bit_and_a_repetition_counts_once() {
    let w = world(Vec::new()).await;
    let now = wall().ms();
    let values = [
        (now - 2, 1.5),
        (now - 1, f64::INFINITY),
        (now, f64::from_bits(STALE_BITS)),
    ];
    let sent = body(vec![up(&values)]);
    for _ in 0..2 {
        let response = write(&w, sent.clone()).send().await.unwrap();
        assert_eq!(response.status(), 204);
        let written = &response.headers()["x-prometheus-remote-write-samples-written"];
        assert_eq!(written, "3");
    }
    let wanted = values.map(|(t, v)| (t, v.to_bits()));
    assert_eq!(w.samples("up{job=\"api\"}").await, wanted);
    assert_eq!(w.handle.status.repeated_total.load(Ordering::Relaxed), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_is_named_and_harms_nothing_else() {
    let w = world(Vec::new()).await;
    let now = wall().ms();
    assert_eq!(
        answer(write(&w, body(vec![up(&[(now, 1.0)])]))).await.0,
        204
    );
    let partly = body(vec![
        up(&[
            (now - 11_000_000, 1.0),
            (now - 5_000, 5.0),
            (now, 2.0),
            (now + 700_000, 1.0),
            (now + 1, 3.0),
        ]),
        series(&[("job", "nameless")], &[(now, 1.0)]),
        series(&[("__name__", "good")], &[(now, 7.0)]),
    ]);
    let response = write(&w, partly).send().await.unwrap();
    assert_eq!(response.status(), 400);
    let headers = response.headers().clone();
    assert_eq!(headers["x-prometheus-remote-write-samples-written"], "2");
    let told = value(&response.text().await.unwrap());
    assert_eq!(
        (&told["accepted"], &told["refused"]),
        (&2.into(), &5.into())
    );
    let errors: Vec<String> = told["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| {
            format!(
                "{} {}: {}",
                e["index"],
                e["field"].as_str().unwrap(),
                timeless(e["reason"].as_str().unwrap())
            )
        })
        .collect();
    expect_test::expect![[r#"
        0 ts: up{job="api"} at …: too late: the limit is 3h in the past
        1 ts: up{job="api"} at …: out of order: it has a newer sample
        2 value: up{job="api"} at …: duplicate: it has another value at that time
        3 ts: up{job="api"} at …: too far ahead: the limit is 10m in the future
        5 labels: this series has no metric's name"#]]
    .assert_eq(&errors.join("\n"));
    let bits = |v: f64| v.to_bits();
    assert_eq!(
        w.samples("up{job=\"api\"}").await,
        [(now, bits(1.0)), (now + 1, bits(3.0))]
    );
    assert_eq!(w.samples("good").await.len(), 1);
    let metrics = w.get("/metrics").await.1;
    for counted in [
        "out_of_order\"} 1",
        "duplicate\"} 1",
        "malformed\"} 1",
        "late\"} 1",
        "future\"} 1",
    ] {
        let line = format!("ops_samples_refused_total{{reason=\"{counted}");
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_remote_write_is_refused_as_a_whole() {
    let w = world(Vec::new()).await;
    let good = body(vec![up(&[(wall().ms(), 1.0)])]);
    let ask = || w.ask(Method::POST, "/api/v1/write");
    let v2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
    let v1 = "application/x-protobuf; proto=prometheus.WriteRequest";
    for (request, wanted, word) in [
        (write(&w, b"no".to_vec()), 400, "snappy"),
        (write(&w, packed(b"hello")), 400, "WriteRequest"),
        (write(&w, packed(&vec![0; (64 << 20) + 1])), 413, "64 MiB"),
        (
            ask().header("content-type", v2).body(good.clone()),
            415,
            "1.0",
        ),
        (
            ask()
                .header("content-type", "application/json")
                .body(good.clone()),
            415,
            "protobuf",
        ),
        (
            ask().header("content-encoding", "zstd").body(good.clone()),
            415,
            "snappy",
        ),
        (ask().header("content-type", v1).body(good.clone()), 204, ""),
        (ask().body(good.clone()), 204, ""),
        (write(&w, packed(b"")), 204, ""),
    ] {
        let (status, text) = answer(request).await;
        assert_eq!(status, wanted, "{text}");
        assert!(text.contains(word), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_is_told_to_wait_in_the_word_that_it_understands() {
    let w = world(Vec::new()).await;
    let queued = &w.handle.status.queued_samples;
    queued.store(usize::MAX / 2, Ordering::Relaxed);
    let good = body(vec![up(&[(wall().ms(), 1.0)])]);
    let prometheus = write(&w, good.clone()).send().await.unwrap();
    assert_eq!(prometheus.status(), 503);
    assert_eq!(prometheus.headers()["retry-after"], "1");
    let other = w.ask(Method::POST, "/api/v1/write").body(good.clone());
    let other = other.send().await.unwrap();
    assert_eq!(other.status(), 429);
    assert_eq!(other.headers()["retry-after"], "1");
    queued.store(0, Ordering::Relaxed);
    assert_eq!(answer(write(&w, good)).await.0, 204);
    assert_eq!(w.samples("up{job=\"api\"}").await.len(), 1);
    assert_eq!(w.handle.status.waiting_samples.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn text_is_taken_and_what_it_says_of_metrics_is_remembered() {
    let w = world(Vec::new()).await;
    let now = wall().ms();
    let import = |kind: &str, body: Vec<u8>| {
        let ask = w.ask(Method::POST, "/api/v1/import/prometheus");
        ask.header("content-type", kind.to_owned()).body(body)
    };
    let text = format!(
        "# HELP queue Waiting.\n# TYPE queue gauge\nqueue{{name=\"a\"}} 3 {now}\nqueue{{name=\"b\"}} NaN\n"
    );
    let open = format!("# TYPE jobs counter\njobs_total 5 {}\n# EOF\n", now / 1_000);
    let om = "application/openmetrics-text; version=1.0.0";
    assert_eq!(
        answer(import("text/plain; version=0.0.4", text.clone().into()))
            .await
            .0,
        204
    );
    assert_eq!(answer(import(om, open.clone().into())).await.0, 204);
    assert_eq!(
        w.samples("queue{name=\"a\"}").await,
        [(now, 3.0_f64.to_bits())]
    );
    assert_eq!(w.samples("jobs_total").await.len(), 1);
    let gzip = import("text/plain", zipped(b"queue{name=\"c\"} 1"));
    assert_eq!(answer(gzip.header("content-encoding", "gzip")).await.0, 204);

    let (status, told) = answer(import("text/plain", b"queue 1\nqueue{a=1} 2\n".to_vec())).await;
    let told = value(&told);
    assert_eq!(
        (status, &told["line"], &told["column"]),
        (400, &2.into(), &9.into()),
        "{told}"
    );
    assert!(w.samples("queue").await.is_empty(), "nothing was taken");
    assert_eq!(answer(import(om, b"jobs_total 5\n".to_vec())).await.0, 400);
    assert_eq!(
        answer(import("application/json", b"{}".to_vec())).await.0,
        415
    );
    let (status, told) = answer(import(
        "text/plain",
        format!("queue{{name=\"a\"}} 4 {now}\nfine 1\n").into(),
    ))
    .await;
    assert!(
        status == 400 && told.contains("1 refused, 1 taken"),
        "{told}"
    );

    let about = About {
        kind: 1,
        metric: "sent_total".to_owned(),
        help: "Sent.".to_owned(),
        unit: String::new(),
    };
    let request = Request {
        timeseries: Vec::new(),
        metadata: vec![about],
    };
    assert_eq!(
        answer(write(&w, packed(&request.encode_to_vec()))).await.0,
        204
    );
    let (status, told) = w.get("/api/v1/metadata?metric=queue").await;
    let wanted =
        r#"{"status":"success","data":{"queue":[{"type":"gauge","help":"Waiting.","unit":""}]}}"#;
    assert_eq!((status, told.as_str()), (200, wanted));
    let known = w.handle.metadata.lock().unwrap();
    let kinds: Vec<(&str, Kind)> = known.iter().map(|(n, d)| (n, d.kind)).collect();
    assert_eq!(
        kinds,
        [
            ("jobs", Kind::Counter),
            ("queue", Kind::Gauge),
            ("sent_total", Kind::Counter)
        ]
    );
}
