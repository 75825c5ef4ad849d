//! What a script says: commands, each with its line.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::collections::BTreeMap;

use crate::engine::promql::series_text::{
    self, Content, SeriesLine, SeriesTextError, Written, parse_number, parse_string,
};
use crate::model::labels::Labels;
use crate::model::time::Duration;

/// Why a file is no script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}: {what}")]
pub struct ScriptError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

/// One command of a script.
#[derive(Clone, Debug)]
pub enum Command {
    /// Forget all samples.
    Clear,
    /// Store samples.
    Load(Load),
    /// Evaluate and compare.
    Eval(Box<Eval>),
}

/// Samples to be stored.
#[derive(Clone, Debug)]
pub struct Load {
    /// The line, counted from 1.
    pub line: usize,
    /// When the first samples are, in milliseconds since the epoch.
    pub start_ms: i64,
    /// Sample i of a series lies i times this later, in milliseconds.
    pub step_ms: i64,
    /// Whether classic histograms are stored as native ones as well.
    pub with_native: bool,
    /// The samples of each series.
    pub series: BTreeMap<Labels, Loaded>,
}

/// The samples of one series.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The line, counted from 1.
    pub line: usize,
    /// The samples, one for each step.
    pub samples: Vec<Option<Written>>,
    /// Their start timestamps, relative to them, in milliseconds; as many as samples, or none at all.
    pub starts: Vec<Option<i64>>,
}

/// A question and its answer.
#[derive(Clone, Debug)]
pub struct Eval {
    /// The line, counted from 1.
    pub line: usize,
    /// The expression.
    pub expr: String,
    /// When it is evaluated.
    pub when: When,
    /// What must come of it.
    pub expected: Expected,
}

/// When an expression is evaluated; all in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Once.
    Instant(i64),
    /// At each step.
    Range(Steps),
}

/// Points in time, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// The first.
    pub start: i64,
    /// None is after this.
    pub end: i64,
    /// How far apart.
    pub step: i64,
}

/// What must come of an evaluation.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// It must fail, with this error.
    pub fail: Option<Wanted>,
    /// It must be warned about.
    pub warnings: Remarks,
    /// It must be remarked on.
    pub infos: Remarks,
    /// The label sets must come in this order.
    pub ordered: bool,
    /// The value.
    pub value: Value,
}

/// Which remarks of a grade must come.
#[derive(Clone, Debug, Default)]
pub struct Remarks {
    /// None.
    pub none: bool,
    /// Each of these, and no other; if there are none, nothing is checked.
    pub wanted: Vec<Wanted>,
}

/// A text that must come.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// Any.
    Any,
    /// This one.
    Text(String),
    /// One that this matches somewhere.
    Matching(regex::Regex),
}

impl Wanted {
    /// Whether a text is wanted.
    pub fn is(&self, text: &str) -> bool {
        match self {
            Wanted::Any => true,
            Wanted::Text(wanted) => wanted == text,
            Wanted::Matching(regex) => regex.is_match(text),
        }
    }
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Wanted::Any => f.write_str("any"),
            Wanted::Text(text) => f.write_str(text),
            Wanted::Matching(regex) => write!(f, "text that matches {regex}"),
        }
    }
}

/// An expected value.
#[derive(Clone, Debug)]
pub enum Value {
    /// One number.
    Scalar(f64),
    /// A string.
    Text(String),
    /// Label sets, in the order of the script.
    Series(Vec<(Labels, Vec<Option<Written>>)>),
    /// As `Series`, with the values at these points in time instead of one each.
    Windows(Steps, Vec<(Labels, Vec<Option<Written>>)>),
}

impl Default for Value {
    fn default() -> Self {
        Value::Series(Vec::new())
    }
}

/// Reads a script.
///
/// # Errors
/// At the first line that is none.
pub fn parse(text: &str) -> Result<Vec<Command>, ScriptError> {
    let mut lines = Lines {
        rest: text.lines().enumerate().peekable(),
    };
    let mut commands = Vec::new();
    while let Some((line, text)) = lines.next() {
        let word = text.split_ascii_whitespace().next().unwrap_or("");
        commands.push(match word {
            "" => continue,
            "clear" => Command::Clear,
            _ if word.starts_with("load") => Command::Load(load(line, text, &mut lines)?),
            _ if word.starts_with("eval") => Command::Eval(Box::new(eval(line, text, &mut lines)?)),
            _ => {
                return Err(ScriptError {
                    line,
                    what: format!("a command is `load`, `eval` or `clear`, not `{word}`"),
                });
            }
        });
    }
    Ok(commands)
}

