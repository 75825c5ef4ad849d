//! The real program in a folder of its own, webhooks that listen, and waiting without luck.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ops::journal::samples::{Keys, decode, decode_histograms};
use ops::model::labels::SeriesKey;
use ops::shell::drive::{KIND_HISTOGRAMS, KIND_OWN_HISTOGRAMS, KIND_OWN_SAMPLES, KIND_SAMPLES};
use ops::shell::store::Pos;
use ops::shell::store::replay::replay;
use serde_json::Value;

/// Far more than anything here needs, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A project folder and the program that serves it; both end with this value.
pub struct Lab {
    pub dir: PathBuf,
    pub client: reqwest::Client,
    pub port: u16,
    child: Option<Child>,
}

impl Lab {
    /// An empty project: `alerts/`, `scripts/`, no settings, nothing runs.
    pub fn new(name: &str) -> Lab {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("ops-{name}-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        for sub in ["alerts", "scripts"] {
            std::fs::create_dir_all(dir.join(sub)).unwrap();
        }
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Lab {
            dir,
            client,
            port: free_port(),
            child: None,
        }
    }

    /// Writes a file of the project.
    pub fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Writes a shell script below `scripts/` that can be run.
    pub fn script(&self, name: &str, body: &str) -> PathBuf {
        let path = self.write(&format!("scripts/{name}"), &format!("#!/bin/sh\n{body}\n"));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, mode).unwrap();
        path
    }

    /// `ops serve`, ten ticks a second; its log goes to the file `stderr`.
    pub fn command(&self) -> Command {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("stderr"))
            .unwrap();
        let mut command = ops(&self.dir);
        command
            .args(["serve", "--tick", "100ms", "--listen"])
            .arg(format!("127.0.0.1:{}", self.port))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        command
    }

    /// Starts the program.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        self.child = Some(self.command().spawn().unwrap());
    }

    /// Starts the program and waits until it answers.
    pub async fn serve(&mut self) {
        let command = self.command();
        self.serve_as(command).await;
    }

    /// The same, with a command of one's own making.
    pub async fn serve_as(&mut self, mut command: Command) {
        assert!(self.child.is_none(), "it runs already");
        self.child = Some(command.spawn().unwrap());
        until("it answers", async || {
            let answer = self.client.get(self.url("/health")).send().await;
            answer.is_ok_and(|a| a.status() == 200)
        })
        .await;
    }

    /// The process id of the program.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.as_ref().unwrap().id()).unwrap()
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGTERM; it must go by itself.
    pub async fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&child),
            rustix::process::Signal::TERM,
        )
        .unwrap();
        until("it stops", async || child.try_wait().unwrap().is_some()).await;
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Status and JSON of an answer; 0 and null if there is none.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        match self.client.get(self.url(path)).send().await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                let text = answer.text().await.unwrap_or_default();
                (status, serde_json::from_str(&text).unwrap_or_default())
            }
            Err(_) => (0, Value::Null),
        }
    }

    /// POST; the status, 0 if there is no answer.
    pub async fn post(&self, path: &str, body: &str) -> u16 {
        let request = self.client.post(self.url(path)).body(body.to_owned());
        match request.send().await {
            Ok(answer) => answer.status().as_u16(),
            Err(_) => 0,
        }
    }

    /// Pushes one sample; whether it is durable.
    pub async fn push(&self, name: &str, value: f64) -> bool {
        let body = format!(r#"{{"name":"{name}","val":{value}}}"#);
        self.post("/metric", &body).await == 204
    }

    /// What a client command prints.
    pub fn tells(&self, args: &[&str]) -> String {
        let url = self.url("");
        let told = ops(&self.dir).args(args).args(["--url", &url]).output();
        String::from_utf8(told.unwrap().stdout).unwrap()
    }

    /// Open and closed incidents, newest first.
    pub async fn incidents(&self) -> Vec<Value> {
        let (_, body) = self.get("/api/ops/v1/incidents?state=all").await;
        body["incidents"].as_array().cloned().unwrap_or_default()
    }

    /// A part of `/ready`: its status and its words.
    pub async fn check(&self, name: &str) -> (String, String) {
        let (_, body) = self.get("/ready").await;
        let text = |field: &str| {
            body["checks"][name][field]
                .as_str()
                .unwrap_or("")
                .to_owned()
        };
        (text("status"), text("detail"))
    }

    /// What `/metrics` says of a counter or gauge of ours, with its labels.
    pub async fn counted(&self, line: &str) -> Option<f64> {
        let answer = self.client.get(self.url("/metrics")).send().await;
        let text = answer.ok()?.text().await.ok()?;
        let mut values = text.lines().filter_map(|l| l.strip_prefix(line));
        values.find_map(|rest| rest.strip_prefix(' ')?.parse().ok())
    }

    /// All numbers in the sample log, which must not be damaged: by key, times and values in the order written.
    pub fn logged(&self) -> BTreeMap<String, Vec<(i64, f64)>> {
        let mut keys: Keys<SeriesKey> = Keys::default();
        let mut found: BTreeMap<String, Vec<(i64, f64)>> = BTreeMap::new();
        let folder = self.dir.join("data/samples");
        let report = replay(&folder, Pos::new(1), &mut |record| {
            let key = SeriesKey::from_canonical;
            if [KIND_HISTOGRAMS, KIND_OWN_HISTOGRAMS].contains(&record.kind) {
                decode_histograms(record.payload, record.segment_no, &mut keys, key).unwrap();
                return;
            }
            assert!([KIND_SAMPLES, KIND_OWN_SAMPLES].contains(&record.kind));
            let batch = decode(record.payload, record.segment_no, &mut keys, key).unwrap();
            for (key, ts, value) in batch.samples {
                found.entry(key.to_string()).or_default().push((ts, value));
            }
        });
        assert!(report.unwrap().damaged.is_empty());
        found
    }

    /// Values of the metric `load` in the sample log, whole numbers, with how often each is there.
    pub fn loads(&self) -> BTreeMap<u64, usize> {
        let mut found = BTreeMap::new();
        for (key, samples) in self.logged() {
            if key == "load" || key.starts_with("load{") {
                samples
                    .iter()
                    .for_each(|(_, value)| *found.entry(*value as u64).or_default() += 1);
            }
        }
        found
    }

    /// What the program logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("stderr")).unwrap_or_default()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let end = log.lines().rev().take(40).collect::<Vec<_>>();
            let end = end.into_iter().rev().collect::<Vec<_>>().join("\n");
            eprintln!("--- the end of its log\n{end}\n---");
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// The program in a folder, without what the developer's environment says.
pub fn ops(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ops"));
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"OPS_") {
            command.env_remove(name);
        }
    }
    command.current_dir(dir);
    command
}

