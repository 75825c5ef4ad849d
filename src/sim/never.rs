//! What never is, whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::event::{Cause, Event, Outcome, RunEnd};
use crate::engine::state::State;
use crate::model::page::{Page, PageKind, Verdict};
use crate::model::time::Timestamp;
use crate::sim::world::World;

/// What never is, in one life.
pub fn faults(world: &World) -> Vec<String> {
    let mut faults = world.faults.clone();
    let mut fault = |text: String| faults.push(text);
    let mut state = State::default();
    let mut claimed = BTreeSet::new();
    let mut unstarted = BTreeSet::new();
    let mut refused = BTreeSet::new();
    for entry in &world.entries {
        for event in &entry.events {
            match event {
                Event::AlertResolved {
                    cause: Cause::Recovered,
                    value,
                    key,
                } if value.is_none_or(|v| v > 100.0) => {
                    fault(format!("{key:?} resolved at {value:?}"));
                }
                Event::HealClaimed { run } if !claimed.insert(run.id.clone()) => {
                    fault(format!("{} claimed twice", run.id))
                }
                Event::HealExited {
                    run,
                    end: RunEnd::NotStarted { .. },
                    ..
                } => {
                    unstarted.insert(run.clone());
                }
                Event::PageJudged {
                    key,
                    verdict: Verdict::Refused { .. },
                    ..
                } => {
                    refused.insert(key.clone());
                }
                Event::HealExhausted { incident, .. } => {
                    let open = state.incidents.get(incident).filter(|i| i.closed.is_none());
                    let notify = open.map_or(0, |i| i.about.notify.len());
                    let told = entry.events.iter().filter(|e| {
                        matches!(e, Event::PageQueued { page, .. }
                            if page.incident == *incident && page.kind == PageKind::HealFailed)
                    });
                    if told.count() < notify {
                        fault(format!("#{incident}: a failed heal paged nobody"));
                    }
                }
                Event::HealClosed { run, outcome, .. } if *outcome != Outcome::Healed => {
                    let incident = state.heals[run].run.incident;
                    let open = state.incidents[&incident].closed.is_none()
                        && state.incidents[&incident]
                            .alerts
                            .values()
                            .any(|m| m.resolved_at.is_none());
                    let goes_on = entry.events.iter().any(|e| match e {
                        Event::HealClaimed { run } => run.incident == incident,
                        Event::HealHeld { incident: i, .. }
                        | Event::HealExhausted { incident: i, .. } => *i == incident,
                        _ => false,
                    });
                    let gone = world.engine().view().policy.is_none();
                    if open && !goes_on && !gone {
                        fault(format!("{run} ended badly and nothing followed"));
                    }
                }
                Event::PageQueued {
                    page,
                    fallback_for: None,
                } => faults_of_page(entry.at, page, &state).for_each(&mut fault),
                _ => {}
            }
            state.apply_one(entry.at, event);
        }
    }
    let started: BTreeSet<String> = world.started.iter().map(|r| r.id.clone()).collect();
    let expected: BTreeSet<String> = claimed.difference(&unstarted).cloned().collect();
    if started != expected {
        fault(format!("started {started:?}, claimed {expected:?}"));
    }
    let mut closed: BTreeMap<(u64, &str), u32> = BTreeMap::new();
    for page in &world.accepted {
        let count = closed.entry((page.incident, &page.receiver)).or_default();
        if *count > 0 {
            fault(format!("{} came after the closing message", page.key));
        }
        *count += u32::from(page.kind == PageKind::Closed);
    }
    for ((incident, receiver), count) in closed {
        let over = state.incidents[&incident].closed.is_some();
        let refused = refused
            .iter()
            .any(|k| k.contains(&format!("-{incident}-closed-")));
        if over && count != 1 && !refused {
            fault(format!(
                "{receiver} got {count} closing messages of #{incident}"
            ));
        }
    }
    for (what, left) in [
        ("alerts", state.alerts.len()),
        ("incidents", state.open.len()),
        ("pages", state.outbox.len()),
    ] {
        if left > 0 {
            fault(format!("{left} {what} never end"));
        }
    }
    faults
}

/// A page that was decided although someone has it, or does not want to hear of it.
fn faults_of_page(at: Timestamp, page: &Page, state: &State) -> impl Iterator<Item = String> {
    let incident = &state.incidents[&page.incident];
    let mut firing = incident.alerts.values().filter(|m| m.resolved_at.is_none());
    let muted = firing.all(|m| {
        let labels = &m.alert.labels;
        state.silences.values().any(|s| s.mutes(at, labels))
    });
    let (muted_matters, ack_matters) = match page.kind {
        PageKind::Opened | PageKind::Joined | PageKind::Repeat => (true, true),
        PageKind::Silent => (true, false),
        PageKind::HealFailed | PageKind::Closed => (false, false),
    };
    let over = incident.closed.is_some() && page.kind != PageKind::Closed;
    let faults = [
        (over, "is about what is over"),
        (muted && muted_matters, "is muted"),
        (incident.acked.is_some() && ack_matters, "is acknowledged"),
    ];
    let key = page.key.clone();
    let hit = faults.into_iter().filter(|(hit, _)| *hit);
    hit.map(move |(_, what)| format!("{key} {what}"))
}
