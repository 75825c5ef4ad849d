use expect_test::expect;

use super::*;
use crate::config::receivers::Way;

fn read(text: &str) -> (Settings, String) {
    let file = SourceFile {
        path: "ops.yaml".to_owned(),
        shown: "ops.yaml".to_owned(),
        text: text.to_owned(),
    };
    let (settings, problems) = read_settings(&file, &|secret| match secret {
        SecretRef::Env(name) if name == "TOKEN" => Ok("t0p".to_owned()),
        SecretRef::File(path) if path == "/run/pw" => Ok("pw\n".to_owned()),
        SecretRef::Env(_) | SecretRef::File(_) => Err("not found".to_owned()),
    });
    let told: Vec<String> = problems.iter().map(Problem::brief).collect();
    (settings, told.join("\n"))
}

#[test]
fn an_alertmanager_file_pastes_in() {
    let (settings, told) = read(
        r#"
global:
  resolve_timeout: 5m
  smtp_smarthost: mail.opm.gov:465
  smtp_from: Ops <ops@opm.gov>
  smtp_auth_username: ops
  smtp_auth_password_file: /run/pw
route:
  receiver: team
  group_by: [alertname]
receivers:
- name: team
  fallback: boss
  email_configs: [{to: "a@opm.gov, b@opm.gov", send_resolved: true}]
  webhook_configs:
  - url: https://hook.gov/${TOKEN}
    hmac_secret_env: TOKEN
    timeout: 3s
- name: boss
  slack_configs: [{channel: '#x'}]
inhibit_rules: []
listen: 0.0.0.0:9900
tick: 1s
retention: 24h
durability: 100ms
external_url: https://ops.opm.gov/
auth:
  tokens:
  - {name: ci, token_env: TOKEN, scopes: [push, read]}
"#,
    );
    expect![[""]].assert_eq(&told);
    expect![[""]].assert_debug_eq(&settings);
    let Some(Way::Webhook { url, .. }) = settings.receivers["team"].ways.last() else {
        panic!()
    };
    assert_eq!(url.reveal(), "https://hook.gov/t0p");
    assert_eq!(
        settings.smtp.auth_password.map(|s| s.reveal().clone()),
        Some("pw".to_owned())
    );
}

#[test]
fn all_mistakes_are_told_at_once() {
    let (_, told) = read(
        r#"
global: {smtp_smarthost: mail, smtp_auth_password: a, smtp_auth_password_env: NO}
route: {receiver: teem}
recievers: []
receivers:
- {name: team, fallback: boss, webhook_configs: [{}, {url: 'ftp://s3cret'}, {url_env: NO}]}
- {name: boss, fallback: team}
- {name: boss, email_configs: [{to: nobody}]}
durability: sometimes
auth: {tokens: [{token: x, scopes: [all]}]}
"#,
    );
    expect![[""]].assert_eq(&told);
}

#[test]
fn nothing_written_is_fine() {
    let (settings, told) = read("# nothing\n");
    assert_eq!(told, "");
    assert!(!settings.smtp.require_tls);
    assert!(
        read("global: {smtp_smarthost: 'mail:25'}")
            .0
            .smtp
            .require_tls
    );
}
