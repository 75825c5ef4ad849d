//! The text format 0.0.4, as Prometheus reads it: blanks and tabs are free, empty lines and comments are passed over.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::borrow::Cow;

use crate::ingest::exposition::scan::{Fault, Scan, fault, number, unescaped};
use crate::ingest::exposition::{Entry, Format, Label, Sample};
use crate::ingest::metadata::Kind;
use crate::model::time::Timestamp;

/// The kinds that this format knows.
const KINDS: [(&str, Kind); 5] = [
    ("counter", Kind::Counter),
    ("gauge", Kind::Gauge),
    ("histogram", Kind::Histogram),
    ("summary", Kind::Summary),
    ("untyped", Kind::Unknown),
];

/// The next entry; `None` at the end.
pub(super) fn entry<'a>(
    scan: &mut Scan<'a>,
    labels: &mut Vec<Label<'a>>,
) -> Result<Option<Entry<'a>>, Fault> {
    loop {
        scan.blanks();
        match scan.peek() {
            None => return Ok(None),
            Some(b'\n') => drop(scan.eat("\n")),
            Some(b'#') => {
                scan.eat("#");
                if let Some(described) = described(scan)? {
                    return Ok(Some(described));
                }
            }
            Some(_) => return sample(scan, labels).map(|s| Some(Entry::Sample(s))),
        }
    }
}

/// What stands after `#`: a description, or a comment.
fn described<'a>(scan: &mut Scan<'a>) -> Result<Option<Entry<'a>>, Fault> {
    scan.blanks();
    let help = scan.eat("HELP");
    if !(help || scan.eat("TYPE")) || !scan.blanks() {
        scan.line();
        return Ok(None);
    }
    let name = scan.name()?;
    let at = scan.at();
    let text = scan.line();
    if help {
        let text = text.strip_prefix([' ', '\t']).unwrap_or(text);
        let text = if text.contains('\\') {
            Cow::Owned(unescaped(text, false))
        } else {
            Cow::Borrowed(text)
        };
        return Ok(Some(Entry::Help(name, text)));
    }
    let word = text.trim_matches([' ', '\t']);
    match KINDS.iter().find(|(known, _)| *known == word) {
        Some((_, kind)) => Ok(Some(Entry::Type(name, *kind))),
        None => fault(
            at + usize::from(!text.is_empty()),
            &format!(
                "{word:?} is not a kind of metric: counter, gauge, histogram, summary or untyped"
            ),
        ),
    }
}

fn sample<'a>(scan: &mut Scan<'a>, labels: &mut Vec<Label<'a>>) -> Result<Sample<'a>, Fault> {
    let at = scan.at();
    let mut name = match scan.word(true) {
        "" => None,
        word => Some(Cow::Borrowed(word)),
    };
    if name.is_none() && scan.peek() != Some(b'{') {
        return fault(
            at,
            &format!("expected a metric's name, found {}", scan.found()),
        );
    }
    scan.blanks();
    if scan.eat("{") {
        scan.labels(Format::Text, Some(&mut name), labels)?;
        scan.blanks();
    }
    let Some(name) = name else {
        return fault(at, "this sample has no metric's name");
    };
    let at = scan.at();
    let value = number(at, scan.until(|b| matches!(b, b'{' | b' ' | b'\t' | b'\n')))?;
    scan.blanks();
    let at = scan.at();
    let ts = match scan.until(|b| !b.is_ascii_digit()) {
        "" => None,
        digits => Some(Timestamp::from_ms(digits.parse().map_err(|_| Fault {
            at,
            what: format!("{digits} is no time in milliseconds"),
        })?)),
    };
    scan.blanks();
    let at = scan.at();
    if !scan.eat("\n") && !scan.is_at_end() {
        let wanted = match ts {
            None => "expected a time in milliseconds or the end of the line",
            Some(_) => "expected the end of the line",
        };
        return fault(at, &format!("{wanted}, found {}", scan.found()));
    }
    Ok(Sample { name, value, ts })
}