/// Says that something was not tested: past libtest, which keeps what a passing test prints to itself.
pub fn skipped(what: &str) {
    let line = format!("\n*** SKIPPED, NOT TESTED: {what} ***\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// The same of a tool that `tests/setup.sh` installs: in CI, nothing may go untested for the lack of one.
pub fn lacks(tool: &str) {
    assert!(
        std::env::var_os("CI").is_none(),
        "{tool} is missing: run tests/setup.sh"
    );
    skipped(&format!("{tool} is missing; tests/setup.sh installs it"));
}

/// Whether a program can be run; [`lacks`] it if not.
pub fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        lacks(program);
    }
    found
}

/// Serves a router on a port of its own; its URL.
pub async fn listen(router: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Waits until it holds; fails after [`PATIENCE`].
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(
            begun.elapsed() < PATIENCE,
            "{what}: not within {PATIENCE:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A page as a webhook got it.
#[derive(Clone, Debug)]
pub struct Told {
    pub key: String,
    /// The webhook's name: the path it was told at.
    pub name: String,
    pub body: Value,
}

impl Told {
    pub fn incident(&self) -> u64 {
        self.body["ops"]["incident"].as_u64().unwrap()
    }
    pub fn kind(&self) -> &str {
        self.body["ops"]["kind"].as_str().unwrap()
    }
    pub fn rule(&self) -> &str {
        self.body["groupLabels"]["alertname"].as_str().unwrap()
    }
    /// An annotation of its first alert.
    pub fn says(&self, annotation: &str) -> &str {
        let annotations = &self.body["alerts"][0]["annotations"];
        annotations[annotation].as_str().unwrap_or("")
    }
}

/// Webhooks that accept everything, told apart by their path.
#[derive(Clone)]
pub struct Hooks {
    pub base: String,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Hooks {
    pub async fn open() -> Hooks {
        let told: Arc<Mutex<Vec<Told>>> = Arc::default();
        let seen = told.clone();
        let take = move |path: axum::extract::Path<String>,
                         headers: axum::http::HeaderMap,
                         body: String| {
            let page = Told {
                key: headers["idempotency-key"].to_str().unwrap().to_owned(),
                name: path.0,
                body: serde_json::from_str(&body).unwrap(),
            };
            seen.lock().unwrap().push(page);
            async { "ok" }
        };
        let router = axum::Router::new().route("/{name}", axum::routing::post(take));
        let base = listen(router).await;
        Hooks { base, told }
    }

    /// Settings with these webhooks as receivers; the first is the default.
    pub fn settings(&self, names: &[&str]) -> String {
        let mut text = "receivers:\n".to_owned();
        for name in names {
            text += &format!(
                "- name: {name}\n  webhook_configs:\n  - url: {}/{name}\n",
                self.base
            );
        }
        text + &format!("route:\n  receiver: {}\n", names[0])
    }

    /// What was told so far, in order.
    pub fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    /// What was told of one rule, in order.
    pub fn about(&self, rule: &str) -> Vec<Told> {
        let mut told = self.told();
        told.retain(|t| t.rule() == rule);
        told
    }

    /// The kinds of what one webhook was told of one rule, in order.
    pub fn kinds(&self, name: &str, rule: &str) -> Vec<String> {
        let told = self.about(rule).into_iter().filter(|t| t.name == name);
        told.map(|t| t.kind().to_owned()).collect()
    }
}
