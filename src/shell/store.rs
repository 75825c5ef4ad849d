//! What must outlive a crash: logs of records in segment files, and snapshots that make replaying them short.
//!
//! [`Log`] is the door to one: append, compare-and-set, commit, replay. [`log::SegLog`] is the one behind it, and
//! [`replay`] reads what it wrote; a replicated log would stand in its place and pass the same tests. [`snapshot`] keeps
//! states, [`windows`] images of the windows. What the bytes mean is in [`crate::journal`]; docs/STORAGE.md tells what each crash leaves. Nothing here repairs by deleting: a torn tail,
//! which nobody was promised, is cut; damage is stepped over and reported, and the file stays as it is.

mod active;
pub mod log;
pub mod replay;
pub mod segments;
pub mod snapshot;
pub mod windows;

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use crate::journal::frame::TooLong;
use crate::shell::store::log::{Keep, Retained};
use crate::shell::store::replay::ReplayReport;

/// A record's number in its log: the first has 1, each next one more. 0 is before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pos(u64);

impl Pos {
    /// Before the first record.
    pub const START: Pos = Pos(0);
    /// The position with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
    /// Its number.
    pub const fn number(self) -> u64 {
        self.0
    }
    /// The one after it.
    pub const fn next(self) -> Pos {
        Pos(self.0.saturating_add(1))
    }
}

impl fmt::Display for Pos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A record as a reader gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its position.
    pub pos: Pos,
    /// The number of the segment it is in.
    pub segment_no: u32,
    /// What its payload is; the writer's choice.
    pub kind: u8,
    /// Its content.
    pub payload: &'a [u8],
}

/// The door to a log: one ordered sequence of records that outlives us.
///
/// A record counts, for whoever asks, once [`Log::commit`] has returned: until then it may be lost, and after a commit
/// that failed it may be there or not. [`Log::append_if`] is how a writer finds out that it no longer is the only one.
pub trait Log: Send {
    /// The last record appended, durable or not; [`Pos::START`] if there was none.
    fn tail(&self) -> Pos;
    /// The last record that is durable.
    fn durable(&self) -> Pos;
    /// The number of the part of the log in which the records will be that are appended until the next write, about
    /// `bytes` together: for payloads that spell names out once in each part, and for records that are written together
    /// or not at all.
    ///
    /// # Errors
    /// As [`Log::commit`].
    fn reserve(&mut self, bytes: usize) -> Result<u32, StoreError>;
    /// Appends a record; it is durable after the next commit.
    ///
    /// # Errors
    /// [`StoreError::TooLong`]; or as [`Log::commit`], and the record is not appended.
    fn append(&mut self, kind: u8, payload: &[u8]) -> Result<Pos, StoreError>;
    /// Appends a record if the log still ends at `expect`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`]: someone else has written. Or as [`Log::append`].
    fn append_if(&mut self, expect: Pos, kind: u8, payload: &[u8]) -> Result<Pos, StoreError>;
    /// Makes every record appended so far durable, together, and returns the last one.
    ///
    /// # Errors
    /// [`StoreError::Io`]; records after [`Log::durable`] are dropped.
    fn commit(&mut self) -> Result<Pos, StoreError>;
    /// Hands every record appended so far to the system and returns the last one: it outlives this process, but not the
    /// machine until the next commit.
    ///
    /// # Errors
    /// As [`Log::commit`].
    fn write(&mut self) -> Result<Pos, StoreError>;
    /// Gives every durable record from `from` on to `each`.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    fn replay(
        &self,
        from: Pos,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<ReplayReport, StoreError>;
    /// Removes old records from the beginning, a part at a time.
    ///
    /// # Errors
    /// [`StoreError::Io`]; what could be removed is.
    fn retain(&mut self, keep: Keep) -> Result<Retained, StoreError>;
}

/// Bytes that once were records and no longer are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment.
    pub file: PathBuf,
    /// Offset of the first bad byte.
    pub from: u64,
    /// Offset of the next good byte, or the end.
    pub to: u64,
    /// How many records are lost there.
    pub lost: u64,
}

/// Why a store cannot do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused.
    #[error("{deed} {}", path.display())]
    Io {
        /// What was being done, as in `write`.
        deed: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process writes this log.
    #[error("{} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// The log has grown past the position that was expected.
    #[error("the log ends at {tail}, not where it was expected to end")]
    Conflict {
        /// Where it ends.
        tail: Pos,
    },
    /// The record is too long.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// Written by a later program; nothing was changed.
    #[error("{} has format {found}, which this program does not know", path.display())]
    Version {
        /// The segment.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
}

impl StoreError {
    /// Whether space ran out, so that trying again later may do.
    pub fn is_full(&self) -> bool {
        let StoreError::Io { source, .. } = self else {
            return false;
        };
        matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }

    fn io(deed: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
        let path = path.to_owned();
        move |source| StoreError::Io { deed, path, source }
    }
}

/// Makes creations, renames and removals in a directory durable.
fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir)
        .and_then(|d| d.sync_all())
        .map_err(StoreError::io("sync", dir))
}

#[cfg(test)]
pub(in crate::shell) mod scratch {
    use std::path::Path;
    use std::path::PathBuf;
    use std::sync::atomic::AtomicU32;
    use std::sync::atomic::Ordering;

    /// A directory of a test's own, removed in the end.
    pub struct Scratch(pub PathBuf);

    static COUNT: AtomicU32 = AtomicU32::new(0);

    impl Scratch {
        pub fn new() -> Scratch {
            let n = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("ops-store-{}-{n}", std::process::id());
            let dir = std::env::temp_dir().join(name);
            let _ = std::fs::remove_dir_all(&dir);
            std::fs::create_dir_all(&dir).unwrap();
            Scratch(dir)
        }
        pub fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}
