//! `ops.yaml` (or an `alertmanager.yml`) → checked [`Settings`], and every problem in it.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::BTreeMap;

use crate::config::notify::check_address;
use crate::config::receivers::{self, Receiver};
use crate::config::report::{Dialect, Fields, Report};
use crate::config::scrape::{self, Scrape, ScrapeDefaults};
use crate::config::yaml::{Node, documents};
use crate::config::{SourceFile, codes};
use crate::model::secret::Secret;
use crate::model::time::Duration;
use crate::model::written::Problem;

pub use secrets::{SecretRef, Secrets};
pub use smtp::{SmtpSettings, SmtpTls};

mod secrets;
mod smtp;

/// Everything that is set for the whole program. `None`: not written, so the flag or the default counts.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// How mail leaves.
    pub smtp: SmtpSettings,
    /// Whom rules may name, by name.
    pub receivers: BTreeMap<String, Receiver>,
    /// Where a rule without `notify` pages: the top route's receiver.
    pub default_receiver: Option<String>,
    /// Who may call the API.
    pub tokens: Vec<Token>,
    /// Whom to ask for metrics.
    pub scrapes: Vec<Scrape>,
    /// Address to listen on.
    pub listen: Option<String>,
    /// The data folder.
    pub data: Option<String>,
    /// The folder of rule files.
    pub alerts: Option<String>,
    /// The folder of scripts.
    pub scripts: Option<String>,
    /// The folder of runbooks.
    pub runbooks: Option<String>,
    /// How often rules are evaluated.
    pub tick: Option<Duration>,
    /// How long samples are kept.
    pub retention: Option<Duration>,
    /// How often a group of rules is evaluated that does not say.
    pub evaluation_interval: Option<Duration>,
    /// How often an image of the windows is written: the most that a restart replays.
    pub snapshot_interval: Option<Duration>,
    /// When a sample counts as received.
    pub durability: Option<Durability>,
    /// How people reach the web UI, without a `/` at its end.
    pub external_url: Option<String>,
}

/// When a sample counts as received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Once it is on the disk.
    Sync,
    /// At once; the disk is told this often.
    Every(Duration),
}

/// Who may call the API, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Shown in logs.
    pub name: String,
    /// What the caller sends.
    pub secret: Secret<String>,
    /// What it allows.
    pub scopes: Vec<Scope>,
}

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Send metrics.
    Push,
    /// See everything.
    Read,
    /// Ack, silence, release.
    Operate,
    /// Run heals and switch them.
    Heal,
    /// Everything, reload too.
    Admin,
}

