//! The real Prometheus as the sender.

use std::collections::BTreeSet;
use std::process::Command;

use super::serving;
use crate::lab::{Hooks, Lab, until};
use crate::peer::Peer;

/// Prometheus, sending what it scrapes of itself.
async fn sender(to: &str) -> Option<Peer> {
    let settings = |port: u16| {
        format!(
            "global: {{scrape_interval: 500ms}}\nscrape_configs:\n- job_name: self\n  static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n\
             remote_write:\n- url: {to}\n  queue_config: {{batch_send_deadline: 200ms, min_backoff: 50ms, max_backoff: 200ms}}\n"
        )
    };
    Peer::start(settings, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_sends_through_an_outage_without_loss() {
    let mut lab = serving("").await;
    let Some(mut prometheus) = sender(&lab.url("/api/v1/write")).await else {
        return;
    };
    let held = async |lab: &Lab| {
        let up = lab.board("up").await.into_values().next();
        up.unwrap_or_default().len()
    };
    until("samples arrive", async || {
        prometheus.must_run();
        held(&lab).await > 3
    })
    .await;
    lab.kill();
    let retried = "prometheus_remote_storage_samples_retried_total";
    until("it has tried in vain", async || {
        prometheus.counted(retried).await > 0.0
    })
    .await;
    lab.serve().await;
    let before = held(&lab).await;
    until("it has caught up", async || held(&lab).await > before + 8).await;
    let failed = "prometheus_remote_storage_samples_failed_total";
    assert_eq!(prometheus.counted(failed).await, 0.0);
    let own = prometheus.times_of_up().await;
    assert!(own.len() > 10, "{own:?}");
    let newest = *own.last().unwrap();
    until("what it has is here", async || {
        let up = lab.board("up").await.into_values().next();
        up.unwrap_or_default().iter().any(|(at, _)| *at >= newest)
    })
    .await;
    drop(prometheus);
    lab.kill();
    let logged = lab.logged();
    let mut of_up = logged.iter().filter(|(key, _)| key.starts_with("up{"));
    let (_, up) = of_up.next().unwrap();
    let times: BTreeSet<i64> = up.iter().map(|(t, _)| *t).collect();
    assert_eq!(times.len(), up.len(), "no sample is there twice");
    let lost: Vec<&i64> = own.difference(&times).collect();
    assert!(lost.is_empty(), "{lost:?} of {own:?}");
}

/// As a Prometheus would load it: nothing in it is ours.
const RULES: &str = "groups:
- name: self
  interval: 1s
  rules:
  - record: job:samples:rate30s
    expr: sum by (job) (rate(prometheus_tsdb_head_samples_appended_total[30s]))
  - alert: SamplesFlow
    expr: job:samples:rate30s > 1
    labels: {severity: info}
    annotations: {summary: \"{{ $labels.job }} appends {{ $value | humanize }} samples a second\"}
";

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_sends_and_its_rule_file_pages_from_here() {
    let mut lab = Lab::new("ingest");
    let hooks = Hooks::open().await;
    lab.write("ops.yaml", &hooks.settings(&["hook"]));
    let rules = lab.write("alerts/self.yml", RULES);
    lab.serve().await;
    let Some(mut prometheus) = sender(&lab.url("/api/v1/write")).await else {
        return;
    };
    let mut promtool = Command::new("promtool");
    let checked = promtool.args(["check", "rules"]).arg(rules).output();
    let checked = checked.unwrap();
    assert!(checked.status.success(), "{checked:?}");
    until("the rule pages", async || {
        prometheus.must_run();
        !hooks.about("SamplesFlow").is_empty()
    })
    .await;
    let told = hooks.about("SamplesFlow");
    let summary = told[0].says("summary");
    assert!(
        summary.starts_with("self appends ") && summary.ends_with(" samples a second"),
        "{summary}"
    );
    let (status, body) = lab.get("/api/v1/query?query=up").await;
    assert_eq!(status, 200);
    let up = &body["data"]["result"][0];
    assert_eq!(
        (&up["metric"]["job"], &up["value"][1]),
        (&"self".into(), &"1".into())
    );
    for reason in ["late", "out_of_order", "duplicate", "malformed"] {
        let line = format!("ops_samples_refused_total{{reason=\"{reason}\"}}");
        assert_eq!(lab.counted(&line).await, Some(0.0), "{reason}");
    }
    drop(prometheus);
    lab.stop().await;
}
