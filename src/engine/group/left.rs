//! What is not recorded any more: series of recording rules that an edit changed or removed. They end as soon as it is
//! certain that nobody goes on with them; until then a sum would count both what was recorded and what is.
//!
//! A rule's group knows what it recorded before (its *orphans*) and ends that with its next evaluation. Of a group that is
//! gone, perhaps another one goes on with it (*abandoned*): that is waited for. Neither is stored. After a start both are
//! found again among the series of which the sample log says that they are our own.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::BTreeMap;

use crate::engine::Engine;
use crate::engine::echo::OF_ALERTS;
use crate::engine::policy::{Group, GroupRule};
use crate::engine::rule::Book;
use crate::model::time::{Duration, Timestamp};

/// A series that a group recorded that is gone. Perhaps another group goes on with it.
#[derive(Debug)]
pub(in crate::engine) struct Abandoned {
    series: u32,
    /// Its newest sample then.
    last: Option<Timestamp>,
    /// After this it has ended, if nobody went on with it.
    due: Timestamp,
}

impl Engine {
    /// Ends series, of one metric or of all, that were recorded before an edit and are not now.
    pub(super) fn end_orphans(
        &mut self,
        book: &mut Book,
        group: &Group,
        orphans: &mut Vec<u32>,
        slot: Timestamp,
        metric: Option<&str>,
    ) {
        let at = slot - group.query_offset;
        for number in std::mem::take(orphans) {
            let Some(series) = self.series.get(number) else {
                continue;
            };
            if metric.is_some_and(|m| m != series.key().metric()) {
                orphans.push(number);
            } else if series.newest_time().is_some_and(|last| last < at) {
                let key = series.key().clone();
                self.end(book, &key, at);
            }
        }
    }

    /// After replay: what was recorded before is gone on with, or has ended by an edit that nobody had acted on yet.
    pub(in crate::engine) fn recall_recorded(&mut self) {
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, run) in self.book.groups.iter().enumerate() {
            for metric in run.group.rules.iter().filter_map(GroupRule::record) {
                let known = groups.entry(metric).or_default();
                if known.last() != Some(&at) {
                    known.push(at);
                }
            }
        }
        let (mut orphans, mut others) = (Vec::new(), Vec::new());
        for number in &self.recalled {
            let Some(series) = self.series.get(*number) else {
                continue;
            };
            let metric = series.key().metric();
            match groups.get(metric).map(Vec::as_slice) {
                _ if OF_ALERTS.contains(&metric) || series.has_ended() => {}
                Some([one]) => orphans.push((*one, *number)),
                // Nobody can tell whose it was.
                Some(_) | None => others.push(*number),
            }
        }
        for (at, number) in orphans {
            if let Some(run) = self.book.groups.get_mut(at) {
                run.orphans.push(number);
            }
        }
        let intervals = self.book.groups.iter().map(|g| g.group.interval);
        let longest = intervals.max().unwrap_or_default();
        for number in others {
            self.abandon(number, longest);
        }
        self.recalled.clear();
    }

    /// Takes down what groups recorded that are gone.
    pub(in crate::engine) fn abandon(&mut self, series: u32, interval: Duration) {
        let last = self.series.get(series).and_then(|s| s.newest_time());
        self.abandoned.push(Abandoned {
            series,
            last,
            due: self.now + interval,
        });
    }

    /// Ends what groups recorded that are gone, unless another group went on with it.
    pub(in crate::engine) fn end_abandoned(&mut self) {
        if self.abandoned.is_empty() {
            return;
        }
        let mut book = std::mem::take(&mut self.book);
        for left in std::mem::take(&mut self.abandoned) {
            if left.due > self.now {
                self.abandoned.push(left);
                continue;
            }
            let series = self.series.get(left.series);
            let last = series.and_then(|s| Some((s.key().clone(), s.newest_time()?)));
            if let Some((key, last)) = last
                && left.last == Some(last)
                && last < self.now
            {
                self.end(&mut book, &key, self.now);
            }
        }
        self.book = book;
    }
}
