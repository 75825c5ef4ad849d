//! The real Prometheus as the sender.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::serving;
use crate::lab::{Hooks, Lab, free_port, until};

/// Debian's Prometheus, sending what it scrapes of itself; ended with this value.
struct Prometheus {
    child: Child,
    dir: PathBuf,
    port: u16,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Prometheus {
    /// `None`, said loudly, where it is not installed.
    fn start(to: &str) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir =
            std::env::temp_dir().join(format!("ops-prometheus-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        let port = free_port();
        let config = format!(
            "global: {{scrape_interval: 500ms}}\nscrape_configs:\n- job_name: self\n  static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n\
             remote_write:\n- url: {to}\n  queue_config: {{batch_send_deadline: 200ms, min_backoff: 50ms, max_backoff: 200ms}}\n"
        );
        std::fs::write(dir.join("prometheus.yml"), config).unwrap();
        let log = std::fs::File::create(dir.join("log")).unwrap();
        let child = Command::new("prometheus")
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .current_dir(&dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        match child {
            Ok(child) => Some(Self { child, dir, port }),
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "prometheus: {error}");
                eprintln!(
                    "\n*** SKIPPED, NOT TESTED: prometheus does not start: {error}; run tests/setup.sh ***\n"
                );
                None
            }
        }
    }

    /// Fails with its log if it has ended: a mistake in its settings would look like samples that do not come.
    fn must_run(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            let log = std::fs::read_to_string(self.dir.join("log")).unwrap();
            panic!("prometheus: {status}\n{log}");
        }
    }

    /// What its counters of remote write with this name come to.
    async fn counted(&self, name: &str) -> f64 {
        let answer = reqwest::get(format!("http://127.0.0.1:{}/metrics", self.port)).await;
        let text = answer.unwrap().text().await.unwrap();
        let lines: Vec<&str> = text.lines().filter(|l| l.starts_with(name)).collect();
        assert!(!lines.is_empty(), "{name} in {text}");
        let values = lines.iter().map(|l| l.rsplit(' ').next().unwrap());
        values.map(|v| v.parse::<f64>().unwrap()).sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_sends_through_an_outage_without_loss() {
    let mut lab = serving("").await;
    let Some(mut prometheus) = Prometheus::start(&lab.url("/api/v1/write")) else {
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
    drop(prometheus);
    lab.kill();
    let logged = lab.logged();
    let mut of_up = logged.iter().filter(|(key, _)| key.starts_with("up{"));
    let (_, up) = of_up.next().unwrap();
    let mut times: Vec<i64> = up.iter().map(|(t, _)| *t).collect();
    let count = times.len();
    times.sort_unstable();
    times.dedup();
    assert_eq!(times.len(), count, "no sample is there twice");
    let gaps: Vec<i64> = times
        .windows(2)
        .map(|w| w[1] - w[0])
        .filter(|g| *g > 1_200)
        .collect();
    assert!(gaps.is_empty(), "{gaps:?} ms without a sample");
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
    let Some(mut prometheus) = Prometheus::start(&lab.url("/api/v1/write")) else {
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
