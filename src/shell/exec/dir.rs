//! A run's directory: the names in it, durable writes, and reads that a script's tricks cannot block or bloat.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, OFlags, flock};

/// What to run.
pub const SPEC: &str = "spec.json";
/// Locked by the shim for its whole life.
pub const LOCK: &str = "lock";
/// Written before the script starts; a run with this file is never started again.
pub const BEGUN: &str = "begun";
/// How it ended.
pub const STATUS: &str = "status";
/// What it printed: the head and the tail.
pub const OUTPUT: &str = "output";
/// What the script reads on standard input.
pub const STDIN: &str = "stdin.json";
/// What the script may write: `{"changed":true,"message":"…"}`.
pub const RESULT: &str = "result.json";

/// A run's directory.
#[derive(Clone, Debug)]
pub struct RunDir(PathBuf);

impl RunDir {
    /// The directory at `path`, which need not exist.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
    /// The path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
    /// Whether it holds anything of this name.
    ///
    /// # Errors
    /// If that cannot be told.
    pub fn has(&self, name: &str) -> io::Result<bool> {
        match std::fs::symlink_metadata(self.file(name)) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
    /// The run's lock until the file is dropped, or `None` if someone holds it.
    ///
    /// # Errors
    /// If the lock file cannot be opened.
    pub fn try_lock(&self) -> io::Result<Option<File>> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.file(LOCK))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
    /// A new file that only we may read.
    ///
    /// # Errors
    /// If it exists or cannot be made.
    pub fn create(&self, name: &str) -> io::Result<File> {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.file(name))
    }
    /// Makes the file appear under its name whole and on disk, or not at all.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn write_durably(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = format!("{name}.tmp");
        match std::fs::remove_file(self.file(&temporary)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = self.create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(self.file(&temporary), self.file(name))?;
        sync_dir(&self.0)
    }
    /// At most the first `bytes_max` of a file, or `None` without one.
    ///
    /// # Errors
    /// If it is not a plain file or cannot be read.
    pub fn read_head(&self, name: &str, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        self.read(name, bytes_max, |_| 0)
    }
    /// At most the last `bytes_max` of a file, or `None` without one.
    ///
    /// # Errors
    /// If it is not a plain file or cannot be read.
    pub fn read_tail(&self, name: &str, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        self.read(name, bytes_max, |length| length.saturating_sub(bytes_max))
    }

    fn read(
        &self,
        name: &str,
        bytes_max: u64,
        from: impl Fn(u64) -> u64,
    ) -> io::Result<Option<Vec<u8>>> {
        // The script owns this directory while it runs: a FIFO must not block us, a link must not lead us out.
        let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(self.file(name));
        let mut file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidData, "not a plain file"));
        }
        file.seek(SeekFrom::Start(from(meta.len())))?;
        let mut bytes = Vec::new();
        file.take(bytes_max).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}

/// Makes a directory that only we may enter.
///
/// # Errors
/// If it exists or cannot be made.
pub fn create_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Makes a directory that only we may enter, and those above it, unless they exist.
///
/// # Errors
/// If one cannot be made.
pub fn create_private_all(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).recursive(true).create(path)
}

/// Puts the names in a directory on disk.
///
/// # Errors
/// If the disk refuses.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Milliseconds since the epoch, for people; nothing is measured with it.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}
