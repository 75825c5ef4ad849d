//! Rules and alerts as Prometheus shows them. Rules over windows are shown as a group for each file.

use axum::extract::State;
use serde_json::{Value, json};

use crate::api::Site;
use crate::api::prom::envelope::{Answered, Failure, success};
use crate::api::prom::params::Params;
use crate::api::prom::written::exponent;
use crate::engine::View;
use crate::engine::event::AlertKey;
use crate::engine::group::RuleRun;
use crate::engine::policy::{GroupRule, Rule};
use crate::engine::state::{Alert, Phase};

/// Which rules are shown.
struct Filter {
    kind: Option<&'static str>,
    names: Vec<String>,
    groups: Vec<String>,
    files: Vec<String>,
    alerts: bool,
}

impl Filter {
    fn has(list: &[String], one: &str) -> bool {
        list.is_empty() || list.iter().any(|l| l == one)
    }
    fn shows(&self, kind: &str, name: &str) -> bool {
        self.kind.is_none_or(|k| k == kind) && Self::has(&self.names, name)
    }
}

/// `/rules`.
pub async fn rules(State(site): State<Site>, params: Params) -> Answered {
    let all = |name| params.all(name).map(str::to_owned).collect();
    let filter = Filter {
        kind: match params.get("type") {
            "" => None,
            "alert" => Some("alerting"),
            "record" => Some("recording"),
            other => {
                return Err(Failure::param(
                    "type",
                    format!("not supported value {other:?}"),
                ));
            }
        },
        names: all("rule_name[]"),
        groups: all("rule_group[]"),
        files: all("file[]"),
        alerts: params.get("exclude_alerts") != "true",
    };
    let groups = site.handle.ask(move |view| groups(view, &filter)).await;
    success(&json!({"groups": groups.ok_or_else(Failure::stopped)?}))
}

fn groups(view: View<'_>, filter: &Filter) -> Vec<Value> {
    let mut shown = Vec::new();
    let mut show = |name: &str, file: &str, head: Value, rules: Vec<Value>| {
        let wanted = Filter::has(&filter.groups, name) && Filter::has(&filter.files, file);
        if wanted && !rules.is_empty() {
            let mut group = head;
            group["name"] = name.into();
            group["file"] = file.into();
            group["evaluationTime"] = 0.into();
            group["rules"] = rules.into();
            shown.push(group);
        }
    };
    for run in &view.book.groups {
        let at = run.slot.map_or_else(never, |t| t.rfc3339());
        let rules = run.group.rules.iter().zip(&run.rules);
        let rules = rules.filter_map(|(rule, run)| match rule {
            GroupRule::Alert(rule) if filter.shows("alerting", &rule.name) => {
                Some(alerting(&view, rule, Some(run), &at, filter))
            }
            GroupRule::Record(r) if filter.shows("recording", &r.name) => Some(json!({
                "name": r.name, "query": r.expr.text, "labels": r.labels, "health": health(Some(run), &at),
                "lastError": run.error.as_deref().unwrap_or(""), "evaluationTime": 0, "lastEvaluation": at,
                "type": "recording",
            })),
            GroupRule::Alert(_) | GroupRule::Record(_) => None,
        });
        let head = json!({"interval": run.group.interval.secs_f64(), "limit": run.group.limit, "lastEvaluation": at});
        show(&run.group.name, &run.group.file, head, rules.collect());
    }
    let at = view.now.rfc3339();
    let mut rest = view.book.rules.as_slice();
    while let Some(first) = rest.first() {
        let same = rest
            .iter()
            .take_while(|r| r.rule.file == first.rule.file)
            .count();
        let (own, others) = rest.split_at(same);
        let rules = own
            .iter()
            .filter(|r| filter.shows("alerting", &r.rule.name));
        let rules = rules.map(|r| alerting(&view, &r.rule, None, &at, filter));
        let head = json!({"interval": 1, "limit": 0, "lastEvaluation": at});
        show(&first.rule.file, &first.rule.file, head, rules.collect());
        rest = others;
    }
    shown
}

fn never() -> String {
    "0001-01-01T00:00:00Z".to_owned()
}

fn health(run: Option<&RuleRun>, at: &str) -> &'static str {
    match run {
        Some(run) if run.error.is_some() => "err",
        Some(_) if at == never() => "unknown",
        Some(_) | None => "ok",
    }
}

fn alerting(
    view: &View<'_>,
    rule: &Rule,
    run: Option<&RuleRun>,
    at: &str,
    filter: &Filter,
) -> Value {
    let from = AlertKey {
        rule: rule.id.clone(),
        series: String::new(),
    };
    let active = view.state.alerts.range(from..);
    let active: Vec<&Alert> = active
        .take_while(|(key, _)| key.rule == rule.id)
        .map(|(_, alert)| alert)
        .collect();
    let state = if active.iter().any(|a| a.is_firing()) {
        "firing"
    } else if active.is_empty() {
        "inactive"
    } else {
        "pending"
    };
    let mut shown = json!({
        "state": state, "name": rule.name, "query": rule.words(), "duration": rule.for_.secs_f64(),
        "keepFiringFor": rule.keep_firing_for.secs_f64(), "labels": rule.labels, "annotations": rule.annotations,
        "health": health(run, at), "evaluationTime": 0, "lastEvaluation": at, "type": "alerting",
        "lastError": run.and_then(|r| r.error.as_deref()).unwrap_or(""), "alerts": [],
    });
    if filter.alerts {
        shown["alerts"] = active.into_iter().map(alert).collect();
    }
    shown
}

fn alert(alert: &Alert) -> Value {
    let mut shown = json!({
        "labels": alert.labels, "annotations": alert.annotations,
        "state": if alert.is_firing() { "firing" } else { "pending" },
        "activeAt": alert.since.rfc3339(), "value": exponent(alert.value),
    });
    if let Phase::Kept { since } = alert.phase {
        shown["keepFiringSince"] = since.rfc3339().into();
    }
    shown
}

/// `/alerts`.
pub async fn alerts(State(site): State<Site>, _: Params) -> Answered {
    let alerts = site
        .handle
        .ask(|view| view.state.alerts.values().map(alert).collect::<Vec<_>>())
        .await;
    success(&json!({"alerts": alerts.ok_or_else(Failure::stopped)?}))
}
