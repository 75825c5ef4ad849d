//! How a target is asked: who we are to it, and whom we trust.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::config::codes;
use crate::config::report::{Fields, Report};
use crate::config::settings::Secrets;
use crate::config::yaml::Node;
use crate::model::secret::Secret;

/// How targets are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Who we are.
    pub auth: Option<Auth>,
    /// Whom we trust.
    pub tls: Tls,
    /// Whether redirects are followed.
    pub follow_redirects: bool,
    /// Whether the answer may be gzip.
    pub compression: bool,
}

/// Who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// A name and a password.
    Basic(String, Credential),
    /// A scheme such as `Bearer`, and what goes with it.
    Scheme(String, Credential),
}

/// A secret that may change while the settings do not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// It is this.
    Given(Secret<String>),
    /// It is in this file, which is read again each time: tokens are renewed there.
    File(String),
}

/// Whom we trust, and as whom we come. PEM texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates that are trusted instead of the system's.
    pub ca: Option<Secret<String>>,
    /// Our certificate and its key.
    pub identity: Option<(Secret<String>, Secret<String>)>,
    /// Trusts anybody.
    pub insecure: bool,
}

/// Keys of Prometheus's HTTP client that nothing acts on.
const LATER: &[&str] = &[
    "oauth2",
    "proxy_url",
    "no_proxy",
    "proxy_from_environment",
    "proxy_connect_header",
    "enable_http2",
    "http_headers",
];

/// Reads the keys that say how targets are asked.
pub(super) fn read(
    report: &mut Report<'_>,
    fields: &mut Fields<'_>,
    secrets: &Secrets<'_>,
) -> Http {
    let mut ways = Vec::new();
    if let Some((key, node)) = fields.take_entry("basic_auth") {
        ways.push((key, basic(report, node, secrets)));
    }
    if let Some((key, node)) = fields.take_entry("authorization") {
        ways.push((key, authorization(report, node, secrets)));
    }
    let bearer = ["bearer_token", "bearer_token_file", "bearer_token_env"];
    let key = bearer.iter().find_map(|k| fields.take_entry(k));
    if let Some((key, _)) = key
        && let Some(token) = credential(report, fields, secrets, bearer)
    {
        ways.push((key, Some(Auth::Scheme("Bearer".to_owned(), token))));
    }
    let mut ways = ways.into_iter();
    let auth = ways.next().and_then(|(_, auth)| auth);
    if let Some((key, _)) = ways.next() {
        let message = format!("`{}` is a second way to say who we are", key.text);
        report.error(codes::SETTING_VALUE, &key.span, message, "keep one of them");
    }
    let tls = fields.take("tls_config");
    let tls = tls.map_or_else(Tls::default, |n| tls_of(report, n, secrets));
    let mut flag = |name| {
        let written = fields.take(name).and_then(|n| report.boolean(n));
        written.unwrap_or(true)
    };
    let (follow_redirects, compression) = (flag("follow_redirects"), flag("enable_compression"));
    fields.later(report, LATER);
    Http {
        auth,
        tls,
        follow_redirects,
        compression,
    }
}

fn basic(report: &mut Report<'_>, node: &Node, secrets: &Secrets<'_>) -> Option<Auth> {
    let mut fields = report.fields(node, "`basic_auth`")?;
    let head = fields.head();
    let names = ["username", "username_file", "username_env"];
    let name = secrets.take(report, &mut fields, names);
    let keys = ["password", "password_file", "password_env"];
    let password = credential(report, &mut fields, secrets, keys);
    fields.finish(report);
    if name.is_none() {
        report.error(
            codes::SETTING_MISSING,
            &head,
            "`basic_auth` has no `username`",
            "",
        );
    }
    let empty = Credential::Given(Secret::new(String::new()));
    Some(Auth::Basic(
        name?.0.reveal().clone(),
        password.unwrap_or(empty),
    ))
}

fn authorization(report: &mut Report<'_>, node: &Node, secrets: &Secrets<'_>) -> Option<Auth> {
    let mut fields = report.fields(node, "`authorization`")?;
    let head = fields.head();
    let scheme = fields.take("type").and_then(|n| secrets.text(report, n));
    let keys = ["credentials", "credentials_file", "credentials_env"];
    let given = keys.iter().any(|k| fields.take(k).is_some());
    let credential = credential(report, &mut fields, secrets, keys);
    fields.finish(report);
    if !given {
        report.error(
            codes::SETTING_MISSING,
            &head,
            "`authorization` has no `credentials` or `credentials_file`",
            "",
        );
    }
    let scheme = scheme.unwrap_or_else(|| "Bearer".to_owned());
    Some(Auth::Scheme(scheme, credential?))
}

/// A secret by one of three keys: given, `…_file`, `…_env`.
fn credential(
    report: &mut Report<'_>,
    fields: &mut Fields<'_>,
    secrets: &Secrets<'_>,
    keys: [&'static str; 3],
) -> Option<Credential> {
    let [_, file, _] = keys;
    let path = fields.take(file);
    // Read here too, so that a file that is not there is a problem now.
    let (secret, node) = secrets.take(report, fields, keys)?;
    match path {
        Some(path) if std::ptr::eq(path, node) => {
            Some(Credential::File(report.text(path)?.to_owned()))
        }
        Some(_) | None => Some(Credential::Given(secret)),
    }
}

fn tls_of(report: &mut Report<'_>, node: &Node, secrets: &Secrets<'_>) -> Tls {
    let Some(mut fields) = report.fields(node, "`tls_config`") else {
        return Tls::default();
    };
    let head = fields.head();
    let mut pem = |keys| {
        let taken = secrets.take_any(report, &mut fields, keys);
        taken.map(|(secret, _)| secret)
    };
    let ca = pem(["ca", "ca_file", "ca_env"]);
    let certificate = pem(["cert", "cert_file", "cert_env"]);
    let key = pem(["key", "key_file", "key_env"]);
    if certificate.is_some() != key.is_some() {
        report.error(
            codes::SETTING_MISSING,
            &head,
            "`cert_file` and `key_file` go together",
            "",
        );
    }
    let insecure = fields.take("insecure_skip_verify");
    let insecure = insecure.and_then(|n| report.boolean(n)).unwrap_or(false);
    fields.later(report, &["server_name", "min_version", "max_version"]);
    fields.finish(report);
    Tls {
        ca,
        identity: certificate.zip(key),
        insecure,
    }
}
