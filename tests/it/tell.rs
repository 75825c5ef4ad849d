//! Telling people, against real servers: mail to aiosmtpd, webhooks to axum and to sockets that misbehave.

use std::time::Instant;

use ops::model::labels::Labels;
use ops::model::page::{Page, PageAlert, PageKind, Verdict};
use ops::model::secret::Secret;
use ops::model::time::{Duration, Timestamp};
use ops::receivers::email::{self, EmailTerms, Mail};
use ops::shell::carry::{Carrier, SmtpSettings, SmtpTls};
use ops::shell::inbox::{Arrival, Inbox};

pub(crate) mod hooks;
pub(crate) mod server;

use serde_json::Value;
use server::Server;

const SOON: Duration = Duration::from_ms(1_500);
const PATIENT: Duration = Duration::from_secs(10);

pub(crate) fn page(kind: PageKind) -> Page {
    Page {
        key: format!("7/{kind:?}"),
        incident: 7,
        kind,
        receiver: "oncall@opm.gov".into(),
        rule: "county_api_ms — slow".into(),
        metric: "county_api_ms".into(),
        condition: "avg over 3m > 1000".into(),
        threshold: Some(1000.0),
        alerts: vec![PageAlert {
            labels: Labels::new().with("region", "east").with("city", "Zürich"),
            annotations: Labels::new(),
            since: Timestamp::from_ms(1_763_913_783_000),
            resolved_at: None,
            value: 1580.0,
        }],
        opened_at: Timestamp::from_ms(1_763_913_903_000),
        at: Timestamp::from_ms(1_763_913_903_500),
        over: String::new(),
        more: 0,
        runbook: None,
        heal: String::new(),
        board: "/board/county_api_ms".into(),
    }
}

fn mail_to(kind: PageKind, to: &[&str]) -> Mail {
    let terms = EmailTerms {
        from: "Mission control <ops@opm.gov>".into(),
        to: to.iter().map(|t| (*t).to_owned()).collect(),
        domain: "opm.gov".into(),
        external_url: "http://localhost:9900".into(),
    };
    email::render(&page(kind), &terms)
}

fn mail(kind: PageKind) -> Mail {
    mail_to(kind, &["oncall@opm.gov"])
}

fn settings(port: u16) -> SmtpSettings {
    SmtpSettings {
        smarthost: format!("127.0.0.1:{port}"),
        hello: "ops.test".into(),
        username: None,
        password: None,
        tls: SmtpTls::None,
        ca_file: None,
    }
}

fn carrier(settings: SmtpSettings) -> Carrier {
    Carrier::new(Some(settings)).expect("settings are fine")
}

/// Delivers one mail to a server in this mode; None if there is no server.
async fn deliver(mode: &str, to: &[&str]) -> Option<(Verdict, Server)> {
    let server = Server::start(mode)?;
    let timeout = if mode.contains("hang") || mode == "silent" {
        SOON
    } else {
        PATIENT
    };
    let begun = Instant::now();
    let verdict = carrier(settings(server.port))
        .carry_mail(&mail_to(PageKind::Opened, to), timeout)
        .await;
    assert!(begun.elapsed() < timeout.std() + SOON.std(), "bounded");
    Some((verdict, server))
}

fn why(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Done => "",
        Verdict::Retry { why, .. } | Verdict::Refused { why } | Verdict::Unknown { why } => why,
    }
}

#[tokio::test]
async fn mails_of_an_incident_are_one_thread() {
    let Some(mut server) = Server::start("plain") else {
        return;
    };
    let carrier = carrier(settings(server.port));
    let kinds = [PageKind::Opened, PageKind::Repeat, PageKind::Closed];
    let mut got = Vec::new();
    for kind in kinds {
        assert_eq!(
            carrier.carry_mail(&mail(kind), PATIENT).await,
            Verdict::Done
        );
        got.push(server.received());
    }
    let root = "<incident-7-1763913903000@opm.gov>";
    assert_eq!(got[0]["from"], "ops@opm.gov");
    assert_eq!(got[0]["to"][0], "oncall@opm.gov");
    let head = &got[0]["headers"];
    assert_eq!(head["subject"], "[FIRING] county_api_ms — slow (#7)");
    assert_eq!(head["message-id"], root);
    assert_eq!(head["auto-submitted"], "auto-generated");
    assert!(head.get("in-reply-to").is_none());
    for (later, kind) in got.iter().zip(kinds).skip(1) {
        let head = &later["headers"];
        assert_eq!(head["in-reply-to"], root);
        assert_eq!(head["references"], root);
        assert_eq!(head["message-id"], mail(kind).message_id.as_str());
    }
    assert_ne!(
        got[1]["headers"]["message-id"],
        got[2]["headers"]["message-id"]
    );
    let sent = mail(PageKind::Opened);
    let lines = |t: &Value| t.as_str().expect("text").replace("\r\n", "\n");
    assert_eq!(lines(&got[0]["text"]).trim_end(), sent.text.trim_end());
    assert_eq!(lines(&got[0]["html"]).trim_end(), sent.html.trim_end());
}

