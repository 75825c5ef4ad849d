//! Samples from after a heal only: a source that hides what was there before.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::cell::Cell;

use crate::engine::promql::source::{Point, Samples, Scratch, Source};
use crate::model::labels::{Labels, Matcher};

/// What a source has after a point in time.
pub struct Fresh<'a, S> {
    source: &'a S,
    /// No sample at or before this time is seen, in milliseconds.
    since: i64,
    /// Whether a look at a window that lies wholly before that time is meant, and sees it.
    past: bool,
    /// Whether a series was asked for that is there, but has no sample since.
    behind: Cell<bool>,
}

impl<'a, S: Source> Fresh<'a, S> {
    /// The samples after `since`; `past`: also those of windows that lie wholly before it.
    pub fn new(source: &'a S, since: i64, past: bool) -> Self {
        Self {
            source,
            since,
            past,
            behind: Cell::new(false),
        }
    }
    /// Whether a series that was read has samples before that time, and not yet one after it.
    pub fn is_behind(&self) -> bool {
        self.behind.get()
    }
    fn is_past(&self, upto: i64) -> bool {
        upto <= self.since
    }
    fn miss(&self, series: u32, after: i64, upto: i64) {
        let there = !self.behind.get() && after < self.since;
        let newest = there.then(|| self.source.newest(series, after, upto));
        if newest.flatten().is_some_and(|p| p.is_live()) {
            self.behind.set(true);
        }
    }
}

impl<S: Source> Source for Fresh<'_, S> {
    fn select(&self, matchers: &[Matcher]) -> Vec<u32> {
        self.source.select(matchers)
    }
    fn labels(&self, series: u32) -> Labels {
        self.source.labels(series)
    }
    fn samples<'a>(
        &'a self,
        series: u32,
        after: i64,
        upto: i64,
        scratch: &'a mut Scratch,
    ) -> Samples<'a> {
        if self.is_past(upto) {
            let after = if self.past { after } else { upto };
            return self.source.samples(series, after, upto, scratch);
        }
        let seen = self
            .source
            .samples(series, after.max(self.since), upto, scratch);
        let none = match seen {
            Samples::Floats { times, .. } => times.is_empty(),
            Samples::Mixed(points) => points.is_empty(),
        };
        if none {
            self.miss(series, after, upto);
        }
        seen
    }
    fn newest(&self, series: u32, after: i64, upto: i64) -> Option<Point> {
        if self.is_past(upto) {
            return self
                .source
                .newest(series, after, upto)
                .filter(|_| self.past);
        }
        let seen = self.source.newest(series, after.max(self.since), upto);
        if seen.is_none() {
            self.miss(series, after, upto);
        }
        seen
    }
    fn last_drop(&self, series: u32) -> i64 {
        self.source.last_drop(series)
    }
    fn settled(&self) -> i64 {
        self.source.settled()
    }
}
