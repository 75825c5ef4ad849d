//! The whole program is stopped for a while, as on a machine that sleeps.

use rustix::process::{Pid, Signal, kill_process};

use crate::lab::{Hooks, Lab, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_is_recorded_and_shown_and_changes_no_alert() {
    let (mut lab, hooks) = (Lab::new("stall"), Hooks::open().await);
    lab.write("ops.yaml", &hooks.settings(&["hook"]));
    let rule = "metric: lat\nwindow: 1m\nthreshold: 100\naggregate: last\nnotify: [hook]\n";
    lab.write("alerts/lat.yml", rule);
    lab.serve().await;
    assert!(lab.push("lat", 500.0).await);
    until("it pages", async || {
        hooks.kinds("hook", "lat") == ["opened"]
    })
    .await;
    assert_eq!(lab.check("tick").await.0, "ok");
    let pid = Pid::from_raw(lab.pid()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    // The stall itself: longer than sixty slots, which are made up for one by one.
    tokio::time::sleep(std::time::Duration::from_millis(7_000)).await;
    kill_process(pid, Signal::CONT).unwrap();
    until("it is shown", async || {
        let (status, detail) = lab.check("tick").await;
        status == "degraded" && detail.contains("slots were skipped")
    })
    .await;
    lab.kill();
    let events = std::fs::read(lab.dir.join("data/events/00000000000000000001.seg")).unwrap();
    let events = String::from_utf8_lossy(&events);
    assert!(events.contains("slots_skipped") && events.contains("ticks_late"));
    assert_eq!(hooks.told().len(), 1, "one page, and none about the stall");
}
