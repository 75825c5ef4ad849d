//! Every file of `tests/scenarios`, played as it is and with restarts.

#![expect(clippy::disallowed_methods, reason = "scenarios are files")]

use crate::sim::rules;
use crate::sim::scenario::{Scenario, ScenarioError};
use crate::sim::world::{Crash, World};

fn files() -> Vec<(std::path::PathBuf, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|f| f.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "scenario"))
        .map(|p| (p.clone(), std::fs::read_to_string(&p).unwrap()))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

fn play(scenario: &Scenario, meddle: &mut dyn FnMut(&mut World)) -> World {
    scenario.play(&rules::named, meddle).unwrap()
}

#[test]
fn sim_scenarios_go_as_they_are_written() {
    let update = std::env::var("UPDATE_EXPECT").is_ok_and(|v| v == "1");
    let mut wrong = String::new();
    for (path, text) in files() {
        let scenario = Scenario::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let world = play(&scenario, &mut |_| {});
        assert_eq!(world.faults, [""; 0], "{}", path.display());
        let got = world.transcript.join("\n") + "\n";
        if got != scenario.expected {
            wrong += &format!("{}:\n{got}\n", path.display());
            if update {
                let head = text.split("\n---").next().unwrap();
                std::fs::write(&path, format!("{}\n---\n{got}", head.trim_end())).unwrap();
            }
        }
    }
    assert!(update || wrong.is_empty(), "{wrong}");
}

#[test]
fn sim_a_gentle_restart_anywhere_changes_nothing() {
    for (path, text) in files() {
        let scenario = Scenario::parse(&text).unwrap();
        for every in [1, 7] {
            let life = |cut: fn(&mut World)| {
                let mut n = 0;
                let world = play(&scenario, &mut |world| {
                    n += 1;
                    if n % every == 0 && !world.in_doubt() {
                        cut(world);
                    }
                });
                assert_eq!(world.faults, [""; 0], "{}", path.display());
                let story = world.transcript.iter();
                let told = story.filter(|l| !l.contains("  policy  "));
                told.cloned().collect::<Vec<_>>().join("\n")
            };
            let restarted = life(|world| {
                world.crash = Crash::Gentle;
                world.restart();
            });
            let place = format!("{}, every {every} steps", path.display());
            assert_eq!(restarted, life(World::reload_same), "{place}");
        }
    }
}

#[test]
fn sim_a_crash_costs_at_most_duplicates() {
    for (path, text) in files() {
        let scenario = Scenario::parse(&text).unwrap();
        let calm = play(&scenario, &mut |_| {});
        let mut n = 0;
        let hurt = play(&scenario, &mut |world| {
            n += 1;
            if n % 13 == 0 {
                world.restart();
            }
        });
        assert_eq!(hurt.faults, [""; 0], "{}", path.display());
        let runs = |w: &World| w.started.iter().map(|r| r.id.clone()).collect::<Vec<_>>();
        assert_eq!(runs(&calm), runs(&hurt), "{}", path.display());
    }
}

#[test]
fn sim_a_bad_line_is_named() {
    let error = |text: &str| Scenario::parse(text).unwrap_err();
    assert_eq!(
        error("until 5m\n0s frobnicate\n"),
        ScenarioError {
            line: 2,
            what: "`frobnicate` is not known: push, receiver, script, restart, crash, retire, rules, ack, silence, unsilence, heals, clock, own".to_owned()
        }
    );
    for bad in [
        "x push a 1",
        "0s push a",
        "0s push a 1 every 0s for 5s",
        "0s receiver oncall asleep",
        "script x exits 0",
        "0s ack 1",
        "0s silence a=\"b\" by ann",
        "0s clock 1h",
        "0s own ops_tired: very",
        "0s own ops_samples_refused",
        "5s restart\n4s restart",
    ] {
        let lines = bad.lines().count();
        assert_eq!(error(bad).line, lines, "{bad}");
    }
}
