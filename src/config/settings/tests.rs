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
  evaluation_interval: 15s
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
  fallback_after: 90s
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
    expect![[r#"
        ops.yaml:4:3: `resolve_timeout` is accepted but not acted on [OPS-S004]
        ops.yaml:11:3: `group_by` is accepted but not acted on [OPS-S004]
        ops.yaml:16:48: `send_resolved` is accepted but not acted on [OPS-S004]
        ops.yaml:22:3: `slack_configs` is accepted but not acted on [OPS-S004]
        ops.yaml:23:1: `inhibit_rules` is accepted but not acted on [OPS-S004]"#]]
    .assert_eq(&told);
    expect![[r#"
        Settings {
            smtp: SmtpSettings {
                smarthost: "mail.opm.gov:465",
                from: "Ops <ops@opm.gov>",
                hello: None,
                auth_username: Some(
                    "ops",
                ),
                auth_password: Some(
                    ***,
                ),
                require_tls: true,
                tls: Implicit,
            },
            receivers: {
                "boss": Receiver {
                    name: "boss",
                    fallback: None,
                    fallback_after: None,
                    ways: [],
                },
                "team": Receiver {
                    name: "team",
                    fallback: Some(
                        "boss",
                    ),
                    fallback_after: Some(
                        Duration(
                            90000,
                        ),
                    ),
                    ways: [
                        Email {
                            to: "a@opm.gov",
                        },
                        Email {
                            to: "b@opm.gov",
                        },
                        Webhook {
                            url: ***,
                            bearer: None,
                            hmac_secret: Some(
                                ***,
                            ),
                            send_resolved: true,
                            max_alerts: 0,
                            timeout: Duration(
                                3000,
                            ),
                        },
                    ],
                },
            },
            default_receiver: Some(
                "team",
            ),
            tokens: [
                Token {
                    name: "ci",
                    secret: ***,
                    scopes: [
                        Push,
                        Read,
                    ],
                },
            ],
            scrapes: [],
            listen: Some(
                "0.0.0.0:9900",
            ),
            data: None,
            alerts: None,
            scripts: None,
            runbooks: None,
            tick: Some(
                Duration(
                    1000,
                ),
            ),
            retention: Some(
                Duration(
                    86400000,
                ),
            ),
            evaluation_interval: Some(
                Duration(
                    15000,
                ),
            ),
            snapshot_interval: None,
            durability: Some(
                Every(
                    Duration(
                        100,
                    ),
                ),
            ),
            external_url: Some(
                "https://ops.opm.gov",
            ),
        }
    "#]]
    .assert_debug_eq(&settings);
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
    expect![[r#"
        ops.yaml:2:26: `mail` is not HOST:PORT [OPS-S003] (an example: `mail.example.gov:587`)
        ops.yaml:2:55: `smtp_auth_password` and `smtp_auth_password_env` both give this secret [OPS-S006] (keep one of them)
        ops.yaml:3:19: there is no receiver `teem` [OPS-S008] (did you mean `team`?)
        ops.yaml:4:1: the settings file has no key `recievers` [OPS-S002] (did you mean `receivers`?)
        ops.yaml:6:50: this webhook config has no `url` [OPS-S005] (add `url`, `url_file` or `url_env`)
        ops.yaml:6:60: a webhook's URL begins with `https://` or `http://` [OPS-S003] (an example: `https://pager.example.gov/hook`)
        ops.yaml:6:87: no secret in the environment variable `NO`: not found [OPS-S006]
        ops.yaml:7:26: the fallbacks of `boss` lead back to it [OPS-S008] (the last of a chain has no `fallback`)
        ops.yaml:8:10: a receiver `boss` is already there [OPS-S007] (give it another name)
        ops.yaml:8:37: `nobody` is not an e-mail address [OPS-S003] (several addresses are separated by `,`)
        ops.yaml:9:13: `sometimes` is not a duration: write a number and a unit, largest first, as in `30s`, `5m` or `1h30m` [OPS-S003]
        ops.yaml:10:18: this token has no `name` [OPS-S005]
        ops.yaml:10:37: `all` is not one of: push, read, operate, heal, admin [OPS-S003]"#]].assert_eq(&told);
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

#[test]
fn a_password_may_have_lines_and_a_header_may_not() {
    let text = r#"
global: {smtp_auth_password: "two\nlines", smtp_hello: "a\r\nb"}
receivers: [{name: a, webhook_configs: [{url: 'https://x', bearer: "t\nX-Evil: 1"}]}]
"#;
    expect![[r#"
        ops.yaml:2:56: this value holds a line break or another control character [OPS-S003]
        ops.yaml:3:68: this value holds a line break or another control character [OPS-S003]"#]]
    .assert_eq(&read(text).1);
}
