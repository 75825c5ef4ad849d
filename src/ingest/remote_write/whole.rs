//! A native histogram of whole counts as a sender makes it, for tests and benches beside `sent`.

use super::sent::{Count, Histogram, Span, Zero};

/// A histogram of whole counts: of each bucket its index and its count, ascending, and so many observations of zero.
pub fn histogram(ts: i64, zeros: u64, buckets: &[(i32, i64)], sum: f64) -> Histogram {
    let count: i64 = buckets.iter().map(|(_, count)| count).sum();
    let (mut spans, mut deltas): (Vec<Span>, Vec<i64>) = (Vec::new(), Vec::new());
    let (mut next, mut before) = (0, 0);
    for (index, count) in buckets {
        match spans.last_mut() {
            Some(last) if *index == next => last.length += 1,
            _ => spans.push(Span {
                offset: index - next,
                length: 1,
            }),
        }
        deltas.push(count - before);
        (next, before) = (index + 1, *count);
    }
    Histogram {
        count: Some(Count::Int(count.cast_unsigned() + zeros)),
        sum,
        zero_threshold: 0.001,
        zero_count: Some(Zero::Int(zeros)),
        positive_spans: spans,
        positive_deltas: deltas,
        timestamp: ts,
        ..Histogram::default()
    }
}
