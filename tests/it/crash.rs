//! kill -9 at random moments under load, on the real binary: nothing acknowledged is lost or doubled, no page is doubled
//! under another key, every incident that was told gets one closing message, no run starts twice.
//!
//! `OPS_KILLS` sets how many times (default 25; the long hunt is `OPS_KILLS=200`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ops::shell::drive::start::Start;

use crate::lab::{Hooks, Lab, until};

const RULE: &str = "metric: m\nwindow: 600ms\nthreshold: 100\naggregate: last\nnotify: [hook]\naction: \"ROLLBACK:M\"\nheal:\n  limit: 100000 in 1h\n  backoff: 1ms..2ms\n  settle: 0s\n  within: 2s\n  hold: 100ms\n";

/// The newest samples of each series as a start fills its windows from `data`, and how many images were there for it.
async fn windows(data: &Path) -> (BTreeMap<String, Vec<(i64, u64)>>, usize) {
    let images = std::fs::read_dir(data.join("windows")).map_or(0, Iterator::count);
    let start = Start {
        data,
        policy: Arc::default(),
        tick: ops::model::time::Duration::from_hours(1),
        retention: ops::model::time::Duration::from_hours(1),
        snapshot_interval: ops::model::time::Duration::from_hours(1),
        sync_every: None,
    };
    let ready = start.open().unwrap();
    let handle = ready.handle();
    let thread = ready.go(|_| {});
    let newest = handle.ask(|view| {
        let mut all = BTreeMap::new();
        for (_, series) in view.series.iter() {
            let copy = series.copy();
            let (mut times, mut values) = (Vec::new(), Vec::new());
            for chunk in &copy.closed {
                chunk.unpack(&mut times, &mut values);
            }
            times.extend(copy.times);
            values.extend(copy.values);
            let samples = times.into_iter().zip(values.into_iter().map(f64::to_bits));
            // No rule looks back at any of them, so this many are kept for the board whatever else was dropped.
            let newest: Vec<_> = samples.rev().take(700).collect();
            all.insert(series.key().to_string(), newest);
        }
        all
    });
    let newest = newest.await.unwrap();
    handle.stop().await;
    thread.join().unwrap();
    (newest, images)
}

