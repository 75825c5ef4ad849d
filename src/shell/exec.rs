//! Running a script so that a crash anywhere leaves a definite answer.
//!
//! Each run has a directory. [`prepare`] writes down what to run; [`run`] starts our own binary again as a [`shim`] that
//! holds the run's lock, enforces the deadline and leaves a status; [`adopt`] reads the answer after a restart.
//!
//! | on disk | in the lock | so |
//! |---|---|---|
//! | nothing | free | never begun, and from now on it cannot begin: the answer is written before it is given |
//! | anything | held | running: wait |
//! | `status` | free | that is the answer |
//! | `begun`, no `status` | free | the shim was killed: unknown, to be verified and not repeated |

pub mod dir;
pub mod shim;
pub mod spec;

mod output;
mod reap;

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration as StdDuration, SystemTime};

use crate::model::time::Duration;
use dir::RunDir;
use spec::{RunSpec, Status};

/// How often a held lock is tried again.
const LOCK_POLL: StdDuration = StdDuration::from_millis(50);
/// How much of the end of the output is shown to people.
const EXCERPT_BYTES: u64 = 2 * 1024;
/// The longest result file that is read, and the longest message taken from it.
const RESULT_BYTES_MAX: u64 = 64 * 1024;
const MESSAGE_CHARS_MAX: usize = 2_000;
/// Space that is kept for the folder of a run, its output included: a script that frees space must run on a full disk.
const RESERVE_BYTES: u64 = 1 << 20;
/// The file that holds it, beside the runs.
const RESERVE: &str = "reserve";
/// A run that was prepared but left no mark may be swept after this long.
const ABANDONED_AFTER: StdDuration = StdDuration::from_secs(24 * 60 * 60);

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The script exited by itself.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// The script was ended by a signal that the shim did not send.
    Signalled {
        /// The signal's number.
        signal: i32,
    },
    /// The deadline passed and the script was ended, however it took that.
    TimedOut,
    /// The script was certainly not started, and this run never will.
    NotStarted {
        /// Why, for people.
        why: String,
    },
    /// The script was started, or may have been, and nobody saw how it ended.
    Unknown {
        /// Why, for people.
        why: String,
    },
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// How it ended.
    pub how: Ended,
    /// From the start of the script to its end, the clean-up of what it left included; zero if not known.
    pub took: Duration,
    /// The last 2 KiB of what it printed, not yet redacted.
    pub excerpt: String,
    /// `message` from the result file, at most 2,000 characters, not yet redacted.
    pub message: Option<String>,
    /// `changed` from the result file: whether the script says it changed anything.
    pub changed: Option<bool>,
}

/// Makes the directory of a run, durably, and writes down what it will do. What it will do needs to be there only for the
/// shim that is started next: without a mark, a run never begins later.
///
/// # Errors
/// If the run was prepared before, the spec cannot be carried out as written, or the disk refuses.
pub fn prepare(runs_dir: &Path, spec: &RunSpec) -> io::Result<PathBuf> {
    spec.check()?;
    let text = serde_json::to_vec(spec)?;
    dir::create_private_all(runs_dir)?;
    let run = RunDir::new(std::path::absolute(runs_dir.join(&spec.run_id))?);
    if let Err(error) = make(&run, &text) {
        let full = error.kind() == io::ErrorKind::StorageFull;
        if !full || std::fs::remove_file(runs_dir.join(RESERVE)).is_err() {
            return Err(error);
        }
        // Nothing can have begun in it: the spec was not there.
        let _ = std::fs::remove_dir_all(run.path());
        make(&run, &text)?;
    }
    dir::sync_dir(runs_dir)?;
    Ok(run.path().to_owned())
}

fn make(run: &RunDir, spec: &[u8]) -> io::Result<()> {
    dir::create_private(run.path())?;
    run.create(dir::SPEC)?.write_all(spec)
}

/// Keeps space for the next run, while there is some; [`prepare`] uses it up on a full disk.
///
/// # Errors
/// If there is none, or the disk refuses otherwise.
pub fn keep_reserve(runs_dir: &Path) -> io::Result<()> {
    dir::create_private_all(runs_dir)?;
    let path = runs_dir.join(RESERVE);
    if path.exists() {
        return Ok(());
    }
    let file = std::fs::File::create_new(&path)?;
    let kept = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, RESERVE_BYTES);
    kept.map_err(|error| {
        let _ = std::fs::remove_file(&path);
        error.into()
    })
}

/// Starts the prepared run and waits for its end. Dropping the future leaves the run going; [`adopt`] finds it again.
pub async fn run(dir: &Path) -> End {
    // Not the path of the binary: an upgrade may have replaced the file there.
    run_with(Path::new("/proc/self/exe"), dir).await
}

/// [`run`] with another binary as the shim.
pub async fn run_with(exe: &Path, dir: &Path) -> End {
    let mut command = std::process::Command::new(exe);
    command
        .arg0("ops")
        .arg(shim::COMMAND)
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let died = match tokio::process::Command::from(command).spawn() {
        Ok(mut child) => match child.wait().await {
            Ok(status) if status.success() => None,
            Ok(status) => Some(shim_death(status)),
            Err(error) => Some(format!("waiting for the shim failed: {error}")),
        },
        Err(error) => Some(format!("the shim did not start: {error}")),
    };
    settle_when_free(dir, died).await
}

