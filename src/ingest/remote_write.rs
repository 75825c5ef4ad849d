//! Prometheus remote write 1.0: a snappy-compressed `prometheus.WriteRequest`.
//!
//! ```text
//! WriteRequest { 1: TimeSeries { 1: Label { 1: name, 2: value } …, 2: Sample { 1: value, 2: timestamp } …,
//!                                3: exemplar …, 4: Histogram … } …, 3: MetricMetadata … }
//! ```
//!
//! Every bit of a value is kept: NaN and the staleness marker are values here. What cannot be taken is named by
//! its index: that of the sample, counted over the whole request, the histograms of a series behind its numbers. The
//! others are taken. Exemplars are passed over.
//! Labels may come in any order. Sources: the remote write specification 1.0 and `prometheus/prompb`.
//!
//! Nothing is copied before it becomes part of a key: [`fields`] walks the message where it lies. And the labels of a
//! series that the door knows as they are spelt are not even read.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

mod fields;
mod histogram;

use std::borrow::Cow;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use crate::engine::intake::spellings::{Reading, Spelling};
use crate::engine::intake::{Item, Whose, mark};
use crate::ingest::key::{NAME, SERIES_LABELS_MAX, Wrong, put_key, too_many};
use crate::ingest::metadata::{Kind, bounded};
use crate::ingest::remote_write::fields::{Fields, Malformed, Wire};
use crate::ingest::remote_write::histogram::{Read, histogram};
use crate::ingest::{BUCKETS_COUNT_MAX, Decoded, Refused, SAMPLES_COUNT_MAX, offset};
use crate::model::histogram::Histogram;
use crate::model::time::Timestamp;

/// Why a whole body is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It is not snappy.
    #[error("the body is not snappy, its block format: {0}")]
    Snappy(String),
    /// It would be too large.
    #[error(
        "the body has {bytes} bytes once it is decompressed; the limit is {limit}: send it in parts"
    )]
    TooLarge {
        /// What it says of itself.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// It is no such message.
    #[error("the body is no `prometheus.WriteRequest`: {0}")]
    Protobuf(String),
    /// It has too many samples or series, or too many buckets of histograms.
    #[error(
        "the body has more than {SAMPLES_COUNT_MAX} samples or series, or {BUCKETS_COUNT_MAX} buckets: send it in parts"
    )]
    TooMany,
}

/// What is wrong, and where: in or at a part of the request, counted from 0.
fn place(part: &'static str, index: usize) -> impl Fn(Malformed) -> DecodeError {
    move |what| DecodeError::Protobuf(format!("{part} {index}: {what}"))
}

/// Kinds of metrics by their numbers in the message.
const KINDS: [Kind; 8] = [
    Kind::Unknown,
    Kind::Counter,
    Kind::Gauge,
    Kind::Histogram,
    Kind::GaugeHistogram,
    Kind::Summary,
    Kind::Info,
    Kind::StateSet,
];

/// How many bytes a body has once it is decompressed, as it says of itself.
///
/// # Errors
/// [`DecodeError::Snappy`], and [`DecodeError::TooLarge`] beyond `limit`.
pub fn decompressed_len(body: &[u8], limit: usize) -> Result<usize, DecodeError> {
    match snap::raw::decompress_len(body) {
        Ok(bytes) if bytes <= limit => Ok(bytes),
        Ok(bytes) => Err(DecodeError::TooLarge { bytes, limit }),
        Err(snap::Error::TooBig { given, .. }) => Err(DecodeError::TooLarge {
            bytes: usize::try_from(given).unwrap_or(usize::MAX),
            limit,
        }),
        Err(error) => Err(DecodeError::Snappy(error.to_string())),
    }
}

/// Decodes a body that grows to at most `limit` bytes; `known` are the spellings that the door has learnt. Samples that
/// cannot be taken are named in the answer.
///
/// # Errors
/// [`DecodeError`]; nothing is taken then.
pub fn decode(body: &[u8], limit: usize, known: &Reading<'_>) -> Result<Decoded, DecodeError> {
    decompressed_len(body, limit)?;
    let message = snap::raw::Decoder::new()
        .decompress_vec(body)
        .map_err(|e| DecodeError::Snappy(e.to_string()))?;
    let mut taken = Taken {
        known,
        decoded: Decoded::default(),
        count: 0,
        buckets: 0,
    };
    taken.request(&message)?;
    taken.decoded.batch.exact = true;
    // A sender that got no answer sends the same bytes again.
    taken.decoded.batch.id = Some(xxh3_128(body));
    Ok(taken.decoded)
}

struct Taken<'k> {
    known: &'k Reading<'k>,
    decoded: Decoded,
    /// Samples so far.
    count: u32,
    /// Buckets of histograms so far.
    buckets: usize,
}

/// A label's name and value.
type Label<'a> = (&'a [u8], &'a [u8]);

