//! Random histories: whatever happens and whenever the engine dies, some things never are.
//!
//! `OPS_SIM_SEED` plays one history, `OPS_SIM_COUNT` says how many are played, `OPS_SIM_FIRST` from which
//! seed.

#![expect(clippy::disallowed_methods, reason = "the seed comes from outside")]

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::engine::Input;
use crate::engine::command::Command;
use crate::engine::own::Own;
use crate::engine::policy::{Missing, Policy};
use crate::engine::state::State;
use crate::model::labels::{Labels, SeriesKey, parse_matchers};
use crate::model::time::{Duration, Timestamp};
use crate::sim::never::faults;
use crate::sim::outside::{Answer, Receiver, Script};
use crate::sim::rules;
use crate::sim::world::{Crash, Push, World};

/// xorshift64*: small, seeded, good enough.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        let mut dice = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..4 {
            dice.roll(2);
        }
        dice
    }
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below
    }
    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.roll(of.len() as u64) as usize]
    }
    fn secs(&mut self, of: &[u64], scale: u64) -> Duration {
        Duration::from_secs(self.one(of) * scale)
    }
}

enum Action {
    Feed(SeriesKey, Push),
    Receiver(&'static str, Receiver),
    Script(&'static str, Script),
    Command(Command),
    Policy(Arc<Policy>),
    Clock(i64),
    Own(Own, String, bool),
}

struct History {
    scale: u64,
    policy: Arc<Policy>,
    actions: Vec<(Timestamp, Action)>,
    end: Timestamp,
    /// Happenings after which the engine dies.
    cuts: BTreeSet<u64>,
}

fn series() -> Vec<SeriesKey> {
    ["a", "b"]
        .iter()
        .flat_map(|m| ["x", "y"].map(|host| SeriesKey::new(m, &Labels::new().with("host", host))))
        .collect()
}

fn a_policy(dice: &mut Dice, scale: u64) -> Arc<Policy> {
    let (mut all, mut groups) = (Vec::new(), Vec::new());
    for metric in ["a", "b"] {
        if dice.roll(8) == 0 {
            continue;
        }
        let mut r = rules::rule(metric, metric, dice.one(&[3, 6]) * scale, 100.0);
        r.for_ = dice.secs(&[0, 0, 2, 5], scale);
        r.keep_firing_for = dice.secs(&[0, 0, 4], scale);
        r.missing = *dice.one(&[
            Missing::Hold,
            Missing::Hold,
            Missing::Resolve,
            Missing::Fire,
        ]);
        if dice.roll(3) == 0 {
            let asks = format!(
                "{{{{ range query \"{metric} > 10\" | sortByLabel \"host\" }}}}{{{{ .Value }}}} {{{{ end }}}}"
            );
            r.annotations.insert("asks".to_owned(), asks);
        }
        r.silence_window = *dice.one(&[None, Some(Duration::from_secs(15 * scale))]);
        rules::window(&mut r).resolve = dice.one(&[None, Some(rules::below(50.0))]).clone();
        r.notify = dice
            .one(&[vec!["oncall"], vec!["oncall", "pager"], vec![]])
            .iter()
            .map(|s| (*s).to_owned())
            .collect();
        if dice.roll(3) > 0 {
            let scripts = dice
                .one(&[vec!["one.sh"], vec!["one.sh", "two.sh"]])
                .clone();
            let mut h = rules::heal(&scripts);
            h.target = dice.one(&[None, Some("host".to_owned())]).clone();
            h.settle = dice.secs(&[0, 2], scale);
            h.within = dice.secs(&[4, 10], scale);
            h.hold = dice.secs(&[0, 3], scale);
            h.backoff_min = dice.secs(&[1, 5], scale);
            let verify = *dice.one(&[
                "",
                "",
                "METRIC < 100",
                "avg_over_time(METRIC[RANGEs]) < 100",
                "sum without (host) (METRIC) < 200",
                "max_over_time(METRIC[RANGEs:]) < 100",
                "absent(METRIC > 100)",
                "METRIC < bool 100 and on () a offset RANGEs",
            ]);
            let verify = verify.replace("METRIC", metric);
            let verify = verify.replace("RANGE", &(5 * scale).to_string());
            h.verify = (!verify.is_empty()).then(|| rules::verify(&verify));
            h.page_after_heal = dice.roll(2) == 0;
            h.group = (*dice.one(&["g", metric])).to_owned();
            h.steps
                .iter_mut()
                .for_each(|s| s.timeout = Duration::from_secs(6 * scale));
            r.heal = Some(h);
        }
        let expr = *dice.one(&[
            "",
            "",
            "METRIC > 100",
            "avg_over_time(METRIC[RANGEs]) > 100",
            "sum by (host) (METRIC) > 100 and on () a",
        ]);
        if expr.is_empty() {
            all.push(r);
            continue;
        }
        if r.missing == Missing::Fire {
            r.missing = Missing::Hold;
        }
        let interval = *dice.one(&[0, 0, 2, 5]) * scale;
        let range = (5 * scale).to_string();
        let text = expr.replace("METRIC", metric).replace("RANGE", &range);
        groups.push(rules::expr_group(r, &text, interval));
    }
    let mut policy = rules::policy(all);
    policy.groups = groups.into_iter().map(Arc::new).collect();
    policy.default_receiver = dice.one(&[None, Some("pager".to_owned())]).clone();
    Arc::new(policy)
}

fn a_history(seed: u64) -> History {
    let mut dice = Dice::new(seed);
    let scale = *dice.one(&[1, 1, 20]);
    let policy = a_policy(&mut dice, scale);
    let mut at = Timestamp::default();
    let mut actions = Vec::new();
    let keys = series();
    for _ in 0..4 + dice.roll(16) {
        at = at + Duration::from_ms(dice.roll(6_000) * scale);
        let action = match dice.roll(19) {
            0..8 => Action::Feed(
                dice.one(&keys).clone(),
                Push {
                    value: *dice.one(&[10.0, 70.0, 150.0, 150.3, 400.0]),
                    every: Duration::from_secs(scale),
                    lasts: dice.secs(&[2, 10, 40], scale),
                    ahead_ms: *dice.one(&[0, 0, 0, -4_000, 2_500]),
                },
            ),
            8..11 => Action::Receiver(
                dice.one::<&'static str>(&["oncall", "manager", "pager"]),
                Receiver {
                    answer: *dice.one(&[
                        Answer::Ok,
                        Answer::Down,
                        Answer::Refuse,
                        Answer::Unknown,
                        Answer::Lost,
                    ]),
                    latency: Duration::from_ms(*dice.one(&[50, 700, 5_000, 30_000])),
                },
            ),
            11 | 12 => Action::Script(
                dice.one::<&'static str>(&["scripts/one.sh", "scripts/two.sh"]),
                Script {
                    code: *dice.one(&[0, 0, 0, 1, 75, 77, 78]),
                    takes: dice.secs(&[0, 1, 3, 9], scale),
                    sets: dice
                        .one(&[None, Some(("a".to_owned(), 20.0, Duration::ZERO))])
                        .clone(),
                },
            ),
            13 | 14 => Action::Command(a_command(&mut dice, scale)),
            15 => Action::Clock(*dice.one(&[0, 0, 3_600_000, -3_600_000, 90_000, -90_000])),
            16 | 17 => Action::Own(
                *dice.one(&Own::ALL),
                (*dice.one(&["", "one@1"])).to_owned(),
                dice.roll(3) > 0,
            ),
            _ => Action::Policy(a_policy(&mut dice, scale)),
        };
        actions.push((at, action));
    }
    let mut cuts = BTreeSet::new();
    for _ in 0..1 + dice.roll(3) {
        cuts.insert(dice.roll(120));
    }
    History {
        scale,
        policy,
        actions,
        end: at + Duration::from_secs(20 * scale),
        cuts,
    }
}

fn a_command(dice: &mut Dice, scale: u64) -> Command {
    let by = "ann".to_owned();
    match dice.roll(5) {
        0 | 1 => Command::Ack {
            incident: 1 + dice.roll(3),
            by,
            note: String::new(),
        },
        2 => Command::Silence {
            matchers: parse_matchers(dice.one::<&str>(&["alertname=a", "host=x", "host=~\".+\""]))
                .unwrap(),
            lasts: dice.secs(&[3, 20], scale),
            by,
            comment: String::new(),
        },
        3 => Command::EndSilence {
            id: 1 + dice.roll(2),
            by,
        },
        _ => Command::Switch {
            on: dice.roll(2) == 0,
            by,
            reason: String::new(),
        },
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Cut {
    /// The same rules are read again.
    Reload,
    Restart(Crash),
    /// A tick's record is durable, its effects never leave.
    Die,
    /// The first of a tick's records are durable.
    Tear,
}

/// Plays a history, then a calm time in which everything is well and everything can end.
fn live(history: &History, cut: Cut) -> World {
    let mut world = World::new(history.policy.clone(), Duration::from_secs(history.scale));
    world.talks = std::env::var("OPS_SIM_SEED").is_ok();
    let mut actions = history.actions.iter().peekable();
    let mut happenings = 0;
    loop {
        let next = world.next_at().unwrap();
        if let Some((at, action)) = actions.next_if(|(at, _)| *at <= next) {
            world.now = *at;
            act(&mut world, action);
        } else if next <= history.end {
            world.step(next);
        } else {
            break;
        }
        happenings += 1;
        if history.cuts.contains(&happenings) {
            match cut {
                Cut::Reload | Cut::Restart(Crash::Gentle) if world.in_doubt() => {}
                Cut::Reload => world.reload_same(),
                Cut::Restart(crash) => {
                    world.crash = crash;
                    world.restart();
                }
                Cut::Die => world.tick_and_die(),
                Cut::Tear => world.tick_and_tear(),
            }
        }
    }
    world.wall_ahead_ms = 0;
    for what in Own::ALL {
        for about in ["", "one@1"] {
            own(&mut world, what, about, false);
        }
    }
    world.receivers.clear();
    world.scripts.clear();
    world.give(Input::Command(Command::Switch {
        on: true,
        by: "ann".to_owned(),
        reason: String::new(),
    }));
    for key in series() {
        let push = Push {
            value: 5.0,
            every: Duration::from_secs(history.scale * 2),
            lasts: Duration::from_secs(100_000),
            ahead_ms: 0,
        };
        world.feed(&key, push);
    }
    for _ in 0..400 {
        let state = world.engine().view().state;
        let runs = state.heals.values().any(|h| h.closed.is_none());
        if state.alerts.is_empty() && state.open.is_empty() && state.outbox.is_empty() && !runs {
            break;
        }
        let next = world.next_at().unwrap();
        world.step(next);
    }
    world
}

fn act(world: &mut World, action: &Action) {
    match action {
        Action::Feed(key, push) => world.feed(key, *push),
        Action::Receiver(name, is) => {
            world.receivers.insert((*name).to_owned(), *is);
        }
        Action::Script(path, is) => {
            world.scripts.insert((*path).to_owned(), is.clone());
        }
        Action::Command(command) => {
            if world.engine().check(command).is_ok() {
                world.command(command.clone());
            }
        }
        Action::Policy(policy) => world.reload(policy.clone()),
        Action::Clock(ahead_ms) => world.wall_ahead_ms = *ahead_ms,
        Action::Own(what, about, is) => own(world, *what, about, *is),
    }
}

fn own(world: &mut World, what: Own, about: &str, is: bool) {
    let (about, is) = (about.to_owned(), is.then(|| "so it is".to_owned()));
    world.give(Input::Own { what, about, is });
}

fn check(seed: u64) {
    let history = a_history(seed);
    let calm = live(&history, Cut::Reload);
    let lives = [
        ("reload", None),
        ("restart", Some(Cut::Restart(Crash::Gentle))),
        ("crash", Some(Cut::Restart(Crash::Hard))),
        ("death after a record", Some(Cut::Die)),
        ("death between records", Some(Cut::Tear)),
    ];
    for (name, cut) in lives {
        let other = cut.map(|cut| live(&history, cut));
        let world = other.as_ref().unwrap_or(&calm);
        let faults = faults(world);
        assert!(
            faults.is_empty(),
            "OPS_SIM_SEED={seed} ({name}):\n{}\n{}",
            faults.join("\n"),
            world.transcript.join("\n"),
        );
        if cut == Some(Cut::Restart(Crash::Gentle)) {
            same(seed, &calm, world);
        }
    }
}

/// A restart is no more than reading the same rules again.
fn same(seed: u64, calm: &World, world: &World) {
    let keys = |w: &World| w.accepted.iter().map(|p| p.key.clone()).collect::<Vec<_>>();
    let runs = |w: &World| w.started.iter().map(|r| r.id.clone()).collect::<Vec<_>>();
    let story = |w: &World| w.transcript.join("\n");
    let place = || {
        format!(
            "OPS_SIM_SEED={seed}\n{}\n--- with restarts\n{}",
            story(calm),
            story(world)
        )
    };
    assert_eq!(keys(calm), keys(world), "{}", place());
    assert_eq!(runs(calm), runs(world), "{}", place());
    let state = |w: &World| State {
        at: Timestamp::default(),
        ..w.engine().view().state.clone()
    };
    assert_eq!(state(calm), state(world), "{}", place());
}

#[test]
fn sim_restart_cut() {
    let number = |name: &str| std::env::var(name).ok().map(|v| v.parse::<u64>().unwrap());
    if let Some(seed) = number("OPS_SIM_SEED") {
        return check(seed);
    }
    let first = number("OPS_SIM_FIRST").unwrap_or(0);
    let last = first + number("OPS_SIM_COUNT").unwrap_or(10_000);
    std::thread::scope(|threads| {
        for half in 0..2 {
            threads.spawn(move || (first + half..last).step_by(2).for_each(check));
        }
    });
}
