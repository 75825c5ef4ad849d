//! When to page, repeat, try again, turn to the fallback, and close.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::xxh3_64;

use crate::engine::event::{Event, Silence};
use crate::engine::limits::{
    CLOSING_TTL, JOIN_INTERVAL, PAGE_ALERT_BYTES_MAX, PAGE_ALERTS_MAX, PAGE_BACKOFF_MAX,
    PAGE_BACKOFF_MIN, PAGE_BUDGET, PAGES_IN_FLIGHT_MAX, REPEAT_DEFAULT, SILENT_AFTER,
};
use crate::engine::own::Own;
use crate::engine::rule::value;
use crate::engine::state::{Incident, Member, Outgoing};
use crate::engine::{Effect, Engine};
use crate::model::labels::Labels;
use crate::model::page::{Page, PageAlert, PageKind, Verdict};
use crate::model::time::{Duration, Timestamp};

/// What is to be done about an open incident now.
enum Decision {
    Page(PageKind),
    Hold(String),
    Nothing,
}

impl Silence {
    /// Whether an alert with these labels is muted at `now`.
    pub fn mutes(&self, now: Timestamp, labels: &Labels) -> bool {
        self.from <= now
            && now < self.until
            && self.matchers.iter().all(|m| m.matches(labels.get(&m.name)))
    }
}

impl Engine {
    /// Decides for every open incident whether someone is to be told now, and if not, why not.
    pub(super) fn decide_pages(&mut self) {
        let decisions: Vec<(u64, Decision)> = self
            .state
            .open
            .values()
            .filter_map(|id| self.state.incidents.get(id))
            .map(|i| (i.id, self.decide_page(i)))
            .collect();
        for (id, decision) in decisions {
            let held = self.state.incidents.get(&id).and_then(|i| i.held.clone());
            match decision {
                Decision::Page(kind) => self.queue_pages(id, kind),
                Decision::Hold(why) if held.as_ref() != Some(&why) => {
                    self.emit(Event::PageHeld { incident: id, why })
                }
                Decision::Nothing if held.is_some() => {
                    self.emit(Event::PageReleased { incident: id })
                }
                Decision::Hold(_) | Decision::Nothing => {}
            }
        }
    }

    fn decide_page(&self, incident: &Incident) -> Decision {
        if incident.about.notify.is_empty() {
            return Decision::Hold(match Own::of(&incident.rule) {
                Some(_) => "there is no default receiver: `route.receiver` in ops.yaml".to_owned(),
                None => "the rule names nobody and there is no default receiver".to_owned(),
            });
        }
        // An alert is lost when its window is empty: its series was last heard a window before, unless it has ended.
        let rule = self.book.rule(&incident.rule);
        let window = rule.map_or(Duration::ZERO, |r| r.reach());
        let mut muted_by = BTreeSet::new();
        let (mut loud, mut fresh, mut silent) = (false, false, false);
        for (_, member) in incident
            .alerts
            .iter()
            .filter(|(_, m)| m.resolved_at.is_none())
        {
            let muting = self
                .state
                .silences
                .values()
                .find(|s| s.mutes(self.now, &member.alert.labels));
            match muting {
                Some(silence) => {
                    muted_by.insert(silence.id);
                }
                None => {
                    loud = true;
                    fresh |= !member.told;
                    let heard = if member.alert.ended {
                        Duration::ZERO
                    } else {
                        window
                    };
                    silent |= member
                        .alert
                        .lost_since
                        .is_some_and(|t| self.now.since(t - heard) >= SILENT_AFTER);
                }
            }
        }
        if muted_by.is_empty() && !loud {
            // Nothing fires any more; a script that is still at work keeps it open.
            return Decision::Nothing;
        }
        if !loud {
            let ids: Vec<String> = muted_by.iter().map(|id| format!("#{id}")).collect();
            return Decision::Hold(format!("muted by silence {}", ids.join(", ")));
        }
        let Some(paged_at) = incident.paged_at else {
            return self.decide_first(incident);
        };
        if silent && !incident.silence_told {
            return Decision::Page(PageKind::Silent);
        }
        if let Some(acked) = &incident.acked {
            return Decision::Hold(format!("acknowledged by {}", acked.by));
        }
        let repeat = incident.about.silence_window.unwrap_or(REPEAT_DEFAULT);
        let past = Own::of(&incident.rule).is_some_and(Own::is_past);
        if !past && self.now >= paged_at + repeat {
            return Decision::Page(PageKind::Repeat);
        }
        if fresh && self.now >= paged_at + JOIN_INTERVAL {
            return Decision::Page(PageKind::Joined);
        }
        Decision::Nothing
    }

