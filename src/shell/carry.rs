//! Carries rendered mail and requests to the outside, and says what came of it.
//!
//! One connection per delivery, so a verdict never depends on an earlier one. The question behind every failure is
//! "may it have been accepted?": before the message itself was sent the answer is no ([`Verdict::Retry`]),
//! from then until the receiver's answer it is [`Verdict::Unknown`].

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use lettre::transport::smtp::Error as SmtpError;

use crate::model::page::Verdict;
use crate::model::secret::Secret;
use crate::model::time::{Duration, Timestamp};
use crate::receivers::email::Mail;
use crate::receivers::{HttpRequest, webhook};

mod smtp;

use smtp::Smtp;

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
        let message = match smtp::message(mail) {
            Ok(message) => message,
            Err(why) => return refused(why),
        };
        let sent = AtomicBool::new(false);
        match tokio::time::timeout(timeout.std(), smtp.deliver(&message, timeout, &sent)).await {
            Ok((verdict, connection)) => {
                if let Some(connection) = connection {
                    smtp::part(connection).await;
                }
                verdict
            }
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
pub(super) fn chain(error: &dyn std::error::Error) -> String {
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

fn now() -> Timestamp {
    Timestamp::from_ms(chrono::Utc::now().timestamp_millis())
}
