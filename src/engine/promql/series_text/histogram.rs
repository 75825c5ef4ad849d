//! Native histograms as text: `{{schema:0 count:4 sum:5 buckets:[1 2 1]}}`. A key that is left out is zero.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use crate::engine::promql::number::shortest;
use crate::engine::promql::series_text::{Cursor, Items, SeriesTextError, Written};
use crate::model::histogram::{Histogram, Parts, ResetHint, Schema};

impl Cursor<'_> {
    /// Takes a histogram, or many: `{{…}}`, `{{…}}xN`, `{{…}}+{{…}}xN`.
    pub(super) fn histograms(
        &mut self,
        items: &mut Items<Written>,
        buckets: &mut usize,
    ) -> Result<(), SeriesTextError> {
        let at = self.at;
        let (first, mut hint_written) = self.histogram()?;
        let subtract = self.peek("-{{");
        let step = if subtract || self.peek("+{{") {
            self.at += 1;
            let (step, hinted) = self.histogram()?;
            hint_written = hinted;
            Some(step)
        } else {
            None
        };
        let times = self.repeats()?;
        let times = match (&step, times) {
            (Some(_), None) => return Err(self.unexpected("`x` and a number of repetitions")),
            (_, times) => times.unwrap_or(0),
        };
        let mut value = Arc::new(first);
        let written = |value: &Arc<Histogram>| {
            Some(Written::Histogram {
                value: Arc::clone(value),
                hint_written,
            })
        };
        self.push(items, 1, || written(&value))?;
        let Some(step) = step else {
            return self.push(items, times, || written(&value));
        };
        for _ in 0..times {
            let mut next = Histogram::clone(&value);
            let fits = next.schema() <= step.schema();
            let added = if subtract {
                next.sub(&step)
            } else {
                next.add(&step)
            };
            if !fits || added.is_err() {
                return Err(SeriesTextError {
                    at,
                    what: format!(
                        "a histogram with schema {} cannot grow by one with schema {}",
                        value.schema().number(),
                        step.schema().number()
                    ),
                });
            }
            *buckets = buckets.saturating_sub(next.buckets_len() + 8);
            if *buckets == 0 {
                return Err(self.error("the histograms of this line are too large"));
            }
            value = Arc::new(next);
            self.push(items, 1, || written(&value))?;
        }
        Ok(())
    }

    /// Takes one histogram; and whether its reset hint is written.
    pub(super) fn histogram(&mut self) -> Result<(Histogram, bool), SeriesTextError> {
        let start = self.at;
        self.need("{{")?;
        let mut parts = Parts::default();
        let (mut offset, mut negative_offset) = (0, 0);
        let (mut positive, mut negative) = (Vec::new(), Vec::new());
        let mut hint_written = false;
        let mut seen: Vec<&str> = Vec::new();
        loop {
            self.spaces();
            if self.take("}}") {
                break;
            }
            let at = self.at;
            let key = self.take_while(|b| b.is_ascii_lowercase() || b == b'_');
            if seen.contains(&key) {
                return Err(SeriesTextError {
                    at,
                    what: format!("`{key}` is there twice"),
                });
            }
            seen.push(key);
            if !key.is_empty() {
                self.need(":")?;
            }
            match key {
                "schema" => {
                    let at = self.at;
                    let number = self.integer()?;
                    parts.schema = Schema::from_number(number).ok_or_else(|| SeriesTextError {
                        at,
                        what: format!("there is no schema {number}: -4 to 8, or -53"),
                    })?;
                }
                "sum" => parts.sum = self.number()?,
                "count" => parts.count = self.number()?,
                "z_bucket" => parts.zero_count = self.number()?,
                "z_bucket_w" => parts.zero_threshold = self.number()?,
                "custom_values" => parts.bounds = self.numbers()?,
                "buckets" => positive = self.numbers()?,
                "offset" => offset = self.integer()?,
                "n_buckets" => negative = self.numbers()?,
                "n_offset" => negative_offset = self.integer()?,
                "counter_reset_hint" => {
                    parts.hint = self.hint()?;
                    hint_written = true;
                }
                _ => {
                    self.at = at;
                    return Err(self.unexpected("a key of a histogram or `}}`"));
                }
            }
        }
        parts.positive = indexed(offset, positive);
        parts.negative = indexed(negative_offset, negative);
        match Histogram::new(parts) {
            Ok(histogram) => Ok((histogram, hint_written)),
            Err(error) => Err(SeriesTextError {
                at: start,
                what: error.to_string(),
            }),
        }
    }

    fn hint(&mut self) -> Result<ResetHint, SeriesTextError> {
        let at = self.at;
        match self.take_while(|b| b.is_ascii_lowercase() || b == b'_') {
            "unknown" => Ok(ResetHint::Unknown),
            "reset" => Ok(ResetHint::Reset),
            "not_reset" => Ok(ResetHint::NotReset),
            "gauge" => Ok(ResetHint::Gauge),
            _ => Err(SeriesTextError {
                at,
                what: "a hint is `unknown`, `reset`, `not_reset` or `gauge`".to_owned(),
            }),
        }
    }

    fn integer(&mut self) -> Result<i64, SeriesTextError> {
        let at = self.at;
        self.take("-");
        self.take_while(|b| b.is_ascii_digit());
        let text = self.line.get(at..self.at).unwrap_or("");
        text.parse().map_err(|_| SeriesTextError {
            at,
            what: "expected a whole number".to_owned(),
        })
    }

    /// Takes `[1 2 3]`.
    fn numbers(&mut self) -> Result<Vec<f64>, SeriesTextError> {
        self.need("[")?;
        let mut numbers = Vec::new();
        loop {
            self.spaces();
            if self.take("]") {
                return Ok(numbers);
            }
            numbers.push(self.number()?);
        }
    }
}

