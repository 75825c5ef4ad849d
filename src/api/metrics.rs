//! `GET /metrics`: ourselves, as Prometheus reads it.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::api::auth::Reader;
use crate::api::reply::stopped;
use crate::api::{Api, Site};
use crate::engine::View;
use crate::engine::intake::Refusal;
use crate::engine::own::Own;
use crate::engine::policy::Policy;
use crate::engine::state::Phase;
use crate::model::written::Severity;
use crate::shell::drive::Untaken;

/// Text under construction: a family is named once, its lines follow.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (i, (label, text)) in labels.iter().enumerate() {
            let quoted = text
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let open = if i == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{open}{label}=\"{quoted}\"");
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.line(name, &[], value);
    }

    fn by(&mut self, name: &str, kind: &str, help: &str, label: &str, counts: &[(&str, u64)]) {
        self.family(name, kind, help);
        for (text, value) in counts {
            self.line(name, &[(label, text)], value);
        }
    }
}

/// What is counted in the engine's state.
struct Counted {
    pending: u64,
    firing: u64,
    kept: u64,
    open: u64,
    outbox: u64,
    silences: u64,
    heals_open: u64,
    heals_closed: BTreeMap<String, u64>,
    heals_on: bool,
    rules: usize,
    blind: usize,
    shed: u64,
    own: Vec<(&'static str, u64)>,
}

impl Counted {
    fn of(view: View<'_>) -> Self {
        let state = view.state;
        let mut heals_closed = BTreeMap::new();
        for (_, outcome) in state.heals.values().filter_map(|h| h.closed) {
            *heals_closed
                .entry(crate::api::incidents::word(&outcome))
                .or_default() += 1;
        }
        let count = |want: fn(&Phase) -> bool| {
            state.alerts.values().filter(|a| want(&a.phase)).count() as u64
        };
        Self {
            pending: count(|p| matches!(p, Phase::Pending)),
            firing: count(|p| matches!(p, Phase::Firing)),
            kept: count(|p| matches!(p, Phase::Kept { .. })),
            open: state.open.len() as u64,
            outbox: state.outbox.len() as u64,
            silences: state.silences.len() as u64,
            heals_open: state.heals.values().filter(|h| h.closed.is_none()).count() as u64,
            heals_closed,
            heals_on: state.switch.on,
            rules: view.policy.map_or(0, Policy::rule_count),
            blind: state.blind.len(),
            shed: view.series.shed_total,
            own: Own::ALL
                .iter()
                .map(|own| (own.name(), state.own_alerts(*own).count() as u64))
                .collect(),
        }
    }
}

/// Everything that is counted.
pub async fn metrics(_: Reader, State(site): State<Site>) -> Response {
    let Some(counted) = site.handle.ask(Counted::of).await else {
        return stopped();
    };
    let mut text = Text::default();
    own(&mut text, &site);
    engine(&mut text, &counted);
    files(&mut text, &site);
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text.0).into_response()
}

