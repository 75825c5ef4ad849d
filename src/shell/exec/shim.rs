//! `ops __run <run dir>`: one process that runs one script and outlives the engine.
//!
//! It shares nothing with the engine but the directory. In order: lock, refuse if begun before, check the script, write
//! `begun`, start, watch the output and the clock, end everything that is left, write `status`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, PipeReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Access, OFlags, access, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, kill_process_group, pidfd_open, set_child_subreaper, setsid,
    test_kill_process_group,
};
use rustix::thread::set_no_new_privs;

use super::dir::{self, RunDir};
use super::output::Output;
use super::reap;
use super::spec::{RunSpec, Status, sha256_of};

/// The hidden command.
pub const COMMAND: &str = "__run";
/// Exit code: the run failed in a way that could not be written down.
pub const EXIT_FAILED: u8 = 1;
/// Exit code: the run was begun before, or is being begun; nothing was done.
pub const EXIT_REFUSED: u8 = 3;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const SPEC_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The longest interpreter line that is looked at; the kernel's own bound.
const INTERPRETER_BYTES_MAX: u64 = 256;
/// How long a file that someone still writes is tried again.
const BUSY_WAIT_MAX: Duration = Duration::from_secs(1);
const BUSY_POLL: Duration = Duration::from_millis(10);
/// After this long, a killed script is stuck in the kernel.
const KILL_WAIT_MAX: Duration = Duration::from_secs(10);
const GRACE_POLL: Duration = Duration::from_millis(10);
/// What is read at once after the script has ended.
const DRAIN_BYTES_MAX: u64 = 1024 * 1024;

/// Runs the shim if the program's arguments ask for it. To be called before any thread exists.
pub fn dispatch(mut args: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let command = args.nth(1)?;
    if command != COMMAND {
        return None;
    }
    let done = args
        .next()
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "no run directory given"))
        .and_then(|dir| attend(&PathBuf::from(dir)));
    Some(match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_REFUSED),
        Err(error) => {
            eprintln!("ops {COMMAND}: failed to attend the run: {error}");
            ExitCode::from(EXIT_FAILED)
        }
    })
}

/// Carries out the run; false if it is not ours to begin.
fn attend(path: &Path) -> io::Result<bool> {
    // Fails only for the leader of a process group, whom a Ctrl-C for the engine does not reach either.
    let _ = setsid();
    let run = RunDir::new(path.canonicalize()?);
    let Some(_lock) = run.try_lock()? else {
        return Ok(false);
    };
    if run.has(dir::BEGUN)? || run.has(dir::STATUS)? {
        return Ok(false);
    }
    let status = match begin(&run) {
        Ok((spec, stdin, output)) => start(&run, &spec, stdin, output),
        Err(why) => Status::not_started(why, dir::now_ms()),
    };
    run.write_durably(dir::STATUS, &serde_json::to_vec(&status)?)?;
    Ok(true)
}

/// Everything that can go wrong before the run counts as begun.
fn begin(run: &RunDir) -> Result<(RunSpec, File, Output), String> {
    let failed = |deed: &str, error: &dyn std::fmt::Display| format!("{deed} failed: {error}");
    set_child_subreaper(Some(getpid())).map_err(|e| failed("adopting orphans", &e))?;
    set_no_new_privs(true).map_err(|e| failed("giving up privileges", &e))?;
    let text = run
        .read_head(dir::SPEC, SPEC_BYTES_MAX)
        .map_err(|e| failed("reading the spec", &e))?
        .ok_or("there is no spec")?;
    let spec: RunSpec =
        serde_json::from_slice(&text).map_err(|e| failed("reading the spec", &e))?;
    spec.check().map_err(|e| e.to_string())?;
    check_script(&spec)?;
    run.create(dir::STDIN)
        .and_then(|mut file| file.write_all(spec.stdin.as_bytes()))
        .map_err(|e| failed("writing the input", &e))?;
    let stdin = File::open(run.file(dir::STDIN)).map_err(|e| failed("opening the input", &e))?;
    let output = run
        .create(dir::OUTPUT)
        .map_err(|e| failed("making the output file", &e))?;
    let mark = format!(
        "{{\"pid\":{},\"at\":{}}}\n",
        std::process::id(),
        dir::now_ms()
    );
    run.write_durably(dir::BEGUN, mark.as_bytes())
        .map_err(|e| failed("marking the run as begun", &e))?;
    Ok((spec, stdin, Output::new(output)))
}

