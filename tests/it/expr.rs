//! A Prometheus rule file in the real program: samples in, a recorded series, an alert on it, a page with what it found.

use crate::lab::{Hooks, Lab, listen, ops, until};

const RULES: &str = r#"groups:
- name: county
  interval: 1s
  labels: {team: records, severity: info}
  rules:
  - record: region:county_api_ms:avg
    expr: avg by (region) (county_api_ms)
  - alert: CountyApiSlow
    expr: |
      region:county_api_ms:avg
        > 1000
    labels: {severity: page}
    annotations:
      summary: "{{ $labels.region }} takes {{ $value }} ms ({{ $labels.severity }})"
      of: "{{ with printf `county_api_ms{region='%s'}` $labels.region | query }}{{ . | len }} of {{ query `count(county_api_ms)` | first | value }}{{ end }}"
"#;

/// A lab with a webhook and a rule file.
async fn opened(name: &str) -> (Lab, Hooks) {
    let (mut lab, hooks) = (Lab::new(name), Hooks::open().await);
    lab.write("ops.yaml", &hooks.settings(&["hook"]));
    lab.write("alerts/county.yml", RULES);
    lab.serve().await;
    (lab, hooks)
}

/// Pushes what two hosts in the east and one in the west measure; each is durable.
async fn push(lab: &Lab, east: [f64; 2], west: f64) {
    let sample = |region: &str, host: &str, val: f64| {
        format!(
            r#"{{"name":"county_api_ms","val":{val},"labels":{{"region":"{region}","host":"{host}"}}}}"#
        )
    };
    let [a, b] = east;
    let all = [
        sample("east", "a", a),
        sample("east", "b", b),
        sample("west", "c", west),
    ];
    assert_eq!(
        lab.post("/metric", &format!("[{}]", all.join(","))).await,
        204
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prometheus_rule_file_pages_with_expression_value_and_labels() {
    let (lab, hooks) = opened("expr").await;
    until("a page", async || {
        push(&lab, [1_200.0, 1_800.0], 100.0).await;
        !hooks.told().is_empty()
    })
    .await;
    let page = &hooks.told()[0].body;
    assert_eq!(page["ops"]["kind"], "opened");
    assert_eq!(page["ops"]["condition"], "region:county_api_ms:avg > 1000");
    assert_eq!(page["ops"]["threshold"], 1000.0);
    let alerts = page["alerts"].as_array().unwrap();
    assert_eq!(alerts.len(), 1, "the west is fine: {page:#}");
    let labels = serde_json::json!({
        "alertname": "CountyApiSlow",
        "region": "east",
        "severity": "page",
        "team": "records",
    });
    assert_eq!(alerts[0]["labels"], labels);
    // `$labels` are those of the series, not what the rule makes of them, as in Prometheus.
    assert_eq!(
        alerts[0]["annotations"]["summary"],
        "east takes 1500 ms (info)"
    );
    assert_eq!(alerts[0]["annotations"]["of"], "2 of 3");

    // A broken edit changes nothing and is shown with its place; the alert still ends by itself.
    let broken = RULES.replace("> 1000", "> > 1000");
    lab.write("alerts/county.yml", &broken);
    let checked = ops(&lab.dir).arg("check").output().unwrap();
    let told = String::from_utf8(checked.stdout).unwrap();
    assert!(
        told.contains("alerts/county.yml:11:11")
            && told.contains("more about a code: `ops explain OPS-R003`"),
        "{told}"
    );
    until("the closing page", async || {
        push(&lab, [80.0, 120.0], 100.0).await;
        hooks.told().len() > 1
    })
    .await;
    let page = &hooks.told()[1].body;
    assert_eq!(page["ops"]["kind"], "closed");
    assert_eq!(page["status"], "resolved");
}

const HEAL: &str = "
name: vote_slow
expr: vote_ms > 300
auto_heal: scripts/restart.sh
heal:
  settle: 0s
  within: 1s
  hold: 0s
  verify: vote_errors < 5
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heal_that_its_verify_does_not_confirm_is_told_with_the_value() {
    let (lab, hooks) = opened("verify").await;
    lab.script("restart.sh", "exit 0");
    lab.write("alerts/heal.yml", HEAL);
    let samples = r#"[{"name":"vote_ms","val":450},{"name":"vote_errors","val":9}]"#;
    let failed = || hooks.told().into_iter().find(|t| t.kind() == "heal_failed");
    until("the page about the heal", async || {
        assert_eq!(lab.post("/metric", samples).await, 204);
        failed().is_some()
    })
    .await;
    let page = failed().unwrap().body;
    let told = page["ops"]["heal"].as_str().unwrap();
    let why = "verify `vote_errors < 5` does not hold: 9";
    assert!(told.contains(why), "{told}");
    let told = lab.tells(&["why", "1"]);
    assert!(told.contains(why), "{told}");
}

/// Against anything that speaks Prometheus's API, the names of metrics are compared.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_that_nobody_sends_are_named_if_an_engine_is_pointed_at() {
    let names = || async { r#"{"status":"success","data":["county_api_ms"]}"# };
    let router =
        axum::Router::new().route("/api/v1/label/__name__/values", axum::routing::get(names));
    let url = listen(router).await;
    let lab = Lab::new("known");
    let typo = RULES.replace("(county_api_ms)", "(county_api_mss)");
    lab.write("alerts/county.yml", &typo);
    let check = |url: Option<&str>| {
        let mut command = ops(&lab.dir);
        command.arg("check");
        if let Some(url) = url {
            command.args(["--url", url]);
        }
        let done = command.output().unwrap();
        let told = String::from_utf8(done.stdout).unwrap();
        let error = String::from_utf8(done.stderr).unwrap();
        (done.status.code(), told, error)
    };
    let (code, told, _) = check(Some(&url));
    assert_eq!(code, Some(0), "a warning is no failure: {told}");
    assert!(
        told.contains("OPS-R036") && told.contains("did you mean `county_api_ms`?"),
        "{told}"
    );
    assert!(
        !told.contains("region:county_api_ms:avg`"),
        "a rule records it: {told}"
    );
    let (code, told, _) = check(None);
    assert_eq!(code, Some(0));
    assert!(!told.contains("OPS-R036"), "nobody asked: {told}");
    let (code, _, error) = check(Some("http://127.0.0.1:1"));
    assert_eq!(code, Some(1));
    assert!(error.contains("metrics were not compared"), "{error}");
}
