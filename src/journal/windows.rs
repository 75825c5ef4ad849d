//! An image of the windows: what the engine held of each series, as records of a log of its own.
//!
//! ```text
//! slice  := covers n  (key chunks)*n        a record of kind 1; some series after those of the slice before
//!         | covers n  (key chunks natives)*n  a record of kind 3: the same where some have native histograms
//! end    := n                               a record of kind 2, the last: how many series there are in all
//! key    := length bytes                    canonical, as in the sample log
//! chunks := n chunk*n                       the packed part, oldest first; the last one was plain if its flag says so
//! chunk  := count<<1|plain first last-first  [first last min max sum low increase: 8 bytes each]  length bits
//! natives := n (time-change<<1|same [histogram])*n   ascending in time; `same` is what the one before it is
//! ```
//!
//! `covers` is the last position of the sample log that the slice knows of. A slice is taken between two ticks, so each
//! has its own. A plain part is packed here as well, and unpacked when it is read; only packed parts have a summary.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use crate::engine::series::SeriesCopy;
use crate::engine::series::chunk::{Chunk, Summary};
use crate::engine::series::fold::Sum;
use crate::engine::series::native::Native;
use crate::journal::histogram::{put_histogram, take_histogram};
use crate::journal::varint::{fold, get, put, unfold};
use crate::journal::{take, take_slice};
use crate::model::labels::SeriesKey;

/// Kind of a record that holds a [`Slice`].
pub const KIND_SLICE: u8 = 1;
/// Kind of the last record.
pub const KIND_END: u8 = 2;
/// Kind of a record that holds a [`Slice`] with native histograms.
pub const KIND_MIXED_SLICE: u8 = 3;

/// Some series, as they were when the sample log had reached a position.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slice {
    /// The last position whose samples are in it.
    pub covers: u64,
    /// The series, in order of their numbers.
    pub series: Vec<SeriesCopy>,
}

/// The kind and the payload of a slice.
pub fn encode(slice: &Slice) -> (u8, Vec<u8>) {
    let mut out = Vec::new();
    let mixed = slice.series.iter().any(|s| !s.natives.is_empty());
    put(&mut out, slice.covers);
    put(&mut out, slice.series.len() as u64);
    for series in &slice.series {
        put(&mut out, series.key.bytes().len() as u64);
        out.extend_from_slice(series.key.bytes());
        let plain = Chunk::pack(&series.times, &series.values);
        let chunks = series.closed.len() + usize::from(plain.is_some());
        put(&mut out, chunks as u64);
        for chunk in &series.closed {
            put_chunk(&mut out, chunk, false);
        }
        if let Some(chunk) = &plain {
            put_chunk(&mut out, chunk, true);
        }
        if mixed {
            put_natives(&mut out, &series.natives);
        }
    }
    let kind = if mixed { KIND_MIXED_SLICE } else { KIND_SLICE };
    (kind, out)
}

fn put_natives(out: &mut Vec<u8>, natives: &[Native]) {
    put(out, natives.len() as u64);
    let mut before: Option<&Native> = None;
    for one in natives {
        let (ts, same) = before.map_or((0, false), |b| (b.0, Arc::ptr_eq(&b.1, &one.1)));
        put(out, fold(one.0.wrapping_sub(ts)) << 1 | u64::from(same));
        if !same {
            put_histogram(out, &one.1);
        }
        before = Some(one);
    }
}

fn natives(rest: &mut &[u8]) -> Option<Vec<Native>> {
    let mut natives: Vec<Native> = Vec::new();
    for _ in 0..get(rest)? {
        let head = get(rest)?;
        let before = natives.last();
        let ts = before.map_or(0, |b| b.0).checked_add(unfold(head >> 1))?;
        let histogram = match before {
            Some((_, same)) if head & 1 == 1 => same.clone(),
            None if head & 1 == 1 => return None,
            Some(_) | None => Arc::new(take_histogram(rest)?),
        };
        natives.push((ts, histogram));
    }
    Some(natives)
}

fn put_chunk(out: &mut Vec<u8>, chunk: &Chunk, plain: bool) {
    put(out, u64::from(chunk.count) << 1 | u64::from(plain));
    put(out, fold(chunk.first_ms));
    put(out, fold(chunk.last_ms.wrapping_sub(chunk.first_ms)));
    if !plain {
        let s = &chunk.summary;
        for v in [
            s.first, s.last, s.min, s.max, s.sum.high, s.sum.low, s.increase,
        ] {
            out.extend_from_slice(&v.to_bits().to_le_bytes());
        }
    }
    put(out, chunk.bits.len() as u64);
    out.extend_from_slice(&chunk.bits);
}

/// Reads the payload of a slice of that kind; `None` if it is none.
pub fn decode(kind: u8, payload: &[u8]) -> Option<Slice> {
    let mut rest = payload;
    let covers = get(&mut rest)?;
    let count = get(&mut rest)?;
    let mut series = Vec::new();
    for _ in 0..count {
        series.push(one(&mut rest, kind == KIND_MIXED_SLICE)?);
    }
    rest.is_empty().then_some(Slice { covers, series })
}