/// Whether the script is there, may be executed, and is the one that was decided on.
fn check_script(spec: &RunSpec) -> Result<(), String> {
    let path = &spec.script;
    match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(format!("missing: {}", path.display()));
        }
        Err(error) => return Err(format!("missing: {}: {error}", path.display())),
        Ok(meta) if !meta.is_file() => {
            return Err(format!("not executable: {} is not a file", path.display()));
        }
        Ok(_) => {}
    }
    access(path, Access::EXEC_OK).map_err(|_| format!("not executable: {}", path.display()))?;
    let found = sha256_of(path).map_err(|e| format!("not readable: {}: {e}", path.display()))?;
    if found != spec.script_sha256 {
        return Err(format!("hash mismatch: {} has changed", path.display()));
    }
    check_interpreter(path)
}

/// The C library would hand a file without an interpreter line to a shell; here no shell runs unless the script names it.
fn check_interpreter(path: &Path) -> Result<(), String> {
    let mut line = Vec::new();
    File::open(path)
        .and_then(|file| file.take(INTERPRETER_BYTES_MAX).read_to_end(&mut line))
        .map_err(|e| format!("not readable: {}: {e}", path.display()))?;
    if line.starts_with(b"\x7fELF") {
        return Ok(());
    }
    let bad = |why: &str| Err(format!("bad interpreter: {why} in {}", path.display()));
    let Some(rest) = line.strip_prefix(b"#!") else {
        return bad("no #! line");
    };
    let line = String::from_utf8_lossy(rest.split(|b| *b == b'\n').next().unwrap_or_default());
    match line.split_ascii_whitespace().next() {
        None => bad("empty #! line"),
        Some(name) if access(name.trim_end_matches('\0'), Access::EXEC_OK).is_err() => {
            bad(&format!("cannot execute {name:?}, named"))
        }
        Some(_) => Ok(()),
    }
}

/// Starts the script and sees it through to the end of its last descendant.
fn start(run: &RunDir, spec: &RunSpec, stdin: File, output: Output) -> Status {
    let (started_at, begun) = (dir::now_ms(), Instant::now());
    let mut status = match spawn(run, spec, stdin) {
        Err(error) => Status::not_started(start_error(&error), started_at),
        Ok((child, pipe)) => {
            let mut watch = Watch {
                group: Pid::from_child(&child),
                child,
                pipe,
                output,
                buffer: vec![0; 64 * 1024],
            };
            watch.see_through(spec, begun)
        }
    };
    status.started_at = started_at;
    status.ended_at = dir::now_ms();
    status.took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    status
}

fn start_error(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => format!("bad interpreter: {error}"),
        ErrorKind::PermissionDenied => format!("not executable: {error}"),
        _ => format!("starting failed: {error}"),
    }
}

fn spawn(run: &RunDir, spec: &RunSpec, stdin: File) -> io::Result<(Child, PipeReader)> {
    let (pipe, writer) = io::pipe()?;
    fcntl_setfl(&pipe, fcntl_getfl(&pipe)? | OFlags::NONBLOCK)?;
    let mut command = Command::new(&spec.script);
    command
        .args(&spec.args)
        .env_clear()
        .envs([("PATH", PATH), ("LANG", "C.UTF-8"), ("TZ", "UTC")])
        .envs(&spec.env)
        .env("HOME", run.path())
        .env("OPS_RESULT", run.file(dir::RESULT))
        .current_dir(run.path())
        .stdin(stdin)
        .stdout(writer.try_clone()?)
        .stderr(Stdio::from(writer))
        .process_group(0);
    let begun = Instant::now();
    loop {
        match command.spawn() {
            // Nothing ran yet: whoever writes the script, or forked while it was written, is about to let go of it.
            Err(error)
                if error.kind() == ErrorKind::ExecutableFileBusy
                    && begun.elapsed() < BUSY_WAIT_MAX =>
            {
                std::thread::sleep(BUSY_POLL);
            }
            spawned => return spawned.map(|child| (child, pipe)),
        }
    }
}

