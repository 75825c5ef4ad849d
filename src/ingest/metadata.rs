//! What senders say of a metric beside its samples: its kind, its meaning, its unit.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::BTreeMap;

/// Metrics that are described; more are not remembered.
pub const DESCRIBED_COUNT_MAX: usize = 20_000;
/// Bytes of a help text or a unit that are kept.
pub const TEXT_BYTES_MAX: usize = 1_024;

/// What kind of metric it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Only grows, or starts again at 0.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts of what fell below some bounds.
    Histogram,
    /// A histogram of what there is now.
    GaugeHistogram,
    /// Quantiles that the sender computed.
    Summary,
    /// Labels that describe something; always 1.
    Info,
    /// One of several states is 1.
    StateSet,
    /// Nobody said.
    #[default]
    Unknown,
}

impl Kind {
    /// All of them, by the names of the field.
    pub const ALL: [(&'static str, Kind); 8] = [
        ("counter", Kind::Counter),
        ("gauge", Kind::Gauge),
        ("histogram", Kind::Histogram),
        ("gaugehistogram", Kind::GaugeHistogram),
        ("summary", Kind::Summary),
        ("info", Kind::Info),
        ("stateset", Kind::StateSet),
        ("unknown", Kind::Unknown),
    ];
    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, k)| *k == self)
            .map_or("unknown", |(name, _)| name)
    }
}

/// What is known of one metric.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    /// Its kind.
    pub kind: Kind,
    /// What it means; empty if nobody said.
    pub help: String,
    /// What it is measured in; empty if nobody said.
    pub unit: String,
}

/// Metrics by name, as they were described last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    by_metric: BTreeMap<String, Described>,
}

impl Metadata {
    /// Changes what is known of a metric; what is one too many is forgotten.
    pub fn describe(&mut self, metric: &str, change: impl FnOnce(&mut Described)) {
        if let Some(known) = self.by_metric.get_mut(metric) {
            change(known);
        } else if self.by_metric.len() < DESCRIBED_COUNT_MAX && metric.len() <= TEXT_BYTES_MAX {
            let mut new = Described::default();
            change(&mut new);
            self.by_metric.insert(metric.to_owned(), new);
        }
    }
    /// Takes over what another one knows.
    pub fn merge(&mut self, newer: Metadata) {
        for (metric, described) in newer.by_metric {
            self.describe(&metric, |known| *known = described);
        }
    }
    /// What is known of a metric.
    pub fn get(&self, metric: &str) -> Option<&Described> {
        self.by_metric.get(metric)
    }
    /// Everything, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Described)> {
        self.by_metric.iter().map(|(n, d)| (n.as_str(), d))
    }
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.by_metric.is_empty()
    }
}

/// A text of bounded length.
pub fn bounded(text: &str) -> String {
    let end = (0..=TEXT_BYTES_MAX.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or("").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_word_counts_and_texts_are_bounded() {
        let mut known = Metadata::default();
        known.describe("up", |d| d.help = bounded(&"é".repeat(600)));
        assert_eq!(known.get("up").unwrap().help.len(), 1_024);
        let mut newer = Metadata::default();
        newer.describe("up", |d| d.kind = Kind::Gauge);
        known.merge(newer);
        assert_eq!(known.get("up").unwrap().kind.name(), "gauge");
        assert_eq!(known.get("up").unwrap().help, "");
    }
}