    fn decide_first(&self, incident: &Incident) -> Decision {
        if let Some(acked) = &incident.acked {
            return Decision::Hold(format!("acknowledged by {}", acked.by));
        }
        if let (Some(window), Some(last)) = (
            incident.about.silence_window,
            self.state.paged.get(&incident.rule),
        ) && *last + window > self.now
        {
            return Decision::Hold(format!(
                "silence window of the rule, until {}",
                *last + window
            ));
        }
        let heal = self
            .book
            .rule(&incident.rule)
            .and_then(|r| r.heal.as_ref().map(|h| (h, r.reach())));
        if let Some((heal, window)) = heal.filter(|(h, _)| h.page_after_heal) {
            let scripts = heal.steps.iter().fold(Duration::ZERO, |sum, s| {
                Duration::from_ms(
                    sum.ms() + s.timeout.ms() + heal.within.max(heal.settle).ms() + heal.hold.ms(),
                )
            });
            let latest = incident.opened_at + scripts + window;
            if self.now < latest {
                return Decision::Hold(format!("the heal has until {latest}"));
            }
        }
        Decision::Page(PageKind::Opened)
    }

    /// Queues a page to everyone whom the rule names.
    pub(super) fn queue_pages(&mut self, id: u64, kind: PageKind) {
        let Some(incident) = self.state.incidents.get(&id) else {
            return;
        };
        let pages: Vec<Page> = incident
            .about
            .notify
            .iter()
            .filter(|receiver| kind != PageKind::Repeat || !self.waits(id, receiver))
            .map(|receiver| self.page(incident, kind, receiver))
            .collect();
        for page in pages {
            self.emit(Event::PageQueued {
                page: Box::new(page),
                fallback_for: None,
            });
        }
    }

    /// Whether a page about the incident is still on its way to the receiver: repeating it would only make a pile.
    fn waits(&self, incident: u64, receiver: &str) -> bool {
        self.state
            .outbox
            .values()
            .any(|o| o.page.incident == incident && o.page.receiver == receiver)
    }

    /// Exactly one closing message to each receiver that was told, or may have been.
    pub(super) fn close_pages(&mut self, id: u64) {
        let waiting: Vec<Outgoing> = self
            .state
            .outbox
            .values()
            .filter(|o| o.page.incident == id && o.page.kind != PageKind::Closed)
            .cloned()
            .collect();
        let Some(incident) = self.state.incidents.get(&id) else {
            return;
        };
        let mut closing: BTreeSet<String> = incident.told.keys().cloned().collect();
        closing.extend(
            waiting
                .iter()
                .filter(|o| o.in_flight || o.maybe_told)
                .map(|o| o.page.receiver.clone()),
        );
        let pages: Vec<Page> = closing
            .iter()
            .map(|receiver| self.page(incident, PageKind::Closed, receiver))
            .collect();
        // That a heal failed is told all the same; it leaves before the end does.
        for out in waiting
            .iter()
            .filter(|o| !o.in_flight && !o.page.kind.is_owed())
        {
            self.emit(Event::PageDropped {
                key: out.page.key.clone(),
                why: "the incident is over".to_owned(),
            });
        }
        for page in pages {
            self.emit(Event::PageQueued {
                page: Box::new(page),
                fallback_for: None,
            });
        }
    }

