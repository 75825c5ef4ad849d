use expect_test::{Expect, expect};

use super::*;
use crate::config::settings::{SecretRef, Settings, read_settings};
use crate::config::{SourceFile, scrape};
use crate::model::labels::Labels;
use crate::model::written::Problem;

fn file(text: &str) -> SourceFile {
    SourceFile {
        path: "ops.yaml".to_owned(),
        shown: "ops.yaml".to_owned(),
        text: text.to_owned(),
    }
}

fn read(text: &str) -> (Settings, String) {
    let (settings, problems) = read_settings(&file(text), &|secret| match secret {
        SecretRef::File(path) if path == "/run/pw" => Ok("pw\n".to_owned()),
        SecretRef::File(path) if path.ends_with(".pem") => Ok(format!("PEM of\n{path}")),
        SecretRef::Env(_) | SecretRef::File(_) => Err("not found".to_owned()),
    });
    let told: Vec<String> = problems.iter().map(Problem::brief).collect();
    (settings, told.join("\n"))
}

/// Every target of every job, as `labels url interval/timeout`, and what is wrong.
fn check(text: &str, expected: Expect) {
    let (settings, mut told) = read(text);
    for scrape in &settings.scrapes {
        for group in &scrape.groups {
            for address in &group.targets {
                told += &match scrape.target(address, &group.labels) {
                    Ok(Some(t)) => {
                        format!("\n{} {} {}/{}", t.labels, t.url, t.interval, t.timeout)
                    }
                    Ok(None) => format!("\n{address} is dropped"),
                    Err(why) => format!("\n{address}: {why}"),
                };
            }
        }
    }
    expected.assert_eq(told.trim_start());
}