/// The lines of a script, trimmed and numbered from 1; comments are empty.
struct Lines<'a> {
    rest: std::iter::Peekable<std::iter::Enumerate<std::str::Lines<'a>>>,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<(usize, &'a str)> {
        self.rest.next().map(Self::trimmed)
    }
    /// The next line, if it belongs to a block, so that it is not empty.
    fn next_of_block(&mut self) -> Option<(usize, &'a str)> {
        let line = self.rest.next_if(|line| !Self::trimmed(*line).1.is_empty());
        line.map(Self::trimmed)
    }
    fn trimmed((at, line): (usize, &'a str)) -> (usize, &'a str) {
        let line = line.trim();
        (at + 1, if line.starts_with('#') { "" } else { line })
    }
}

/// Takes the first word.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once(|c: char| c.is_ascii_whitespace())
        .map_or((text, ""), |(word, rest)| (word, rest.trim_start()))
}

fn duration(line: usize, text: &str) -> Result<i64, ScriptError> {
    let length: Duration = text.parse().map_err(|error| ScriptError {
        line,
        what: format!("{error}"),
    })?;
    i64::try_from(length.ms()).map_err(|_| ScriptError {
        line,
        what: format!("`{text}` is too long"),
    })
}

fn in_line(line: usize) -> impl Fn(SeriesTextError) -> ScriptError {
    move |error| ScriptError {
        line,
        what: format!("at byte {}: {}", error.at, error.what),
    }
}

fn load(line: usize, text: &str, lines: &mut Lines<'_>) -> Result<Load, ScriptError> {
    let (command, step) = word(text);
    let with_native = match command {
        "load" => false,
        "load_with_nhcb" => true,
        other => {
            return Err(ScriptError {
                line,
                what: format!("`{other}`: write `load` or `load_with_nhcb`"),
            });
        }
    };
    let mut load = Loading::new(Load {
        line,
        start_ms: 0,
        step_ms: duration(line, step)?,
        with_native,
        series: BTreeMap::new(),
    });
    while let Some((line, text)) = lines.next_of_block() {
        load.take(line, series_text::parse(text).map_err(in_line(line))?)?;
    }
    load.finish()
}

/// A load whose series come one after the other.
#[derive(Debug)]
pub struct Loading {
    load: Load,
    /// Start timestamps that wait for their samples.
    starts: BTreeMap<Labels, (usize, Vec<Option<i64>>)>,
}

impl Loading {
    /// A load whose series come now.
    pub fn new(load: Load) -> Self {
        Self {
            load,
            starts: BTreeMap::new(),
        }
    }

    /// Takes a series, or the start timestamps of the samples that follow. Of a series that comes twice, the last counts.
    ///
    /// # Errors
    /// If there are not as many start timestamps as samples.
    pub fn take(&mut self, line: usize, series: SeriesLine) -> Result<(), ScriptError> {
        match series.content {
            Content::Starts(offsets) => {
                self.starts.insert(series.labels, (line, offsets));
            }
            Content::Samples(samples) => {
                let (_, starts) = self.starts.remove(&series.labels).unwrap_or_default();
                if !starts.is_empty() && starts.len() != samples.len() {
                    return Err(ScriptError {
                        line,
                        what: format!(
                            "{} samples, but {} start timestamps before",
                            samples.len(),
                            starts.len()
                        ),
                    });
                }
                let loaded = Loaded {
                    line,
                    samples,
                    starts,
                };
                self.load.series.insert(series.labels, loaded);
            }
        }
        Ok(())
    }

    /// The whole load.
    ///
    /// # Errors
    /// If samples are missing to start timestamps.
    pub fn finish(self) -> Result<Load, ScriptError> {
        match self.starts.into_values().next() {
            Some((line, _)) => Err(ScriptError {
                line,
                what: "start timestamps without samples after them".to_owned(),
            }),
            None => Ok(self.load),
        }
    }
}

