//! What `make fuzz` checks without end, checked here with a few thousand inputs that are nearly right: what strangers send
//! does no harm.

#[path = "../fuzz/exposition.rs"]
mod exposition;
#[path = "../fuzz/json.rs"]
mod json;
#[path = "../fuzz/promql.rs"]
mod promql;
#[path = "../fuzz/remote_write.rs"]
mod remote_write;

use std::panic::{AssertUnwindSafe, catch_unwind};

use ops::engine::intake::spellings::Spellings;
use ops::engine::promql::{Dialect, parse};
use ops::ingest::exposition::{Format, batch};
use ops::ingest::remote_write::decode;

use crate::ingest::sent::{body, series};

/// Bytes that mean something to one of the formats.
const TELLING: &[u8] = b"{}[]()\",:=~!#@+-*/^%\\\n 0189e.aNI_\xff\x80\0\x0a\x12";

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (n as u64).max(1)).unwrap()
    }

    /// The input with some bytes changed, put in, taken out or repeated.
    fn changed(&mut self, input: &[u8]) -> Vec<u8> {
        let mut bytes = input.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            let telling = TELLING[self.below(TELLING.len())];
            match self.below(4) {
                _ if bytes.is_empty() => bytes.push(telling),
                0 => bytes[at] = telling,
                1 => bytes.insert(at, telling),
                2 => drop(bytes.drain(at..(at + 1 + self.below(4)).min(bytes.len()))),
                _ => {
                    let part = bytes[at..(at + self.below(12)).min(bytes.len())].to_vec();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, part);
                }
            }
        }
        bytes
    }
}

/// Checks inputs and so many changed ones of each.
fn check_all(inputs: &[&[u8]], times: usize, check: impl Fn(&[u8])) {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for input in inputs {
        check(input);
        for _ in 0..times {
            let changed = dice.changed(input);
            let done = catch_unwind(AssertUnwindSafe(|| check(&changed)));
            assert!(done.is_ok(), "{:?}", String::from_utf8_lossy(&changed));
        }
    }
}

#[test]
fn no_expression_breaks_anything() {
    let texts = [
        "sum by (i) (rate(a{i=~\"x|y\"}[1m] offset 15s)) / on (i) group_left b > 0.5",
        "histogram_quantile(0.9, {__name__=\"h\"}) or quantile_over_time(0.5, a[2m:15s] @ end())",
        "topk(2, a) unless absent(n{i!=\"x\"}) and label_replace(b, \"k\", \"$1\", \"i\", \"(.*)\")",
        "count_values(\"v\", a) == bool 3 or (-a ^ 2 % 3) or histogram_count(n) or vector(1e3)",
    ];
    for text in texts {
        assert_eq!(parse(text, Dialect::ALL).err(), None, "{text}");
    }
    check_all(&texts.map(str::as_bytes), 400, |bytes| {
        promql::check(&String::from_utf8_lossy(bytes));
    });
}

#[test]
fn no_exposition_breaks_anything() {
    let text = "# HELP a_seconds b\n# TYPE a_seconds gauge\n# UNIT a_seconds seconds\n\
        a_seconds{b=\"c\\n\",d=\"e\"} 1 123\n# TYPE c counter\n\
        c_total{le=\"0.5\"} 2e3 # {x=\"y\"} 1 2\n{\"m.n\",q=\"r\"} NaN\n# EOF\n"
        .as_bytes();
    let read = batch::decode(text, Format::OpenMetrics).unwrap();
    assert_eq!(read.batch.items.len(), 3);
    check_all(&[text], 4_000, exposition::check);
}

#[test]
fn no_remote_write_breaks_anything() {
    let labels = [("__name__", "a"), ("b", "c"), ("le", "0.5")];
    let of = series(&labels, &[(1_000, 1.5), (16_000, f64::NAN)]);
    let packed = body(vec![of.clone(), of]);
    let message = snap::raw::Decoder::new().decompress_vec(&packed).unwrap();
    let read = decode(&packed, 1 << 20, &Spellings::default().read()).unwrap();
    assert_eq!(read.batch.items.len(), 4);
    check_all(&[&message, &packed], 4_000, remote_write::check);
}

#[test]
fn no_json_breaks_anything() {
    let text = "[{\"name\":\"a\",\"labels\":{\"b\":\"c\"},\"val\":1.5,\"ts\":1700000000,\"id\":\"x\"},{\"name\":\"\",\"val\":2}]"
        .as_bytes();
    let (batch, refused) = ops::ingest::json::decode(text).unwrap();
    assert_eq!((batch.items.len(), refused.len()), (1, 1));
    check_all(&[text], 4_000, json::check);
}
