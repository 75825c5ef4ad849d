//! One request to a target: who we are, whom we trust, and no more of the answer than a bound.

use std::path::{Path, PathBuf};

use reqwest::header;

use crate::config::scrape::{Auth, Credential, Http, Tls};
use crate::ingest::exposition::Format;
use crate::ingest::inflate::inflate;
use crate::model::time::Duration;
use crate::shell::carry::chain;

/// Largest answer, inflated, whatever the settings say.
const BODY_BYTES_MAX: usize = 64 << 20;
/// Redirects that are followed.
const REDIRECT_COUNT_MAX: usize = 10;
/// What we can read, best first.
const ACCEPT: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
    application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
    text/plain;version=0.0.4;q=0.3,*/*;q=0.2";

/// Asks the targets of a job.
pub(super) struct Client {
    /// Or why there is none.
    client: Result<reqwest::Client, String>,
    http: Http,
    /// Where paths of secrets begin.
    root: PathBuf,
}

impl Client {
    pub fn new(http: &Http, root: &Path) -> Self {
        Self {
            client: build(http).map_err(|e| format!("`tls_config`: {}", chain(&e))),
            http: http.clone(),
            root: root.to_owned(),
        }
    }

    /// The body of a target's answer and its format.
    ///
    /// # Errors
    /// Why there is none, for a person.
    pub async fn fetch(
        &self,
        url: &str,
        timeout: Duration,
        limit: Option<usize>,
    ) -> Result<(Vec<u8>, Format), String> {
        let client = self.client.as_ref().map_err(String::clone)?;
        let mut request = client.get(url).header(header::ACCEPT, ACCEPT).header(
            "x-prometheus-scrape-timeout-seconds",
            timeout.std().as_secs_f64().to_string(),
        );
        if self.http.compression {
            request = request.header(header::ACCEPT_ENCODING, "gzip");
        }
        request = match &self.http.auth {
            None => request,
            Some(Auth::Basic(name, password)) => {
                request.basic_auth(name, Some(self.secret(password).await?))
            }
            Some(Auth::Scheme(scheme, credential)) => {
                let value = format!("{scheme} {}", self.secret(credential).await?);
                let mut value = header::HeaderValue::try_from(value)
                    .map_err(|_| "the credentials are no header's value".to_owned())?;
                value.set_sensitive(true);
                request.header(header::AUTHORIZATION, value)
            }
        };
        let asked = async {
            let answer = request.send().await.map_err(|e| chain(&e.without_url()))?;
            read(answer, limit.unwrap_or(BODY_BYTES_MAX).min(BODY_BYTES_MAX)).await
        };
        tokio::time::timeout(timeout.std(), asked)
            .await
            .unwrap_or_else(|_| Err(format!("no whole answer within {timeout}")))
    }

    async fn secret(&self, credential: &Credential) -> Result<String, String> {
        match credential {
            Credential::Given(secret) => Ok(secret.reveal().clone()),
            Credential::File(path) => tokio::fs::read_to_string(self.root.join(path))
                .await
                .map(|text| text.trim_end().to_owned())
                .map_err(|e| format!("the secret in {path}: {e}")),
        }
    }
}

async fn read(mut answer: reqwest::Response, limit: usize) -> Result<(Vec<u8>, Format), String> {
    let status = answer.status();
    if status != reqwest::StatusCode::OK {
        return Err(format!("the answer is {status}"));
    }
    let text = |name| answer.headers().get(name).and_then(|v| v.to_str().ok());
    let kind = text(header::CONTENT_TYPE).map(str::to_owned);
    let encoding = text(header::CONTENT_ENCODING).unwrap_or("").to_owned();
    let format = Format::of_content_type(kind.as_deref())
        .ok_or_else(|| format!("`{}` is no text exposition", kind.unwrap_or_default()))?;
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|e| chain(&e.without_url()))? {
        if body.len() + chunk.len() > limit {
            return Err(format!("the answer is larger than {limit} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    match encoding.as_str() {
        "" | "identity" => Ok((body, format)),
        "gzip" | "x-gzip" => {
            let inflated = inflate(&body, limit).map_err(|e| e.to_string())?;
            Ok((inflated, format))
        }
        other => Err(format!(
            "the answer is encoded as {other}, which was not asked for"
        )),
    }
}

fn build(http: &Http) -> reqwest::Result<reqwest::Client> {
    let redirect = if http.follow_redirects {
        reqwest::redirect::Policy::limited(REDIRECT_COUNT_MAX)
    } else {
        reqwest::redirect::Policy::none()
    };
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("ops/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect)
        .no_proxy()
        .pool_max_idle_per_host(1);
    let Tls {
        ca,
        identity,
        insecure,
    } = &http.tls;
    if let Some(pem) = ca {
        let trusted = reqwest::Certificate::from_pem_bundle(pem.reveal().as_bytes())?;
        builder = builder.tls_certs_only(trusted);
    }
    if let Some((certificate, key)) = identity {
        let pem = format!("{}\n{}", certificate.reveal(), key.reveal());
        builder = builder.identity(reqwest::Identity::from_pem(pem.as_bytes())?);
    }
    builder.tls_danger_accept_invalid_certs(*insecure).build()
}