fn eval(line: usize, text: &str, lines: &mut Lines<'_>) -> Result<Eval, ScriptError> {
    let error = |what: &str| ScriptError {
        line,
        what: what.to_owned(),
    };
    let (command, rest) = word(text);
    let (kind, rest) = word(rest);
    let mut expected = Expected::default();
    match (command, kind) {
        ("eval", _) => {}
        ("eval_fail", _) => expected.fail = Some(Wanted::Any),
        ("eval_warn", _) => expected.warnings.wanted.push(Wanted::Any),
        ("eval_info", _) => expected.infos.wanted.push(Wanted::Any),
        ("eval_ordered", "instant") => expected.ordered = true,
        _ => {
            return Err(error(
                "`eval`, `eval_fail`, `eval_warn`, `eval_info` or `eval_ordered`",
            ));
        }
    }
    let mut words = rest;
    let mut take = |name: &str| {
        let (key, rest) = word(words);
        let (value, rest) = word(rest);
        words = rest;
        if key == name && !value.is_empty() {
            Ok(value)
        } else {
            Err(error(
                "write `instant at TIME EXPR` or `range from TIME to TIME step LENGTH EXPR`",
            ))
        }
    };
    let when = match kind {
        "instant" => When::Instant(duration(line, take("at")?)?),
        "range" => When::Range(Steps {
            start: duration(line, take("from")?)?,
            end: duration(line, take("to")?)?,
            step: duration(line, take("step")?)?,
        }),
        _ => return Err(error("an evaluation is `instant` or `range`")),
    };
    let mut eval = Eval {
        line,
        expr: words.to_owned(),
        when,
        expected,
    };
    if eval.expr.is_empty() {
        return Err(error("there is no expression"));
    }
    while let Some((line, text)) = lines.next_of_block() {
        if expectation(line, text, &mut eval)? {
            break;
        }
    }
    Ok(eval)
}

/// Reads a line under an evaluation; whether it is the last one.
fn expectation(line: usize, text: &str, eval: &mut Eval) -> Result<bool, ScriptError> {
    let error = |what: String| ScriptError { line, what };
    let expected = &mut eval.expected;
    if let Some(text) = text.strip_prefix("expected_fail_message") {
        expected.fail = Some(Wanted::Text(text.trim().to_owned()));
        return Ok(true);
    }
    if let Some(text) = text.strip_prefix("expected_fail_regexp") {
        expected.fail = Some(matching(line, text.trim())?);
        return Ok(true);
    }
    if let Some(words) = text.strip_prefix("expect range vector") {
        let steps = match words
            .split_ascii_whitespace()
            .collect::<Vec<_>>()
            .as_slice()
        {
            ["from", from, "to", to, "step", step] => Steps {
                start: duration(line, from)?,
                end: duration(line, to)?,
                step: duration(line, step)?,
            },
            _ => return Err(error("write `from TIME to TIME step LENGTH`".to_owned())),
        };
        let When::Instant(at) = &mut eval.when else {
            return Err(error("only an instant query has a range vector".to_owned()));
        };
        *at = steps.end;
        expected.value = Value::Windows(steps, Vec::new());
        return Ok(false);
    }
    if let Some(text) = text.strip_prefix("expect string") {
        expected.value = Value::Text(parse_string(text.trim()).map_err(in_line(line))?);
        return Ok(false);
    }
    if let Some(("expect", rest)) = Some(word(text)).filter(|(word, _)| *word == "expect") {
        expect(line, rest, expected)?;
        return Ok(false);
    }
    if let Some(number) = parse_number(text) {
        expected.value = Value::Scalar(number);
        return Ok(true);
    }
    let series = series_text::parse(text).map_err(in_line(line))?;
    let Content::Samples(samples) = series.content else {
        return Err(error("a result has no start timestamps".to_owned()));
    };
    match &mut expected.value {
        Value::Series(_) if matches!(eval.when, When::Instant(_)) && samples.len() != 1 => Err(
            error("an instant query has one value for each label set".to_owned()),
        ),
        Value::Series(all) | Value::Windows(_, all) => {
            all.push((series.labels, samples));
            Ok(false)
        }
        Value::Scalar(_) | Value::Text(_) => {
            Err(error("a string or a number is the whole result".to_owned()))
        }
    }
}

