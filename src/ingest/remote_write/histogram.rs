//! A native histogram of a request.
//!
//! ```text
//! Histogram  { 1: count int | 2: count float, 3: sum, 4: schema, 5: zero threshold, 6: zero count int | 7: float,
//!              8: BucketSpan …, 9: deltas …, 10: counts …   the negative side
//!              11: BucketSpan …, 12: deltas …, 13: counts … the positive side
//!              14: reset hint, 15: timestamp, 16: custom bounds … }
//! BucketSpan { 1: offset, 2: length }
//! ```
//!
//! One whose count is an integer has its buckets as deltas, each to the one before it; any other has them as counts.
//! The spans say which buckets these are: each begins `offset` behind the end of the one before it. What contradicts
//! itself is refused for the reasons for which Prometheus refuses it.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::borrow::Cow;

use crate::ingest::remote_write::fields::{Fields, Malformed, Wire};
use crate::model::histogram::{BUCKETS_MAX, Histogram, HistogramError, Parts, ResetHint, Schema};
use crate::model::time::Timestamp;

/// Hints by their number in the message.
const HINTS: [ResetHint; 4] = [
    ResetHint::Unknown,
    ResetHint::Reset,
    ResetHint::NotReset,
    ResetHint::Gauge,
];

/// A histogram and its time, or why it is none; and how many buckets and bounds were read.
pub(super) struct Read {
    /// When it was measured.
    pub ts: Timestamp,
    /// What it is.
    pub histogram: Result<Histogram, Cow<'static, str>>,
    /// Numbers that were read for it.
    pub numbers: usize,
}

impl Read {
    /// Whether it is one that can be taken.
    pub fn is_taken(&self) -> bool {
        self.histogram.is_ok()
    }
}

