//! How samples of Prometheus's kind come in, on the real binary: remote write through kills, real scrapes, text pushes,
//! and Prometheus itself as a sender.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use axum::http::HeaderMap;
use ops::engine::promql::source::{STALE_BITS, is_stale};
use ops::journal::samples::{Keys, decode};
use ops::model::labels::SeriesKey;
use ops::shell::store::Pos;
use ops::shell::store::replay::replay;
use reqwest::StatusCode;
use serde_json::Value;

use sent::{body, series};

#[allow(
    dead_code,
    missing_docs,
    reason = "shared with the tests inside, which use more of it"
)]
#[path = "../../src/ingest/remote_write/sent.rs"]
pub(crate) mod sent;

const SOON: Duration = Duration::from_secs(20);

/// A folder and a program in it; both end with this value.
struct Lab {
    dir: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(now.unwrap().as_millis()).unwrap()
}

impl Lab {
    async fn start(settings: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("ops-ingest-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(dir.join("alerts")).unwrap();
        std::fs::write(dir.join("ops.yaml"), settings).unwrap();
        let mut lab = Lab {
            dir,
            port: free_port(),
            child: None,
        };
        lab.run().await;
        lab
    }

    async fn run(&mut self) {
        let stderr = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("stderr"));
        let listen = format!("127.0.0.1:{}", self.port);
        let child = Command::new(env!("CARGO_BIN_EXE_ops"))
            .args(["serve", "--tick", "100ms", "--listen", &listen])
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr.unwrap())
            .spawn();
        self.child = Some(child.unwrap());
        let url = self.url("/health");
        until("ops answers", async || reqwest::get(&url).await.is_ok()).await;
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    async fn write(&self, body: Vec<u8>) -> (StatusCode, String) {
        let request = reqwest::Client::new()
            .post(self.url("/api/v1/write"))
            .header("content-encoding", "snappy")
            .header("content-type", "application/x-protobuf")
            .header("x-prometheus-remote-write-version", "0.1.0")
            .body(body);
        let answer = request.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    /// What the board shows of a metric: the points of each series.
    async fn board(&self, metric: &str) -> BTreeMap<String, Vec<(i64, Option<f64>)>> {
        let url = self.url(&format!("/api/ops/v1/board/{metric}?window=10m"));
        let answer = reqwest::get(url).await.unwrap();
        if !answer.status().is_success() {
            return BTreeMap::new();
        }
        let shown: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        let mut found = BTreeMap::new();
        for series in shown["series"].as_array().unwrap() {
            let points = series["points"].as_array().unwrap().iter();
            let points = points.map(|p| (p[0].as_i64().unwrap(), p[1].as_f64()));
            let key = series["key"].as_str().unwrap();
            found.insert(key.to_owned(), points.collect());
        }
        found
    }

    /// The newest value of the one series of a metric whose name holds a text.
    async fn last(&self, metric: &str, part: &str) -> Option<f64> {
        let board = self.board(metric).await;
        let (_, points) = board.iter().find(|(labels, _)| labels.contains(part))?;
        points.last()?.1
    }

    /// Everything in the sample log: by key, times and values in the order written.
    fn logged(&self) -> BTreeMap<String, Vec<(i64, f64)>> {
        let mut keys: Keys<SeriesKey> = Keys::default();
        let mut found: BTreeMap<String, Vec<(i64, f64)>> = BTreeMap::new();
        replay(&self.dir.join("data/samples"), Pos::new(1), &mut |record| {
            let key = SeriesKey::from_canonical;
            let batch = decode(record.payload, record.segment_no, &mut keys, key).unwrap();
            for (key, ts, value) in batch.samples {
                found.entry(key.to_string()).or_default().push((ts, value));
            }
        })
        .unwrap();
        found
    }
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !done().await {
        assert!(started.elapsed() < SOON, "{what}: not within {SOON:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_remote_write_was_told_is_kept_through_a_kill_and_known_after_it() {
    let mut lab = Lab::start("").await;
    let now = now_ms();
    let up = |samples: &[(i64, f64)]| series(&[("__name__", "up"), ("job", "a")], samples);
    let stale = f64::from_bits(STALE_BITS);
    let first = body(vec![
        up(&[(now - 3, 1.0), (now - 2, f64::NAN), (now - 1, stale)]),
        series(
            &[("__name__", "other.metric"), ("läbel", "ü")],
            &[(now, 7.0)],
        ),
    ]);
    assert_eq!(lab.write(first.clone()).await.0, 204);
    lab.kill();
    lab.run().await;
    // Prometheus got no answer, as far as it knows, and sends the same again.
    assert_eq!(lab.write(first).await.0, 204);
    let (status, told) = lab
        .write(body(vec![up(&[(now - 1, 5.0), (now, 2.0)])]))
        .await;
    assert!(
        status == 400 && told.contains("duplicate") && told.contains("1 taken"),
        "{told}"
    );
    lab.kill();
    let logged = lab.logged();
    let bits: Vec<(i64, u64)> = logged["up{job=\"a\"}"]
        .iter()
        .map(|(t, v)| (*t, v.to_bits()))
        .collect();
    let wanted = [
        (now - 3, 1.0),
        (now - 2, f64::NAN),
        (now - 1, stale),
        (now, 2.0),
    ];
    assert_eq!(bits, wanted.map(|(t, v)| (t, v.to_bits())));
    assert_eq!(logged["other.metric{läbel=\"ü\"}"], [(now, 7.0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_of_labels_harms_nobody_else() {
    let lab = Lab::start("").await;
    let now = now_ms();
    let many: Vec<(String, String)> = (0..10_000)
        .map(|i| (format!("l{i}"), "x".to_owned()))
        .collect();
    let mut labels: Vec<(&str, &str)> = many.iter().map(|(n, v)| (&**n, &**v)).collect();
    labels.push(("__name__", "bomb"));
    let good = series(&[("__name__", "good")], &[(now, 1.0)]);
    let (status, told) = lab
        .write(body(vec![series(&labels, &[(now, 1.0)]), good]))
        .await;
    assert!(
        status == 400 && told.contains("10000 labels; the limit is 128"),
        "{told}"
    );
    let (status, _) = lab.write(vec![0xff; 100_000]).await;
    assert_eq!(status, 400);
    until("the good one is there", async || {
        lab.last("good", "").await == Some(1.0)
    })
    .await;
    let metrics = reqwest::get(lab.url("/metrics"))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        metrics.contains("ops_samples_refused_total{reason=\"malformed\"} 1"),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn text_is_pushed() {
    let lab = Lab::start("").await;
    let push = async |kind: &str, body: &str| {
        let request = reqwest::Client::new().post(lab.url("/api/v1/import/prometheus"));
        let request = request.header("content-type", kind).body(body.to_owned());
        request.send().await.unwrap().status()
    };
    assert_eq!(
        push("text/plain", "# TYPE queue gauge\nqueue{name=\"a b\"} 4\n").await,
        204
    );
    assert_eq!(
        push("application/openmetrics-text", "jobs_total 5\n# EOF\n").await,
        204
    );
    assert_eq!(push("text/plain", "queue{name=} 4\n").await, 400);
    until("it is there", async || {
        lab.last("queue", "a b").await == Some(4.0) && lab.last("jobs_total", "").await == Some(5.0)
    })
    .await;
}

/// Targets for scraping: what each path answers can be changed.
#[derive(Clone, Default)]
struct Targets(Arc<Mutex<BTreeMap<&'static str, (u16, String)>>>);

impl Targets {
    fn set(&self, path: &'static str, status: u16, text: &str) {
        self.0
            .lock()
            .unwrap()
            .insert(path, (status, text.to_owned()));
    }

    /// `/hang` never answers, `/endless` never stops; `/secret` wants the password or the token of the moment.
    async fn serve(&self) -> u16 {
        let all = self.clone();
        let answer = move |headers: HeaderMap, uri: axum::http::Uri| {
            let all = all.clone();
            async move {
                let path = uri.path();
                if path == "/hang" {
                    std::future::pending::<()>().await;
                }
                let found = all.0.lock().unwrap().get(path).cloned();
                let (status, text) = found.unwrap_or((404, String::new()));
                let status = StatusCode::from_u16(status).unwrap();
                if path == "/endless" {
                    return (status, text.repeat(1_000_000 / text.len().max(1)));
                }
                if path == "/secret" {
                    let given = headers
                        .get("authorization")
                        .map(|v| v.to_str().unwrap().to_owned());
                    if given != Some(text) {
                        return (StatusCode::UNAUTHORIZED, String::new());
                    }
                    return (status, "secret 1\n".to_owned());
                }
                (status, text)
            }
        };
        let router = axum::Router::new().fallback(answer);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, router).await });
        port
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_are_asked_and_a_bad_one_harms_only_itself() {
    let targets = Targets::default();
    targets.set(
        "/good",
        200,
        "# HELP load Load.\nload{job=\"own\",cpu=\"0\"} 0.5\nload{cpu=\"1\"} 0.25\ngo_x 1\n",
    );
    targets.set("/bad", 200, "load{ 1\n");
    targets.set("/gone", 500, "");
    targets.set("/endless", 200, "x 1\n");
    targets.set("/secret", 200, "Basic bWU6cHc=");
    let port = targets.serve().await;
    let job = |name: &str, more: &str| {
        format!(
            "- job_name: {name}\n  metrics_path: /{name}\n  static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n{more}"
        )
    };
    let settings = [
        "global: {scrape_interval: 300ms, scrape_timeout: 250ms}\nscrape_configs:\n".to_owned(),
        job("good", "  metric_relabel_configs: [{source_labels: [__name__], regex: 'go_.*', action: drop}]\n"),
        job("bad", ""),
        job("gone", ""),
        job("hang", ""),
        job("endless", "  body_size_limit: 64KB\n"),
        job("secret", "  basic_auth: {username: me, password: pw}\n"),
        "- job_name: nobody\n  static_configs: [{targets: ['127.0.0.1:1']}]\n".to_owned(),
    ]
    .concat();
    let lab = Lab::start(&settings).await;
    until("all have been asked", async || {
        lab.board("up").await.len() == 7
    })
    .await;
    for (name, up) in [
        ("good", 1.0),
        ("secret", 1.0),
        ("bad", 0.0),
        ("gone", 0.0),
        ("hang", 0.0),
        ("endless", 0.0),
        ("nobody", 0.0),
    ] {
        assert_eq!(
            lab.last("up", &format!("\"{name}\"")).await,
            Some(up),
            "{name}"
        );
    }
    assert_eq!(lab.last("load", "exported_job=\"own\"").await, Some(0.5));
    assert_eq!(lab.last("load", "cpu=\"1\"").await, Some(0.25));
    assert_eq!(lab.last("scrape_samples_scraped", "good").await, Some(3.0));
    assert_eq!(
        lab.last("scrape_samples_post_metric_relabeling", "good")
            .await,
        Some(2.0)
    );
    assert!(lab.last("scrape_duration_seconds", "hang").await.unwrap() >= 0.25);
    assert!(lab.board("go_x").await.is_empty());
    // The one that hangs holds up nobody.
    let asked = lab.board("up").await;
    let (_, good) = asked.iter().find(|(l, _)| l.contains("good")).unwrap();
    let before = good.len();
    until("it is asked again and again", async || {
        let board = lab.board("up").await;
        board
            .iter()
            .any(|(l, points)| l.contains("good") && points.len() > before + 4)
    })
    .await;
    targets.set("/good", 200, "load{cpu=\"1\"} 0.75\n");
    until("it says something else", async || {
        lab.last("load", "cpu=\"1\"").await == Some(0.75)
    })
    .await;
    targets.set("/good", 503, "");
    until("it is down", async || {
        lab.last("up", "good").await == Some(0.0)
    })
    .await;
    let mut lab = lab;
    lab.kill();
    let logged = lab.logged();
    let of = |metric: &str, part: &str| {
        let mut found = logged.iter();
        let found = found.find(|(key, _)| key.starts_with(metric) && key.contains(part));
        found.map(|(_, samples)| samples.clone()).unwrap()
    };
    for part in ["exported_job", "cpu=\"1\""] {
        let last = *of("load{", part).last().unwrap();
        assert!(is_stale(last.1), "{part} has ended");
    }
    let times: Vec<i64> = of("up{", "good").iter().map(|s| s.0).collect();
    let steps: Vec<i64> = times.windows(2).map(|w| w[1] - w[0]).collect();
    let even = steps.iter().filter(|s| **s == 300).count();
    assert!(even * 2 > steps.len(), "{steps:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_come_and_go_with_files_and_settings_and_ops_asks_itself() {
    let targets = Targets::default();
    targets.set("/metrics", 200, "load 1\n");
    targets.set("/secret", 200, "Token one");
    let port = targets.serve().await;
    let own = free_port();
    let settings = format!(
        "listen: 127.0.0.1:{own}\nglobal: {{scrape_interval: 200ms}}\nscrape_configs:\n\
         - job_name: files\n  file_sd_configs: [{{files: ['targets/*.json']}}]\n\
         - job_name: secret\n  metrics_path: /secret\n  authorization: {{type: Token, credentials_file: token}}\n  static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n"
    );
    let mut lab = Lab {
        dir: std::env::temp_dir().join(format!("ops-ingest-files-{}", std::process::id())),
        port: own,
        child: None,
    };
    let _ = std::fs::remove_dir_all(&lab.dir);
    std::fs::create_dir_all(lab.dir.join("targets")).unwrap();
    std::fs::create_dir_all(lab.dir.join("alerts")).unwrap();
    std::fs::write(lab.dir.join("token"), "one\n").unwrap();
    std::fs::write(lab.dir.join("ops.yaml"), &settings).unwrap();
    lab.run().await;
    until("the token opens", async || {
        lab.last("up", "secret").await == Some(1.0)
    })
    .await;

    let file = lab.dir.join("targets/a.json");
    let name = |hosts: &[String]| {
        let hosts: Vec<String> = hosts.iter().map(|h| format!("\"{h}\"")).collect();
        format!(
            "[{{\"targets\": [{}], \"labels\": {{\"env\": \"prod\"}}}}]",
            hosts.join(",")
        )
    };
    let (a, b) = (format!("127.0.0.1:{port}"), format!("localhost:{own}"));
    std::fs::write(&file, name(&[a.clone(), b.clone()])).unwrap();
    until("both are asked", async || {
        lab.last("up", &a).await == Some(1.0) && lab.last("up", &b).await == Some(1.0)
    })
    .await;
    assert!(lab.board("load").await.keys().all(|l| l.contains("prod")));
    until("ops counts itself", async || {
        lab.last("ops_samples_total", &b)
            .await
            .is_some_and(|v| v > 0.0)
    })
    .await;
    let count = lab.last("scrape_samples_scraped", &b).await.unwrap();
    assert!(count > 20.0, "{count}");

    // A broken file changes nothing; a target that is gone ends.
    std::fs::write(&file, "[{\"targets\": ").unwrap();
    std::fs::write(lab.dir.join("token"), "two\n").unwrap();
    targets.set("/secret", 200, "Token two");
    let asked = async |part: &str| {
        let board = lab.board("up").await;
        board
            .iter()
            .find(|(l, _)| l.contains(part))
            .map_or(0, |(_, points)| points.len())
    };
    let (files, secret) = (asked("files").await, asked("secret").await);
    until("all go on", async || {
        asked("files").await > files + 8 && asked("secret").await > secret + 8
    })
    .await;
    assert_eq!(
        lab.last("up", "secret").await,
        Some(1.0),
        "the new token is read"
    );
    std::fs::write(&file, name(std::slice::from_ref(&b))).unwrap();
    let mut before = asked(&a).await;
    until("one is no longer asked", async || {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let now = asked(&a).await;
        std::mem::replace(&mut before, now) == now
    })
    .await;
    lab.kill();
    let logged = lab.logged();
    for metric in ["up", "load", "scrape_duration_seconds"] {
        let (key, samples) = logged
            .iter()
            .find(|(key, _)| {
                key.starts_with(&format!("{metric}{{")) && key.contains(&a) && key.contains("files")
            })
            .unwrap();
        assert!(is_stale(samples.last().unwrap().1), "{key} has ended");
    }
}

/// A process that ends with this value.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A TLS server with a certificate of its own, by Python; `None` where Python or openssl is missing.
fn tls_target(dir: &Path) -> Option<(Ended, u16)> {
    std::fs::create_dir_all(dir).unwrap();
    let path = |name: &str| dir.join(name);
    let (conf, key, cert) = (path("conf"), path("key.pem"), path("cert.pem"));
    // Who is a certificate authority may not be a server.
    let text = "[req]\ndistinguished_name=dn\nx509_extensions=ext\nprompt=no\n[dn]\nCN=localhost\n\
                [ext]\nbasicConstraints=critical,CA:FALSE\nsubjectAltName=DNS:localhost\n";
    std::fs::write(&conf, text).unwrap();
    let kind = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    let made = Command::new("openssl")
        .args(kind.split(' '))
        .args([Path::new("-config"), &conf, Path::new("-keyout"), &key])
        .args([Path::new("-out"), &cert])
        .stderr(Stdio::null())
        .status();
    let program = "import http.server,ssl,sys\n\
        class H(http.server.BaseHTTPRequestHandler):\n\
        \x20def do_GET(self):\n\
        \x20 self.send_response(200);self.send_header('content-length','6');self.end_headers();self.wfile.write(b'tls 1\\n')\n\
        \x20def log_message(self,*a):pass\n\
        s=http.server.ThreadingHTTPServer(('127.0.0.1',int(sys.argv[1])),H)\n\
        c=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER);c.load_cert_chain(sys.argv[2],sys.argv[3])\n\
        s.socket=c.wrap_socket(s.socket,server_side=True);s.serve_forever()\n";
    let port = free_port();
    let server = Command::new("python3")
        .args(["-c", program, &port.to_string()])
        .args([&cert, &key])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match (made, server) {
        (Ok(made), Ok(server)) if made.success() => Some((Ended(server), port)),
        _ => {
            assert!(
                std::env::var_os("CI").is_none(),
                "python3 and openssl are needed"
            );
            eprintln!(
                "\n*** SKIPPED, NOT TESTED: python3 and openssl are needed for a TLS target ***\n"
            );
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_may_speak_tls_if_it_is_trusted() {
    let dir = std::env::temp_dir().join(format!("ops-ingest-tls-{}", std::process::id()));
    let Some((_server, port)) = tls_target(&dir) else {
        return;
    };
    let cert = dir.join("cert.pem").display().to_string();
    let mut settings = "global: {scrape_interval: 500ms}\nscrape_configs:\n".to_owned();
    for (name, tls) in [
        ("trusted", format!("{{ca_file: {cert}}}")),
        ("careless", "{insecure_skip_verify: true}".to_owned()),
        ("stranger", "{insecure_skip_verify: false}".to_owned()),
    ] {
        settings += &format!(
            "- job_name: {name}\n  scheme: https\n  tls_config: {tls}\n  static_configs: [{{targets: ['localhost:{port}']}}]\n"
        );
    }
    let lab = Lab::start(&settings).await;
    until("those who trust it reach it", async || {
        lab.last("up", "trusted").await == Some(1.0)
            && lab.last("up", "careless").await == Some(1.0)
    })
    .await;
    until("the stranger has tried", async || {
        lab.last("up", "stranger").await.is_some()
    })
    .await;
    assert_eq!(lab.last("up", "stranger").await, Some(0.0));
    let _ = std::fs::remove_dir_all(&dir);
}

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
    fn start(to: &str) -> Option<Self> {
        let dir =
            std::env::temp_dir().join(format!("ops-ingest-prometheus-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        let port = free_port();
        let config = format!(
            "global: {{scrape_interval: 500ms}}\nscrape_configs:\n- job_name: self\n  static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n\
             remote_write:\n- url: {to}\n  queue_config: {{batch_send_deadline: 200ms, min_backoff: 50ms, max_backoff: 200ms}}\n"
        );
        std::fs::write(dir.join("prometheus.yml"), config).unwrap();
        let child = Command::new("prometheus")
            .arg(format!(
                "--config.file={}",
                dir.join("prometheus.yml").display()
            ))
            .arg(format!(
                "--storage.tsdb.path={}",
                dir.join("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match child {
            Ok(child) => Some(Self { child, dir, port }),
            Err(error) => {
                eprintln!("\n*** SKIPPED, NOT TESTED: prometheus does not start: {error} ***\n");
                None
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_sends_through_an_outage_without_loss() {
    let mut lab = Lab::start("").await;
    let Some(prometheus) = Prometheus::start(&lab.url("/api/v1/write")) else {
        return;
    };
    let held = async |lab: &Lab| {
        lab.board("up")
            .await
            .into_values()
            .next()
            .unwrap_or_default()
            .len()
    };
    until("samples arrive", async || held(&lab).await > 3).await;
    lab.kill();
    tokio::time::sleep(Duration::from_secs(2)).await;
    lab.run().await;
    let before = held(&lab).await;
    until("it has caught up", async || held(&lab).await > before + 8).await;
    let metrics = reqwest::get(format!("http://127.0.0.1:{}/metrics", prometheus.port));
    let metrics = metrics.await.unwrap().text().await.unwrap();
    let failed = |l: &&str| {
        l.starts_with("prometheus_remote_storage_samples_failed_total")
            || l.starts_with("prometheus_remote_storage_samples_dropped_total{")
                && l.contains("remote_name")
    };
    for line in metrics
        .lines()
        .filter(failed)
        .filter(|l| l.contains("failed"))
    {
        assert!(line.ends_with(" 0"), "{line}");
    }
    drop(prometheus);
    lab.kill();
    let logged = lab.logged();
    let (_, up) = logged
        .iter()
        .find(|(key, _)| key.starts_with("up{"))
        .unwrap();
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
