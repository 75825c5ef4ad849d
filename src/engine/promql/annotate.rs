//! What an evaluation remarks on, in Prometheus' words: warnings and infos, each with the place of what caused it.
//!
//! Equal remarks are one; its place is that of the part that is evaluated first.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::promql::number::{quoted, shortest};
use crate::engine::promql::parse::Place;

/// Where a remark comes from: the part's place in the order of evaluation, and its first byte in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Origin {
    /// Parts with smaller numbers are evaluated first.
    pub order: u32,
    /// Byte of the expression's text.
    pub at: u32,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Grade {
    Warning,
    Info,
}

/// What histograms were combined for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deed {
    Addition,
    Subtraction,
    Aggregation,
}

impl Deed {
    fn name(self) -> &'static str {
        match self {
            Deed::Addition => "addition",
            Deed::Subtraction => "subtraction",
            Deed::Aggregation => "aggregation",
        }
    }
}

/// How far the buckets of a histogram had to be bent to be monotonic, over all its evaluations.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bent {
    /// Bounds of the lowest and of the highest bucket concerned.
    pub buckets: (f64, f64),
    /// The largest difference.
    pub diff: f64,
    /// First and last time, milliseconds.
    pub times: (i64, i64),
    /// How many evaluations.
    pub count: u64,
}

/// The remarks of an evaluation.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    said: BTreeMap<(Grade, String), (Origin, Option<Bent>)>,
    extremes: BTreeMap<(Origin, Param), Extremes>,
}

/// Scalars that must lie between two bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Param {
    Quantile,
    Ratio,
}

/// The values of a scalar that are out of bounds.
#[derive(Clone, Copy, Debug)]
struct Extremes {
    most: f64,
    least: f64,
    nan: bool,
}

impl Default for Extremes {
    fn default() -> Self {
        Self {
            most: f64::NEG_INFINITY,
            least: f64::INFINITY,
            nan: false,
        }
    }
}

impl Extremes {
    fn see(&mut self, v: f64) {
        self.most = self.most.max(v);
        self.least = self.least.min(v);
        self.nan |= v.is_nan();
    }
}

impl Notes {
    pub(super) fn clear(&mut self) {
        self.said.clear();
        self.extremes.clear();
    }
    fn add(&mut self, grade: Grade, from: Origin, text: String) {
        let (first, _) = self.said.entry((grade, text)).or_insert((from, None));
        *first = (*first).min(from);
    }
    fn warn(&mut self, from: Origin, text: String) {
        self.add(Grade::Warning, from, text);
    }
    fn info(&mut self, from: Origin, text: String) {
        self.add(Grade::Info, from, text);
    }