/// A series of a request.
struct Series<'a> {
    message: &'a [u8],
    /// How many of its first bytes are labels.
    spelt: usize,
    /// Its number, if the door knows it as it is spelt.
    number: Option<u32>,
}

/// What one series carries, kept between series so that nothing is allocated for one.
#[derive(Default)]
struct Room<'a> {
    labels: Vec<Label<'a>>,
    samples: Vec<(Timestamp, f64)>,
    histograms: Vec<Read>,
}

impl<'a> Series<'a> {
    fn new(message: &'a [u8]) -> Result<Self, Malformed> {
        let (mut fields, mut spelt) = (Fields::new(message), 0);
        while let Some((1, Wire::Bytes)) = fields.next()? {
            fields.skip(Wire::Bytes)?;
            spelt = message.len() - fields.len();
        }
        Ok(Self {
            message,
            spelt,
            number: None,
        })
    }
    fn spelling(&self) -> Spelling {
        Spelling::of(self.message.get(..self.spelt).unwrap_or(&[]))
    }
}

impl Taken<'_> {
    fn request(&mut self, message: &[u8]) -> Result<(), DecodeError> {
        let (mut all, mut described) = (Vec::new(), 0);
        let mut request = Fields::new(message);
        loop {
            let at = place("at series", all.len());
            let Some((number, wire)) = request.next().map_err(&at)? else {
                break;
            };
            match (number, wire) {
                (1, Wire::Bytes) => {
                    let series = Series::new(request.bytes().map_err(at)?);
                    all.push(series.map_err(place("in series", all.len()))?);
                }
                (3, Wire::Bytes) => {
                    let about = self.metadata(request.bytes().map_err(at)?);
                    about.map_err(place("in metadata", described))?;
                    described += 1;
                }
                _ => request.skip(wire).map_err(at)?,
            }
            if all.len() > SAMPLES_COUNT_MAX {
                return Err(DecodeError::TooMany);
            }
        }
        // One after the other, so that the processor waits for several of them at once.
        for series in &mut all {
            series.number = self.known.find(series.spelling());
        }
        self.decoded.batch.items.reserve(all.len());
        let mut room = Room::default();
        for (index, series) in all.iter().enumerate() {
            self.series(index, series, &mut room)?;
            if self.count as usize > SAMPLES_COUNT_MAX {
                return Err(DecodeError::TooMany);
            }
        }
        Ok(())
    }

    /// Takes the series of that index.
    fn series<'a>(
        &mut self,
        index: usize,
        series: &Series<'a>,
        room: &mut Room<'a>,
    ) -> Result<(), DecodeError> {
        let at = place("in series", index);
        room.samples.clear();
        room.histograms.clear();
        let mut fields = Fields::new(series.message.get(series.spelt..).unwrap_or(&[]));
        let mut scattered = false;
        while let Some((number, wire)) = fields.next().map_err(&at)? {
            match (number, wire) {
                (2, Wire::Bytes) => {
                    let sample = fields.bytes().and_then(sample);
                    room.samples.push(sample.map_err(&at)?);
                }
                (4, Wire::Bytes) => {
                    let read = fields.bytes().and_then(histogram).map_err(&at)?;
                    self.buckets += read.numbers + HISTOGRAM_NUMBERS;
                    room.histograms.push(read);
                }
                _ => {
                    fields.skip(wire).map_err(&at)?;
                    // A label behind something else: the first bytes alone do not say which series it is.
                    scattered |= number == 1;
                }
            }
            // At once: an empty sample has two bytes in the message and sixteen here.
            let here = room.samples.len() + room.histograms.len();
            if self.count as usize + here > SAMPLES_COUNT_MAX || self.buckets > BUCKETS_COUNT_MAX {
                return Err(DecodeError::TooMany);
            }
        }
        let whose = match series.number {
            Some(number) if !scattered => Ok(Whose::Number(number)),
            Some(_) | None => self.key(series.message, &mut room.labels).map_err(at)?,
        };
        match whose {
            Ok(whose) => {
                let any = !room.samples.is_empty() || room.histograms.iter().any(Read::is_taken);
                if matches!(whose, Whose::Key(_)) && !scattered && any {
                    let batch = &mut self.decoded.batch;
                    let place = offset(batch.items.len());
                    batch.spelt.push((place, series.spelling()));
                }
                for (ts, value) in &room.samples {
                    self.decoded.batch.items.push(Item {
                        index: self.count,
                        whose: whose.clone(),
                        ts: Some(*ts),
                        value: *value,
                        id: None,
                    });
                    self.count += 1;
                }
                for Read { ts, histogram, .. } in room.histograms.drain(..) {
                    match histogram {
                        Ok(histogram) => self.native(whose.clone(), ts, histogram),
                        Err(why) => self.refuse(1, "histograms", why),
                    }
                }
            }
            Err((field, why)) => {
                let count = (room.samples.len() + room.histograms.len()).max(1);
                self.refuse(count, field, Cow::Owned(why));
            }
        }
        Ok(())
    }

    fn native(&mut self, whose: Whose, ts: Timestamp, histogram: Histogram) {
        let batch = &mut self.decoded.batch;
        let place = offset(batch.items.len());
        batch.items.push(Item {
            index: self.count,
            whose,
            ts: Some(ts),
            value: mark(&histogram),
            id: None,
        });
        batch.natives.push((place, Arc::new(histogram)));
        self.count += 1;
    }

    /// Reads the labels of a series and lays out its key.
    fn key<'a>(
        &mut self,
        message: &'a [u8],
        labels: &mut Vec<Label<'a>>,
    ) -> Result<Result<Whose, Wrong>, Malformed> {
        labels.clear();
        let (mut metric, mut count) = (&[][..], 0);
        let mut series = Fields::new(message);
        while let Some((number, wire)) = series.next()? {
            if (number, wire) != (1, Wire::Bytes) {
                series.skip(wire)?;
                continue;
            }
            match label(series.bytes()?)? {
                Ok((name, value)) if name == NAME.as_bytes() && metric.is_empty() => metric = value,
                Ok(label) => {
                    count += 1;
                    // The rest is counted only: an empty one has two bytes in the message and 32 here.
                    if count <= SERIES_LABELS_MAX {
                        labels.push(label);
                    }
                }
                Err(why) => return Ok(Err(why)),
            }
        }
        if count > SERIES_LABELS_MAX {
            return Ok(Err(too_many(count)));
        }
        let keys = &mut self.decoded.batch.keys;
        let start = keys.len();
        if let Err(why) = put_key(metric, labels, keys) {
            keys.truncate(start);
            return Ok(Err(why));
        }
        Ok(Ok(Whose::Key(offset(start)..offset(keys.len()))))
    }

    fn refuse(&mut self, count: usize, field: &'static str, reason: Cow<'static, str>) {
        for _ in 0..count {
            self.decoded.refused.push(Refused {
                index: self.count,
                field,
                reason: reason.clone(),
            });
            self.count += 1;
        }
    }

    fn metadata(&mut self, message: &[u8]) -> Result<(), Malformed> {
        let (mut kind, mut metric, mut help, mut unit) = (0, "", "", "");
        let text = |bytes| std::str::from_utf8(bytes).unwrap_or("");
        let mut metadata = Fields::new(message);
        while let Some((number, wire)) = metadata.next()? {
            match (number, wire) {
                (1, Wire::Varint) => kind = metadata.varint()?,
                (2, Wire::Bytes) => metric = text(metadata.bytes()?),
                (4, Wire::Bytes) => help = text(metadata.bytes()?),
                (5, Wire::Bytes) => unit = text(metadata.bytes()?),
                _ => metadata.skip(wire)?,
            }
        }
        if !metric.is_empty() {
            let kind = usize::try_from(kind).ok().and_then(|k| KINDS.get(k));
            self.decoded.metadata.describe(metric, |known| {
                known.kind = kind.copied().unwrap_or_default();
                known.help = bounded(help);
                known.unit = bounded(unit);
            });
        }
        Ok(())
    }
}

