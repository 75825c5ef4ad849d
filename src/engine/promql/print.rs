//! An expression as text: Prometheus's spelling, on one line, and it reads back as the same expression.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::fmt::{self, Display, Formatter, Write as _};

use crate::engine::promql::ast::{
    At, BinaryOp, Edges, Expr, Grouping, Kind, Length, Matching, On, Selector, Shift, Side,
};
use crate::engine::promql::literal::spell_duration;
use crate::model::labels::{MatchOp, Matcher};

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Number(value) => write_number(f, *value),
            Kind::Text(bytes) => write_quoted(f, bytes),
            Kind::Vector(selector) => write_selector(f, selector, None),
            Kind::Matrix { selector, range } => write_selector(f, selector, Some(&range.value)),
            Kind::Subquery {
                expr,
                range,
                step,
                shift,
            } => {
                write!(f, "{expr}[{}:", range.value)?;
                if let Some(step) = step {
                    write!(f, "{}", step.value)?;
                }
                f.write_str("]")?;
                write_at(f, shift)?;
                write_offset(f, shift)
            }
            Kind::Call { function, args, .. } => {
                write!(f, "{function}(")?;
                for (i, arg) in args.iter().enumerate() {
                    write!(f, "{}{arg}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str(")")
            }
            Kind::Aggregate {
                op,
                grouping,
                param,
                expr,
            } => {
                f.write_str(op.name())?;
                match grouping {
                    Grouping::By(labels) if labels.is_empty() => {}
                    Grouping::By(labels) => write_labels(f, " by ", labels, " ")?,
                    Grouping::Without(labels) => write_labels(f, " without ", labels, " ")?,
                }
                f.write_str("(")?;
                if let Some(param) = param {
                    write!(f, "{param}, ")?;
                }
                write!(f, "{expr})")
            }
            Kind::Binary {
                op,
                lhs,
                rhs,
                returns_bool,
                matching,
                ..
            } => {
                match (&lhs.kind, op) {
                    // A sign here would be one of the whole power.
                    (Kind::Number(f64::INFINITY), BinaryOp::Pow) => f.write_str("Inf")?,
                    _ => write!(f, "{lhs}")?,
                }
                let returns_bool = if *returns_bool { " bool" } else { "" };
                write!(f, " {}{returns_bool}", op.sign())?;
                write_matching(f, matching)?;
                write!(f, " {rhs}")
            }
            Kind::Unary { negate, expr } => write!(f, "{}{expr}", sign(*negate)),
            Kind::Paren(expr) => write!(f, "({expr})"),
        }
    }
}

fn sign(negate: bool) -> &'static str {
    if negate { "-" } else { "+" }
}

fn write_number(f: &mut Formatter<'_>, value: f64) -> fmt::Result {
    if value.is_nan() {
        f.write_str("NaN")
    } else if value.is_infinite() {
        write!(f, "{}Inf", sign(value < 0.0))
    } else {
        write!(f, "{value}")
    }
}

/// In double quotes, with Go's escapes; bytes that are no text as `\x…`.
fn write_quoted(f: &mut Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    f.write_str("\"")?;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            write_escaped(f, c)?;
        }
        for byte in chunk.invalid() {
            write!(f, "\\x{byte:02x}")?;
        }
    }
    f.write_str("\"")
}

fn write_escaped(f: &mut Formatter<'_>, c: char) -> fmt::Result {
    match c {
        '"' | '\\' => write!(f, "\\{c}"),
        '\u{7}' => f.write_str("\\a"),
        '\u{8}' => f.write_str("\\b"),
        '\t' => f.write_str("\\t"),
        '\n' => f.write_str("\\n"),
        '\u{b}' => f.write_str("\\v"),
        '\u{c}' => f.write_str("\\f"),
        '\r' => f.write_str("\\r"),
        '\'' => f.write_char(c),
        '\0'..='\u{1f}' | '\u{7f}' => write!(f, "\\x{:02x}", u32::from(c)),
        // What Rust would escape has no shape of its own.
        _ if c.escape_debug().len() == 1 => f.write_char(c),
        '\0'..='\u{ffff}' => write!(f, "\\u{:04x}", u32::from(c)),
        _ => write!(f, "\\U{:08x}", u32::from(c)),
    }
}

/// A label's name, in quotes if it needs them.
fn write_name(f: &mut Formatter<'_>, name: &str) -> fmt::Result {
    let mut bytes = name.bytes();
    let plain = bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if plain {
        f.write_str(name)
    } else {
        write_quoted(f, name.as_bytes())
    }
}

fn write_labels(
    f: &mut Formatter<'_>,
    before: &str,
    labels: &[String],
    after: &str,
) -> fmt::Result {
    write!(f, "{before}(")?;
    for (i, label) in labels.iter().enumerate() {
        f.write_str(if i == 0 { "" } else { ", " })?;
        write_grouping_name(f, label)?;
    }
    write!(f, "){after}")
}

/// As a label's name; but these words are no names in a list.
fn write_grouping_name(f: &mut Formatter<'_>, name: &str) -> fmt::Result {
    let word = ["without", "inf", "nan"];
    if word.iter().any(|w| name.eq_ignore_ascii_case(w)) {
        write_quoted(f, name.as_bytes())
    } else {
        write_name(f, name)
    }
}

