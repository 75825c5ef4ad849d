//! What numbers, durations and strings say.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

/// The value of a number as Go reads it: `0x1f` is hexadecimal, `017` octal, `1_000` has a separator.
pub(super) fn number(text: &str) -> Result<f64, String> {
    let bad = |why: &str| format!("error parsing number: {why} in {text:?}");
    match text.to_ascii_lowercase().as_str() {
        "inf" => return Ok(f64::INFINITY),
        "nan" => return Ok(f64::NAN),
        _ => {}
    }
    if !separators_ok(text) {
        return Err(bad("`_` must stand between digits"));
    }
    let plain = text.replace('_', "");
    if let Some(hex) = plain.strip_prefix("0x").or(plain.strip_prefix("0X")) {
        return i64::from_str_radix(hex, 16).map(|n| n as f64).map_err(|_| {
            bad("a hexadecimal number has 1 to 16 digits and is at most 0x7fffffffffffffff")
        });
    }
    if plain.starts_with('0')
        && let Ok(octal) = i64::from_str_radix(&plain, 8)
    {
        return Ok(octal as f64);
    }
    match plain.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => Err(bad("value out of range")),
        Err(_) => Err(bad("invalid syntax")),
    }
}

/// Whether every `_` stands between two digits, or after `0x`.
fn separators_ok(text: &str) -> bool {
    let bytes = text.as_bytes();
    let hex = text.starts_with("0x") || text.starts_with("0X");
    let digit = |at: Option<usize>| {
        at.and_then(|at| bytes.get(at)).is_some_and(|b| {
            if hex {
                b.is_ascii_hexdigit()
            } else {
                b.is_ascii_digit()
            }
        })
    };
    bytes.iter().enumerate().all(|(at, b)| {
        *b != b'_' || ((digit(at.checked_sub(1)) || (hex && at == 2)) && digit(Some(at + 1)))
    })
}

/// Units of durations in descending order, with their milliseconds.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// The longest duration there is: what fits 63 bits of nanoseconds, 292 years.
const DURATION_MAX_MS: i64 = i64::MAX / 1_000_000;

/// The milliseconds of a duration: each unit at most once, the larger before the smaller.
pub(super) fn duration(text: &str) -> Result<i64, String> {
    let bad = || format!("not a valid duration string: {text:?}");
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (count, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        if count.is_empty() {
            return Err(bad());
        }
        // Only what is left of the units may still come.
        let Some((_, ms)) = units.find(|(name, _)| *name == unit) else {
            return Err(bad());
        };
        total = count
            .parse::<i64>()
            .ok()
            .and_then(|n| n.checked_mul(*ms))
            .and_then(|n| n.checked_add(total))
            .filter(|n| *n <= DURATION_MAX_MS)
            .ok_or_else(|| "duration out of range".to_owned())?;
        rest = tail;
    }
    Ok(total)
}

/// A duration as Prometheus spells it: years and weeks only if nothing is left over.
pub(super) fn spell_duration(ms: i64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut text = if ms < 0 { "-" } else { "" }.to_owned();
    let mut rest = ms.unsigned_abs();
    for (unit, size) in UNITS {
        let size = size.unsigned_abs();
        if matches!(unit, "y" | "w") && !rest.is_multiple_of(size) {
            continue;
        }
        if rest >= size {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    text
}

/// What is wrong in a string: at which byte of its text, and what.
pub(super) type BadString = (usize, String);

/// The bytes that a string with its quotes stands for: Go's escapes, none in backticks.
pub(super) fn unquote(text: &str) -> Result<Vec<u8>, BadString> {
    let mut chars = text.char_indices();
    let Some((_, quote)) = chars.next() else {
        return Ok(Vec::new());
    };
    let inner = text
        .get(quote.len_utf8()..text.len().saturating_sub(quote.len_utf8()))
        .unwrap_or("");
    if quote == '`' {
        return Ok(inner.as_bytes().to_vec());
    }
    let mut bytes = Vec::with_capacity(inner.len());
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        if c != '\\' {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let at = at + 1;
        let Some((_, escape)) = chars.next() else {
            return Err((at, "escape sequence not terminated".to_owned()));
        };
        let simple = match escape {
            'a' => Some(7),
            'b' => Some(8),
            't' => Some(9),
            'n' => Some(10),
            'v' => Some(11),
            'f' => Some(12),
            'r' => Some(13),
            '\\' => Some(b'\\'),
            '\'' if quote == '\'' => Some(b'\''),
            '"' if quote == '"' => Some(b'"'),
            _ => None,
        };
        if let Some(byte) = simple {
            bytes.push(byte);
            continue;
        }
        let (mut code, digits, radix) = match escape {
            '0'..='7' => (escape.to_digit(8).unwrap_or(0), 2, 8),
            'x' => (0, 2, 16),
            'u' => (0, 4, 16),
            'U' => (0, 8, 16),
            _ => return Err((at, format!("unknown escape sequence `\\{escape}`"))),
        };
        for _ in 0..digits {
            match chars.next().map(|(_, c)| (c, c.to_digit(radix))) {
                Some((_, Some(digit))) => code = code.wrapping_mul(radix).wrapping_add(digit),
                Some((c, None)) => {
                    return Err((at, format!("illegal character {c:?} in escape sequence")));
                }
                None => return Err((at, "escape sequence not terminated".to_owned())),
            }
        }
        if matches!(escape, 'u' | 'U') {
            let Some(c) = char::from_u32(code) else {
                return Err((
                    at,
                    "escape sequence is an invalid Unicode code point".to_owned(),
                ));
            };
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            let Ok(byte) = u8::try_from(code) else {
                return Err((
                    at,
                    "escape sequence is an invalid Unicode code point".to_owned(),
                ));
            };
            bytes.push(byte);
        }
    }
    Ok(bytes)
}