/// Finds out, after a restart, what came of a run; waits for it if it is still going.
pub async fn adopt(dir: &Path) -> End {
    settle_when_free(dir, None).await
}

fn shim_death(status: ExitStatus) -> String {
    match status.code() {
        Some(code) if code == i32::from(shim::EXIT_REFUSED) => {
            "the run was begun before".to_owned()
        }
        Some(_) => "the shim failed".to_owned(),
        None => format!("the shim was killed ({status})"),
    }
}

async fn settle_when_free(dir: &Path, died: Option<String>) -> End {
    loop {
        let (path, why) = (dir.to_owned(), died.clone());
        match tokio::task::spawn_blocking(move || settle(&RunDir::new(path), why)).await {
            Ok(Ok(Some(end))) => return end,
            Ok(Ok(None)) => tokio::time::sleep(LOCK_POLL).await,
            Ok(Err(error)) => return unknown(format!("reading the run failed: {error}")),
            Err(error) => return unknown(format!("reading the run failed: {error}")),
        }
    }
}

/// The answer, or `None` while the lock is held.
fn settle(run: &RunDir, died: Option<String>) -> io::Result<Option<End>> {
    if !run.path().try_exists()? {
        return Ok(Some(End::bare(Ended::NotStarted {
            why: "never prepared".to_owned(),
        })));
    }
    let Some(_lock) = run.try_lock()? else {
        return Ok(None);
    };
    if let Some(text) = run.read_head(dir::STATUS, RESULT_BYTES_MAX)? {
        return Ok(Some(match serde_json::from_slice::<Status>(&text) {
            Ok(status) => read_end(run, &status),
            Err(error) => unknown(format!("the status is not readable: {error}")),
        }));
    }
    if run.has(dir::BEGUN)? {
        let how = Ended::Unknown {
            why: died.unwrap_or_else(|| "the shim left no status".to_owned()),
        };
        let end = End::bare(how);
        return Ok(Some(with_words(run, end)));
    }
    // A shim of ours may still be on its way here. It refuses when it finds a status, so "not started" stays true.
    let why = died.unwrap_or_else(|| "never begun".to_owned());
    let status = Status::not_started(why, dir::now_ms());
    run.write_durably(dir::STATUS, &serde_json::to_vec(&status)?)?;
    Ok(Some(read_end(run, &status)))
}

fn read_end(run: &RunDir, status: &Status) -> End {
    let mut end = End::bare(status.ended());
    end.took = Duration::from_ms(status.took_ms);
    with_words(run, end)
}

/// Adds what the script printed and wrote; a script's broken result file is not an error of the run.
fn with_words(run: &RunDir, mut end: End) -> End {
    let tail = run.read_tail(dir::OUTPUT, EXCERPT_BYTES);
    end.excerpt = String::from_utf8_lossy(&tail.ok().flatten().unwrap_or_default()).into_owned();
    let result = run.read_head(dir::RESULT, RESULT_BYTES_MAX).ok().flatten();
    if let Some(value) =
        result.and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok())
    {
        end.message = value
            .get("message")
            .and_then(|message| message.as_str())
            .map(|message| message.chars().take(MESSAGE_CHARS_MAX).collect());
        end.changed = value.get("changed").and_then(serde_json::Value::as_bool);
    }
    end
}

fn unknown(why: String) -> End {
    End::bare(Ended::Unknown { why })
}

impl End {
    fn bare(how: Ended) -> Self {
        Self {
            how,
            took: Duration::ZERO,
            excerpt: String::new(),
            message: None,
            changed: None,
        }
    }
}

/// Removes the oldest ended runs until at most `keep` are left, and says how many went. A run that is going, or was just
/// prepared, stays.
///
/// # Errors
/// If the directory cannot be listed. A run that cannot be removed is left for the next time.
pub fn sweep_runs(runs_dir: &Path, keep: usize) -> io::Result<usize> {
    let mut runs = Vec::new();
    let entries = match std::fs::read_dir(runs_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let Ok(meta) = std::fs::symlink_metadata(entry.path()) else {
            continue;
        };
        if meta.is_dir() {
            runs.push((meta.modified()?, entry.path()));
        }
    }
    let excess = runs.len().saturating_sub(keep);
    runs.sort();
    let mut removed = 0;
    for (changed, path) in runs {
        if removed == excess {
            break;
        }
        let run = RunDir::new(path);
        let old = SystemTime::now()
            .duration_since(changed)
            .is_ok_and(|age| age > ABANDONED_AFTER);
        let marked = run.has(dir::STATUS)? || run.has(dir::BEGUN)?;
        if !(marked || old) {
            continue;
        }
        if let Ok(Some(_lock)) = run.try_lock()
            && std::fs::remove_dir_all(run.path()).is_ok()
        {
            removed += 1;
        }
    }
    Ok(removed)
}
