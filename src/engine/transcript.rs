//! Events in plain words: one line each. Every function reads the state as it is after the event's entry.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use xxhash_rust::xxh3::xxh3_64;

use crate::engine::event::{AlertKey, Cause, Event, Outcome};
use crate::engine::own::Own;
use crate::engine::state::{Incident, State};
use crate::model::page::{PageKind, Verdict};
use crate::model::time::Duration;

impl Cause {
    /// As people read it.
    pub fn words(self) -> &'static str {
        match self {
            Cause::Recovered => "recovered",
            Cause::SeriesMissing => "its series is missing",
            Cause::RuleRemoved => "its rule was removed",
            Cause::Acknowledged => "acknowledged",
            Cause::Gone => "what it was about is no longer kept",
        }
    }
}

impl PageKind {
    /// As people read it.
    pub fn words(self) -> &'static str {
        match self {
            PageKind::Opened => "opened",
            PageKind::Joined => "more alerts",
            PageKind::Repeat => "still firing",
            PageKind::Silent => "no data",
            PageKind::HealFailed => "heal failed",
            PageKind::Closed => "closed",
        }
    }
}

/// What happened, in one line without its time; `None` for what interests nobody who was not there.
pub fn words(event: &Event, state: &State) -> Option<String> {
    let (verb, rest) = match event {
        Event::AlertBegan { key, value, .. } => {
            ("began", format!("{}  {}", key.series, number(*value)))
        }
        Event::AlertCalmed { key } => ("calmed", key.series.clone()),
        Event::AlertFired { key, value, .. } => {
            let condition = state
                .open_incident(&key.rule)
                .map(|i| format!(" ({})", i.about.condition))
                .unwrap_or_default();
            (
                "fired",
                format!("{}  {}{condition}", key.series, number(*value)),
            )
        }
        Event::AlertKept { key } => ("kept", format!("{}  still firing for a while", key.series)),
        Event::AlertAgain { key } => ("again", key.series.clone()),
        Event::AlertLost { key, ended } => {
            let what = if *ended { "has ended" } else { "no data" };
            ("lost", format!("{}  {what}", key.series))
        }
        Event::AlertHeard { key } => ("heard", format!("{}  data again", key.series)),
        Event::AlertResolved { key, cause, value } => ("resolved", resolved(key, *cause, *value)),
        Event::IncidentOpened { id, about, .. } => ("opened", format!("#{id} {}", about.name)),
        Event::IncidentClosed { id, cause } => (
            "closed",
            format!("#{id} {}: {}", name(state, *id), cause.words()),
        ),
        Event::IncidentAcked { id, by, note } => {
            ("acked", format!("#{id} by {by}{}", after_colon(note)))
        }
        Event::PageQueued { page, fallback_for } => (
            "page",
            format!(
                "#{} {} \"{}\"{}",
                page.incident,
                page.receiver,
                page.title(),
                if fallback_for.is_some() {
                    "  as the fallback"
                } else {
                    ""
                }
            ),
        ),
        Event::PageTried { .. } => return None,
        Event::PageJudged {
            key,
            attempt,
            verdict,
            next,
        } => {
            let to = addressee(key, state);
            match (verdict, next) {
                (Verdict::Done, _) => ("told", to),
                (Verdict::Retry { why, .. } | Verdict::Unknown { why }, Some(_)) => {
                    ("retry", format!("{to}  attempt {attempt}: {why}"))
                }
                (Verdict::Retry { why, .. } | Verdict::Unknown { why }, None) => {
                    ("gave up", format!("{to}  attempt {attempt}: {why}"))
                }
                (Verdict::Refused { why }, _) => ("refused", format!("{to}  {why}")),
            }
        }
        Event::PageDropped { key, why } => ("dropped", format!("{}  {why}", addressee(key, state))),
        Event::PageHeld { incident, why } => ("held", format!("#{incident} {why}")),
        Event::PageReleased { incident } => ("released", format!("#{incident}")),
        Event::Silenced { silence } => (
            "silenced",
            format!(
                "#{} {} until {} by {}",
                silence.id,
                silence
                    .matchers
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(","),
                silence.until.clock(),
                silence.by
            ),
        ),
        Event::SilenceEnded { id, by } => (
            "unmuted",
            format!(
                "#{id}{}",
                by.as_ref().map(|b| format!(" by {b}")).unwrap_or_default()
            ),
        ),
        Event::HealClaimed { run } => (
            "run",
            format!(
                "#{} {} for {}, attempt {}",
                run.incident, run.script, run.target, run.attempt
            ),
        ),
        Event::HealHeld {
            incident,
            target,
            why,
        } => ("no run", format!("#{incident} {target}: {why}")),
        Event::HealExited { run, end, took, .. } => (
            "exited",
            format!("{} {} in {}", script(state, run), end.words(), took.human()),
        ),
        Event::HealVerifying {
            run,
            good_since: Some(_),
        } => ("verify", format!("{} looks good", script(state, run))),
        Event::HealVerifying {
            run,
            good_since: None,
        } => ("verify", format!("{} looks bad again", script(state, run))),
        Event::HealClosed { run, outcome, why } => (
            "heal",
            format!(
                "{} {}{}",
                script(state, run),
                outcome.words(),
                after_colon(why.as_deref().unwrap_or_default())
            ),
        ),
        Event::HealExhausted {
            incident,
            target,
            why,
        } => ("no heal", format!("#{incident} {target}: {why}")),
        Event::HealSwitched { on, by, reason } => (
            "switch",
            format!(
                "heals {} by {by}{}",
                if *on { "on" } else { "off" },
                after_colon(reason)
            ),
        ),
        Event::PolicyChanged { rules, broken } => (
            "policy",
            if broken.is_empty() {
                format!("{rules} rules")
            } else {
                format!("{rules} rules; broken: {}", broken.join(", "))
            },
        ),
        Event::Watching { .. } => return None,
        Event::RuleBlind { name, selector, .. } => (
            "blind",
            format!("{name}  nothing fits {selector}, for 10 minutes"),
        ),
        Event::RuleSees { rule } => ("sees", format!("{}  data again, or gone", rule.0)),
        Event::SlotsSkipped { from, to, why } => (
            "skipped",
            format!("{} to {}: {why}", from.clock(), to.clock()),
        ),
        Event::ClockFollowed { ahead_ms } => (
            "clock",
            format!(
                "the wall clock is {} {}: followed",
                Duration::from_ms(ahead_ms.unsigned_abs()).human(),
                if *ahead_ms < 0 { "behind" } else { "ahead" }
            ),
        ),
        Event::OwnBegan { what, about, text } => {
            ("ailing", format!("{}  {text}", own(*what, about)))
        }
        Event::OwnEnded { what, about } => ("well", own(*what, about)),
    };
    Some(format!("{verb:<9} {rest}").trim_end().to_owned())
}

