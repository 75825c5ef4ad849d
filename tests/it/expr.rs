//! A Prometheus rule file in the real program: samples in, a recorded series, an alert on it, a page with what it found.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

const RULES: &str = r#"groups:
- name: county
  interval: 1s
  labels: {team: records, severity: info}
  rules:
  - record: region:county_api_ms:avg
    expr: avg by (region) (county_api_ms)
  - alert: CountyApiSlow
    expr: |
      region:county_api_ms:avg
        > 1000
    labels: {severity: page}
    annotations:
      summary: "{{ $labels.region }} takes {{ $value }} ms ({{ $labels.severity }})"
      of: "{{ with printf `county_api_ms{region='%s'}` $labels.region | query }}{{ . | len }} of {{ query `count(county_api_ms)` | first | value }}{{ end }}"
"#;

/// A project folder with the program in it, and a webhook that keeps what it is told.
struct Project {
    dir: PathBuf,
    url: String,
    child: Option<Child>,
    told: Arc<Mutex<Vec<Value>>>,
}

/// The program in a folder, without what the developer's environment says.
fn ops(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ops"));
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"OPS_") {
            command.env_remove(name);
        }
    }
    command.current_dir(dir);
    command
}

/// Serves `router` on a port of its own.
async fn listen(router: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

fn folder(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("ops-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(dir.join("alerts")).unwrap();
    dir
}

impl Project {
    async fn open(name: &str) -> Project {
        let dir = folder(name);
        let told: Arc<Mutex<Vec<Value>>> = Arc::default();
        let seen = told.clone();
        let take = move |body: String| {
            seen.lock()
                .unwrap()
                .push(serde_json::from_str(&body).unwrap());
            async { "ok" }
        };
        let hook = listen(axum::Router::new().route("/", axum::routing::post(take))).await;
        let settings = format!(
            "receivers:\n- name: hook\n  webhook_configs:\n  - url: {hook}/\nroute:\n  receiver: hook\n"
        );
        std::fs::write(dir.join("ops.yaml"), settings).unwrap();
        std::fs::write(dir.join("alerts/county.yml"), RULES).unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let log = std::fs::File::create(dir.join("stderr")).unwrap();
        let child = ops(&dir)
            .args(["serve", "--tick", "100ms", "--listen"])
            .arg(format!("127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let project = Project {
            dir,
            url: format!("http://127.0.0.1:{port}"),
            child: Some(child),
            told,
        };
        let client = client();
        let health = format!("{}/health", project.url);
        until("it answers", async || {
            let answer = client.get(&health).send().await;
            answer.is_ok_and(|a| a.status() == 200)
        })
        .await;
        project
    }

    /// Pushes what two hosts in the east and one in the west measure; each is durable.
    async fn push(&self, east: [f64; 2], west: f64) {
        let sample = |region: &str, host: &str, val: f64| {
            format!(
                r#"{{"name":"county_api_ms","val":{val},"labels":{{"region":"{region}","host":"{host}"}}}}"#
            )
        };
        let [a, b] = east;
        let all = [
            sample("east", "a", a),
            sample("east", "b", b),
            sample("west", "c", west),
        ];
        let request = client().post(format!("{}/metric", self.url));
        let answer = request.body(format!("[{}]", all.join(","))).send().await;
        assert_eq!(answer.unwrap().status(), 204);
    }

    fn pages(&self) -> Vec<Value> {
        self.told.lock().unwrap().clone()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.join("stderr")).unwrap_or_default();
            eprintln!("--- its log\n{log}\n---");
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_mins(1), "{what}: never");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prometheus_rule_file_pages_with_expression_value_and_labels() {
    let project = Project::open("expr").await;
    until("a page", async || {
        project.push([1_200.0, 1_800.0], 100.0).await;
        !project.pages().is_empty()
    })
    .await;
    let page = &project.pages()[0];
    assert_eq!(page["ops"]["kind"], "opened");
    assert_eq!(page["ops"]["condition"], "region:county_api_ms:avg > 1000");
    assert_eq!(page["ops"]["threshold"], 1000.0);
    let alerts = page["alerts"].as_array().unwrap();
    assert_eq!(alerts.len(), 1, "the west is fine: {page:#}");
    let labels = serde_json::json!({
        "alertname": "CountyApiSlow",
        "region": "east",
        "severity": "page",
        "team": "records",
    });
    assert_eq!(alerts[0]["labels"], labels);
    // `$labels` are those of the series, not what the rule makes of them, as in Prometheus.
    assert_eq!(
        alerts[0]["annotations"]["summary"],
        "east takes 1500 ms (info)"
    );
    assert_eq!(alerts[0]["annotations"]["of"], "2 of 3");

    // A broken edit changes nothing and is shown with its place; the alert still ends by itself.
    let broken = RULES.replace("> 1000", "> > 1000");
    std::fs::write(project.dir.join("alerts/county.yml"), &broken).unwrap();
    let checked = ops(&project.dir).arg("check").output().unwrap();
    let told = String::from_utf8(checked.stdout).unwrap();
    assert!(
        told.contains("alerts/county.yml:11:11")
            && told.contains("more about a code: `ops explain OPS-R003`"),
        "{told}"
    );
    until("the closing page", async || {
        project.push([80.0, 120.0], 100.0).await;
        project.pages().len() > 1
    })
    .await;
    let page = &project.pages()[1];
    assert_eq!(page["ops"]["kind"], "closed");
    assert_eq!(page["status"], "resolved");
}

const HEAL: &str = "
name: vote_slow
expr: vote_ms > 300
auto_heal: scripts/restart.sh
heal:
  settle: 0s
  within: 1s
  hold: 0s
  verify: vote_errors < 5
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heal_that_its_verify_does_not_confirm_is_told_with_the_value() {
    use std::os::unix::fs::PermissionsExt as _;
    let project = Project::open("verify").await;
    let script = project.dir.join("scripts/restart.sh");
    std::fs::create_dir_all(project.dir.join("scripts")).unwrap();
    std::fs::write(&script, "#!/bin/sh\nexit 0\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(project.dir.join("alerts/heal.yml"), HEAL).unwrap();
    let samples = r#"[{"name":"vote_ms","val":450},{"name":"vote_errors","val":9}]"#;
    let failed = |pages: &[Value]| {
        let mut pages = pages.iter();
        pages.find(|p| p["ops"]["kind"] == "heal_failed").cloned()
    };
    until("the page about the heal", async || {
        let request = client().post(format!("{}/metric", project.url));
        assert_eq!(request.body(samples).send().await.unwrap().status(), 204);
        failed(&project.pages()).is_some()
    })
    .await;
    let page = failed(&project.pages()).unwrap();
    let told = page["ops"]["heal"].as_str().unwrap();
    let why = "verify `vote_errors < 5` does not hold: 9";
    assert!(told.contains(why), "{told}");
    let out = ops(&project.dir)
        .args(["why", "1"])
        .env("OPS_URL", &project.url)
        .output()
        .unwrap();
    let told = String::from_utf8(out.stdout).unwrap();
    assert!(told.contains(why), "{told}");
}

/// Against anything that speaks Prometheus's API, the names of metrics are compared.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_that_nobody_sends_are_named_if_an_engine_is_pointed_at() {
    let names = || async { r#"{"status":"success","data":["county_api_ms"]}"# };
    let router =
        axum::Router::new().route("/api/v1/label/__name__/values", axum::routing::get(names));
    let url = listen(router).await;
    let dir = folder("known");
    let typo = RULES.replace("(county_api_ms)", "(county_api_mss)");
    std::fs::write(dir.join("alerts/county.yml"), typo).unwrap();
    let check = |url: Option<&str>| {
        let mut command = ops(&dir);
        command.arg("check");
        if let Some(url) = url {
            command.args(["--url", url]);
        }
        let done = command.output().unwrap();
        let told = String::from_utf8(done.stdout).unwrap();
        let error = String::from_utf8(done.stderr).unwrap();
        (done.status.code(), told, error)
    };
    let (code, told, _) = check(Some(&url));
    assert_eq!(code, Some(0), "a warning is no failure: {told}");
    assert!(
        told.contains("OPS-R036") && told.contains("did you mean `county_api_ms`?"),
        "{told}"
    );
    assert!(
        !told.contains("region:county_api_ms:avg`"),
        "a rule records it: {told}"
    );
    let (code, told, _) = check(None);
    assert_eq!(code, Some(0));
    assert!(!told.contains("OPS-R036"), "nobody asked: {told}");
    let (code, _, error) = check(Some("http://127.0.0.1:1"));
    assert_eq!(code, Some(1));
    assert!(error.contains("metrics were not compared"), "{error}");
    std::fs::remove_dir_all(&dir).unwrap();
}
