//! Webhooks, to a server that answers and to sockets that do not.

use std::sync::{Arc, Mutex};

use aws_lc_rs::hmac;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use ops::model::page::{PageKind, Verdict};
use ops::model::secret::Secret;
use ops::model::time::Duration;
use ops::receivers::HttpRequest;
use ops::receivers::webhook::{self, WebhookTerms};
use ops::shell::carry::Carrier;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::lab::free_port;

use super::{PATIENT, SOON, page, why};

type Seen = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

pub(crate) fn request(url: &str) -> HttpRequest {
    let terms = WebhookTerms {
        url: Secret::new(url.to_owned()),
        bearer: Some(Secret::new("let-me-in".into())),
        signing_key: Some(Secret::new("a signing key".into())),
        max_alerts: 0,
        external_url: "http://localhost:9900".into(),
    };
    webhook::render(&page(PageKind::Opened), &terms)
}

async fn answer(
    State(seen): State<Seen>,
    Path(status): Path<u16>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    seen.lock().expect("alive").push((headers, body));
    let status = StatusCode::from_u16(status).expect("a status");
    match status.as_u16() {
        503 | 429 => (status, [("retry-after", "17")], "busy").into_response(),
        307 => (status, [("location", "/200")], "").into_response(),
        302 => (status, [("location", "/200")], "").into_response(),
        _ => (status, "said\nso").into_response(),
    }
}

/// The base URL of a server that answers `POST /<status>` with that status.
async fn server() -> (String, Seen) {
    let seen = Seen::default();
    let router = Router::new()
        .route("/{status}", post(answer))
        .with_state(Arc::clone(&seen));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}"), seen)
}

/// A server that reads the request, says `answer` and then hangs up, or hangs if there is nothing to say.
pub(crate) async fn rude(answer: Option<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 65_536];
                let _ = stream.read(&mut buffer).await;
                match answer {
                    Some(text) => stream.write_all(text.as_bytes()).await,
                    None => std::future::pending().await,
                }
            });
        }
    });
    format!("http://{address}/")
}

async fn carry(url: &str, timeout: Duration) -> Verdict {
    let carrier = Carrier::new(None).expect("a carrier");
    carrier.carry_http(&request(url), timeout).await
}

#[tokio::test]
async fn a_webhook_is_told_once_with_key_token_and_signature() {
    let (base, seen) = server().await;
    assert_eq!(carry(&format!("{base}/200"), PATIENT).await, Verdict::Done);
    let seen = seen.lock().expect("alive");
    assert_eq!(seen.len(), 1);
    let (headers, body) = &seen[0];
    assert_eq!(headers["idempotency-key"], "7/Opened");
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["authorization"], "Bearer let-me-in");
    let signature = headers["x-ops-signature"].to_str().expect("ASCII");
    let hex = signature.strip_prefix("sha256=").expect("the scheme");
    let tag: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hex"))
        .collect();
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"a signing key");
    hmac::verify(&key, body, &tag).expect("the signature of this body");
    let json: serde_json::Value = serde_json::from_slice(body).expect("JSON");
    assert_eq!(json["version"], "4");
}

#[tokio::test]
async fn answers_become_verdicts() {
    let (base, seen) = server().await;
    for status in [503, 429] {
        let verdict = carry(&format!("{base}/{status}"), PATIENT).await;
        let after = Some(Duration::from_secs(17));
        let why = format!("answered {status}: busy");
        assert_eq!(verdict, Verdict::Retry { why, after });
    }
    let verdict = carry(&format!("{base}/400"), PATIENT).await;
    let why = "answered 400: said so".to_owned();
    assert_eq!(verdict, Verdict::Refused { why });
    // 307 keeps the POST; 302 would turn it into a GET that tells nobody.
    seen.lock().expect("alive").clear();
    assert_eq!(carry(&format!("{base}/307"), PATIENT).await, Verdict::Done);
    let bodies: Vec<_> = seen.lock().expect("alive").drain(..).map(|s| s.1).collect();
    assert_eq!(bodies.len(), 2);
    assert_eq!(bodies[0], bodies[1]);
    let verdict = carry(&format!("{base}/302"), PATIENT).await;
    assert!(matches!(verdict, Verdict::Refused { .. }), "{verdict:?}");
}

#[tokio::test]
async fn no_answer_is_unknown_and_no_connection_a_retry() {
    let verdict = carry(&rude(None).await, SOON).await;
    assert!(matches!(verdict, Verdict::Unknown { .. }), "{verdict:?}");
    for cut in ["", "HTTP/1.1 20"] {
        let verdict = carry(&rude(Some(cut)).await, PATIENT).await;
        assert!(
            matches!(verdict, Verdict::Unknown { .. }),
            "{cut:?}: {verdict:?}"
        );
    }
    // The status line is the answer, however the body ends.
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nthanks";
    assert_eq!(carry(&rude(Some(cut)).await, PATIENT).await, Verdict::Done);
    for url in [
        format!("http://127.0.0.1:{}/", free_port()),
        "http://hook.invalid/".to_owned(),
    ] {
        let verdict = carry(&url, PATIENT).await;
        assert!(matches!(verdict, Verdict::Retry { .. }), "{verdict:?}");
    }
}

#[tokio::test]
async fn a_verdict_shows_no_secret_of_the_url() {
    let url = format!("http://user:hunter2@127.0.0.1:{}/T0KEN", free_port());
    for url in [url.as_str(), "http://user:hunter2@ T0KEN"] {
        let verdict = carry(url, PATIENT).await;
        for secret in ["hunter2", "T0KEN", "let-me-in"] {
            assert!(!why(&verdict).contains(secret), "{verdict:?}");
        }
        assert!(!format!("{:?}", request(url)).contains("hunter2"));
    }
}