/// The three lines that a terminal shows: something fires, something was run, it is over.
pub fn banner(event: &Event, state: &State) -> Option<String> {
    let (verb, what, then) = match event {
        Event::IncidentOpened { id, .. } => {
            let incident = state.incidents.get(id)?;
            let own = incident
                .alerts
                .values()
                .next()
                .filter(|_| incident.about.metric.is_empty());
            let first = incident
                .alerts
                .values()
                .next()
                .map_or(0.0, |m| m.alert.value);
            let (metric, unit) = (&incident.about.metric, unit(&incident.about.metric));
            let threshold = incident
                .about
                .threshold
                .map_or_else(String::new, |t| format!(" (threshold {t})"));
            let then = match (&incident.held, incident.paged_at) {
                (_, Some(_)) => format!("paging {}", incident.about.notify.join(", ")),
                (Some(why), None) => format!("not paging: {why}"),
                (None, None) => "not paging".to_owned(),
            };
            let what = match own {
                Some(m) => format!(
                    "{}: {}",
                    incident.about.name,
                    m.alert.annotations.get("summary")
                ),
                None => format!("{metric} {}{unit}{threshold}", short(first)),
            };
            ("ALERT", what, then)
        }
        Event::HealExited { run, end, took, .. } => (
            "EXEC",
            script(state, run),
            format!("{} in {}", end.words(), took.human()),
        ),
        Event::IncidentClosed { id, cause } => {
            let incident = state.incidents.get(id)?;
            let metric = match incident.about.metric.as_str() {
                "" => &incident.about.name,
                _ => &incident.about.metric,
            };
            let last = incident.alerts.values().max_by_key(|m| m.resolved_at);
            let back = match (cause, last) {
                (Cause::Recovered, Some(m)) if !incident.about.metric.is_empty() => {
                    format!("{metric} back to {}{}", short(m.alert.value), unit(metric))
                }
                _ => format!("{metric} {}", cause.words()),
            };
            ("ALERT_RESOLVED", back, healed_by(incident, state))
        }
        _ => return None,
    };
    Some(
        format!("{verb:<15} {what:<41} {then}")
            .trim_end()
            .to_owned(),
    )
}

/// The script that healed an incident, as far as is known when it closes.
fn healed_by(incident: &Incident, state: &State) -> String {
    state
        .heals
        .values()
        .filter(|h| h.run.incident == incident.id)
        .filter(|h| match (&h.ended, &h.closed) {
            (_, Some((_, outcome))) => *outcome == Outcome::Healed,
            (Some(ended), None) => ended.end.words() == "success",
            (None, None) => false,
        })
        .max_by_key(|h| h.claimed_at)
        .map(|h| format!("healed by {}", base(&h.run.script)))
        .unwrap_or_default()
}

fn own(what: Own, about: &str) -> String {
    format!("{} {about}", what.name()).trim_end().to_owned()
}

fn resolved(key: &AlertKey, cause: Cause, value: Option<f64>) -> String {
    match value {
        Some(v) => format!("{}  {}", key.series, number(v)),
        None => format!("{}  {}", key.series, cause.words()),
    }
}

fn name(state: &State, id: u64) -> &str {
    state.incidents.get(&id).map_or("", |i| &i.about.name)
}

