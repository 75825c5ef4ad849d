//! Scenario files: what happens, a line `---`, and the transcript that is expected.
//!
//! ```text
//! # a comment
//! rules: county.yml
//! tick: 1s
//! script scripts/fix.sh exits 0 after 2s and sets county_api_ms to 112 after 1s
//! 0s    push county_api_ms{region="east"} 1580 every 1s for 60s
//! 70s   push county_api_ms 12 late 30s   (or `ahead 5m`: the sender's clock is wrong)
//! 80s   receiver oncall down            (ok, down, refuse, unknown, lost; `after 5s` for a slow one)
//! 90s   restart                         (`crash`: deliveries under way are lost as well; `retire`: samples too)
//! 92s   restart after 20m               (nobody ran meanwhile: no samples come in, no tick is judged)
//! 95s   ack 1 by ann
//! 100s  silence alertname="slow" for 10m by ann
//! 110s  unsilence 1 by ann
//! 120s  heals off by ann
//! 130s  rules none.yml
//! 140s  clock ahead 1h                  (or `behind 1h`, `right`: our own wall clock is set)
//! 150s  own ops_samples_refused: no space left on the disk
//! 160s  own ops_samples_refused over    (`own ops_log_damaged samples/1.seg@64: …` says what it is about)
//! until 10m
//! ---
//! 00:00:01  began     county_api_ms{region="east"}  1580
//! ```

use std::sync::Arc;

use crate::engine::Input;
use crate::engine::command::Command;
use crate::engine::own::Own;
use crate::engine::policy::Policy;
use crate::model::labels::{SeriesKey, parse_matchers};
use crate::model::time::{Duration, Timestamp};
use crate::sim::outside::{Answer, Receiver, Script};
use crate::sim::world::{Crash, Push, World};

/// Finds the policy that rule files of these names make.
pub type Rules = dyn Fn(&[String]) -> Result<Arc<Policy>, String>;

/// A scenario, read.
#[derive(Debug)]
pub struct Scenario {
    /// Names of the rule files in force at the start.
    pub rules: Vec<String>,
    /// How often rules are judged.
    pub tick: Duration,
    /// When it ends.
    pub until: Duration,
    /// What happens, in order of time.
    pub steps: Vec<(Duration, Step)>,
    /// The expected transcript.
    pub expected: String,
}

/// One thing that happens.
#[expect(missing_docs, reason = "the fields are named after what they hold")]
#[derive(Clone, Debug)]
pub enum Step {
    /// A series is pushed at intervals.
    Push { series: SeriesKey, push: Push },
    /// A receiver behaves in another way from now on.
    Receiver { name: String, is: Receiver },
    /// A script behaves in another way from now on.
    Script { path: String, is: Script },
    /// The engine stops and starts again.
    Restart(Crash),
    /// The engine is away for so long that its samples are too old to be read back.
    Retire,
    /// The engine is away for a while, and nobody takes samples.
    Away(Duration),
    /// Someone asks for something.
    Command(Command),
    /// Other rule files are in force.
    Rules(Vec<String>),
    /// Our wall clock is set: so many milliseconds is it ahead.
    Clock(i64),
    /// How it stands with ourselves.
    Own {
        what: Own,
        about: String,
        is: Option<String>,
    },
}

/// Why a text is not a scenario.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct ScenarioError {
    /// From 1.
    pub line: usize,
    /// What is wrong and what to write.
    pub what: String,
}

impl Scenario {
    /// Reads a scenario.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let mut scenario = Self {
            rules: Vec::new(),
            tick: Duration::from_secs(1),
            until: Duration::ZERO,
            steps: Vec::new(),
            expected: String::new(),
        };
        let mut lines = (1..).zip(text.lines());
        for (line, text) in lines.by_ref() {
            let text = text.trim();
            if text == "---" {
                break;
            }
            if !text.is_empty() && !text.starts_with('#') {
                scenario
                    .line(text)
                    .map_err(|what| ScenarioError { line, what })?;
            }
        }
        for (_, text) in lines {
            scenario.expected.push_str(text);
            scenario.expected.push('\n');
        }
        scenario.steps.sort_by_key(|(at, _)| *at);
        Ok(scenario)
    }

    fn line(&mut self, text: &str) -> Result<(), String> {
        let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim();
        match first {
            "rules:" => self
                .rules
                .extend(rest.split_whitespace().map(str::to_owned)),
            "tick:" => self.tick = duration(rest)?,
            "until" => self.until = duration(rest)?,
            "script" => self.steps.push((Duration::ZERO, script(rest)?)),
            _ => {
                let at = duration(first)?;
                let step = step(rest)?;
                if at < self.steps.last().map_or(Duration::ZERO, |(last, _)| *last) {
                    return Err("times go forward: this line is earlier than one before".to_owned());
                }
                self.until = self.until.max(at);
                self.steps.push((at, step));
            }
        }
        Ok(())
    }

    /// Plays it. `rules` finds the policy of rule files; `meddle` is called after every happening (tests restart
    /// there). The transcript is in the world.
    pub fn play(&self, rules: &Rules, meddle: &mut dyn FnMut(&mut World)) -> Result<World, String> {
        let mut world = World::new(rules(&self.rules)?, self.tick);
        let mut steps = self.steps.iter().peekable();
        loop {
            let next = world.next_at();
            let due = steps.peek().map(|(at, _)| Timestamp::default() + *at);
            if let Some((at, step)) =
                steps.next_if(|_| due.is_some_and(|d| next.is_none_or(|n| d <= n)))
            {
                world.now = world.now.max(Timestamp::default() + *at);
                take(&mut world, step, rules)?;
            } else {
                let end = Timestamp::default() + self.until;
                match next.filter(|n| *n <= end) {
                    Some(at) => world.step(at),
                    None => return Ok(world),
                }
            }
            meddle(&mut world);
        }
    }
}

