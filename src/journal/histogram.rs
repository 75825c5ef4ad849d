//! A native histogram in bytes.
//!
//! ```text
//! histogram := form:u8 schema zero-threshold:8 zero-count count sum:8 side side n bound:8*n     positive side first
//! side      := n (index-change count)*n
//! count     := whole number << 1  |  1 and 8 bytes
//! ```
//!
//! `form` is the reset hint. A byte that says more is of a later version, and nothing is read then.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use crate::journal::take;
use crate::journal::varint::{fold, get, put, unfold};
use crate::model::histogram::{BUCKETS_MAX, Histogram, Parts, ResetHint, Schema};

/// Hints by their number in `form`.
const HINTS: [ResetHint; 4] = [
    ResetHint::Unknown,
    ResetHint::Reset,
    ResetHint::NotReset,
    ResetHint::Gauge,
];
/// Whole numbers below this are written as such.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// Appends a histogram; it takes no more bytes than [`Histogram::bytes`].
pub(in crate::journal) fn put_histogram(out: &mut Vec<u8>, histogram: &Histogram) {
    let parts = histogram.parts();
    let form = HINTS.iter().position(|h| *h == parts.hint).unwrap_or(0);
    out.push(form as u8);
    put(out, fold(parts.schema.number().into()));
    put_float(out, parts.zero_threshold);
    put_count(out, parts.zero_count);
    put_count(out, parts.count);
    put_float(out, parts.sum);
    for side in [&parts.positive, &parts.negative] {
        put(out, side.len() as u64);
        let mut before = 0;
        for (index, count) in side {
            put(out, fold(i64::from(*index) - i64::from(before)));
            put_count(out, *count);
            before = *index;
        }
    }
    put(out, parts.bounds.len() as u64);
    for bound in &parts.bounds {
        put_float(out, *bound);
    }
}

/// The next histogram of `rest`; `None` if it is none.
pub(in crate::journal) fn take_histogram(rest: &mut &[u8]) -> Option<Histogram> {
    let [form] = take(rest)?;
    let hint = *HINTS.get(usize::from(form))?;
    let schema = Schema::from_number(unfold(get(rest)?))?;
    let (zero_threshold, zero_count) = (float(rest)?, count(rest)?);
    let parts = Parts {
        hint,
        schema,
        zero_threshold,
        zero_count,
        count: count(rest)?,
        sum: float(rest)?,
        positive: side(rest)?,
        negative: side(rest)?,
        bounds: {
            let n = few(rest, 8)?;
            (0..n).map(|_| float(rest)).collect::<Option<_>>()?
        },
    };
    Histogram::new(parts).ok()
}

/// How many things follow, each at least so many bytes long.
fn few(rest: &mut &[u8], bytes_min: usize) -> Option<usize> {
    let n = usize::try_from(get(rest)?).ok()?;
    (n <= BUCKETS_MAX && n <= rest.len() / bytes_min).then_some(n)
}

fn side(rest: &mut &[u8]) -> Option<Vec<(i32, f64)>> {
    let n = few(rest, 2)?;
    let (mut side, mut index) = (Vec::with_capacity(n), 0_i64);
    for _ in 0..n {
        index = index.checked_add(unfold(get(rest)?))?;
        side.push((i32::try_from(index).ok()?, count(rest)?));
    }
    Some(side)
}

fn put_float(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

fn float(rest: &mut &[u8]) -> Option<f64> {
    Some(f64::from_bits(u64::from_le_bytes(take(rest)?)))
}

fn put_count(out: &mut Vec<u8>, value: f64) {
    let whole = value as u64;
    if value < WHOLE_MAX && (whole as f64).to_bits() == value.to_bits() {
        put(out, whole << 1);
    } else {
        out.push(1);
        put_float(out, value);
    }
}

fn count(rest: &mut &[u8]) -> Option<f64> {
    match get(rest)? {
        1 => float(rest),
        odd if odd & 1 == 1 => None,
        even => Some((even >> 1) as f64),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any histogram: whole counts and others, both kinds of schema, every hint.
    pub(crate) fn any_histogram() -> impl Strategy<Value = Histogram> {
        let count = || {
            prop_oneof![
                (0_u32..5_000).prop_map(f64::from),
                any::<f64>(),
                any::<u64>().prop_map(|n| n as f64)
            ]
        };
        let side = move || {
            prop::collection::btree_map(-300_i32..300, count(), 0..30)
                .prop_map(|side| side.into_iter().collect::<Vec<_>>())
        };
        let hint = prop::sample::select(HINTS.to_vec());
        let exponential = (
            (hint.clone(), -4_i64..9, 0.0_f64..1.0),
            (count(), count(), any::<f64>()),
            (side(), side()),
        );
        let exponential = exponential.prop_map(
            |((hint, schema, zero_threshold), (zero_count, count, sum), (positive, negative))| {
                Parts {
                    hint,
                    schema: Schema::from_number(schema).unwrap(),
                    zero_threshold,
                    zero_count,
                    count,
                    sum,
                    positive: positive
                        .into_iter()
                        .filter(|(i, _)| i.abs() <= 128)
                        .collect(),
                    negative: negative
                        .into_iter()
                        .filter(|(i, _)| i.abs() <= 128)
                        .collect(),
                    bounds: Vec::new(),
                }
            },
        );
        let custom = (
            hint,
            prop::collection::btree_set(-1_000_i32..1_000, 0..20),
            prop::collection::vec(count(), 21),
            (count(), any::<f64>()),
        );
        let custom = custom.prop_map(|(hint, bounds, counts, (count, sum))| Parts {
            hint,
            schema: Schema::Custom,
            count,
            sum,
            positive: (0..).zip(counts).take(bounds.len() + 1).collect(),
            bounds: bounds.into_iter().map(|b| f64::from(b) / 8.0).collect(),
            ..Parts::default()
        });
        prop_oneof![exponential, custom].prop_map(|parts| Histogram::new(parts).unwrap())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn what_is_written_reads_back_and_is_no_longer_than_it_says(histogram in any_histogram()) {
            let mut out = Vec::new();
            put_histogram(&mut out, &histogram);
            prop_assert!(out.len() <= histogram.bytes(), "{} bytes", out.len());
            let mut rest = out.as_slice();
            let back = take_histogram(&mut rest).unwrap();
            prop_assert!(rest.is_empty());
            prop_assert_eq!((&back, back.hint()), (&histogram, histogram.hint()));
            prop_assert_eq!(back.digest(), histogram.digest());
            for cut in 0..out.len() {
                prop_assert!(take_histogram(&mut &out[..cut]).is_none());
            }
        }

        #[test]
        fn garbage_is_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = take_histogram(&mut bytes.as_slice());
        }

        #[test]
        fn a_changed_histogram_is_read_or_refused(
            histogram in any_histogram(), at in any::<prop::sample::Index>(), to in any::<u8>(),
        ) {
            let mut out = Vec::new();
            put_histogram(&mut out, &histogram);
            let at = at.index(out.len());
            out[at] = to;
            let _ = take_histogram(&mut out.as_slice());
        }
    }

    #[test]
    fn a_count_of_things_that_cannot_be_there_takes_no_room() {
        let mut out = vec![0, 0];
        put_float(&mut out, 0.0);
        put_count(&mut out, 0.0);
        put_count(&mut out, 0.0);
        put_float(&mut out, 0.0);
        put(&mut out, u64::MAX);
        assert!(take_histogram(&mut out.as_slice()).is_none());
    }
}