    pub(super) fn quantile(&mut self, from: Origin, q: f64) {
        self.warn(
            from,
            format!(
                "quantile value should be between 0 and 1, got {}",
                shortest(q)
            ),
        );
    }
    /// Judges the scalar of `quantile`: of all steps of a query the largest and the smallest are told.
    pub(super) fn quantile_of_aggregation(&mut self, from: Origin, q: f64) {
        if q.is_nan() || !(0.0..=1.0).contains(&q) {
            self.extremes
                .entry((from, Param::Quantile))
                .or_default()
                .see(q);
        }
    }
    /// The same for that of `limit_ratio`.
    pub(super) fn ratio(&mut self, from: Origin, ratio: f64) {
        if !(-1.0..=1.0).contains(&ratio) {
            self.extremes
                .entry((from, Param::Ratio))
                .or_default()
                .see(ratio);
        }
    }
    pub(super) fn bad_bucket(&mut self, from: Origin, metric: &str, label: &str) {
        let text = format!(
            "bucket label \"le\" is missing or has a malformed value of {}",
            quoted(label)
        );
        self.warn(from, of_metric(text, metric));
    }
    pub(super) fn mixed_floats(&mut self, from: Origin, metric: &str) {
        self.warn(
            from,
            format!(
                "encountered a mix of histograms and floats for metric name {}",
                quoted(metric)
            ),
        );
    }
    pub(super) fn mixed_floats_in_aggregation(&mut self, from: Origin) {
        self.warn(
            from,
            "encountered a mix of histograms and floats for aggregation".to_owned(),
        );
    }
    pub(super) fn mixed_classic(&mut self, from: Origin, metric: &str) {
        let text = "vector contains a mix of classic and native histograms".to_owned();
        self.warn(from, of_metric(text, metric));
    }
    pub(super) fn not_counter(&mut self, from: Origin, metric: &str) {
        self.warn(
            from,
            format!(
                "this native histogram metric is not a counter: {}",
                quoted(metric)
            ),
        );
    }
    pub(super) fn not_gauge(&mut self, from: Origin, metric: &str) {
        self.warn(
            from,
            format!(
                "this native histogram metric is not a gauge: {}",
                quoted(metric)
            ),
        );
    }
    pub(super) fn mixed_schemas(&mut self, from: Origin, metric: &str) {
        self.warn(
            from,
            format!(
                "vector contains a mix of histograms with exponential and custom buckets schemas for metric name {}",
                quoted(metric)
            ),
        );
    }
    pub(super) fn incompatible_layout(&mut self, from: Origin, operator: &str) {
        self.warn(
            from,
            format!("incompatible bucket layout encountered for binary operator {operator}"),
        );
    }
    pub(super) fn sort_in_range(&mut self, from: Origin) {
        self.warn(
            from,
            "sort is ineffective for range queries since results are always ordered by labels"
                .to_owned(),
        );
    }
    pub(super) fn reset_collision(&mut self, from: Origin, deed: Deed) {
        self.warn(
            from,
            format!(
                "conflicting counter resets during histogram {}",
                deed.name()
            ),
        );
    }
    pub(super) fn start_overlap(&mut self, from: Origin, metric: &str) {
        self.warn(
            from,
            format!(
                "sample has start time that overlaps with previous sample timestamp for metric {}",
                quoted(metric)
            ),
        );
    }
    pub(super) fn maybe_no_counter(&mut self, from: Origin, metric: &str) {
        self.info(
            from,
            format!(
                "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {}",
                quoted(metric)
            ),
        );
    }
    pub(super) fn maybe_no_counter_type(&mut self, from: Origin, metric: &str, kind: &str) {
        self.info(
            from,
            format!(
                "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", got {}: {}",
                quoted(kind),
                quoted(metric)
            ),
        );
    }
    pub(super) fn forced_monotonic(&mut self, from: Origin, metric: &str, bent: Bent) {
        let text = "input to histogram_quantile needed to be fixed for monotonicity (see \
                    https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"
            .to_owned();
        let (first, all) = self
            .said
            .entry((Grade::Info, of_metric(text, metric)))
            .or_insert((from, None));
        *first = (*first).min(from);
        let merged = match *all {
            None => bent,
            Some(old) => Bent {
                buckets: (
                    old.buckets.0.min(bent.buckets.0),
                    old.buckets.1.max(bent.buckets.1),
                ),
                diff: old.diff.max(bent.diff),
                times: (old.times.0.min(bent.times.0), old.times.1.max(bent.times.1)),
                count: old.count + bent.count,
            },
        };
        *all = Some(merged);
    }
    pub(super) fn incompatible_types(
        &mut self,
        from: Origin,
        left: &str,
        operator: &str,
        right: &str,
    ) {
        self.info(
            from,
            format!(
                "incompatible sample types encountered for binary operator {}: {left} {operator} {right}",
                quoted(operator)
            ),
        );
    }
    pub(super) fn ignored_in_aggregation(&mut self, from: Origin, aggregation: &str) {
        self.info(
            from,
            format!("ignored histogram in {aggregation} aggregation"),
        );
    }
    pub(super) fn ignored_in_range(&mut self, from: Origin, metric: &str) {
        self.info(
            from,
            format!(
                "ignored histograms in a range containing both floats and histograms for metric name {}",
                quoted(metric)
            ),
        );
    }
    pub(super) fn nan_result(&mut self, from: Origin, metric: &str) {
        let text = "input to histogram_quantile has NaN observations, result is NaN".to_owned();
        self.info(from, of_metric(text, metric));
    }
    pub(super) fn nan_skew(&mut self, from: Origin, metric: &str) {
        let text =
            "input to histogram_quantile has NaN observations, result is skewed higher".to_owned();
        self.info(from, of_metric(text, metric));
    }
    pub(super) fn nan_fraction(&mut self, from: Origin, metric: &str) {
        let text = "input to histogram_fraction has NaN observations, which are excluded from all fractions"
            .to_owned();
        self.info(from, of_metric(text, metric));
    }
    pub(super) fn reconciled(&mut self, from: Origin, deed: Deed) {
        self.info(
            from,
            format!(
                "mismatched custom buckets were reconciled during {}",
                deed.name()
            ),
        );
    }

