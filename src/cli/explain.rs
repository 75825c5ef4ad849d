//! `ops explain`: what a problem's code means, an example, and what to do. The pages are those of `docs/PROBLEMS.md`.

use std::fmt::Write as _;

use crate::cli::Answer;
use crate::config::codes;
use crate::model::written::did_you_mean;

/// What to explain.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A code, such as OPS-R003 or r003 [default: a list of all]
    pub code: Option<String>,
}

/// The page of a code, or the list of all codes.
///
/// # Errors
/// There is no such code.
pub fn run(args: &Args) -> Answer {
    let Some(asked) = &args.code else {
        return Ok(list());
    };
    let asked = asked.trim().to_ascii_uppercase();
    let code = match asked.strip_prefix("OPS-") {
        Some(_) => asked,
        None => format!("OPS-{asked}"),
    };
    let all = || codes::ALL.iter().map(|(code, _)| *code);
    let found = codes::ALL.iter().find(|(c, _)| *c == code);
    match found.and_then(|(c, means)| Some((c, means, codes::section(c)?))) {
        Some((code, means, body)) => Ok(format!("{code}: {means}\n\n{body}\n")),
        None => Err(match did_you_mean(&code, all()) {
            Some(near) if code.len() < 20 => {
                format!("there is no code {code}; did you mean {near}?")
            }
            _ => "there is no such code; `ops explain` lists all".to_owned(),
        }),
    }
}

fn list() -> String {
    codes::ALL
        .iter()
        .fold(String::new(), |mut out, (code, means)| {
            let _ = writeln!(out, "{code}  {means}");
            out
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explain(code: &str) -> Answer {
        run(&Args {
            code: Some(code.to_owned()),
        })
    }

    #[test]
    fn a_code_is_found_in_every_spelling() {
        let page = explain("OPS-R032").unwrap();
        assert!(page.starts_with("OPS-R032: an alert can never fire"));
        assert!(page.contains("count(up) == 0") && page.contains("absent(up)"));
        assert!(!page.contains("OPS-R033"));
        assert_eq!(explain(" r032").unwrap(), page);
        assert!(explain("r0322").unwrap_err().contains("did you mean"));
        assert!(explain(&"x".repeat(10_000)).unwrap_err().len() < 100);
        assert_eq!(
            run(&Args { code: None }).unwrap().lines().count(),
            codes::ALL.len()
        );
    }
}
