//! Talks to a running engine: JSON there and back, problems as sentences.

use std::fmt::Write as _;

use reqwest::Method;
use serde_json::Value;

use crate::cli::Output;
use crate::cli::flags::{self, Flags, LISTEN};
use crate::model::time::Duration;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// One engine, and how its answers are shown.
pub struct Client {
    base: String,
    token: Option<String>,
    output: Output,
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    /// A client for the engine that the flags name; the token comes from `OPS_TOKEN`, as arguments are seen by others.
    ///
    /// # Errors
    /// The URL is none, or there is no network at all.
    pub fn new(flags: &Flags) -> Result<Self, String> {
        let base = flags::text(&flags.url)
            .map_or_else(|| format!("http://{LISTEN}"), str::to_owned)
            .trim_end_matches('/')
            .to_owned();
        crate::config::notify::check_url(&base)
            .map_err(|_| "OPS_URL is no URL; an example: http://127.0.0.1:9900".to_owned())?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| e.to_string())?;
        let http = reqwest::Client::builder()
            .user_agent(concat!("ops/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT.std())
            .timeout(ANSWER_TIMEOUT.std())
            .build()
            .map_err(|e| e.to_string())?;
        Ok(Self {
            base,
            token: std::env::var("OPS_TOKEN").ok().filter(|t| !t.is_empty()),
            output: flags.output.unwrap_or_default(),
            http,
            runtime,
        })
    }

    /// Asks for `path` below `/api/ops/v1/`.
    ///
    /// # Errors
    /// Why there is no answer, as a sentence.
    pub fn get(&self, path: &str) -> Result<Value, String> {
        self.call(Method::GET, &ours(path), None)
    }

    /// The names of all metrics, by Prometheus's own API: a Prometheus can be asked as well.
    ///
    /// # Errors
    /// Why there is no answer, as a sentence.
    pub fn metrics(&self) -> Result<Vec<String>, String> {
        let answer = self.call(Method::GET, "/api/v1/label/__name__/values", None)?;
        let names = answer["data"].as_array();
        let names = names.ok_or_else(|| format!("{}: not a list of names", self.base))?;
        Ok(names
            .iter()
            .filter_map(|n| Some(n.as_str()?.to_owned()))
            .collect())
    }

    /// Sends `body` to `path` below `/api/ops/v1/`.
    ///
    /// # Errors
    /// Why it was not taken, as a sentence.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, String> {
        self.call(Method::POST, &ours(path), Some(body))
    }

    /// Ends what is at `path` below `/api/ops/v1/`.
    ///
    /// # Errors
    /// Why it was not ended, as a sentence.
    pub fn delete(&self, path: &str) -> Result<Value, String> {
        self.call(Method::DELETE, &ours(path), None)
    }

    /// The answer as the user wants it: as it came, or as `text` says it.
    pub fn shown(&self, answer: &Value, text: impl FnOnce(&Value) -> String) -> String {
        match self.output {
            Output::Json if answer.is_null() => "{}".to_owned(),
            Output::Json => format!("{answer:#}"),
            Output::Text => text(answer),
        }
    }

    /// Whether a person reads the result.
    pub fn for_people(&self) -> bool {
        self.output == Output::Text
    }

    fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let url = format!("{}{path}", self.base);
        let mut request = self.http.request(method, url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let (status, text) = self
            .runtime
            .block_on(async {
                let response = request.send().await?;
                let status = response.status();
                Ok((status, response.text().await?))
            })
            .map_err(|error: reqwest::Error| self.unanswered(&error))?;
        if status.is_success() {
            if text.trim().is_empty() {
                return Ok(Value::Null);
            }
            return serde_json::from_str(&text)
                .map_err(|_| format!("{} answers, but not as an engine does", self.base));
        }
        Err(refusal(status.as_u16(), &text))
    }

    fn unanswered(&self, error: &reqwest::Error) -> String {
        let url = &self.base;
        if error.is_timeout() {
            format!("the engine at {url} does not answer in time")
        } else if error.is_connect() {
            format!("no engine answers at {url} (is `ops serve` running?)")
        } else {
            let mut said = format!("the connection to {url} broke");
            let mut cause = std::error::Error::source(error);
            while let Some(inner) = cause {
                let _ = write!(said, ": {inner}");
                cause = inner.source();
            }
            said
        }
    }
}

/// A path of our own API.
fn ours(path: &str) -> String {
    format!("/api/ops/v1/{path}")
}

/// What a problem document says; without one, what the status means.
fn refusal(status: u16, text: &str) -> String {
    let problem: Value = serde_json::from_str(text).unwrap_or_default();
    let said = ["detail", "title", "error"]
        .into_iter()
        .filter_map(|key| problem.get(key).and_then(Value::as_str))
        .find(|said| !said.is_empty());
    let plain = match (said, status) {
        (Some(said), _) => said.to_owned(),
        (None, 401) => "the engine wants a token".to_owned(),
        (None, 403) => "this token does not allow that".to_owned(),
        (None, 404) => "there is no such thing at the engine".to_owned(),
        (None, _) => format!("the engine answers with status {status}"),
    };
    match status {
        401 => format!("{plain} (set OPS_TOKEN)"),
        _ => plain,
    }
}

/// Text as one segment of a URL's path.
pub fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// Who does this: `by` if given, else the user's name.
pub fn person(by: &Option<String>) -> String {
    by.clone()
        .or_else(|| std::env::var("USER").ok())
        .or_else(|| std::env::var("LOGNAME").ok())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "somebody".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_become_sentences() {
        assert_eq!(
            refusal(404, r#"{"title":"Not found","detail":"no incident 7"}"#),
            "no incident 7"
        );
        assert_eq!(refusal(401, ""), "the engine wants a token (set OPS_TOKEN)");
        assert_eq!(refusal(502, "<html>"), "the engine answers with status 502");
    }

    #[test]
    fn nobody_there_is_said_plainly() {
        let flags = Flags {
            url: Some("http://127.0.0.1:1/".into()),
            ..Flags::default()
        };
        assert_eq!(
            Client::new(&flags).unwrap().get("alerts").unwrap_err(),
            "no engine answers at http://127.0.0.1:1 (is `ops serve` running?)"
        );
    }
}