    /// Says which scalars were out of bounds.
    fn tell_extremes(&mut self) {
        for ((from, param), all) in std::mem::take(&mut self.extremes) {
            match param {
                Param::Quantile => {
                    let values = [
                        all.nan.then_some(f64::NAN),
                        (all.most > 1.0).then_some(all.most),
                        (all.least < 0.0).then_some(all.least),
                    ];
                    values
                        .into_iter()
                        .flatten()
                        .for_each(|q| self.quantile(from, q));
                }
                Param::Ratio => {
                    for (ratio, bound) in [(all.most, 1.0), (all.least, -1.0)] {
                        if ratio.abs() > 1.0 && ratio.is_sign_positive() == (bound > 0.0) {
                            self.warn(
                                from,
                                format!(
                                    "ratio value should be between -1 and 1, got {}, capping to {bound}",
                                    shortest(ratio)
                                ),
                            );
                        }
                    }
                }
            }
        }
    }

    /// The warnings and the infos, with their places in `text`.
    pub(super) fn told(&self, text: Option<&str>) -> (BTreeSet<String>, BTreeSet<String>) {
        let mut all = self.clone();
        all.tell_extremes();
        let (mut warnings, mut infos) = (BTreeSet::new(), BTreeSet::new());
        for ((grade, said), (from, bent)) in &all.said {
            let more = bent.as_ref().map(bending).unwrap_or_default();
            let at = from.at as usize;
            // Without the text it is taken to be one line.
            let place = text.map_or(
                Place {
                    line: 1,
                    column: at + 1,
                },
                |t| Place::of(t, at),
            );
            match grade {
                Grade::Warning => {
                    warnings.insert(format!("PromQL warning: {said}{more} ({place})"))
                }
                Grade::Info => infos.insert(format!("PromQL info: {said}{more} ({place})")),
            };
        }
        (warnings, infos)
    }
}

fn of_metric(text: String, metric: &str) -> String {
    if metric.is_empty() {
        text
    } else {
        format!("{text} for metric name {}", quoted(metric))
    }
}

fn bending(bent: &Bent) -> String {
    let time = |ms: i64| crate::engine::promql::functions::date::rfc3339(ms.div_euclid(1_000));
    format!(
        ", from buckets {} to {}, with a max diff of {}, over {} samples from {} to {}",
        shortest(bent.buckets.0),
        shortest(bent.buckets.1),
        two_digits(bent.diff),
        bent.count,
        time(bent.times.0),
        time(bent.times.1)
    )
}

/// `%.2g`
fn two_digits(value: f64) -> String {
    let rounded: f64 = format!("{value:.1e}").parse().unwrap_or(value);
    let exponent = rounded.abs().log10().floor();
    if rounded == 0.0 || (-4.0..2.0).contains(&exponent) {
        return shortest(rounded);
    }
    let text = format!("{rounded:e}");
    match text.split_once('e') {
        Some((mantissa, power)) => match power.parse::<i32>() {
            Ok(p) => format!("{mantissa}e{}{:02}", if p < 0 { '-' } else { '+' }, p.abs()),
            Err(_) => text,
        },
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_remarks_are_one_at_the_first_place() {
        let mut notes = Notes::default();
        notes.not_gauge(Origin { order: 5, at: 9 }, "m");
        notes.not_gauge(Origin { order: 2, at: 14 }, "m");
        notes.ratio(Origin { order: 0, at: 1 }, -1.1);
        let (warnings, infos) = notes.told(Some("sum(\n  rate(m))"));
        assert!(infos.is_empty());
        assert_eq!(
            warnings.into_iter().collect::<Vec<_>>(),
            [
                "PromQL warning: ratio value should be between -1 and 1, got -1.1, capping to -1 (1:2)",
                "PromQL warning: this native histogram metric is not a gauge: \"m\" (2:10)",
            ]
        );
    }

    #[test]
    fn bent_histograms_are_told_together() {
        let mut notes = Notes::default();
        for (ts, diff) in [(1_700_000_000_000, 0.0123), (1_700_000_001_000, 0.002)] {
            let bent = Bent {
                buckets: (0.5, 10.0),
                diff,
                times: (ts, ts),
                count: 1,
            };
            notes.forced_monotonic(Origin { order: 0, at: 9 }, "b", bent);
        }
        let (_, infos) = notes.told(None);
        assert_eq!(
            infos.into_iter().next().unwrap(),
            "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile) for metric name \"b\", from buckets 0.5 to 10, with a max diff of 0.012, over 2 samples from 2023-11-14T22:13:20Z to 2023-11-14T22:13:21Z (1:10)"
        );
    }
}
