//! Rules and alerts as Prometheus shows them. Rules over windows are shown as a group for each file.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use axum::extract::State;
use serde_json::{Value, json};

use crate::api::Site;
use crate::api::prom::ASK_SERIES;
use crate::api::prom::envelope::{Answered, Failure, success};
use crate::api::prom::find::selectors;
use crate::api::prom::params::Params;
use crate::api::prom::written::{exponent, plain};
use crate::engine::View;
use crate::engine::event::{AlertKey, of_rule};
use crate::engine::policy::{Aggregate, Condition, GroupRule, Rule, RuleId, Test};
use crate::engine::state::{Alert, Phase};
use crate::model::labels::Matcher;
use crate::model::time::{Duration, Timestamp};

/// Active alerts.
type Alerts = BTreeMap<AlertKey, Alert>;

/// A group as the engine has it.
struct Shown {
    name: String,
    file: String,
    interval: Duration,
    limit: usize,
    /// When it was evaluated last.
    at: Option<Timestamp>,
    /// Rules, each with how it is.
    rules: Vec<(GroupRule, Health)>,
}

/// How a rule is.
struct Health {
    /// Why it failed last.
    error: Option<String>,
    /// The selector that nothing fits.
    blind: Option<String>,
}

impl Shown {
    /// What names it in a request for the groups after it.
    fn token(&self) -> String {
        let name = format!("{}\u{0}{}", self.file, self.name);
        format!("{:032x}", xxhash_rust::xxh3::xxh3_128(name.as_bytes()))
    }
}

/// Which rules are shown.
struct Filter {
    alerting: bool,
    recording: bool,
    names: Vec<String>,
    groups: Vec<String>,
    files: Vec<String>,
    labels: Vec<Vec<Matcher>>,
    alerts: bool,
}

/// Which page of the groups is shown.
struct Page {
    /// 0: all.
    limit: usize,
    from: String,
}

fn has(list: &[String], one: &str) -> bool {
    list.is_empty() || list.iter().any(|l| l == one)
}

impl Filter {
    fn read(params: &Params) -> Result<Self, Failure> {
        let all = |name| params.all(name).map(str::to_owned).collect();
        let kind = params.get("type").to_ascii_lowercase();
        if !["", "alert", "record"].contains(&kind.as_str()) {
            return Err(Failure::param(
                "type",
                format!("not supported value {kind:?}"),
            ));
        }
        Ok(Self {
            alerting: kind != "record",
            recording: kind != "alert",
            names: all("rule_name[]"),
            groups: all("rule_group[]"),
            files: all("file[]"),
            labels: selectors(params)?,
            alerts: match params.get("exclude_alerts") {
                "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => true,
                "1" | "t" | "T" | "true" | "TRUE" | "True" => false,
                other => {
                    let why = format!("error converting exclude_alerts: {other:?} is no boolean");
                    return Err(Failure::param("exclude_alerts", why));
                }
            },
        })
    }

    fn takes(&self, rule: &GroupRule) -> bool {
        let (name, labels, wanted) = match rule {
            GroupRule::Alert(r) => (&r.name, &r.labels, self.alerting),
            GroupRule::Record(r) => (&r.name, &r.labels, self.recording),
        };
        let fits =
            |matchers: &Vec<Matcher>| matchers.iter().all(|m| m.matches(labels.get(&m.name)));
        let labelled = self.labels.is_empty() || self.labels.iter().any(fits);
        wanted && labelled && has(&self.names, name)
    }
}

impl Page {
    fn read(params: &Params) -> Result<Self, Failure> {
        let (limit, from) = (params.get("group_limit"), params.get("group_next_token"));
        let limit = match limit {
            "" if from.is_empty() => 0,
            "" => {
                let why = "group_limit needs to be present in order to paginate over the groups";
                return Err(Failure::param("group_next_token", why));
            }
            text => text
                .parse::<usize>()
                .ok()
                .filter(|l| *l > 0)
                .ok_or_else(|| {
                    let why = "group_limit needs to be a valid number greater than 0";
                    Failure::param("group_limit", why)
                })?,
        };
        Ok(Self {
            limit,
            from: from.to_owned(),
        })
    }
}

