//! Entries that are too long for one record of the log.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::engine::event::{Entry, Event};
use crate::model::page::PageKind;

impl Entry {
    /// The entry in parts of about `bytes_max`, cut only where the state so far stands for itself: should a crash leave
    /// the first parts only, the next tick decides the rest anew. `bytes` says how long an event is.
    pub fn parts(&self, bytes_max: usize, bytes: impl Fn(&Event) -> usize) -> Vec<Entry> {
        let mut parts: Vec<Entry> = Vec::new();
        let mut filled = usize::MAX;
        let mut last = None;
        for event in &self.events {
            let more = bytes(event);
            let full = filled.saturating_add(more) > bytes_max && may_begin(last, event);
            // Whole groups are kept together unless one alone would never fit: then it is better cut than not told.
            if parts.is_empty() || full || filled.saturating_add(more) > bytes_max.saturating_mul(3)
            {
                parts.push(Entry {
                    at: self.at,
                    events: Vec::new(),
                });
                filled = 0;
            }
            if let Some(part) = parts.last_mut() {
                part.events.push(event.clone());
            }
            filled += more;
            last = Some(event);
        }
        parts
    }
}

/// Whether what comes before this event may be all that is left.
fn may_begin(last: Option<&Event>, event: &Event) -> bool {
    match event {
        Event::AlertBegan { .. }
        | Event::AlertCalmed { .. }
        | Event::AlertFired { .. }
        | Event::AlertKept { .. }
        | Event::AlertAgain { .. }
        | Event::AlertLost { .. }
        | Event::AlertHeard { .. }
        | Event::AlertResolved { .. }
        | Event::IncidentOpened { .. }
        | Event::IncidentClosed { .. }
        | Event::PageTried { .. } => true,
        // All whom one decision tells, together; and what a closed incident or a failed heal owes, with it.
        Event::PageQueued { page, .. } => {
            let first = !matches!(last, Some(Event::PageQueued { page: p, .. }) if p.incident == page.incident);
            first && !matches!(page.kind, PageKind::Closed | PageKind::HealFailed)
        }
        Event::IncidentAcked { .. }
        | Event::PageJudged { .. }
        | Event::PageDropped { .. }
        | Event::PageHeld { .. }
        | Event::PageReleased { .. }
        | Event::Silenced { .. }
        | Event::SilenceEnded { .. }
        | Event::HealClaimed { .. }
        | Event::HealHeld { .. }
        | Event::HealExited { .. }
        | Event::HealVerifying { .. }
        | Event::HealClosed { .. }
        | Event::HealExhausted { .. }
        | Event::HealSwitched { .. }
        | Event::PolicyChanged { .. }
        | Event::Watching { .. }
        | Event::RuleBlind { .. }
        | Event::RuleSees { .. }
        | Event::SlotsSkipped { .. }
        | Event::OwnBegan { .. }
        | Event::OwnEnded { .. }
        | Event::ClockFollowed { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::event::{AlertKey, Cause};
    use crate::engine::policy::RuleId;
    use crate::model::time::Timestamp;

    fn resolved(n: usize) -> Event {
        Event::AlertResolved {
            key: AlertKey {
                rule: RuleId("a".to_owned()),
                series: n.to_string(),
            },
            cause: Cause::Recovered,
            value: None,
        }
    }

    #[test]
    fn a_long_entry_is_cut_between_edges_and_a_closing_stays_whole() {
        let mut events: Vec<Event> = (0..10).map(resolved).collect();
        events.push(Event::IncidentClosed {
            id: 1,
            cause: Cause::Recovered,
        });
        events.extend((0..3).map(|n| Event::PageReleased { incident: n }));
        let entry = Entry {
            at: Timestamp::from_ms(7),
            events,
        };
        let whole = entry.parts(1_000, |_| 10);
        assert_eq!(whole, std::slice::from_ref(&entry));
        let parts = entry.parts(30, |_| 10);
        let lengths: Vec<usize> = parts.iter().map(|p| p.events.len()).collect();
        assert_eq!(
            lengths,
            [3, 3, 3, 5],
            "what follows the closing is not cut off"
        );
        let joined: Vec<Event> = parts.into_iter().flat_map(|p| p.events).collect();
        assert_eq!(joined, entry.events);
        // A group that would never fit is cut all the same.
        let endless = Entry {
            events: vec![Event::PageReleased { incident: 1 }; 100],
            ..entry
        };
        assert!(
            endless
                .parts(30, |_| 10)
                .iter()
                .all(|p| p.events.len() <= 9)
        );
    }
}
