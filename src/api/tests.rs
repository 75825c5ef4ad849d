//! What callers see.

use std::sync::atomic::Ordering;

use reqwest::Method;

use crate::config::settings::{Scope, Token};
use crate::model::secret::Secret;
use crate::shell::load::{Loader, Places};
use world::{answer, value, world, zipped};

mod prom;
mod prometheus;
mod world;

#[tokio::test(flavor = "multi_thread")]
async fn samples_are_taken_or_refused_one_by_one() {
    let w = world(Vec::new()).await;
    let (status, body) = w.post("/metric", r#"{"name":"api_ms","val":5}"#).await;
    assert_eq!((status, body.as_str()), (204, ""));

    let partly =
        r#"[{"name":"api_ms","val":5},{"name":"api_ms"},{"name":"api_ms","val":1,"ts":1000}]"#;
    let (status, body) = w.post("/metric", partly).await;
    let body = value(&body);
    assert_eq!(status, 400);
    assert_eq!(
        (&body["accepted"], &body["refused"]),
        (&1.into(), &2.into())
    );
    assert_eq!(body["errors"][0]["index"], 1);
    assert_eq!(body["errors"][0]["field"], "val");
    assert_eq!(body["errors"][1]["field"], "ts");
    assert!(
        body["errors"][1]["reason"]
            .as_str()
            .unwrap()
            .contains("10m")
    );

    let (status, body) = w.post("/metric", "[{\"name\":").await;
    assert_eq!((status, &value(&body)["line"]), (400, &1.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_may_be_zipped_and_are_bounded() {
    let w = world(Vec::new()).await;
    let send = |encoding: &str, body: Vec<u8>| {
        let request = w.ask(Method::POST, "/metric");
        answer(request.header("content-encoding", encoding).body(body))
    };
    let good = zipped(br#"{"name":"api_ms","val":5}"#);
    assert_eq!(send("gzip", good.clone()).await.0, 204);
    assert_eq!(send("gzip", good[..good.len() / 2].to_vec()).await.0, 400);
    assert_eq!(send("gzip", b"no".to_vec()).await.0, 400);
    assert_eq!(send("br", b"no".to_vec()).await.0, 415);
    let (status, body) = send("gzip", zipped(&vec![b' '; (64 << 20) + 1])).await;
    assert_eq!(status, 413);
    assert!(body.contains("64 MiB"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_named_by_its_limit() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let w = world(Vec::new()).await;
    let address = w.url.strip_prefix("http://").unwrap();
    let mut tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = b"POST /metric HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 20000000\r\n\r\n";
    tcp.write_all(head).await.unwrap();
    let mut text = vec![0; 1_000];
    let n = tcp.read(&mut text).await.unwrap();
    let text = String::from_utf8_lossy(&text[..n]).into_owned();
    assert!(text.starts_with("HTTP/1.1 413"), "{text}");
    assert!(text.contains("16 MiB"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_open_what_their_scope_says() {
    let tokens: Vec<Token> = Scope::ALL
        .iter()
        .map(|(name, scope)| Token {
            name: (*name).to_owned(),
            secret: Secret::new(format!("{name}-secret")),
            scopes: vec![*scope],
        })
        .collect();
    let w = world(tokens).await;
    w.ticked().await;
    assert_eq!(w.get("/health").await.0, 200);
    assert_eq!(w.get("/ready").await.0, 200);
    let none = w.ask(Method::GET, "/metrics").send().await.unwrap();
    assert_eq!(none.status(), 401);
    assert!(none.headers().contains_key("www-authenticate"));
    let switch = r#"{"on":false,"reason":"drill"}"#;
    let silence = r#"{"matchers":"alertname=x","duration":"1h"}"#;
    let cases = [
        (
            Method::POST,
            "/metric",
            r#"{"name":"m","val":1}"#,
            "push",
            204,
        ),
        (Method::GET, "/api/ops/v1/alerts", "", "read", 200),
        (Method::GET, "/", "", "read", 200),
        (
            Method::POST,
            "/api/ops/v1/silences",
            silence,
            "operate",
            201,
        ),
        (
            Method::POST,
            "/api/ops/v1/heals/switch",
            switch,
            "heal",
            200,
        ),
        (Method::POST, "/-/reload", "", "admin", 200),
    ];
    for (method, path, body, needs, fine) in cases {
        for (name, _) in Scope::ALL {
            let request = w.ask(method.clone(), path).body(body);
            let (status, text) = answer(request.bearer_auth(format!("{name}-secret"))).await;
            let want = if name == needs || name == "admin" {
                fine
            } else {
                403
            };
            assert_eq!(status, want, "{path} with {name}: {text}");
            assert!(
                want != 403 || text.contains(&format!("`{needs}`")),
                "{text}"
            );
        }
        let request = w.ask(method, path).body(body).bearer_auth("push-secre");
        assert_eq!(answer(request).await.0, 401);
    }
    // A browser sends the token as a password, and is told to ask for one.
    let page = || w.ask(Method::GET, "/");
    let with = |password| answer(page().basic_auth("me", Some(password)));
    assert_eq!(with("read-secret").await.0, 200);
    assert_eq!(with("push-secret").await.0, 403);
    assert_eq!(with("wrong").await.0, 401);
    let refused = page().send().await.unwrap();
    let challenge = refused.headers()["www-authenticate"].to_str().unwrap();
    assert!(challenge.starts_with("Basic realm="), "{challenge}");
    let by = w.handle.ask(|view| view.state.switch.by.clone()).await;
    assert_eq!(by.as_deref(), Some("admin"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_turns_with_the_log() {
    let w = world(Vec::new()).await;
    w.ticked().await;
    let (status, body) = w.get("/ready").await;
    assert_eq!(
        (status, &value(&body)["status"]),
        (200, &"ok".into()),
        "{body}"
    );
    let refused = &w.handle.status.samples_refused;
    refused.set(Some("no space".to_owned()));
    let (status, body) = w.get("/-/ready").await;
    assert_eq!(
        (status, &value(&body)["checks"]["log"]["status"]),
        (503, &"failing".into())
    );
    assert!(body.contains("samples are refused: no space"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_name_each_family_once() {
    let w = world(Vec::new()).await;
    let (status, text) = w.get("/metrics").await;
    assert_eq!(status, 200);
    let mut seen = std::collections::BTreeMap::new();
    for line in text.lines().filter_map(|l| l.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        assert!(seen.insert(name, kind).is_none(), "{name} twice");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
    }
    assert_eq!(text.matches("# HELP ").count(), seen.len());
    assert!(text.contains("ops_config_ok{file=\"r.yml\"} 1"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silence_is_durable_when_its_number_is_known() {
    let w = world(Vec::new()).await;
    let mut entries = w.handle.entries();
    let ask = r#"{"matchers":"alertname=\"x\", region=~\"e.*\"","duration":"1h","by":"kim","comment":"works"}"#;
    let (status, body) = w.post("/api/ops/v1/silences", ask).await;
    assert_eq!(status, 201, "{body}");
    let id = value(&body)["id"].as_u64().unwrap();
    let entry = entries.next().await.unwrap();
    assert!(format!("{entry:?}").contains("Silenced"));
    assert!(w.get("/api/ops/v1/silences").await.1.contains("region=~"));
    let path = format!("/api/ops/v1/silences/{id}");
    assert_eq!(answer(w.ask(Method::DELETE, &path)).await.0, 204);
    assert_eq!(answer(w.ask(Method::DELETE, &path)).await.0, 404);
    let all = r#"{"matchers":"region=~\".*\"","duration":"1h"}"#;
    assert_eq!(w.post("/api/ops/v1/silences", all).await.0, 400);
    assert_eq!(w.post("/api/ops/v1/incidents/99/ack", "").await.0, 404);
    let foreign = w.ask(Method::POST, "/api/ops/v1/silences").body(ask);
    assert_eq!(
        answer(foreign.header("origin", "http://evil.example"))
            .await
            .0,
        403
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_can_be_read_and_taken() {
    let w = world(Vec::new()).await;
    let sample = r#"{"name":"api_ms","val":500,"labels":{"path":"<b>&"}}"#;
    assert_eq!(w.post("/metric", sample).await.0, 204);
    w.ticked().await;
    let (status, body) = w.get("/api/ops/v1/incidents").await;
    assert_eq!(status, 200);
    assert_eq!(value(&body)["incidents"][0]["id"], 1, "{body}");
    let ack = r#"{"by":"kim","note":"on it"}"#;
    assert_eq!(w.post("/api/ops/v1/incidents/1/ack", ack).await.0, 200);
    let (_, why) = w.get("/api/ops/v1/incidents/1/why").await;
    assert!(why.contains("kim has it since"), "{why}");
    assert!(why.contains("a@example.org"), "{why}");
    let (status, page) = w.get("/incidents/1").await;
    assert!(status == 200 && page.contains("kim has it since"));
    assert!(!page.contains("<b>&"), "{page}");

    let (status, page) = w.get("/board/api_ms?window=10m").await;
    assert!(
        status == 200 && page.contains("<svg") && page.contains("&lt;b&gt;&amp;"),
        "{page}"
    );
    let (_, data) = w.get("/api/ops/v1/board/api_ms").await;
    let data = value(&data);
    assert_eq!(data["threshold"], 100.0);
    assert_eq!(data["markers"][0]["kind"], "fired");
    assert_eq!(data["series"][0]["points"][0][1], 500.0);
    assert_eq!(w.get("/board/api_ms?window=soon").await.0, 400);
    assert_eq!(w.get("/api/ops/v1/incidents/one").await.0, 400);
    assert!(w.get("/").await.1.contains("/incidents/1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn runbooks_stay_in_their_folder() {
    let w = world(Vec::new()).await;
    std::fs::write(w.folder.join("secret.md"), "secret").unwrap();
    let text = "# Do\n<script>x</script>\n\n[a](javascript:x) [b](other.md)";
    std::fs::write(w.folder.join("runbooks/do.md"), text).unwrap();
    let (status, page) = w.get("/runbooks/do.md").await;
    assert_eq!(status, 200);
    assert!(
        page.contains("<h1>Do</h1>") && page.contains("href=\"other.md\""),
        "{page}"
    );
    assert!(
        !page.contains("<script>") && !page.contains("javascript:"),
        "{page}"
    );
    for path in [
        "/runbooks/..%2Fsecret.md",
        "/runbooks/%2Fetc%2Fpasswd",
        "/runbooks/no.md",
    ] {
        assert_eq!(w.get(path).await.0, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_feed_sends_charts_and_events() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let w = world(Vec::new()).await;
    w.post("/metric", r#"{"name":"api_ms","val":5}"#).await;
    let address = w.url.strip_prefix("http://").unwrap();
    let shake = |origin: &str| {
        format!(
            "GET /live?metric=api_ms&window=5m HTTP/1.1\r\nhost: {address}\r\norigin: {origin}\r\nconnection: upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
    };
    // What the server sends is not masked: its texts can be read as they come.
    let mut own = tokio::net::TcpStream::connect(address).await.unwrap();
    own.write_all(shake(&w.url).as_bytes()).await.unwrap();
    let (mut text, mut asked) = (String::new(), false);
    while text.matches("<svg").count() < 2 || !text.contains("heal_switched") {
        let mut part = vec![0; 65_536];
        let n = own.read(&mut part).await.unwrap();
        assert!(n > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&part[..n]));
        if !asked && text.contains("<svg") {
            asked = true;
            let switch = r#"{"on":false,"reason":"drill"}"#;
            w.post("/api/ops/v1/heals/switch", switch).await;
        }
    }
    let mut foreign = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = shake("http://evil.example");
    foreign.write_all(request.as_bytes()).await.unwrap();
    let mut part = vec![0; 1_000];
    let n = foreign.read(&mut part).await.unwrap();
    assert!(part[..n].starts_with(b"HTTP/1.1 403"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_tells_what_is_wrong() {
    let w = world(Vec::new()).await;
    let alerts = w.folder.join("alerts");
    std::fs::create_dir_all(&alerts).unwrap();
    std::fs::write(alerts.join("bad.yml"), "- name: x\n  metrik: y\n").unwrap();
    let places = Places {
        config: w.folder.join("ops.yaml"),
        root: w.folder.clone(),
        alerts: alerts.clone(),
        data: w.folder.join("data"),
        scripts: w.folder.join("scripts"),
        runbooks: w.folder.join("runbooks"),
    };
    let mut loader = Loader::new(places);
    let (url, client, loaded) = (w.url.clone(), w.client.clone(), w.loaded.clone());
    let reload = |url: String, client: reqwest::Client| async move {
        answer(client.post(format!("{url}/-/reload"))).await
    };
    let first = tokio::spawn(reload(url.clone(), client.clone()));
    w.loads.recv().unwrap();
    *loaded.write().unwrap() = loader.load().unwrap();
    let (status, body) = first.await.unwrap();
    assert_eq!(status, 400, "{body}");
    let body = value(&body);
    let file = body["problems"][0]["file"].as_str().unwrap();
    assert!(file.ends_with("bad.yml"), "{body}");
    assert!(body["problems"][0]["rendered"].is_string());
    assert_eq!(w.get("/api/ops/v1/problems").await.0, 200);
    assert!(
        w.get("/metrics")
            .await
            .1
            .contains("ops_config_ok{file=\"bad.yml\"} 0")
    );
    let (status, body) = w.get("/ready").await;
    assert!(status == 503 || body.contains("degraded"), "{body}");

    std::fs::remove_file(alerts.join("bad.yml")).unwrap();
    std::fs::write(alerts.join("good.yml"), world::RULES).unwrap();
    let second = tokio::spawn(reload(url, client));
    w.loads.recv().unwrap();
    *loaded.write().unwrap() = loader.load().unwrap();
    let (status, body) = second.await.unwrap();
    assert_eq!((status, &value(&body)["rules"]), (200, &1.into()), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_under_way_is_said() {
    let w = world(Vec::new()).await;
    let queued = &w.handle.status.queued_samples;
    queued.store(usize::MAX / 2, Ordering::Relaxed);
    let request = w
        .ask(Method::POST, "/metric")
        .body(r#"{"name":"api_ms","val":5}"#);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_described_is_there_and_guarded_as_it_says() {
    let token = Token {
        name: "none".to_owned(),
        secret: Secret::new("s".to_owned()),
        scopes: Vec::new(),
    };
    let w = world(vec![token]).await;
    for op in crate::api::openapi::OPERATIONS {
        let path = op.path.replace("{id}", "1").replace("{metric}", "m");
        let method: Method = op.method.to_uppercase().parse().unwrap();
        let (status, text) = answer(w.ask(method, &path).bearer_auth("s")).await;
        if op.scope.is_empty() {
            assert!([200, 503].contains(&status), "{path}: {status}");
        } else {
            assert_eq!(status, 403, "{path}: {text}");
            assert!(text.contains(&format!("`{}`", op.scope)), "{path}: {text}");
        }
    }
}
