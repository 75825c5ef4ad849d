//! The demo's inbox: a real mail server and a real webhook endpoint on loopback that show what people would get.
//!
//! Mail comes in by SMTP, webhooks by `POST /webhook`; both come out of one bounded channel. When nobody empties it,
//! senders are told to come back (452, 503) instead of being lied to.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use smtp_proto::request::receiver::{DataReceiver, RequestReceiver};
use smtp_proto::{Error as SmtpError, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::model::time::Duration;

mod mime;

/// Bytes of one mail, and of one webhook body.
pub const MESSAGE_BYTES_MAX: usize = 1_048_576;
/// Arrivals that wait for a reader.
pub const ARRIVAL_COUNT_MAX: usize = 256;
/// Mail connections at a time.
pub const CONNECTION_COUNT_MAX: usize = 32;
/// Recipients of one mail.
pub const RECIPIENT_COUNT_MAX: usize = 100;
/// A mail client that says nothing for so long is shown out.
pub const IDLE_MAX: Duration = Duration::from_secs(60);

/// Something that somebody was told.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrival {
    /// By mail.
    Mail(ReceivedMail),
    /// By webhook: the JSON body.
    Webhook(serde_json::Value),
}

/// A mail as its reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedMail {
    /// The envelope's sender.
    pub from: String,
    /// The envelope's recipients.
    pub to: Vec<String>,
    /// The subject, decoded.
    pub subject: String,
    /// The plain text, decoded.
    pub text: String,
}

/// The running inbox; dropping it closes both doors.
#[derive(Debug)]
pub struct Inbox {
    /// Where mail is accepted.
    pub smtp: SocketAddr,
    /// Where webhooks are accepted: `http://127.0.0.1:…/webhook`.
    pub webhook: String,
    tasks: Vec<JoinHandle<()>>,
}

