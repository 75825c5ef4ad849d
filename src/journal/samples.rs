//! A batch of accepted samples as one record.
//!
//! Payload: `session, at, count, delivery:16 …, count, sample …`, numbers as varints. A sample is `(change of series
//! number << 1 | defines)`, if it defines its series `len key`, then the change of its time and eight bytes of value.
//! The first changes count from 0 and from `at`. A batch from one scrape so takes 10 to 11 bytes a sample. A batch of
//! native histograms is the same with a histogram where the value is.
//!
//! [`Encoder`] knows which series the current segment has defined; [`decode`] puts the numbers back into names with
//! the [`Keys`] of that segment. A session is the life of one encoder between resets: numbers mean nothing across
//! sessions, and a definition from another session is never used.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::hash::BuildHasherDefault;
use std::hash::Hasher;

use crate::journal::histogram::{put_histogram, take_histogram};
use crate::journal::take;
use crate::journal::take_slice;
use crate::journal::varint::{fold, get, put, unfold};
use crate::model::histogram::Histogram;
use crate::model::time::Timestamp;

/// One measured value of a series known by number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The series' number; it names one series for a whole session.
    pub series: u32,
    /// When it was measured, ms since the epoch.
    pub ts: i64,
    /// The value; every bit of a NaN is kept.
    pub value: f64,
}

/// Writes batches and remembers which series the segment being written has defined.
#[derive(Clone, Debug)]
pub struct Encoder {
    session: u64,
    /// By series number: the segment that last defined it; 0 for none.
    defined: Vec<u32>,
}

impl Encoder {
    /// An encoder whose numbers mean nothing to earlier ones: give it a number that no earlier session of the log had,
    /// such as the time of the start in microseconds.
    pub fn new(session: u64) -> Self {
        Self {
            session,
            defined: Vec::new(),
        }
    }
    /// Begins a new session, in which every series is defined again. Call it when an encoded batch was not appended
    /// and committed (its definitions are gone), or before a number is given to another series.
    pub fn reset(&mut self) {
        self.session = self.session.wrapping_add(1);
        self.defined.clear();
    }
    /// Appends the payload of one batch to `out`. `segment_no` is the segment the record will be in, from 1; `key`
    /// gives the canonical bytes of a series by its number.
    pub fn encode<'k>(
        &mut self,
        segment_no: u32,
        at: Timestamp,
        deliveries: &[u128],
        samples: &[Sample],
        key: impl Fn(u32) -> &'k [u8],
        out: &mut Vec<u8>,
    ) {
        out.reserve(64 + deliveries.len() * 16 + samples.len() * 14);
        self.head(at, deliveries, samples.len(), out);
        let samples = samples.iter().map(|s| (s.series, s.ts, s.value));
        self.samples((segment_no, at), samples, key, out, |out, value| {
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        });
    }

    /// The same for native histograms: series, time in ms since the epoch and histogram of each.
    pub fn encode_histograms<'k, 'h>(
        &mut self,
        segment_no: u32,
        at: Timestamp,
        deliveries: &[u128],
        samples: impl ExactSizeIterator<Item = (u32, i64, &'h Histogram)>,
        key: impl Fn(u32) -> &'k [u8],
        out: &mut Vec<u8>,
    ) {
        self.head(at, deliveries, samples.len(), out);
        self.samples((segment_no, at), samples, key, out, put_histogram);
    }

    fn head(&self, at: Timestamp, deliveries: &[u128], count: usize, out: &mut Vec<u8>) {
        put(out, self.session);
        put(out, fold(at.ms()));
        put(out, deliveries.len() as u64);
        for id in deliveries {
            out.extend_from_slice(&id.to_le_bytes());
        }
        put(out, count as u64);
    }

    fn samples<'k, V>(
        &mut self,
        (segment_no, at): (u32, Timestamp),
        samples: impl Iterator<Item = (u32, i64, V)>,
        key: impl Fn(u32) -> &'k [u8],
        out: &mut Vec<u8>,
        put_value: impl Fn(&mut Vec<u8>, V),
    ) {
        let (mut last, mut time) = (0_u32, at.ms());
        for (series, ts, value) in samples {
            let defines = self.define(series, segment_no);
            let step = fold(i64::from(series) - i64::from(last)) << 1;
            put(out, step | u64::from(defines));
            if defines {
                let key = key(series);
                put(out, key.len() as u64);
                out.extend_from_slice(key);
            }
            put(out, fold(ts.wrapping_sub(time)));
            put_value(out, value);
            (last, time) = (series, ts);
        }
    }

    /// Whether a series is defined in a segment already, so that its key is not written again.
    pub fn knows(&self, series: u32, segment_no: u32) -> bool {
        self.defined.get(series as usize) == Some(&segment_no)
    }

    /// Whether this is the first use of a series in a segment; from now on it no longer is.
    fn define(&mut self, series: u32, segment_no: u32) -> bool {
        let at = series as usize;
        if at >= self.defined.len() {
            self.defined.resize(at + 1, 0);
        }
        match self.defined.get_mut(at) {
            Some(last) => std::mem::replace(last, segment_no) != segment_no,
            None => true,
        }
    }
}

