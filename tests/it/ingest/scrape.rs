//! Real scrapes by the real binary: targets that are good, bad, slow, endless, secret, and that come and go.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::http::HeaderMap;
use ops::engine::promql::source::is_stale;
use reqwest::StatusCode;

use super::serving;
use crate::lab::{Lab, until};

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

    /// `/hang` never answers, `/endless` never stops, `/open` speaks OpenMetrics; `/secret` wants the password or the token of the moment.
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
                let kind = if path == "/open" {
                    "application/openmetrics-text; version=1.0.0"
                } else {
                    "text/plain; version=0.0.4"
                };
                let kind = [("content-type", kind)];
                if path == "/endless" {
                    return (status, kind, text.repeat(1_000_000 / text.len().max(1)));
                }
                if path == "/secret" {
                    let given = headers
                        .get("authorization")
                        .map(|v| v.to_str().unwrap().to_owned());
                    if given != Some(text) {
                        return (StatusCode::UNAUTHORIZED, kind, String::new());
                    }
                    return (status, kind, "secret 1\n".to_owned());
                }
                (status, kind, text)
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
    // Four hours ago: the door does not take it, and says so to whoever looks at the target.
    let old = super::now_ms() - 4 * 3_600_000;
    targets.set("/old", 200, &format!("fresh 1\nold 1 {old}\n"));
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
        job("old", ""),
        job("secret", "  basic_auth: {username: me, password: pw}\n"),
        "- job_name: nobody\n  static_configs: [{targets: ['127.0.0.1:1']}]\n".to_owned(),
    ]
    .concat();
    let lab = serving(&settings).await;
    until("all have been asked", async || {
        lab.board("up").await.len() == 8
    })
    .await;
    for (name, up) in [
        ("good", 1.0),
        ("secret", 1.0),
        ("old", 1.0),
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
    let (_, told) = lab.get("/api/v1/targets").await;
    let told = told["data"]["activeTargets"].as_array().unwrap().clone();
    let of_old = told.iter().find(|t| t["scrapePool"] == "old").unwrap();
    let error = of_old["lastError"].as_str().unwrap();
    assert!(
        error.starts_with("1 samples refused; old{instance=")
            && error.ends_with("too late: the limit is 3h in the past"),
        "{error}"
    );
    assert_eq!(of_old["health"], "up");
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
async fn labels_bounds_and_secrets_are_as_the_settings_say() {
    let targets = Targets::default();
    targets.set("/good", 200, "load{job=\"own\"} 0.5\nload{cpu=\"1\"} 1\n");
    targets.set(
        "/open",
        200,
        "# TYPE jobs counter\njobs_total 3 # {a=\"b\"} 1\n# EOF\n",
    );
    targets.set("/secret", 200, "Bearer sesame");
    let port = targets.serve().await;
    let job = |name: &str, path: &str, more: &str| {
        format!(
            "- job_name: {name}\n  metrics_path: /{path}\n  static_configs: [{{targets: ['127.0.0.1:{port}'], labels: {{env: prod}}}}]\n{more}"
        )
    };
    let settings = [
        "global: {scrape_interval: 300ms}\nscrape_configs:\n".to_owned(),
        job("honours", "good", "  honor_labels: true\n"),
        job("few", "good", "  sample_limit: 1\n"),
        job("short", "good", "  label_value_length_limit: 2\n"),
        job("bearer", "secret", "  authorization: {credentials: sesame}\n"),
        job("wrong", "secret", "  authorization: {credentials: simsim}\n"),
        job("open", "open", ""),
        job(
            "named",
            "good",
            "  relabel_configs: [{source_labels: [env, job], separator: '/', target_label: instance}, {regex: env, action: labeldrop}]\n",
        ),
    ]
    .concat();
    let mut lab = serving(&settings).await;
    until("all have been asked", async || {
        lab.board("up").await.len() == 7
    })
    .await;
    for (name, up) in [
        ("honours", 1.0),
        ("few", 0.0),
        ("short", 0.0),
        ("bearer", 1.0),
        ("wrong", 0.0),
        ("open", 1.0),
        ("prod/named", 1.0),
    ] {
        let shown = lab.last("up", &format!("{name}\"")).await;
        assert_eq!(shown, Some(up), "{name}");
    }
    until("their samples are there", async || {
        lab.board("load").await.len() == 4 && lab.last("jobs_total", "open").await == Some(3.0)
    })
    .await;
    let (status, told) = lab.get("/api/v1/targets").await;
    let told = told["data"]["activeTargets"].as_array().unwrap().iter();
    let told: Vec<String> = told
        .map(|t| {
            let part = |name: &str| t[name].as_str().unwrap().to_owned();
            let (pool, health, error) = (part("scrapePool"), part("health"), part("lastError"));
            assert_eq!(part("scrapeInterval"), "300ms");
            format!("{pool} {health} {error}").trim_end().to_owned()
        })
        .collect();
    assert_eq!(status, 200);
    expect_test::expect![[r#"
        bearer up
        few down 2 samples; the limit (`sample_limit`) is 1
        honours up
        named up
        open up
        short down sample 1 of load: bytes of "instance": 15; the limit (`label_value_length_limit`) is 2
        wrong down the answer is 401 Unauthorized"#]].assert_eq(&told.join("\n"));
    let load: Vec<String> = lab.board("load").await.into_keys().collect();
    let address = format!("127.0.0.1:{port}");
    let load = load.join("\n").replace(&address, "ADDRESS");
    expect_test::expect![[r#"
        load{cpu="1",env="prod",instance="ADDRESS",job="honours"}
        load{cpu="1",instance="prod/named",job="named"}
        load{env="prod",instance="ADDRESS",job="own"}
        load{exported_job="own",instance="prod/named",job="named"}"#]]
    .assert_eq(&load);
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_come_and_go_with_files_and_settings_and_ops_asks_itself() {
    let targets = Targets::default();
    targets.set("/metrics", 200, "load 1\n");
    targets.set("/secret", 200, "Token one");
    let port = targets.serve().await;
    let mut lab = Lab::new("ingest");
    let own = lab.port;
    let settings = format!(
        "global: {{scrape_interval: 200ms}}\nscrape_configs:\n\
         - job_name: files\n  file_sd_configs: [{{files: ['targets/*.json']}}]\n\
         - job_name: secret\n  metrics_path: /secret\n  authorization: {{type: Token, credentials_file: token}}\n  static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n"
    );
    lab.write("token", "one\n");
    lab.write("targets/.keep", "");
    lab.write("ops.yaml", &settings);
    lab.serve().await;
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
        // While it is still asked, it is asked as often as the other one.
        let others = asked("secret").await + 4;
        until("the other one is asked", async || {
            asked("secret").await >= others
        })
        .await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_path_is_edited_goes_on_without_an_end() {
    let targets = Targets::default();
    targets.set("/old", 200, "load 1\n");
    targets.set("/new", 200, "load 2\n");
    let port = targets.serve().await;
    let settings = |path: &str| {
        format!(
            "global: {{scrape_interval: 2s}}\nscrape_configs:\n\
             - job_name: edited\n  metrics_path: /{path}\n  static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n"
        )
    };
    let mut lab = serving(&settings("old")).await;
    until("it is asked", async || {
        lab.last("load", "edited").await == Some(1.0)
    })
    .await;
    lab.write("ops.yaml", &settings("new"));
    until("the new path is asked", async || {
        lab.last("load", "edited").await == Some(2.0)
    })
    .await;
    // Its end is told after two intervals and refused, as newer samples are there.
    until("the end of the old one has come too late", async || {
        let mut refused = 0.0;
        for reason in ["out_of_order", "duplicate"] {
            let line = format!("ops_samples_refused_total{{reason=\"{reason}\"}}");
            refused += lab.counted(&line).await.unwrap();
        }
        refused >= 6.0
    })
    .await;
    lab.kill();
    let logged = lab.logged();
    let of_job = logged.iter().filter(|(key, _)| key.contains("edited"));
    let ended: Vec<&String> = of_job
        .filter(|(_, samples)| samples.iter().any(|(_, value)| is_stale(*value)))
        .map(|(key, _)| key)
        .collect();
    assert!(ended.is_empty(), "{ended:?}");
}