impl Inbox {
    /// Opens both doors on free loopback ports.
    ///
    /// # Errors
    /// When loopback cannot be bound.
    pub async fn open() -> std::io::Result<(Inbox, mpsc::Receiver<Arrival>)> {
        let (sender, arrivals) = mpsc::channel(ARRIVAL_COUNT_MAX);
        let mail = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let hooks = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (smtp, http) = (mail.local_addr()?, hooks.local_addr()?);
        let router = Router::new()
            .route("/webhook", post(take_webhook))
            .layer(DefaultBodyLimit::max(MESSAGE_BYTES_MAX))
            .with_state(sender.clone());
        let tasks = vec![
            tokio::spawn(accept_mail(mail, sender)),
            tokio::spawn(async move {
                let _ = axum::serve(hooks, router).await;
            }),
        ];
        let inbox = Inbox {
            smtp,
            webhook: format!("http://{http}/webhook"),
            tasks,
        };
        Ok((inbox, arrivals))
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn take_webhook(State(sender): State<mpsc::Sender<Arrival>>, body: Bytes) -> StatusCode {
    let Ok(json) = serde_json::from_slice(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    match sender.try_send(Arrival::Webhook(json)) {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn accept_mail(listener: TcpListener, sender: mpsc::Sender<Arrival>) {
    let seats = Arc::new(Semaphore::new(CONNECTION_COUNT_MAX));
    loop {
        // Waiting for a seat leaves newcomers in the kernel's queue: a bound without a refusal.
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_ms(50).std()).await;
            continue;
        };
        let sender = sender.clone();
        tokio::spawn(async move {
            let _ = converse(stream, Session::new(sender)).await;
            drop(seat);
        });
    }
}

async fn converse(mut stream: TcpStream, mut session: Session) -> std::io::Result<()> {
    stream.write_all(b"220 ops inbox ESMTP\r\n").await?;
    let mut buffer = [0u8; 8_192];
    loop {
        let read = tokio::time::timeout(IDLE_MAX.std(), stream.read(&mut buffer)).await;
        let n = match read {
            Ok(n) => n?,
            Err(_) => return stream.write_all(b"421 4.4.2 idle for too long\r\n").await,
        };
        if n == 0 {
            return Ok(());
        }
        let mut replies = String::new();
        let go_on = session.feed(buffer.get(..n).unwrap_or_default(), &mut replies);
        stream.write_all(replies.as_bytes()).await?;
        if !go_on {
            return stream.shutdown().await;
        }
    }
}

/// One mail conversation: bytes in, replies out. It knows no socket.
struct Session {
    sender: mpsc::Sender<Arrival>,
    requests: RequestReceiver,
    from: Option<String>,
    to: Vec<String>,
    message: Option<Message>,
}

/// A message on its way in.
struct Message {
    receiver: DataReceiver,
    bytes: Vec<u8>,
    too_big: bool,
}

impl Session {
    fn new(sender: mpsc::Sender<Arrival>) -> Self {
        Self {
            sender,
            requests: RequestReceiver::default(),
            from: None,
            to: Vec::new(),
            message: None,
        }
    }

    /// Takes what arrived, appends the replies; false when the conversation is over.
    fn feed(&mut self, bytes: &[u8], replies: &mut String) -> bool {
        let mut rest = bytes.iter();
        while !rest.as_slice().is_empty() {
            if let Some(message) = &mut self.message {
                let ended = message.receiver.ingest(&mut rest, &mut message.bytes);
                if message.bytes.len() > MESSAGE_BYTES_MAX {
                    message.too_big = true;
                    message.bytes.clear();
                }
                if ended {
                    replies.push_str(self.finish());
                }
                continue;
            }
            let request = match self.requests.ingest(&mut rest) {
                Ok(request) => Ok(request.into_owned()),
                Err(SmtpError::NeedsMoreData { .. }) => break,
                Err(error) => Err(error),
            };
            match request {
                Ok(Request::Quit) => {
                    replies.push_str("221 2.0.0 bye\r\n");
                    return false;
                }
                Ok(request) => replies.push_str(self.answer(request)),
                Err(SmtpError::ResponseTooLong) => {
                    replies.push_str("500 5.5.2 line too long\r\n");
                    return false;
                }
                Err(SmtpError::UnknownCommand) => replies.push_str("500 5.5.1 unknown command\r\n"),
                Err(_) => replies.push_str("501 5.5.4 cannot read that\r\n"),
            }
        }
        true
    }

    fn answer(&mut self, request: Request<String>) -> &'static str {
        match request {
            Request::Ehlo { .. } => {
                self.reset();
                "250-ops inbox\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 1048576\r\n"
            }
            Request::Helo { .. } => {
                self.reset();
                "250 ops inbox\r\n"
            }
            Request::Mail { .. } if self.from.is_some() => "503 5.5.1 one MAIL at a time\r\n",
            Request::Mail { from } if from.size > MESSAGE_BYTES_MAX => "552 5.3.4 too big\r\n",
            Request::Mail { from } => {
                self.from = Some(from.address);
                "250 2.1.0 ok\r\n"
            }
            Request::Rcpt { .. } if self.from.is_none() => "503 5.5.1 MAIL first\r\n",
            Request::Rcpt { .. } if self.to.len() >= RECIPIENT_COUNT_MAX => {
                "452 4.5.3 too many recipients\r\n"
            }
            Request::Rcpt { to } => {
                self.to.push(to.address);
                "250 2.1.5 ok\r\n"
            }
            Request::Data if self.to.is_empty() => "503 5.5.1 RCPT first\r\n",
            Request::Data => {
                let mut receiver = DataReceiver::new();
                // A dot on the first line counts too: the grammar looks for the line end before it.
                receiver.ingest(&mut b"\r\n".iter(), &mut Vec::new());
                self.message = Some(Message {
                    receiver,
                    bytes: Vec::new(),
                    too_big: false,
                });
                "354 go ahead\r\n"
            }
            Request::Rset => {
                self.reset();
                "250 2.0.0 ok\r\n"
            }
            Request::Noop { .. } => "250 2.0.0 ok\r\n",
            _ => "502 5.5.1 not here\r\n",
        }
    }

    fn finish(&mut self) -> &'static str {
        let message = self.message.take();
        let (from, to) = (
            self.from.take().unwrap_or_default(),
            std::mem::take(&mut self.to),
        );
        let Some(message) = message.filter(|m| !m.too_big) else {
            return "552 5.3.4 too big\r\n";
        };
        let (subject, text) = mime::read(&message.bytes);
        let mail = ReceivedMail {
            from,
            to,
            subject,
            text,
        };
        match self.sender.try_send(Arrival::Mail(mail)) {
            Ok(()) => "250 2.0.0 delivered\r\n",
            Err(_) => "452 4.3.1 the inbox is full\r\n",
        }
    }

    fn reset(&mut self) {
        self.from = None;
        self.to.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &str = "EHLO me\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n";

    fn session() -> (Session, mpsc::Receiver<Arrival>) {
        let (sender, arrivals) = mpsc::channel(1);
        (Session::new(sender), arrivals)
    }

    /// The codes of the final reply lines, and whether the conversation goes on.
    fn check(session: &mut Session, said: &str, codes: &str) -> bool {
        let mut replies = String::new();
        let go_on = session.feed(said.as_bytes(), &mut replies);
        let got: Vec<&str> = replies
            .lines()
            .filter(|l| l.as_bytes().get(3) == Some(&b' '))
            .filter_map(|l| l.get(..3))
            .collect();
        assert_eq!(got.join(" "), codes, "{replies}");
        go_on
    }

    #[test]
    fn a_conversation_may_come_in_any_pieces() {
        let all = format!("{HELLO}Subject: s\r\n\r\n..dot\r\nend\r\n.\r\nQUIT\r\n");
        for size in [1, 2, 3, 7, all.len()] {
            let (mut session, mut arrivals) = session();
            let mut replies = String::new();
            let mut open = true;
            for piece in all.as_bytes().chunks(size) {
                open = session.feed(piece, &mut replies);
            }
            assert!(!open);
            let Ok(Arrival::Mail(mail)) = arrivals.try_recv() else {
                panic!("no mail in pieces of {size}: {replies}");
            };
            assert_eq!((mail.from.as_str(), mail.subject.as_str()), ("a@x", "s"));
            assert_eq!(mail.text, ".dot\nend\n");
        }
    }

    #[test]
    fn an_empty_message_ends() {
        let (mut session, mut arrivals) = session();
        check(&mut session, HELLO, "250 250 250 354");
        check(&mut session, ".\r\n", "250");
        assert!(arrivals.try_recv().is_ok());
    }

    #[test]
    fn order_is_kept_and_the_unknown_is_survived() {
        let (mut session, _arrivals) = session();
        check(&mut session, "RCPT TO:<b@x>\r\nDATA\r\n", "503 503");
        check(&mut session, "MAIL FROM:<a@x>\r\nDATA\r\n", "250 503");
        check(&mut session, "MAIL FROM:<a@x>\r\n", "503");
        assert!(check(&mut session, "XYZZY\r\nNOOP\r\n", "500 250"));
    }

    #[test]
    fn what_is_too_big_or_too_much_is_refused_and_the_next_mail_is_taken() {
        let (mut session, _arrivals) = session();
        check(&mut session, HELLO, "250 250 250 354");
        let line = format!("{}\r\n", "x".repeat(998));
        for _ in 0..=MESSAGE_BYTES_MAX / line.len() {
            check(&mut session, &line, "");
        }
        check(&mut session, ".\r\n", "552");
        check(&mut session, HELLO, "250 250 250 354");
        check(&mut session, "hi\r\n.\r\n", "250");
        // Nobody reads: the channel of one is full.
        check(&mut session, HELLO, "250 250 250 354");
        check(&mut session, "hi\r\n.\r\n", "452");
        assert!(!check(&mut session, &"y".repeat(10_000), "500"));
    }
}