fn take(world: &mut World, step: &Step, rules: &Rules) -> Result<(), String> {
    match step {
        Step::Push { series, push } => world.feed(series, *push),
        Step::Receiver { name, is } => {
            world.receivers.insert(name.clone(), *is);
        }
        Step::Script { path, is } => {
            world.scripts.insert(path.clone(), is.clone());
        }
        Step::Restart(crash) => {
            let usual = std::mem::replace(&mut world.crash, *crash);
            world.restart();
            world.crash = usual;
        }
        Step::Retire => {
            world.lose_samples();
            world.restart();
        }
        Step::Away(lasts) => {
            world.be_away(*lasts);
            world.restart();
        }
        Step::Command(command) => world.command(command.clone()),
        Step::Rules(names) => world.reload(rules(names)?),
        Step::Clock(ahead_ms) => world.wall_ahead_ms = *ahead_ms,
        Step::Own { what, about, is } => world.give(Input::Own {
            what: *what,
            about: about.clone(),
            is: is.clone(),
        }),
    }
    Ok(())
}

fn duration(text: &str) -> Result<Duration, String> {
    text.parse()
        .map_err(|e: crate::model::time::DurationError| e.to_string())
}

fn step(text: &str) -> Result<Step, String> {
    let (verb, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    match verb {
        "push" => push(rest),
        "receiver" => receiver(rest),
        "script" => script(rest),
        "restart" if rest.is_empty() => Ok(Step::Restart(Crash::Gentle)),
        "restart" => match rest.strip_prefix("after ") {
            Some(lasts) => Ok(Step::Away(duration(lasts.trim())?)),
            None => Err("write `restart` or `restart after 20m`".to_owned()),
        },
        "retire" => Ok(Step::Retire),
        "crash" => Ok(Step::Restart(Crash::Hard)),
        "rules" => Ok(Step::Rules(
            rest.split_whitespace().map(str::to_owned).collect(),
        )),
        "ack" | "silence" | "unsilence" | "heals" => command(verb, rest),
        "clock" => clock(rest),
        "own" => own(rest),
        _ => Err(format!(
            "`{verb}` is not known: push, receiver, script, restart, crash, retire, rules, ack, silence, unsilence, heals, clock, own"
        )),
    }
}

fn clock(text: &str) -> Result<Step, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    Ok(Step::Clock(match words.as_slice() {
        ["right"] => 0,
        ["ahead", by] => duration(by)?.ms().cast_signed(),
        ["behind", by] => -duration(by)?.ms().cast_signed(),
        _ => return Err("write `clock ahead 1h`, `clock behind 1h` or `clock right`".to_owned()),
    }))
}

fn own(text: &str) -> Result<Step, String> {
    let (head, is) = match (text.split_once(": "), text.strip_suffix(" over")) {
        (Some((head, is)), _) => (head, Some(is.to_owned())),
        (None, Some(head)) => (head, None),
        (None, None) => {
            return Err("write `own NAME [ABOUT]: SENTENCE` or `own NAME [ABOUT] over`".to_owned());
        }
    };
    let (name, about) = head.split_once(' ').unwrap_or((head, ""));
    let what = Own::ALL.into_iter().find(|own| own.name() == name);
    let names = Own::ALL.map(Own::name).join(", ");
    Ok(Step::Own {
        what: what.ok_or_else(|| format!("`{name}` is not one of {names}"))?,
        about: about.trim().to_owned(),
        is,
    })
}

