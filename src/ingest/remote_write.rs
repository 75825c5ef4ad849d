//! `POST /api/v1/write`: Prometheus remote write 1.0, a snappy-compressed protobuf message.
//!
//! ```text
//! WriteRequest { timeseries: [{ labels: [{name, value}], samples: [{value, timestamp ms}] }] }
//! ```
//!
//! Every value counts, NaN and the staleness marker to the last bit. A series that cannot be taken is named by the index
//! of its first sample; the others are taken. Source: the Prometheus remote write specification, version 1.0.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use bytes::Bytes;
use prost::Message;

use crate::engine::intake::{Batch, Item};
use crate::ingest::{NAME_BYTES_MAX, Refused, VALUE_BYTES_MAX, WIRE_LABELS_COUNT_MAX};
use crate::model::labels::push_label;
use crate::model::time::Timestamp;

/// The label that is the metric's name.
const NAME: &[u8] = b"__name__";

/// Why a whole body is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It is not snappy.
    #[error("the body is not snappy-compressed: {0}")]
    Snappy(String),
    /// It would be too large.
    #[error("the body has {bytes} bytes once decompressed; the limit is {limit}: send it in parts")]
    TooLarge {
        /// What it says of itself.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// It is no such message.
    #[error("the body is no remote write message: {0}")]
    Protobuf(String),
}

#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    histograms: Vec<Histogram>,
}

/// Shares the decompressed body: no label is copied before it becomes part of a key.
#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(bytes = "bytes", tag = "1")]
    name: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

/// That there is one, not what is in it.
#[derive(Clone, Copy, PartialEq, Message)]
struct Histogram {}

/// Decodes a body. Samples that cannot be taken are in the second part.
///
/// # Errors
/// [`DecodeError`]; nothing is taken then.
pub fn decode(body: &[u8], bytes_max: usize) -> Result<(Batch, Vec<Refused>), DecodeError> {
    let bad = |e: snap::Error| DecodeError::Snappy(e.to_string());
    let bytes = snap::raw::decompress_len(body).map_err(bad)?;
    if bytes > bytes_max {
        return Err(DecodeError::TooLarge {
            bytes,
            limit: bytes_max,
        });
    }
    let message = snap::raw::Decoder::new()
        .decompress_vec(body)
        .map_err(bad)?;
    let request = WriteRequest::decode(Bytes::from(message))
        .map_err(|e| DecodeError::Protobuf(e.to_string()))?;
    let mut taken = Taken {
        batch: Batch {
            exact: true,
            ..Batch::default()
        },
        ..Taken::default()
    };
    for series in request.timeseries {
        taken.take(series);
    }
    Ok((taken.batch, taken.refused))
}

#[derive(Default)]
struct Taken {
    batch: Batch,
    refused: Vec<Refused>,
    count: u32,
}

impl Taken {
    fn take(&mut self, mut series: TimeSeries) {
        let start = self.batch.keys.len();
        if let Err((field, reason)) = put_key(&mut series.labels, &mut self.batch.keys) {
            self.batch.keys.truncate(start);
            let samples = series.samples.len() + series.histograms.len();
            (0..samples.max(1)).for_each(|_| self.refuse(field, reason.clone()));
            return;
        }
        let key = offset(start)..offset(self.batch.keys.len());
        for sample in &series.samples {
            self.batch.items.push(Item {
                index: self.count,
                key: key.clone(),
                ts: Some(Timestamp::from_ms(sample.timestamp)),
                value: sample.value,
                id: None,
            });
            self.count = self.count.saturating_add(1);
        }
        for _ in &series.histograms {
            self.refuse(
                "histograms",
                "native histograms are not stored: send classic ones beside them".to_owned(),
            );
        }
    }

    fn refuse(&mut self, field: &'static str, reason: String) {
        self.refused.push(Refused {
            index: self.count,
            field,
            reason,
        });
        self.count = self.count.saturating_add(1);
    }
}