/// Buckets with the indexes from `first` on. An index that is too large for one is left to the check of all.
fn indexed(first: i64, counts: Vec<f64>) -> Vec<(i32, f64)> {
    let index = |i: i64| i32::try_from(first.saturating_add(i)).unwrap_or(i32::MAX);
    (0..).map(index).zip(counts).collect()
}

/// Empty buckets between two others that are written out, at most.
const GAP_MAX: i32 = 1_000;

/// A histogram in this notation, without its empty buckets at the ends.
pub(super) fn written(histogram: &Histogram) -> String {
    let mut compact = histogram.clone();
    compact.compact();
    let parts = compact.parts();
    let mut keys: Vec<String> = Vec::new();
    if parts.schema != Schema::Exponential(0) {
        keys.push(format!("schema:{}", parts.schema.number()));
    }
    for (key, number) in [
        ("count", parts.count),
        ("sum", parts.sum),
        ("z_bucket", parts.zero_count),
        ("z_bucket_w", parts.zero_threshold),
    ] {
        if number != 0.0 {
            keys.push(format!("{key}:{}", shortest(number)));
        }
    }
    if parts.schema.is_custom() {
        let bounds: Vec<String> = parts.bounds.iter().map(|b| shortest(*b)).collect();
        keys.push(format!("custom_values:[{}]", bounds.join(" ")));
    }
    match parts.hint {
        ResetHint::Unknown => {}
        ResetHint::Reset => keys.push("counter_reset_hint:reset".to_owned()),
        ResetHint::NotReset => keys.push("counter_reset_hint:not_reset".to_owned()),
        ResetHint::Gauge => keys.push("counter_reset_hint:gauge".to_owned()),
    }
    for (offset, key, side) in [
        ("offset", "buckets", &parts.positive),
        ("n_offset", "n_buckets", &parts.negative),
    ] {
        let Some((first, _)) = side.first() else {
            continue;
        };
        if *first != 0 {
            keys.push(format!("{offset}:{first}"));
        }
        let mut counts: Vec<String> = Vec::new();
        let mut next = *first;
        for (index, count) in side {
            let gap = index.saturating_sub(next);
            if gap > GAP_MAX {
                counts.push(format!("({gap} empty)"));
            } else {
                counts.extend((0..gap).map(|_| "0".to_owned()));
            }
            counts.push(shortest(*count));
            next = index.saturating_add(1);
        }
        keys.push(format!("{key}:[{}]", counts.join(" ")));
    }
    format!("{{{{{}}}}}", keys.join(" "))
}