fn script(state: &State, run: &str) -> String {
    state
        .heals
        .get(run)
        .map_or_else(|| run.to_owned(), |h| base(&h.run.script).to_owned())
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn unit(metric: &str) -> &'static str {
    if metric.ends_with("_ms") { " ms" } else { "" }
}

/// For a glance: whole numbers from 100 up.
fn short(value: f64) -> String {
    if (100.0..1e15).contains(&value.abs()) {
        format!("{value:.0}")
    } else {
        number(value)
    }
}

/// At most three digits after the point; the very small and the very great by their exponent.
pub(in crate::engine) fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 1e15 || (size < 1e-3 && size > 0.0) {
        return format!("{value:.3e}");
    }
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn after_colon(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!(": {text}")
    }
}

/// `#1 oncall opened`: the key of a page that is no longer in the outbox still says whom it was for.
fn addressee(key: &str, state: &State) -> String {
    let mut parts = key.split('-').skip(2);
    let (id, kind) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let hash = parts.nth(1).unwrap_or("");
    let incident = id.parse().ok().and_then(|id| state.incidents.get(&id));
    let receiver = state.outbox.get(key).map(|o| o.page.receiver.as_str());
    let named = incident.and_then(|i| {
        i.about
            .notify
            .iter()
            .chain(i.told.keys())
            .find(|r| format!("{:016x}", xxh3_64(r.as_bytes())) == hash)
    });
    let to = match (receiver, named) {
        (Some(r), _) => r.to_owned(),
        (None, Some(r)) if key.ends_with("-fallback") => format!("fallback for {r}"),
        (None, Some(r)) => r.clone(),
        (None, None) => "?".to_owned(),
    };
    let kind = match kind {
        "healfailed" => "heal failed",
        other => other,
    };
    format!("#{id} {to} {kind}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::model::time::Timestamp;

    fn state(json: serde_json::Value) -> State {
        let mut whole = serde_json::to_value(Engine::default().view().state).unwrap();
        for (name, part) in json.as_object().unwrap() {
            whole[name] = part.clone();
        }
        serde_json::from_value(whole).unwrap()
    }

    fn check(event: serde_json::Value, state: &State, expected: &str) {
        let event: Event = serde_json::from_value(event).unwrap();
        assert_eq!(banner(&event, state).as_deref(), Some(expected));
    }

    fn lab(value: f64) -> State {
        let about = serde_json::json!({"name": "slow", "metric": "county_api_ms", "condition": "avg > 1000 over 3m",
            "threshold": 1000.0, "runbook": null, "notify": ["oncall@opm.gov", "pager_duty"], "silence_window": null});
        let alert = serde_json::json!({"labels": {}, "annotations": {}, "phase": {"is": "firing"}, "since": 0,
            "value": value, "lost_since": null});
        let incident = serde_json::json!({"id": 1, "rule": "a", "about": about, "opened_at": 0, "closed": null,
            "acked": null, "alerts": {"county_api_ms": {"alert": alert, "resolved_at": null, "cause": null, "told": true}},
            "told": {}, "paged_at": 0, "held": null, "silence_told": false, "plans": {}});
        let run = serde_json::json!({"id": "r", "incident": 1, "target": "slow", "group": "g", "step": 0, "attempt": 1,
            "script": "scripts/rollback_docket_rule.sh", "args": [], "timeout": 1000, "rule": "slow", "labels": {},
            "value": 1580.0, "threshold": null, "fired_at": 0, "runbook": null});
        let heal = serde_json::json!({"run": run, "claimed_at": 0, "good_since": null, "closed": null,
            "ended": {"at": 400, "end": {"how": "exited", "code": 0}, "took": 400, "output": ""}});
        state(serde_json::json!({"incidents": {"1": incident}, "heals": {"r": heal}}))
    }

    #[test]
    fn a_terminal_shows_three_lines() {
        let about = lab(1580.0).incidents[&1].about.clone();
        check(
            serde_json::json!({"type": "incident_opened", "id": 1, "rule": "a", "about": about}),
            &lab(1580.0),
            "ALERT           county_api_ms 1580 ms (threshold 1000)    paging oncall@opm.gov, pager_duty",
        );
        check(
            serde_json::json!({"type": "heal_exited", "run": "r", "end": {"how": "exited", "code": 0}, "took": 400, "output": ""}),
            &lab(1580.0),
            "EXEC            rollback_docket_rule.sh                   success in 0.4 s",
        );
        check(
            serde_json::json!({"type": "incident_closed", "id": 1, "cause": "recovered"}),
            &lab(112.0),
            "ALERT_RESOLVED  county_api_ms back to 112 ms              healed by rollback_docket_rule.sh",
        );
    }

    #[test]
    fn an_entry_without_a_state_still_reads() {
        let judged = Event::PageJudged {
            key: "ops-0-1-opened-0-00".to_owned(),
            attempt: 1,
            verdict: Verdict::Done,
            next: Some(Timestamp::default()),
        };
        assert_eq!(
            words(&judged, &State::default()).as_deref(),
            Some("told      #1 ? opened")
        );
    }
}
