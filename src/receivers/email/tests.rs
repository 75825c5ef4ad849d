use expect_test::{Expect, expect};

use super::*;
use crate::model::labels::Labels;
use crate::receivers::samples;

fn terms() -> EmailTerms {
    EmailTerms {
        from: "ops@opm.gov".into(),
        to: vec!["oncall@opm.gov".into()],
        domain: "opm.gov".into(),
        external_url: "https://ops.opm.gov/".into(),
    }
}

fn check(page: &Page, golden: Expect) {
    let mail = render(page, &terms());
    let parent = mail.references.as_deref().unwrap_or("none");
    assert_eq!(mail.references, mail.in_reply_to);
    golden.assert_eq(&format!(
        "Subject: {}\nMessage-ID: {}\nReferences: {parent}\n\n{}",
        mail.subject, mail.message_id, mail.text
    ));
}

#[test]
fn opened() {
    check(
        &samples::page(PageKind::Opened),
        expect![[r#"
            Subject: [FIRING] county_api_ms (#7)
            Message-ID: <incident-7-1763913903000@opm.gov>
            References: none

            county_api_ms is 1580.25.
            The county API is <slow> & getting slower

            Condition  avg over 3m > 1000
            Threshold  1000
            Since      2025-11-23 16:03:03 UTC (3 min 40 s ago)
            Opened     2025-11-23 16:05:03 UTC
            Heal       rollback_docket_rule.sh success in 0.4 s, verifying
            Runbook    https://ops.opm.gov/runbooks/wiki/slow-county-api
            Board      https://ops.opm.gov/board/county_api_ms
            Incident   https://ops.opm.gov/incidents/7
            Ack        ops ack 7

            1 firing:

            * 1580.25, since 2025-11-23 16:03:03 UTC
                alertname = county_api_ms
                region = east
                summary: The county API is <slow> & getting slower
        "#]],
    );
}

#[test]
fn heal_failed() {
    let mut page = samples::page(PageKind::HealFailed);
    page.heal = "rollback_docket_rule.sh exit 1 after 3.2 s".into();
    page.runbook = Some("https://wiki.opm.gov/slow".into());
    check(
        &page,
        expect![[r#"
            Subject: [HEAL FAILED] county_api_ms (#7)
            Message-ID: <page-6b4646b69a55f31075e854ef245c5600@opm.gov>
            References: <incident-7-1763913903000@opm.gov>

            county_api_ms is 1580.25 and the heal did not help. A person is needed.
            The county API is <slow> & getting slower

            Condition  avg over 3m > 1000
            Threshold  1000
            Since      2025-11-23 16:03:03 UTC (3 min 40 s ago)
            Opened     2025-11-23 16:05:03 UTC
            Heal       rollback_docket_rule.sh exit 1 after 3.2 s
            Runbook    https://wiki.opm.gov/slow
            Board      https://ops.opm.gov/board/county_api_ms
            Incident   https://ops.opm.gov/incidents/7
            Ack        ops ack 7

            1 firing:

            * 1580.25, since 2025-11-23 16:03:03 UTC
                alertname = county_api_ms
                region = east
                summary: The county API is <slow> & getting slower
        "#]],
    );
}

#[test]
fn closed() {
    let mut page = samples::page(PageKind::Closed);
    page.alerts = vec![samples::alert("east", 112.0, Some(page.at))];
    check(
        &page,
        expect![[r#"
            Subject: [RESOLVED] county_api_ms (#7)
            Message-ID: <page-9857c470d32d3235d6fb60604ebbcb09@opm.gov>
            References: <incident-7-1763913903000@opm.gov>

            It is over: county_api_ms is back at 112.

            Condition  avg over 3m > 1000
            Threshold  1000
            Since      2025-11-23 16:03:03 UTC, for 3 min 40 s
            Opened     2025-11-23 16:05:03 UTC
            Closed     2025-11-23 16:06:43 UTC
            Heal       rollback_docket_rule.sh success in 0.4 s, verifying
            Runbook    https://ops.opm.gov/runbooks/wiki/slow-county-api
            Board      https://ops.opm.gov/board/county_api_ms
            Incident   https://ops.opm.gov/incidents/7

            1 resolved:

            * 112, from 2025-11-23 16:03:03 UTC to 2025-11-23 16:06:43 UTC
                alertname = county_api_ms
                region = east
                summary: The county API is <slow> & getting slower
        "#]],
    );
}

#[test]
fn html() {
    let html = render(&samples::page(PageKind::Opened), &terms()).html;
    expect![[r#"
        <!doctype html><html><body style="font-family:sans-serif"><h2>[FIRING] county_api_ms (#7)</h2><p><b>county_api_ms is 1580.25.</b></p><p>The county API is &lt;slow&gt; &amp; getting slower</p><table>
        <tr><td style="color:#666">Condition</td><td>avg over 3m &gt; 1000</td></tr>
        <tr><td style="color:#666">Threshold</td><td>1000</td></tr>
        <tr><td style="color:#666">Since</td><td>2025-11-23 16:03:03 UTC (3 min 40 s ago)</td></tr>
        <tr><td style="color:#666">Opened</td><td>2025-11-23 16:05:03 UTC</td></tr>
        <tr><td style="color:#666">Heal</td><td>rollback_docket_rule.sh success in 0.4 s, verifying</td></tr>
        <tr><td style="color:#666">Runbook</td><td><a href="https://ops.opm.gov/runbooks/wiki/slow-county-api">https://ops.opm.gov/runbooks/wiki/slow-county-api</a></td></tr>
        <tr><td style="color:#666">Board</td><td><a href="https://ops.opm.gov/board/county_api_ms">https://ops.opm.gov/board/county_api_ms</a></td></tr>
        <tr><td style="color:#666">Incident</td><td><a href="https://ops.opm.gov/incidents/7">https://ops.opm.gov/incidents/7</a></td></tr>
        <tr><td style="color:#666">Ack</td><td>ops ack 7</td></tr>
        </table><p>1 firing:</p><ul>
        <li>1580.25, since 2025-11-23 16:03:03 UTC<br><code>alertname = county_api_ms</code><br><code>region = east</code><br>summary: The county API is &lt;slow&gt; &amp; getting slower</li>
        </ul></body></html>
    "#]].assert_eq(&html);
}

#[test]
fn a_storm_is_cut_with_the_rest_counted() {
    let mut page = samples::page(PageKind::Joined);
    page.alerts = (0..50)
        .map(|i| samples::alert(&format!("r{i}"), 1.0, None))
        .collect();
    let mail = render(&page, &terms());
    assert!(mail.text.contains("50 firing:"));
    assert!(mail.text.contains("region = r19\n") && !mail.text.contains("region = r20\n"));
    assert!(mail.text.ends_with("\nand 30 more: see the board.\n"));
    assert!(mail.html.contains("and 30 more: see the board."));
}

#[test]
fn the_same_page_has_the_same_id_and_another_has_another() {
    let mut page = samples::page(PageKind::Repeat);
    let first = render(&page, &terms());
    assert_eq!(first, render(&page, &terms()));
    page.key = "another".into();
    let second = render(&page, &terms());
    assert_ne!(first.message_id, second.message_id);
    assert_eq!(first.references, second.references);
}

#[test]
fn a_rule_name_cannot_add_a_header() {
    let mut page = samples::page(PageKind::Opened);
    page.rule = "x\r\nBcc: all@opm.gov".into();
    let subject = render(&page, &terms()).subject;
    assert_eq!(subject, "[FIRING] x Bcc: all@opm.gov (#7)");
}

#[test]
fn numbers_are_for_people() {
    let shown = [1580.0, 0.1 + 0.2, -2.5, 0.0, 0.000_02, f64::NAN, 1e20].map(number);
    let want = [
        "1580",
        "0.3",
        "-2.5",
        "0",
        "0.00002",
        "NaN",
        "100000000000000000000",
    ];
    assert_eq!(shown, want);
}

#[test]
fn verdicts() {
    assert_eq!(judge_smtp(250, "ok"), Verdict::Done);
    let why = "answered 451: 4.7.1 later".to_owned();
    let retry = Verdict::Retry { why, after: None };
    assert_eq!(judge_smtp(451, "4.7.1\r\nlater"), retry);
    let why = "answered 550".to_owned();
    assert_eq!(judge_smtp(550, ""), Verdict::Refused { why });
}

#[test]
fn about_ourselves() {
    let mut page = samples::page(PageKind::Opened);
    page.rule = "ops_samples_refused".into();
    page.metric = String::new();
    page.condition = "the sample log cannot be written".into();
    (page.threshold, page.runbook, page.heal) = (None, None, String::new());
    page.board = "/incidents/7".into();
    for alert in &mut page.alerts {
        alert.labels = Labels::new().with("alertname", "ops_samples_refused");
        alert.annotations = Labels::new()
            .with("summary", "The sample log cannot be written (no space): samples are refused, for 12 s so far.")
            .with("what_to_do", "Free space on the disk of the data folder.");
    }
    check(
        &page,
        expect![[r#"
            Subject: [FIRING] ops_samples_refused (#7)
            Message-ID: <incident-7-1763913903000@opm.gov>
            References: none

            The sample log cannot be written (no space): samples are refused, for 12 s so far.

            Condition  the sample log cannot be written
            Do         Free space on the disk of the data folder.
            Since      2025-11-23 16:03:03 UTC (3 min 40 s ago)
            Opened     2025-11-23 16:05:03 UTC
            Incident   https://ops.opm.gov/incidents/7
            Ack        ops ack 7

            1 firing:

            * ops_samples_refused, since 2025-11-23 16:03:03 UTC
                alertname = ops_samples_refused
                summary: The sample log cannot be written (no space): samples are refused, for 12 s so far.
        "#]],
    );
    page.kind = PageKind::Closed;
    page.over = "recovered".into();
    check(
        &page,
        expect![[r#"
            Subject: [RESOLVED] ops_samples_refused (#7)
            Message-ID: <page-8fd28ddc759b2ffc630ba7250f8d111d@opm.gov>
            References: <incident-7-1763913903000@opm.gov>

            It is over. It was: The sample log cannot be written (no space): samples are refused, for 12 s so far.

            Condition  the sample log cannot be written
            Since      2025-11-23 16:03:03 UTC, for 3 min 40 s
            Opened     2025-11-23 16:05:03 UTC
            Closed     2025-11-23 16:06:43 UTC
            Incident   https://ops.opm.gov/incidents/7

            1 resolved:

            * ops_samples_refused, from 2025-11-23 16:03:03 UTC to 2025-11-23 16:06:43 UTC
                alertname = ops_samples_refused
                summary: The sample log cannot be written (no space): samples are refused, for 12 s so far.
        "#]],
    );
}
