//! A real server over a real engine in a temporary folder.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Instant;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

use crate::api::{Api, router, serve};
use crate::config::settings::{Settings, Token};
use crate::config::{SourceFile, read_rules};
use crate::engine::policy::Policy;
use crate::model::time::Duration;
use crate::shell::drive::start::Start;
use crate::shell::load::Loaded;

pub struct World {
    pub url: String,
    pub client: Client,
    pub folder: PathBuf,
    pub handle: crate::shell::drive::Handle,
    /// Answers requests to load.
    pub loads: std::sync::mpsc::Receiver<()>,
    /// What the API sees of the last load.
    pub loaded: Arc<RwLock<Loaded>>,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// One rule.
pub const RULES: &str =
    "- name: Slow\n  metric: api_ms\n  window: 1m\n  threshold: 100\n  notify: [a@example.org]\n";

/// A world with these tokens.
pub async fn world(tokens: Vec<Token>) -> World {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("ops-api-{}-{number}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(folder.join("runbooks")).unwrap();
    let (rules, problems) = read_rules(&SourceFile {
        path: "r.yml".to_owned(),
        shown: "r.yml".to_owned(),
        text: RULES.to_owned(),
    });
    assert!(rules.rules.len() == 1, "{problems:?}");
    let policy = Arc::new(Policy {
        rules: rules.rules,
        ..Policy::default()
    });
    let start = Start {
        data: &folder.join("data"),
        policy: policy.clone(),
        tick: Duration::from_ms(100),
        retention: Duration::from_hours(1),
        snapshot_interval: Duration::from_mins(5),
        sync_every: None,
    };
    std::fs::create_dir_all(start.data).unwrap();
    let ready = start.open().unwrap();
    let handle = ready.handle();
    ready.go(|_| {});
    let settings = Arc::new(Settings {
        tokens,
        ..Settings::default()
    });
    let loaded = Loaded {
        policy,
        settings,
        ..Loaded::default()
    };
    let loaded = Arc::new(RwLock::new(loaded));
    let (reload, asked) = std::sync::mpsc::channel();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let routes = router(Api {
        handle: handle.clone(),
        loaded: loaded.clone(),
        reload,
        data: folder.join("data"),
        runbooks: folder.join("runbooks"),
        exposed: false,
    });
    tokio::spawn(serve(listener, routes, std::future::pending()));
    World {
        url,
        client: Client::new(),
        folder,
        handle,
        loads: asked,
        loaded,
    }
}

impl World {
    pub fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }
    pub async fn get(&self, path: &str) -> (u16, String) {
        answer(self.ask(Method::GET, path)).await
    }
    pub async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> (u16, String) {
        answer(self.ask(Method::POST, path).body(body)).await
    }
    /// What a series holds, oldest first: (ms, bits of the value).
    pub async fn samples(&self, key: &'static str) -> Vec<(i64, u64)> {
        self.ticked().await;
        let held = self.handle.ask(move |view| {
            let found = view.series.iter().find(|(_, s)| s.key().to_string() == key);
            found.map(|(_, s)| s.copy())
        });
        let Some(copy) = held.await.flatten() else {
            return Vec::new();
        };
        let values = copy.values.iter().map(|v| v.to_bits());
        copy.times.iter().copied().zip(values).collect()
    }
    /// Waits for two ticks more, ten of which are in a second.
    pub async fn ticked(&self) {
        let (ticks, begun) = (&self.handle.status.ticks_total, Instant::now());
        let before = ticks.load(Ordering::Relaxed);
        while ticks.load(Ordering::Relaxed) < before + 2 {
            assert!(begun.elapsed().as_secs() < 60, "the engine stands still");
            tokio::time::sleep(Duration::from_ms(20).std()).await;
        }
    }
}

/// Status and text.
pub async fn answer(request: RequestBuilder) -> (u16, String) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.text().await.unwrap())
}

/// Text as JSON.
pub fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Bytes as gzip.
pub fn zipped(text: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(text).unwrap();
    out.finish().unwrap()
}
