//! Where a byte of a scalar's text stands in the file, whatever the style in which it was written.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::ops::Range;

use crate::config::yaml::{Kind, Node};

/// Where byte `range` of a scalar's text stands in the file; the whole scalar if it is an alias or no scalar.
pub fn within(file: &str, node: &Node, range: Range<usize>) -> Range<usize> {
    let whole = node.span.clone();
    let Kind::Scalar { text, block, .. } = &node.kind else {
        return whole;
    };
    // Lines are compared whole, so a block begins where its first line does.
    let begin = match file.get(..whole.start) {
        Some(before) if *block => before.rfind('\n').map_or(0, |at| at + 1),
        _ => whole.start,
    };
    let Some(source) = file.get(begin..whole.end) else {
        return whole;
    };
    let find = |at: usize| {
        let at = (0..=at.min(text.len())).rev();
        let at = at.into_iter().find(|i| text.is_char_boundary(*i))?;
        find(source, text, *block, at)
    };
    let last = range.end.max(range.start + 1) - 1;
    let (Some(start), Some(last)) = (find(range.start), find(last)) else {
        return whole;
    };
    let rest = source.get(last..).unwrap_or_default();
    let end = if range.is_empty() {
        start
    } else if !*block && source.starts_with('"') && rest.starts_with('\\') {
        last + escape(rest)
    } else {
        last + rest.chars().next().map_or(0, char::len_utf8)
    };
    begin + start..begin + end.max(start)
}

/// Where byte `at` of the text stands in its source. The end of the text is the place behind its last character.
fn find(source: &str, text: &str, is_block: bool, at: usize) -> Option<usize> {
    let at = at.min(text.len());
    if is_block {
        return block(source, text, at);
    }
    match source.chars().next()? {
        '"' => flow(source, text, at, 1, true, false),
        '\'' => flow(source, text, at, 1, false, true),
        _ => flow(source, text, at, 0, false, false),
    }
}

/// Lines, each indented; the text has the same lines without the indentation, some joined.
fn block(source: &str, text: &str, at: usize) -> Option<usize> {
    let mut start = 0;
    let blanks = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let first = |text: &str| text.lines().find(|l| !l.trim().is_empty()).map(blanks);
    let indent = first(source)?.checked_sub(first(text).unwrap_or(0))?;
    let (mut done, mut end) = (0, start);
    for line in source.split_inclusive('\n') {
        let own = line.trim_end_matches(['\n', '\r']);
        let content = own.get(indent.min(blanks(own))..)?;
        if !(content.is_empty() || content.trim().is_empty() && done >= text.len()) {
            let from = start + own.len() - content.len();
            let mut ahead = done;
            while !text.get(ahead..)?.starts_with(content) {
                match text.get(ahead..)?.chars().next() {
                    Some(' ' | '\n') => ahead += 1,
                    _ => return None,
                }
            }
            if at < ahead {
                return Some(end);
            }
            if at < ahead + content.len() {
                return Some(from + at - ahead);
            }
            (done, end) = (ahead + content.len(), start + own.len());
        }
        start += line.len();
    }
    Some(end)
}

/// Text within quotes or without any; line breaks are folded, some characters are written in another way.
fn flow(
    source: &str,
    text: &str,
    at: usize,
    from: usize,
    escapes: bool,
    doubled: bool,
) -> Option<usize> {
    let mut here = from;
    // Line breaks of one fold that are still to come.
    let mut breaks = 0_usize;
    for (place, c) in text.char_indices() {
        if breaks > 0 {
            breaks -= 1;
            if place >= at {
                return Some(here);
            }
            continue;
        }
        while escapes && is_joined(source.get(here..)?) {
            let rest = source.get(here + 1..)?;
            here += 1 + rest.len() - rest.trim_start().len();
        }
        let rest = source.get(here..)?;
        let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
        let fold = rest.get(..blank)?.matches('\n').count();
        if fold > 0 {
            if place >= at {
                return Some(here);
            }
            here += blank;
            breaks = fold.saturating_sub(2);
            continue;
        }
        if place >= at {
            return Some(here);
        }
        here += match rest.chars().next()? {
            '\\' if escapes => escape(rest),
            '\'' if doubled => 2,
            first if first == c => first.len_utf8(),
            _ => return None,
        };
    }
    Some(here.min(source.len()))
}

/// Whether a line is continued by a backslash at its end.
fn is_joined(rest: &str) -> bool {
    rest.starts_with("\\\n") || rest.starts_with("\\\r\n")
}

