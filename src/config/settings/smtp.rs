//! How mail leaves: Alertmanager's `global` keys.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::config::codes;
use crate::config::notify::check_address;
use crate::config::report::{Fields, Report};
use crate::config::settings::Secrets;
use crate::model::secret::Secret;

/// How mail leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpSettings {
    /// `host:port` of the mail server.
    pub smarthost: String,
    /// The sender's address.
    pub from: String,
    /// What we call ourselves to the server.
    pub hello: Option<String>,
    /// The account's name, if the server wants one.
    pub auth_username: Option<String>,
    /// The account's password.
    pub auth_password: Option<Secret<String>>,
    /// Refuse to send in the clear.
    pub require_tls: bool,
    /// How encryption starts.
    pub tls: SmtpTls,
}

/// How encryption starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpTls {
    /// In the clear, then `STARTTLS`.
    Starttls,
    /// From the first byte, as on port 465.
    Implicit,
}

impl Default for SmtpSettings {
    fn default() -> Self {
        SmtpSettings {
            smarthost: "localhost:25".to_owned(),
            from: "ops@localhost".to_owned(),
            hello: None,
            auth_username: None,
            auth_password: None,
            require_tls: false,
            tls: SmtpTls::Starttls,
        }
    }
}

/// Alertmanager's other global keys.
const LATER: &[&str] = &[
    "resolve_timeout",
    "smtp_auth_secret",
    "smtp_auth_secret_file",
    "smtp_auth_identity",
    "smtp_tls_config",
    "http_config",
    "smtp_force_implicit_tls",
    "slack_api_url",
    "slack_api_url_file",
    "slack_app_token",
    "slack_app_token_file",
    "slack_app_url",
    "victorops_api_key",
    "victorops_api_key_file",
    "victorops_api_url",
    "pagerduty_url",
    "opsgenie_api_key",
    "opsgenie_api_key_file",
    "opsgenie_api_url",
    "wechat_api_url",
    "wechat_api_secret",
    "wechat_api_secret_file",
    "wechat_api_corp_id",
    "telegram_api_url",
    "telegram_bot_token",
    "telegram_bot_token_file",
    "webex_api_url",
    "jira_api_url",
    "rocketchat_api_url",
    "rocketchat_token",
    "rocketchat_token_file",
    "rocketchat_token_id",
    "rocketchat_token_id_file",
    "mattermost_webhook_url",
    "mattermost_webhook_url_file",
];

/// Reads what `global` says of mail.
pub fn read(
    report: &mut Report<'_>,
    fields: &mut Fields<'_>,
    secrets: &Secrets<'_>,
    smtp: &mut SmtpSettings,
) {
    if let Some(node) = fields.take("smtp_smarthost")
        && let Some(text) = secrets.text(report, node)
    {
        match host_port(&text) {
            Some(_) => smtp.smarthost = text,
            None => {
                let message = format!("`{}` is not HOST:PORT", text.escape_debug());
                report.error(
                    codes::SETTING_VALUE,
                    &node.span,
                    message,
                    "an example: `mail.example.gov:587`",
                );
            }
        }
    }
    if let Some(node) = fields.take("smtp_from")
        && let Some(text) = secrets.text(report, node)
    {
        let bare = text
            .rsplit_once('<')
            .and_then(|(_, a)| a.strip_suffix('>'))
            .unwrap_or(&text);
        match check_address(bare) {
            Ok(()) => smtp.from = text,
            Err(message) => report.error(
                codes::SETTING_VALUE,
                &node.span,
                message,
                "an example: `ops@example.gov`",
            ),
        }
    }
    smtp.hello = fields
        .take("smtp_hello")
        .and_then(|n| secrets.text(report, n));
    smtp.auth_username = fields
        .take("smtp_auth_username")
        .and_then(|n| secrets.text(report, n));
    let keys = [
        "smtp_auth_password",
        "smtp_auth_password_file",
        "smtp_auth_password_env",
    ];
    smtp.auth_password = secrets.take_any(report, fields, keys).map(|(s, _)| s);
    let (host, port) = host_port(&smtp.smarthost).unwrap_or(("", 0));
    let loopback = matches!(host, "localhost" | "[::1]") || host.starts_with("127.");
    let required = fields
        .take("smtp_require_tls")
        .and_then(|n| report.boolean(n));
    let words = [
        ("starttls", SmtpTls::Starttls),
        ("implicit", SmtpTls::Implicit),
    ];
    let tls = fields.take("smtp_tls").and_then(|n| report.word(n, &words));
    smtp.require_tls = required.unwrap_or(!loopback);
    smtp.tls = tls.unwrap_or(if port == 465 {
        SmtpTls::Implicit
    } else {
        SmtpTls::Starttls
    });
    fields.later(report, LATER);
}

fn host_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let fine = !host.is_empty()
        && port != 0
        && !host.contains(|c: char| c.is_whitespace() || c == '/' || c == '@');
    fine.then_some((host, port))
}
