//! Bytes that go bad in the middle of a log between two runs, and a write that did not finish.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ops::journal::frame::{Found, scan};
use ops::journal::segment::HEADER_BYTES;

use crate::lab::{Hooks, Lab, until};

/// The one segment of a log.
fn segment(lab: &Lab, log: &str) -> PathBuf {
    let files = fs::read_dir(lab.dir.join("data").join(log)).unwrap();
    let mut paths = files.map(|f| f.unwrap().path());
    let found = paths.find(|p| p.extension().is_some_and(|e| e == "seg"));
    found.unwrap()
}

/// Records of a segment: where their frame begins in the file, and what they hold.
fn records(segment: &Path) -> Vec<(usize, Vec<u8>)> {
    let bytes = fs::read(segment).unwrap();
    let found = scan(&bytes[HEADER_BYTES..], 1).map(|found| match found {
        Found::Record {
            offset, payload, ..
        } => (HEADER_BYTES + offset, payload.to_vec()),
        other => panic!("{other:?}"),
    });
    found.collect()
}

/// Flips a byte in the first record of a log that holds `text`; where its frame begins.
fn hit(lab: &Lab, log: &str, text: &[u8]) -> usize {
    let segment = segment(lab, log);
    let all = records(&segment);
    let (at, _) = all
        .iter()
        .find(|(_, payload)| payload.windows(text.len()).any(|w| w == text))
        .unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[at + 30] ^= 0x40;
    fs::write(&segment, bytes).unwrap();
    *at
}

async fn silences(lab: &Lab) -> BTreeSet<String> {
    let (_, body) = lab.get("/api/ops/v1/silences").await;
    let all = body["silences"].as_array().cloned().unwrap_or_default();
    all.iter()
        .map(|s| s["comment"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_the_middle_costs_what_was_there_and_is_paged_once() {
    let (mut lab, hooks) = (Lab::new("damage"), Hooks::open().await);
    lab.write("ops.yaml", &hooks.settings(&["hook"]));
    let rule = "metric: lat\nwindow: 5m\nthreshold: 3\naggregate: count\nnotify: [hook]\n";
    lab.write("alerts/lat.yml", rule);
    lab.serve().await;
    for n in 0..5 {
        let body = format!(
            r#"{{"matchers":"a=\"{n}\"","duration":"1h","by":"kim","comment":"silence-{n}"}}"#
        );
        assert_eq!(lab.post("/api/ops/v1/silences", &body).await, 201);
        assert!(lab.push("lat", f64::from(n)).await);
    }
    until("it fires", async || {
        hooks.kinds("hook", "lat") == ["opened"]
    })
    .await;
    lab.kill();
    let event = hit(&lab, "events", b"silence-2");
    let sample = hit(&lab, "samples", &2.0_f64.to_bits().to_le_bytes());

    lab.serve().await;
    let what = "ops_log_damaged";
    until("it is paged", async || {
        hooks.kinds("hook", what) == ["opened"]
    })
    .await;
    let left = ["silence-0", "silence-1", "silence-3", "silence-4"].map(str::to_owned);
    assert_eq!(silences(&lab).await, left.into());
    let (_, board) = lab.get("/api/ops/v1/board/lat").await;
    let points = board["series"][0]["points"].as_array().unwrap();
    let values: Vec<f64> = points.iter().map(|p| p[1].as_f64().unwrap()).collect();
    assert_eq!(values, [0.0, 1.0, 3.0, 4.0]);
    // The page says what is lost and where.
    let page = hooks.about(what).remove(0);
    let alerts = page.body["alerts"].as_array().unwrap();
    let places: BTreeSet<&str> = alerts
        .iter()
        .map(|a| a["labels"]["place"].as_str().unwrap())
        .collect();
    let place = |log: &str, at| format!("{log}/00000000000000000001.seg@{at}");
    let (event, sample) = (place("events", event), place("samples", sample));
    assert_eq!(places, [event.as_str(), sample.as_str()].into());
    for alert in alerts {
        let says = alert["annotations"]["summary"].as_str().unwrap();
        assert!(says.contains("1 record is lost there"), "{says}");
    }
    let (status, detail) = lab.check("log").await;
    assert!(
        status == "degraded" && detail.contains(&sample),
        "{status}: {detail}"
    );
    let incident = page.incident().to_string();
    assert!(lab.tells(&["incidents"]).contains(what));
    assert!(
        lab.tells(&["why", &incident])
            .contains("1 record is lost there")
    );

    // The bytes are as bad after the next restart, but that is no news.
    lab.kill();
    lab.serve().await;
    until("it is known", async || {
        lab.check("log").await.0 == "degraded"
    })
    .await;
    lab.tells(&["ack", &incident, "--note", "disk replaced"]);
    until("it is closed", async || {
        hooks.kinds("hook", what) == ["opened", "closed"]
    })
    .await;
    assert_eq!(lab.check("log").await.0, "ok");
    lab.stop().await;
    lab.serve().await;
    assert!(lab.push("lat", 9.0).await);
    until("two ticks go by", async || {
        lab.check("tick").await.0 == "ok" && lab.check("log").await.0 == "ok"
    })
    .await;
    assert_eq!(hooks.kinds("hook", what), ["opened", "closed"]);
    assert_eq!(hooks.kinds("hook", "lat"), ["opened"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_did_not_finish_is_cut_in_silence() {
    let (mut lab, hooks) = (Lab::new("torn"), Hooks::open().await);
    lab.write("ops.yaml", &hooks.settings(&["hook"]));
    lab.serve().await;
    assert!(lab.push("lat", 1.0).await);
    assert_eq!(
        lab.post(
            "/api/ops/v1/heals/switch",
            r#"{"on":false,"by":"kim","reason":"drill"}"#
        )
        .await,
        200
    );
    lab.kill();
    let mut ends = Vec::new();
    for log in ["events", "samples"] {
        let segment = segment(&lab, log);
        let (at, payload) = records(&segment).pop().unwrap();
        let end = at + 22 + payload.len();
        let mut bytes = fs::read(&segment).unwrap();
        // The first half of the record that would have been next.
        let half = bytes[at..at + 40].to_vec();
        bytes[end..end + 40].copy_from_slice(&half);
        fs::write(&segment, bytes).unwrap();
        ends.push((segment, end));
    }
    lab.serve().await;
    assert_eq!(lab.check("log").await.0, "ok");
    let (_, switch) = lab.get("/api/ops/v1/heals/switch").await;
    assert_eq!(switch["on"], false, "{switch}");
    lab.kill();
    for (segment, end) in ends {
        let all = records(&segment);
        assert!(all.iter().any(|(at, _)| *at >= end) || fs::read(&segment).unwrap()[end] == 0);
    }
    assert!(hooks.told().is_empty());
}