impl Scope {
    /// All of them, with the names that settings use.
    pub const ALL: [(&'static str, Scope); 5] = [
        ("push", Scope::Push),
        ("read", Scope::Read),
        ("operate", Scope::Operate),
        ("heal", Scope::Heal),
        ("admin", Scope::Admin),
    ];
}

/// The codes of settings.
pub(super) const DIALECT: Dialect = Dialect {
    shape: codes::SETTING_SHAPE,
    key: codes::SETTING_KEY,
    missing: codes::SETTING_MISSING,
    value: codes::SETTING_VALUE,
    later: codes::SETTING_LATER,
};

/// Keys that exist, here or in Alertmanager or Prometheus, but that nothing acts on.
const LATER: &[&str] = &[
    "inhibit_rules",
    "time_intervals",
    "mute_time_intervals",
    "templates",
    "tracing",
    "tls",
    "heal",
    "escalations",
    "canaries",
    "slos",
    "secrets",
    "limits",
];

/// The settings and all problems with them; `secrets` answers for files and environment variables. What is wrong keeps
/// its default, so with an error the last good settings should stay.
pub fn read_settings(
    file: &SourceFile,
    secrets: &dyn Fn(&SecretRef) -> Result<String, String>,
) -> (Settings, Vec<Problem>) {
    let mut report = Report::new(file, DIALECT);
    let secrets = Secrets::new(secrets);
    let (docs, faults) = documents(&file.text);
    report.faults(faults);
    let mut settings = Settings::default();
    for extra in docs.iter().skip(1) {
        let span = extra.span.start..extra.span.start;
        report.error(
            codes::SETTING_SHAPE,
            &span,
            "the settings are one document",
            "remove the `---` before it",
        );
    }
    if let Some(mut fields) = docs
        .first()
        .and_then(|doc| report.fields(doc, "the settings file"))
    {
        top(&mut report, &mut fields, &secrets, &mut settings);
        fields.later(&mut report, LATER);
        fields.finish(&mut report);
    }
    (settings, report.finish())
}

fn top(
    report: &mut Report<'_>,
    fields: &mut Fields<'_>,
    secrets: &Secrets<'_>,
    settings: &mut Settings,
) {
    let mut scraping = ScrapeDefaults::default();
    if let Some(node) = fields.take("global")
        && let Some(mut global) = report.fields(node, "`global`")
    {
        smtp::read(report, &mut global, secrets, &mut settings.smtp);
        scraping = scrape::read_defaults(report, &mut global);
        let every = global.take("evaluation_interval");
        settings.evaluation_interval = every.and_then(|n| report.duration_above_zero(n));
        global.finish(report);
    }
    if let Some(node) = fields.take("scrape_configs") {
        settings.scrapes = scrape::read(report, node, secrets, &scraping);
    }
    if let Some(node) = fields.take("receivers") {
        settings.receivers = receivers::read(report, node, secrets);
    }
    if let Some(node) = fields.take("route") {
        settings.default_receiver = route(report, node, &settings.receivers);
    }
    if let Some(node) = fields.take("auth") {
        settings.tokens = auth(report, node, secrets);
    }
    for (name, slot) in [
        ("listen", &mut settings.listen),
        ("data", &mut settings.data),
        ("alerts", &mut settings.alerts),
        ("scripts", &mut settings.scripts),
        ("runbooks", &mut settings.runbooks),
    ] {
        *slot = fields
            .take(name)
            .and_then(|n| secrets.text(report, n))
            .filter(|t| !t.is_empty());
    }
    settings.tick = fields
        .take("tick")
        .and_then(|n| report.duration_above_zero(n));
    for (name, slot) in [
        ("retention", &mut settings.retention),
        ("snapshot_interval", &mut settings.snapshot_interval),
    ] {
        *slot = fields
            .take(name)
            .and_then(|n| report.duration_above_zero(n));
    }
    if let Some(node) = fields.take("durability") {
        settings.durability = match report.text(node) {
            Some("sync") => Some(Durability::Sync),
            Some(_) => report.duration_above_zero(node).map(Durability::Every),
            None => None,
        };
    }
    if let Some(node) = fields.take("external_url")
        && let Some(url) = secrets.text(report, node)
    {
        match crate::config::notify::check_url(&url) {
            Ok(()) => settings.external_url = Some(url.trim_end_matches('/').to_owned()),
            Err(_) => report.error(
                codes::SETTING_VALUE,
                &node.span,
                "this is not a URL",
                "an example: `https://ops.example.gov`",
            ),
        }
    }
}

fn route(
    report: &mut Report<'_>,
    node: &Node,
    receivers: &BTreeMap<String, Receiver>,
) -> Option<String> {
    let mut fields = report.fields(node, "`route`")?;
    let named = fields.take("receiver");
    if named.is_none() {
        report.error(
            codes::SETTING_MISSING,
            &fields.head(),
            "the top route has no `receiver`",
            "add `receiver: NAME`",
        );
    }
    fields.later(
        report,
        &[
            "routes",
            "group_by",
            "group_wait",
            "group_interval",
            "repeat_interval",
            "match",
            "match_re",
            "matchers",
            "continue",
            "mute_time_intervals",
            "active_time_intervals",
            "labels",
        ],
    );
    fields.finish(report);
    let node = named?;
    let name = report.text(node)?;
    // An address needs no entry under `receivers`: rules may name one directly, and so may the route.
    if !receivers.contains_key(name) && check_address(name).is_err() {
        receivers::unknown_receiver(report, receivers, name, node);
        return None;
    }
    Some(name.to_owned())
}

fn auth(report: &mut Report<'_>, node: &Node, secrets: &Secrets<'_>) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let Some(mut fields) = report.fields(node, "`auth`") else {
        return tokens;
    };
    for item in fields.take("tokens").map_or(&[][..], |n| report.list(n)) {
        let Some(mut token) = report.fields(item, "a token") else {
            continue;
        };
        let name = token.take("name");
        let scopes = token.take_entry("scopes");
        let secret = secrets.take(report, &mut token, ["token", "token_file", "token_env"]);
        let given = ["token", "token_file", "token_env"]
            .into_iter()
            .any(|n| token.take(n).is_some());
        for (missing, what) in [
            (name.is_none(), "`name`"),
            (scopes.is_none(), "`scopes`"),
            (!given, "`token_file` or `token_env`"),
        ] {
            if missing {
                report.error(
                    codes::SETTING_MISSING,
                    &token.head(),
                    format!("this token has no {what}"),
                    "",
                );
            }
        }
        token.finish(report);
        let scopes: Vec<Scope> = scopes
            .map_or(&[][..], |(_, n)| report.list_or_one(n))
            .iter()
            .filter_map(|n| report.word(n, &Scope::ALL))
            .collect();
        let (Some(name_node), Some((secret, secret_node))) = (name, secret) else {
            continue;
        };
        let Some(name) = report.text(name_node) else {
            continue;
        };
        if secret.reveal().is_empty() {
            report.error(codes::SECRET, &secret_node.span, "this token is empty", "");
            continue;
        }
        if tokens.iter().any(|t| t.name == name) {
            report.error(
                codes::DUPLICATE_NAME,
                &name_node.span,
                format!("a token `{name}` is already there"),
                "",
            );
        }
        tokens.push(Token {
            name: name.to_owned(),
            secret,
            scopes,
        });
    }
    fields.finish(report);
    tokens
}

#[cfg(test)]
mod tests;
