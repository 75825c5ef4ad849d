//! What the two formats have in common: names, quoted texts, labels, numbers.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::borrow::Cow;

use crate::ingest::exposition::{Format, Label};

/// Labels of a sample as it is written. Far more than a series may have, as relabelling may take some away; but each
/// takes six times its bytes here.
const LINE_LABELS_MAX: usize = 1_024;

/// What is wrong at a byte of the body.
#[derive(Debug)]
pub(super) struct Fault {
    /// Byte offset.
    pub at: usize,
    /// What is wrong there.
    pub what: String,
}

/// A place in a body.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    body: &'a str,
    rest: &'a str,
}

impl<'a> Scan<'a> {
    pub fn new(body: &'a str) -> Self {
        Self { body, rest: body }
    }
    pub fn body(&self) -> &'a str {
        self.body
    }
    pub fn at(&self) -> usize {
        self.body.len() - self.rest.len()
    }
    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }
    pub fn peek(&self) -> Option<u8> {
        self.rest.as_bytes().first().copied()
    }
    /// Steps over `text` if it comes next.
    pub fn eat(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
    /// Everything up to the first byte where to stop, or to the end. All bytes of a character beyond ASCII must be the
    /// same to `stop`.
    pub fn until(&mut self, stop: impl Fn(u8) -> bool) -> &'a str {
        let end = self.rest.bytes().position(stop);
        let (taken, rest) = self
            .rest
            .split_at_checked(end.unwrap_or(self.rest.len()))
            .unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }
    /// The rest of the line, and steps over its end.
    pub fn line(&mut self) -> &'a str {
        let line = self.until(|b| b == b'\n');
        self.eat("\n");
        line
    }
    /// Steps over blanks and tabs; whether there were any.
    pub fn blanks(&mut self) -> bool {
        !self.until(|b| b != b' ' && b != b'\t').is_empty()
    }
    /// A word of letters, digits and `_` (and `:` where `colon`), not beginning with a digit; empty if there is none.
    pub fn word(&mut self, colon: bool) -> &'a str {
        let letter = |b: u8| b.is_ascii_alphabetic() || b == b'_' || (colon && b == b':');
        match self.peek() {
            Some(b) if letter(b) => self.until(|b| !letter(b) && !b.is_ascii_digit()),
            Some(_) | None => "",
        }
    }
    /// A text in double quotes; `None` if none comes next.
    pub fn quoted(&mut self, lines: bool) -> Result<Option<Cow<'a, str>>, Fault> {
        let at = self.at();
        let Some(inner) = self.rest.strip_prefix('"') else {
            return Ok(None);
        };
        let (mut end, mut escaped) = (0, false);
        let bytes = inner.as_bytes();
        loop {
            match bytes.get(end) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    end += 2;
                }
                Some(b'\n') if !lines => {
                    let at = at + 1 + end;
                    return fault(
                        at,
                        "the line ends within a quoted text: close it with `\"`, and write `\\n` for a line break",
                    );
                }
                Some(_) => end += 1,
                None => return fault(at, "this quoted text never ends"),
            }
        }
        let text = inner.get(..end).unwrap_or("");
        self.rest = inner.get(end + 1..).unwrap_or("");
        Ok(Some(if escaped {
            Cow::Owned(unescaped(text, true))
        } else {
            Cow::Borrowed(text)
        }))
    }
    /// A metric's name after `# HELP` and the like: a word, or a quoted text.
    pub fn name(&mut self) -> Result<Cow<'a, str>, Fault> {
        if let Some(name) = self.quoted(true)? {
            return Ok(name);
        }
        let at = self.at();
        match self.word(true) {
            "" => fault(
                at,
                &format!("expected a metric's name, found {}", self.found()),
            ),
            name => Ok(Cow::Borrowed(name)),
        }
    }

    /// The labels after `{`, up to and with `}`. A quoted text that is no label is the metric's name, if `name` is
    /// there to take one.
    pub fn labels(
        &mut self,
        format: Format,
        mut name: Option<&mut Option<Cow<'a, str>>>,
        labels: &mut Vec<Label<'a>>,
    ) -> Result<(), Fault> {
        let free = format == Format::Text;
        let skip = |scan: &mut Self| {
            if free {
                scan.blanks();
            }
        };
        skip(self);
        while !self.eat("}") {
            let at = self.at();
            let (label, quoted) = match self.quoted(true)? {
                Some(text) => (text, true),
                None => (Cow::Borrowed(self.word(false)), false),
            };
            if label.is_empty() && !quoted {
                return fault(
                    at,
                    &format!("expected a label's name or `}}`, found {}", self.found()),
                );
            }
            skip(self);
            if quoted && matches!(self.peek(), Some(b',' | b'}')) {
                match name.as_deref_mut() {
                    Some(name @ None) => *name = Some(label),
                    Some(Some(_)) => {
                        return fault(
                            at,
                            "the metric has a name already: expected a label's name with `=` and a value",
                        );
                    }
                    None => return fault(at, "expected a label's name with `=` and a value"),
                }
                self.eat(",");
                skip(self);
                continue;
            }
            let at = self.at();
            if !self.eat("=") {
                return fault(
                    at,
                    &format!(
                        "expected `=` after the label's name, found {}",
                        self.found()
                    ),
                );
            }
            skip(self);
            let at = self.at();
            let Some(value) = self.quoted(free)? else {
                return fault(
                    at,
                    &format!(
                        "expected the label's value in double quotes, found {}",
                        self.found()
                    ),
                );
            };
            if labels.len() >= LINE_LABELS_MAX {
                return fault(
                    at,
                    &format!("this sample has more than {LINE_LABELS_MAX} labels"),
                );
            }
            labels.push((label, value));
            skip(self);
            let at = self.at();
            if !self.eat(",") && !free && self.peek() != Some(b'}') {
                return fault(
                    at,
                    &format!("expected `,` or `}}` after a label, found {}", self.found()),
                );
            }
            skip(self);
        }
        Ok(())
    }

    /// What stands here, for a message.
    pub fn found(&self) -> String {
        match self.rest.chars().next() {
            None => "the end of the body".to_owned(),
            Some('\n') => "the end of the line".to_owned(),
            Some('\r') => "a carriage return: end lines with a line feed only".to_owned(),
            Some(c) => format!("{c:?}"),
        }
    }
}

