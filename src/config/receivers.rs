//! Receivers: a name and the ways to reach whoever stands behind it. Alertmanager's keys, and a few of ours.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::BTreeMap;

use crate::config::codes;
use crate::config::notify::{check_address, check_url};
use crate::config::report::{Fields, Report};
use crate::config::settings::Secrets;
use crate::config::yaml::Node;
use crate::model::secret::Secret;
use crate::model::time::Duration;

/// How long a webhook may take if its settings do not say.
pub const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// Somebody, and how to reach them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// What rules and routes call it.
    pub name: String,
    /// Who is told when it cannot be reached.
    pub fallback: Option<String>,
    /// After how long without acceptance that is done.
    pub fallback_after: Option<Duration>,
    /// Every page goes out all of these ways.
    pub ways: Vec<Way>,
}

/// One way to reach somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// Mail to one address.
    Email {
        /// The address.
        to: String,
    },
    /// A POST to a URL.
    Webhook {
        /// Where; such URLs hold secrets.
        url: Secret<String>,
        /// Sent as `Authorization: Bearer …`.
        bearer: Option<Secret<String>>,
        /// Signs the body.
        hmac_secret: Option<Secret<String>>,
        /// Whether closing messages are sent too.
        send_resolved: bool,
        /// Alerts in one message at most; 0: all.
        max_alerts: usize,
        /// How long it may take.
        timeout: Duration,
    },
}

/// Alertmanager's other kinds: named, but nobody is told through them.
const LATER: &[&str] = &[
    "discord_configs",
    "incidentio_configs",
    "jira_configs",
    "mattermost_configs",
    "msteams_configs",
    "msteamsv2_configs",
    "opsgenie_configs",
    "pagerduty_configs",
    "pushover_configs",
    "rocketchat_configs",
    "slack_configs",
    "sns_configs",
    "telegram_configs",
    "victorops_configs",
    "webex_configs",
    "wechat_configs",
];

/// Reads the `receivers` list.
pub fn read(
    report: &mut Report<'_>,
    node: &Node,
    secrets: &Secrets<'_>,
) -> BTreeMap<String, Receiver> {
    let mut receivers: BTreeMap<String, Receiver> = BTreeMap::new();
    let mut fallbacks = Vec::new();
    for item in report.list(node) {
        let Some(mut fields) = report.fields(item, "a receiver") else {
            continue;
        };
        let Some(name_node) = fields.take("name") else {
            report.error(
                codes::SETTING_MISSING,
                &fields.head(),
                "this receiver has no `name`",
                "add `name: oncall`",
            );
            continue;
        };
        let name = report.text(name_node).unwrap_or("").to_owned();
        let mut receiver = Receiver {
            name: name.clone(),
            fallback: None,
            fallback_after: None,
            ways: Vec::new(),
        };
        if let Some(node) = fields.take("fallback")
            && let Some(text) = report.text(node)
        {
            receiver.fallback = Some(text.to_owned());
            fallbacks.push((name.clone(), text.to_owned(), node));
        }
        receiver.fallback_after = fields
            .take("fallback_after")
            .and_then(|node| report.duration_above_zero(node));
        for config in fields
            .take("email_configs")
            .map_or(&[][..], |n| report.list(n))
        {
            email(report, config, secrets, &mut receiver.ways);
        }
        for config in fields
            .take("webhook_configs")
            .map_or(&[][..], |n| report.list(n))
        {
            receiver.ways.extend(webhook(report, config, secrets));
        }
        fields.later(report, LATER);
        fields.finish(report);
        if receivers.insert(name.clone(), receiver).is_some() {
            report.error(
                codes::DUPLICATE_NAME,
                &name_node.span,
                format!("a receiver `{name}` is already there"),
                "give it another name",
            );
        }
    }
    for (name, fallback, node) in fallbacks {
        check_fallback(report, &receivers, &name, &fallback, node);
    }
    receivers
}

fn check_fallback(
    report: &mut Report<'_>,
    receivers: &BTreeMap<String, Receiver>,
    name: &str,
    fallback: &str,
    node: &Node,
) {
    if !receivers.contains_key(fallback) {
        unknown_receiver(report, receivers, fallback, node);
        return;
    }
    let mut at = Some(fallback);
    for _ in 0..=receivers.len() {
        match at {
            Some(next) if next == name => {
                let message = format!("the fallbacks of `{name}` lead back to it");
                report.error(
                    codes::RECEIVER_REF,
                    &node.span,
                    message,
                    "the last of a chain has no `fallback`",
                );
                return;
            }
            Some(next) => at = receivers.get(next).and_then(|r| r.fallback.as_deref()),
            None => return,
        }
    }
}

/// Says that a name is not a receiver's.
pub(in crate::config) fn unknown_receiver(
    report: &mut Report<'_>,
    receivers: &BTreeMap<String, Receiver>,
    name: &str,
    node: &Node,
) {
    let near = crate::config::report::near(name, receivers.keys().map(String::as_str));
    let hint = near.map_or_else(
        || "add it under `receivers`".to_owned(),
        |n| format!("did you mean `{n}`?"),
    );
    report.error(
        codes::RECEIVER_REF,
        &node.span,
        format!("there is no receiver `{name}`"),
        &hint,
    );
}

