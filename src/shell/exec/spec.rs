//! What a run is told and what it leaves: `spec.json` and `status`, two small JSON files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use super::Ended;

/// The grace between TERM and KILL, unless the spec says otherwise.
pub const GRACE_MS_DEFAULT: u64 = 10_000;
/// The longest run id.
const RUN_ID_BYTES_MAX: usize = 128;

/// What one run does, decided before it starts and not changed after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// The run's id, which is also its directory's name: letters, digits, `.`, `_` and `-`, not starting with `.` or `-`.
    pub run_id: String,
    /// The script, an absolute path.
    pub script: PathBuf,
    /// SHA-256 of the script, lower-case hex; see [`sha256_of`].
    pub script_sha256: String,
    /// The arguments after the script's own name.
    pub args: Vec<String>,
    /// What the script may take, in milliseconds from its start.
    pub timeout_ms: u64,
    /// What it may take to end after TERM, in milliseconds.
    pub grace_ms: u64,
    /// The environment, beside `PATH`, `LANG`, `TZ`, `HOME` and `OPS_RESULT`, of which it may replace the first three.
    pub env: BTreeMap<String, String>,
    /// The JSON text on standard input.
    pub stdin: String,
}

impl RunSpec {
    /// Refuses what could not be carried out as written.
    ///
    /// # Errors
    /// `InvalidInput` naming the first thing that is wrong.
    pub fn check(&self) -> io::Result<()> {
        let bad = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, what.to_owned()));
        let id = &self.run_id;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if id.is_empty()
            || id.len() > RUN_ID_BYTES_MAX
            || id.starts_with(['.', '-'])
            || !id.chars().all(plain)
        {
            return bad("the run id is not a plain name");
        }
        if !self.script.is_absolute() {
            return bad("the script's path is not absolute");
        }
        if self.args.iter().any(|arg| arg.contains('\0')) {
            return bad("an argument holds a NUL byte");
        }
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return bad("the environment holds an impossible name or value");
            }
        }
        Ok(())
    }
}

/// How a run ended, as the shim wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The exit code, if it exited.
    pub exit: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Whether the deadline passed.
    pub timed_out: bool,
    /// Why the script was not started, if it was not.
    pub not_started: Option<String>,
    /// Why the end was not seen, if it was started and lost sight of.
    pub lost: Option<String>,
    /// When the script started (or was refused), milliseconds since the epoch.
    pub started_at: i64,
    /// When everything it started was gone, milliseconds since the epoch.
    pub ended_at: i64,
    /// The time between, by a clock that is never set.
    pub took_ms: u64,
    /// How much it printed, kept or not.
    pub output_bytes: u64,
    /// Processes that even KILL did not end; zero unless the kernel holds one.
    pub left_running: u64,
}

impl Status {
    /// The status of a script that was refused.
    pub fn not_started(why: String, now_ms: i64) -> Self {
        Self {
            not_started: Some(why),
            started_at: now_ms,
            ended_at: now_ms,
            ..Self::default()
        }
    }

    /// The one outcome this status stands for.
    pub fn ended(&self) -> Ended {
        if let Some(why) = &self.not_started {
            return Ended::NotStarted { why: why.clone() };
        }
        if self.timed_out {
            return Ended::TimedOut;
        }
        match (self.exit, self.signal) {
            (Some(code), _) => Ended::Exited { code },
            (None, Some(signal)) => Ended::Signalled { signal },
            (None, None) => Ended::Unknown {
                why: self
                    .lost
                    .clone()
                    .unwrap_or_else(|| "the status does not say how it ended".to_owned()),
            },
        }
    }
}

/// SHA-256 of a file, lower-case hex.
///
/// # Errors
/// If the file cannot be read.
pub fn sha256_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => hash.update(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let hex = |byte: &u8| format!("{byte:02x}");
    Ok(hash.finish().as_ref().iter().map(hex).collect())
}
