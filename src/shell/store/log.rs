//! The log being written: [`SegLog`] buffers records and makes them durable together.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::ops::ControlFlow;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::journal::frame;
use crate::model::time::Duration;
use crate::model::time::Timestamp;
use crate::shell::store::Damage;
use crate::shell::store::Log;
use crate::shell::store::Pos;
use crate::shell::store::Record;
use crate::shell::store::StoreError;
use crate::shell::store::active::Active;
use crate::shell::store::active::Spare;
use crate::shell::store::replay::ReplayReport;
use crate::shell::store::replay::replay;
use crate::shell::store::segments;
use crate::shell::store::segments::Segment;
use crate::shell::store::sync_dir;

/// How a log lays out its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// A segment that would grow longer is sealed, and the next one begun.
    pub segment_bytes_max: u64,
    /// Whether to reserve the space of the active segment and the next one, so that records still fit on a full disk.
    pub preallocate: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes_max: 64 << 20,
            preallocate: false,
        }
    }
}

/// What opening a log found in its last segment. The others are read by a replay, which reports on them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Bytes of an unfinished write that were cut. No one was told that they were kept.
    pub torn_bytes: u64,
    /// Bad bytes with good records after them; left as they are.
    pub damaged: Vec<Damage>,
}

/// Which records may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Those before this position.
    From(Pos),
    /// Those in segments last written before this time.
    Since(Timestamp),
}

/// What [`Log::retain`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// How many segments.
    pub segments: u64,
    /// How many bytes they had.
    pub bytes: u64,
}

/// A log open for writing: one directory, one writer.
///
/// A record is appended to memory and is durable once [`commit`](Log::commit) returns, with one write and one sync.
/// Positions of records that a failed commit dropped are given to later ones; if the machine stops before the file could
/// be cut, they may be there again. A record that begins a new segment commits the records before it first.
#[derive(Debug)]
pub struct SegLog {
    dir: PathBuf,
    options: Options,
    active: Active,
    spare: Option<Spare>,
    /// Length of the active segment at which to try again to reserve the next one; `None`: not possible here.
    spare_at_bytes: Option<u64>,
    buffer: Vec<u8>,
    /// The last record appended.
    tail: Pos,
    /// The last record handed to the system.
    written: Pos,
    /// The last record on disk.
    durable: Pos,
    /// What is appended until the next write stays in this segment, however long it is.
    stays: bool,
    _lock: Lock,
}

impl SegLog {
    /// Opens the log in `dir`, or begins one; at most one process has it open. Cuts a torn tail, touches nothing else.
    ///
    /// # Errors
    /// [`StoreError::Locked`]; [`StoreError::Version`] if a later program wrote the last segment; [`StoreError::Io`].
    pub fn open(dir: &Path, options: Options) -> Result<(SegLog, OpenReport), StoreError> {
        fs::create_dir_all(dir).map_err(StoreError::io("create", dir))?;
        if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
            sync_dir(parent)?;
        }
        let lock = lock(dir)?;
        let reserve_bytes = if options.preallocate {
            options.segment_bytes_max
        } else {
            0
        };
        let mut all = segments::list(dir)?;
        let mut report = OpenReport::default();
        let last = match all.pop() {
            Some(last) => segments::look(&last, 0, &mut nothing)?.map(|look| (last, look)),
            None => None,
        };
        let (active, tail) = match last {
            Some((last, look)) => {
                let segment_no = match look.segment_no {
                    Some(no) => no,
                    None => number_after(&all)?,
                };
                let active = Active::adopt(dir, last, segment_no, &look, reserve_bytes)?;
                report.torn_bytes = look.torn_bytes;
                report.damaged = look.damaged;
                (active, Pos::new(look.next.saturating_sub(1)))
            }
            None => {
                let first = Pos::START.next();
                let active = Active::create(dir, first, 1, None, reserve_bytes)?;
                (active, Pos::START)
            }
        };
        let mut log = SegLog {
            dir: dir.to_owned(),
            options,
            active,
            spare: None,
            spare_at_bytes: options.preallocate.then_some(0),
            buffer: Vec::new(),
            tail,
            written: tail,
            durable: tail,
            stays: false,
            _lock: lock,
        };
        log.make_spare();
        Ok((log, report))
    }

    /// The number of the segment that the last record went to; grows by 1 with each.
    pub fn segment_no(&self) -> u32 {
        self.active.segment_no
    }
    /// Whether space for the active segment and the next is reserved, so that a full disk is no trouble yet.
    pub fn has_reserve(&self) -> bool {
        self.active.reserved_bytes > 0 && self.spare.is_some()
    }
    /// Whether a record with a payload of `bytes` would begin a new segment.
    pub fn would_roll(&self, bytes: usize) -> bool {
        let frame = (self.buffer.len() + frame::HEAD_BYTES + bytes) as u64;
        self.holds_any()
            && self.active.good_bytes.saturating_add(frame) > self.options.segment_bytes_max
    }

    /// Commits, and begins a new segment unless the active one is empty.
    ///
    /// # Errors
    /// As [`commit`](Log::commit).
    pub fn roll(&mut self) -> Result<(), StoreError> {
        self.commit()?;
        if !self.holds_any() {
            return Ok(());
        }
        let reserve_bytes = if self.options.preallocate {
            self.options.segment_bytes_max
        } else {
            0
        };
        let new = Active::create(
            &self.dir,
            self.tail.next(),
            self.active.segment_no.saturating_add(1),
            self.spare.as_ref(),
            reserve_bytes,
        );
        // Whether or not that went well, the spare may be used up.
        self.spare = None;
        self.spare_at_bytes = self.spare_at_bytes.map(|_| 0);
        std::mem::replace(&mut self.active, new?).seal();
        self.make_spare();
        Ok(())
    }

    /// Writes what is in memory.
    fn put_out(&mut self, sync: bool) -> Result<(), StoreError> {
        let written = self.active.write(&self.buffer, sync);
        self.stays = false;
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        if let Err(e) = written {
            self.tail = self.written;
            return Err(e);
        }
        self.written = self.tail;
        self.make_spare();
        Ok(())
    }

    fn holds_any(&self) -> bool {
        self.tail >= self.active.segment.first
    }

    /// Reserves the next segment if it is not; on a full disk tries again now and then.
    fn make_spare(&mut self) {
        let due = self.spare_at_bytes;
        if self.spare.is_some() || due.is_none_or(|at| self.active.good_bytes < at) {
            return;
        }
        match Spare::make(&self.dir, self.options.segment_bytes_max) {
            Ok(spare) => self.spare = Some(spare),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.spare_at_bytes = None,
            Err(_) => self.spare_at_bytes = Some(self.active.good_bytes + SPARE_RETRY_BYTES),
        }
    }
}

