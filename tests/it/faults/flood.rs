//! So much fires at once that what is decided does not fit into one record, and what is told not into one page.

use std::time::Duration;

use crate::lab::{Hooks, Lab, until};

const SERIES: usize = 3_000;

/// Every series with labels as long as they may be; together far more than the 16 MiB of a record.
fn flood(value: f64) -> String {
    let long = "x".repeat(2_000);
    let items = (0..SERIES).map(|n| {
        format!(r#"{{"name":"m","val":{value},"labels":{{"host":"{n:05}","long":"{long}"}}}}"#)
    });
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_alerts_stops_nobody_else() {
    let (mut lab, hooks) = (Lab::new("flood"), Hooks::open().await);
    lab.write("ops.yaml", &hooks.settings(&["hook"]));
    for metric in ["m", "other"] {
        let rule = "window: 5m\nthreshold: 100\naggregate: last\nnotify: [hook]\n";
        lab.write(
            &format!("alerts/{metric}.yml"),
            &format!("metric: {metric}\n{rule}"),
        );
    }
    lab.serve().await;
    assert_eq!(lab.post("/metric", &flood(500.0)).await, 204);
    assert!(lab.push("other", 500.0).await);
    until("both page", async || {
        hooks.kinds("hook", "m") == ["opened"] && hooks.kinds("hook", "other") == ["opened"]
    })
    .await;
    let page = hooks.about("m").remove(0);
    let shown = page.body["alerts"].as_array().unwrap().len();
    let left_out = page.body["truncatedAlerts"].as_u64().unwrap() as usize;
    assert!(shown > 0 && left_out > 0, "{shown} shown, {left_out} not");
    assert_eq!(lab.check("log").await.0, "ok");
    let silence = r#"{"matchers":"a=\"b\"","duration":"1h","by":"kim","comment":"x"}"#;
    assert_eq!(lab.post("/api/ops/v1/silences", silence).await, 201);
    // All of it is there again after a crash, and ends as it should.
    lab.kill();
    lab.serve().await;
    until("both close", async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(lab.post("/metric", &flood(1.0)).await, 204);
        assert!(lab.push("other", 1.0).await);
        let closed = |rule| hooks.kinds("hook", rule) == ["opened", "closed"];
        closed("m") && closed("other")
    })
    .await;
    let incidents = lab.incidents().await;
    let of_m = incidents.iter().find(|i| i["metric"] == "m").unwrap();
    assert_eq!(of_m["alerts"].as_array().unwrap().len(), SERIES);
}