fn one(rest: &mut &[u8], mixed: bool) -> Option<SeriesCopy> {
    let len = get(rest)?;
    let mut copy = SeriesCopy {
        key: SeriesKey::from_canonical(take_slice(rest, len)?),
        closed: Vec::new(),
        times: Vec::new(),
        values: Vec::new(),
        natives: Vec::new(),
    };
    for _ in 0..get(rest)? {
        let (chunk, plain) = chunk(rest)?;
        if plain {
            chunk.unpack(&mut copy.times, &mut copy.values);
        } else {
            copy.closed.push(Arc::new(chunk));
        }
    }
    if mixed {
        copy.natives = natives(rest)?;
    }
    Some(copy)
}

fn chunk(rest: &mut &[u8]) -> Option<(Chunk, bool)> {
    let head = get(rest)?;
    let (count, plain) = (u32::try_from(head >> 1).ok()?, head & 1 == 1);
    let first_ms = unfold(get(rest)?);
    let last_ms = first_ms.wrapping_add(unfold(get(rest)?));
    let summary = if plain {
        Summary::of(&[0.0])?
    } else {
        summary(rest)?
    };
    let len = get(rest)?;
    let bits = take_slice(rest, len)?;
    // A sample takes two bits at least: a count that says more is not ours.
    if u64::from(count) > len.saturating_mul(4) {
        return None;
    }
    let chunk = Chunk {
        count,
        first_ms,
        last_ms,
        summary,
        bits: bits.into(),
    };
    Some((chunk, plain))
}

fn summary(rest: &mut &[u8]) -> Option<Summary> {
    let mut next = || Some(f64::from_bits(u64::from_le_bytes(take(rest)?)));
    Some(Summary {
        first: next()?,
        last: next()?,
        min: next()?,
        max: next()?,
        sum: Sum {
            high: next()?,
            low: next()?,
        },
        increase: next()?,
    })
}

/// The payload of the last record: how many series the image has.
pub fn encode_end(count: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, count);
    out
}

/// Reads the payload of the last record.
pub fn decode_end(payload: &[u8]) -> Option<u64> {
    let mut rest = payload;
    let count = get(&mut rest)?;
    rest.is_empty().then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::histogram::tests::any_histogram;
    use crate::model::histogram::Histogram;
    use crate::model::labels::Labels;
    use proptest::prelude::*;

    fn copy(name: &str, closed: &[Vec<f64>], plain: &[f64]) -> SeriesCopy {
        let times = |n: usize| {
            (0..)
                .map(|i| 1_700_000_000_000 + i * 15_000)
                .take(n)
                .collect::<Vec<i64>>()
        };
        let packed = closed
            .iter()
            .filter_map(|v| Chunk::pack(&times(v.len()), v))
            .map(Arc::new);
        SeriesCopy {
            key: SeriesKey::new(name, &Labels::new().with("job", "api")),
            closed: packed.collect(),
            times: times(plain.len()),
            values: plain.to_vec(),
            natives: Vec::new(),
        }
    }

    fn with_natives(mut copy: SeriesCopy, all: &[(u32, Option<Histogram>)]) -> SeriesCopy {
        let mut ts = 0;
        for (step, histogram) in all {
            ts += i64::from(*step);
            let before = copy.natives.last().map(|n| n.1.clone());
            let histogram = histogram.clone().map(Arc::new).or(before);
            copy.natives.extend(histogram.map(|h| (ts, h)));
        }
        copy
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn what_is_written_reads_back(
            covers in any::<u64>(),
            all in prop::collection::vec(
                (prop::collection::vec(prop::collection::vec(-1e9_f64..1e9, 1..200), 0..4),
                 prop::collection::vec(-1e9_f64..1e9, 0..200),
                 prop::collection::vec((any::<u32>(), prop::option::of(any_histogram())), 0..4)), 0..6),
        ) {
            let series = all.iter().map(|(closed, plain, natives)| with_natives(copy("m", closed, plain), natives));
            let slice = Slice { covers, series: series.collect() };
            let (kind, payload) = encode(&slice);
            let mixed = slice.series.iter().any(|s| !s.natives.is_empty());
            prop_assert_eq!(kind == KIND_MIXED_SLICE, mixed);
            prop_assert_eq!(decode(kind, &payload), Some(slice));
        }

        #[test]
        fn garbage_is_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(KIND_SLICE, &bytes);
            let _ = decode(KIND_MIXED_SLICE, &bytes);
        }

        #[test]
        fn a_changed_slice_is_read_or_refused(
            at in any::<prop::sample::Index>(), to in any::<u8>(), native in any_histogram(),
        ) {
            let series = with_natives(copy("m", &[vec![1.0, 2.0]], &[3.0]), &[(1, Some(native)), (2, None)]);
            let (kind, mut bytes) = encode(&Slice { covers: 9, series: vec![series] });
            let at = at.index(bytes.len());
            bytes[at] = to;
            let _ = decode(kind, &bytes);
        }
    }
}
