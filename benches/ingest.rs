//! `POST /metric` with durable acknowledgements against the floor: a bare axum handler that only parses the JSON. Both
//! run in this process, in turn, under the same load from wrk (Debian's package `wrk`): 64 connections.
//!
//! `cargo bench --bench ingest`

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, RwLock};

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use ops::api::{self, Api};
use ops::engine::policy::Policy;
use ops::model::time::Duration;
use ops::shell::drive::start::Start;
use ops::shell::load::Loaded;
use table::{Row, Table, figure};

mod table;

#[derive(serde::Deserialize)]
#[expect(dead_code, reason = "the floor parses and does nothing")]
struct Plain {
    name: String,
    val: f64,
    labels: std::collections::HashMap<String, String>,
}

async fn floor_one(body: Bytes) -> StatusCode {
    serde_json::from_slice::<Plain>(&body)
        .map_or(StatusCode::BAD_REQUEST, |_| StatusCode::NO_CONTENT)
}

async fn floor_many(body: Bytes) -> StatusCode {
    serde_json::from_slice::<Vec<Plain>>(&body)
        .map_or(StatusCode::BAD_REQUEST, |_| StatusCode::NO_CONTENT)
}

fn script(dir: &std::path::Path, items: usize) -> PathBuf {
    let path = dir.join(format!("post{items}.lua"));
    let text = format!(
        "local n = 0\nrequest = function()\n  n = (n + 1) % 1000\n  local t = {{}}\n  for i = 1, {items} do\n    t[i] = '{{\"name\":\"county_api_ms\",\"val\":' .. (n + i) .. ',\"labels\":{{\"region\":\"east\",\"instance\":\"api-' .. ((n + i) % 1000) .. '\"}}}}'\n  end\n  local body = {items} == 1 and t[1] or '[' .. table.concat(t, ',') .. ']'\n  return wrk.format('POST', nil, nil, body)\nend\n"
    );
    // Building large bodies in Lua would cost more than serving them: the big ones are made once.
    let text = if items == 1 {
        text
    } else {
        text.replace(
            "request = function()",
            "local made\nrequest = function()\n  if made then return made end",
        )
        .replace(
            "  return wrk.format('POST', nil, nil, body)",
            "  made = wrk.format('POST', nil, nil, body)\n  return made",
        )
    };
    std::fs::write(&path, text).expect("scratch folder is writable");
    path
}

fn load(url: &str, script: &std::path::Path, seconds: u32) -> f64 {
    let out = Command::new("wrk")
        .args(["-t1", "-c64", &format!("-d{seconds}s"), "-s"])
        .arg(script)
        .arg(url)
        .output()
        .expect("wrk runs: install Debian's package wrk");
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(!text.contains("Non-2xx"), "{text}");
    let line = text
        .lines()
        .find(|l| l.starts_with("Requests/sec:"))
        .unwrap_or_else(|| panic!("{text}"));
    line.trim_start_matches("Requests/sec:")
        .trim()
        .parse()
        .expect("wrk prints a number")
}

fn main() {
    let mut table = Table::open("ingest", &["wrk"]);
    let dir = std::env::temp_dir().join(format!("ops-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("scratch folder");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("runtime");
    let (floor, ours) = runtime.block_on(async {
        let start = Start {
            data: &dir.join("data"),
            policy: Arc::new(Policy::default()),
            tick: Duration::from_secs(1),
            retention: Duration::from_hours(1),
            snapshot_interval: ops::model::time::Duration::from_mins(5),
            sync_every: None,
        };
        let ready = start.open().expect("logs open");
        let handle = ready.handle();
        ready.go(|_| {});
        let (reload, _) = std::sync::mpsc::channel();
        let api = Api {
            handle,
            loaded: Arc::new(RwLock::new(Loaded::default())),
            reload,
            data: dir.join("data"),
            runbooks: dir.join("runbooks"),
            exposed: false,
        };
        let ours = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback");
        let floor = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback");
        let addresses = (
            floor.local_addr().expect("bound"),
            ours.local_addr().expect("bound"),
        );
        tokio::spawn(api::serve(ours, api::router(api), std::future::pending()));
        let bare = Router::new()
            .route("/metric", post(floor_one))
            .route("/metrics", post(floor_many));
        tokio::spawn(async move { axum::serve(floor, bare).await });
        addresses
    });
    let seconds = table.size(4, 1);
    for (items, floor_path, least) in [(1, "metric", 0.7), (1_000, "metrics", 0.6)] {
        let script = script(&dir, items);
        let (mut bare, mut durable) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let rate = |url: String| load(&url, &script, seconds) * items as f64;
            let floor = rate(format!("http://{floor}/{floor_path}"));
            let ours = rate(format!("http://{ours}/metric"));
            println!(
                "{items:>5} samples a request: floor {floor:>10.0}/s  durable {ours:>10.0}/s  ratio {:.2}",
                ours / floor
            );
            bare.push(floor);
            durable.push(ours);
        }
        table.row(Row {
            case: format!(
                "samples a request: {}; durable before the answer",
                figure(items as f64)
            ),
            unit: "samples/s",
            ours: durable,
            beside: "a bare handler that only parses the JSON",
            theirs: bare,
            least: Some(least),
            ..Row::default()
        });
    }
    runtime.shutdown_background();
    let _ = std::fs::remove_dir_all(&dir);
    table.write();
}