fn matching(line: usize, pattern: &str) -> Result<Wanted, ScriptError> {
    let regex = regex::RegexBuilder::new(pattern)
        .size_limit(1 << 20)
        .build();
    regex.map(Wanted::Matching).map_err(|error| ScriptError {
        line,
        what: error.to_string(),
    })
}

/// Reads what follows `expect`.
fn expect(line: usize, text: &str, expected: &mut Expected) -> Result<(), ScriptError> {
    let (what, rest) = word(text);
    let wanted = match rest.split_once(':') {
        None if rest.is_empty() => Wanted::Any,
        Some(("msg", text)) => Wanted::Text(text.trim().to_owned()),
        Some(("regex", pattern)) => matching(line, pattern.trim())?,
        None | Some(_) => {
            return Err(ScriptError {
                line,
                what: "after that comes `msg: TEXT`, `regex: PATTERN` or nothing".to_owned(),
            });
        }
    };
    match what {
        "ordered" => expected.ordered = true,
        "fail" if expected.fail.is_none() => expected.fail = Some(wanted),
        "warn" if !expected.warnings.none => expected.warnings.wanted.push(wanted),
        "info" if !expected.infos.none => expected.infos.wanted.push(wanted),
        "no_warn" if expected.warnings.wanted.is_empty() => expected.warnings.none = true,
        "no_info" if expected.infos.wanted.is_empty() => expected.infos.none = true,
        _ => {
            return Err(ScriptError {
                line,
                what: format!("`expect {what}` is unknown, or contradicts a line above"),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_blocks_of_lines() {
        let commands = parse(
            "# a comment\nload 5m\n  a 1 2\n# ends the block\nload_with_nhcb 30s\n  b@st _ -1s\n  b 1 2\n\nclear\neval instant at 1h30m a\n  expect no_warn\n  a 2\n\neval range from 0 to 10m step 5m sum(a)\n  {} 1 2 2\n\neval instant at 0 1 + 1\n 2\neval_fail instant at 0 x\nexpected_fail_regexp bad.*\neval instant at 0 y",
        )
        .unwrap();
        let lines: Vec<String> = commands
            .iter()
            .map(|c| match c {
                Command::Clear => "clear".to_owned(),
                Command::Load(l) => format!("{} {} {}", l.line, l.step_ms, l.series.len()),
                Command::Eval(e) => format!("{} {:?} {}", e.line, e.when, e.expr),
            })
            .collect();
        assert_eq!(
            lines,
            [
                "2 300000 1",
                "5 30000 1",
                "clear",
                "10 Instant(5400000) a",
                "14 Range(Steps { start: 0, end: 600000, step: 300000 }) sum(a)",
                "17 Instant(0) 1 + 1",
                "19 Instant(0) x",
                "21 Instant(0) y"
            ]
        );
    }

    #[test]
    fn a_line_that_is_no_script_is_named() {
        let line = |text: &str| parse(text).unwrap_err().line;
        assert_eq!(line("nope"), 1);
        assert_eq!(line("\nload x\n"), 2);
        assert_eq!(line("load 5m\n a 1\n b@st _\n"), 3);
        assert_eq!(line("load 5m\n a@st _\n a 1 2\n"), 3);
        assert_eq!(line("eval instant at 5m"), 1);
        assert_eq!(line("eval instant 5m a"), 1);
        assert_eq!(line("eval range from 0 to 5m a b"), 1);
        assert_eq!(line("eval instant at 0 a\n a 1 2"), 2);
        assert_eq!(
            line("eval instant at 0 a\n expect warn\n expect no_warn"),
            3
        );
        assert_eq!(line("eval instant at 0 a\n expect fail\n expect fail"), 3);
        assert_eq!(line("eval instant at 0 a\n expect warn regex: ("), 2);
        assert_eq!(line("eval instant at 0 a\n expect wonders"), 2);
        assert_eq!(
            line("eval range from 0 to 1m step 1m a\n expect range vector from 0 to 1m step 1m"),
            2
        );
    }
}
