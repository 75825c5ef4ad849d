//! Ending everything a script started, also what hid from its process group and session.
//!
//! The shim is a child subreaper: whatever loses its parent becomes the shim's child. So "no child left" means "nothing
//! left", and the process table is read only to find whom to kill.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, pidfd_open, pidfd_send_signal, wait,
};

/// After this long, what is left is stuck in the kernel, and waiting would hide the result.
const KILL_WAIT_MAX: Duration = Duration::from_secs(10);
const KILL_POLL: Duration = Duration::from_millis(2);

/// One line of the process table. The start time tells a process from a later one with the same id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Process {
    pid: i32,
    parent: i32,
    started: u64,
}

/// Reaps every child that has ended; false once there is none at all, ended or not.
pub(super) fn reap_ended() -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// Kills all descendants of this process and says how many withstood. To be called once the script itself is reaped.
pub(super) fn kill_descendants() -> u64 {
    let begun = Instant::now();
    while reap_ended() {
        let left = descendants();
        if begun.elapsed() > KILL_WAIT_MAX {
            return left.len().max(1) as u64;
        }
        for process in left {
            kill(process);
        }
        std::thread::sleep(KILL_POLL);
    }
    0
}

/// Kills exactly this process: the id is pinned before its start time is compared.
fn kill(process: Process) {
    let Some(pid) = Pid::from_raw(process.pid) else {
        return;
    };
    if let Ok(pinned) = pidfd_open(pid, PidfdFlags::empty())
        && read(process.pid).is_some_and(|now| now.started == process.started)
    {
        // It may have ended meanwhile, which is as good.
        let _ = pidfd_send_signal(&pinned, Signal::KILL);
    }
}

fn descendants() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let mut table: Vec<Process> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(read)
        .collect();
    let mut family = BTreeSet::from([getpid().as_raw_nonzero().get()]);
    let mut found = Vec::new();
    // A child may come before its parent in the table: go on until a pass finds nobody.
    loop {
        let (ours, others): (Vec<_>, Vec<_>) = table
            .into_iter()
            .partition(|process| family.contains(&process.parent));
        if ours.is_empty() {
            return found;
        }
        family.extend(ours.iter().map(|process| process.pid));
        found.extend(ours);
        table = others;
    }
}

fn read(pid: i32) -> Option<Process> {
    parse(pid, &std::fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// `pid (name) state parent …`; the name may hold spaces, brackets and any bytes, so it is skipped from the right.
fn parse(pid: i32, stat: &[u8]) -> Option<Process> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(stat.get(name_end + 1..)?)
        .ok()?
        .split_ascii_whitespace();
    Some(Process {
        pid,
        parent: fields.nth(1)?.parse().ok()?,
        started: fields.nth(17)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_does_not_shift_the_fields() {
        let stat = b"7 (a) S 1 (\xff)) S 42 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 4711 21 22";
        let process = parse(7, stat).unwrap();
        assert_eq!((process.parent, process.started), (42, 4711));
    }

    #[test]
    fn our_own_line_reads() {
        let own = getpid().as_raw_nonzero().get();
        let parent = i32::try_from(std::os::unix::process::parent_id()).unwrap();
        assert_eq!(read(own).unwrap().parent, parent);
    }
}
