//! Carries rendered mail and requests to the outside, and says what came of it.
//!
//! One connection per delivery, so a verdict never depends on an earlier one. The question behind every failure is
//! "may it have been accepted?": before the message itself was sent the answer is no ([`Verdict::Retry`]),
//! from then until the receiver's answer it is [`Verdict::Unknown`].

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as MailCommand, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use tracing::warn;

use crate::model::page::Verdict;
use crate::model::secret::Secret;
use crate::model::time::{Duration, Timestamp};
use crate::receivers::email::{Mail, judge_smtp};
use crate::receivers::{HttpRequest, webhook};

/// Bytes of an HTTP answer that are read; the rest says nothing a verdict needs.
const ANSWER_BYTES_MAX: usize = 4_096;
/// Redirects that keep method and body (307, 308) are followed this often.
const REDIRECT_COUNT_MAX: usize = 3;
/// How long an HTTP connection may take to come up, within the request's own timeout.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How mail leaves the house.
#[derive(Clone, Debug)]
pub struct SmtpSettings {
    /// `host:port` of the mail server that takes our mail.
    pub smarthost: String,
    /// The name we say in EHLO.
    pub hello: String,
    /// For AUTH; both or none.
    pub username: Option<Secret<String>>,
    /// For AUTH; both or none.
    pub password: Option<Secret<String>>,
    /// Whether and when the connection is encrypted.
    pub tls: SmtpTls,
    /// PEM certificates that are trusted beside the platform's.
    pub ca_file: Option<PathBuf>,
}

/// Whether and when a mail connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpTls {
    /// Never.
    None,
    /// With STARTTLS if the server offers it.
    StartTlsIfOffered,
    /// With STARTTLS, or not at all.
    StartTls,
    /// From the first byte (port 465).
    Implicit,
}