/// One side as it is written, at most [`BUCKETS_MAX`] of each and one more.
#[derive(Default)]
struct Side {
    spans: Vec<(i32, u32)>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

/// Everything as it is written.
#[derive(Default)]
struct Sent {
    float: bool,
    count: f64,
    whole: u64,
    zero_whole: u64,
    zero_float: f64,
    sum: f64,
    schema: i64,
    zero_threshold: f64,
    hint: i64,
    negative: Side,
    positive: Side,
    bounds: Vec<f64>,
}

/// Reads a histogram.
pub(super) fn histogram(message: &[u8]) -> Result<Read, Malformed> {
    let (mut sent, mut ts, mut numbers) = (Sent::default(), 0, 0);
    let mut fields = Fields::new(message);
    while let Some((number, wire)) = fields.next()? {
        match (number, wire) {
            (1, Wire::Varint) => {
                (sent.float, sent.whole) = (false, fields.varint()?.cast_unsigned());
            }
            (2, Wire::Fixed64) => (sent.float, sent.count) = (true, fields.double()?),
            (3, Wire::Fixed64) => sent.sum = fields.double()?,
            (4, Wire::Varint) => sent.schema = unfold(fields.varint()?),
            (5, Wire::Fixed64) => sent.zero_threshold = fields.double()?,
            (6, Wire::Varint) => sent.zero_whole = fields.varint()?.cast_unsigned(),
            (7, Wire::Fixed64) => sent.zero_float = fields.double()?,
            (8 | 11, Wire::Bytes) => {
                let span = span(fields.bytes()?)?;
                put(&mut sent.side(number).spans, span);
                numbers += 1;
            }
            (9 | 12, Wire::Varint | Wire::Bytes) => {
                let deltas = &mut sent.side(number).deltas;
                let put = |n| put(deltas, unfold(n));
                numbers += each(&mut fields, wire, |f| f.varint(), put)?;
            }
            (10 | 13, Wire::Fixed64 | Wire::Bytes) => {
                let counts = &mut sent.side(number).counts;
                numbers += each(&mut fields, wire, |f| f.double(), |n| put(counts, n))?;
            }
            (14, Wire::Varint) => sent.hint = fields.varint()?,
            (15, Wire::Varint) => ts = fields.varint()?,
            (16, Wire::Fixed64 | Wire::Bytes) => {
                let bounds = &mut sent.bounds;
                numbers += each(&mut fields, wire, |f| f.double(), |n| put(bounds, n))?;
            }
            _ => fields.skip(wire)?,
        }
    }
    Ok(Read {
        ts: Timestamp::from_ms(ts),
        histogram: sent.histogram(),
        numbers,
    })
}

/// Takes one more unless there are too many already: one too many is enough to know.
fn put<T>(into: &mut Vec<T>, one: T) {
    if into.len() <= BUCKETS_MAX {
        into.push(one);
    }
}

/// Gives each number of a repeated field to `take`, whether it stands alone or is packed with others; how many.
fn each<T>(
    fields: &mut Fields<'_>,
    wire: Wire,
    read: impl Fn(&mut Fields<'_>) -> Result<T, Malformed>,
    mut take: impl FnMut(T),
) -> Result<usize, Malformed> {
    if wire != Wire::Bytes {
        take(read(fields)?);
        return Ok(1);
    }
    let (mut packed, mut count) = (Fields::new(fields.bytes()?), 0);
    while packed.len() > 0 {
        take(read(&mut packed)?);
        count += 1;
    }
    Ok(count)
}

/// A signed number that was written so that small ones are short.
fn unfold(n: i64) -> i64 {
    let n = n.cast_unsigned();
    (n >> 1).cast_signed() ^ -((n & 1).cast_signed())
}

fn span(message: &[u8]) -> Result<(i32, u32), Malformed> {
    let (mut offset, mut length) = (0, 0);
    let mut span = Fields::new(message);
    while let Some((number, wire)) = span.next()? {
        match (number, wire) {
            // As any reader of the message: what is too long for 32 bits is cut.
            (1, Wire::Varint) => offset = unfold(span.varint()? & 0xffff_ffff) as i32,
            (2, Wire::Varint) => length = span.varint()? as u32,
            _ => span.skip(wire)?,
        }
    }
    Ok((offset, length))
}

type Wrong = Cow<'static, str>;

impl Sent {
    fn side(&mut self, field: u32) -> &mut Side {
        if field < 11 {
            &mut self.negative
        } else {
            &mut self.positive
        }
    }

    fn histogram(mut self) -> Result<Histogram, Wrong> {
        let schema = Schema::from_number(self.schema).ok_or_else(|| {
            let number = self.schema;
            format!("there is no schema {number} here: -4 to 8 for exponential buckets, -53 for custom ones")
        })?;
        let read = |side: &mut Side| {
            if self.float {
                side.floats()
            } else {
                side.integers()
            }
        };
        let positive = read(&mut self.positive).map_err(|why| format!("positive side: {why}"))?;
        let negative = read(&mut self.negative).map_err(|why| format!("negative side: {why}"))?;
        let parts = Parts {
            hint: usize::try_from(self.hint)
                .ok()
                .and_then(|n| HINTS.get(n))
                .copied()
                .unwrap_or_default(),
            schema,
            zero_threshold: self.zero_threshold,
            zero_count: if self.float {
                self.zero_float
            } else {
                self.zero_whole as f64
            },
            count: if self.float {
                self.count
            } else {
                self.whole as f64
            },
            sum: self.sum,
            positive: positive.buckets,
            negative: negative.buckets,
            bounds: self.bounds,
        };
        if self.float && parts.zero_count < 0.0 {
            return Err("the zero bucket has less than nothing in it".into());
        }
        if !self.float {
            let all = [positive.total, negative.total, self.zero_whole];
            let all = all.into_iter().try_fold(0_u64, u64::checked_add);
            // What is no number is observed, and is in no bucket.
            let fits = if self.sum.is_nan() {
                all.is_some_and(|all| all <= self.whole)
            } else {
                all == Some(self.whole)
            };
            if !fits {
                let count = self.whole;
                let all = all.map_or("more than can be counted".to_owned(), |n| n.to_string());
                return Err(
                    format!("{all} observations in the buckets, and a count of {count}").into(),
                );
            }
        }
        Histogram::new(parts).map_err(|why: HistogramError| Cow::Owned(why.to_string()))
    }
}

/// The buckets of a side, and what was counted in all of them if they are whole.
struct Counted {
    buckets: Vec<(i32, f64)>,
    total: u64,
}

impl Side {
    fn integers(&mut self) -> Result<Counted, Wrong> {
        let (mut count, mut total, mut below) = (0_i64, 0_u64, false);
        let counts = std::mem::take(&mut self.deltas).into_iter().map(|delta| {
            // What is beyond all numbers is beyond the count too.
            count = count.saturating_add(delta);
            below |= count < 0;
            total = total.saturating_add(count.unsigned_abs());
            count as f64
        });
        let buckets = place(&self.spans, counts)?;
        if below {
            return Err("a bucket has less than nothing in it".into());
        }
        Ok(Counted { buckets, total })
    }

    fn floats(&mut self) -> Result<Counted, Wrong> {
        let counts = std::mem::take(&mut self.counts);
        if counts.iter().any(|c| *c < 0.0) {
            return Err("a bucket has less than nothing in it".into());
        }
        let buckets = place(&self.spans, counts.into_iter())?;
        Ok(Counted { buckets, total: 0 })
    }
}

/// Gives each count the index that the spans have for it.
fn place(
    spans: &[(i32, u32)],
    mut counts: impl ExactSizeIterator<Item = f64>,
) -> Result<Vec<(i32, f64)>, Wrong> {
    if counts.len() > BUCKETS_MAX || spans.len() > BUCKETS_MAX {
        return Err(format!("more than {BUCKETS_MAX} buckets or spans").into());
    }
    let length: u64 = spans.iter().map(|(_, length)| u64::from(*length)).sum();
    if length != counts.len() as u64 {
        let count = counts.len();
        return Err(format!("the spans are for {length} buckets, and {count} are there").into());
    }
    let (mut buckets, mut index) = (Vec::with_capacity(counts.len()), 0_i64);
    for (place, (offset, length)) in spans.iter().enumerate() {
        if place > 0 && *offset < 0 {
            return Err("a span begins before the end of the one before it".into());
        }
        index += i64::from(*offset);
        for count in counts.by_ref().take(*length as usize) {
            let fits = i32::try_from(index);
            let index_now = fits.map_err(|_| format!("there is no bucket with index {index}"))?;
            buckets.push((index_now, count));
            index += 1;
        }
    }
    Ok(buckets)
}