impl Log for SegLog {
    fn tail(&self) -> Pos {
        self.tail
    }
    fn durable(&self) -> Pos {
        self.durable
    }
    fn reserve(&mut self, bytes: usize) -> Result<u32, StoreError> {
        if self.would_roll(bytes) {
            self.roll()?;
        }
        self.stays = true;
        Ok(self.active.segment_no)
    }

    fn append(&mut self, kind: u8, payload: &[u8]) -> Result<Pos, StoreError> {
        let bytes = payload.len();
        if bytes > frame::PAYLOAD_BYTES_MAX {
            return Err(frame::TooLong { bytes }.into());
        }
        if !self.stays && self.would_roll(bytes) {
            self.roll()?;
        }
        let pos = self.tail.next();
        frame::write(&mut self.buffer, pos.number(), kind, payload)?;
        self.tail = pos;
        Ok(pos)
    }

    fn append_if(&mut self, expect: Pos, kind: u8, payload: &[u8]) -> Result<Pos, StoreError> {
        let tail = self.tail;
        if tail == expect {
            self.append(kind, payload)
        } else {
            Err(StoreError::Conflict { tail })
        }
    }

    fn commit(&mut self) -> Result<Pos, StoreError> {
        if !self.buffer.is_empty() {
            self.put_out(true)?;
        } else if self.durable < self.tail {
            self.active.sync()?;
        }
        self.durable = self.tail;
        Ok(self.durable)
    }

    fn write(&mut self) -> Result<Pos, StoreError> {
        if !self.buffer.is_empty() {
            self.put_out(false)?;
        }
        Ok(self.tail)
    }

    fn replay(
        &self,
        from: Pos,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<ReplayReport, StoreError> {
        replay(&self.dir, from, each)
    }

    /// Whole segments, never the active one. A crash in between leaves the newer ones.
    fn retain(&mut self, keep: Keep) -> Result<Retained, StoreError> {
        let mut gone = Retained::default();
        let all = segments::list(&self.dir)?;
        for (segment, next) in all.iter().zip(all.iter().skip(1)) {
            let path = &segment.path;
            let meta = fs::metadata(path).map_err(StoreError::io("inspect", path))?;
            let old = match keep {
                Keep::From(pos) => next.first <= pos,
                Keep::Since(time) => segment.written_ms()? < time.ms(),
            };
            if !old || segment.first >= self.active.segment.first {
                break;
            }
            fs::remove_file(path).map_err(StoreError::io("remove", path))?;
            gone.segments += 1;
            gone.bytes += meta.len();
        }
        if gone.segments > 0 {
            sync_dir(&self.dir)?;
            self.spare_at_bytes = self.spare_at_bytes.map(|_| 0);
            self.make_spare();
        }
        Ok(gone)
    }
}

/// How often a lock that someone else has is tried.
const LOCK_TRIES: u32 = 20;
/// Time between two tries.
const LOCK_WAIT: Duration = Duration::from_ms(50);
/// Memory that an empty buffer keeps.
const BUFFER_BYTES_KEPT: usize = 4 << 20;
/// How much more is written before a failed reservation is tried again.
const SPARE_RETRY_BYTES: u64 = 1 << 20;

fn nothing(_: Record<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// A number for a segment without a sound head: the one after the nearest segment that has one.
fn number_after(earlier: &[Segment]) -> Result<u32, StoreError> {
    let mut missing = 1;
    for segment in earlier.iter().rev() {
        let mut stop = |_: Record<'_>| ControlFlow::Break(());
        let look = segments::look(segment, 0, &mut stop)?;
        if let Some(no) = look.and_then(|l| l.segment_no) {
            return Ok(no.saturating_add(missing));
        }
        missing += 1;
    }
    Ok(missing)
}

/// Keeps other processes out.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough while a process being started still shares the file.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

fn lock(dir: &Path) -> Result<Lock, StoreError> {
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(StoreError::io("open", &path))?;
    for _ in 0..LOCK_TRIES {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Lock(file)),
            // A process that was killed while it was starting another one: that one shares the file for a moment.
            Err(Errno::WOULDBLOCK) => std::thread::sleep(LOCK_WAIT.std()),
            Err(e) => return Err(StoreError::io("lock", &path)(e.into())),
        }
    }
    Err(StoreError::Locked(dir.to_owned()))
}

#[cfg(test)]
mod tests;
