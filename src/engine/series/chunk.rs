//! A closed part of a window: samples that will not change any more, packed into bits, with a summary beside them.
//!
//! The packing is that of Gorilla (Pelkonen et al., *Gorilla: a fast, scalable, in-memory time series database*, VLDB
//! 2015): a time is the change of its distance to the one before, a value the bits in which it differs from the one
//! before. Samples that come at even intervals and do not change take two bits each. Most aggregates of a long window
//! need only the [`Summary`] of the chunks that lie wholly in it; the one at the window's edge is unpacked.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

mod bits;

use crate::engine::series::chunk::bits::{BitReader, BitWriter};
use crate::engine::series::fold::Sum;

/// Samples in order of time, packed. Never empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// Samples in it.
    pub count: u32,
    /// Time of the first, ms since the epoch.
    pub first_ms: i64,
    /// Time of the last, ms since the epoch.
    pub last_ms: i64,
    /// What most aggregates need of it.
    pub summary: Summary,
    /// The samples but for the first time.
    pub bits: Box<[u8]>,
}

/// What a run of samples comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The first value.
    pub first: f64,
    /// The last value.
    pub last: f64,
    /// The smallest.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// The sum of all.
    pub sum: Sum,
    /// How much it grew from the first to the last as a counter: a fall is a start from 0.
    pub increase: f64,
}

impl Summary {
    /// The summary of some values; `None` if there are none.
    pub fn of(values: &[f64]) -> Option<Summary> {
        let (first, last) = (*values.first()?, *values.last()?);
        let mut summary = Summary {
            first,
            last,
            min: first,
            max: first,
            sum: Sum::default(),
            increase: 0.0,
        };
        let mut before = first;
        for v in values {
            summary.min = summary.min.min(*v);
            summary.max = summary.max.max(*v);
            summary.sum.add(*v);
            summary.increase += if *v < before { *v } else { *v - before };
            before = *v;
        }
        Some(summary)
    }
}

impl Chunk {
    /// Packs samples; `None` if there are none. Both slices have the same length, times ascend.
    pub fn pack(times: &[i64], values: &[f64]) -> Option<Chunk> {
        let (first_ms, last_ms) = (*times.first()?, *times.last()?);
        let summary = Summary::of(values)?;
        let mut out = BitWriter::default();
        let (mut before_ms, mut step) = (first_ms, 0_i64);
        let mut value = 0_u64;
        let mut window = Window::default();
        for (t, v) in times.iter().zip(values) {
            let next = t.wrapping_sub(before_ms);
            put_time(&mut out, next.wrapping_sub(step));
            window.put(&mut out, value ^ v.to_bits());
            (before_ms, step, value) = (*t, next, v.to_bits());
        }
        Some(Chunk {
            count: u32::try_from(times.len()).ok()?,
            first_ms,
            last_ms,
            summary,
            bits: out.finish(),
        })
    }

    /// What it takes of the memory, its place in a list included.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + 3 * size_of::<usize>() + self.bits.len()
    }

    /// Appends the samples to `times` and `values`. Bits that were damaged give fewer samples, never a panic.
    pub fn unpack(&self, times: &mut Vec<i64>, values: &mut Vec<f64>) {
        times.reserve(self.count as usize);
        values.reserve(self.count as usize);
        self.each(|t, v| {
            times.push(t);
            values.push(v);
        });
    }

    /// Gives each sample to `take`, in order.
    pub fn each(&self, mut take: impl FnMut(i64, f64)) {
        let mut input = BitReader::new(&self.bits);
        let (mut ts, mut step) = (self.first_ms, 0_i64);
        let mut value = 0_u64;
        let mut window = Window::default();
        for _ in 0..self.count {
            let (Some(change), Some(xor)) = (get_time(&mut input), window.get(&mut input)) else {
                return;
            };
            step = step.wrapping_add(change);
            ts = ts.wrapping_add(step);
            value ^= xor;
            take(ts, f64::from_bits(value));
        }
    }
}

/// `0`: no change; `10`, `110`, `111`: a change in 12, 20 or 64 bits.
fn put_time(out: &mut BitWriter, change: i64) {
    match change {
        0 => out.put(0, 1),
        -2_048..2_048 => {
            out.put(0b10, 2);
            out.put(change.cast_unsigned() & 0xfff, 12);
        }
        -524_288..524_288 => {
            out.put(0b110, 3);
            out.put(change.cast_unsigned() & 0xf_ffff, 20);
        }
        _ => {
            out.put(0b111, 3);
            out.put(change.cast_unsigned(), 64);
        }
    }
}