fn own(t: &mut Text, api: &Api) {
    let s = &api.handle.status;
    let get = |n: &AtomicU64| n.load(Ordering::Relaxed);
    t.one(
        "ops_samples_total",
        "counter",
        "Samples accepted and durable.",
        get(&s.samples_total),
    );
    let refused = Refusal::ALL.iter().zip(&s.refused_total);
    let mut refused: Vec<(&str, u64)> = refused.map(|((name, _), n)| (*name, get(n))).collect();
    refused.push(("malformed", get(&s.malformed_total)));
    t.by(
        "ops_samples_refused_total",
        "counter",
        "Items refused, by reason.",
        "reason",
        &refused,
    );
    let untaken = Untaken::ALL.iter().zip(&s.untaken_total);
    let untaken: Vec<(&str, u64)> = untaken.map(|((name, _), n)| (*name, get(n))).collect();
    t.by(
        "ops_pushes_refused_total",
        "counter",
        "Pushes of which nothing was taken, by reason; senders try again after busy, unavailable and timeout.",
        "reason",
        &untaken,
    );
    t.one(
        "ops_samples_repeated_total",
        "counter",
        "Items that were known already: sent again with their id, or with the same time and value.",
        get(&s.repeated_total),
    );
    t.one(
        "ops_samples_waiting",
        "gauge",
        "Samples that wait for the disk.",
        s.waiting_samples.load(Ordering::Relaxed),
    );
    t.one(
        "ops_samples_queued",
        "gauge",
        "Samples on their way to the engine.",
        s.queued_samples.load(Ordering::Relaxed),
    );
    let [fine, failed, lost] = &s.scrapes_total;
    t.by(
        "ops_scrapes_total",
        "counter",
        "Scrapes, by what came of them; those not stored are counted twice.",
        "result",
        &[
            ("fine", get(fine)),
            ("failed", get(failed)),
            ("not_stored", get(lost)),
        ],
    );
    t.one(
        "ops_ticks_total",
        "counter",
        "Slots judged.",
        get(&s.ticks_total),
    );
    t.one(
        "ops_ticks_skipped_total",
        "counter",
        "Slots that were not judged because of a stall.",
        get(&s.skipped_total),
    );
    t.one(
        "ops_own_samples_lost_total",
        "counter",
        "Samples of our own (recorded series, ALERTS) that could not be logged: missing after a restart.",
        get(&s.own_lost_total),
    );
    t.one(
        "ops_tick_duration_seconds",
        "gauge",
        "How long the last tick took.",
        get(&s.tick_micros) as f64 / 1e6,
    );
    t.one(
        "ops_series",
        "gauge",
        "Active series.",
        s.series_count.load(Ordering::Relaxed),
    );
    let [accepted, not] = &s.pages_total;
    t.by(
        "ops_pages_total",
        "counter",
        "Attempts to deliver a page, by what came of them.",
        "verdict",
        &[("accepted", get(accepted)), ("not_accepted", get(not))],
    );
    t.by(
        "ops_log_failing",
        "gauge",
        "Whether a log refuses records (1: it does).",
        "log",
        &[
            ("samples", s.samples_refused.why().is_some().into()),
            ("events", s.events_refused.why().is_some().into()),
        ],
    );
    t.one(
        "ops_log_damaged_total",
        "counter",
        "Damaged places that were stepped over.",
        get(&s.damaged_total),
    );
    t.one(
        "ops_clock_skew_seconds",
        "gauge",
        "How far the wall clock is ahead of the engine's.",
        api.handle.clock.skew_ms() as f64 / 1e3,
    );
    t.family("ops_build_info", "gauge", "The version that runs.");
    t.line(
        "ops_build_info",
        &[("version", env!("CARGO_PKG_VERSION"))],
        1,
    );
}

fn engine(t: &mut Text, c: &Counted) {
    t.by(
        "ops_alerts",
        "gauge",
        "Active alerts, by state.",
        "state",
        &[
            ("pending", c.pending),
            ("firing", c.firing),
            ("kept", c.kept),
        ],
    );
    t.one("ops_incidents_open", "gauge", "Open incidents.", c.open);
    t.one("ops_outbox_pages", "gauge", "Pages on their way.", c.outbox);
    t.one(
        "ops_silences",
        "gauge",
        "Silences that have not ended.",
        c.silences,
    );
    t.one(
        "ops_heals_open",
        "gauge",
        "Script runs that are not closed.",
        c.heals_open,
    );
    let closed: Vec<(&str, u64)> = c
        .heals_closed
        .iter()
        .map(|(k, v)| (k.as_str(), *v))
        .collect();
    t.by(
        "ops_heals_closed",
        "gauge",
        "Recently closed script runs that are still remembered, by outcome.",
        "outcome",
        &closed,
    );
    t.one(
        "ops_heals_enabled",
        "gauge",
        "Whether heals may start (1: they may).",
        u8::from(c.heals_on),
    );
    t.one("ops_rules", "gauge", "Rules in force.", c.rules);
    t.one(
        "ops_rules_blind",
        "gauge",
        "Rules that cannot fire, as nothing fits a selector of theirs for 10 minutes.",
        c.blind,
    );
    t.by(
        "ops_own",
        "gauge",
        "What is wrong with ops itself, by alertname: places, files, or 1.",
        "what",
        &c.own,
    );
    t.one(
        "ops_samples_shed_total",
        "counter",
        "Samples dropped because one series had too many.",
        c.shed,
    );
}

/// 1 for each rule file in force, 0 for each broken one, and the settings.
fn files(t: &mut Text, api: &Api) {
    let loaded = api.loaded();
    let mut ok: BTreeMap<&str, u8> = loaded.policy.files().map(|file| (file, 1)).collect();
    ok.extend(loaded.policy.broken.iter().map(|f| (f.as_str(), 0)));
    let settings_broken = loaded.problems.0.iter().any(|(p, _)| {
        p.severity == Severity::Error
            && (p.code.starts_with("OPS-S") || p.file.ends_with("ops.yaml"))
    });
    ok.insert("ops.yaml", u8::from(!settings_broken));
    t.family(
        "ops_config_ok",
        "gauge",
        "Whether the newest version of a file is in force (0: it is broken).",
    );
    for (file, ok) in ok {
        t.line("ops_config_ok", &[("file", file)], ok);
    }
}