/// Why a [`Carrier`] cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CarrierError {
    /// `smarthost` is not `host:port`.
    #[error("smarthost {0:?} is not host:port")]
    Smarthost(String),
    /// Only one of user name and password is given.
    #[error("username and password go together")]
    Credentials,
    /// The CA file cannot be read.
    #[error("read CA file {path}")]
    CaFile {
        /// Which file.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The TLS settings do not work.
    #[error("set up TLS for mail")]
    Tls(#[source] SmtpError),
    /// The HTTP client cannot be made.
    #[error("set up the HTTP client")]
    Http(#[source] reqwest::Error),
}

/// Delivers mail and HTTP requests. Cheap to share behind an `Arc`; holds no connection.
pub struct Carrier {
    smtp: Option<Smtp>,
    http: reqwest::Client,
}

struct Smtp {
    host: String,
    port: u16,
    hello: ClientId,
    credentials: Option<Credentials>,
    tls: SmtpTls,
    tls_parameters: TlsParameters,
}

impl Carrier {
    /// A carrier; without mail settings every mail is refused.
    ///
    /// # Errors
    /// Settings that can never work: [`CarrierError`].
    pub fn new(smtp: Option<SmtpSettings>) -> Result<Self, CarrierError> {
        let redirect = reqwest::redirect::Policy::custom(|attempt| {
            let same_method = matches!(attempt.status().as_u16(), 307 | 308);
            if same_method && attempt.previous().len() <= REDIRECT_COUNT_MAX {
                attempt.follow()
            } else {
                attempt.stop()
            }
        });
        let http = reqwest::Client::builder()
            .user_agent(concat!("ops/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect)
            .no_proxy()
            .pool_max_idle_per_host(0)
            .connect_timeout(CONNECT_TIMEOUT.std())
            .build()
            .map_err(CarrierError::Http)?;
        let smtp = smtp.map(Smtp::new).transpose()?;
        Ok(Self { smtp, http })
    }

    /// Delivers one mail within `timeout`.
    pub async fn carry_mail(&self, mail: &Mail, timeout: Duration) -> Verdict {
        let Some(smtp) = &self.smtp else {
            return refused("no mail server is configured");
        };
        let message = match message(mail) {
            Ok(message) => message,
            Err(why) => return refused(why),
        };
        let sent = AtomicBool::new(false);
        match tokio::time::timeout(timeout.std(), smtp.deliver(&message, timeout, &sent)).await {
            Ok(verdict) => verdict,
            Err(_) => lost(
                sent.load(Ordering::Relaxed),
                format!("no answer within {timeout}"),
            ),
        }
    }

    /// Sends one request within `timeout`.
    pub async fn carry_http(&self, request: &HttpRequest, timeout: Duration) -> Verdict {
        let mut builder = self
            .http
            .post(request.url.reveal())
            .timeout(timeout.std())
            .body(request.body.clone());
        for (name, value) in &request.headers {
            builder = builder.header(*name, value.reveal());
        }
        let mut answer = match builder.send().await {
            Ok(answer) => answer,
            Err(error) => return http_failure(error),
        };
        let status = answer.status().as_u16();
        let after = answer
            .headers()
            .get("retry-after")
            .and_then(|v| v.to_str().ok())
            .and_then(|v| webhook::retry_after(v, now()));
        // The status line is the answer; a body that breaks off only shortens the explanation.
        let mut body = Vec::new();
        while body.len() < ANSWER_BYTES_MAX {
            match answer.chunk().await {
                Ok(Some(chunk)) => {
                    let room = ANSWER_BYTES_MAX - body.len();
                    body.extend(chunk.iter().take(room));
                }
                Ok(None) | Err(_) => break,
            }
        }
        webhook::judge(status, after, &String::from_utf8_lossy(&body))
    }
}

impl Smtp {
    fn new(settings: SmtpSettings) -> Result<Self, CarrierError> {
        let (host, port) = host_port(&settings.smarthost)
            .ok_or_else(|| CarrierError::Smarthost(settings.smarthost.clone()))?;
        let credentials = match (settings.username, settings.password) {
            (Some(user), Some(password)) => Some(Credentials::new(
                user.reveal().clone(),
                password.reveal().clone(),
            )),
            (None, None) => None,
            _ => return Err(CarrierError::Credentials),
        };
        let mut tls = TlsParameters::builder(host.clone());
        if let Some(path) = settings.ca_file {
            let pem = std::fs::read(&path).map_err(|source| CarrierError::CaFile {
                path: path.clone(),
                source,
            })?;
            tls = tls.add_root_certificate(Certificate::from_pem(&pem).map_err(CarrierError::Tls)?);
        }
        Ok(Self {
            hello: match settings.hello.parse::<IpAddr>() {
                Ok(IpAddr::V4(ip)) => ClientId::Ipv4(ip),
                Ok(IpAddr::V6(ip)) => ClientId::Ipv6(ip),
                Err(_) => ClientId::Domain(settings.hello),
            },
            host,
            port,
            credentials,
            tls: settings.tls,
            tls_parameters: tls.build_rustls().map_err(CarrierError::Tls)?,
        })
    }

    /// `sent` is set right before the message itself goes out.
    async fn deliver(
        &self,
        message: &lettre::Message,
        timeout: Duration,
        sent: &AtomicBool,
    ) -> Verdict {
        let mut connection = match self.connect(timeout).await {
            Ok(connection) => connection,
            Err(verdict) => return verdict,
        };
        let verdict = transact(&mut connection, message, sent).await;
        // Good manners, not part of the verdict: the server has already answered.
        let _ = tokio::time::timeout(Duration::from_secs(1).std(), connection.abort()).await;
        verdict
    }

    async fn connect(&self, timeout: Duration) -> Result<AsyncSmtpConnection, Verdict> {
        let implicit = match self.tls {
            SmtpTls::Implicit => Some(self.tls_parameters.clone()),
            SmtpTls::None | SmtpTls::StartTlsIfOffered | SmtpTls::StartTls => None,
        };
        let mut connection = AsyncSmtpConnection::connect_tokio1(
            (self.host.as_str(), self.port),
            Some(timeout.std()),
            &self.hello,
            implicit,
            None,
        )
        .await
        .map_err(|e| smtp_failure(&e, false))?;
        let upgrade = match self.tls {
            SmtpTls::None | SmtpTls::Implicit => false,
            SmtpTls::StartTlsIfOffered => connection.can_starttls(),
            SmtpTls::StartTls if !connection.can_starttls() => {
                return Err(refused("the mail server does not offer STARTTLS"));
            }
            SmtpTls::StartTls => true,
        };
        if upgrade {
            connection
                .starttls(self.tls_parameters.clone(), &self.hello)
                .await
                .map_err(|e| smtp_failure(&e, false))?;
        }
        if let Some(credentials) = &self.credentials {
            if !connection.is_encrypted() && !is_loopback(&self.host) {
                return Err(refused("will not send a password unencrypted"));
            }
            connection
                .auth(&[Mechanism::Plain, Mechanism::Login], credentials)
                .await
                .map_err(|e| smtp_failure(&e, false))?;
        }
        Ok(connection)
    }
}

/// MAIL, RCPT, DATA. One refused recipient does not keep the message from the others.
async fn transact(
    connection: &mut AsyncSmtpConnection,
    message: &lettre::Message,
    sent: &AtomicBool,
) -> Verdict {
    let envelope = message.envelope();
    let from = MailCommand::new(envelope.from().cloned(), Vec::new());
    if let Err(e) = connection.command(from).await {
        return smtp_failure(&e, false);
    }
    let (mut accepted, mut failed) = (0, None);
    for to in envelope.to() {
        match connection.command(Rcpt::new(to.clone(), Vec::new())).await {
            Ok(_) => accepted += 1,
            Err(e) => {
                let verdict = smtp_failure(&e, false);
                warn!(recipient = %to, ?verdict, "Recipient not accepted.");
                if e.status().is_none() {
                    return verdict;
                }
                // A recipient who may be accepted later decides over one who never will be.
                if !matches!(failed, Some(Verdict::Retry { .. })) {
                    failed = Some(verdict);
                }
            }
        }
    }
    if accepted == 0 {
        return failed.unwrap_or_else(|| refused("the mail has no recipient"));
    }
    if let Err(e) = connection.command(Data).await {
        return smtp_failure(&e, false);
    }
    sent.store(true, Ordering::Relaxed);
    match connection.message(&message.formatted()).await {
        Ok(answer) => match judge_smtp(answer.code().into(), "") {
            Verdict::Done => match failed {
                Some(retry @ Verdict::Retry { .. }) => retry,
                _ => Verdict::Done,
            },
            other => other,
        },
        Err(e) => smtp_failure(&e, true),
    }
}

fn message(mail: &Mail) -> Result<lettre::Message, String> {
    let mailbox = |text: &String| {
        text.parse::<Mailbox>()
            .map_err(|e| format!("{text:?} is not a mail address: {e}"))
    };
    let mut builder = lettre::Message::builder()
        .from(mailbox(&mail.from)?)
        .subject(mail.subject.clone())
        .message_id(Some(mail.message_id.clone()));
    for to in &mail.to {
        builder = builder.to(mailbox(to)?);
    }
    if let Some(id) = &mail.in_reply_to {
        builder = builder.in_reply_to(id.clone());
    }
    if let Some(ids) = &mail.references {
        builder = builder.references(ids.clone());
    }
    // RFC 3834: keeps vacation replies away from us.
    builder = builder.raw_header(HeaderValue::new(
        HeaderName::new_from_ascii_str("Auto-Submitted"),
        "auto-generated".to_owned(),
    ));
    let body = MultiPart::alternative_plain_html(mail.text.clone(), mail.html.clone());
    builder
        .multipart(body)
        .map_err(|e| format!("the mail cannot be written: {e}"))
}

fn smtp_failure(error: &SmtpError, sent: bool) -> Verdict {
    match error.status() {
        Some(code) => judge_smtp(code.into(), &chain(error)),
        None if error.is_client() => refused(chain(error)),
        None => lost(sent, chain(error)),
    }
}

fn http_failure(error: reqwest::Error) -> Verdict {
    let error = error.without_url();
    if error.is_builder() {
        return refused(chain(&error));
    }
    lost(!error.is_connect(), chain(&error))
}

fn lost(sent: bool, why: String) -> Verdict {
    if sent {
        Verdict::Unknown { why }
    } else {
        Verdict::Retry { why, after: None }
    }
}

fn refused(why: impl Into<String>) -> Verdict {
    Verdict::Refused { why: why.into() }
}

/// An error and its causes on one line, saying nothing twice.
fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        cause = error.source();
    }
    line
}

fn host_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then_some((host.to_owned(), port.parse().ok()?))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn now() -> Timestamp {
    Timestamp::from_ms(chrono::Utc::now().timestamp_millis())
}