/// The length of an escape.
fn escape(rest: &str) -> usize {
    match rest.as_bytes().get(1) {
        Some(b'x') => 4,
        Some(b'u') => 6,
        Some(b'U') => 10,
        _ => 1 + rest.chars().nth(1).map_or(0, char::len_utf8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml::documents;
    use proptest::prelude::*;

    /// Every word of the text is found where it stands.
    fn check(file: &str) {
        let (docs, faults) = documents(file);
        assert!(faults.is_empty(), "{faults:?} in {file:?}");
        let Kind::Map(entries) = &docs[0].kind else {
            panic!()
        };
        for (_, node) in entries {
            let Kind::Scalar { text, .. } = &node.kind else {
                continue;
            };
            for (i, c) in text.char_indices().filter(|(_, c)| c.is_alphanumeric()) {
                let at = within(file, node, i..i + c.len_utf8());
                let escaped = ["\\u00e9", "\\x41"].contains(&&file[at.clone()]);
                assert!(
                    escaped || file[at.clone()] == c.to_string(),
                    "byte {i} of {text:?} in {file:?} at {at:?}"
                );
            }
            let end = within(file, node, text.len()..text.len());
            let before = file[..end.start].trim_end().chars().next_back();
            assert_eq!(before, text.trim_end().chars().next_back(), "{file:?}");
        }
    }

    #[test]
    fn a_byte_is_found_in_every_style() {
        for indent in [1, 2, 4, 7] {
            let i = " ".repeat(indent);
            for header in ["|", ">", "|-", ">-", "|+", ">+", "| # why", ">  # why"] {
                check(&format!(
                    "e: {header}\n{i}ab(cd\n{i}  ef gh\n\n{i}ij\n{i}é kl\n\n\nz: 1\n"
                ));
                check(&format!("e: {header}\n\n{i}ab\n\n\n{i}cd\n{i}ef"));
                check(&format!("e: {header}\r\n{i}ab\r\n{i}cd\r\nz: 1\r\n"));
            }
            check(&format!("e: |{indent}\n{i}  ab\n{i}cd\n"));
            for q in ["", "'", "\""] {
                check(&format!("e: {q}ab cd\n{i}ef  gh\n\n\n{i}ij é{q}\nz: 1\n"));
            }
            check(&format!(
                "e: \"a\\\"b\\n c\\u00e9d \\\n{i}e  \\x41 f\\tg\"\nf: 'it''s  x'\ng: &x 'a b'\nh: !!str ab\n"
            ));
        }
    }

    /// A scalar in a random style: words that occur once, between random blanks and line breaks.
    fn scalar() -> impl Strategy<Value = String> {
        let gaps = proptest::collection::vec((0_usize..4, 0_usize..3, 0_usize..5), 1..14);
        (0_usize..11, 1_usize..6, gaps).prop_map(|(style, indent, gaps)| {
            let block = style < 8;
            let header = ["|", ">", "|-", ">-", "|+", ">+", "|", ">"][style % 8];
            let own = if style == 6 || style == 7 {
                indent.to_string()
            } else {
                String::new()
            };
            let quote = ["'", "\"", ""][style % 3];
            let (open, close) = if block {
                let lead = if own.is_empty() { "" } else { "   " };
                (format!("{header}{own}\n{}{lead}", " ".repeat(indent)), "\n")
            } else {
                (quote.to_owned(), quote)
            };
            let mut text = format!("k: {open}");
            for (i, (breaks, more, odd)) in gaps.iter().enumerate() {
                let word = match odd {
                    1 if !block && quote == "\"" => format!("\\t\\u00e9w{i}w\\\""),
                    2 if !block && quote == "'" => format!("é''w{i}w''"),
                    3 => format!("(é{{w{i}w"),
                    _ => format!("w{i}w"),
                };
                text += &word;
                if i + 1 == gaps.len() {
                    break;
                }
                if *breaks == 0 {
                    text += &" ".repeat(more + 1);
                } else {
                    let deeper = if block { *more } else { more + 1 };
                    text += &"\n".repeat(*breaks);
                    text += &" ".repeat(indent + deeper);
                }
            }
            text + close + "\nz: 1\n"
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_word_is_found_where_it_stands(file in scalar()) {
            for file in [file.clone(), file.replace('\n', "\r\n")] {
                let (docs, faults) = documents(&file);
                prop_assert!(faults.is_empty(), "{faults:?} in {file:?}");
                let Kind::Map(entries) = &docs[0].kind else { panic!() };
                let node = &entries[0].1;
                let Kind::Scalar { text, .. } = &node.kind else { panic!() };
                let mut found = 0;
                for word in (0..20).map(|i| format!("w{i}w")) {
                    let Some(at) = text.find(&word) else { continue };
                    found += 1;
                    let place = within(&file, node, at..at + word.len());
                    let want = file.find(&word).unwrap();
                    prop_assert_eq!(place, want..want + word.len(), "{} of {:?} in {:?}", word, text, file);
                }
                prop_assert!(found > 0);
            }
        }

        #[test]
        fn no_range_breaks_it(file in scalar(), start in 0_usize..80, length in 0_usize..80) {
            let (docs, _) = documents(&file);
            let Kind::Map(entries) = &docs[0].kind else { panic!() };
            let place = within(&file, &entries[0].1, start..start + length);
            prop_assert!(place.start <= place.end && place.end <= file.len());
            prop_assert!(file.is_char_boundary(place.start) && file.is_char_boundary(place.end), "{place:?}");
        }
    }
}
