//! Rules of a group that have nothing to say, as nearly all of them do: as long as a rule's [`Filter`] finds nothing, neither
//! the rule nor anything else of it is looked at.
//!
//! A rule rests once an evaluation has found nothing, and it has no alert, no series that it recorded and no failure: then
//! an evaluation that finds nothing again changes nothing but for which time it was evaluated, and that is the same for
//! all rules that rest. It is woken by a value that its filter does not rule out, by a series that is new to it, and by an
//! edit.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::engine::promql::settings::Settings;
use crate::engine::promql::{Filter, Workspace};
use crate::engine::series::SeriesSet;
use crate::model::time::Timestamp;

/// The rules of a group that rest.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    /// By place in the group.
    filters: Vec<Option<Filter>>,
    /// For which time they were judged last.
    judged: Option<Timestamp>,
}

impl Quiet {
    /// Whether the rule at a place rests and has nothing to say at a time either.
    #[inline(always)]
    pub fn stays(
        &self,
        place: usize,
        at: Timestamp,
        series: &SeriesSet,
        settings: &Settings,
        room: &mut Workspace,
    ) -> bool {
        let filter = self.filters.get(place).and_then(Option::as_ref);
        filter.is_some_and(|f| f.yields_nothing(at.ms(), series, settings, room))
    }

    /// Ends the rest of the rule at a place; for which time it was judged last, if it did rest.
    pub fn wake(&mut self, place: usize) -> Option<Timestamp> {
        self.filters.get_mut(place)?.take()?;
        self.judged
    }

    /// Ends the rest of all rules; those places come with the time for which they were judged last.
    pub fn wake_all(&mut self) -> impl Iterator<Item = (usize, Timestamp)> {
        let (filters, judged) = (std::mem::take(&mut self.filters), self.judged);
        let resting = filters.into_iter().enumerate().filter(|(_, f)| f.is_some());
        resting.filter_map(move |(place, _)| Some((place, judged?)))
    }

    /// The rule at a place rests from now on.
    pub fn rest(&mut self, place: usize, filter: Filter) {
        if self.filters.len() <= place {
            self.filters.resize(place + 1, None);
        }
        if let Some(resting) = self.filters.get_mut(place) {
            *resting = Some(filter);
        }
    }

    /// All rules that rest have been judged for a time.
    pub fn judged(&mut self, at: Timestamp) {
        self.judged = Some(at);
    }

    /// For which time the rule at a place was judged last, if it rests.
    pub fn last(&self, place: usize) -> Option<Timestamp> {
        self.filters.get(place)?.as_ref()?;
        self.judged
    }
}
