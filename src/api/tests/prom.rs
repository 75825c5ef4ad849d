//! What Grafana and other clients of Prometheus get.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;

use crate::api::tests::world::{World, answer, value, world};
use crate::config::{SourceFile, read_rules};
use crate::engine::Input;
use crate::engine::policy::{Group, GroupRule, Policy, Recording, Written};
use crate::engine::promql::{Dialect, parse};
use crate::model::labels::Labels;

async fn form(w: &World, path: &str, body: &str) -> (u16, String) {
    let request = w.ask(Method::POST, path);
    let kind = "application/x-www-form-urlencoded";
    answer(request.header("content-type", kind).body(body.to_owned())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn grafana_gets_the_bytes_that_it_expects() {
    let w = world(Vec::new()).await;
    let (status, body) = form(&w, "/api/v1/query", "query=1%2B1&time=1.5").await;
    let fine = r#"{"status":"success","data":{"resultType":"scalar","result":[1.5,"2"]}}"#;
    assert_eq!((status, body.as_str()), (200, fine));

    let now = w.handle.clock.now().ms() / 1_000;
    let sample = format!(r#"{{"name":"api_ms","val":0.5,"ts":{now},"labels":{{"pod":"a"}}}}"#);
    assert_eq!(w.post("/metric", sample).await.0, 204);
    w.ticked().await;
    let (_, body) = form(&w, "/api/v1/query", &format!("query=api_ms&time={now}")).await;
    let vector = r#"{"metric":{"__name__":"api_ms","pod":"a"},"value":[NOW,"0.5"]}"#;
    let fine = format!(
        r#"{{"status":"success","data":{{"resultType":"vector","result":[{}]}}}}"#,
        vector.replace("NOW", &now.to_string())
    );
    assert_eq!(body, fine);
    let range = format!("query=api_ms*2&start={}&end={}&step=15", now - 15, now + 15);
    let (_, body) = form(&w, "/api/v1/query_range", &range).await;
    let fine = format!(
        r#"{{"status":"success","data":{{"resultType":"matrix","result":[{{"metric":{{"pod":"a"}},"values":[[{now},"1"],[{},"1"]]}}]}}}}"#,
        now + 15
    );
    assert_eq!(body, fine);
    let (_, body) = form(&w, "/api/v1/labels", "match%5B%5D=api_ms").await;
    assert_eq!(body, r#"{"status":"success","data":["__name__","pod"]}"#);
    let (_, body) = w.get("/api/v1/label/U______name____/values").await;
    assert!(body.contains("api_ms"), "{body}");
    let (_, body) = w.get("/api/v1/series?match[]=%7Bpod%3D%22a%22%7D").await;
    let fine = r#"{"status":"success","data":[{"__name__":"api_ms","pod":"a"}]}"#;
    assert_eq!(body, fine);
    let rules = value(&w.get("/api/v1/rules").await.1);
    let rule = &rules["data"]["groups"][0]["rules"][0];
    assert_eq!(
        (&rule["name"], &rule["type"]),
        (&"Slow".into(), &"alerting".into())
    );
    let (_, body) = w.get("/api/v1/rules?type=record").await;
    assert_eq!(body, r#"{"status":"success","data":{"groups":[]}}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_answered_says_why_in_the_envelope() {
    let w = world(Vec::new()).await;
    let cases = [
        ("query?query=sum(", 400, "bad_data", "parse error"),
        ("query?query=1&time=x", 400, "bad_data", "\"time\""),
        ("query?query=1&timeout=0", 503, "timeout", "timed out"),
        (
            "query_range?query=1&start=1&end=0&step=1",
            400,
            "bad_data",
            "before start",
        ),
        (
            "query_range?query=1&start=0&end=9&step=0",
            400,
            "bad_data",
            "zero or negative",
        ),
        (
            "query_range?query=1&start=0&end=11001&step=1",
            400,
            "bad_data",
            "11,000 points",
        ),
        ("series", 400, "bad_data", "no match[]"),
        ("rules?type=x", 400, "bad_data", "not supported"),
        ("rules?group_limit=0", 400, "bad_data", "greater than 0"),
        ("rules?group_next_token=a", 400, "bad_data", "to be present"),
        (
            "rules?group_limit=1&group_next_token=a",
            400,
            "bad_data",
            "were rule groups changed",
        ),
        ("rules?exclude_alerts=maybe", 400, "bad_data", "boolean"),
        ("labels?match[]={x=~'.*'}", 400, "bad_data", "non-empty"),
        ("series?match[]=sum(a)", 400, "bad_data", "no selector"),
        ("query?query=1&limit=-1", 400, "bad_data", "non-negative"),
        ("query_exemplars?query=(", 400, "bad_data", "parse error"),
        (
            "query_range?query=a[1m]&start=0&end=9&step=1",
            400,
            "bad_data",
            "range vector",
        ),
        (
            "query?query=label_replace(vector(1),'a','b','c','(')",
            422,
            "execution",
            "regular",
        ),
        (
            "query?query=count_over_time(vector(1)[10000d:1ms])",
            422,
            "execution",
            "too many samples",
        ),
        ("nothing", 404, "not_found", "nothing at"),
    ];
    for (path, status, kind, says) in cases {
        let (got, body) = w.get(&format!("/api/v1/{path}")).await;
        let error = value(&body);
        assert_eq!(
            (got, &error["errorType"]),
            (status, &kind.into()),
            "{path}: {body}"
        );
        assert!(error["error"].as_str().unwrap().contains(says), "{body}");
    }
    let longest = w
        .get("/api/v1/query_range?query=1&start=0&end=11000&step=1")
        .await;
    assert_eq!(longest.0, 200);
}

/// Minutes of work, step after step, of which each is within all bounds.
const HEAVY: &str =
    "query_range?query=count_over_time(vector(time())[20d:1s])&start=0&end=1728000000&step=1728000";

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_takes_too_long_or_that_nobody_waits_for_gives_its_place_back() {
    let w = world(Vec::new()).await;
    let (status, body) = w.get(&format!("/api/v1/{HEAVY}&timeout=50ms")).await;
    assert_eq!(status, 503, "{body}");
    assert!(body.contains(r#""errorType":"timeout""#), "{body}");
    // More than may run: if those that were left went on, the last would wait for them until its timeout.
    let left = (0..12).map(|_| {
        let request = w.ask(Method::GET, &format!("/api/v1/{HEAVY}"));
        tokio::spawn(request.timeout(Duration::from_millis(200)).send())
    });
    for one in left.collect::<Vec<_>>() {
        assert!(one.await.unwrap().is_err());
    }
    let (status, body) = w.get("/api/v1/query?query=1%2B1&time=1&timeout=20s").await;
    assert_eq!(status, 200, "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_matches_is_found_by_labels_and_time() {
    let w = world(Vec::new()).await;
    let now = w.handle.clock.now().ms() / 1_000;
    let samples = (0..5).map(|n| {
        format!(
            r#"{{"name":"m{n}","val":{n},"ts":{},"labels":{{"pod":"p{n}"}}}}"#,
            now - 60 * n
        )
    });
    let body = format!("[{}]", samples.collect::<Vec<_>>().join(","));
    assert_eq!(w.post("/metric", body).await.0, 204);
    w.ticked().await;
    let cases = [
        ("labels", r#"["__name__","pod"]"#.to_owned()),
        (
            "label/pod/values",
            r#"["p0","p1","p2","p3","p4"]"#.to_owned(),
        ),
        (
            "label/__name__/values?match[]={pod=~'p[12]'}&match[]=m4",
            r#"["m1","m2","m4"]"#.to_owned(),
        ),
        ("label/pod/values?match[]=none", "[]".to_owned()),
    ];
    for (path, data) in cases {
        let (_, body) = w.get(&format!("/api/v1/{path}")).await;
        assert_eq!(
            body,
            format!(r#"{{"status":"success","data":{data}}}"#),
            "{path}"
        );
    }
    let span = format!("start={}&end={}", now - 125, now - 55);
    let (_, body) = w.get(&format!("/api/v1/label/pod/values?{span}")).await;
    assert_eq!(body, r#"{"status":"success","data":["p1","p2"]}"#);
    let (_, body) = w.get("/api/v1/label/pod/values?limit=2").await;
    let cut =
        r#"{"status":"success","data":["p0","p1"],"warnings":["results truncated due to limit"]}"#;
    assert_eq!(body, cut);
    let (_, body) = w
        .get(&format!(
            "/api/v1/query?query={{pod!=''}}&limit=1&time={now}"
        ))
        .await;
    assert!(
        body.ends_with(r#"]},"warnings":["results truncated due to limit"]}"#),
        "{body}"
    );
    let fixed = format!(
        "query=m4+@+{}+offset+4s&time=9&lookback_delta=5s",
        now - 236
    );
    let (_, body) = form(&w, "/api/v1/query", &fixed).await;
    assert!(
        body.contains(r#"[9,"4"]"#),
        "a fixed time reaches as far back as it says: {body}"
    );
    let stored = value(&w.get("/api/v1/status/tsdb?limit=1").await.1);
    assert_eq!(stored["data"]["headStats"]["numSeries"], 5);
    assert_eq!(stored["data"]["seriesCountByMetricName"][0]["value"], 1);
}

fn group(name: &str, expr: &str) -> Arc<Group> {
    let recording = Recording {
        name: format!("{name}:rate"),
        expr: Written {
            text: expr.to_owned(),
            expr: Arc::new(parse(expr, Dialect::PLAIN).unwrap()),
        },
        labels: Labels::new().with("team", name),
        clears: std::collections::BTreeSet::new(),
    };
    Arc::new(Group {
        id: format!("g.yml/{name}"),
        name: name.to_owned(),
        file: "g.yml".to_owned(),
        interval: crate::model::time::Duration::from_secs(1),
        query_offset: crate::model::time::Duration::ZERO,
        limit: 0,
        strict: false,
        rules: vec![GroupRule::Record(Arc::new(recording))],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_shown_by_group_with_state_and_health() {
    let w = world(Vec::new()).await;
    let text = "- name: Slow\n  metric: api_ms\n  window: 1m\n  threshold: 100\n  notify: [a@example.org]\n";
    let (rules, _) = read_rules(&SourceFile {
        path: "r.yml".to_owned(),
        shown: "r.yml".to_owned(),
        text: text.to_owned(),
    });
    w.handle.tell(Input::Policy(Arc::new(Policy {
        rules: rules.rules,
        groups: vec![
            group("a", "sum by(pod)(api_ms)"),
            group("b", "api_ms * on (x) api_ms"),
        ],
        ..Policy::default()
    })));
    let sample = |pod: &str| format!(r#"{{"name":"api_ms","val":500,"labels":{{"pod":"{pod}"}}}}"#);
    let body = format!("[{},{}]", sample("a"), sample("b"));
    assert_eq!(w.post("/metric", body).await.0, 204);
    let get = async |query: &str| {
        value(&w.get(&format!("/api/v1/rules?{query}")).await.1)["data"].clone()
    };
    let mut all = get("").await;
    for _ in 0..200 {
        let failed = all["groups"][1]["rules"][0]["health"] == "err";
        if failed && all["groups"][2]["rules"][0]["state"] == "firing" {
            break;
        }
        w.ticked().await;
        all = get("").await;
    }
    let groups = all["groups"].as_array().unwrap();
    let shown: Vec<String> = groups
        .iter()
        .map(|g| {
            let r = &g["rules"][0];
            format!(
                "{} {} {}s: {} {} {} `{}` {}",
                g["file"],
                g["name"],
                g["interval"],
                r["type"],
                r["name"],
                r["health"],
                r["query"],
                r["state"]
            )
            .replace('"', "")
        })
        .collect();
    expect_test::expect![[r#"
        g.yml a 1.0s: recording a:rate ok `sum by (pod) (api_ms)` null
        g.yml b 1.0s: recording b:rate err `api_ms * on (x) api_ms` null
        r.yml r.yml 1.0s: alerting Slow ok `avg_over_time(api_ms[1m]) > 100` firing"#]]
    .assert_eq(&shown.join("\n"));
    let error = groups[1]["rules"][0]["lastError"].as_str().unwrap();
    assert!(error.contains("found duplicate series"), "{error}");
    let alert = &groups[2]["rules"][0]["alerts"][0];
    assert_eq!(
        (&alert["state"], &alert["value"]),
        (&"firing".into(), &"5e+02".into())
    );
    assert_eq!(alert["labels"]["alertname"], "Slow");
    let alerts = value(&w.get("/api/v1/alerts").await.1);
    assert_eq!(alerts["data"]["alerts"].as_array().unwrap().len(), 2);

    let names = |data: &serde_json::Value| {
        let groups = data["groups"].as_array().unwrap();
        groups
            .iter()
            .map(|g| g["name"].as_str().unwrap())
            .collect::<Vec<_>>()
            .join(" ")
    };
    for (query, want) in [
        ("type=record", "a b"),
        ("type=alert&exclude_alerts=true", "r.yml"),
        ("rule_name[]=b:rate&rule_name[]=Slow", "b r.yml"),
        ("rule_group[]=a", "a"),
        ("file[]=g.yml", "a b"),
        ("match[]={team='b'}", "b"),
    ] {
        assert_eq!(names(&get(query).await), want, "{query}");
    }
    let excluded = get("exclude_alerts=true&type=alert").await;
    assert_eq!(
        excluded["groups"][0]["rules"][0]["alerts"],
        serde_json::json!([])
    );
    assert_eq!(excluded["groups"][0]["rules"][0]["state"], "firing");
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let page = get(&format!("group_limit=2{token}")).await;
        seen.push(names(&page));
        match page["groupNextToken"].as_str() {
            Some(next) => token = format!("&group_next_token={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["a b", "r.yml"]);
}
