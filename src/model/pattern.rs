//! Regular expressions as Prometheus means them: anchored at both ends, and in the syntax of Go.
//!
//! The library's own syntax differs from Go's in small ways that real rules meet: there a brace that repeats nothing
//! is a brace, a bracket inside of a class is a bracket, and `\d` is a digit of ASCII. So a pattern is rewritten
//! before it is compiled.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::iter::Peekable;
use std::str::Chars;

use regex::{Regex, RegexBuilder};

/// Bytes that a compiled pattern may take; one that needs more is refused.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// A pattern that must match the whole of a text, in which `.` matches everything, also the end of a line.
///
/// # Errors
/// Says in one line why the pattern is none.
pub fn anchored(pattern: &str) -> Result<Regex, String> {
    let inner = rewritten(pattern)?;
    RegexBuilder::new(&format!("^(?s:{inner})$"))
        .size_limit(COMPILED_BYTES_MAX)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => {
                format!("it would need more than {COMPILED_BYTES_MAX} bytes")
            }
            // The last line says what is wrong; those before show it in the rewritten pattern.
            other => {
                let text = other.to_string();
                let line = text.rsplit("error: ").next().unwrap_or("").trim();
                line.to_owned()
            }
        })
}

/// The pattern in the syntax of the library.
fn rewritten(pattern: &str) -> Result<String, String> {
    let mut to = String::with_capacity(pattern.len() + 8);
    let mut groups = 0_usize;
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => escape(&mut rest, &mut to)?,
            '[' => class(&mut rest, &mut to),
            '{' if !repeats(rest.clone()) => to.push_str("\\{"),
            '(' => {
                groups += 1;
                to.push('(');
            }
            // It would close the group that anchors the pattern.
            ')' => {
                groups = groups.checked_sub(1).ok_or("unopened group")?;
                to.push(')');
            }
            c => to.push(c),
        }
    }
    Ok(to)
}

/// Whether what follows a `{` makes it a repetition: `3}`, `3,}` or `3,5}`.
fn repeats(mut rest: Peekable<Chars<'_>>) -> bool {
    let digits = |rest: &mut Peekable<Chars<'_>>| {
        let mut some = false;
        while rest.next_if(char::is_ascii_digit).is_some() {
            some = true;
        }
        some
    };
    if !digits(&mut rest) {
        return false;
    }
    if rest.next_if_eq(&',').is_some() {
        digits(&mut rest);
    }
    rest.next() == Some('}')
}

/// What follows a backslash outside of a class.
fn escape(rest: &mut Peekable<Chars<'_>>, to: &mut String) -> Result<(), String> {
    let c = rest.next().ok_or("trailing backslash at the end")?;
    match c {
        'd' => to.push_str("[0-9]"),
        'D' => to.push_str("[^0-9]"),
        'w' => to.push_str("[0-9A-Za-z_]"),
        'W' => to.push_str("[^0-9A-Za-z_]"),
        's' => to.push_str("[\\t\\n\\f\\r ]"),
        'S' => to.push_str("[^\\t\\n\\f\\r ]"),
        'b' => to.push_str("(?-u:\\b)"),
        '<' | '>' => to.push(c),
        'Q' => quoted(rest, to),
        c => {
            to.push('\\');
            to.push(c);
        }
    }
    Ok(())
}

/// `\Q…\E`: everything stands for itself.
fn quoted(rest: &mut Peekable<Chars<'_>>, to: &mut String) {
    let mut literal = String::new();
    while let Some(c) = rest.next() {
        if c == '\\' && rest.next_if_eq(&'E').is_some() {
            break;
        }
        literal.push(c);
    }
    to.push_str(&regex::escape(&literal));
}