#[tokio::test]
async fn a_password_is_sent_and_a_wrong_one_is_refused() {
    let Some(mut server) = Server::start("auth") else {
        return;
    };
    let with = |password: &str| SmtpSettings {
        username: Some(Secret::new("ops".to_owned())),
        password: Some(Secret::new(password.to_owned())),
        ..settings(server.port)
    };
    let (right, wrong) = (with("pass phrase"), with("guess"));
    assert!(!format!("{wrong:?}").contains("guess"));
    let mail = mail(PageKind::Opened);
    let verdict = carrier(wrong).carry_mail(&mail, PATIENT).await;
    assert!(matches!(verdict, Verdict::Refused { .. }), "{verdict:?}");
    assert!(!why(&verdict).contains("guess"));
    let verdict = carrier(settings(server.port))
        .carry_mail(&mail, PATIENT)
        .await;
    assert!(
        matches!(verdict, Verdict::Refused { .. }),
        "without: {verdict:?}"
    );
    let verdict = carrier(right).carry_mail(&mail, PATIENT).await;
    assert_eq!(verdict, Verdict::Done);
    assert_eq!(server.received()["login"], "ops");
}

#[tokio::test]
async fn starttls_and_implicit_tls_trust_the_ca_file_and_nobody_else() {
    let modes = [
        ("starttls", SmtpTls::StartTls),
        ("starttls", SmtpTls::StartTlsIfOffered),
        ("implicit", SmtpTls::Implicit),
    ];
    for (mode, tls) in modes {
        let Some(mut server) = Server::start(mode) else {
            return;
        };
        let strict = SmtpSettings {
            tls,
            ..settings(server.port)
        };
        let trusting = SmtpSettings {
            ca_file: server.ca.clone(),
            ..strict.clone()
        };
        let mail = mail(PageKind::Opened);
        let verdict = carrier(strict).carry_mail(&mail, PATIENT).await;
        assert!(
            matches!(verdict, Verdict::Retry { .. }),
            "{mode}: {verdict:?}"
        );
        assert!(why(&verdict).contains("certificate"), "{verdict:?}");
        let verdict = carrier(trusting).carry_mail(&mail, PATIENT).await;
        assert_eq!(verdict, Verdict::Done, "{mode}");
        assert_eq!(server.received()["tls"], true, "{mode}");
    }
}

#[tokio::test]
async fn required_starttls_is_not_given_up_when_the_server_lacks_it() {
    let Some(server) = Server::start("plain") else {
        return;
    };
    let with = |tls| SmtpSettings {
        tls,
        ..settings(server.port)
    };
    let mail = mail(PageKind::Opened);
    let verdict = carrier(with(SmtpTls::StartTls))
        .carry_mail(&mail, PATIENT)
        .await;
    assert!(matches!(verdict, Verdict::Refused { .. }), "{verdict:?}");
    let opportunistic = carrier(with(SmtpTls::StartTlsIfOffered));
    assert_eq!(
        opportunistic.carry_mail(&mail, PATIENT).await,
        Verdict::Done
    );
}

#[tokio::test]
async fn a_4xx_is_retried_and_a_5xx_is_refused() {
    for (mode, said) in [("rcpt_4xx", "451"), ("data_4xx", "452")] {
        let Some((verdict, _server)) = deliver(mode, &["oncall@opm.gov"]).await else {
            return;
        };
        assert!(
            matches!(verdict, Verdict::Retry { .. }),
            "{mode}: {verdict:?}"
        );
        assert!(why(&verdict).contains(said), "{verdict:?}");
    }
    for (mode, said) in [("rcpt_5xx", "no such user"), ("data_5xx", "spam")] {
        let Some((verdict, _server)) = deliver(mode, &["oncall@opm.gov"]).await else {
            return;
        };
        assert!(
            matches!(verdict, Verdict::Refused { .. }),
            "{mode}: {verdict:?}"
        );
        assert!(why(&verdict).contains(said), "{verdict:?}");
    }
}

