//! Starting, reloading and ending the real program: the demo from its first line to its last, the heal log, SIGHUP, the
//! refusal to be reachable by everybody, and what it says about itself.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::lab::{Hooks, Lab, PATIENCE, free_port, has, ops, until};

/// Until every one of these has been said, in any order; all lines up to then.
fn hear(lines: &mpsc::Receiver<String>, wanted: &[&str]) -> Vec<String> {
    let (begun, mut heard) = (Instant::now(), Vec::<String>::new());
    let said = |heard: &[String], part: &str| heard.iter().any(|line| line.contains(part));
    while !wanted.iter().all(|part| said(&heard, part)) {
        let left = PATIENCE.saturating_sub(begun.elapsed());
        match lines.recv_timeout(left) {
            Ok(line) => heard.push(line),
            Err(_) => panic!("not all of {wanted:?} within {PATIENCE:?}: {heard:#?}"),
        }
    }
    heard
}

#[test]
fn the_demo_pages_heals_verifies_and_ends_when_it_is_told_to() {
    let lab = Lab::new("demo");
    let scratch = lab.dir.join("tmp");
    std::fs::create_dir_all(&scratch).unwrap();
    let mut child = ops(&lab.dir)
        .args(["demo", "--listen"])
        .arg(format!("127.0.0.1:{}", lab.port))
        .env("TMPDIR", &scratch)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(lab.dir.join("stderr")).unwrap())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let (sender, lines) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    // Whatever is wrong, it does not outlive the test.
    let story = std::panic::catch_unwind(|| {
        hear(
            &lines,
            &[
                "mail to oncall@opm.gov: [RESOLVED] county_api (#1)",
                "webhook pager_duty: resolved county_api",
                "ALERT_RESOLVED  county_api_ms back to ",
            ],
        )
    });
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let Ok(story) = story else {
        child.kill().unwrap();
        panic!("it did not tell its story");
    };
    let begun = Instant::now();
    let end = loop {
        match child.try_wait().unwrap() {
            Some(end) => break end,
            None if begun.elapsed() > PATIENCE => {
                child.kill().unwrap();
                panic!("it did not end");
            }
            None => std::thread::sleep(std::time::Duration::from_millis(20)),
        }
    };
    assert!(end.success(), "{end}");
    reader.join().unwrap();
    let place = |part: &str| {
        let at = story.iter().position(|line| line.contains(part));
        at.unwrap_or_else(|| panic!("no `{part}` in {story:#?}"))
    };
    let board = format!("board: http://127.0.0.1:{}/board/county_api_ms", lab.port);
    let fired = place("ALERT           county_api_ms ");
    let ran = place("EXEC            rollback_docket_rule.sh ");
    let over = place("ALERT_RESOLVED  county_api_ms back to ");
    assert!(place(&board) < fired && fired < ran && ran < over);
    for (line, words) in [
        (fired, "(threshold 1000)"),
        (fired, "paging oncall@opm.gov, pager_duty"),
        (ran, "success in "),
        (over, "healed by rollback_docket_rule.sh"),
    ] {
        assert!(story[line].contains(words), "{words}: {}", story[line]);
    }
    assert!(fired < place("mail to oncall@opm.gov: [FIRING] county_api (#1)"));
    assert!(fired < place("webhook pager_duty: firing county_api"));
    let left: Vec<_> = std::fs::read_dir(&scratch).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_leaves_a_line_that_people_can_read() {
    let mut lab = Lab::new("heal-log");
    lab.script("no.sh", "exit 3");
    lab.script("fix.sh", "exit 0");
    let rule = "metric: lat\nwindow: 1m\nthreshold: 100\naggregate: last\n";
    let heal = "heal:\n  target: host\n  settle: 0s\n  steps:\n  - run: [scripts/no.sh]\n  - run: [scripts/fix.sh]\n";
    lab.write("alerts/lat.yml", &format!("{rule}{heal}"));
    lab.serve().await;
    // What a sender writes into a label must not make lines of its own.
    let sample = r#"{"name":"lat","val":500,"labels":{"host":"a b\nrun=forged"}}"#;
    let read = || std::fs::read_to_string(lab.dir.join("data/ops_heal.log")).unwrap_or_default();
    until("two attempts are logged", async || {
        assert_eq!(lab.post("/metric", sample).await, 204);
        read().lines().count() >= 2
    })
    .await;
    let log = read();
    for (line, (script, outcome)) in log.lines().zip([
        ("no.sh", "outcome=\"failed with exit code 3\""),
        ("fix.sh", "outcome=\"success\""),
    ]) {
        let words: Vec<&str> = line.split(" run=").collect();
        assert!(words[0].len() == "2026-01-01T00:00:00.000Z".len(), "{line}");
        let fits = [
            "incident=1 rule=lat target=\"a b\\nrun=forged\"",
            &format!("script=scripts/{script} attempt=1 took="),
            outcome,
        ];
        assert!(fits.iter().all(|part| line.contains(part)), "{line}");
    }
    assert_eq!(log.lines().count(), 2, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_loads_what_was_edited_and_a_broken_edit_changes_nothing() {
    let mut lab = Lab::new("hup");
    let rule = |name: &str| format!("name: {name}\nmetric: lat\nwindow: 1m\nthreshold: 1\n");
    lab.write("alerts/lat.yml", &rule("before"));
    lab.serve().await;
    let names = async || {
        let (_, body) = lab.get("/api/v1/rules").await;
        body["data"]["groups"][0]["rules"][0]["name"].to_string()
    };
    assert_eq!(names().await, "\"before\"");
    let hup = || {
        let pid = Pid::from_raw(lab.pid()).unwrap();
        kill_process(pid, Signal::HUP).unwrap();
    };
    lab.write("alerts/lat.yml", &rule("after"));
    hup();
    until("the edit is in force", async || {
        names().await == "\"after\""
    })
    .await;
    lab.write("alerts/lat.yml", "metric: [\n");
    hup();
    until("the broken edit is told", async || {
        lab.check("rules").await.0 != "ok"
    })
    .await;
    assert_eq!(names().await, "\"after\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_listens_for_everybody_without_tokens_and_an_edit_does_not_open_it() {
    let mut lab = Lab::new("exposed");
    let everywhere = format!("0.0.0.0:{}", lab.port);
    let refused = ops(&lab.dir)
        .args(["serve", "--listen", &everywhere])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("set `auth.tokens` in ops.yaml"), "{told}");
    let tokens = "auth:\n  tokens:\n  - {name: app, token_file: token, scopes: [admin]}\n";
    lab.write("token", "a-token-that-is-long-enough-for-anybody\n");
    lab.write("ops.yaml", tokens);
    let mut command = ops(&lab.dir);
    command
        .args(["serve", "--tick", "100ms", "--listen", &everywhere])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(lab.dir.join("stderr")).unwrap());
    lab.serve_as(command).await;
    let push = async || lab.post("/metric", r#"{"name":"a","val":1}"#).await;
    assert_eq!(push().await, 401);
    lab.write("ops.yaml", "tick: 100ms\n");
    let pid = Pid::from_raw(lab.pid()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    until("the tokens are gone", async || {
        let status = push().await;
        assert_ne!(status, 204, "it is open to everybody");
        status == 403
    })
    .await;
    assert_eq!(lab.get("/health").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_finds_nothing_wrong_with_what_it_says_about_itself() {
    if !has("promtool") {
        return;
    }
    let (mut lab, hooks) = (Lab::new("metrics"), Hooks::open().await);
    lab.write("ops.yaml", &hooks.settings(&["hook"]));
    lab.write("alerts/\"odd\\name.yml", "metric: [\n");
    let rule = "metric: lat\nwindow: 1m\nthreshold: 100\naggregate: last\nnotify: [hook]\n";
    lab.write("alerts/lat.yml", rule);
    lab.serve().await;
    until("it pages", async || {
        assert!(lab.push("lat", 500.0).await);
        hooks.kinds("hook", "lat") == ["opened"]
    })
    .await;
    let text = lab.client.get(lab.url("/metrics")).send().await.unwrap();
    let text = text.text().await.unwrap();
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = promtool.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    let told = promtool.wait_with_output().unwrap();
    let said = [told.stdout, told.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(told.status.success() && said.trim().is_empty(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heavy_query_holds_up_no_tick() {
    let mut lab = Lab::new("heavy");
    lab.serve().await;
    let items = (0..2_000).map(|n| format!(r#"{{"name":"m","val":{n},"labels":{{"n":"{n}"}}}}"#));
    let body = format!("[{}]", items.collect::<Vec<_>>().join(","));
    assert_eq!(lab.post("/metric", &body).await, 204);
    // Sums of sums at ten thousand steps: it takes long, or as long as it may.
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let query = "sum(max_over_time(sum_over_time(m[5m:1s])[5m:1s]))";
    let running = lab
        .client
        .post(lab.url("/api/v1/query_range"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!(
            "query={query}&timeout=20s&step=1&start={now}&end={}",
            now + 10_000
        ));
    let ticks = async || lab.counted("ops_ticks_total").await.unwrap();
    let before = ticks().await;
    let running = tokio::spawn(async move { running.send().await.unwrap().status() });
    until("ten ticks are judged while it runs", async || {
        assert!(
            !running.is_finished() || ticks().await >= before + 10.0,
            "the query is too light to show anything"
        );
        ticks().await >= before + 10.0
    })
    .await;
    let skipped = lab.counted("ops_ticks_skipped_total").await;
    assert_eq!(skipped, Some(0.0));
    running.abort();
}

#[test]
fn a_port_that_is_taken_is_said() {
    let lab = Lab::new("taken");
    let port = free_port();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let told = ops(&lab.dir)
        .args(["serve", "--listen", &format!("127.0.0.1:{port}")])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&told.stderr).into_owned();
    assert_eq!(told.status.code(), Some(1));
    assert!(
        said.contains(&format!("cannot listen on 127.0.0.1:{port}")),
        "{said}"
    );
}
