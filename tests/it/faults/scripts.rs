//! Scripts that misbehave, through a rule that fires on the real program: a person is paged and told what happened.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::lab::{Hooks, Lab, until};

/// A name, what the script does, and what the page says of it.
const STORIES: &[(&str, &str, &str)] = &[
    (
        "fails",
        "echo no such service >&2; exit 3",
        "failed with exit code 3",
    ),
    (
        "hangs",
        "trap '' TERM; while :; do sleep 0.1; done",
        "killed at its deadline",
    ),
    (
        "daemon",
        "setsid -f sh -c 'while :; do sleep 300; done'",
        "as bad as before",
    ),
    (
        "floods",
        "head -c 100000000 /dev/zero | tr '\\0' x",
        "as bad as before",
    ),
    ("vanished", "exit 0", "No such file"),
    ("forbidden", "exit 0", "not executable"),
    ("refuses", "exit 78", "refuses (exit code 78)"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_does_not_help_wakes_a_person() {
    let (mut lab, hooks) = (Lab::new("scripts"), Hooks::open().await);
    lab.write("ops.yaml", &hooks.settings(&["hook"]));
    for (name, body, _) in STORIES {
        let rule = format!(
            "metric: {name}\nwindow: 1m\nthreshold: 100\naggregate: last\nnotify: [hook]\nheal:\n  settle: 0s\n  within: 1s\n  hold: 0s\n  steps:\n  - run: [scripts/{name}.sh]\n    timeout: {}\n",
            if *name == "hangs" { "1s" } else { "20s" }
        );
        lab.write(&format!("alerts/{name}.yml"), &rule);
        lab.script(&format!("{name}.sh"), &format!("{body}\n"));
    }
    let mode = fs::Permissions::from_mode(0o644);
    fs::set_permissions(lab.dir.join("scripts/forbidden.sh"), mode).unwrap();
    lab.serve().await;
    fs::remove_file(lab.dir.join("scripts/vanished.sh")).unwrap();
    let told = |name: &str| hooks.kinds("hook", name);
    until("every failed heal pages", async || {
        for (name, ..) in STORIES {
            assert!(lab.push(name, 500.0).await);
        }
        STORIES
            .iter()
            .all(|(name, ..)| told(name).contains(&"heal_failed".to_owned()))
    })
    .await;
    for (name, _, says) in STORIES {
        assert_eq!(told(name), ["opened", "heal_failed"], "{name}");
        let page = hooks.about(name).pop().unwrap();
        let heal = page.body["ops"]["heal"].as_str().unwrap();
        println!("{name}: {heal}");
        assert!(heal.contains(says), "{name}: {heal}");
    }
    let of_ours = |text: &[u8]| {
        let dir = lab.dir.join("data/runs");
        let home = format!("HOME={}", dir.display());
        text.split(|b| *b == 0)
            .any(|part| part.starts_with(home.as_bytes()))
    };
    let processes = fs::read_dir("/proc").unwrap();
    let left = processes
        .filter_map(|entry| fs::read(entry.ok()?.path().join("environ")).ok())
        .filter(|text| of_ours(text));
    assert_eq!(left.count(), 0, "a script left something running");
}