/// What the numbers of a segment stand for: `T` is whatever the reader makes of a key.
#[derive(Clone, Debug)]
pub struct Keys<T> {
    segment_no: u32,
    session: u64,
    by_series: hashbrown::HashMap<u32, T, BuildHasherDefault<Spread>>,
}

impl<T> Default for Keys<T> {
    fn default() -> Self {
        Self {
            segment_no: 0,
            session: 0,
            by_series: hashbrown::HashMap::default(),
        }
    }
}

impl<T> Keys<T> {
    fn enter(&mut self, segment_no: u32, session: u64) {
        if (self.segment_no, self.session) != (segment_no, session) {
            (self.segment_no, self.session) = (segment_no, session);
            self.by_series.clear();
        }
    }
}

/// A batch read back; `V` is what its samples are.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch<T, V = f64> {
    /// When it was accepted.
    pub at: Timestamp,
    /// The ids of the deliveries it came in.
    pub deliveries: Vec<u128>,
    /// Series, time in ms since the epoch and value, in the order they were written.
    pub samples: Vec<(T, i64, V)>,
    /// How many samples are left out because the record that defined their series is lost.
    pub unresolved: u64,
}

/// The payload is no batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the batch ends early or says more than it holds, at byte {at}")]
pub struct DecodeError {
    /// Offset into the payload.
    pub at: usize,
}

/// Reads the payload of a record from segment `segment_no`. `intern` is called once per definition, with the key's
/// bytes; `keys` must have seen the segment's records from its beginning, and changes segments by itself.
///
/// # Errors
/// [`DecodeError`]; definitions before the error are kept.
pub fn decode<T: Clone>(
    payload: &[u8],
    segment_no: u32,
    keys: &mut Keys<T>,
    intern: impl FnMut(&[u8]) -> T,
) -> Result<Batch<T>, DecodeError> {
    let value = |rest: &mut &[u8]| Some(f64::from_bits(u64::from_le_bytes(take(rest)?)));
    let mut rest = payload;
    batch(&mut rest, segment_no, keys, intern, value).ok_or(DecodeError {
        at: payload.len() - rest.len(),
    })
}

/// The same for a batch of native histograms.
///
/// # Errors
/// [`DecodeError`]; definitions before the error are kept.
pub fn decode_histograms<T: Clone>(
    payload: &[u8],
    segment_no: u32,
    keys: &mut Keys<T>,
    intern: impl FnMut(&[u8]) -> T,
) -> Result<Batch<T, Histogram>, DecodeError> {
    let mut rest = payload;
    batch(&mut rest, segment_no, keys, intern, take_histogram).ok_or(DecodeError {
        at: payload.len() - rest.len(),
    })
}

/// When a batch was accepted, and the ids of its deliveries: the beginning of its payload, without its samples.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_deliveries(payload: &[u8]) -> Result<(Timestamp, Vec<u128>), DecodeError> {
    let mut rest = payload;
    let read = get(&mut rest).and_then(|_session| deliveries(&mut rest));
    read.ok_or(DecodeError {
        at: payload.len() - rest.len(),
    })
}