fn write_matching(f: &mut Formatter<'_>, matching: &Matching) -> fmt::Result {
    match &matching.on {
        Some(On::On(labels)) => write_labels(f, " on ", labels, "")?,
        Some(On::Ignoring(labels)) => write_labels(f, " ignoring ", labels, "")?,
        None => {}
    }
    match matching.side {
        Side::One => {}
        Side::Left => write_labels(f, " group_left ", &matching.include, "")?,
        Side::Right => write_labels(f, " group_right ", &matching.include, "")?,
    }
    let mut fill = |word: &str, value: f64| {
        write!(f, " {word} (")?;
        write_number(f, value)?;
        f.write_str(")")
    };
    match (matching.fill_left, matching.fill_right) {
        (None, None) => Ok(()),
        (Some(l), Some(r)) if l.to_bits() == r.to_bits() => fill("fill", l),
        (l, r) => {
            l.map_or(Ok(()), |value| fill("fill_left", value))?;
            r.map_or(Ok(()), |value| fill("fill_right", value))
        }
    }
}

fn write_selector(
    f: &mut Formatter<'_>,
    selector: &Selector,
    range: Option<&Length>,
) -> fmt::Result {
    let mut matchers = selector.matchers.as_slice();
    if let Some(name) = &selector.name {
        f.write_str(name)?;
        // The last one says the name once more.
        matchers = matchers.split_last().map_or(matchers, |(_, others)| others);
    }
    if !matchers.is_empty() {
        let mut texts: Vec<String> = matchers.iter().map(|m| Spelled(m).to_string()).collect();
        texts.sort();
        write!(f, "{{{}}}", texts.join(","))?;
    } else if selector.name.is_none() {
        f.write_str("{}")?;
    }
    if let Some(range) = range {
        write!(f, "[{range}]")?;
        write_edges(f, selector.edges)?;
        write_at(f, &selector.shift)?;
    } else {
        write_at(f, &selector.shift)?;
        write_edges(f, selector.edges)?;
    }
    write_offset(f, &selector.shift)
}

/// A matcher as the language writes it.
struct Spelled<'m>(&'m Matcher);

impl Display for Spelled<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_name(f, &self.0.name)?;
        f.write_str(match self.0.op {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        })?;
        write_quoted(f, self.0.value.as_bytes())
    }
}

fn write_edges(f: &mut Formatter<'_>, edges: Edges) -> fmt::Result {
    f.write_str(match edges {
        Edges::Plain => "",
        Edges::Anchored => " anchored",
        Edges::Smoothed => " smoothed",
    })
}

fn write_at(f: &mut Formatter<'_>, shift: &Shift) -> fmt::Result {
    match shift.at {
        None => Ok(()),
        Some(At::Start) => f.write_str(" @ start()"),
        Some(At::End) => f.write_str(" @ end()"),
        Some(At::Ms(ms)) => {
            let minus = if ms < 0 { "-" } else { "" };
            let (secs, rest) = (ms.unsigned_abs() / 1000, ms.unsigned_abs() % 1000);
            write!(f, " @ {minus}{secs}.{rest:03}")
        }
    }
}

/// Arithmetic needs brackets here: without them it would be done with the values, not with the offset.
fn write_offset(f: &mut Formatter<'_>, shift: &Shift) -> fmt::Result {
    let Some(offset) = &shift.offset else {
        return Ok(());
    };
    f.write_str(" offset ")?;
    match &offset.value {
        Length::Arithmetic { .. } => write!(f, "({})", offset.value),
        Length::Sign { negate, of } => match &of.value {
            Length::Arithmetic { .. } | Length::Sign { .. } => {
                write!(f, "{}({})", sign(*negate), of.value)
            }
            plain => write!(f, "{}{plain}", sign(*negate)),
        },
        plain => write!(f, "{plain}"),
    }
}

impl Display for Length {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Length::Ms(ms) => f.write_str(&spell_duration(*ms)),
            Length::Secs(secs) => write_number(f, *secs),
            Length::Step => f.write_str("step()"),
            Length::Range => f.write_str("range()"),
            Length::Min(a, b) => write!(f, "min_of({}, {})", a.value, b.value),
            Length::Max(a, b) => write!(f, "max_of({}, {})", a.value, b.value),
            Length::Sign { negate, of } => {
                f.write_str(sign(*negate))?;
                write_part(f, &of.value, Tightness::Pow)
            }
            Length::Arithmetic { op, lhs, rhs } => {
                let own = tightness(self);
                // `^` binds to the right, all others to the left.
                let (left, right) = match own {
                    Tightness::Pow => (Tightness::Atom, Tightness::Pow),
                    Tightness::Mul => (Tightness::Mul, Tightness::Sign),
                    _ => (own, Tightness::Mul),
                };
                write_part(f, &lhs.value, left)?;
                write!(f, " {} ", op.sign())?;
                // A sign may open what stands on the right of anything.
                match &rhs.value {
                    Length::Sign { .. } => write!(f, "{}", rhs.value),
                    part => write_part(f, part, right),
                }
            }
        }
    }
}

/// How tightly a length holds together, from loose to tight.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tightness {
    Add,
    Mul,
    Sign,
    Pow,
    Atom,
}

fn tightness(length: &Length) -> Tightness {
    match length {
        Length::Arithmetic { op, .. } => match op {
            BinaryOp::Pow => Tightness::Pow,
            BinaryOp::Add | BinaryOp::Sub => Tightness::Add,
            _ => Tightness::Mul,
        },
        Length::Sign { .. } => Tightness::Sign,
        Length::Ms(ms) if *ms < 0 => Tightness::Sign,
        Length::Secs(secs) if secs.is_sign_negative() => Tightness::Sign,
        _ => Tightness::Atom,
    }
}

fn write_part(f: &mut Formatter<'_>, part: &Length, least: Tightness) -> fmt::Result {
    if tightness(part) < least {
        write!(f, "({part})")
    } else {
        write!(f, "{part}")
    }
}
