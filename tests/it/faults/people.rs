//! Receivers that hang, are gone or refuse, under the whole program: everyone else is told on time, a fallback is told,
//! and everyone who was told that it began is told once that it is over.

use std::time::{Duration, Instant};

use crate::lab::{Hooks, Lab, free_port, until};
use crate::tell::hooks::rude;
use crate::tell::server::Server;

const RULE: &str = "metric: lat\nwindow: 3s\nthreshold: 100\naggregate: last\n";

/// A project whose mail goes to `port`; `mail` falls back on the webhook `chief` after two seconds.
fn settings(hooks: &Hooks, port: u16) -> String {
    format!(
        "global:\n  smtp_smarthost: 127.0.0.1:{port}\n  smtp_from: ops@opm.gov\n  smtp_require_tls: false\n{}",
        hooks.settings(&["chief", "other"]).replace(
            "receivers:\n",
            "receivers:\n- name: mail\n  fallback: chief\n  fallback_after: 2s\n  email_configs:\n  - to: oncall@opm.gov\n"
        )
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_never_answers_delays_nobody() {
    let Some(mut server) = Server::start("plain") else {
        return;
    };
    let (mut lab, hooks, hang) = (Lab::new("hang"), Hooks::open().await, rude(None).await);
    let hanging =
        format!("- name: hanging\n  webhook_configs:\n  - url: {hang}\n    timeout: 30s\n");
    let text = settings(&hooks, server.port);
    let text = text.replace("receivers:\n", &format!("receivers:\n{hanging}"));
    lab.write("ops.yaml", &text);
    // More alerts than deliveries that may be under way to one receiver, each rule telling all three.
    for n in 0..12 {
        let rule = RULE.replace("lat", &format!("lat{n}"));
        lab.write(
            &format!("alerts/lat{n}.yml"),
            &format!("{rule}notify: [hanging, mail, other]\n"),
        );
    }
    lab.serve().await;
    let push = async |value: f64| {
        for n in 0..12 {
            assert!(lab.push(&format!("lat{n}"), value).await);
        }
    };
    let all = |kind: &str| {
        (0..12).all(|n| {
            hooks
                .kinds("other", &format!("lat{n}"))
                .contains(&kind.to_owned())
        })
    };
    let begun = Instant::now();
    until("all are told", async || {
        push(500.0).await;
        all("opened")
    })
    .await;
    let mails = tokio::task::spawn_blocking(move || {
        let subjects: Vec<String> = (0..12)
            .map(|_| server.received()["headers"]["subject"].to_string())
            .collect();
        (server, subjects)
    });
    let (mut server, subjects) = mails.await.unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "late: {:?}",
        begun.elapsed()
    );
    assert!(
        subjects.iter().all(|s| s.contains("FIRING")),
        "{subjects:?}"
    );
    until("all are told that it is over", async || {
        push(1.0).await;
        all("closed")
    })
    .await;
    let mails = tokio::task::spawn_blocking(move || {
        (0..12).all(|_| {
            server.received()["headers"]["subject"]
                .to_string()
                .contains("RESOLVED")
        })
    });
    assert!(mails.await.unwrap());
    for n in 0..12 {
        assert_eq!(
            hooks.kinds("other", &format!("lat{n}")),
            ["opened", "closed"]
        );
    }
}

/// A mail server in one of its bad moods: the fallback is told, and in the end that it is over, once.
async fn mood(mode: &'static str) {
    let server = match mode {
        "gone" => None,
        mode => match Server::start(mode) {
            Some(server) => Some(server),
            None => return,
        },
    };
    let port = server.as_ref().map_or_else(free_port, |s| s.port);
    let (mut lab, hooks) = (Lab::new("mood"), Hooks::open().await);
    lab.write("ops.yaml", &settings(&hooks, port));
    lab.write("alerts/lat.yml", &format!("{RULE}notify: [mail, other]\n"));
    lab.serve().await;
    until(&format!("{mode}: the fallback is told"), async || {
        lab.push("lat", 500.0).await;
        hooks.kinds("chief", "lat") == ["opened"]
    })
    .await;
    assert_eq!(hooks.kinds("other", "lat"), ["opened"], "{mode}");
    until(&format!("{mode}: it is over for all"), async || {
        lab.push("lat", 1.0).await;
        let closed = |name| hooks.kinds(name, "lat") == ["opened", "closed"];
        closed("chief") && closed("other")
    })
    .await;
    // Once more through the door: nothing else comes.
    let ticks = async || lab.incidents().await[0]["closed"].is_object();
    until(&format!("{mode}: it stays closed"), ticks).await;
    for name in ["chief", "other"] {
        assert_eq!(hooks.kinds(name, "lat"), ["opened", "closed"], "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_mail_server_does_someone_is_told_and_told_once_that_it_is_over() {
    tokio::join!(
        mood("gone"),
        mood("rcpt_4xx"),
        mood("data_4xx"),
        mood("rcpt_5xx"),
        mood("data_5xx"),
        mood("silent"),
        mood("hang_after_data"),
    );
}
