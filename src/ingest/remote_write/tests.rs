//! Bodies written by another protobuf library than the one that reads them.

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::engine::intake::spellings::Spellings;
use crate::engine::intake::{Admitted, Intake};
use crate::engine::promql::source::STALE_BITS;
use crate::ingest::remote_write::sent::{
    self, About, Count, Request, Span, Zero, body, packed, series,
};
use crate::ingest::remote_write::whole::histogram;
use crate::model::histogram::{BUCKETS_MAX, Parts};
use crate::model::labels::SeriesKey;

/// Decodes for a door that knows nothing.
fn decode(body: &[u8], limit: usize) -> Result<Decoded, DecodeError> {
    super::decode(body, limit, &Spellings::default().read())
}

/// The bytes of an item's key.
fn key<'d>(decoded: &'d Decoded, item: &Item) -> &'d [u8] {
    match &item.whose {
        Whose::Key(key) => &decoded.batch.keys[key.start as usize..key.end as usize],
        Whose::Number(_) => panic!("nothing is known"),
    }
}

fn shown(body: &[u8]) -> String {
    let decoded = match decode(body, 1 << 20) {
        Err(error) => return error.to_string(),
        Ok(decoded) => decoded,
    };
    let items = (0..).zip(&decoded.batch.items).map(|(place, i)| {
        let key = SeriesKey::from_canonical(key(&decoded, i));
        let native = decoded.batch.natives.iter().find(|(at, _)| *at == place);
        let value = native.map_or(format!("{:?}", i.value), |(_, h)| {
            assert_eq!(i.value.to_bits(), mark(h).to_bits());
            shortly(&h.parts())
        });
        format!("{} {key} {} {value}", i.index, i.ts.unwrap().ms())
    });
    let refused = decoded
        .refused
        .iter()
        .map(|r| format!("{} {}: {}", r.index, r.field, r.reason));
    items.chain(refused).collect::<Vec<_>>().join("\n")
}

/// The parts of a histogram on one line.
fn shortly(p: &Parts) -> String {
    let zero = format!("{} within {}", p.zero_count, p.zero_threshold);
    let hint = p.hint;
    let sides = format!("+{:?} -{:?} {:?}", p.positive, p.negative, p.bounds);
    let schema = p.schema.number();
    format!(
        "{hint:?} schema {schema} count {} sum {} zero {zero} {sides}",
        p.count, p.sum
    )
}

