//! Rule files: many broken ones, folders that vanish, and the ways in which editors and clusters replace files.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use crate::lab::{Hooks, Lab, ops, until};

fn rule(metric: &str, threshold: u32) -> String {
    format!("metric: {metric}\nwindow: 3s\nthreshold: {threshold}\nnotify: [hook]\n")
}

/// Pushes 500 until one page of this kind is there.
async fn push_until(lab: &Lab, hooks: &Hooks, metric: &str, kinds: &[&str]) {
    until(&format!("{metric}: {kinds:?}"), async || {
        lab.push(metric, 500.0).await;
        hooks.kinds("hook", metric) == kinds
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_broken_files_harm_no_other() {
    const BROKEN: usize = 10_000;
    let (mut lab, hooks) = (Lab::new("broken"), Hooks::open().await);
    lab.write("ops.yaml", &hooks.settings(&["hook"]));
    fs::create_dir(lab.dir.join("alerts/bad")).unwrap();
    for n in 0..BROKEN {
        fs::write(
            lab.dir.join(format!("alerts/bad/{n:05}.yml")),
            "metric: [\n",
        )
        .unwrap();
    }
    lab.write("alerts/lat.yml", &rule("lat", 100));
    lab.serve().await;

    let begun = Instant::now();
    push_until(&lab, &hooks, "lat", &["opened"]).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "the page is late");
    let (status, detail) = lab.check("rules").await;
    assert_eq!(status, "degraded");
    assert!(
        detail.contains("10000 of 10001") && detail.len() < 500,
        "{detail}"
    );
    // One more breaks: all are looked at again, and pushing goes on meanwhile.
    lab.write("alerts/more.yml", "metric: [\n");
    let mut took = Vec::new();
    until("the new one is seen", async || {
        let begun = Instant::now();
        assert!(lab.push("lat", 500.0).await);
        took.push(begun.elapsed());
        lab.check("rules").await.1.contains("10001 of 10002")
    })
    .await;
    took.sort();
    let median = took[took.len() / 2];
    assert!(
        median < Duration::from_millis(250),
        "a push took {median:?}"
    );
    // A good edit between them is in force.
    lab.write("alerts/lat.yml", &rule("lat", 1_000));
    push_until(&lab, &hooks, "lat", &["opened", "closed"]).await;
    assert!(lab.log().len() < 100_000, "the log is bounded too");

    let checked = ops(&lab.dir).arg("check").output().unwrap();
    assert_eq!(checked.status.code(), Some(1));
    let text = String::from_utf8(checked.stdout).unwrap();
    let last = text.lines().last().unwrap();
    assert_eq!(last, "10003 files, 1 rule: 10001 errors, 0 warnings");
    assert!(text.contains("bad/00000.yml:1"), "{last}");
    assert!(text.contains("more problems"), "{last}");
    assert!(text.len() < 200_000, "{}", text.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_rules_may_go_and_come_back() {
    let (mut lab, hooks) = (Lab::new("folder"), Hooks::open().await);
    lab.write("ops.yaml", &hooks.settings(&["hook"]));
    lab.write("alerts/lat.yml", &rule("lat", 100));
    lab.serve().await;
    push_until(&lab, &hooks, "lat", &["opened"]).await;
    fs::rename(lab.dir.join("alerts"), lab.dir.join("away")).unwrap();
    until("it is missed", async || {
        lab.push("lat", 500.0).await;
        lab.check("rules")
            .await
            .1
            .contains("the folder of rule files")
    })
    .await;
    fs::rename(lab.dir.join("away"), lab.dir.join("alerts")).unwrap();
    until("it is back", async || {
        lab.push("lat", 500.0).await;
        lab.check("rules").await == ("ok".to_owned(), "1 rules".to_owned())
    })
    .await;
    assert_eq!(hooks.kinds("hook", "lat"), ["opened"], "nothing ended");
    // It is watched again: a file in the new folder counts.
    lab.write("alerts/lat.yml", &rule("lat", 1_000));
    push_until(&lab, &hooks, "lat", &["opened", "closed"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_may_be_saved_in_any_way() {
    let (mut lab, hooks) = (Lab::new("saved"), Hooks::open().await);
    lab.write("ops.yaml", &hooks.settings(&["hook"]));
    lab.write("alerts/lat.yml", &rule("lat", 100));
    // As a cluster mounts a ConfigMap: the file is a link through `..data`, which is swapped as one.
    let alerts = lab.dir.join("alerts");
    lab.write("alerts/..1/map.yml", &rule("map", 100));
    symlink("..1", alerts.join("..data")).unwrap();
    symlink("..data/map.yml", alerts.join("map.yml")).unwrap();
    // What editors leave beside a file.
    for litter in [
        ".lat.yml.swp",
        "lat.yml~",
        "#lat.yml#",
        "4913",
        "lat.yml.tmp",
    ] {
        lab.write(&format!("alerts/{litter}"), "metric: [");
    }
    symlink("kim@host.1234", alerts.join(".#lat.yml")).unwrap();
    lab.serve().await;
    assert_eq!(lab.check("rules").await.1, "2 rules");
    push_until(&lab, &hooks, "lat", &["opened"]).await;
    push_until(&lab, &hooks, "map", &["opened"]).await;

    let saved = lab.write("alerts/lat.yml.tmp", &rule("lat", 1_000));
    fs::rename(saved, alerts.join("lat.yml")).unwrap();
    push_until(&lab, &hooks, "lat", &["opened", "closed"]).await;

    lab.write("alerts/..2/map.yml", &rule("map", 1_000));
    symlink("..2", alerts.join("..data_tmp")).unwrap();
    fs::rename(alerts.join("..data_tmp"), alerts.join("..data")).unwrap();
    fs::remove_dir_all(alerts.join("..1")).unwrap();
    push_until(&lab, &hooks, "map", &["opened", "closed"]).await;

    // Moved aside and written anew: for a moment there is no such file, and with it no such rule.
    fs::rename(alerts.join("lat.yml"), alerts.join("lat.yml~")).unwrap();
    lab.write("alerts/lat.yml", &rule("lat", 100));
    push_until(&lab, &hooks, "lat", &["opened", "closed", "opened"]).await;
    let (_, problems) = lab.get("/api/ops/v1/problems").await;
    assert_eq!(problems["problems"].as_array().map(Vec::len), Some(0));
}
