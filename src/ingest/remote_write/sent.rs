//! Bodies of remote write as senders make them, for tests and benches: written by another protobuf library than the
//! one that reads them.

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub struct Request {
    #[prost(message, repeated, tag = "1")]
    pub timeseries: Vec<Series>,
    #[prost(message, repeated, tag = "3")]
    pub metadata: Vec<About>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Series {
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Pair>,
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Point>,
    #[prost(message, repeated, tag = "3")]
    pub exemplars: Vec<Point>,
    #[prost(message, repeated, tag = "4")]
    pub histograms: Vec<Point>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Pair {
    #[prost(bytes = "vec", tag = "1")]
    pub name: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct Point {
    #[prost(double, tag = "1")]
    pub value: f64,
    #[prost(int64, tag = "2")]
    pub timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct About {
    #[prost(int32, tag = "1")]
    pub kind: i32,
    #[prost(string, tag = "2")]
    pub metric: String,
    #[prost(string, tag = "4")]
    pub help: String,
    #[prost(string, tag = "5")]
    pub unit: String,
}

pub fn series(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> Series {
    let pair = |(name, value): &(&str, &str)| Pair {
        name: name.as_bytes().to_vec(),
        value: value.as_bytes().to_vec(),
    };
    let point = |(timestamp, value): &(i64, f64)| Point {
        value: *value,
        timestamp: *timestamp,
    };
    Series {
        labels: labels.iter().map(pair).collect(),
        samples: samples.iter().map(point).collect(),
        exemplars: Vec::new(),
        histograms: Vec::new(),
    }
}

pub fn packed(message: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(message).unwrap()
}

pub fn body(timeseries: Vec<Series>) -> Vec<u8> {
    let request = Request {
        timeseries,
        metadata: Vec::new(),
    };
    packed(&request.encode_to_vec())
}
