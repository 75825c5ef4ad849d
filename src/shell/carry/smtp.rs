//! One mail, one connection: connect, perhaps encrypt, perhaps log in, hand over.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as MailCommand, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use tracing::warn;

use super::{CarrierError, SmtpSettings, SmtpTls, chain, lost, refused};
use crate::model::page::Verdict;
use crate::model::time::Duration;
use crate::receivers::email::{Mail, judge_smtp};

/// How long a server may take over its goodbye.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// The mail server, and how to talk to it.
pub(super) struct Smtp {
    host: String,
    port: u16,
    hello: ClientId,
    credentials: Option<Credentials>,
    tls: SmtpTls,
    tls_parameters: TlsParameters,
}

impl Smtp {
    pub(super) fn new(settings: SmtpSettings) -> Result<Self, CarrierError> {
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

    /// The verdict, and the connection where one came up. `sent` is set right before the message itself goes out.
    pub(super) async fn deliver(
        &self,
        message: &lettre::Message,
        timeout: Duration,
        sent: &AtomicBool,
    ) -> (Verdict, Option<AsyncSmtpConnection>) {
        match self.connect(timeout).await {
            Ok(mut connection) => {
                let verdict = transact(&mut connection, message, sent).await;
                (verdict, Some(connection))
            }
            Err(verdict) => (verdict, None),
        }
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

/// Says QUIT: good manners, and no part of the verdict, as the server has answered already.
pub(super) async fn part(mut connection: AsyncSmtpConnection) {
    let _ = tokio::time::timeout(GOODBYE_TIMEOUT.std(), connection.abort()).await;
}

/// MAIL, RCPT, DATA. One refused recipient does not keep the message from the others.
async fn transact(
    connection: &mut AsyncSmtpConnection,
    message: &lettre::Message,
    sent: &AtomicBool,
) -> Verdict {
    let envelope = message.envelope();
    let ascii = envelope.from().into_iter().chain(envelope.to()).all(|a| {
        let address: &str = a.as_ref();
        address.is_ascii()
    });
    let mut parameters = Vec::new();
    if !ascii {
        if !connection
            .server_info()
            .supports_feature(Extension::SmtpUtfEight)
        {
            return refused("the mail server does not take addresses beyond ASCII");
        }
        parameters.push(MailParameter::SmtpUtfEight);
    }
    let from = MailCommand::new(envelope.from().cloned(), parameters);
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

pub(super) fn message(mail: &Mail) -> Result<lettre::Message, String> {
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

fn host_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then_some((host.to_owned(), port.parse().ok()?))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