/// What a histogram without any bucket counts, in buckets.
const HISTOGRAM_NUMBERS: usize = 16;

/// A label's name and value, or that they are no text.
fn label(message: &[u8]) -> Result<Result<Label<'_>, Wrong>, Malformed> {
    let (mut name, mut value) = (&[][..], &[][..]);
    let mut label = Fields::new(message);
    while let Some((number, wire)) = label.next()? {
        match (number, wire) {
            (1, Wire::Bytes) => name = label.bytes()?,
            (2, Wire::Bytes) => value = label.bytes()?,
            _ => label.skip(wire)?,
        }
    }
    // Looking at all of it at once is faster than at its parts, and nearly all labels are ASCII.
    if !message.is_ascii() {
        for (what, text) in [("name", name), ("value", value)] {
            if let Err(error) = std::str::from_utf8(text) {
                let why = format!("a label's {what} is not UTF-8: {error}");
                return Ok(Err(("labels", why)));
            }
        }
    }
    Ok(Ok((name, value)))
}

fn sample(message: &[u8]) -> Result<(Timestamp, f64), Malformed> {
    let (mut ts, mut value) = (0, 0.0);
    let mut sample = Fields::new(message);
    while let Some((number, wire)) = sample.next()? {
        match (number, wire) {
            (1, Wire::Fixed64) => value = sample.double()?,
            (2, Wire::Varint) => ts = sample.varint()?,
            _ => sample.skip(wire)?,
        }
    }
    Ok((Timestamp::from_ms(ts), value))
}

#[cfg(test)]
pub(crate) mod sent;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod whole;