fn deliveries(rest: &mut &[u8]) -> Option<(Timestamp, Vec<u128>)> {
    let at = Timestamp::from_ms(unfold(get(rest)?));
    let count = get(rest)?;
    let ids = take_slice(rest, count.checked_mul(16)?)?;
    let ids = ids.as_chunks().0.iter().map(|id| u128::from_le_bytes(*id));
    Some((at, ids.collect()))
}

fn batch<T: Clone, V>(
    rest: &mut &[u8],
    segment_no: u32,
    keys: &mut Keys<T>,
    mut intern: impl FnMut(&[u8]) -> T,
    take_value: impl Fn(&mut &[u8]) -> Option<V>,
) -> Option<Batch<T, V>> {
    let session = get(rest)?;
    keys.enter(segment_no, session);
    let (at, deliveries) = deliveries(rest)?;
    let count = get(rest)?;
    let fits = usize::try_from(count).ok()?.min(rest.len() / 10);
    let mut samples = Vec::with_capacity(fits);
    let (mut series, mut ts, mut unresolved) = (0_u32, at.ms(), 0);
    for _ in 0..count {
        let head = get(rest)?;
        let step = i64::from(series).checked_add(unfold(head >> 1))?;
        series = u32::try_from(step).ok()?;
        if head & 1 == 1 {
            let len = get(rest)?;
            keys.by_series
                .insert(series, intern(take_slice(rest, len)?));
        }
        ts = ts.wrapping_add(unfold(get(rest)?));
        let value = take_value(rest)?;
        match keys.by_series.get(&series) {
            Some(key) => samples.push((key.clone(), ts, value)),
            None => unresolved += 1,
        }
    }
    rest.is_empty().then_some(Batch {
        at,
        deliveries,
        samples,
        unresolved,
    })
}

