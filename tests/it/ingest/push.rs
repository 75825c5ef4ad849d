//! Remote write and text, pushed to the real binary.

use ops::engine::promql::source::STALE_BITS;
use reqwest::StatusCode;

use super::sent::{body, packed, series};
use super::{now_ms, serving};
use crate::lab::{Lab, until};

/// A request of remote write; the answer's status, headers and text.
pub(super) async fn write(lab: &Lab, body: Vec<u8>) -> (StatusCode, String) {
    let request = lab
        .client
        .post(lab.url("/api/v1/write"))
        .header("content-encoding", "snappy")
        .header("content-type", "application/x-protobuf")
        .header("x-prometheus-remote-write-version", "0.1.0")
        .body(body);
    let answer = request.send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_remote_write_was_told_is_kept_through_a_kill_and_known_after_it() {
    let mut lab = serving("").await;
    let now = now_ms();
    let up = |samples: &[(i64, f64)]| series(&[("__name__", "up"), ("job", "a")], samples);
    let stale = f64::from_bits(STALE_BITS);
    let first = body(vec![
        up(&[(now - 3, 1.0), (now - 2, f64::NAN), (now - 1, stale)]),
        series(
            &[("__name__", "other.metric"), ("läbel", "ü")],
            &[(now, 7.0)],
        ),
    ]);
    assert_eq!(write(&lab, first.clone()).await.0, 204);
    lab.kill();
    lab.serve().await;
    // Prometheus got no answer, as far as it knows, and sends the same again.
    assert_eq!(write(&lab, first).await.0, 204);
    let (status, told) = write(&lab, body(vec![up(&[(now - 1, 5.0), (now, 2.0)])])).await;
    assert!(
        status == 400 && told.contains("duplicate") && told.contains("1 taken"),
        "{told}"
    );
    lab.kill();
    let logged = lab.logged();
    let bits: Vec<(i64, u64)> = logged["up{job=\"a\"}"]
        .iter()
        .map(|(t, v)| (*t, v.to_bits()))
        .collect();
    let wanted = [
        (now - 3, 1.0),
        (now - 2, f64::NAN),
        (now - 1, stale),
        (now, 2.0),
    ];
    assert_eq!(bits, wanted.map(|(t, v)| (t, v.to_bits())));
    assert_eq!(logged["other.metric{läbel=\"ü\"}"], [(now, 7.0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_of_labels_harms_nobody_else() {
    let lab = serving("").await;
    let now = now_ms();
    let many: Vec<(String, String)> = (0..10_000)
        .map(|i| (format!("l{i}"), "x".to_owned()))
        .collect();
    let mut labels: Vec<(&str, &str)> = many.iter().map(|(n, v)| (&**n, &**v)).collect();
    labels.push(("__name__", "bomb"));
    let good = series(&[("__name__", "good")], &[(now, 1.0)]);
    let (status, told) = write(&lab, body(vec![series(&labels, &[(now, 1.0)]), good])).await;
    assert!(
        status == 400 && told.contains("10000 labels; the limit is 128"),
        "{told}"
    );
    let (status, _) = write(&lab, vec![0xff; 100_000]).await;
    assert_eq!(status, 400);
    until("the good one is there", async || {
        lab.last("good", "").await == Some(1.0)
    })
    .await;
    let malformed = "ops_samples_refused_total{reason=\"malformed\"}";
    assert_eq!(lab.counted(malformed).await, Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn text_is_pushed() {
    let lab = serving("").await;
    let push = async |kind: &str, body: &str| {
        let request = lab.client.post(lab.url("/api/v1/import/prometheus"));
        let request = request.header("content-type", kind).body(body.to_owned());
        request.send().await.unwrap().status()
    };
    assert_eq!(
        push("text/plain", "# TYPE queue gauge\nqueue{name=\"a b\"} 4\n").await,
        204
    );
    assert_eq!(
        push("application/openmetrics-text", "jobs_total 5\n# EOF\n").await,
        204
    );
    assert_eq!(push("text/plain", "queue{name=} 4\n").await, 400);
    until("it is there", async || {
        lab.last("queue", "a b").await == Some(4.0) && lab.last("jobs_total", "").await == Some(5.0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_sender_should_send_is_told_apart_and_counted() {
    let lab = serving("").await;
    let now = now_ms();
    let of = |metric: &str, samples: &[(i64, f64)]| series(&[("__name__", metric)], samples);
    let first = body(vec![of("a", &[(now - 10, 1.0)])]);
    assert_eq!(write(&lab, first).await.0, 204);
    let bad = body(vec![
        of("a", &[(now - 20, 1.0), (now - 10, 2.0), (now - 10, 1.0)]),
        of("b", &[(now - 4 * 3_600_000, 1.0), (now + 3_600_000, 1.0)]),
        of("c", &[(now, 3.0)]),
    ]);
    let (status, told) = write(&lab, bad).await;
    assert!(
        status == 400 && told.contains("4 refused, 2 taken"),
        "{told}"
    );
    // Each says which series, when, and what the limit is.
    let rfc3339 = |ms: i64| ops::model::time::Timestamp::from_ms(ms).rfc3339();
    for said in [
        format!("a at {}: out of order", rfc3339(now - 20)),
        format!("a at {}: duplicate", rfc3339(now - 10)),
        format!(
            "b at {}: too late: the limit is 3h in the past",
            rfc3339(now - 4 * 3_600_000)
        ),
        format!(
            "b at {}: too far ahead: the limit is 10m in the future",
            rfc3339(now + 3_600_000)
        ),
    ] {
        assert!(told.contains(&said), "{said}: {told}");
    }
    for reason in ["out_of_order", "duplicate", "late", "future"] {
        let line = format!("ops_samples_refused_total{{reason=\"{reason}\"}}");
        assert_eq!(lab.counted(&line).await, Some(1.0), "{reason}");
    }
    assert_eq!(lab.counted("ops_samples_repeated_total").await, Some(1.0));
    // Too large as it is sent, and small but too large once it is decompressed.
    let (status, told) = write(&lab, vec![0; 17 << 20]).await;
    assert!(status == 413 && told.contains("16 MiB"), "{told}");
    let (status, told) = write(&lab, packed(&vec![0; 65 << 20])).await;
    assert!(status == 413 && told.contains("64 MiB"), "{told}");
    assert_eq!(lab.post("/metric", "{\"name\":").await, 400);
    assert_eq!(write(&lab, vec![1, 2, 3]).await.0, 400);
    for (reason, count) in [
        ("too_large", 2.0),
        ("not_decoded", 2.0),
        ("busy", 0.0),
        ("unavailable", 0.0),
        ("timeout", 0.0),
    ] {
        let line = format!("ops_pushes_refused_total{{reason=\"{reason}\"}}");
        assert_eq!(lab.counted(&line).await, Some(count), "{reason}");
    }
    let late = format!(
        r#"{{"name":"d","val":1,"ts":{},"labels":{{"x":"y"}}}}"#,
        now - 660_000
    );
    let answer = lab.client.post(lab.url("/metric")).body(late);
    let told = answer.send().await.unwrap().text().await.unwrap();
    let said = format!(
        "d{{x=\\\"y\\\"}} at {}: too late: the limit is 10m in the past",
        rfc3339(now - 660_000)
    );
    assert!(told.contains(&said), "{said}: {told}");
    until("the good one is there", async || {
        lab.last("c", "").await == Some(3.0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_come_slowly_take_no_room_from_others() {
    use tokio::io::AsyncWriteExt;
    let lab = serving("").await;
    // More than there is room for, if each counted as the largest that it may become.
    let mut slow = Vec::new();
    for _ in 0..40 {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", lab.port))
            .await
            .unwrap();
        let head =
            "POST /metric HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    for n in 0..20 {
        assert!(lab.push("load", f64::from(n)).await);
    }
    assert_eq!(
        lab.counted("ops_pushes_refused_total{reason=\"busy\"}")
            .await,
        Some(0.0)
    );
    // One of them gets on with it.
    let mut last = slow.pop().unwrap();
    let rest = "\"name\":\"slow\",\"val\":7}";
    let rest = format!("{:x}\r\n{rest}\r\n0\r\n\r\n", rest.len());
    last.write_all(rest.as_bytes()).await.unwrap();
    until("it is taken", async || {
        lab.last("slow", "").await == Some(7.0)
    })
    .await;
}
