//! Effects → the world: pages to receivers, runs to scripts, verdicts back to the engine. Each delivery and each run
//! is a task of its own with a time limit; one that hangs delays nobody.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::config::receivers::Way;
use crate::config::{Settings, SmtpTls as ConfiguredTls};
use crate::engine::event::{Run, RunEnd};
use crate::engine::{Effect, Input};
use crate::model::page::{Page, PageKind, Verdict};
use crate::model::time::Duration;
use crate::receivers::email::{self, EmailTerms};
use crate::receivers::webhook::{self, WebhookTerms};
use crate::shell::carry::{Carrier, SmtpSettings, SmtpTls};
use crate::shell::clock;
use crate::shell::drive::Handle;
use crate::shell::exec::spec::{GRACE_MS_DEFAULT, RunSpec, sha256_of};
use crate::shell::exec::{self, Ended};
use crate::shell::load::{Loaded, Places};

/// How long one delivery may take where the receiver does not say.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(15);
/// Runs whose folders are kept.
const RUNS_KEPT: usize = 500;

/// Carries effects out.
#[derive(Clone)]
pub struct Deliver {
    /// Where verdicts go.
    pub handle: Handle,
    /// The settings in force.
    pub loaded: Arc<RwLock<Loaded>>,
    /// Where scripts lie.
    pub places: Places,
    /// Where links lead if the settings do not say.
    pub url: String,
    /// The carrier in use.
    pub carrier: Arc<Mutex<Option<Made>>>,
}

/// A carrier and the settings for which it was made: making one reads the platform's certificates.
pub type Made = (Arc<Settings>, Arc<Carrier>);

impl Deliver {
    /// Starts what an effect asks for, in the background.
    pub fn carry(&self, effect: Effect) {
        let this = self.clone();
        match effect {
            Effect::Record(_) | Effect::Store(_) => {}
            Effect::Page(page, attempt) => drop(tokio::spawn(async move {
                let verdict = this.page(&page).await;
                match &verdict {
                    Verdict::Done => {
                        tracing::debug!(receiver = %page.receiver, key = %page.key, attempt, "Page accepted.")
                    }
                    Verdict::Retry { why, .. }
                    | Verdict::Refused { why }
                    | Verdict::Unknown { why } => {
                        tracing::warn!(receiver = %page.receiver, key = %page.key, attempt, %why, "Page not delivered.");
                    }
                }
                let slot = usize::from(verdict != Verdict::Done);
                this.handle.status.pages_total[slot]
                    .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                this.handle.tell(Input::Delivered {
                    key: page.key.clone(),
                    attempt,
                    verdict,
                });
            })),
            Effect::Start(run) => drop(tokio::spawn(async move {
                // Hashing the script and syncing its folder take as long as the disk does.
                let (prepare, run) = (this.clone(), Arc::new(*run));
                let claimed = run.clone();
                let prepared = tokio::task::spawn_blocking(move || {
                    let dir = prepare.places.data.join("runs");
                    let spec = prepare.spec(&claimed)?;
                    exec::prepare(&dir, &spec).map_err(|e| format!("run folder: {e}"))
                });
                let end = match prepared.await.unwrap_or_else(|e| Err(e.to_string())) {
                    Ok(dir) => exec::run(&dir).await,
                    Err(why) => exec::End {
                        how: Ended::NotStarted { why },
                        took: Duration::ZERO,
                        excerpt: String::new(),
                        message: None,
                        changed: None,
                    },
                };
                drop(tokio::task::spawn_blocking(move || this.report(&run, end)));
            })),
            Effect::Adopt(run) => drop(tokio::spawn(async move {
                let end = exec::adopt(&this.places.data.join("runs").join(&run.id)).await;
                drop(tokio::task::spawn_blocking(move || this.report(&run, end)));
            })),
        }
    }

