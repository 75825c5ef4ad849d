//! Debian's promtool asks the real binary.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

struct Server(Child, std::path::PathBuf);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = std::fs::remove_dir_all(&self.1);
    }
}

fn promtool(args: &[&str]) -> String {
    let out = Command::new("promtool").args(args).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        out.status.success(),
        "{args:?}: {text}{}",
        String::from_utf8_lossy(&out.stderr)
    );
    text
}

#[tokio::test]
async fn promtool_asks_and_understands() {
    if Command::new("promtool").arg("--version").output().is_err() {
        assert!(
            std::env::var_os("CI").is_none(),
            "promtool is not installed"
        );
        eprintln!("SKIPPED: promtool is not installed; run tests/setup.sh");
        return;
    }
    let dir = std::env::temp_dir().join(format!("ops-query-{}", std::process::id()));
    std::fs::create_dir_all(dir.join("alerts")).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let child = Command::new(env!("CARGO_BIN_EXE_ops"))
        .args(["serve", "--tick", "100ms", "--listen", &address])
        .current_dir(&dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _server = Server(child, dir);
    let url = format!("http://{address}");
    let client = reqwest::Client::new();
    let began = Instant::now();
    loop {
        let sample = r#"{"name":"api_ms","val":7,"labels":{"pod":"a"}}"#;
        let sent = client.post(format!("{url}/metric")).body(sample).send();
        if sent.await.is_ok_and(|r| r.status() == 204) {
            break;
        }
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "it does not start"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let instant = promtool(&["query", "instant", &url, "api_ms"]);
    assert!(
        instant.starts_with("api_ms{pod=\"a\"} => 7 @["),
        "{instant}"
    );
    let range = promtool(&["query", "range", "--step=1s", &url, "api_ms + 1"]);
    assert!(range.contains("{pod=\"a\"} =>\n8 @["), "{range}");
    let series = promtool(&["query", "series", "--match=api_ms", &url]);
    assert_eq!(series.trim(), "{__name__=\"api_ms\", pod=\"a\"}");
    assert_eq!(promtool(&["query", "labels", &url, "pod"]).trim(), "a");
}