/// Every other life acknowledges before the disk has synced: that too must outlive a kill.
fn start(lab: &mut Lab, hooks: &Hooks, life: u32) {
    let durability = ["sync", "40ms"][life as usize % 2];
    let own = format!("durability: {durability}\nsnapshot_interval: 150ms\n");
    lab.write("ops.yaml", &(own + &hooks.settings(&["hook"])));
    lab.start();
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_doubled_by_kill_9() {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(hunt());
}

async fn hunt() {
    let kills: u32 = std::env::var("OPS_KILLS")
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(25);
    let mut seed: u64 = std::env::var("OPS_SIM_SEED")
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or_else(|| u64::from(std::process::id()) * 0x9e37_79b9);
    println!("OPS_SIM_SEED={seed} OPS_KILLS={kills}");
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let mut lab = Lab::new("crash");
    let hooks = Hooks::open().await;
    lab.write("alerts/m.yml", RULE);
    lab.script(
        "rollback_m.sh",
        &format!("echo \"$OPS_RUN_ID\" >> {}/started", lab.dir.display()),
    );
    let client = reqwest::Client::new();
    let acked: Arc<Mutex<BTreeSet<u64>>> = Arc::default();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));

    // Load: numbered samples, each with its id, sent again until acknowledged. And one metric that goes bad and well again.
    let mut pushers = Vec::new();
    for lane in 0..4_u64 {
        let (client, acked, stop, url) = (
            client.clone(),
            acked.clone(),
            stop.clone(),
            lab.url("/metric"),
        );
        pushers.push(tokio::spawn(async move {
            for n in 0_u64.. {
                let value = n * 4 + lane;
                let body = format!(
                    r#"{{"name":"load","val":{value},"id":"{value}","labels":{{"lane":"{lane}"}}}}"#
                );
                while !client
                    .post(&url)
                    .body(body.clone())
                    .send()
                    .await
                    .is_ok_and(|r| r.status() == 204)
                {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                acked.lock().unwrap().insert(value);
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    return;
                }
            }
        }));
    }
    let calm = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (wave_client, wave_stop, wave_calm, wave_url) = (
        client.clone(),
        stop.clone(),
        calm.clone(),
        lab.url("/metric"),
    );
    let wave = tokio::spawn(async move {
        let started = Instant::now();
        while !wave_stop.load(std::sync::atomic::Ordering::Relaxed) {
            let bad = !wave_calm.load(std::sync::atomic::Ordering::Relaxed)
                && (started.elapsed().as_millis() / 900).is_multiple_of(2);
            let body = format!(r#"{{"name":"m","val":{}}}"#, if bad { 500 } else { 1 });
            let _ = wave_client.post(&wave_url).body(body).send().await;
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    });

    start(&mut lab, &hooks, 0);
    for life in 1..=kills {
        tokio::time::sleep(Duration::from_millis(100 + random() % 900)).await;
        lab.kill();
        start(&mut lab, &hooks, life);
    }
    // Let it become calm: every incident closes and every closing message is out.
    calm.store(true, std::sync::atomic::Ordering::Relaxed);
    until("every incident closes", async || {
        let (status, body) = lab.get("/api/ops/v1/incidents?state=open").await;
        status == 200 && body["incidents"].as_array().is_some_and(Vec::is_empty)
    })
    .await;
    until(
        "every told incident is closed to its receiver",
        async || {
            let told = hooks.told();
            let of = |closing: bool| -> BTreeSet<u64> {
                let told = told.iter().filter(|t| (t.kind() == "closed") == closing);
                told.map(|t| t.incident()).collect()
            };
            of(false).is_subset(&of(true))
        },
    )
    .await;
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for pusher in pushers {
        pusher.await.unwrap();
    }
    wave.await.unwrap();
    lab.kill();

    let found = lab.loads();
    let acked = acked.lock().unwrap().clone();
    assert!(
        acked.len() > kills as usize * 10,
        "too little load to mean anything: {}",
        acked.len()
    );
    let lost: Vec<&u64> = acked.iter().filter(|v| !found.contains_key(v)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let doubled: Vec<_> = found.iter().filter(|(_, n)| **n > 1).collect();
    assert!(doubled.is_empty(), "counted twice: {doubled:?}");

    let data = lab.dir.join("data");
    let (from_image, images) = windows(&data).await;
    assert!(images > 0, "no image of the windows was ever finished");
    std::fs::remove_dir_all(data.join("windows")).unwrap();
    let (from_log, images) = windows(&data).await;
    assert_eq!(images, 0);
    assert!(
        from_image == from_log,
        "windows from an image and the log behind it differ from those of the log alone"
    );
    assert!(from_log.values().map(Vec::len).sum::<usize>() > kills as usize * 10);

    let told = hooks.told();
    let mut keys: BTreeMap<(u64, String), BTreeSet<String>> = BTreeMap::new();
    for page in &told {
        keys.entry((page.incident(), page.kind().to_owned()))
            .or_default()
            .insert(page.key.clone());
    }
    for ((incident, kind), keys) in &keys {
        if kind == "opened" || kind == "closed" {
            assert_eq!(
                keys.len(),
                1,
                "incident {incident} has several {kind} pages: {keys:?}"
            );
        }
    }
    let runs = std::fs::read_to_string(lab.dir.join("started")).unwrap_or_default();
    let distinct: BTreeSet<&str> = runs.lines().collect();
    assert_eq!(distinct.len(), runs.lines().count(), "a run started twice");
    println!(
        "kills {kills}, acknowledged {}, pages {}, incidents {}, runs {}",
        acked.len(),
        told.len(),
        keys.len(),
        distinct.len()
    );
    assert!(
        told.len() > 2 && !distinct.is_empty(),
        "nothing was told or run: the test would mean nothing"
    );
}