    /// The carrier of these settings.
    fn carrier(&self, settings: &Arc<Settings>) -> Result<Arc<Carrier>, String> {
        let mut known = self.carrier.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, carrier)) = &*known
            && Arc::ptr_eq(of, settings)
        {
            return Ok(carrier.clone());
        }
        let made = Carrier::new(Some(smtp(settings))).map_err(|e| e.to_string())?;
        let made = Arc::new(made);
        *known = Some((settings.clone(), made.clone()));
        Ok(made)
    }

    /// Keeps space for the next run's folder; without it, a script may not start on a full disk.
    pub fn keep_reserve(&self) {
        if let Err(error) = exec::keep_reserve(&self.places.data.join("runs")) {
            tracing::warn!(%error, "No space reserved for the next run.");
        }
    }

    fn settings(&self) -> Arc<Settings> {
        self.loaded
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .settings
            .clone()
    }

    async fn page(&self, page: &Page) -> Verdict {
        let settings = self.settings();
        let ways = match crate::config::notify::parse_notify(&page.receiver) {
            Ok(crate::config::notify::Notify::Way(way)) => vec![way],
            Ok(crate::config::notify::Notify::Receiver(name)) => {
                match settings.receivers.get(&name) {
                    Some(receiver) => receiver.ways.clone(),
                    None => {
                        return Verdict::Refused {
                            why: format!("there is no receiver `{name}` in ops.yaml"),
                        };
                    }
                }
            }
            Ok(crate::config::notify::Notify::Later { kind }) => {
                return Verdict::Refused {
                    why: format!("receivers of kind `{kind}` cannot be reached yet"),
                };
            }
            Err(why) => return Verdict::Refused { why },
        };
        if ways.is_empty() {
            return Verdict::Refused {
                why: "the receiver has no way to be reached".to_owned(),
            };
        }
        let mut worst = Verdict::Done;
        for way in ways {
            let verdict = self.one_way(page, &settings, way).await;
            if verdict != Verdict::Done {
                worst = verdict;
            }
        }
        worst
    }

    async fn one_way(&self, page: &Page, settings: &Arc<Settings>, way: Way) -> Verdict {
        let external_url = settings
            .external_url
            .clone()
            .unwrap_or_else(|| self.url.clone());
        let carrier = match self.carrier(settings) {
            Ok(carrier) => carrier,
            Err(why) => return Verdict::Refused { why },
        };
        match way {
            Way::Email { to } => {
                let from = settings.smtp.from.clone();
                let domain = from
                    .rsplit('@')
                    .next()
                    .unwrap_or("ops")
                    .trim_end_matches('>')
                    .to_owned();
                let mail = email::render(
                    page,
                    &EmailTerms {
                        from,
                        to: vec![to],
                        domain,
                        external_url,
                    },
                );
                carrier.carry_mail(&mail, DELIVERY_TIMEOUT).await
            }
            Way::Webhook {
                send_resolved: false,
                ..
            } if page.kind == PageKind::Closed => Verdict::Done,
            Way::Webhook {
                url,
                bearer,
                hmac_secret,
                max_alerts,
                timeout,
                ..
            } => {
                let request = webhook::render(
                    page,
                    &WebhookTerms {
                        url,
                        bearer,
                        signing_key: hmac_secret,
                        max_alerts,
                        external_url,
                    },
                );
                carrier.carry_http(&request, timeout).await
            }
        }
    }

    fn spec(&self, run: &Run) -> Result<RunSpec, String> {
        let script = self
            .places
            .find(&run.script)
            .canonicalize()
            .map_err(|e| format!("{}: {e}", run.script))?;
        let scripts = self
            .places
            .scripts
            .canonicalize()
            .map_err(|e| format!("scripts: {e}"))?;
        if !script.starts_with(&scripts) {
            return Err(format!("{} leads out of scripts/", run.script));
        }
        if let Some(bad) = run
            .args
            .iter()
            .find(|a| a.starts_with('-') || a.contains(['\0', '\n']))
        {
            return Err(format!(
                "the argument {bad:?} begins with `-` or holds a line break: refused"
            ));
        }
        let script_sha256 = sha256_of(&script).map_err(|e| format!("{}: {e}", run.script))?;
        let now = clock::wall();
        let mut env: BTreeMap<String, String> = [
            ("OPS_RUN_ID", run.id.clone()),
            ("OPS_STEP", run.step.to_string()),
            ("OPS_ATTEMPT", run.attempt.to_string()),
            ("OPS_DEADLINE", (now + run.timeout).rfc3339()),
            ("OPS_RULE", run.rule.clone()),
            ("OPS_ALERT", run.labels.get("alertname").to_owned()),
            ("OPS_TARGET", run.target.clone()),
            ("OPS_VALUE", run.value.to_string()),
            (
                "OPS_THRESHOLD",
                run.threshold.map_or(String::new(), |t| t.to_string()),
            ),
            ("OPS_FIRED_AT", run.fired_at.rfc3339()),
            ("OPS_RUNBOOK", run.runbook.clone().unwrap_or_default()),
            ("OPS_INCIDENT", run.incident.to_string()),
        ]
        .into_iter()
        .map(|(n, v)| (n.to_owned(), v))
        .collect();
        env.extend(
            run.labels
                .iter()
                .map(|(n, v)| (format!("OPS_LABEL_{n}"), v.to_owned())),
        );
        let stdin = serde_json::json!({"v": 1, "run": run.id, "rule": run.rule, "incident": run.incident, "target": run.target, "labels": run.labels,
            "value": run.value, "threshold": run.threshold, "step": run.step, "attempt": run.attempt, "deadline": (now + run.timeout).rfc3339()});
        Ok(RunSpec {
            run_id: run.id.clone(),
            script,
            script_sha256,
            args: run.args.clone(),
            timeout_ms: run.timeout.ms(),
            grace_ms: GRACE_MS_DEFAULT,
            env,
            stdin: stdin.to_string(),
        })
    }

    fn report(&self, run: &Run, end: exec::End) {
        let how = match end.how {
            Ended::Exited { code } => RunEnd::Exited { code },
            Ended::Signalled { signal } => RunEnd::Signalled { signal },
            Ended::TimedOut => RunEnd::TimedOut,
            Ended::NotStarted { why } => RunEnd::NotStarted { why },
            Ended::Unknown { why } => RunEnd::Unknown { why },
        };
        self.log_line(run, &how, end.took);
        let output = end.message.unwrap_or(end.excerpt);
        self.handle.tell(Input::Ended {
            run: run.id.clone(),
            end: how,
            took: end.took,
            output,
        });
        let runs = self.places.data.join("runs");
        if let Err(error) = exec::sweep_runs(&runs, RUNS_KEPT) {
            tracing::warn!(%error, "Old run folders not removed.");
        }
        self.keep_reserve();
    }

    /// The line that every attempt leaves in `ops_heal.log`, for people with `tail` and `grep`.
    fn log_line(&self, run: &Run, how: &RunEnd, took: Duration) {
        let line = format!(
            "{} run={} incident={} rule={} target={} script={} attempt={} took={} outcome={:?}\n",
            clock::wall().rfc3339(),
            run.id,
            run.incident,
            word(&run.rule),
            word(&run.target),
            word(&run.script),
            run.attempt,
            took,
            how.words()
        );
        let path = self.places.data.join("ops_heal.log");
        let written = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut f| std::io::Write::write_all(&mut f, line.as_bytes()));
        if let Err(error) = written {
            tracing::warn!(%error, path = %path.display(), "Heal log line not written; the event log has it.");
        }
    }
}

/// A text that is one word of a line, whatever is in it: labels come from senders.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-.:/@+*,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("{text:?}")
    }
}

fn smtp(settings: &Settings) -> SmtpSettings {
    let s = &settings.smtp;
    SmtpSettings {
        smarthost: s.smarthost.clone(),
        hello: s.hello.clone().unwrap_or_else(|| "ops".to_owned()),
        username: s
            .auth_username
            .clone()
            .map(crate::model::secret::Secret::new),
        password: s.auth_password.clone(),
        tls: match (s.tls, s.require_tls) {
            (ConfiguredTls::Implicit, _) => SmtpTls::Implicit,
            (ConfiguredTls::Starttls, true) => SmtpTls::StartTls,
            (ConfiguredTls::Starttls, false) => SmtpTls::StartTlsIfOffered,
        },
        ca_file: None,
    }
}
