//! Bytes → samples, a file per protocol. Pure: a protocol turns a body into a [`Batch`](crate::engine::intake::Batch)
//! and says of each item that it cannot take what is wrong with it.

pub mod exposition;
pub mod inflate;
pub mod json;
pub mod key;
pub mod metadata;
pub mod remote_write;
pub mod scrape;

use std::borrow::Cow;

use crate::engine::intake::Batch;
use crate::ingest::metadata::Metadata;

/// Why one item of a request is not taken.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Refused {
    /// Its place in the request, from 0.
    pub index: u32,
    /// The field that is wrong.
    pub field: &'static str,
    /// What is wrong and what to send instead.
    pub reason: Cow<'static, str>,
}

/// What a body of Prometheus's formats holds.
#[derive(Debug, Default, PartialEq)]
pub struct Decoded {
    /// The samples that can be taken.
    pub batch: Batch,
    /// Those that cannot.
    pub refused: Vec<Refused>,
    /// What it says of its metrics.
    pub metadata: Metadata,
}

/// A place in a buffer of keys, as items of a batch name it; bodies are too small for more.
fn offset(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// Longest metric name, in bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// Longest label value, in bytes.
pub const VALUE_BYTES_MAX: usize = 2_048;
/// Labels of one series.
pub const LABELS_COUNT_MAX: usize = 32;
/// Longest delivery id, in bytes.
pub const ID_BYTES_MAX: usize = 256;
/// Samples of one request or answer in Prometheus's formats; each takes about 100 bytes while it is taken.
pub const SAMPLES_COUNT_MAX: usize = 1_000_000;
/// Buckets and bounds of native histograms in one request; each takes 16 bytes. A histogram without any
/// counts as 16.
pub const BUCKETS_COUNT_MAX: usize = 4_000_000;
/// Items of one request.
pub const ITEMS_COUNT_MAX: usize = 100_000;