/// A script that runs.
struct Watch {
    child: Child,
    /// The script leads its own process group, so that a signal to the group spares the shim.
    group: Pid,
    pipe: PipeReader,
    output: Output,
    buffer: Vec<u8>,
}

impl Watch {
    fn see_through(&mut self, spec: &RunSpec, begun: Instant) -> Status {
        let mut status = Status::default();
        let deadline = begun.checked_add(Duration::from_millis(spec.timeout_ms));
        let ended = self
            .wait(deadline, Duration::from_millis(spec.grace_ms), &mut status)
            .and_then(|()| self.child.wait());
        match ended {
            Ok(exit) => (status.exit, status.signal) = (exit.code(), exit.signal()),
            Err(error) => {
                // What is left of it is ended and reaped below, with the rest.
                status.lost = Some(format!("watching the script failed: {error}"));
            }
        }
        status.left_running = reap::kill_descendants();
        self.take_waiting();
        // The end of the run is worth more than its words.
        let _ = self.output.finish();
        status.output_bytes = self.output.total_bytes();
        status
    }

    /// Until the script has ended, by itself or at its deadline.
    fn wait(
        &mut self,
        deadline: Option<Instant>,
        grace: Duration,
        status: &mut Status,
    ) -> io::Result<()> {
        let pinned = pidfd_open(self.group, PidfdFlags::empty())?;
        if self.watch_until(&pinned, deadline)? {
            // All at once, before the leader is reaped: one by one, a chain of forks would stay ahead of us.
            let _ = kill_process_group(self.group, Signal::KILL);
            return Ok(());
        }
        status.timed_out = true;
        let last = Instant::now().checked_add(grace);
        // The group exists as long as its leader is not reaped, so these reach nobody else.
        let _ = kill_process_group(self.group, Signal::TERM);
        if !self.watch_until(&pinned, last)? {
            let _ = kill_process_group(self.group, Signal::KILL);
            let gone = self.watch_until(&pinned, Instant::now().checked_add(KILL_WAIT_MAX))?;
            let stuck = || io::Error::other("it withstood KILL");
            return gone.then_some(()).ok_or_else(stuck);
        }
        // The others in the group have the same grace to tidy up as the script itself.
        self.child.wait()?;
        while reap::reap_ended() && test_kill_process_group(self.group).is_ok() {
            if last.is_some_and(|last| Instant::now() >= last) {
                let _ = kill_process_group(self.group, Signal::KILL);
                break;
            }
            self.take_waiting();
            std::thread::sleep(GRACE_POLL);
        }
        Ok(())
    }

    /// Takes output until the script ends (true) or `until` has come (false).
    fn watch_until(&mut self, pinned: &OwnedFd, until: Option<Instant>) -> io::Result<bool> {
        let mut open = true;
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(false);
            }
            // One more millisecond: not to wake just before the time and spin.
            let left = left.map(|left| left.saturating_add(Duration::from_millis(1)));
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            let mut fds = vec![PollFd::new(pinned, PollFlags::IN)];
            if open {
                fds.push(PollFd::new(&self.pipe, PollFlags::IN));
            }
            match poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let [script, pipe] =
                [0, 1].map(|i| fds.get(i).is_some_and(|fd| !fd.revents().is_empty()));
            drop(fds);
            if script {
                return Ok(true);
            }
            if pipe {
                open = match self.read() {
                    Ok(n) => n > 0,
                    Err(error) => error.kind() == ErrorKind::WouldBlock,
                };
            }
        }
    }

    /// Takes what is in the pipe now, within a bound: someone may go on writing.
    fn take_waiting(&mut self) {
        let mut taken = 0;
        while taken < DRAIN_BYTES_MAX {
            match self.read() {
                Ok(n) if n > 0 => taken += n as u64,
                _ => break,
            }
        }
    }

    fn read(&mut self) -> io::Result<usize> {
        let n = loop {
            match self.pipe.read(&mut self.buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => break done?,
            }
        };
        self.output.take(&self.buffer[..n]);
        Ok(n)
    }
}