#[test]
fn series_are_taken_and_refused_one_by_one() {
    let many: Vec<(String, String)> = (0..10_000)
        .map(|i| (format!("l{i:05}"), "x".to_owned()))
        .collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(n, v)| (&**n, &**v)).collect();
    let mut latin = series(&[("__name__", "up"), ("a", "x")], &[(1, 1.0)]);
    latin.labels[1].value = vec![0xe9];
    let mut mixed = series(&[("__name__", "up")], &[(7_000, 1.0)]);
    mixed.exemplars = vec![mixed.samples[0]];
    mixed.histograms = vec![
        histogram(8_000, 2, &[(-3, 4), (0, 1), (1, 7)], 5.5),
        sent::Histogram {
            schema: 77,
            ..histogram(8_001, 0, &[], 0.0)
        },
    ];
    let told = shown(&body(vec![
        series(
            &[("__name__", "up"), ("job", "api")],
            &[(1_000, 1.0), (2_000, f64::NEG_INFINITY)],
        ),
        series(
            &[
                ("zone", "b"),
                ("Az", "ü"),
                ("__name__", "my.metric/s"),
                ("empty", ""),
            ],
            &[(3_000, -0.5)],
        ),
        series(&[("job", "api")], &[(1, 1.0), (2, 2.0)]),
        series(&[("__name__", ""), ("a", "1")], &[(1, 1.0)]),
        series(&[("__name__", "up"), ("__name__", "down")], &[(1, 1.0)]),
        series(&[("__name__", "up"), ("a", "1"), ("a", "2")], &[(1, 1.0)]),
        series(&[("__name__", "up"), ("", "2")], &[(1, 1.0)]),
        series(&many, &[(1, 1.0)]),
        latin,
        mixed,
        series(&[("__name__", "up")], &[]),
        series(&[("__name__", "end")], &[(9_000, 9.0)]),
    ]));
    expect_test::expect![[r#"
        0 up{job="api"} 1000 1.0
        1 up{job="api"} 2000 -inf
        2 my.metric/s{Az="ü",zone="b"} 3000 -0.5
        11 up 7000 1.0
        12 up 8000 Unknown schema 0 count 14 sum 5.5 zero 2 within 0.001 +[(-3, 4.0), (0, 1.0), (1, 7.0)] -[] []
        14 end 9000 9.0
        3 labels: this series has no metric's name
        4 labels: this series has no metric's name
        5 labels: this series has no metric's name
        6 labels: "__name__" is given twice
        7 labels: "a" is given twice
        8 labels: the label with the value "2" has no name
        9 labels: 10000 labels; the limit is 128
        10 labels: a label's value is not UTF-8: incomplete utf-8 byte sequence from index 0
        13 histograms: there is no schema 77 here: -4 to 8 for exponential buckets, -53 for custom ones"#]]
    .assert_eq(&told);
}

#[test]
fn every_bit_of_a_value_is_kept() {
    let strange = [STALE_BITS, 0x7ff8_0000_0000_0001, 0xfff8_dead_beef_0000, 1];
    let samples: Vec<(i64, f64)> = (1..).zip(strange.map(f64::from_bits)).collect();
    let decoded = decode(
        &body(vec![series(&[("__name__", "up")], &samples)]),
        1 << 20,
    )
    .unwrap();
    let back: Vec<u64> = decoded
        .batch
        .items
        .iter()
        .map(|i| i.value.to_bits())
        .collect();
    assert_eq!(back, strange);
    assert!(decoded.batch.exact && decoded.batch.id.is_some());
}

fn floats(ts: i64) -> sent::Histogram {
    sent::Histogram {
        count: Some(Count::Float(7.5)),
        sum: 3.25,
        schema: 3,
        zero_threshold: 0.5,
        zero_count: Some(Zero::Float(0.5)),
        negative_spans: vec![Span {
            offset: -2,
            length: 1,
        }],
        negative_counts: vec![1.5],
        positive_spans: vec![
            Span {
                offset: 1,
                length: 2,
            },
            Span {
                offset: 3,
                length: 0,
            },
            Span {
                offset: 1,
                length: 1,
            },
        ],
        positive_counts: vec![1.0, 2.0, 2.5],
        reset_hint: 3,
        timestamp: ts,
        ..sent::Histogram::default()
    }
}

fn custom(ts: i64) -> sent::Histogram {
    sent::Histogram {
        schema: -53,
        zero_threshold: 0.0,
        custom_values: vec![0.5, 1.0, 10.0],
        ..histogram(ts, 0, &[(0, 3), (1, 2), (3, 9)], 100.0)
    }
}

#[test]
fn histograms_are_taken_and_refused_one_by_one() {
    let stale = sent::Histogram {
        count: Some(Count::Int(0)),
        sum: f64::from_bits(STALE_BITS),
        timestamp: 4,
        ..sent::Histogram::default()
    };
    let good = || histogram(5, 0, &[(1, 2), (2, 1)], 1.0);
    let span = |offset, length| Span { offset, length };
    let wrong: Vec<sent::Histogram> = vec![
        sent::Histogram {
            schema: 9,
            ..good()
        },
        sent::Histogram {
            positive_spans: vec![span(1, 3)],
            ..good()
        },
        sent::Histogram {
            positive_spans: vec![span(1, u32::MAX), span(1, u32::MAX)],
            ..good()
        },
        sent::Histogram {
            positive_spans: vec![span(1, 1), span(-1, 1)],
            ..good()
        },
        sent::Histogram {
            positive_spans: vec![span(i32::MAX, 2)],
            ..good()
        },
        sent::Histogram {
            positive_spans: vec![span(5_000, 2)],
            ..good()
        },
        sent::Histogram {
            positive_deltas: vec![2, -3],
            ..good()
        },
        sent::Histogram {
            positive_deltas: vec![i64::MAX, i64::MAX],
            ..good()
        },
        sent::Histogram {
            count: Some(Count::Int(4)),
            ..good()
        },
        sent::Histogram {
            count: Some(Count::Int(2)),
            sum: f64::NAN,
            ..good()
        },
        sent::Histogram {
            positive_counts: vec![1.0, -2.0, 2.5],
            ..floats(6)
        },
        sent::Histogram {
            zero_count: Some(Zero::Float(-1.0)),
            ..floats(6)
        },
        sent::Histogram {
            zero_threshold: f64::NAN,
            ..good()
        },
        sent::Histogram {
            custom_values: vec![1.0],
            ..good()
        },
        sent::Histogram {
            custom_values: vec![1.0, 1.0, 2.0],
            ..custom(7)
        },
        sent::Histogram {
            custom_values: vec![1.0],
            ..custom(7)
        },
        sent::Histogram {
            zero_count: Some(Zero::Int(1)),
            count: Some(Count::Int(15)),
            ..custom(7)
        },
        sent::Histogram {
            custom_values: vec![0.0; BUCKETS_MAX + 9],
            ..custom(7)
        },
        sent::Histogram {
            positive_deltas: vec![0; BUCKETS_MAX + 9],
            positive_spans: vec![span(0, BUCKETS_MAX as u32 + 9)],
            ..good()
        },
        sent::Histogram {
            count: Some(Count::Int(9)),
            sum: f64::NAN,
            ..good()
        },
    ];
    let mut one = series(&[("__name__", "h")], &[(1, 1.0)]);
    one.histograms = vec![histogram(2, 2, &[(-3, 4), (0, 1), (1, 7)], 5.5), floats(3)];
    one.histograms.extend([stale, custom(5)]);
    one.histograms.extend(wrong);
    expect_test::expect![[r#"
        0 h 1 1.0
        1 h 2 Unknown schema 0 count 14 sum 5.5 zero 2 within 0.001 +[(-3, 4.0), (0, 1.0), (1, 7.0)] -[] []
        2 h 3 Gauge schema 3 count 7.5 sum 3.25 zero 0.5 within 0.5 +[(1, 1.0), (2, 2.0), (7, 2.5)] -[(-2, 1.5)] []
        3 h 4 Unknown schema 0 count 0 sum NaN zero 0 within 0 +[] -[] []
        4 h 5 Unknown schema -53 count 14 sum 100 zero 0 within 0 +[(0, 3.0), (1, 2.0), (3, 9.0)] -[] [0.5, 1.0, 10.0]
        24 h 5 Unknown schema 0 count 9 sum NaN zero 0 within 0.001 +[(1, 2.0), (2, 1.0)] -[] []
        5 histograms: there is no schema 9 here: -4 to 8 for exponential buckets, -53 for custom ones
        6 histograms: positive side: the spans are for 3 buckets, and 2 are there
        7 histograms: positive side: the spans are for 8589934590 buckets, and 2 are there
        8 histograms: positive side: a span begins before the end of the one before it
        9 histograms: positive side: there is no bucket with index 2147483648
        10 histograms: there is no bucket with index 5000 in schema 0
        11 histograms: positive side: a bucket has less than nothing in it
        12 histograms: 18446744073709551614 observations in the buckets, and a count of 3
        13 histograms: 3 observations in the buckets, and a count of 4
        14 histograms: 3 observations in the buckets, and a count of 2
        15 histograms: positive side: a bucket has less than nothing in it
        16 histograms: the zero bucket has less than nothing in it
        17 histograms: the zero bucket cannot be NaN wide
        18 histograms: custom bounds go with schema -53, which has no zero bucket and no negative buckets
        19 histograms: custom bounds must be numbers that ascend, without +Inf
        20 histograms: there is no bucket with index 3 in schema -53
        21 histograms: custom bounds go with schema -53, which has no zero bucket and no negative buckets
        22 histograms: more than 16384 buckets on one side
        23 histograms: positive side: more than 16384 buckets or spans"#]].assert_eq(&shown(&body(vec![one])));
}

#[test]
fn what_a_sender_says_of_its_metrics_is_taken_down() {
    let about = About {
        kind: 5,
        metric: "latency".to_owned(),
        help: "How long.".to_owned(),
        unit: "seconds".to_owned(),
    };
    let nameless = About {
        metric: String::new(),
        ..about.clone()
    };
    let request = Request {
        timeseries: Vec::new(),
        metadata: vec![about, nameless],
    };
    let decoded = decode(&packed(&request.encode_to_vec()), 1 << 20).unwrap();
    let known: Vec<_> = decoded.metadata.iter().collect();
    assert_eq!(known.len(), 1);
    assert_eq!((known[0].0, known[0].1.kind), ("latency", Kind::Summary));
    assert_eq!(
        (&*known[0].1.help, &*known[0].1.unit),
        ("How long.", "seconds")
    );
}

#[test]
fn what_is_no_message_is_refused_as_a_whole() {
    let whole = body(vec![series(&[("__name__", "up")], &[(1, 1.0)])]);
    let message = snap::raw::Decoder::new().decompress_vec(&whole).unwrap();
    let told: Vec<String> = [
        b"hello".to_vec(),
        packed(&[&[0x0a, 3, 0x22, 1, 0x0b][..]].concat()),
        packed(&vec![0; 2 << 20]),
        packed(b"hello"),
        whole[..whole.len() - 3].to_vec(),
        packed(&message[..message.len() - 3]),
        packed(&[&message[..], &[0x0a, 2, 0x12, 9]].concat()),
        packed(&[&message[..], &[0x1a, 1, 0x0b]].concat()),
        // It says of itself that it has 4 GiB.
        vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0],
        vec![0xff; 12],
        Vec::new(),
    ]
    .iter()
    .map(|b| shown(b))
    .collect();
    expect_test::expect![[r#"
        the body is not snappy, its block format: snappy: corrupt input (expected valid offset but got offset 876; dst position: 0)
        the body is no `prometheus.WriteRequest`: in series 0: it has a group, which no such message has
        the body has 2097152 bytes once it is decompressed; the limit is 1048576: send it in parts
        the body is no `prometheus.WriteRequest`: at series 0: it has a group, which no such message has
        the body is not snappy, its block format: snappy: corrupt input (expected literal read of length 31; remaining src: 28; remaining dst: 31)
        the body is no `prometheus.WriteRequest`: at series 0: it ends within a field
        the body is no `prometheus.WriteRequest`: in series 1: it ends within a field
        the body is no `prometheus.WriteRequest`: in metadata 0: it has a group, which no such message has
        the body has 4294967295 bytes once it is decompressed; the limit is 1048576: send it in parts
        the body is not snappy, its block format: snappy: corrupt input (invalid header)
        the body is not snappy, its block format: snappy: corrupt input (empty)"#]].assert_eq(&told.join("\n"));
    assert_eq!(shown(&packed(b"")), "");
}

#[test]
fn labels_that_the_door_knows_as_they_are_spelt_are_not_read_again() {
    let mut door = Intake::default();
    let spellings = door.spellings();
    let mut send = |body: Vec<u8>| {
        let decoded = super::decode(&body, 1 << 20, &spellings.read()).unwrap();
        let mut into = Admitted::default();
        let now = Timestamp::from_ms(1_000);
        let refused = door.admit(now, 0, &decoded.batch, &mut into);
        assert_eq!((refused.len(), decoded.refused.len()), (0, 0));
        let known = decoded.batch.items.iter();
        let known: Vec<bool> = known.map(|i| matches!(i.whose, Whose::Number(_))).collect();
        let series: Vec<u32> = into.samples.iter().map(|s| s.series).collect();
        (known, series)
    };
    let up = |ts: i64| series(&[("__name__", "up"), ("job", "a")], &[(ts, 1.0)]);
    let turned = |ts: i64| series(&[("job", "a"), ("__name__", "up")], &[(ts, 1.0)]);
    let down = |ts: i64| series(&[("__name__", "down")], &[(ts, 1.0), (ts + 1, 1.0)]);
    assert_eq!(
        send(body(vec![up(1), down(1)])),
        (vec![false; 3], vec![0, 1, 1])
    );
    assert_eq!(
        send(body(vec![down(3), turned(3), up(4)])),
        (vec![true, true, false, true], vec![1, 1, 0, 0])
    );
    assert_eq!(send(body(vec![turned(5)])), (vec![true], vec![0]));
    // A label behind a sample: the bytes before it are those of another series.
    let mut scattered = packed(&up(6).encode_to_vec());
    let message = snap::raw::Decoder::new()
        .decompress_vec(&scattered)
        .unwrap();
    let more = series(&[("x", "y")], &[]).encode_to_vec();
    let whole = [message, more].concat();
    let length = u8::try_from(whole.len()).unwrap();
    scattered = packed(&[&[0x0a, length], whole.as_slice()].concat());
    assert_eq!(send(scattered.clone()), (vec![false], vec![2]));
    assert_eq!(
        send([scattered].concat()),
        (vec![false], vec![]),
        "a repetition"
    );
}

#[test]
fn a_series_of_too_many_samples_or_histograms_is_read_no_further() {
    for field in [0x12, 0x22] {
        let empty = [field, 0].repeat(SAMPLES_COUNT_MAX + 1);
        let message = [&empty[..], &[0x0b]].concat();
        let length = u32::try_from(message.len()).unwrap();
        let mut whole = vec![0x0a];
        prost::encoding::encode_varint(length.into(), &mut whole);
        whole.extend_from_slice(&message);
        let decoded = decode(&packed(&whole), 1 << 24);
        assert_eq!(decoded.unwrap_err(), DecodeError::TooMany);
    }
}

#[test]
fn labels_beyond_the_limit_are_counted_and_not_kept() {
    let message = [0x0a, 0].repeat(100_000);
    let spellings = Spellings::default();
    let mut taken = Taken {
        known: &spellings.read(),
        decoded: Decoded::default(),
        count: 0,
        buckets: 0,
    };
    let mut labels = Vec::new();
    let (_, why) = taken.key(&message, &mut labels).unwrap().unwrap_err();
    assert_eq!(why, "100000 labels; the limit is 128");
    assert_eq!(labels.len(), SERIES_LABELS_MAX);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode(&bytes, 1 << 20);
        let _ = decode(&packed(&bytes), 1 << 20);
        let length = u32::try_from(bytes.len()).unwrap();
        let mut inside = vec![0x22];
        prost::encoding::encode_varint(length.into(), &mut inside);
        inside.extend_from_slice(&bytes);
        let mut whole = vec![0x0a];
        prost::encoding::encode_varint(inside.len() as u64, &mut whole);
        whole.extend_from_slice(&inside);
        let _ = decode(&packed(&whole), 1 << 20);
    }

    #[test]
    fn any_histogram_is_read_as_it_was_sent_or_refused_within_bounds(
        schema in prop_oneof![-6_i32..10, Just(-53), any::<i32>()],
        spans in prop::collection::vec((-9_i32..9, 0_u32..6), 0..5),
        deltas in prop::collection::vec(-5_i64..9, 0..12),
        floats in any::<bool>(),
        bounds in prop::collection::vec(any::<f64>(), 0..4),
        sum in any::<f64>(),
    ) {
        let spans: Vec<Span> = spans.into_iter().map(|(offset, length)| Span { offset, length }).collect();
        let mut counts: Vec<i64> = Vec::new();
        for delta in &deltas {
            counts.push(counts.last().unwrap_or(&0) + delta);
        }
        let count = counts.iter().sum::<i64>();
        let one = sent::Histogram {
            count: Some(if floats { Count::Float(count as f64) } else { Count::Int(count.unsigned_abs()) }),
            schema,
            sum,
            positive_spans: spans.clone(),
            positive_deltas: if floats { vec![] } else { deltas },
            positive_counts: if floats { counts.iter().map(|c| *c as f64).collect() } else { vec![] },
            custom_values: bounds,
            ..sent::Histogram::default()
        };
        let mut all = series(&[("__name__", "h")], &[]);
        all.histograms = vec![one];
        let decoded = decode(&body(vec![all]), 1 << 20).unwrap();
        prop_assert_eq!(decoded.batch.natives.len() + decoded.refused.len(), 1);
        if let Some((_, h)) = decoded.batch.natives.first() {
            let parts = h.parts();
            prop_assert!(counts.iter().all(|c| *c >= 0));
            prop_assert_eq!(parts.count, count as f64);
            let (mut next, mut indexes) = (0, Vec::new());
            for Span { offset, length } in spans {
                next += offset;
                indexes.extend(next..next + length.cast_signed());
                next += length.cast_signed();
            }
            let wanted: Vec<(i32, f64)> = indexes.into_iter().zip(counts.iter().map(|c| *c as f64)).collect();
            prop_assert_eq!(parts.positive, wanted);
        }
    }

    #[test]
    fn a_changed_body_is_read_or_refused_and_errors_name_the_place(
        at in any::<prop::sample::Index>(), to in any::<u8>(), inside in any::<bool>(),
    ) {
        let up = |job: &str| series(&[("__name__", "up"), ("job", job)], &[(1_000, 1.0), (2_000, 2.0)]);
        let mut whole = body(vec![up("api"), up("db"), up("web")]);
        if inside {
            let mut message = snap::raw::Decoder::new().decompress_vec(&whole).unwrap();
            let at = at.index(message.len());
            message[at] = to;
            whole = packed(&message);
        } else {
            let at = at.index(whole.len());
            whole[at] = to;
        }
        if let Err(error) = decode(&whole, 1 << 20) {
            let said = error.to_string();
            let placed = ["at series ", "in series ", "in metadata ", "not snappy", "the limit is"];
            prop_assert!(placed.iter().any(|p| said.contains(p)), "{said}");
        }
    }

    #[test]
    fn what_another_library_writes_is_read(
        all in prop::collection::vec((
            prop::collection::btree_map("[a-zé]{1,5}", "[a-z0-9ü]{1,5}", 0..6),
            prop::collection::vec((any::<i64>(), any::<u64>()), 0..4),
        ), 0..5),
    ) {
        let mut wanted = Vec::new();
        let sent = all.iter().map(|(labels, samples)| {
            let mut pairs: Vec<(&str, &str)> = labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let mut key = Vec::new();
            put_key(b"m", &mut pairs.clone(), &mut key).unwrap();
            pairs.push(("__name__", "m"));
            let samples: Vec<(i64, f64)> = samples.iter().map(|(t, v)| (*t, f64::from_bits(*v))).collect();
            wanted.extend(samples.iter().map(|(t, v)| (key.clone(), *t, v.to_bits())));
            series(&pairs, &samples)
        });
        let decoded = decode(&body(sent.collect()), 1 << 20).unwrap();
        let got: Vec<_> = decoded.batch.items.iter().map(|i| {
            (key(&decoded, i).to_vec(), i.ts.unwrap().ms(), i.value.to_bits())
        }).collect();
        prop_assert_eq!(got, wanted);
        prop_assert_eq!(decoded.refused, vec![]);
    }
}
