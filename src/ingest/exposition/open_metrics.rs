//! OpenMetrics 1.0, as Prometheus reads it: one blank between parts, times in seconds, `# EOF` at the end. The order of
//! families and the suffixes that a kind may have are not checked.

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

/// The next entry; `None` at the end.
pub(super) fn entry<'a>(
    scan: &mut Scan<'a>,
    labels: &mut Vec<Label<'a>>,
) -> Result<Option<Entry<'a>>, Fault> {
    match scan.peek() {
        None => fault(
            scan.at(),
            "the body does not end with `# EOF`: it is cut short",
        ),
        Some(b'#') => described(scan),
        Some(_) => sample(scan, labels).map(|s| Some(Entry::Sample(s))),
    }
}

fn described<'a>(scan: &mut Scan<'a>) -> Result<Option<Entry<'a>>, Fault> {
    let at = scan.at();
    if scan.eat("# EOF") {
        scan.eat("\n");
        return match scan.is_at_end() {
            true => Ok(None),
            false => fault(scan.at(), "there is something after `# EOF`"),
        };
    }
    let words = ["# HELP ", "# TYPE ", "# UNIT "];
    let Some(word) = words.into_iter().find(|w| scan.eat(w)) else {
        return fault(
            at,
            "expected `# HELP`, `# TYPE`, `# UNIT` or `# EOF`: there are no comments in OpenMetrics",
        );
    };
    let name = scan.name()?;
    let at = scan.at();
    if !scan.eat(" ") {
        return fault(
            at,
            &format!("expected a blank and a text, found {}", scan.found()),
        );
    }
    let at = scan.at();
    let text = scan.until(|b| b == b'\n');
    if !scan.eat("\n") {
        return fault(scan.at(), "the body is cut short within a line");
    }
    match word {
        "# HELP " if text.contains('\\') => {
            Ok(Some(Entry::Help(name, Cow::Owned(unescaped(text, true)))))
        }
        "# HELP " => Ok(Some(Entry::Help(name, Cow::Borrowed(text)))),
        "# TYPE " => match Kind::ALL.iter().find(|(known, _)| *known == text) {
            Some((_, kind)) => Ok(Some(Entry::Type(name, *kind))),
            None => {
                let known: Vec<&str> = Kind::ALL.iter().map(|(known, _)| *known).collect();
                fault(
                    at,
                    &format!("{text:?} is not a kind of metric: {}", known.join(", ")),
                )
            }
        },
        _ => {
            let stem = name.strip_suffix(text).and_then(|n| n.strip_suffix('_'));
            if text.is_empty() || stem.is_some() {
                Ok(Some(Entry::Unit(name, text)))
            } else {
                fault(
                    at,
                    &format!(
                        "the unit {text:?} is not the last part of the metric's name {name:?}"
                    ),
                )
            }
        }
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
    if scan.eat("{") {
        scan.labels(Format::OpenMetrics, Some(&mut name), labels)?;
    }
    let Some(name) = name else {
        return fault(at, "this sample has no metric's name");
    };
    let value = after_blank(scan, "a value")?;
    let mut exemplar_follows = scan.eat(" # {");
    let mut ts = None;
    if !exemplar_follows && scan.peek() == Some(b' ') {
        ts = Some(time(scan)?);
        exemplar_follows = scan.eat(" # {");
    }
    if exemplar_follows {
        exemplar(scan, labels)?;
    }
    end_of_line(scan)?;
    Ok(Sample { name, value, ts })
}

/// Steps over what stands after `# {`.
fn exemplar<'a>(scan: &mut Scan<'a>, labels: &mut Vec<Label<'a>>) -> Result<(), Fault> {
    let count = labels.len();
    scan.labels(Format::OpenMetrics, None, labels)?;
    labels.truncate(count);
    after_blank(scan, "the exemplar's value")?;
    if scan.peek() == Some(b' ') {
        time(scan)?;
    }
    Ok(())
}

fn after_blank(scan: &mut Scan<'_>, what: &str) -> Result<f64, Fault> {
    let at = scan.at();
    if !scan.eat(" ") {
        return fault(
            at,
            &format!("expected a blank and {what}, found {}", scan.found()),
        );
    }
    let at = scan.at();
    number(at, scan.until(|b| b == b' ' || b == b'\n'))
}

/// A blank and seconds since 1970; parts of a millisecond are cut off.
fn time(scan: &mut Scan<'_>) -> Result<Timestamp, Fault> {
    let at = scan.at() + 1;
    let seconds = after_blank(scan, "a time in seconds")?;
    if !seconds.is_finite() {
        return fault(at, "a time must be finite");
    }
    Ok(Timestamp::from_ms((seconds * 1_000.0) as i64))
}

fn end_of_line(scan: &mut Scan<'_>) -> Result<(), Fault> {
    let at = scan.at();
    if scan.eat("\n") {
        Ok(())
    } else {
        fault(
            at,
            &format!("expected the end of the line, found {}", scan.found()),
        )
    }
}