    fn page(&self, incident: &Incident, kind: PageKind, receiver: &str) -> Page {
        let judged = self.book.window_rule(&incident.rule);
        let value_now = |series: &str| {
            let Some(entry) = judged else {
                return self.book.value(&incident.rule, series);
            };
            let test = entry.test()?;
            let found = entry
                .judges
                .iter()
                .filter(|j| j.active)
                .filter_map(|j| self.series.get(j.series))
                .find(|s| s.key().to_string() == series)?;
            value(
                found.window(self.now - test.window, self.now),
                test.condition.shown(),
            )
        };
        let mut listed: Vec<_> = incident.alerts.iter().collect();
        listed.sort_by_key(|(_, m)| m.resolved_at.is_some());
        let mut bytes = 0;
        let fits = |(place, (_, m)): &(usize, (_, &Member))| {
            let all = m.alert.labels.iter().chain(m.alert.annotations.iter());
            bytes += 100 + all.map(|(n, v)| n.len() + v.len() + 8).sum::<usize>();
            *place == 0 || (*place < PAGE_ALERTS_MAX && bytes <= PAGE_ALERT_BYTES_MAX)
        };
        let alerts: Vec<PageAlert> = listed
            .into_iter()
            .enumerate()
            .take_while(fits)
            .map(|(_, (series, m))| PageAlert {
                labels: m.alert.labels.clone(),
                annotations: m.alert.annotations.clone(),
                since: m.alert.since,
                resolved_at: m.resolved_at,
                value: if m.resolved_at.is_none() && incident.alerts.len() <= 100 {
                    value_now(series).unwrap_or(m.alert.value)
                } else {
                    m.alert.value
                },
            })
            .collect();
        let name = format!("{kind:?}").to_lowercase();
        Page {
            key: format!(
                "ops-{:x}-{}-{name}-{}-{:016x}",
                incident.opened_at.ms(),
                incident.id,
                self.state.pages,
                xxh3_64(receiver.as_bytes())
            ),
            incident: incident.id,
            kind,
            receiver: receiver.to_owned(),
            rule: incident.about.name.clone(),
            metric: incident.about.metric.clone(),
            condition: incident.about.condition.clone(),
            threshold: incident.about.threshold,
            more: incident.alerts.len() - alerts.len(),
            alerts,
            opened_at: incident.opened_at,
            at: self.now,
            over: match (kind, &incident.closed) {
                (PageKind::Closed, Some((_, cause))) => cause.words().to_owned(),
                _ => String::new(),
            },
            runbook: incident.about.runbook.clone(),
            heal: self.heal_words(incident),
            board: match incident.about.metric.as_str() {
                "" => format!("/incidents/{}", incident.id),
                metric => format!("/board/{metric}"),
            },
        }
    }

    /// Sends what is due: the oldest page of each incident and receiver, a bounded number to each receiver at once.
    pub(super) fn send_pages(&mut self) {
        self.turn_to_fallbacks();
        let mut in_flight: BTreeMap<&str, usize> = BTreeMap::new();
        let mut heads: BTreeMap<(u64, &str), &Outgoing> = BTreeMap::new();
        for out in self.state.outbox.values() {
            *in_flight.entry(&out.page.receiver).or_default() += usize::from(out.in_flight);
            let head = heads
                .entry((out.page.incident, &out.page.receiver))
                .or_insert(out);
            if (out.queued_at, out.page.kind) < (head.queued_at, head.page.kind) {
                *head = out;
            }
        }
        let mut due: Vec<&Outgoing> = heads
            .into_values()
            .filter(|o| !o.in_flight && o.next <= self.now)
            .collect();
        due.sort_by_key(|o| o.queued_at);
        let mut sending = Vec::new();
        for out in due {
            let busy = in_flight.entry(&out.page.receiver).or_default();
            if *busy < PAGES_IN_FLIGHT_MAX {
                *busy += 1;
                sending.push((out.page.clone(), out.attempts + 1));
            }
        }
        for (page, attempt) in sending {
            self.emit(Event::PageTried {
                key: page.key.clone(),
                attempt,
            });
            self.behind.push(Effect::Page(Box::new(page), attempt));
        }
    }

    /// Pages that nobody accepted for long go to the fallback as well.
    fn turn_to_fallbacks(&mut self) {
        let Some(policy) = &self.policy else { return };
        let patience = |receiver| policy.fallback_after.get(receiver).copied();
        let late: Vec<Outgoing> = self
            .state
            .outbox
            .values()
            .filter(|o| {
                let most = patience(&o.page.receiver).unwrap_or(PAGE_BUDGET);
                let waited = self.now.since(o.queued_at) >= most;
                waited && !o.fallback_told && !o.in_flight
            })
            .cloned()
            .collect();
        for out in late {
            self.tell_fallback(&out);
        }
    }

    fn tell_fallback(&mut self, out: &Outgoing) {
        let Some(policy) = &self.policy else { return };
        let named = policy
            .fallback
            .get(&out.page.receiver)
            .or(policy.default_receiver.as_ref());
        let Some(receiver) =
            named.filter(|r| **r != out.page.receiver && out.page.kind != PageKind::Closed)
        else {
            return;
        };
        // Who has heard of the end, or is about to, knows by it what was tried: nothing comes after it.
        if self.knows_end(out.page.incident, receiver) {
            return;
        }
        let page = Page {
            key: format!("{}-fallback", out.page.key),
            receiver: receiver.clone(),
            ..out.page.clone()
        };
        self.emit(Event::PageQueued {
            page: Box::new(page),
            fallback_for: Some(out.page.key.clone()),
        });
    }

