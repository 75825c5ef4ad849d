use expect_test::{Expect, expect};

use super::*;
use crate::receivers::samples;

fn terms() -> WebhookTerms {
    WebhookTerms {
        url: Secret::new("https://hooks.opm.gov/T0KEN".into()),
        bearer: None,
        signing_key: None,
        max_alerts: 0,
        external_url: "https://ops.opm.gov/".into(),
    }
}

fn check(page: &Page, terms: &WebhookTerms, golden: Expect) {
    let request = render(page, terms);
    let json: serde_json::Value = serde_json::from_slice(&request.body).expect("JSON");
    golden.assert_eq(&serde_json::to_string_pretty(&json).expect("JSON"));
}

#[test]
fn an_opened_incident_is_a_version_4_body() {
    check(
        &samples::page(PageKind::Opened),
        &terms(),
        expect![[r#"
            {
              "alerts": [
                {
                  "annotations": {
                    "summary": "The county API is <slow> & getting slower"
                  },
                  "endsAt": "0001-01-01T00:00:00Z",
                  "fingerprint": "1c2a35531ff2c2e5",
                  "generatorURL": "https://ops.opm.gov/board/county_api_ms",
                  "labels": {
                    "alertname": "county_api_ms",
                    "region": "east"
                  },
                  "startsAt": "2025-11-23T16:03:03.000Z",
                  "status": "firing"
                }
              ],
              "commonAnnotations": {
                "summary": "The county API is <slow> & getting slower"
              },
              "commonLabels": {
                "alertname": "county_api_ms",
                "region": "east"
              },
              "externalURL": "https://ops.opm.gov/",
              "groupKey": "{}/{incident=\"7\"}:{alertname=\"county_api_ms\"}",
              "groupLabels": {
                "alertname": "county_api_ms"
              },
              "notification_reason": "first notification",
              "ops": {
                "board": "https://ops.opm.gov/board/county_api_ms",
                "condition": "avg over 3m > 1000",
                "heal": "rollback_docket_rule.sh success in 0.4 s, verifying",
                "incident": 7,
                "key": "7/Opened/oncall",
                "kind": "opened",
                "over": "",
                "runbook": "https://ops.opm.gov/runbooks/wiki/slow-county-api",
                "threshold": 1000.0,
                "value": 1580.25
              },
              "receiver": "oncall@opm.gov",
              "routeLabels": {},
              "status": "firing",
              "truncatedAlerts": 0,
              "version": "4"
            }"#]],
    );
}

#[test]
fn a_closed_one_names_what_all_have_in_common_and_counts_what_it_leaves_out() {
    let mut page = samples::page(PageKind::Closed);
    let end = Some(Timestamp::from_ms(1_763_914_000_000));
    page.alerts = vec![
        samples::alert("east", 112.0, end),
        samples::alert("west", f64::NAN, None),
    ];
    let terms = WebhookTerms {
        max_alerts: 1,
        ..terms()
    };
    check(
        &page,
        &terms,
        expect![[r#"
            {
              "alerts": [
                {
                  "annotations": {
                    "summary": "The county API is <slow> & getting slower"
                  },
                  "endsAt": "2025-11-23T16:06:40.000Z",
                  "fingerprint": "1c2a35531ff2c2e5",
                  "generatorURL": "https://ops.opm.gov/board/county_api_ms",
                  "labels": {
                    "alertname": "county_api_ms",
                    "region": "east"
                  },
                  "startsAt": "2025-11-23T16:03:03.000Z",
                  "status": "resolved"
                }
              ],
              "commonAnnotations": {
                "summary": "The county API is <slow> & getting slower"
              },
              "commonLabels": {
                "alertname": "county_api_ms"
              },
              "externalURL": "https://ops.opm.gov/",
              "groupKey": "{}/{incident=\"7\"}:{alertname=\"county_api_ms\"}",
              "groupLabels": {
                "alertname": "county_api_ms"
              },
              "notification_reason": "all alerts resolved",
              "ops": {
                "board": "https://ops.opm.gov/board/county_api_ms",
                "condition": "avg over 3m > 1000",
                "heal": "rollback_docket_rule.sh success in 0.4 s, verifying",
                "incident": 7,
                "key": "7/Closed/oncall",
                "kind": "closed",
                "over": "recovered",
                "runbook": "https://ops.opm.gov/runbooks/wiki/slow-county-api",
                "threshold": 1000.0,
                "value": 112.0
              },
              "receiver": "oncall@opm.gov",
              "routeLabels": {},
              "status": "resolved",
              "truncatedAlerts": 1,
              "version": "4"
            }"#]],
    );
}

#[test]
fn fields_stand_in_alertmanagers_order_and_one_firing_alert_makes_it_firing() {
    let mut page = samples::page(PageKind::Joined);
    page.alerts
        .push(samples::alert("west", 1.0, Some(page.opened_at)));
    let body = String::from_utf8(render(&page, &terms()).body).expect("UTF-8");
    assert!(
        body.starts_with(r#"{"version":"4","groupKey":"{}/{incident=\"7\"}:{alertname=\"county_api_ms\"}","truncatedAlerts":0,"receiver":"oncall@opm.gov","status":"firing","alerts":[{"status":"firing","labels":"#),
        "{body}"
    );
    assert!(
        body.contains(r#""startsAt":"2025-11-23T16:03:03.000Z","endsAt":"0001-01-01T00:00:00Z""#)
    );
    assert!(body.contains(r#""endsAt":"2025-11-23T16:05:03.000Z""#));
}

#[test]
fn fingerprints_are_prometheuss() {
    assert_eq!(fingerprint(&Labels::new()), "cbf29ce484222325");
}

#[test]
fn the_signature_is_the_known_answer_of_rfc_4231_case_2() {
    let tag = sign(&Secret::new("Jefe".into()), b"what do ya want for nothing?");
    assert_eq!(
        tag,
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
}

#[test]
fn a_request_prints_no_secret_and_a_strange_key_can_be_sent() {
    let mut page = samples::page(PageKind::Opened);
    page.key = "a b\r\nX: ü".into();
    let terms = WebhookTerms {
        bearer: Some(Secret::new("let-me-in".into())),
        ..terms()
    };
    let request = render(&page, &terms);
    let key = request.headers.iter().find(|h| h.0 == "Idempotency-Key");
    assert_eq!(key.expect("a key").1.reveal(), "a_b__X:__");
    let HttpRequest { url, headers, .. } = request;
    let shown = format!("{url:?} {headers:?}");
    assert!(!shown.contains("let-me-in") && !shown.contains("T0KEN"));
}

#[test]
fn verdicts() {
    let short = Some(Duration::from_secs(3));
    assert_eq!(judge(200, short, "ok"), Verdict::Done);
    assert_eq!(judge(204, None, ""), Verdict::Done);
    for status in [408, 429, 500, 502, 503, 504] {
        let why = format!("answered {status}");
        let retry = Verdict::Retry { why, after: short };
        assert_eq!(judge(status, short, ""), retry);
    }
    for status in [301, 302, 400, 401, 403, 404, 413, 422] {
        let verdict = judge(status, None, "no\nno");
        let why = format!("answered {status}: no no");
        assert_eq!(verdict, Verdict::Refused { why });
    }
    let forever = judge(503, Some(Duration::from_hours(90)), "");
    let why = "answered 503".to_owned();
    let after = Some(RETRY_AFTER_MAX);
    assert_eq!(forever, Verdict::Retry { why, after });
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let now = Timestamp::from_ms(784_111_777_000);
    let read = |text| retry_after(text, now);
    assert_eq!(read(" 120 "), Some(Duration::from_secs(120)));
    let date = "Sun, 06 Nov 1994 08:50:37 GMT";
    assert_eq!(read(date), Some(Duration::from_secs(60)));
    let past = "Sun, 06 Nov 1994 08:48:37 GMT";
    assert_eq!(read(past), Some(Duration::ZERO));
    assert_eq!(read("soon"), None);
    assert_eq!(read("-5"), None);
}
