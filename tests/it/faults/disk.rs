//! A disk that fills up under the program, and is freed again. Needs root, to mount a small file system of its own.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lab::{Hooks, Lab, lacks, until};

/// A file system in memory, unmounted in the end.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path, size: &str) -> Option<Small> {
        fs::create_dir_all(at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]);
        let done = mount.arg(at).output();
        if done.is_ok_and(|d| d.status.success()) {
            return Some(Small(at.to_owned()));
        }
        lacks("the right to mount a small disk");
        None
    }

    /// Writes until nothing fits any more.
    fn fill(&self) {
        let mut file = fs::File::options()
            .create(true)
            .append(true)
            .open(self.filler())
            .unwrap();
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![7; size]).is_ok() {}
        }
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_samples_loses_nothing_and_goes_on_by_itself() {
    let (mut lab, hooks) = (Lab::new("disk"), Hooks::open().await);
    let Some(small) = Small::mount(&lab.dir.join("data"), "40m") else {
        return;
    };
    lab.write("ops.yaml", &hooks.settings(&["hook"]));
    let rule = "metric: m\nwindow: 10m\nthreshold: 100\naggregate: max\nfor: 3s\nnotify: [hook]\n";
    let heal = "auto_heal: scripts/heal.sh\n";
    lab.write("alerts/m.yml", &format!("{rule}{heal}"));
    lab.script("heal.sh", &format!("echo ran >> {}/ran", lab.dir.display()));
    lab.serve().await;
    let mut taken = BTreeSet::new();
    let mut next = 0;
    let mut push = async |lab: &Lab| {
        next += 1;
        let body = format!(r#"{{"name":"load","val":{next}}}"#);
        let answer = lab.client.post(lab.url("/metric")).body(body).send().await;
        let answer = answer.unwrap();
        let status = answer.status().as_u16();
        if status == 204 {
            taken.insert(next);
        }
        (status, answer)
    };
    for _ in 0..20 {
        assert_eq!(push(&lab).await.0, 204);
    }
    assert!(lab.push("m", 500.0).await);
    small.fill();

    // Samples are refused, with the reason and when to come again.
    until("a sample is refused", async || push(&lab).await.0 == 503).await;
    let (status, answer) = push(&lab).await;
    assert_eq!(status, 503);
    assert_eq!(answer.headers()["retry-after"], "5");
    let text = answer.text().await.unwrap();
    assert!(text.contains("No space left on device"), "{text}");
    let (status, ready) = lab.get("/ready").await;
    assert_eq!((status, &ready["status"]), (503, &"failing".into()));
    let (_, why) = lab.check("log").await;
    assert!(why.contains("No space left on device"), "{why}");

    // Events go on in their reserve: an alert fires and pages, its script runs, and what people ask for is durable.
    let silence = r#"{"matchers":"a=\"b\"","duration":"1h","by":"kim","comment":"on a full disk"}"#;
    assert_eq!(lab.post("/api/ops/v1/silences", silence).await, 201);
    until("it pages", async || hooks.kinds("hook", "m") == ["opened"]).await;
    until("the script runs", async || lab.dir.join("ran").exists()).await;
    until("its end is known", async || {
        let (_, heals) = lab.get("/api/ops/v1/heals").await;
        heals["heals"][0]["ended"]["end"]["code"] == 0
    })
    .await;
    // The script's folder took the space that is kept for it; what was left of that is soon used up.
    small.fill();
    let what = "ops_samples_refused";
    until("it pages about the disk", async || {
        push(&lab).await;
        hooks.kinds("hook", what) == ["opened"]
    })
    .await;
    let page = hooks.about(what).remove(0);
    assert!(page.says("summary").contains("No space left on device"));
    assert!(page.says("what_to_do").contains("Free space"));

    // Space is freed: nothing else is done to it.
    fs::remove_file(small.filler()).unwrap();
    until("it closes", async || {
        hooks.kinds("hook", what) == ["opened", "closed"]
    })
    .await;
    assert_eq!(lab.check("log").await.0, "ok");
    assert_eq!(push(&lab).await.0, 204);

    lab.kill();
    let found = lab.loads();
    let kept: BTreeSet<u64> = found.keys().copied().collect();
    assert!(taken.is_subset(&kept), "acknowledged and lost");
    lab.serve().await;
    let (_, silences) = lab.get("/api/ops/v1/silences").await;
    assert_eq!(silences["silences"][0]["comment"], "on a full disk");
    let ran = fs::read_to_string(lab.dir.join("ran")).unwrap();
    assert_eq!(ran, "ran\n");
    assert_eq!(hooks.kinds("hook", "m"), ["opened"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_reserve_nothing_leaves_that_is_not_recorded_and_all_of_it_comes_later() {
    let (mut lab, hooks) = (Lab::new("events"), Hooks::open().await);
    // Too small for the reserve of the event log.
    let Some(small) = Small::mount(&lab.dir.join("data"), "3m") else {
        return;
    };
    lab.write("ops.yaml", &hooks.settings(&["hook"]));
    let rule = "metric: m\nwindow: 10m\nthreshold: 100\naggregate: max\nfor: 2s\nnotify: [hook]\n";
    lab.write("alerts/m.yml", rule);
    lab.serve().await;
    assert!(lab.push("m", 500.0).await);
    small.fill();
    let switch = r#"{"on":false,"by":"kim","reason":"drill"}"#;
    until("a request is refused", async || {
        lab.post("/api/ops/v1/heals/switch", switch).await == 503
    })
    .await;
    until("it is not ready", async || {
        let (status, _) = lab.get("/ready").await;
        status == 503 && lab.check("log").await.1.contains("pages and heals wait")
    })
    .await;
    until("it fires", async || {
        let (_, alerts) = lab.get("/api/ops/v1/alerts").await;
        let alerts = alerts["alerts"].as_array().cloned().unwrap_or_default();
        let fires = |name: &str| {
            let mut of = alerts.iter().filter(|a| a["phase"] == "firing");
            of.any(|a| a["labels"]["alertname"] == name)
        };
        fires("m") && fires("ops_events_refused")
    })
    .await;
    // What is over within the tick in which it began is not paged.
    let ticks = async || lab.counted("ops_ticks_total").await.unwrap();
    let begun = ticks().await;
    until("it ticks on", async || ticks().await >= begun + 2.0).await;
    assert!(hooks.told().is_empty(), "it was not recorded");

    fs::remove_file(small.filler()).unwrap();
    let what = "ops_events_refused";
    until("everything is told", async || {
        hooks.kinds("hook", "m") == ["opened"] && hooks.kinds("hook", what) == ["opened", "closed"]
    })
    .await;
    assert_eq!(lab.check("log").await.0, "ok");
    assert_eq!(lab.post("/api/ops/v1/heals/switch", switch).await, 200);
}