fn get_time(input: &mut BitReader<'_>) -> Option<i64> {
    if input.get(1)? == 0 {
        return Some(0);
    }
    let bits = match (input.get(1)?, ()) {
        (0, ()) => 12,
        _ if input.get(1)? == 0 => 20,
        _ => 64,
    };
    let spare = 64 - bits;
    Some((input.get(bits)? << spare).cast_signed() >> spare)
}

/// Which bits of a value changed last time: the next change often lies within them.
#[derive(Default)]
struct Window {
    leading: u32,
    length: u32,
}

impl Window {
    /// `0`: no change; `10`: bits within the last window; `11`: a window (5 bits leading zeros, 6 bits length - 1), bits.
    fn put(&mut self, out: &mut BitWriter, xor: u64) {
        if xor == 0 {
            return out.put(0, 1);
        }
        let leading = xor.leading_zeros().min(31);
        let length = 64 - leading - xor.trailing_zeros();
        let trailing = 64 - self.leading - self.length;
        let fits = self.length > 0
            && leading >= self.leading
            && xor.trailing_zeros() >= trailing
            && self.length < length + 11;
        if fits {
            out.put(0b10, 2);
            return out.put(xor >> trailing, self.length);
        }
        (self.leading, self.length) = (leading, length);
        out.put(0b11, 2);
        out.put(u64::from(leading), 5);
        out.put(u64::from(length - 1), 6);
        out.put(xor >> xor.trailing_zeros(), length);
    }

    fn get(&mut self, input: &mut BitReader<'_>) -> Option<u64> {
        if input.get(1)? == 0 {
            return Some(0);
        }
        if input.get(1)? == 1 {
            self.leading = u32::try_from(input.get(5)?).ok()?;
            self.length = u32::try_from(input.get(6)?).ok()? + 1;
        }
        let trailing = 64_u32.checked_sub(self.leading + self.length)?;
        if self.length == 0 {
            return None;
        }
        let bits = input.get(self.length)?;
        bits.checked_shl(trailing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round(samples: &[(i64, f64)]) -> (Chunk, Vec<(i64, u64)>) {
        let times: Vec<i64> = samples.iter().map(|s| s.0).collect();
        let values: Vec<f64> = samples.iter().map(|s| s.1).collect();
        let chunk = Chunk::pack(&times, &values).unwrap();
        let (mut t, mut v) = (Vec::new(), Vec::new());
        chunk.unpack(&mut t, &mut v);
        let back = t.into_iter().zip(v.into_iter().map(f64::to_bits)).collect();
        (chunk, back)
    }

    #[test]
    fn even_intervals_and_a_value_that_stays_take_two_bits_a_sample() {
        let samples: Vec<(i64, f64)> = (0..128)
            .map(|i| (1_700_000_000_000 + i * 15_000, 42.5))
            .collect();
        let (chunk, back) = round(&samples);
        assert_eq!(back.len(), 128);
        assert!(chunk.bits.len() < 64, "{} bytes", chunk.bits.len());
    }

    #[test]
    fn a_measured_latency_takes_about_seven_bytes_a_sample() {
        let mut x = 7_u64;
        let samples: Vec<(i64, f64)> = (0..128)
            .map(|i| {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (
                    1_700_000_000_000 + i * 1_000 + (x >> 60) as i64,
                    100.0 + (x >> 40) as f64 / 1e6,
                )
            })
            .collect();
        let (chunk, _) = round(&samples);
        assert!(
            (4 * 128..10 * 128).contains(&chunk.bits.len()),
            "{}",
            chunk.bits.len()
        );
    }

    #[test]
    fn the_summary_is_that_of_the_samples() {
        let (chunk, _) = round(&[(1, 3.0), (2, 5.0), (3, 1.0), (3, 2.0)]);
        let s = chunk.summary;
        assert_eq!((s.first, s.last, s.min, s.max), (3.0, 2.0, 1.0, 5.0));
        assert_eq!((s.sum.total(), s.increase), (11.0, 4.0));
        assert_eq!((chunk.first_ms, chunk.last_ms, chunk.count), (1, 3, 4));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn what_is_packed_unpacks_to_the_same_bits(
            mut samples in prop::collection::vec((any::<i64>(), prop_oneof![any::<f64>(), (0..100).prop_map(f64::from)]), 1..300),
        ) {
            samples.sort_by_key(|s| s.0);
            let (_, back) = round(&samples);
            let put: Vec<(i64, u64)> = samples.iter().map(|(t, v)| (*t, v.to_bits())).collect();
            prop_assert_eq!(back, put);
        }

        #[test]
        fn damaged_bits_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), count in 0_u32..1_000) {
            let summary = Summary::of(&[0.0]).unwrap();
            let chunk = Chunk { count, first_ms: 0, last_ms: 0, summary, bits: bytes.into() };
            chunk.unpack(&mut Vec::new(), &mut Vec::new());
        }
    }
}