/// A fault.
pub(super) fn fault<T>(at: usize, what: &str) -> Result<T, Fault> {
    Err(Fault {
        at,
        what: what.to_owned(),
    })
}

/// A text with its escapes replaced; an unknown one stays as it is. In help texts `\"` is none.
pub(super) fn unescaped(text: &str, quotes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('\\') => out.push('\\'),
            Some('"') if quotes => out.push('"'),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

/// NaN as Prometheus stores it: never by chance the staleness marker.
const NAN_BITS: u64 = 0x7ff8_0000_0000_0001;

/// A number as Go's formatting writes it: `1`, `1e3`, `+Inf`, `NaN`. One too large for 64 bits is none.
pub(super) fn float(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    if value.is_nan() {
        // A sign before NaN is no number to Go.
        return (text.len() == 3).then_some(f64::from_bits(NAN_BITS));
    }
    let names_infinity = || text.bytes().any(|b| b.eq_ignore_ascii_case(&b'i'));
    (value.is_finite() || names_infinity()).then_some(value)
}

/// The number at `at`, or what to say of it.
pub(super) fn number(at: usize, text: &str) -> Result<f64, Fault> {
    float(text).ok_or_else(|| Fault {
        at,
        what: match text {
            "" => "expected a value".to_owned(),
            text => format!("{:?} is no number", shortened(text)),
        },
    })
}

fn shortened(text: &str) -> &str {
    text.char_indices()
        .nth(60)
        .and_then(|(end, _)| text.get(..end))
        .unwrap_or(text)
}