    /// Takes the verdict of an attempt.
    pub(super) fn delivered(&mut self, key: &str, attempt: u32, verdict: Verdict) {
        let Some(mut out) = self
            .state
            .outbox
            .get(key)
            .filter(|o| o.in_flight && o.attempts == attempt)
            .cloned()
        else {
            return;
        };
        if self.doubtful.remove(key) && verdict != Verdict::Done {
            // This is the answer to the repetition; the first may have been accepted before the engine stopped.
            out.maybe_told = true;
            self.emit(Event::PageJudged {
                key: key.to_owned(),
                attempt,
                verdict: Verdict::Unknown {
                    why: "the engine stopped before the answer came".to_owned(),
                },
                next: Some(self.now),
            });
        }
        let closed = self
            .state
            .incidents
            .get(&out.page.incident)
            .is_none_or(|i| i.closed.is_some());
        let is_end = out.page.kind == PageKind::Closed;
        // Nobody needs to hear any more that it began.
        let over = closed && !out.page.kind.is_owed();
        let given_up = closed && self.now.since(out.queued_at) >= CLOSING_TTL;
        let wait = (1..attempt.min(16)).fold(PAGE_BACKOFF_MIN, |d, _| d.doubled(PAGE_BACKOFF_MAX));
        let next = match &verdict {
            Verdict::Done | Verdict::Refused { .. } => None,
            Verdict::Retry { .. } | Verdict::Unknown { .. } if over || given_up => None,
            Verdict::Retry { after, .. } => Some(self.now + wait.max(after.unwrap_or_default())),
            Verdict::Unknown { .. } => Some(self.now + wait),
        };
        let accepted = verdict == Verdict::Done;
        let refused = matches!(verdict, Verdict::Refused { .. });
        let certain_no = matches!(verdict, Verdict::Retry { .. } | Verdict::Refused { .. });
        self.emit(Event::PageJudged {
            key: key.to_owned(),
            attempt,
            verdict,
            next,
        });
        if refused && !over && !out.fallback_told {
            self.tell_fallback(&out);
        }
        if closed && !is_end && certain_no && next.is_none() && !out.maybe_told {
            self.drop_needless_closing(&out.page);
        }
        let told_late =
            closed && accepted && !is_end && !self.knows_end(out.page.incident, &out.page.receiver);
        if told_late && let Some(incident) = self.state.incidents.get(&out.page.incident) {
            let page = self.page(incident, PageKind::Closed, &out.page.receiver);
            self.emit(Event::PageQueued {
                page: Box::new(page),
                fallback_for: None,
            });
        }
        self.send_pages();
    }

    /// Whether a receiver was told that an incident is over, or will be.
    fn knows_end(&self, incident: u64, receiver: &str) -> bool {
        let told = self.state.incidents.get(&incident);
        told.is_some_and(|i| i.told_end.contains(receiver))
            || self.state.outbox.values().any(|o| {
                (o.page.incident, o.page.receiver.as_str(), o.page.kind)
                    == (incident, receiver, PageKind::Closed)
            })
    }

    /// A receiver that certainly heard nothing of an incident needs no closing message.
    fn drop_needless_closing(&mut self, page: &Page) {
        let told = self
            .state
            .incidents
            .get(&page.incident)
            .is_some_and(|i| i.told.contains_key(&page.receiver));
        let closing = self.state.outbox.values().find(|o| {
            (o.page.incident, &o.page.receiver, o.page.kind)
                == (page.incident, &page.receiver, PageKind::Closed)
        });
        if let Some(closing) = closing.filter(|_| !told) {
            let key = closing.page.key.clone();
            self.emit(Event::PageDropped {
                key,
                why: "nobody was told that it began".to_owned(),
            });
        }
    }

    /// Silences end by themselves.
    pub(super) fn end_silences(&mut self) {
        let ended: Vec<u64> = self
            .state
            .silences
            .values()
            .filter(|s| s.until <= self.now)
            .map(|s| s.id)
            .collect();
        for id in ended {
            self.emit(Event::SilenceEnded { id, by: None });
        }
    }
}
