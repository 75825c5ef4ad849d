//! The wall clock steps an hour forwards, then back, under the real binary: nothing fires, ends or is paged for it.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const RULE: &str =
    "metric: lat\nwindow: 3s\nthreshold: 100\nnotify: [\"webhook:http://127.0.0.1:1/x\"]\n";

fn faketime() -> Option<PathBuf> {
    let places = [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib",
    ];
    places
        .iter()
        .map(|p| PathBuf::from(p).join("faketime/libfaketime.so.1"))
        .find(|p| p.is_file())
}

async fn get(client: &reqwest::Client, url: String) -> serde_json::Value {
    let text = match client.get(url).send().await {
        Ok(reply) => reply.text().await.unwrap_or_default(),
        Err(_) => String::new(),
    };
    serde_json::from_str(&text).unwrap_or_default()
}

#[test]
fn a_step_of_the_wall_clock_changes_nothing() {
    let Some(library) = faketime() else {
        assert!(
            std::env::var_os("CI").is_none(),
            "faketime is missing: run tests/setup.sh"
        );
        eprintln!("SKIPPED, NOT TESTED: faketime is not installed (tests/setup.sh installs it)");
        return;
    };
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(step(library));
}

async fn step(library: PathBuf) {
    let dir = std::env::temp_dir().join(format!("ops-clock-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(dir.join("alerts")).unwrap();
    std::fs::write(dir.join("alerts/lat.yml"), RULE).unwrap();
    std::fs::write(dir.join("offset"), "+0\n").unwrap();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut child = Command::new(env!("CARGO_BIN_EXE_ops"))
        .args([
            "serve",
            "--tick",
            "100ms",
            "--listen",
            &format!("127.0.0.1:{port}"),
        ])
        .current_dir(&dir)
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", dir.join("offset"))
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (client, base) = (reqwest::Client::new(), format!("http://127.0.0.1:{port}"));
    let skew = async |client: &reqwest::Client| {
        let ready = get(client, format!("{base}/ready")).await;
        ready["checks"]["clock"]["status"]
            .as_str()
            .unwrap_or("")
            .to_owned()
    };
    let incidents = async |client: &reqwest::Client| {
        get(client, format!("{base}/api/ops/v1/incidents?state=all")).await["incidents"].clone()
    };

    // Push until the condition holds; then go on pushing for ten more ticks, so that a wrong edge would show.
    let push_until = async |what: &str, done: &dyn Fn(&str, &serde_json::Value) -> bool| {
        let (started, mut left) = (Instant::now(), 10);
        while left > 0 {
            assert!(
                started.elapsed() < Duration::from_secs(30),
                "{what}: not within 30 s"
            );
            let _ = client
                .post(format!("{base}/metric"))
                .body(r#"{"name":"lat","val":500}"#)
                .send()
                .await;
            if done(&skew(&client).await, &incidents(&client).await) {
                left -= 1;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    push_until("it fires", &|skew, found| {
        skew == "ok" && found.as_array().is_some_and(|a| a.len() == 1)
    })
    .await;
    let before = incidents(&client).await;
    for offset in ["+3600\n", "-3600\n"] {
        std::fs::write(dir.join("offset"), offset).unwrap();
        push_until("the step is seen", &|skew, _| skew == "degraded").await;
        let after = incidents(&client).await;
        assert_eq!(after.as_array().map(Vec::len), Some(1), "{offset}: {after}");
        assert_eq!(after[0]["opened_at"], before[0]["opened_at"], "{offset}");
        assert!(after[0]["closed"].is_null(), "{offset}: {after}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
}
