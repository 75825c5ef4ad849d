//! The results as JUnit XML, which build servers show: a suite for each file, a case for each test.

use std::fmt::Write as _;
use std::time::Duration;

use crate::cli::test::Suite;

/// The whole document.
pub(super) fn document(suites: &[Suite]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for suite in suites {
        let errors = usize::from(suite.error.is_some());
        let took: Duration = suite.cases.iter().map(|c| c.took).sum();
        let seconds = took.as_secs_f64();
        let _ = writeln!(
            out,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{errors}\" time=\"{seconds:.6}\">",
            escaped(&suite.file),
            suite.cases.len() + errors,
            suite.failed(),
        );
        let class = escaped(&suite.file);
        if let Some(error) = &suite.error {
            let _ = writeln!(
                out,
                "    <testcase classname=\"{class}\" name=\"(the file)\" time=\"0\">\n      <error message=\"{}\">{}</error>\n    </testcase>",
                escaped(first_line(error)),
                escaped(error)
            );
        }
        for case in &suite.cases {
            let _ = write!(
                out,
                "    <testcase classname=\"{class}\" name=\"{}\" time=\"{:.6}\"",
                escaped(&case.name),
                case.took.as_secs_f64()
            );
            if case.failures.is_empty() {
                out.push_str("/>\n");
                continue;
            }
            out.push_str(">\n");
            for failure in &case.failures {
                let _ = writeln!(
                    out,
                    "      <failure message=\"{}\">{}</failure>",
                    escaped(first_line(failure)),
                    escaped(failure)
                );
            }
            out.push_str("    </testcase>\n");
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Text that may stand in XML, in an attribute too. What XML cannot hold at all becomes a question mark in a diamond.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            '\r' => out.push_str("&#13;"),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::test::Case;

    #[test]
    fn what_failed_is_told_with_its_text() {
        let case = |name: &str, failures: &[&str]| Case {
            name: name.to_owned(),
            took: Duration::from_millis(5),
            failures: failures.iter().map(|f| (*f).to_owned()).collect(),
        };
        let suites = [
            Suite {
                file: "a.yml".to_owned(),
                cases: vec![
                    case("fine", &[]),
                    case("a < \"b\" & c", &["a.yml:3: differs\n- {a=\"1\"}\u{1b}"]),
                ],
                skipped: 1,
                ..Suite::default()
            },
            Suite {
                file: "b.yml".to_owned(),
                ..Suite::unusable("no such file")
            },
        ];
        expect_test::expect![[r#"
            <?xml version="1.0" encoding="UTF-8"?>
            <testsuites>
              <testsuite name="a.yml" tests="2" failures="1" errors="0" time="0.010000">
                <testcase classname="a.yml" name="fine" time="0.005000"/>
                <testcase classname="a.yml" name="a &lt; &quot;b&quot; &amp; c" time="0.005000">
                  <failure message="a.yml:3: differs">a.yml:3: differs&#10;- {a=&quot;1&quot;}�</failure>
                </testcase>
              </testsuite>
              <testsuite name="b.yml" tests="1" failures="0" errors="1" time="0.000000">
                <testcase classname="b.yml" name="(the file)" time="0">
                  <error message="no such file">no such file</error>
                </testcase>
              </testsuite>
            </testsuites>
        "#]]
        .assert_eq(&document(&suites));
    }
}