/// What follows a `[`, with the closing bracket.
fn class(rest: &mut Peekable<Chars<'_>>, to: &mut String) {
    to.push('[');
    if rest.next_if_eq(&'^').is_some() {
        to.push('^');
    }
    let mut first = true;
    // Whether the last one was a dash between two ends.
    let mut range = false;
    while let Some(c) = rest.next() {
        match c {
            ']' if first => to.push_str("\\]"),
            ']' => {
                to.push(']');
                return;
            }
            '[' if named(rest.clone()) => {
                to.push('[');
                for c in rest.by_ref() {
                    to.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            '[' => to.push_str("\\["),
            '\\' => class_escape(rest, to),
            // Doubled they would be an operation on classes; and a dash at the start is no range.
            '&' | '~' => {
                to.push('\\');
                to.push(c);
            }
            '-' if first || range => to.push_str("\\-"),
            c => to.push(c),
        }
        range = c == '-' && !first && !range;
        first = false;
    }
}

/// Whether what follows a `[` in a class is the name of a class: `:alpha:]`.
fn named(mut rest: Peekable<Chars<'_>>) -> bool {
    if rest.next() != Some(':') {
        return false;
    }
    rest.next_if_eq(&'^');
    while rest.next_if(char::is_ascii_lowercase).is_some() {}
    rest.next() == Some(':') && rest.next() == Some(']')
}

fn class_escape(rest: &mut Peekable<Chars<'_>>, to: &mut String) {
    let Some(c) = rest.next() else {
        to.push('\\');
        return;
    };
    match c {
        'd' => to.push_str("0-9"),
        'D' => to.push_str("[^0-9]"),
        'w' => to.push_str("0-9A-Za-z_"),
        'W' => to.push_str("[^0-9A-Za-z_]"),
        's' => to.push_str("\\t\\n\\f\\r "),
        'S' => to.push_str("[^\\t\\n\\f\\r ]"),
        '<' | '>' => to.push(c),
        c => {
            to.push('\\');
            to.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Texts that must match, texts that must not.
    #[track_caller]
    fn check(pattern: &str, yes: &[&str], no: &[&str]) {
        let regex = anchored(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}"));
        for text in yes {
            assert!(regex.is_match(text), "{pattern} must match {text}");
        }
        for text in no {
            assert!(!regex.is_match(text), "{pattern} must not match {text}");
        }
    }

    #[test]
    fn the_whole_text_must_match() {
        check("a|bc", &["a", "bc"], &["ab", "abc", "xa"]);
        check("a.b", &["a\nb"], &["a.bb"]);
        check("", &[""], &["a"]);
    }

    #[test]
    fn a_brace_that_repeats_nothing_is_a_brace() {
        check("{{.*}}", &["{{x}}"], &["{x}"]);
        check("a{2}b{1,}c{0,1}", &["aabc", "aabb"], &["abc"]);
        check("a{,2}", &["a{,2}"], &["aa"]);
        check("a{b", &["a{b"], &[]);
        check("a{1", &["a{1"], &[]);
    }

    #[test]
    fn a_class_holds_characters_only() {
        check("[[]", &["["], &["]"]);
        check("[^[]+", &["abc]"], &["a[b"]);
        check("[]a]+", &["]a"], &["[a"]);
        check("[^]]", &["a"], &["]"]);
        check("[a&&b]+", &["a&b"], &["c"]);
        check("[a~~b]+", &["a~b"], &["c"]);
        check("[+--]+", &["+,-"], &["."]);
        check("[--/]+", &["-./"], &[","]);
        check("[a-]+", &["a-"], &["b"]);
        check("[[:digit:]x]+", &["1x"], &["a"]);
        check("[[:^digit:]]+", &["ax"], &["1"]);
        check("[[:x]+", &["[:x"], &["a"]);
        check("[\\]\\\\]+", &["]\\"], &["["]);
    }

    #[test]
    fn escapes_are_of_ascii() {
        check("\\d+", &["12"], &["١"]);
        check("[\\d.]+", &["1.2"], &["١"]);
        check("\\D", &["١", "a"], &["1"]);
        check("\\w\\W", &["a-", "a é".get(..2).unwrap_or("")], &["éa"]);
        check("[^\\W]+", &["a_1"], &["é"]);
        check("\\s[\\s]", &[" \t"], &["\u{a0} "]);
        check("[\\S]\\S", &["ab"], &["a "]);
        check("foo\\b.*", &["foo-x", "fooé"], &["food"]);
        check("\\<a\\>[\\<\\>]", &["<a><"], &[]);
        check("a\\.b\\/\\_c", &["a.b/_c"], &["axb/_c"]);
    }

    #[test]
    fn a_quoted_part_stands_for_itself() {
        check("\\Qa.b(\\E.", &["a.b(c"], &["axb(c"]);
        check("\\Q[{", &["[{"], &[]);
    }

    #[test]
    fn what_is_no_pattern_is_refused_in_one_line() {
        for pattern in ["(", ")", "a)(b", "*", "[a", "a\\", "(?P<1>a)", "\\8"] {
            let error = anchored(pattern).map(|_| ()).unwrap_err();
            assert!(
                !error.contains('\n') && !error.is_empty(),
                "{pattern}: {error}"
            );
        }
        assert_eq!(
            anchored("(a{1000}){1000}").map(|_| ()).unwrap_err(),
            "it would need more than 1048576 bytes"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_panics(pattern in any::<String>(), soup in "[\\[\\]{}()\\\\QE0-9,:a^&~dwsSDWb|*+?.<>-]{0,20}") {
            let _ = anchored(&pattern);
            let _ = anchored(&soup);
        }

        #[test]
        fn what_is_escaped_matches_itself(text in any::<String>()) {
            prop_assert!(anchored(&regex::escape(&text)).unwrap().is_match(&text));
        }
    }
}
