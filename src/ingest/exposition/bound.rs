//! The bounds of buckets and quantiles as Prometheus 3 writes them: `le="1"` of one exporter and `le="1.0"` of another
//! are one series.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::borrow::Cow;

use crate::ingest::exposition::Label;
use crate::ingest::exposition::scan::float;
use crate::ingest::metadata::Kind;

/// Writes the bound among the labels of a sample in its one spelling.
pub(super) fn normalize(kind: Kind, labels: &mut [Label<'_>]) {
    let name = match kind {
        Kind::Histogram | Kind::GaugeHistogram => "le",
        Kind::Summary => "quantile",
        Kind::Counter | Kind::Gauge | Kind::Info | Kind::StateSet | Kind::Unknown => return,
    };
    for (_, value) in labels.iter_mut().filter(|(n, _)| n == name) {
        if let Some(bound) = float(value) {
            let spelt = spelt(bound);
            if *value != spelt {
                *value = Cow::Owned(spelt);
            }
        }
    }
}

/// A number as Go's `%g` prints it, with `.0` where it would look like a whole number.
fn spelt(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let exponential = format!("{value:e}");
    let (digits, exponent) = exponential.split_once('e').unwrap_or((&exponential, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = format!("{value}");
    if plain.contains('.') {
        plain
    } else {
        plain + ".0"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_has_one_spelling() {
        for (written, spelt_as) in [
            ("1", "1.0"),
            ("1.", "1.0"),
            ("+1", "1.0"),
            ("-0", "-0.0"),
            ("0.05", "0.05"),
            ("100000", "100000.0"),
            ("1000000", "1e+06"),
            ("1234567.5", "1.2345675e+06"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("1e300", "1e+300"),
            ("inf", "+Inf"),
            ("-Inf", "-Inf"),
            ("nan", "NaN"),
            ("bla", "bla"),
        ] {
            let mut labels = vec![(Cow::Borrowed("le"), Cow::Borrowed(written))];
            normalize(Kind::Histogram, &mut labels);
            assert_eq!(labels[0].1, spelt_as);
        }
        let mut labels = vec![(Cow::Borrowed("le"), Cow::Borrowed("1"))];
        normalize(Kind::Gauge, &mut labels);
        assert_eq!(labels[0].1, "1");
    }
}