/// `/rules`.
pub async fn rules(State(site): State<Site>, params: Params) -> Answered {
    let (filter, page) = (Filter::read(&params)?, Page::read(&params)?);
    let tick = site.loaded().settings.tick;
    let tick = tick.unwrap_or(Duration::from_secs(1));
    let all = site.handle.ask(move |view| groups(view, tick)).await;
    let mut groups = all.ok_or_else(Failure::stopped)?;
    groups.sort_by(|a, b| (&a.file, &a.name).cmp(&(&b.file, &b.name)));
    let alerts = active(&site).await?;
    let mut rest = groups.as_slice();
    if !page.from.is_empty() {
        let at = rest.iter().position(|g| g.token() == page.from);
        let at = at.ok_or_else(|| {
            let why = format!(
                "invalid group_next_token '{}'. were rule groups changed?",
                page.from
            );
            Failure::param("group_next_token", why)
        })?;
        rest = rest.split_at(at).1;
    }
    let mut shown = Vec::new();
    let mut next = None;
    for group in rest {
        let Some(value) = self::group(group, &filter, &alerts) else {
            continue;
        };
        if page.limit > 0 && shown.len() == page.limit {
            next = Some(group.token());
            break;
        }
        shown.push(value);
    }
    let mut data = json!({ "groups": shown });
    if let Some(next) = next {
        data["groupNextToken"] = next.into();
    }
    success(&data)
}

/// All groups; the rules over windows of one file are one, evaluated on every tick.
fn groups(view: View<'_>, tick: Duration) -> Vec<Shown> {
    let mut shown = Vec::new();
    let blind = |id: &RuleId| view.state.blind.get(id).map(|b| b.selector.clone());
    for run in &view.book.groups {
        let rules = run.group.rules.iter().zip(&run.rules);
        let rules = rules.zip(run.group.identities());
        shown.push(Shown {
            name: run.group.name.clone(),
            file: run.group.file.clone(),
            interval: if run.group.interval.is_zero() {
                tick
            } else {
                run.group.interval
            },
            limit: run.group.limit,
            at: run.slot,
            rules: rules
                .map(|((r, of), (id, _))| {
                    let health = Health {
                        error: of.error.clone(),
                        blind: blind(&id),
                    };
                    (r.clone(), health)
                })
                .collect(),
        });
    }
    let mut files: BTreeMap<&str, Vec<(GroupRule, Health)>> = BTreeMap::new();
    for window in &view.book.rules {
        let rule = GroupRule::Alert(Arc::clone(&window.rule));
        let file = files.entry(&window.rule.file).or_default();
        let health = Health {
            error: None,
            blind: blind(&window.rule.id),
        };
        file.push((rule, health));
    }
    shown.extend(files.into_iter().map(|(file, rules)| Shown {
        name: file.to_owned(),
        file: file.to_owned(),
        interval: tick,
        limit: 0,
        at: Some(view.now),
        rules,
    }));
    shown
}

/// All active alerts, copied some at a time.
async fn active(site: &Site) -> Result<Alerts, Failure> {
    let mut all = Alerts::new();
    loop {
        let after = match all.last_key_value() {
            Some((key, _)) => Bound::Excluded(key.clone()),
            None => Bound::Unbounded,
        };
        let part = site.handle.ask(move |view| {
            let rest = view.state.alerts.range((after, Bound::Unbounded));
            let some = rest.take(ASK_SERIES).map(|(k, a)| (k.clone(), a.clone()));
            some.collect::<Vec<_>>()
        });
        let part = part.await.ok_or_else(Failure::stopped)?;
        if part.is_empty() {
            return Ok(all);
        }
        all.extend(part);
    }
}