fn offset(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Appends the canonical key of a series.
fn put_key(labels: &mut [Label], keys: &mut Vec<u8>) -> Result<(), (&'static str, String)> {
    if labels.len() > WIRE_LABELS_COUNT_MAX {
        let count = labels.len();
        return Err((
            "labels",
            format!("{count} labels; the limit is {WIRE_LABELS_COUNT_MAX}"),
        ));
    }
    if !labels.is_sorted_by(|a, b| a.name <= b.name) {
        labels.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    }
    let name = labels.iter().find(|l| l.name == NAME);
    let name = name
        .map(|l| text(&l.value))
        .transpose()?
        .unwrap_or_default();
    if name.is_empty() {
        return Err((
            "labels",
            "there is no `__name__`: which metric is it?".to_owned(),
        ));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err((
            "labels",
            format!(
                "the name has {} bytes; the limit is {NAME_BYTES_MAX}",
                name.len()
            ),
        ));
    }
    keys.extend_from_slice(name.as_bytes());
    let mut last: Option<&[u8]> = None;
    for label in labels.iter() {
        if last == Some(&label.name) {
            return Err(("labels", format!("{:?} is given twice", text(&label.name)?)));
        }
        last = Some(&label.name);
        if label.name == NAME || label.value.is_empty() {
            continue;
        }
        let (name, value) = (text(&label.name)?, text(&label.value)?);
        if name.is_empty() {
            return Err(("labels", "a label has no name".to_owned()));
        }
        if value.len() > VALUE_BYTES_MAX {
            let bytes = value.len();
            return Err((
                "labels",
                format!("the value of {name:?} has {bytes} bytes; the limit is {VALUE_BYTES_MAX}"),
            ));
        }
        push_label(keys, name, value);
    }
    Ok(())
}

fn text(bytes: &Bytes) -> Result<&str, (&'static str, String)> {
    std::str::from_utf8(bytes).map_err(|e| ("labels", format!("a name or value is not UTF-8: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::labels::SeriesKey;
    use proptest::prelude::*;

    type Plain<'a> = (&'a [(&'a str, &'a str)], &'a [(i64, f64)]);

    fn body(series: &[Plain<'_>]) -> Vec<u8> {
        let label = |(n, v): &(&str, &str)| Label {
            name: Bytes::copy_from_slice(n.as_bytes()),
            value: Bytes::copy_from_slice(v.as_bytes()),
        };
        let sample = |(timestamp, value): &(i64, f64)| Sample {
            value: *value,
            timestamp: *timestamp,
        };
        let timeseries = series.iter().map(|(labels, samples)| TimeSeries {
            labels: labels.iter().map(label).collect(),
            samples: samples.iter().map(sample).collect(),
            histograms: Vec::new(),
        });
        let request = WriteRequest {
            timeseries: timeseries.collect(),
        };
        snap::raw::Encoder::new()
            .compress_vec(&request.encode_to_vec())
            .unwrap()
    }

    fn shown(body: &[u8]) -> String {
        match decode(body, 1 << 20) {
            Err(error) => error.to_string(),
            Ok((batch, refused)) => {
                let items = batch.items.iter().map(|i| {
                    let key = &batch.keys[i.key.start as usize..i.key.end as usize];
                    let key = SeriesKey::from_canonical(key);
                    format!("{} {key} {} {:?}", i.index, i.ts.unwrap().ms(), i.value)
                });
                let refused = refused
                    .iter()
                    .map(|r| format!("{} {}: {}", r.index, r.field, r.reason));
                items.chain(refused).collect::<Vec<_>>().join("\n")
            }
        }
    }

    #[test]
    fn series_are_taken_and_refused_one_by_one() {
        let many: Vec<(String, String)> = (0..200)
            .map(|i| (format!("l{i:03}"), "x".to_owned()))
            .collect();
        let many: Vec<(&str, &str)> = many.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let told = shown(&body(&[
            (
                &[("__name__", "up"), ("job", "api")],
                &[(1_000, 1.0), (2_000, f64::NAN)],
            ),
            (
                &[
                    ("zone", "b"),
                    ("Az", "1"),
                    ("__name__", "my.metric"),
                    ("empty", ""),
                ],
                &[(3_000, -0.5)],
            ),
            (&[("job", "api")], &[(1, 1.0), (2, 2.0)]),
            (&[("__name__", "up"), ("a", "1"), ("a", "2")], &[(1, 1.0)]),
            (&many, &[(1, 1.0)]),
        ]));
        expect_test::expect![[r#"
            0 up{job="api"} 1000 1.0
            1 up{job="api"} 2000 NaN
            2 my.metric{Az="1",zone="b"} 3000 -0.5
            3 labels: there is no `__name__`: which metric is it?
            4 labels: there is no `__name__`: which metric is it?
            5 labels: "a" is given twice
            6 labels: 200 labels; the limit is 128"#]]
        .assert_eq(&told);
    }

    #[test]
    fn what_is_no_message_is_refused_as_a_whole() {
        let bomb = snap::raw::Encoder::new()
            .compress_vec(&vec![0; 2 << 20])
            .unwrap();
        let prose = snap::raw::Encoder::new().compress_vec(b"hello").unwrap();
        let told: Vec<String> = [&b"hello"[..], &bomb, &prose, b""]
            .iter()
            .map(|b| shown(b))
            .collect();
        expect_test::expect![[r#"
            the body is not snappy-compressed: snappy: corrupt input (expected valid offset but got offset 876; dst position: 0)
            the body has 2097152 bytes once decompressed; the limit is 1048576: send it in parts
            the body is no remote write message: failed to decode Protobuf message: unexpected end group tag
            the body is not snappy-compressed: snappy: corrupt input (empty)"#]].assert_eq(&told.join("\n"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode(&bytes, 1 << 20);
            let packed = snap::raw::Encoder::new().compress_vec(&bytes).unwrap();
            let _ = decode(&packed, 1 << 20);
        }

        #[test]
        fn a_changed_body_is_read_or_refused(at in any::<prop::sample::Index>(), to in any::<u8>()) {
            let whole = body(&[(&[("__name__", "up"), ("job", "api")], &[(1_000, 1.0), (2_000, 2.0)])]);
            let mut message = snap::raw::Decoder::new().decompress_vec(&whole).unwrap();
            let at = at.index(message.len());
            message[at] = to;
            let _ = decode(&snap::raw::Encoder::new().compress_vec(&message).unwrap(), 1 << 20);
        }
    }
}