fn email(report: &mut Report<'_>, node: &Node, secrets: &Secrets<'_>, ways: &mut Vec<Way>) {
    let Some(mut fields) = report.fields(node, "an e-mail config") else {
        return;
    };
    match fields.take("to") {
        None => report.error(
            codes::SETTING_MISSING,
            &fields.head(),
            "this e-mail config has no `to`",
            "add `to: oncall@example.gov`",
        ),
        Some(node) => {
            for to in secrets
                .text(report, node)
                .unwrap_or_default()
                .split(',')
                .map(str::trim)
            {
                match check_address(to) {
                    Ok(()) => ways.push(Way::Email { to: to.to_owned() }),
                    Err(message) => report.error(
                        codes::SETTING_VALUE,
                        &node.span,
                        message,
                        "several addresses are separated by `,`",
                    ),
                }
            }
        }
    }
    fields.later(
        report,
        &[
            "send_resolved",
            "from",
            "smarthost",
            "hello",
            "auth_username",
            "auth_password",
            "auth_password_file",
            "auth_secret",
            "auth_secret_file",
            "auth_identity",
            "require_tls",
            "tls_config",
            "html",
            "text",
            "headers",
            "threading",
            "implicit_tls",
            "force_implicit_tls",
        ],
    );
    fields.finish(report);
}

fn webhook(report: &mut Report<'_>, node: &Node, secrets: &Secrets<'_>) -> Option<Way> {
    let mut fields = report.fields(node, "a webhook config")?;
    let url = secrets.take(report, &mut fields, ["url", "url_file", "url_env"]);
    match &url {
        Some((url, node)) => {
            if let Err(message) = check_url(url.reveal()) {
                report.error(
                    codes::SETTING_VALUE,
                    &node.span,
                    message,
                    "an example: `https://pager.example.gov/hook`",
                );
            }
        }
        None if !["url", "url_file", "url_env"]
            .into_iter()
            .any(|n| fields.take(n).is_some()) =>
        {
            report.error(
                codes::SETTING_MISSING,
                &fields.head(),
                "this webhook config has no `url`",
                "add `url`, `url_file` or `url_env`",
            );
        }
        None => {}
    }
    let mut bearer = secrets
        .take(report, &mut fields, ["bearer", "bearer_file", "bearer_env"])
        .map(|(s, _)| s);
    let hmac_secret = secrets
        .take(
            report,
            &mut fields,
            ["hmac_secret", "hmac_secret_file", "hmac_secret_env"],
        )
        .map(|(s, _)| s);
    if let Some(node) = fields.take("http_config") {
        bearer = http_config(report, node, secrets).or(bearer);
    }
    let send_resolved = fields
        .take("send_resolved")
        .and_then(|n| report.boolean(n))
        .unwrap_or(true);
    let max_alerts = fields
        .take("max_alerts")
        .and_then(|n| report.parse(n))
        .unwrap_or(0);
    let timeout = fields
        .take("timeout")
        .and_then(|n| report.duration(n))
        .filter(|d| !d.is_zero())
        .unwrap_or(WEBHOOK_TIMEOUT);
    fields.later(report, &["payload"]);
    fields.finish(report);
    let (url, _) = url?;
    Some(Way::Webhook {
        url,
        bearer,
        hmac_secret,
        send_resolved,
        max_alerts,
        timeout,
    })
}

fn http_config(
    report: &mut Report<'_>,
    node: &Node,
    secrets: &Secrets<'_>,
) -> Option<Secret<String>> {
    let mut fields: Fields<'_> = report.fields(node, "`http_config`")?;
    let mut bearer = secrets
        .take(
            report,
            &mut fields,
            ["bearer_token", "bearer_token_file", "bearer_token_env"],
        )
        .map(|(s, _)| s);
    if let Some(node) = fields.take("authorization")
        && let Some(mut inner) = report.fields(node, "`authorization`")
    {
        if let Some(node) = inner.take("type")
            && report
                .text(node)
                .is_some_and(|t| !t.eq_ignore_ascii_case("bearer"))
        {
            report.error(
                codes::SETTING_VALUE,
                &node.span,
                "only `Bearer` authorization is known",
                "",
            );
        }
        bearer = secrets
            .take(
                report,
                &mut inner,
                ["credentials", "credentials_file", "credentials_env"],
            )
            .map(|(s, _)| s)
            .or(bearer);
        inner.finish(report);
    }
    fields.later(
        report,
        &[
            "basic_auth",
            "oauth2",
            "tls_config",
            "proxy_url",
            "no_proxy",
            "proxy_from_environment",
            "proxy_connect_header",
            "follow_redirects",
            "enable_http2",
            "http_headers",
        ],
    );
    fields.finish(report);
    bearer
}
