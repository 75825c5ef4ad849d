//! Debian's Prometheus beside the real binary: as a sender, and as a receiver that is asked the same.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::lab::{free_port, has, until};

/// A Prometheus in a folder of its own; both end with this value.
pub struct Peer {
    child: Child,
    dir: PathBuf,
    port: u16,
}

impl Drop for Peer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the log of its Prometheus\n{}\n---", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Peer {
    /// Starts it with the settings for its port and these flags, and waits until it is ready; `None`, said loudly,
    /// where it is not installed.
    pub async fn start(settings: impl FnOnce(u16) -> String, flags: &[&str]) -> Option<Peer> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !has("prometheus") {
            return None;
        }
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("ops-peer-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        let port = free_port();
        std::fs::write(dir.join("prometheus.yml"), settings(port)).unwrap();
        let log = std::fs::File::create(dir.join("log")).unwrap();
        let child = Command::new("prometheus")
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(flags)
            .current_dir(&dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut peer = Peer { child, dir, port };
        until("prometheus is ready", async || {
            peer.must_run();
            let ready = reqwest::get(peer.url("/-/ready")).await;
            ready.is_ok_and(|r| r.status() == 200)
        })
        .await;
        Some(peer)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Fails with its log if it has ended: a mistake in its settings would look like samples that do not come.
    pub fn must_run(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("prometheus: {status}\n{}", self.log());
        }
    }

    /// What its counters with this name come to.
    pub async fn counted(&self, name: &str) -> f64 {
        let answer = reqwest::get(self.url("/metrics")).await;
        let text = answer.unwrap().text().await.unwrap();
        let lines: Vec<&str> = text.lines().filter(|l| l.starts_with(name)).collect();
        assert!(!lines.is_empty(), "{name} in {text}");
        let values = lines.iter().map(|l| l.rsplit(' ').next().unwrap());
        values.map(|v| v.parse::<f64>().unwrap()).sum()
    }

    /// When its own samples of `up` are, in milliseconds, of the last ten minutes.
    pub async fn times_of_up(&self) -> BTreeSet<i64> {
        let answer = reqwest::get(self.url("/api/v1/query?query=up[10m]")).await;
        let answer = answer.unwrap().text().await.unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let points = answer["data"]["result"][0]["values"].as_array();
        let times = points.map_or(&[][..], |p| p).iter();
        times
            .map(|p| (p[0].as_f64().unwrap() * 1e3).round() as i64)
            .collect()
    }
}