/// Spreads series numbers over a table; they are small and dense, so one multiplication does it.
#[derive(Clone, Copy, Debug, Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.write_u32(u32::from(*b));
        }
    }
    fn write_u32(&mut self, n: u32) {
        self.0 = (self.0.rotate_left(5) ^ u64::from(n)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::histogram::tests::any_histogram;
    use crate::model::labels::SeriesKey;
    use proptest::prelude::*;

    const NAMES: [&[u8]; 3] = [b"up", b"load\xffaz\xff1", b"errors"];

    fn name(series: u32) -> &'static [u8] {
        NAMES[series as usize % 3]
    }

    fn read(payload: &[u8], segment_no: u32, keys: &mut Keys<SeriesKey>) -> Batch<SeriesKey> {
        decode(payload, segment_no, keys, SeriesKey::from_canonical).unwrap()
    }

    fn some(series: &[u32]) -> Vec<Sample> {
        let sample = |s: &u32| Sample {
            series: *s,
            ts: 1_700_000_000_000 + i64::from(*s),
            value: f64::from(*s) / 3.0,
        };
        series.iter().map(sample).collect()
    }

    #[test]
    fn a_key_is_spelt_out_once_a_segment_and_again_in_the_next() {
        let (mut encoder, mut keys) = (Encoder::new(1), Keys::default());
        let at = Timestamp::from_ms(1_700_000_000_500);
        let mut sizes = Vec::new();
        for segment_no in [1, 1, 2] {
            let mut out = Vec::new();
            encoder.encode(segment_no, at, &[9], &some(&[0, 1, 2, 0]), name, &mut out);
            let batch = read(&out, segment_no, &mut keys);
            assert_eq!(
                (batch.at, batch.deliveries.as_slice()),
                (at, [9].as_slice())
            );
            assert_eq!(batch.samples[1].0.labels().get("az"), "1");
            assert_eq!((batch.samples.len(), batch.unresolved), (4, 0));
            sizes.push(out.len());
        }
        assert!(sizes[1] < sizes[0] && sizes[0] == sizes[2]);
    }

    #[test]
    fn a_lost_definition_leaves_samples_out_and_never_misnames_them() {
        let at = Timestamp::from_ms(0);
        let (mut encoder, mut keys) = (Encoder::new(1), Keys::default());
        let (mut first, mut second, mut third) = (Vec::new(), Vec::new(), Vec::new());
        encoder.encode(1, at, &[], &some(&[0]), name, &mut first);
        encoder.reset();
        encoder.encode(1, at, &[], &some(&[0, 1]), |_| b"other", &mut second);
        encoder.encode(1, at, &[], &some(&[0, 1, 2]), |_| b"new", &mut third);
        read(&first, 1, &mut keys);
        let batch = read(&third, 1, &mut keys);
        assert_eq!((batch.samples.len(), batch.unresolved), (1, 2));
        assert_eq!(batch.samples[0].0.metric(), "new");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            at in any::<i64>(), ids in prop::collection::vec(any::<u128>(), 0..4),
            raw in prop::collection::vec((0_u32..5_000, any::<i64>(), any::<u64>()), 0..40),
        ) {
            let samples: Vec<_> = raw.iter()
                .map(|(series, ts, bits)| Sample { series: *series, ts: *ts, value: f64::from_bits(*bits) })
                .collect();
            let mut out = Vec::new();
            Encoder::new(u64::MAX).encode(5, Timestamp::from_ms(at), &ids, &samples, name, &mut out);
            let batch = read(&out, 5, &mut Keys::default());
            prop_assert_eq!(batch.at.ms(), at);
            prop_assert_eq!(decode_deliveries(&out), Ok((batch.at, ids.clone())));
            prop_assert_eq!(batch.deliveries, ids);
            let back: Vec<_> = batch.samples.iter().map(|(k, t, v)| (k.bytes(), *t, v.to_bits())).collect();
            let put: Vec<_> = raw.iter().map(|(s, t, b)| (name(*s), *t, *b)).collect();
            prop_assert_eq!(back, put);
        }

        #[test]
        fn histograms_read_back_beside_numbers_of_the_same_series(
            raw in prop::collection::vec((0_u32..9, any::<i64>(), any_histogram()), 0..12),
            ids in prop::collection::vec(any::<u128>(), 0..4),
        ) {
            let (mut encoder, mut keys) = (Encoder::new(7), Keys::default());
            let at = Timestamp::from_ms(1_000);
            let all = raw.iter().map(|(series, ts, h)| (*series, *ts, h));
            let (mut first, mut second) = (Vec::new(), Vec::new());
            encoder.encode_histograms(3, at, &ids, all, name, &mut first);
            let series: Vec<u32> = raw.iter().map(|r| r.0).collect();
            encoder.encode(3, at, &[], &some(&series), name, &mut second);
            let batch = decode_histograms(&first, 3, &mut keys, SeriesKey::from_canonical).unwrap();
            prop_assert_eq!(decode_deliveries(&first), Ok((at, ids)));
            let back: Vec<_> = batch.samples.iter().map(|(k, t, h)| (k.bytes(), *t, h)).collect();
            let put: Vec<_> = raw.iter().map(|(s, t, h)| (name(*s), *t, h)).collect();
            prop_assert_eq!(back, put);
            // What the first record has defined, the second one does not spell out.
            let numbers = read(&second, 3, &mut keys);
            prop_assert_eq!((numbers.samples.len(), numbers.unresolved), (series.len(), 0));
        }

        #[test]
        fn garbage_is_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_histograms(&bytes, 1, &mut Keys::default(), SeriesKey::from_canonical);
            let _ = decode(&bytes, 1, &mut Keys::default(), SeriesKey::from_canonical);
        }

        #[test]
        fn a_changed_batch_is_read_or_refused(at in 0_usize..80, to in any::<u8>()) {
            let mut out = Vec::new();
            Encoder::new(1).encode(1, Timestamp::from_ms(5), &[1], &some(&[0, 1, 2, 0]), name, &mut out);
            let at = at.min(out.len() - 1);
            out[at] = to;
            let _ = decode(&out, 1, &mut Keys::default(), SeriesKey::from_canonical);
        }
    }
}