fn push(text: &str) -> Result<Step, String> {
    let usage =
        "write `push METRIC{label=\"value\"} VALUE [every 1s for 60s] [late 5s | ahead 5s]`";
    let cut = match text.find('}') {
        Some(close) => close + 1,
        None => text.find(' ').ok_or(usage)?,
    };
    let (series, rest) = text.split_at(cut);
    let selector: crate::model::labels::Selector = series
        .parse()
        .map_err(|e: crate::model::labels::SelectorError| e.to_string())?;
    let labels = selector
        .matchers
        .iter()
        .map(|m| (m.name.clone(), m.value.clone()))
        .collect();
    let words: Vec<&str> = rest.split_whitespace().collect();
    let (words, ahead) = match words.as_slice() {
        [words @ .., "ahead", by] => (words, duration(by)?.ms().cast_signed()),
        [words @ .., "late", by] => (words, -duration(by)?.ms().cast_signed()),
        words => (words, 0),
    };
    let (value, every, lasts) = match words {
        [value] => (value, Duration::from_secs(1), Duration::ZERO),
        [value, "every", every, "for", lasts] => (value, duration(every)?, duration(lasts)?),
        _ => return Err(usage.to_owned()),
    };
    if every.is_zero() {
        return Err("`every` must be some time".to_owned());
    }
    Ok(Step::Push {
        series: SeriesKey::new(&selector.metric, &labels),
        push: Push {
            value: value
                .parse()
                .map_err(|_| format!("`{value}` is not a number"))?,
            every,
            lasts,
            ahead_ms: ahead,
        },
    })
}

fn receiver(text: &str) -> Result<Step, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (name, answer, latency) = match words.as_slice() {
        [name, answer] => (name, answer, Duration::from_ms(100)),
        [name, answer, "after", latency] => (name, answer, duration(latency)?),
        _ => return Err("write `receiver NAME ok|down|refuse|unknown|lost [after 5s]`".to_owned()),
    };
    let answer = match *answer {
        "ok" | "up" => Answer::Ok,
        "down" => Answer::Down,
        "refuse" => Answer::Refuse,
        "unknown" => Answer::Unknown,
        "lost" => Answer::Lost,
        other => {
            return Err(format!(
                "`{other}` is not ok, down, refuse, unknown or lost"
            ));
        }
    };
    Ok(Step::Receiver {
        name: (*name).to_owned(),
        is: Receiver { answer, latency },
    })
}

fn script(text: &str) -> Result<Step, String> {
    let usage = "write `script PATH exits CODE after 2s [and sets METRIC to VALUE [after 5s]]`";
    let words: Vec<&str> = text.split_whitespace().collect();
    let [path, "exits", code, "after", takes, rest @ ..] = words.as_slice() else {
        return Err(usage.to_owned());
    };
    let number = |v: &str| {
        v.parse::<f64>()
            .map_err(|_| format!("`{v}` is not a number"))
    };
    let sets = match rest {
        [] => None,
        ["and", "sets", metric, "to", v] => {
            Some(((*metric).to_owned(), number(v)?, Duration::ZERO))
        }
        ["and", "sets", metric, "to", v, "after", d] => {
            Some(((*metric).to_owned(), number(v)?, duration(d)?))
        }
        _ => return Err(usage.to_owned()),
    };
    Ok(Step::Script {
        path: (*path).to_owned(),
        is: Script {
            code: code
                .parse()
                .map_err(|_| format!("`{code}` is not an exit code"))?,
            takes: duration(takes)?,
            sets,
        },
    })
}

fn command(verb: &str, text: &str) -> Result<Step, String> {
    let (what, by) = text
        .rsplit_once("by ")
        .ok_or_else(|| format!("say who: `{verb} {text} by ann`"))?;
    let (what, by) = (what.trim(), by.trim().to_owned());
    let id = || {
        what.parse()
            .map_err(|_| format!("`{what}` is not a number"))
    };
    Ok(Step::Command(match verb {
        "ack" => Command::Ack {
            incident: id()?,
            by,
            note: String::new(),
        },
        "unsilence" => Command::EndSilence { id: id()?, by },
        "silence" => {
            let (matchers, lasts) = what
                .rsplit_once(" for ")
                .ok_or("write `silence alertname=\"x\" for 10m by ann`")?;
            Command::Silence {
                matchers: parse_matchers(matchers).map_err(|e| e.to_string())?,
                lasts: duration(lasts.trim())?,
                by,
                comment: String::new(),
            }
        }
        _ => Command::Switch {
            on: match what {
                "on" => true,
                "off" => false,
                other => return Err(format!("heals are switched `on` or `off`, not `{other}`")),
            },
            by,
            reason: String::new(),
        },
    }))
}