#[tokio::test]
async fn one_bad_recipient_does_not_keep_the_mail_from_the_others() {
    let to = ["first@opm.gov", "second@opm.gov"];
    let Some((verdict, mut server)) = deliver("one_5xx", &to).await else {
        return;
    };
    assert_eq!(verdict, Verdict::Done);
    assert_eq!(
        server.received()["to"],
        serde_json::json!(["first@opm.gov"])
    );
    let Some((verdict, mut server)) = deliver("one_4xx", &to).await else {
        return;
    };
    assert!(matches!(verdict, Verdict::Retry { .. }), "{verdict:?}");
    assert_eq!(
        server.received()["to"],
        serde_json::json!(["first@opm.gov"])
    );
}

#[tokio::test]
async fn silence_before_the_message_is_a_retry_and_after_it_unknown() {
    let Some((verdict, _server)) = deliver("silent", &["oncall@opm.gov"]).await else {
        return;
    };
    assert!(matches!(verdict, Verdict::Retry { .. }), "{verdict:?}");
    for mode in ["hang_after_data", "close_after_data"] {
        let Some((verdict, _server)) = deliver(mode, &["oncall@opm.gov"]).await else {
            return;
        };
        assert!(
            matches!(verdict, Verdict::Unknown { .. }),
            "{mode}: {verdict:?}"
        );
    }
}

#[tokio::test]
async fn a_server_that_never_says_goodbye_has_taken_the_mail_all_the_same() {
    let Some(server) = Server::start("slow_goodbye") else {
        return;
    };
    let verdict = carrier(settings(server.port))
        .carry_mail(
            &mail_to(PageKind::Opened, &["oncall@opm.gov"]),
            Duration::from_ms(900),
        )
        .await;
    assert_eq!(verdict, Verdict::Done);
}

#[tokio::test]
async fn an_address_beyond_ascii_is_delivered_and_a_wrong_one_refused() {
    let Some(mut server) = Server::start("plain") else {
        return;
    };
    let carrier = carrier(settings(server.port));
    let to = ["jörg@opm.gov"];
    let verdict = carrier
        .carry_mail(&mail_to(PageKind::Opened, &to), PATIENT)
        .await;
    assert_eq!(verdict, Verdict::Done);
    assert_eq!(server.received()["to"], serde_json::json!(to));
    for wrong in ["nobody", "a@b\r\nRCPT TO:<c@d>", ""] {
        let verdict = carrier
            .carry_mail(&mail_to(PageKind::Opened, &[wrong]), PATIENT)
            .await;
        assert!(matches!(verdict, Verdict::Refused { .. }), "{verdict:?}");
    }
}

#[tokio::test]
async fn a_mail_server_that_is_not_there_is_a_retry() {
    let port = crate::lab::free_port();
    let verdict = carrier(settings(port))
        .carry_mail(&mail(PageKind::Opened), PATIENT)
        .await;
    assert!(matches!(verdict, Verdict::Retry { .. }), "{verdict:?}");
    let nowhere = SmtpSettings {
        smarthost: "mail.invalid:25".into(),
        ..settings(port)
    };
    let verdict = carrier(nowhere)
        .carry_mail(&mail(PageKind::Opened), PATIENT)
        .await;
    assert!(matches!(verdict, Verdict::Retry { .. }), "{verdict:?}");
}

#[tokio::test]
async fn the_inbox_shows_what_people_would_get() {
    let (inbox, mut arrivals) = Inbox::open().await.expect("loopback");
    let carrier = carrier(settings(inbox.smtp.port()));
    let sent = mail_to(PageKind::HealFailed, &["a@opm.gov", "b@opm.gov"]);
    assert_eq!(carrier.carry_mail(&sent, PATIENT).await, Verdict::Done);
    let Some(Arrival::Mail(got)) = arrivals.recv().await else {
        panic!("no mail");
    };
    assert_eq!(got.from, "ops@opm.gov");
    assert_eq!(got.to, ["a@opm.gov", "b@opm.gov"]);
    assert_eq!(got.subject, sent.subject);
    assert_eq!(got.text.trim_end(), sent.text.trim_end());
    let request = hooks::request(&inbox.webhook);
    assert_eq!(carrier.carry_http(&request, PATIENT).await, Verdict::Done);
    let Some(Arrival::Webhook(got)) = arrivals.recv().await else {
        panic!("no webhook");
    };
    assert_eq!(got["ops"]["incident"], 7);
}
