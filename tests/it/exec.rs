//! Real scripts under the real shim: whatever happens, one definite end, and nothing left running.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::lab::until;
use ops::shell::exec::spec::{RunSpec, sha256_of};
use ops::shell::exec::{End, Ended, adopt, prepare, run_with, shim, sweep_runs};
use rustix::process::{Pid, Signal, kill_process_group};

const OPS: &str = env!("CARGO_BIN_EXE_ops");

/// One script and the run of it, in a directory of its own.
struct Stage {
    root: PathBuf,
    spec: RunSpec,
}

impl Stage {
    fn new(body: &str) -> Self {
        Self::with_text(&format!("#!/bin/sh\n{body}\n"))
    }

    fn with_text(text: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let run_id = format!(
            "run-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&run_id);
        fs::create_dir_all(&root).unwrap();
        let script = root.join("heal.sh");
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let spec = RunSpec {
            script_sha256: sha256_of(&script).unwrap(),
            env: BTreeMap::from([("OPS_RUN_ID".to_owned(), run_id.clone())]),
            run_id,
            script,
            args: Vec::new(),
            timeout_ms: 60_000,
            grace_ms: 300,
            stdin: "{}".to_owned(),
        };
        Self { root, spec }
    }

    fn prepared(&self) -> PathBuf {
        prepare(&self.root.join("runs"), &self.spec).unwrap()
    }

    async fn run(&self) -> End {
        run_with(Path::new(OPS), &self.prepared()).await
    }

    /// Processes with this run's id in their environment.
    fn running(&self) -> usize {
        let mark = format!("OPS_RUN_ID={}", self.spec.run_id);
        let ours = |path: PathBuf| {
            let text = fs::read(path.join("environ")).unwrap_or_default();
            text.split(|b| *b == 0).any(|part| part == mark.as_bytes())
        };
        let entries = fs::read_dir("/proc").unwrap();
        entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| ours(path.clone()))
            .count()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn shim_by_hand(dir: &Path) -> Option<i32> {
    let mut command = Command::new(OPS);
    command.arg(shim::COMMAND).arg(dir).stderr(Stdio::null());
    command.status().unwrap().code()
}

fn why(end: &End) -> &str {
    match &end.how {
        Ended::NotStarted { why } | Ended::Unknown { why } => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_script_sees_its_input_and_only_its_environment() {
    let mut stage = Stage::new(
        r#"cat; echo; echo "args $# $1"; env | sort; pwd; echo oops >&2
printf '{"changed":true,"message":"restarted"}' > "$OPS_RESULT""#,
    );
    stage.spec.stdin = r#"{"v":1,"rule":"HighErrors"}"#.to_owned();
    stage.spec.args = vec!["$HOME; id".to_owned()];
    let label = ("OPS_LABEL_instance".to_owned(), "web 1".to_owned());
    stage.spec.env.extend([label]);
    let end = stage.run().await;
    assert_eq!(end.how, Ended::Exited { code: 0 });
    assert_eq!(end.message.as_deref(), Some("restarted"));
    assert_eq!(end.changed, Some(true));
    let dir = stage.root.join("runs").join(&stage.spec.run_id);
    let (dir, id) = (dir.display(), &stage.spec.run_id);
    let expected = format!(
        "{{\"v\":1,\"rule\":\"HighErrors\"}}\nargs 1 $HOME; id\nHOME={dir}\nLANG=C.UTF-8\n\
         OPS_LABEL_instance=web 1\nOPS_RESULT={dir}/result.json\nOPS_RUN_ID={id}\n\
         PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nPWD={dir}\nTZ=UTC\n{dir}\noops\n"
    );
    assert_eq!(end.excerpt, expected);
}

#[tokio::test]
async fn exit_codes_and_signals_are_told_apart() {
    let failed = Stage::new("exit 3").run().await;
    assert_eq!(failed.how, Ended::Exited { code: 3 });
    let killed = Stage::new("kill -USR1 $$").run().await;
    assert_eq!(killed.how, Ended::Signalled { signal: 10 });
}

#[tokio::test]
async fn who_ignores_term_is_killed() {
    let mut stage = Stage::new("trap '' TERM\nwhile :; do sleep 0.05; done");
    stage.spec.timeout_ms = 200;
    let end = stage.run().await;
    assert_eq!(end.how, Ended::TimedOut);
    assert!(end.took.ms() >= 500, "{:?}", end.took);
    assert_eq!(stage.running(), 0);
}

#[tokio::test]
async fn who_heeds_term_may_tidy_up() {
    let mut stage = Stage::new(
        "sh -c 'trap \"sleep 0.2; echo child tidied; exit 0\" TERM; : > ready; while :; do sleep 0.05; done' &\n\
         until [ -e ready ]; do sleep 0.01; done; echo ready; wait",
    );
    stage.spec.timeout_ms = 2_500;
    stage.spec.grace_ms = 20_000;
    let end = stage.run().await;
    assert_eq!(end.how, Ended::TimedOut);
    assert!(end.excerpt.ends_with("child tidied\n"), "{end:?}");
    assert!(end.took.ms() < 20_000, "{:?}", end.took);
}

#[tokio::test]
async fn a_daemon_in_its_own_session_does_not_survive() {
    let daemon = "setsid -f setsid -f sh -c 'trap \"\" TERM; : > up; while :; do sleep 300; done'\n\
                  until [ -e up ]; do sleep 0.01; done";
    let stage = Stage::new(daemon);
    assert_eq!(stage.run().await.how, Ended::Exited { code: 0 });
    assert_eq!(stage.running(), 0);

    let mut stage = Stage::new(&format!("{daemon}\nsleep 300"));
    stage.spec.timeout_ms = 500;
    assert_eq!(stage.run().await.how, Ended::TimedOut);
    assert_eq!(stage.running(), 0);
}

#[tokio::test]
async fn a_chain_of_forks_is_caught() {
    let stage = Stage::new("hop() { hop & }\nhop\nexit 0");
    let end = stage.run().await;
    assert_eq!(end.how, Ended::Exited { code: 0 });
    assert!(end.took.ms() < 8_000, "{:?}", end.took);
    assert_eq!(stage.running(), 0);
}

#[tokio::test]
async fn a_hundred_megabytes_are_cut_to_head_and_tail() {
    let stage = Stage::new("echo first; head -c 100000000 /dev/zero | tr '\\0' x; echo; echo last");
    let end = stage.run().await;
    assert_eq!(end.how, Ended::Exited { code: 0 });
    assert!(end.took.ms() < 20_000, "{:?}", end.took);
    assert!(end.excerpt.ends_with("x\nlast\n"));
    assert_eq!(end.excerpt.len(), 2 * 1024);
    let dir = stage.root.join("runs").join(&stage.spec.run_id);
    let text = fs::read_to_string(dir.join("output")).unwrap();
    let left_out = 100_000_012 - 128 * 1024;
    let between = format!("\n… {left_out} bytes left out …\n");
    assert!(text.starts_with("first\nx") && text.contains(&between));
    assert_eq!(text.len(), 128 * 1024 + between.len());
}

#[tokio::test]
async fn a_background_child_that_holds_the_output_delays_nothing() {
    let stage = Stage::new("sleep 300 &\necho done");
    let end = stage.run().await;
    assert_eq!(end.how, Ended::Exited { code: 0 });
    assert_eq!(end.excerpt, "done\n");
    assert!(end.took.ms() < 20_000, "{:?}", end.took);
    assert_eq!(stage.running(), 0);
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let stage = Stage::new("echo ran");
    fs::remove_file(&stage.spec.script).unwrap();
    assert!(why(&stage.run().await).starts_with("missing: "));

    let stage = Stage::new("echo ran");
    fs::set_permissions(&stage.spec.script, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(why(&stage.run().await).starts_with("not executable: "));

    let stage = Stage::new("echo ran");
    fs::write(&stage.spec.script, "#!/bin/sh\necho other\n").unwrap();
    assert!(why(&stage.run().await).starts_with("hash mismatch: "));

    for text in ["#!/no/such/interpreter\n", "#!\n", "echo ran by a shell\n"] {
        let stage = Stage::with_text(text);
        let end = stage.run().await;
        assert!(why(&end).starts_with("bad interpreter: "), "{end:?}");
        assert_eq!(end.excerpt, "");
    }
}

#[tokio::test]
async fn a_shim_that_cannot_run_leaves_a_run_that_never_will() {
    let stage = Stage::new("echo ran");
    let dir = stage.prepared();
    let end = run_with(Path::new("/no/such/ops"), &dir).await;
    assert!(why(&end).starts_with("the shim did not start: "), "{end:?}");
    assert_eq!(shim_by_hand(&dir), Some(i32::from(shim::EXIT_REFUSED)));
    assert!(!dir.join("begun").exists());
}

#[tokio::test]
async fn a_run_outlives_the_engine_and_is_adopted() {
    let mut stage = Stage::new("trap '' TERM; echo on; while :; do sleep 0.05; done");
    stage.spec.timeout_ms = 2_000;
    let dir = stage.prepared();
    // The shell stands for the engine: the shim is its child, in its process group.
    let mut engine = Command::new("sh")
        .args(["-c", "\"$0\" __run \"$1\" & wait", OPS])
        .arg(&dir)
        .process_group(0)
        .spawn()
        .unwrap();
    until("begun", async || dir.join("begun").exists()).await;
    kill_process_group(Pid::from_child(&engine), Signal::INT).unwrap();
    kill_process_group(Pid::from_child(&engine), Signal::KILL).unwrap();
    engine.wait().unwrap();
    assert!(!dir.join("status").exists());
    let end = adopt(&dir).await;
    assert_eq!(end.how, Ended::TimedOut);
    assert_eq!(end.excerpt, "on\n");
    assert!(end.took.ms() >= 2_300, "{:?}", end.took);
    assert_eq!(stage.running(), 0);
    assert_eq!(adopt(&dir).await, end);
}

#[tokio::test]
async fn a_forgotten_run_goes_on() {
    let stage = Stage::new("until [ -e go ]; do sleep 0.01; done; exit 5");
    let dir = stage.prepared();
    let given_up = tokio::time::timeout(Duration::from_millis(300), run_with(Path::new(OPS), &dir));
    assert!(given_up.await.is_err());
    until("begun", async || dir.join("begun").exists()).await;
    fs::write(dir.join("go"), "").unwrap();
    assert_eq!(adopt(&dir).await.how, Ended::Exited { code: 5 });
}

#[tokio::test]
async fn a_run_starts_at_most_once() {
    let stage = Stage::new("echo once >> ../../count; until [ -e go ]; do sleep 0.01; done");
    let dir = stage.prepared();
    assert!(prepare(&stage.root.join("runs"), &stage.spec).is_err());
    let first = tokio::spawn({
        let dir = dir.clone();
        async move { run_with(Path::new(OPS), &dir).await }
    });
    until("begun", async || dir.join("begun").exists()).await;
    let refused = Some(i32::from(shim::EXIT_REFUSED));
    assert_eq!(shim_by_hand(&dir), refused, "while it runs");
    fs::write(dir.join("go"), "").unwrap();
    let first = first.await.unwrap();
    assert_eq!(first.how, Ended::Exited { code: 0 });
    assert_eq!(shim_by_hand(&dir), refused, "when it has ended");
    fs::remove_file(dir.join("status")).unwrap();
    assert_eq!(shim_by_hand(&dir), refused, "when only the mark is left");
    assert_eq!(
        run_with(Path::new(OPS), &dir).await.how,
        Ended::Unknown {
            why: "the run was begun before".to_owned()
        }
    );
    let count = fs::read_to_string(stage.root.join("count")).unwrap();
    assert_eq!(count, "once\n");
}

#[tokio::test]
async fn a_run_found_not_begun_never_begins() {
    let stage = Stage::new("echo ran > ../../ran");
    let dir = stage.prepared();
    assert_eq!(why(&adopt(&dir).await), "never begun");
    assert_eq!(shim_by_hand(&dir), Some(i32::from(shim::EXIT_REFUSED)));
    assert!(!stage.root.join("ran").exists());
    assert_eq!(
        why(&adopt(&stage.root.join("no-run")).await),
        "never prepared"
    );
}

#[tokio::test]
async fn a_killed_shim_leaves_an_unknown_end() {
    let stage = Stage::new("echo doing; kill -9 $PPID");
    let end = stage.run().await;
    assert!(matches!(end.how, Ended::Unknown { .. }), "{end:?}");
    assert!(why(&end).contains("signal: 9"), "{end:?}");
}

#[tokio::test]
async fn tricks_in_the_run_directory_do_not_block_the_reader() {
    let stage = Stage::new(
        "mkfifo result.json; rm output; mkfifo output; mkfifo status.tmp; ln -s /etc/passwd status",
    );
    let end = stage.run().await;
    assert_eq!(end.how, Ended::Exited { code: 0 });
    assert_eq!((end.message, end.excerpt.as_str()), (None, ""));
}

#[tokio::test]
async fn the_oldest_ended_runs_are_swept() {
    let mut stage = Stage::new("exit 0");
    let runs = stage.root.join("runs");
    let mut dirs = Vec::new();
    for i in 0..5 {
        stage.spec.run_id = format!("r{i}");
        dirs.push(stage.prepared());
        if i != 1 {
            adopt(&dirs[i]).await;
        }
    }
    assert_eq!(sweep_runs(&runs, 3).unwrap(), 2);
    let left: Vec<bool> = dirs.iter().map(|dir| dir.exists()).collect();
    // The second was prepared and may yet begin: it stays.
    assert_eq!(left, [false, true, false, true, true]);
    assert_eq!(sweep_runs(&runs, 3).unwrap(), 0);
    assert_eq!(sweep_runs(&stage.root.join("none"), 3).unwrap(), 0);
}

#[test]
fn a_spec_that_cannot_be_carried_out_is_refused() {
    let stage = Stage::new("exit 0");
    let refused = |change: &dyn Fn(&mut RunSpec)| {
        let mut spec = stage.spec.clone();
        change(&mut spec);
        prepare(&stage.root.join("runs"), &spec).is_err()
    };
    assert!(refused(&|spec| spec.run_id = "../up".to_owned()));
    assert!(refused(&|spec| spec.run_id = ".".to_owned()));
    assert!(refused(&|spec| spec.script = PathBuf::from("heal.sh")));
    assert!(refused(&|spec| spec.args = vec!["a\0b".to_owned()]));
    assert!(refused(
        &|spec| spec.env = BTreeMap::from([("A=B".to_owned(), String::new())])
    ));
    let dir = stage.prepared();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&dir), mode(&dir.join("spec.json"))), (0o700, 0o600));
}
