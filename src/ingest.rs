//! Bytes → samples, a file per protocol. Pure: a protocol turns a body into a [`Batch`](crate::engine::intake::Batch)
//! and says of each item that it cannot take what is wrong with it.

pub mod json;
pub mod remote_write;

/// Why one item of a request is not taken.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Refused {
    /// Its place in the request, from 0.
    pub index: u32,
    /// The field that is wrong.
    pub field: &'static str,
    /// What is wrong and what to send instead.
    pub reason: String,
}

/// Longest metric name, in bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// Longest label value, in bytes.
pub const VALUE_BYTES_MAX: usize = 2_048;
/// Labels of one series.
pub const LABELS_COUNT_MAX: usize = 32;
/// Labels of one series that comes from Prometheus, whose service discovery makes many.
pub const WIRE_LABELS_COUNT_MAX: usize = 128;
/// Longest delivery id, in bytes.
pub const ID_BYTES_MAX: usize = 256;
/// Items of one request.
pub const ITEMS_COUNT_MAX: usize = 100_000;