#[test]
fn a_prometheus_file_pastes_in() {
    check(
        r#"
global:
  scrape_interval: 15s
  evaluation_interval: 15s
  external_labels: {cluster: a}
scrape_configs:
- job_name: node
  static_configs:
  - targets: [node-1:9100, "[::1]:9100"]
    labels: {region: east, __meta_x: "1"}
  relabel_configs:
  - source_labels: [__address__]
    regex: '([^:]+|\[.*\]):\d+'
    target_label: host
- job_name: blackbox
  scrape_interval: 1m
  scrape_timeout: 20s
  metrics_path: /probe
  scheme: https
  params: {module: [http_2xx], target: []}
  static_configs: [{targets: ["https://example.gov/a?b=c", "drop.me"]}]
  relabel_configs:
  - {source_labels: [__address__], target_label: __param_target}
  - {source_labels: [__param_target], target_label: instance}
  - {source_labels: [instance], regex: drop.*, action: Drop}
  - {target_label: __address__, replacement: "probe:9115"}
"#,
        expect![[r#"
            ops.yaml:5:3: `external_labels` is accepted but not acted on [OPS-S004]
            {host="node-1",instance="node-1:9100",job="node",region="east"} http://node-1:9100/metrics 15s/10s
            {host="[::1]",instance="[::1]:9100",job="node",region="east"} http://[::1]:9100/metrics 15s/10s
            {instance="https://example.gov/a?b=c",job="blackbox"} https://probe:9115/probe?module=http_2xx&target=https%3A%2F%2Fexample.gov%2Fa%3Fb%3Dc 1m/20s
            drop.me is dropped"#]],
    );
}

#[test]
fn every_problem_is_told() {
    check(
        r#"
global: {scrape_interval: 5s, scrape_timeout: 6s}
scrape_configs:
- job_name: a
  scrape_timeout: 10s
  honour_labels: true
  kubernetes_sd_configs: [{role: pod}]
  body_size_limit: 10 lots
  sample_limit: -1
  static_configs:
  - targets: ["http://a:1/metrics"]
    lables: {}
  relabel_configs:
  - {action: hashmod, target_label: x}
  - {action: replace}
  - {action: mangle}
  - {regex: "(", target_label: x}
  - {source_label: [a], target_label: x}
  metric_relabel_configs: [{action: labeldrop, regex: a}]
  basic_auth: {username: me, password_file: /run/none}
  bearer_token: x
- job_name: a
  file_sd_configs: [{files: ["*/x.json", targets.txt]}, {}]
  authorization: {type: Bearer}
  tls_config: {cert_file: /run/a.pem, server_name: x}
- scheme: ftp
  static_configs: [{targets: ["http://b:1/metrics"]}]
"#,
        expect![[r#"
            ops.yaml:2:47: the timeout 6s is longer than the interval 5s [OPS-S003]
            ops.yaml:5:19: the timeout 10s is longer than the interval 5s [OPS-S003]
            ops.yaml:6:3: a scrape config has no key `honour_labels` [OPS-S002] (did you mean `honor_labels`?)
            ops.yaml:7:3: `kubernetes_sd_configs` is accepted but not acted on [OPS-S004]
            ops.yaml:8:20: `10 lots` is no size [OPS-S003] (a number with B, KB, MB or GB, such as `10MB`)
            ops.yaml:9:17: `-1` is not a whole number [OPS-S003]
            ops.yaml:12:5: a group of targets has no key `lables` [OPS-S002] (did you mean `labels`?)
            ops.yaml:14:6: a step that does `hashmod` needs a `modulus` above 0 [OPS-S005]
            ops.yaml:15:6: a step that does `replace` needs a `target_label` [OPS-S005]
            ops.yaml:16:14: `mangle` is not one of: replace, keep, drop, keepequal, dropequal, hashmod, labelmap, labeldrop, labelkeep, lowercase, uppercase [OPS-S003]
            ops.yaml:17:13: this is no regular expression: unclosed group [OPS-S003]
            ops.yaml:18:6: a relabel step has no key `source_label` [OPS-S002] (did you mean `source_labels`?)
            ops.yaml:20:45: no secret in the file `/run/none`: not found [OPS-S006]
            ops.yaml:21:3: `bearer_token` is a second way to say who we are [OPS-S003] (keep one of them)
            ops.yaml:22:13: a job `a` is already there [OPS-S007]
            ops.yaml:23:30: `*/x.json` must end in .json, .yml or .yaml, with `*` in its last part only [OPS-S003]
            ops.yaml:23:42: `targets.txt` must end in .json, .yml or .yaml, with `*` in its last part only [OPS-S003]
            ops.yaml:23:57: this file_sd config names no `files` [OPS-S005]
            ops.yaml:24:19: `authorization` has no `credentials` or `credentials_file` [OPS-S005]
            ops.yaml:25:16: `cert_file` and `key_file` go together [OPS-S005]
            ops.yaml:25:39: `server_name` is accepted but not acted on [OPS-S004]
            ops.yaml:26:3: this scrape config has no `job_name` [OPS-S005]
            ops.yaml:26:11: `ftp` is not one of: http, https [OPS-S003]
            ops.yaml:27:20: the target `http://b:1/metrics` is not HOST:PORT [OPS-S003] (the path goes into `metrics_path`, https into `scheme`)
            http://a:1/metrics: `http://a:1/metrics` is not HOST:PORT
            http://b:1/metrics: `http://b:1/metrics` is not HOST:PORT"#]],
    );
}

#[test]
fn ways_to_be_known_and_bounds() {
    let (settings, told) = read(
        r#"
global: {body_size_limit: 10MB, sample_limit: 500}
scrape_configs:
- job_name: a
  basic_auth: {username: me, password_file: /run/pw}
  tls_config: {ca_file: /run/ca.pem, cert_file: /run/c.pem, key_file: /run/k.pem, insecure_skip_verify: true}
  sample_limit: 0
  label_limit: 30
- job_name: b
  authorization: {credentials: abc}
  enable_compression: false
  follow_redirects: false
  honor_labels: true
  honor_timestamps: false
"#,
    );
    assert_eq!(told, "");
    let [a, b] = settings.scrapes.as_slice() else {
        panic!("two jobs")
    };
    let file = Credential::File("/run/pw".to_owned());
    assert_eq!(a.http.auth, Some(Auth::Basic("me".to_owned(), file)));
    assert_eq!(
        a.http.tls.ca.as_ref().unwrap().reveal(),
        "PEM of\n/run/ca.pem"
    );
    assert!(a.http.tls.insecure && a.http.tls.identity.is_some());
    assert_eq!(
        (a.samples.limits.body_bytes, a.samples.limits.samples),
        (Some(10 << 20), None)
    );
    assert_eq!(
        (a.samples.limits.labels, b.samples.limits.samples),
        (Some(30), Some(500))
    );
    let Some(Auth::Scheme(scheme, Credential::Given(secret))) = &b.http.auth else {
        panic!("{:?}", b.http.auth)
    };
    assert_eq!(
        (scheme.as_str(), secret.reveal().as_str()),
        ("Bearer", "abc")
    );
    assert!(!b.http.compression && !b.http.follow_redirects);
    assert!(b.samples.honor_labels && !b.samples.honor_timestamps && a.samples.honor_timestamps);
}

#[test]
fn files_name_targets_in_json_and_yaml() {
    let json = r#"[{"targets": ["a:1", "b:2"], "labels": {"env": "prod"}}]"#;
    let yaml = "- targets: [c:3]\n- labels: {x: y}\n  targets: []\n";
    let mut told = Vec::new();
    for text in [json, yaml, "- targets: a\n", "[", ""] {
        let (groups, problems) = scrape::read_target_file(&file(text));
        let problems: Vec<String> = problems.iter().map(Problem::brief).collect();
        let groups = groups
            .iter()
            .map(|g| format!("{:?}{}", g.targets, g.labels));
        told.push(groups.chain(problems).collect::<Vec<_>>().join(" "));
    }
    expect![[r#"
        ["a:1", "b:2"]{env="prod"}
        ["c:3"]{} []{x="y"}
        []{} ops.yaml:1:12: expected a list here, found a single value [OPS-S001]
        ops.yaml:1:1: this is not YAML: unclosed bracket '[' [OPS-Y001] (often a quote or bracket that is never closed, or indentation that does not line up)
    "#]].assert_eq(&told.join("\n"));
}

#[test]
fn labels_that_make_no_target_are_told() {
    let (settings, told) = read(
        "scrape_configs: [{job_name: a, relabel_configs: [{source_labels: [to, what], separator: '', regex: '(__.*__)(.*)', target_label: $1, replacement: $2}]}]",
    );
    assert_eq!(told, "");
    let target = |to: &str, what: &str| {
        let group = Labels::new().with("to", to).with("what", what);
        settings.scrapes[0].target("h:1", &group)
    };
    let told: Vec<String> = [
        ("__address__", ""),
        ("__address__", "a/b"),
        ("__scrape_interval__", "soon"),
        ("__scheme__", "ftp"),
    ]
    .iter()
    .map(|(to, what)| target(to, what).unwrap_err())
    .collect();
    expect![[r#"
        it has no address left
        `a/b` is not HOST:PORT
        `__scrape_interval__` is no length of time: `soon`
        `__scheme__` is `ftp`, not http or https"#]]
    .assert_eq(&told.join("\n"));
    let fine = target("__scrape_interval__", "5s").unwrap().unwrap();
    assert_eq!(
        (fine.interval, fine.timeout),
        (Duration::from_secs(5), Duration::from_secs(5))
    );
}