fn written(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), Timestamp::rfc3339)
}

/// A group, unless the filter leaves nothing of it.
fn group(group: &Shown, filter: &Filter, alerts: &Alerts) -> Option<Value> {
    if !has(&filter.groups, &group.name) || !has(&filter.files, &group.file) {
        return None;
    }
    let rules = group.rules.iter().filter(|(rule, _)| filter.takes(rule));
    let rules: Vec<Value> = rules
        .map(|(rule, Health { error, blind })| {
            let mut shown = match rule {
                GroupRule::Alert(rule) => alerting(rule, filter, alerts),
                GroupRule::Record(r) => {
                    let query = r.expr.expr.to_string();
                    json!({"type": "recording", "name": r.name, "query": query, "labels": r.labels})
                }
            };
            shown["health"] = match (error, group.at) {
                (Some(_), _) => "err",
                (None, None) => "unknown",
                (None, Some(_)) => "ok",
            }
            .into();
            if let Some(error) = error {
                shown["lastError"] = error.as_str().into();
            }
            if let Some(selector) = blind {
                shown["blind"] = selector.as_str().into();
            }
            shown["evaluationTime"] = 0.into();
            shown["lastEvaluation"] = written(group.at).into();
            shown
        })
        .collect();
    if rules.is_empty() && !group.rules.is_empty() {
        return None;
    }
    Some(json!({
        "name": group.name, "file": group.file, "interval": group.interval.secs_f64(), "limit": group.limit,
        "evaluationTime": 0, "lastEvaluation": written(group.at), "rules": rules,
    }))
}

fn alerting(rule: &Rule, filter: &Filter, alerts: &Alerts) -> Value {
    let active = of_rule(alerts, &rule.id).map(|(_, alert)| alert);
    let active: Vec<&Alert> = active.collect();
    let state = if active.iter().any(|a| a.is_firing()) {
        "firing"
    } else if active.is_empty() {
        "inactive"
    } else {
        "pending"
    };
    let shown: Vec<Value> = if filter.alerts {
        active.into_iter().map(alert).collect()
    } else {
        Vec::new()
    };
    json!({
        "type": "alerting", "state": state, "name": rule.name, "query": query(rule),
        "duration": rule.for_.secs_f64(), "keepFiringFor": rule.keep_firing_for.secs_f64(),
        "labels": rule.labels, "annotations": rule.annotations, "alerts": shown,
    })
}

/// The expression of a rule; of one over windows the PromQL that asks the same, where there is one.
fn query(rule: &Rule) -> String {
    let test = match &rule.test {
        Test::Expr(test) => return test.expr.expr.to_string(),
        Test::Window(test) => test,
    };
    let Condition::Threshold {
        aggregate,
        compare,
        threshold,
    } = &test.condition
    else {
        return format!("{}: {}", test.selector, rule.words());
    };
    let window = format!("{}[{}]", test.selector, test.window);
    let value = match aggregate {
        Aggregate::P50 => format!("quantile_over_time(0.5, {window})"),
        Aggregate::P90 => format!("quantile_over_time(0.9, {window})"),
        Aggregate::P95 => format!("quantile_over_time(0.95, {window})"),
        Aggregate::P99 => format!("quantile_over_time(0.99, {window})"),
        Aggregate::Rate => format!("rate({window})"),
        Aggregate::Avg
        | Aggregate::Min
        | Aggregate::Max
        | Aggregate::Sum
        | Aggregate::Count
        | Aggregate::Last
        | Aggregate::Stddev => format!("{}_over_time({window})", aggregate.name()),
    };
    format!("{value} {} {}", compare.sign(), plain(*threshold))
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
    let alerts = active(&site).await?;
    let shown: Vec<Value> = alerts.values().map(alert).collect();
    success(&json!({ "alerts": shown }))
}
