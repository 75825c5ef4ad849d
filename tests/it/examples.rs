//! The examples that come with the program: nothing is wrong with them, and the checker finds what is.

use std::path::Path;
use std::process::{Command, Output};

use crate::lab::ops;

fn run(dir: &Path, args: &[&str]) -> Output {
    ops(dir).args(args).output().unwrap()
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_examples_are_sound() {
    let checked = run(project(), &["check"]);
    let told = String::from_utf8(checked.stdout).unwrap();
    assert_eq!(
        told, "4 files, 4 rules: 0 errors, 0 warnings\n",
        "{:?}",
        checked.stderr
    );
    assert_eq!(checked.status.code(), Some(0));
}

#[test]
fn the_rule_tests_of_the_readme_pass() {
    let dir = std::env::temp_dir().join(format!("ops-junit-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let junit = dir.join("out.xml");
    let readme = std::fs::read_to_string(project().join("README.md")).unwrap();
    assert!(readme.contains("$ ops test tests/*.yml --junit out.xml"));
    let args = ["test", "tests/records_queue.yml", "--junit"];
    let tested = ops(project()).args(args).arg(&junit).output().unwrap();
    let told = String::from_utf8_lossy(&tested.stdout).into_owned();
    assert_eq!(tested.status.code(), Some(0), "{told}");
    assert!(told.contains("1 passed, 0 failed"), "{told}");
    let xml = std::fs::read_to_string(&junit).unwrap();
    assert!(xml.contains("half of the clerks"), "{xml}");
    // A shell gives it all of them.
    let all = std::fs::read_dir(project().join("tests")).unwrap();
    let names = all.map(|f| f.unwrap().file_name().into_string().unwrap());
    let yaml: Vec<String> = names.filter(|n| n.ends_with(".yml")).collect();
    assert_eq!(yaml, ["records_queue.yml"], "all of them are tested here");
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn the_example_scripts_say_what_they_did() {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    let dir = project().join("scripts");
    for entry in std::fs::read_dir(dir).unwrap() {
        let script = entry.unwrap().path();
        let mode = script.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{}", script.display());
        let result = std::env::temp_dir().join(format!(
            "ops-example-{}-{}",
            std::process::id(),
            script.file_stem().unwrap().to_string_lossy()
        ));
        let mut child = Command::new(&script)
            .env("OPS_RESULT", &result)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(b"{\"incident\":1}")
            .unwrap();
        assert!(child.wait().unwrap().success(), "{}", script.display());
        let written: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&result).unwrap()).unwrap();
        std::fs::remove_file(&result).unwrap();
        assert!(written["changed"].is_boolean() && written["message"].is_string());
    }
}

#[test]
fn a_broken_project_is_told_all_at_once() {
    let dir = std::env::temp_dir().join(format!("ops-check-{}", std::process::id()));
    std::fs::create_dir_all(dir.join("alerts")).unwrap();
    std::fs::write(
        dir.join("alerts/a.yml"),
        "metric: up\nwindow: 3m\nthreshold: 1\nnotify: [nobody_here]\nauto_heal: scripts/none.sh\n",
    )
    .unwrap();
    std::fs::write(dir.join("alerts/b.yml"), "metric: up\nwindo: 3m\n").unwrap();
    let text = run(&dir, &["check"]);
    let json = run(&dir, &["check", "--output", "json"]);
    let one = run(&dir, &["check", "alerts/b.yml"]);
    let gone = run(&dir, &["check", "alerts/c.yml", "alerts/b.yml"]);
    std::fs::create_dir(dir.join("scripts")).unwrap();
    std::fs::write(dir.join("scripts/none.sh"), "#!/bin/sh\n").unwrap();
    let idle = run(&dir, &["check", "alerts/a.yml"]);
    let wrote = dir.join("data").exists();
    std::fs::remove_dir_all(&dir).unwrap();

    assert_eq!(text.status.code(), Some(1));
    let told = String::from_utf8(text.stdout).unwrap();
    for part in [
        "alerts/a.yml:4",
        "nobody_here",
        "scripts/none.sh",
        "alerts/b.yml:2",
        "^",
        "2 files",
    ] {
        assert!(told.contains(part), "{part} is not in:\n{told}");
    }
    let all: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json.status.code(), Some(1));
    assert!(all["errors"].as_u64().unwrap() >= 3, "{all:#}");
    assert!(!String::from_utf8(one.stdout).unwrap().contains("a.yml"));
    assert_eq!(gone.status.code(), Some(1));
    assert!(String::from_utf8(gone.stdout).unwrap().contains("b.yml"));
    assert!(String::from_utf8(gone.stderr).unwrap().contains("c.yml"));
    let idle = String::from_utf8(idle.stdout).unwrap();
    assert!(idle.contains("scripts/none.sh is not executable"), "{idle}");
    assert!(!wrote, "a check writes nothing");
}

#[test]
fn wrong_usage_is_told_from_failure() {
    for (args, code) in [
        (&["no-such-command"][..], 2),
        (&["ack"], 2),
        (&["silence", "add", "a=b"], 2),
        (&["--tick", "0s", "check"], 2),
        (&["alerts", "--url", "http://127.0.0.1:1"], 1),
        (&["dashboard", "county_api_ms"], 0),
        (&["explain", "r032"], 0),
        (&["explain", "no-such-code"], 1),
        (&["receivers"], 0),
        (&["actions"], 0),
        (&["completions", "bash"], 0),
    ] {
        let done = run(project(), args);
        assert_eq!(done.status.code(), Some(code), "{args:?}");
        assert_eq!(done.stdout.is_empty(), code != 0, "{args:?}");
        assert_eq!(done.stderr.is_empty(), code == 0, "{args:?}");
    }
}

#[test]
fn the_scenarios_that_ship_go_as_they_are_written_and_a_wrong_one_is_shown() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let play = |file: &std::path::Path| {
        let run = std::process::Command::new(env!("CARGO_BIN_EXE_ops"))
            .arg("test")
            .arg(file)
            .env_remove("UPDATE_EXPECT")
            .output()
            .unwrap();
        (run.status.code(), String::from_utf8(run.stdout).unwrap())
    };
    for file in ["records_queue", "vote_api"] {
        let (code, out) = play(&root.join(format!("alerts/{file}.scenario")));
        assert_eq!(code, Some(0), "{out}");
    }
    let file = root.join("alerts/county_api.scenario");
    let (code, out) = play(&file);
    assert_eq!(code, Some(0), "{out}");

    let dir = std::env::temp_dir().join(format!("ops-scenario-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::copy(
        root.join("alerts/county_api.yml"),
        dir.join("county_api.yml"),
    )
    .unwrap();
    let wrong = std::fs::read_to_string(&file).unwrap().replace(
        "told      #1 oncall@opm.gov opened",
        "told      #1 nobody opened",
    );
    std::fs::write(dir.join("wrong.scenario"), &wrong).unwrap();
    let (code, out) = play(&dir.join("wrong.scenario"));
    assert_eq!(code, Some(1), "{out}");
    assert!(
        out.contains("- 00:")
            && out.contains("nobody opened")
            && out.contains("0 passed, 1 failed"),
        "{out}"
    );
    std::fs::remove_dir_all(&dir).unwrap();
}
