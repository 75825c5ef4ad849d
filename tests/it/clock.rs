//! The wall clock is set under the real binary: nothing fires, ends or is paged for it, and a clock that stays set is
//! followed, so that senders whose clocks are right are understood.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::lab::{Hooks, Lab, lacks, until};

const RULE: &str = "metric: lat\nwindow: 3s\nthreshold: 100\nnotify: [hook]\n";

fn faketime() -> Option<PathBuf> {
    let places = [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib",
    ];
    let found = places
        .iter()
        .map(|p| PathBuf::from(p).join("faketime/libfaketimeMT.so.1"))
        .find(|p| p.is_file());
    if found.is_none() {
        lacks("faketime");
    }
    found
}

/// Starts the program with a wall clock that [`set`] moves; its monotonic clock is the real one.
async fn serve(lab: &mut Lab, library: &Path) {
    set(lab, "+0");
    let mut command = lab.command();
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", lab.dir.join("offset"))
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    lab.serve_as(command).await;
}

fn set(lab: &Lab, offset: &str) {
    // Read at any moment: it must never be seen empty.
    let new = lab.write("offset.new", &format!("{offset}\n"));
    std::fs::rename(new, lab.dir.join("offset")).unwrap();
}

/// Pushes a sample as a sender does whose clock is ahead of the real one; whether it was taken.
async fn push(lab: &Lab, value: f64, ahead_s: i64) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let ts = i64::try_from(now.as_millis()).unwrap() + ahead_s * 1_000;
    let body = format!(r#"{{"name":"lat","val":{value},"ts":{ts}}}"#);
    lab.post("/metric", &body).await == 204
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_of_the_wall_clock_changes_nothing() {
    let Some(library) = faketime() else { return };
    let (mut lab, hooks) = (Lab::new("clock"), Hooks::open().await);
    lab.write("ops.yaml", &hooks.settings(&["hook"]));
    lab.write("alerts/lat.yml", RULE);
    serve(&mut lab, &library).await;
    until("it pages", async || {
        lab.push("lat", 500.0).await && hooks.kinds("hook", "lat") == ["opened"]
    })
    .await;
    let before = lab.incidents().await;
    for offset in ["+3600", "-3600"] {
        set(&lab, offset);
        until("the step is seen", async || {
            assert!(lab.push("lat", 500.0).await);
            lab.check("clock").await.0 == "degraded"
        })
        .await;
        // Ten ticks more, so that a wrong edge would show.
        let ticks = async || lab.counted("ops_ticks_total").await.unwrap();
        let seen = ticks().await;
        until("it ticks on", async || {
            assert!(lab.push("lat", 500.0).await);
            ticks().await >= seen + 10.0
        })
        .await;
        assert_eq!(lab.check("clock").await.0, "degraded", "still set");
        let after = lab.incidents().await;
        assert_eq!(after.len(), 1, "{offset}: {after:?}");
        assert_eq!(after[0]["opened_at"], before[0]["opened_at"], "{offset}");
        assert!(after[0]["closed"].is_null(), "{offset}: {after:?}");
    }
    assert_eq!(hooks.told().len(), 1);
}

/// The clock is set by this much and stays so; senders have the right time, and some do not say theirs.
async fn followed(ahead_s: i64) {
    let Some(library) = faketime() else { return };
    let (mut lab, hooks) = (Lab::new("followed"), Hooks::open().await);
    lab.write("ops.yaml", &hooks.settings(&["hook"]));
    lab.write("alerts/lat.yml", RULE);
    serve(&mut lab, &library).await;
    until("it pages", async || {
        push(&lab, 500.0, 0).await && hooks.kinds("hook", "lat") == ["opened"]
    })
    .await;
    let ticks = async || {
        let skipped = lab.counted("ops_ticks_skipped_total").await.unwrap();
        (lab.counted("ops_ticks_total").await.unwrap(), skipped)
    };
    let (before, began) = (ticks().await, std::time::Instant::now());
    set(&lab, &format!("{ahead_s:+}"));
    assert!(
        !push(&lab, 500.0, ahead_s).await,
        "not at once: it may be set back"
    );
    // Those who say no time bridge the time until it is believed.
    until("senders with the right time are understood", async || {
        assert!(lab.push("lat", 500.0).await);
        push(&lab, 500.0, ahead_s).await
    })
    .await;
    assert!(
        began.elapsed() > Duration::from_secs(19),
        "{:?}",
        began.elapsed()
    );
    let (_, clock) = lab.check("clock").await;
    assert!(clock.contains("led there"), "{clock}");
    // What they say counts, at the time at which they say it: the window is theirs alone now, and it ends well.
    until("it is over", async || {
        assert!(push(&lab, 1.0, ahead_s).await);
        hooks.kinds("hook", "lat") == ["opened", "closed"]
    })
    .await;
    let (after, lasted) = (ticks().await, began.elapsed().as_secs());
    assert_eq!(after.1, before.1, "no slot was skipped");
    let slots = after.0 - before.0;
    assert!(slots >= (lasted * 8) as f64, "{slots} slots in {lasted} s");
    assert!(!push(&lab, 1.0, 0).await, "the old time is an hour off now");
    lab.kill();
    serve(&mut lab, &library).await;
    assert_eq!(hooks.told().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_stays_set_is_followed_without_an_edge() {
    tokio::join!(followed(3_600), followed(-3_600));
}
